"""Nothing of a support set that was changed is believed, and nobody builds in another's way."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from susx_bench.errors import OptionError, SupportError
from susx_bench.records.files import sha256_bytes
from susx_bench.support.build import build
from susx_bench.support.folder import SupportFolder
from susx_bench.support.images import BuiltSupport
from susx_bench.support.manifest import KEPT, Row, feature_sha256
from susx_bench.support.request import Request
from susx_bench.testing.task import unit
from tests.conftest import Command
from tests.support.test_folder import NAMES, folder, picture, recipe, spec
from tests.support.test_generate import built, images, twenty, words
from tests.support.test_retrieve import POOL, WORDS, digit_folder

__all__ = ["folder"]  # a fixture


def feature_rows(rows: int = 6) -> list[Row]:
    return [
        Row(
            class_id=i // 2,
            place=i % 2,
            prompt="",
            source=f"column {i}",
            fate=KEPT,
            sha256=feature_sha256(unit(rows, 8, 1)[i]),
        )
        for i in range(rows)
    ]


@pytest.fixture
def given_features(tmp_path: Path) -> SupportFolder:
    """Features in place of images, two for each of three classes."""
    made = SupportFolder(tmp_path / "root/pets/features")
    made.begin(recipe())
    made.put_features(unit(6, 8, 1))
    made.finish(feature_rows())
    return made


def seen(place: SupportFolder) -> list[Any]:
    """All that a run sees of a set."""
    support = BuiltSupport(place.path, spec(*NAMES))
    if support.features is not None:
        return [support.labels.tolist(), support.features.tolist(), support.sha256]
    pictures = [support.image(sample).tobytes() for sample in support.samples]
    return [support.labels.tolist(), pictures, support.sha256]


SUMMED = ("recipe.json", "manifest.parquet", "features.safetensors", "SHA256SUMS")


@pytest.mark.parametrize("kind", ["images", "features"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), data=st.data())
def test_one_bit_of_any_file_is_noticed(
    kind: str,
    folder: SupportFolder,
    given_features: SupportFolder,
    where: float,
    data: st.DataObject,
) -> None:
    place = folder if kind == "images" else given_features
    files = sorted(path for path in place.path.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    byte, bit = divmod(int(where * 8 * len(whole)), 8)
    flipped = bytearray(whole)
    flipped[byte] ^= 1 << bit
    try:
        path.write_bytes(flipped)

        with pytest.raises(SupportError) as told:
            seen(place)

        assert str(path) in str(told.value) or path.name == "SHA256SUMS" in str(told.value)
        assert "susx-bench support build" in str(told.value)
        assert "\n" not in str(told.value)
    finally:
        path.write_bytes(whole)
    assert seen(place)[0] == [0, 0, 1, 1, 2, 2]


def test_features_that_were_scaled_are_not_believed(given_features: SupportFolder) -> None:
    path = given_features.path / "features.safetensors"
    before = path.read_bytes()
    path.write_bytes(save({"features": 7 * unit(6, 8, 1)}))
    hashes = [sha256_bytes(content)[:12] for content in (path.read_bytes(), before)]

    with pytest.raises(SupportError) as told:
        seen(given_features)

    assert f"its sha256 is {hashes[0]}, SHA256SUMS has {hashes[1]}" in str(told.value)
    assert f"--recipe {given_features.path / 'recipe.json'}" in str(told.value)
    assert "--name features --force`" in str(told.value)


@pytest.mark.parametrize("gone", SUMMED[:2])
def test_a_file_that_is_gone_is_told(gone: str, folder: SupportFolder) -> None:
    (folder.path / gone).unlink()

    with pytest.raises(SupportError, match=rf"{gone}|no recipe\.json"):
        seen(folder)


OUTSIDE = "../../secret.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_id": 1000}, "row 5 is of class 1000, the recipe has 3 classes"),
        ({"class_id": -1}, "row 0 is of class -1, the recipe has 3 classes"),
        ({"class_id": -2}, "greater than or equal to -1"),
        ({"file": OUTSIDE}, "file ../../secret.png: String should match"),
        ({"file": "/etc/passwd"}, "file /etc/passwd: String should match"),
        ({"file": "images/00000/0000.png"}, "has the image of another row, images/00000/0000.png"),
        ({"file": ""}, "has no image, or no place and hash of one"),
        ({"sha256": ""}, "has no image, or no place and hash of one"),
        ({"sha256": "x" * 64}, "String should match"),
        ({"place": -1}, "has no image, or no place and hash of one"),
        ({"score": float("nan")}, "score nan: Input should be a finite number"),
    ],
)
def test_a_manifest_of_a_stranger_is_checked(
    changes: dict[str, Any], message: str, folder: SupportFolder, tmp_path: Path
) -> None:
    """Its hash is right, because whoever wrote it wrote the hash as well."""
    (folder.path / OUTSIDE).write_bytes(picture(1))
    *others, last = [row for row in folder.rows() if row.fate == KEPT]
    folder.finish([*others, Row.model_construct(**(last.model_dump() | changes))])

    with pytest.raises(SupportError, match=message) as told:
        seen(folder)

    assert "manifest.parquet" in str(told.value)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 1e9])
@pytest.mark.parametrize("option", ["guidance", "steps", "per_class", "seed"])
def test_what_cannot_be_built_leaves_nothing(option: str, value: float, tmp_path: Path) -> None:
    number: Any = value if option == "guidance" else -1 if value != value else int(value)
    if (option, number) == ("seed", 10**9):
        return  # a seed may be that
    asked = {"dataset": "digits", "kind": "sus-sd", "root": tmp_path / "root", option: number}

    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')}: "):
        build(Request(**asked))

    assert not (tmp_path / "root").exists()


def test_more_steps_than_the_scheduler_has_are_told(
    pipeline: Path, tmp_path: Path, command: Command
) -> None:
    """And the right number is taken afterwards, in the same place."""
    short = Path(shutil.copytree(pipeline, tmp_path / "short"))
    config = short / "scheduler/scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_train_timesteps": 5}))
    root = tmp_path / "root"
    line = [word for word in words(short, 1) if word not in ("--steps", "2")]

    many = command(*line, "--steps", 6, "--root", root)

    assert many.code == 2
    assert f"--steps 6: the scheduler of {short} has 5." in many.err
    assert many.err.count("\n") == 1
    assert not root.exists()
    assert command(*line, "--steps", 2, "--root", root).code == 0


def test_a_first_build_that_fails_leaves_nothing(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    request = twenty(pipeline, root)

    def fails(*given: Any) -> None:
        raise OptionError("no such device")

    with monkeypatch.context() as patch:
        patch.setattr("susx_bench.support.generate.generate", fails)
        with pytest.raises(OptionError, match="no such device"):
            build(request)

    assert not [path for path in root.rglob("*") if path.suffix != ".lock"][1:]
    other = Request(**(vars(request) | {"guidance": 2.0, "per_class": 1}))
    assert build(other).recipe.generation.guidance == 2.0  # type: ignore[union-attr]


def test_a_recipe_of_a_killed_build_that_made_nothing_is_no_set(
    pipeline: Path, tmp_path: Path
) -> None:
    once = build(twenty(pipeline, tmp_path / "once"))
    killed = SupportFolder(tmp_path / "root/digits/sus-sd-photo")
    killed.begin(once.recipe)

    other = Request(**(vars(twenty(pipeline, tmp_path / "root")) | {"seed": 7}))

    assert build(other).recipe.seed == 7


def test_a_recipe_with_impossible_values_is_no_recipe(
    folder: SupportFolder, tmp_path: Path
) -> None:
    content = json.loads((folder.path / "recipe.json").read_text())
    for change, message in (
        ({"per_class": 0}, "per_class"),
        ({"per_class": 10**30}, "per_class"),
        ({"seed": -1}, "seed"),
        ({"texts": [["a cat."]]}, "3 classes, texts for 1"),
        ({"texts": [["a"], [], ["b"]]}, r"texts\.1"),
    ):
        path = tmp_path / "recipe.json"
        path.write_text(json.dumps(content | change))
        with pytest.raises(SupportError, match=rf"is no recipe: .*{message}"):
            type(recipe()).read(path)


def test_images_that_were_changed_are_made_again(
    pipeline: Path, tmp_path: Path, command: Command
) -> None:
    """Gone, cut off, replaced by another picture."""
    line = (*words(pipeline), "--root", tmp_path)
    assert command(*line).code == 0
    place = built(tmp_path)
    before = images(place)
    gone, cut, other = (place.path / row.file for row in place.rows()[3:6])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-9])
    other.write_bytes(picture(77))

    again = command(*line)

    assert again.code == 0, again.err
    assert "3 images are gone or were changed; made again" in again.err
    assert "nothing to do" not in again.out
    assert images(place) == before
    assert all(map(place.intact, place.rows()))
    assert "nothing to do" in command(*line).out


def test_imported_images_that_were_changed_are_taken_again(
    tmp_path: Path, command: Command
) -> None:
    mine = digit_folder(tmp_path / "mine", WORDS)
    line = (*POOL, "--dataset", "digits", "--import", mine, "--per-class", 2)
    assert command(*line).code == 0
    place = SupportFolder(tmp_path / "support/digits/sus-lc-photo")
    before = place.rows()
    (place.path / before[7].file).write_bytes(picture(1))

    shown = command("support", "show", place.path)
    again = command(*line)

    assert (shown.code, "was changed" in shown.err) == (2, True)
    assert "1 images are gone or were changed; made again" in again.err
    assert place.rows() == before
    assert all(map(place.intact, before))


def test_answers_of_a_backend_are_sealed(tmp_path: Path) -> None:
    from susx_bench.support.folder import append_sealed, sealed_lines

    path = tmp_path / "progress.answers"
    append_sealed(path, [["a cat", 4, [["http://a/b.jpg", 0.5]]], ["a dog", 4, []]])
    whole = path.read_bytes()
    assert [json.loads(text)[0] for text in sealed_lines(path)] == ["a cat", "a dog"]

    for byte in range(len(whole) - 1):  # the last one ends the last line, which may be torn
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[byte] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(SupportError, match=r"progress\.answers is damaged"):
                list(sealed_lines(path))


def slowly(request: Request, start: Any, ends: Any) -> None:
    """Build in a process of its own, slowly enough for the others to come in between."""
    put = SupportFolder.put

    def late(self: SupportFolder, *given: Any) -> Any:
        time.sleep(0.01)
        return put(self, *given)

    SupportFolder.put = late  # type: ignore[method-assign, assignment]
    start.wait()
    done = build(request)
    ends.put((done.fresh, [row.sha256 for row in done.rows]))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("killed", [False, True])
def test_six_builds_of_one_set_at_once(killed: bool, tmp_path: Path) -> None:
    """One builds, the others wait for it; where it is killed, the next one goes on."""
    mine = digit_folder(tmp_path / "mine", WORDS, each=4)

    def request(root: str) -> Request:
        return Request(
            dataset="digits", kind="sus-lc", from_folder=mine, per_class=4, root=tmp_path / root
        )

    want = [row.sha256 for row in SupportFolder(build(request("alone")).folder).rows()]
    context = multiprocessing.get_context("fork")
    start, ends = context.Barrier(7), context.Queue()
    processes = [
        context.Process(target=slowly, args=(request("root"), start, ends)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    start.wait()
    place = SupportFolder(tmp_path / "root/digits/sus-lc-photo")
    if killed:
        victim = _holder(place, processes)
        os.kill(victim, signal.SIGKILL)
    for process in processes:
        process.join()

    codes = sorted(process.exitcode or 0 for process in processes)
    assert codes == ([-9] if killed else []) + [0] * (5 if killed else 6)
    found = [ends.get(timeout=10) for _ in range(5 if killed else 6)]
    assert sum(fresh for fresh, _ in found) == 1
    assert all(hashes == want for _, hashes in found)
    assert [row.sha256 for row in place.rows()] == want
    # filelock before 4 removes the lock.
    left = {p.name for p in place.path.parent.iterdir()}
    assert left - {place.lock.name} == {place.path.name}
    assert not list(place.path.glob("progress*"))


def _holder(place: SupportFolder, processes: Sequence[Any]) -> int:
    """The process that builds, once it has made something: the one that has its lock."""
    deadline = time.monotonic() + 60
    while not list(place.path.glob("images/*/*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    inode = place.lock.stat().st_ino
    (line,) = [
        line.split()
        for line in Path("/proc/locks").read_text().splitlines()
        if f":{inode} " in line and "->" not in line
    ]
    holder = int(line[4])
    assert holder in [process.pid for process in processes]
    return holder


def test_features_of_a_bundle_stay_unit(given_features: SupportFolder) -> None:
    assert given_features.features is not None
    torch.testing.assert_close(given_features.features, unit(6, 8, 1))
    given_features.put_features(3 * unit(6, 8, 1))
    given_features.finish(feature_rows())

    with pytest.raises(SupportError, match="its rows are not all of length 1"):
        seen(given_features)


def test_features_are_those_that_a_record_knows_the_set_by(given_features: SupportFolder) -> None:
    """Other ones with hashes to match would have another number under the same input hash."""
    given_features.put_features(unit(6, 8, 1).flip(0))
    given_features.finish(feature_rows())

    with pytest.raises(SupportError, match="6 rows that are not the 6 of the manifest"):
        seen(given_features)
