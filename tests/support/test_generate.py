"""SuS-SD: images that follow from class, prompt and place, however and wherever they are drawn."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from susx_bench.data.facts.digits import SPEC
from susx_bench.errors import SupportError
from susx_bench.events import Advanced, Event, Finished, Started
from susx_bench.support import build as builds
from susx_bench.support.build import build
from susx_bench.support.folder import SupportFolder
from susx_bench.support.generate import BLANK, TRIES, Generate
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.pipelines import PRESETS, Pipeline
from susx_bench.support.places import BLOCK, Place, place_at, prompt_of, seed_of
from susx_bench.support.recipe import Recipe
from susx_bench.support.request import Request
from tests.conftest import Command
from tests.support.conftest import untrained

BUILD = ("support", "build", "--dataset", "digits", "--kind", "sus-sd", "--steps", "2")


def words(pipeline: Path, per_class: int = 2, **more: object) -> list[object]:
    options = [part for name, value in more.items() for part in (f"--{name}", value)]
    return [*BUILD, "--model", pipeline, "--per-class", per_class, *options]


def built(root: Path, name: str = "sus-sd-photo") -> SupportFolder:
    return SupportFolder(root / "digits" / name)


def images(folder: SupportFolder) -> list[tuple[int, int, str]]:
    return [(row.class_id, row.place, row.sha256) for row in folder.rows()]


def twenty(pipeline: Path, root: Path) -> Request:
    """20 images in three blocks, the last one not full."""
    return Request(
        dataset="digits",
        kind="sus-sd",
        model=str(pipeline),
        steps=2,
        per_class=2,
        root=root,
        accelerator="cpu",
    )


@pytest.fixture(scope="module")
def once(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain build."""
    root = tmp_path_factory.mktemp("once")
    build(twenty(pipeline, root))
    return root


@pytest.fixture
def usual(once: Path, tmp_path: Path) -> list[tuple[int, int, str]]:
    """What it gives; it lies in ``tmp_path / "usual"``."""
    shutil.copytree(once, tmp_path / "usual")
    found = images(built(tmp_path / "usual"))
    assert len(found) == 20
    assert len({sha for _, _, sha in found}) == 20
    return found


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_the_batch_size_changes_no_image(
    size: int,
    usual: list[tuple[int, int, str]],
    pipeline: Path,
    tmp_path: Path,
    command: Command,
) -> None:
    assert command(*words(pipeline, **{"batch-size": size}), "--root", tmp_path / "b").code == 0

    assert images(built(tmp_path / "b")) == usual


def run(words: list[object], root: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    line = [sys.executable, "-m", "susx_bench", *map(str, words), "--root", str(root)]
    return subprocess.Popen(
        [*line, "--accelerator", "cpu"], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def test_two_processes_draw_the_same_images(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path
) -> None:
    assert run([*words(pipeline), "--devices", 2], tmp_path / "two").wait() == 0

    assert images(built(tmp_path / "two")) == usual


def test_a_killed_build_goes_on_and_draws_nothing_twice(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    root = tmp_path / "killed"
    folder = built(root)
    slow = run(words(pipeline, **{"batch-size": 1}), root)
    while not folder.path.is_dir() or not folder.progress():
        assert slow.poll() is None
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    assert folder.exists
    assert not folder.finished
    before = {row.file: (folder.path / row.file).stat().st_ino for row in folder.progress()}
    assert 0 < len(before) <= 20

    assert command(*words(pipeline), "--root", root).code == 0

    assert images(folder) == usual
    assert before == {file: (folder.path / file).stat().st_ino for file in before}
    assert not list(folder.path.glob("progress*"))


def test_a_torn_line_of_progress_is_drawn_again(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    """The disk of a killed machine may hold half a line, and images nobody noted."""
    folder = built(tmp_path / "usual")
    rows = folder.rows()
    (folder.path / "SHA256SUMS").unlink()
    folder.note([row for row in rows if row.place == 0])
    with next(folder.path.glob("progress-*")).open("a") as file:
        file.write('{"class_id": 3, "pla')

    assert command(*words(pipeline), "--root", tmp_path / "usual").code == 0

    assert images(folder) == usual


def test_prompts_that_are_too_long_are_told_once(
    pipeline: Path, tmp_path: Path, command: Command
) -> None:
    """The pipeline reads 16 tokens, two of them the ends: 14 words fit, 15 do not."""
    words_of = {name: ["a " * 13 + f"{name}"] for name in SPEC.classnames}
    words_of["one"] = ["the " * 14 + "one"]
    (tmp_path / "CuPL_prompts_digits.json").write_text(json.dumps(words_of))

    said = command(
        *(*words(pipeline, 1, prompts="cupl"), "--prompts-dir", tmp_path, "--root", tmp_path)
    )

    assert said.code == 0
    assert [line for line in said.err.splitlines() if "prompts" in line] == [
        f"1 of 10 prompts are longer than {pipeline} reads; it draws what stands before"
    ]
    assert "truncated" not in said.err


def test_a_second_build_does_nothing_and_says_so(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    folder = built(tmp_path / "usual")
    before = {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()}

    again = command(*words(pipeline), "--root", tmp_path / "usual")

    assert again.code == 0
    assert "nothing to do" in again.out
    assert before == {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()}


def test_more_images_a_class_are_more_of_the_same(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    """16 images of each of 10 classes are the first 16 of 17: what is there is not drawn again."""
    folder = built(tmp_path / "usual")
    first = folder.path / "images/00000/0000.png"
    inode = first.stat().st_ino

    assert command(*words(pipeline, 3), "--root", tmp_path / "usual").code == 0
    assert command(*words(pipeline, 3), "--root", tmp_path / "whole").code == 0

    assert [row for row in images(folder) if row[1] < 2] == usual
    assert images(folder) == images(built(tmp_path / "whole"))
    assert first.stat().st_ino == inode

    fewer = command(*words(pipeline, 2), "--root", tmp_path / "usual")

    assert fewer.code == 2
    assert "holds a set of 3 images per class that differs in per_class" in fewer.err
    assert len(list(folder.path.glob("images/*/*"))) == 30


def test_a_lost_image_is_drawn_again(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    folder = built(tmp_path / "usual")
    (folder.path / "images/00004/0001.png").unlink()

    assert command(*words(pipeline), "--root", tmp_path / "usual").code == 0

    assert images(folder) == usual
    assert (folder.path / "images/00004/0001.png").is_file()


def test_an_image_is_what_diffusers_draws(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path
) -> None:
    """The oracle is the pipeline itself, called by hand for the block that holds place 0 of 3."""
    folder = built(tmp_path / "usual")
    recipe = folder.recipe
    places = [Place(label, 0) for label in range(8)]

    pipe = Pipeline(str(pipeline)).loaded
    made = pipe(
        prompt=[f"a photo of the number {recipe.classnames[p.class_id]}." for p in places],
        generator=[torch.Generator().manual_seed(seed_of(recipe, p, 0)) for p in places],
        num_inference_steps=2,
        guidance_scale=PRESETS["demo"].guidance,
    )

    buffer = io.BytesIO()
    made.images[3].save(buffer, "PNG")
    (row,) = [row for row in folder.rows() if (row.class_id, row.place) == (3, 0)]
    assert (folder.path / row.file).read_bytes() == buffer.getvalue()
    assert row.prompt == "a photo of the number three."
    assert row.seed == seed_of(recipe, Place(3, 0), 0)
    assert row.model == str(pipeline)
    assert row.revision == Pipeline(str(pipeline)).revision


def test_every_image_has_a_seed_of_its_own(
    usual: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    """And it hangs on nothing but dataset, class name, prompt, place, attempt and the user."""
    recipe = built(tmp_path / "usual").recipe
    seeds = {
        seed_of(recipe, Place(label, number), attempt)
        for label in range(10)
        for number in range(50)
        for attempt in range(3)
    }
    assert len(seeds) == 10 * 50 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)

    backwards = recipe.model_copy(
        update={
            "classnames": recipe.classnames[::-1],
            "texts": recipe.texts[::-1],
            "per_class": 99,
        }
    )
    assert seed_of(backwards, Place(0, 5), 0) == seed_of(recipe, Place(9, 5), 0)
    for change in ({"dataset": "other"}, {"seed": 1}):
        other = recipe.model_copy(update=change)
        assert seed_of(other, Place(0, 5), 0) != seed_of(recipe, Place(0, 5), 0)


def test_places_are_listed_by_number_and_then_by_class(
    usual: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    recipe = built(tmp_path / "usual").recipe.model_copy(update={"texts": (("a", "b", "c"),) * 10})

    found = [place_at(position, recipe) for position in range(20)]

    assert found == [Place(label, number) for number in range(2) for label in range(10)]
    assert [prompt_of(recipe, Place(0, number)) for number in range(4)] == ["a", "b", "c", "a"]


def test_blank_images_are_drawn_again_and_counted(
    prudish: Path, tmp_path: Path, command: Command
) -> None:
    said = command(*words(prudish, 2), "--root", tmp_path)

    assert said.code == 0
    folder = built(tmp_path)
    assert folder.recipe.generation is not None
    assert folder.recipe.generation.safety_checker
    rows = folder.rows()
    again = [row for row in rows if row.redrawn]
    assert again
    assert len(again) < len(rows)
    told = sum(row.redrawn for row in rows)
    assert f"drawn again because they were blank: {told:,} times" in said.out
    for row in rows:
        attempt = row.redrawn
        assert row.seed == seed_of(folder.recipe, Place(row.class_id, row.place), attempt)
        assert row.fate == (KEPT if row.file else BLANK)
        assert row.fate == KEPT or attempt == TRIES - 1


def test_what_a_checker_never_lets_pass_stays_out(
    prudish: Path, tmp_path: Path, command: Command
) -> None:
    """It is told, kept in the manifest, not drawn again, and the set cannot be used."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "strict"
    shutil.copytree(prudish, folder)
    weights = folder / "safety_checker/model.safetensors"
    save_file(
        load_file(weights) | {"concept_embeds_weights": torch.full((17,), -1.0)},
        weights,
        metadata={"format": "pt"},
    )

    said = command(*words(folder, 1), "--root", tmp_path)

    assert said.code == 3
    assert said.out.splitlines()[0].endswith(": 0 images of 0 of 10 classes")
    assert "left out: 10 blank" in said.out
    assert "cannot be used: it has no image of 10 of 10 classes: zero, one, two, " in said.err
    assert said.err.count("\n") == 1
    rows = built(tmp_path).rows()
    assert {(row.fate, row.file, row.redrawn) for row in rows} == {(BLANK, "", TRIES - 1)}
    assert "nothing to do" in command(*words(folder, 1), "--root", tmp_path).out
    used = command(
        *("run", "--method", "tipx", "--setting", "name-only"),
        *("--support", built(tmp_path).path, "--json"),
    )
    assert used.code == 2
    assert "no image of 10 of 10 classes: zero, one, two, three, four and 5 more. " in used.err


def test_a_set_of_another_recipe_is_not_overwritten(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    root = tmp_path / "usual"

    other = command(*words(pipeline, guidance=1.5, seed=4), "--root", root)

    assert other.code == 2
    assert "images per class that differs in generation.guidance, seed. Use it as it" in other.err
    assert images(built(root)) == usual

    assert command(*words(pipeline, guidance=1.5, seed=4), "--root", root, "--force").code == 0
    assert images(built(root)) != usual
    assert built(root).recipe.seed == 4


def test_a_recipe_builds_the_same_set_elsewhere(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    recipe = built(tmp_path / "usual").path / "recipe.json"

    again = command("support", "build", "--recipe", recipe, "--root", tmp_path / "elsewhere")

    assert again.code == 0, again.err
    assert images(built(tmp_path / "elsewhere")) == usual
    assert (built(tmp_path / "elsewhere").path / "recipe.json").read_bytes() == recipe.read_bytes()

    option = command("support", "build", "--recipe", recipe, "--steps", 3)
    assert (option.code, "--steps does not go with --recipe" in option.err) == (2, True)


def test_a_recipe_is_not_rebuilt_from_other_weights(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    path = built(tmp_path / "usual").path / "recipe.json"
    recipe = Recipe.read(path)
    assert recipe.generation is not None
    other = recipe.model_copy(
        update={"generation": recipe.generation.model_copy(update={"revision": "0" * 64})}
    )
    changed = tmp_path / "changed.json"
    changed.write_text(other.model_dump_json(by_alias=True))

    said = command("support", "build", "--recipe", changed, "--root", tmp_path / "elsewhere")

    assert said.code == 2
    assert "cannot be rebuilt here: generation.revision would differ" in said.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--model", "./nowhere"), "--model ./nowhere: there is no such folder"),
        (("--model", "nowhere"), "--model nowhere: there is no such folder"),
        (("--model", "."), "has no model_index.json, so it is no diffusers pipeline"),
        (("--pool", "here"), "--pool goes with --kind sus-lc"),
        (("--import", "here"), "--import goes with --kind sus-lc"),
        (("--prompts", "phota"), "Did you mean photo"),
        (("--name", "../mine", "--model", "demo"), "--name ../mine: it is a name, not a path"),
        (("--prompts", "cupl"), "prompts from a file need --prompts-dir"),
    ],
)
def test_bad_options_are_told(given: tuple[str, str], message: str, command: Command) -> None:
    said = command(*BUILD, *given)

    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_weights_that_are_no_safetensors_are_refused(
    pipeline: Path, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(pipeline, folder)
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))

    said = command(*words(folder), "--root", tmp_path / "root")

    assert said.code == 2
    assert re.search(r"--model .*old: cannot be loaded: .*safetensors", said.err)


def test_a_pipeline_that_cannot_be_loaded_costs_no_set(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    other = shutil.copytree(pipeline, tmp_path / "other")
    (other / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"half")

    said = command(*words(other), "--root", tmp_path / "usual", "--force")

    assert said.code == 2
    assert "other: cannot be loaded" in said.err
    assert images(built(tmp_path / "usual")) == usual


def test_progress_ends_at_the_number_of_images(pipeline: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    builds.build(twenty(pipeline, tmp_path), heard.append)

    first, *advances, last = heard
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert (first.job.what, first.job.total, last.complete) == ("generating digits", 20, True)
    counts = [event.count for event in advances if isinstance(event, Advanced)]
    assert sum(counts) == pytest.approx(20)


def test_no_pipeline_stays_in_memory(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next data set, or an encoder, needs the gigabytes that it takes."""
    drawn: list[weakref.ref[Any]] = []

    def told(generate: Generate) -> None:
        begin(generate)
        drawn.append(weakref.ref(generate._pipe))

    begin = Generate.on_predict_start
    monkeypatch.setattr(Generate, "on_predict_start", told)
    gc.collect()
    gc.disable()
    try:
        build(twenty(pipeline, tmp_path))
        assert [made() for made in drawn] == [None]
    finally:
        gc.enable()


def test_a_full_disk_loses_nothing(
    pipeline: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after 12 files; with room again, the build goes on."""
    left = [12]
    sync = os.fsync

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = command(*words(pipeline), "--root", tmp_path)

    assert said.code == 2
    assert "cannot be written: No space left on device" in said.err
    assert 0 < len(built(tmp_path).progress()) < 20
    assert command(*words(pipeline), "--root", tmp_path).code == 0
    assert len(images(built(tmp_path))) == 20


def test_presets_are_the_published_ones() -> None:
    """Figures of the paper and of its generate_sd_sus.py."""
    published = PRESETS["published"]

    assert published.model.startswith("CompVis/stable-diffusion-v1-4@")
    assert (published.steps, published.guidance, published.per_class) == (85, 9.5, 100)
    assert BLOCK == 8


def test_a_damaged_manifest_is_told(
    usual: list[tuple[int, int, str]], pipeline: Path, tmp_path: Path, command: Command
) -> None:
    path = built(tmp_path / "usual").path / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-20])

    said = command(*words(pipeline), "--root", tmp_path / "usual")

    assert said.code == 2
    assert f"{path} was changed: its sha256 is " in said.err
    assert said.err.count("\n") == 1
    mend = shlex.split(said.err.split("`")[1])
    assert mend[:2] == ["susx-bench", "support"]
    assert command(*mend[1:]).code == 0
    assert images(built(tmp_path / "usual")) == usual


def _row(**changes: Any) -> Row:
    return Row(**({"class_id": 0, "place": 0, "prompt": "", "source": "x", "fate": KEPT} | changes))


def test_a_damaged_line_of_progress_is_told(tmp_path: Path) -> None:
    folder = SupportFolder(tmp_path)
    folder.note([_row(), _row(place=1)])
    (path,) = tmp_path.glob("progress-*")
    path.write_text(path.read_text().replace("class_id", "klass_id", 1))

    with pytest.raises(SupportError, match=r"progress-.* is damaged"):
        folder.progress()


def test_an_untrained_pipeline_is_the_same_each_time(pipeline: Path, tmp_path: Path) -> None:
    """The tests above stand on it."""
    assert Pipeline(str(untrained(tmp_path / "b"))).revision == Pipeline(str(pipeline)).revision
