"""SuS-LC: who finds what, who gets it, and what becomes of everything that was tried."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from susx_bench.data.decode import decode
from susx_bench.data.duplicates import Seen, look
from susx_bench.errors import RetrievalError, SupportError
from susx_bench.features.launch import Launch
from susx_bench.support import build as builds
from susx_bench.support import download, origins
from susx_bench.support.download import Limits
from susx_bench.support.folder import SupportFolder
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.recipe import Recipe, Retrieval
from susx_bench.support.request import Request
from susx_bench.support.retrieve import (
    COPY_IN_SET,
    COPY_OF_TEST,
    TAKEN,
    UNREADABLE,
    Candidate,
    Content,
    by_turns,
    depth,
    nearest,
    settle,
)
from susx_bench.testing.task import unit
from tests.conftest import Command
from tests.support.site import Handler, Route, Site, hangs, says, says_json


def test_nearest_is_what_torch_finds() -> None:
    rows, queries = unit(500, 16, 1), unit(7, 16, 2)

    scores, places = nearest(rows.numpy(), queries.numpy(), 20, "exact")

    best = (queries @ rows.T).topk(20)
    assert torch.equal(torch.from_numpy(places), best.indices)
    torch.testing.assert_close(torch.from_numpy(scores), best.values)


def test_of_equal_rows_the_first_comes_first() -> None:
    rows = unit(4, 8, 1)[[0, 1, 1, 2, 1, 3]]

    _, places = nearest(rows.numpy(), rows[[1]].numpy(), 3, "exact")

    assert places.tolist() == [[1, 2, 4]]


def test_asking_for_more_than_there_is_gives_all() -> None:
    _, places = nearest(unit(3, 8, 1).numpy(), unit(2, 8, 2).numpy(), 10, "exact")

    assert [sorted(row) for row in places.tolist()] == [[0, 1, 2]] * 2


def test_an_inverted_file_finds_nearly_all_of_it() -> None:
    """Of clustered rows, as features are: at least 95 % of the exact neighbours."""
    generator = torch.Generator().manual_seed(3)
    centres = unit(40, 32, 4)[torch.randint(40, (8000,), generator=generator)]
    rows = torch.nn.functional.normalize(centres + 0.3 * unit(8000, 32, 5), dim=-1).numpy()
    queries = rows[::400]

    _, exact = nearest(rows, queries, 10, "exact")
    _, found = nearest(rows, queries, 10, "ivf")

    shared = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert sum(shared) >= 0.95 * exact.size
    assert found.tolist() == nearest(rows, queries, 10, "ivf")[1].tolist()


def test_a_small_inverted_file_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    rows = unit(5, 8, 1)

    _, places = nearest(rows.numpy(), rows.numpy(), 1, "ivf")

    assert places.tolist() == [[0], [1], [2], [3], [4]]
    assert capfd.readouterr() == ("", "")


def candidates(names: str, prompt: str = "p") -> list[Candidate]:
    return [Candidate(prompt, name, 0.5) for name in names]


def test_prompts_take_turns() -> None:
    merged = by_turns([candidates("abc", "1"), candidates("bd", "2"), candidates("", "3")])

    assert [(one.source, one.prompt) for one in merged] == [
        ("a", "1"),
        ("b", "2"),
        ("d", "2"),
        ("c", "1"),
    ]


def taken_in_turn(lists: Sequence[str]) -> list[tuple[str, str]]:
    """The rule in plain loops: source and prompt, an image where it is met first."""
    order: list[tuple[str, str]] = []
    for rank in range(max(map(len, lists), default=0)):
        for number, names in enumerate(lists):
            if rank < len(names) and names[rank] not in [source for source, _ in order]:
                order.append((names[rank], str(number)))
    return order


@pytest.mark.parametrize(
    ("lists", "want"),
    [
        (("abcd", "aefg", "hija"), "ahbeicfjdg"),  # first of two prompts, fourth of the third
        (("ab", "ba"), "ab"),
        (("abc", "", "cab"), "acb"),
        (("a",), "a"),
        ((), ""),
    ],
)
def test_an_image_of_several_prompts_keeps_its_best_place(
    lists: tuple[str, ...], want: str
) -> None:
    merged = by_turns([candidates(names, str(i)) for i, names in enumerate(lists)])

    assert "".join(one.source for one in merged) == want
    assert [(one.source, one.prompt) for one in merged] == taken_in_turn(lists)


def test_any_lists_of_several_prompts_are_merged_by_that_rule() -> None:
    chance = random.Random(0)
    for _ in range(300):
        lists = ["".join(chance.sample("abcdefgh", chance.randint(0, 8))) for _ in range(4)]

        merged = by_turns([candidates(names, str(i)) for i, names in enumerate(lists)])

        assert [(one.source, one.prompt) for one in merged] == taken_in_turn(lists)


@pytest.mark.parametrize(("per_class", "prompts", "want"), [(16, 1, 64), (10, 3, 14), (1, 9, 1)])
def test_more_are_asked_for_than_are_wanted(per_class: int, prompts: int, want: int) -> None:
    assert depth(per_class, prompts) == want


def picture(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


class Shelf:
    """Candidates by letter; a letter stands for one picture, capitals for a copy of it."""

    def __init__(self, *lists: str, dies_after: int = 10**9) -> None:
        self._lists = lists
        self.reads: list[str] = []
        self._dies_after = dies_after

    def candidates(self) -> list[list[Candidate]]:
        return [candidates(names) for names in self._lists]

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        for name in sources:
            if len(self.reads) == self._dies_after:
                raise KeyboardInterrupt
            self.reads.append(name)
            yield self.content(name)

    @staticmethod
    def content(name: str) -> Content:
        if name == "!":
            return Content(None, "timed out")
        if name == "?":
            return Content(b"no image", "fetched")
        side = 48 if name.isupper() else 24
        return Content(picture(ord(name.lower()), side), "fetched")


def recipe(classes: int, per_class: int) -> Recipe:
    return Recipe(
        kind="sus-lc",
        dataset="letters",
        classnames=tuple(f"class {i}" for i in range(classes)),
        prompts="photo",
        texts=(("p",),) * classes,
        per_class=per_class,
        seed=0,
        retrieval=Retrieval(source="import", place="shelf"),
    )


def seen(names: str) -> Seen:
    found = Seen()
    for name in names:
        found.add(f"test/{name}", look(decode(picture(ord(name)))))
    return found


def settled(
    folder: Path, shelf: Shelf, per_class: int, test: str = "", classes: int = 2
) -> list[Row]:
    where = SupportFolder(folder)
    where.begin(recipe(classes, per_class))
    return settle(
        where, where.recipe, shelf.candidates(), shelf.read, seen(test), lambda count: None
    )


def by_hand(lists: Sequence[str], per_class: int, test: str) -> dict[tuple[int, str], str]:
    """The rule in plain loops: waves; in a wave by rank and then by class; first come."""
    fates: dict[tuple[int, str], str] = {}
    kept: list[list[str]] = [[] for _ in lists]
    tried = [0] * len(lists)
    while True:
        wave = []
        for label, names in enumerate(lists):
            for _ in range(per_class - len(kept[label])):
                if tried[label] < len(names):
                    wave.append((tried[label], label, names[tried[label]]))
                    tried[label] += 1
        if not wave:
            return fates
        for _, label, name in sorted(wave):
            everyone = [other for others in kept for other in others]
            if name in everyone:
                fate = TAKEN
            elif name == "!":
                fate = "timed out"
            elif name == "?":
                fate = UNREADABLE
            elif name.lower() in test:
                fate = COPY_OF_TEST
            elif name.lower() in [other.lower() for other in everyone]:
                fate = COPY_IN_SET
            else:
                fate = KEPT
                kept[label].append(name)
            fates[label, name] = fate


@pytest.mark.parametrize(
    ("lists", "per_class", "test"),
    [
        (("abcd", "efgh"), 2, ""),
        (("abcd", "efgh"), 2, "ae"),
        (("a!?bcd", "efgh"), 3, ""),
        (("abcde", "bAfgh"), 3, ""),
        (("aAbBcd", "cdefg"), 3, "d"),
        (("abc", ""), 2, ""),
        (("!!", "!?"), 2, ""),
        (("ab", "ab"), 2, ""),
    ],
)
def test_everybody_is_served_in_turn_and_every_fate_is_kept(
    lists: tuple[str, ...], per_class: int, test: str, tmp_path: Path
) -> None:
    rows = settled(tmp_path, Shelf(*lists), per_class, test)

    assert {(r.class_id, r.source): r.fate for r in rows} == by_hand(lists, per_class, test)
    for label in range(len(lists)):
        kept = [row for row in rows if row.class_id == label and row.fate == KEPT]
        assert [row.place for row in kept] == list(range(len(kept)))
        for row in kept:
            content = (tmp_path / row.file).read_bytes()
            assert content == Shelf.content(row.source).content
            assert row.file == f"images/{label:05d}/{row.place:04d}.png"
    copies = [row for row in rows if row.fate == COPY_OF_TEST]
    assert [row.of for row in copies] == [f"test/{row.source.lower()}" for row in copies]


@pytest.mark.parametrize("stop", range(8))
def test_an_interrupted_build_reads_nothing_twice(stop: int, tmp_path: Path) -> None:
    lists = ("aAb!cd", "cdeBf?g")
    shelf = Shelf(*lists)
    whole = settled(tmp_path / "whole", shelf, 3, "d")

    first = Shelf(*lists, dies_after=stop)
    with pytest.raises(KeyboardInterrupt):
        settled(tmp_path / "cut", first, 3, "d")
    then = Shelf(*lists)
    rows = settled(tmp_path / "cut", then, 3, "d")

    assert rows == whole
    assert len(first.reads) == stop
    assert first.reads + then.reads == shelf.reads


def test_an_image_that_was_damaged_meanwhile_is_read_again(tmp_path: Path) -> None:
    whole = settled(tmp_path / "whole", Shelf("abc", "def"), 3)
    with pytest.raises(KeyboardInterrupt):
        settled(tmp_path / "cut", Shelf("abc", "def", dies_after=4), 3)
    (tmp_path / "cut/images/00000/0001.png").write_bytes(b"no image")
    shelf = Shelf("abc", "def")

    rows = settled(tmp_path / "cut", shelf, 3)

    assert rows == whole
    assert shelf.reads == ["b", "c", "f"]


# From here on through the command line, with real images and the demo's encoder.

POOL = ("support", "build", "--kind", "sus-lc")


@pytest.fixture
def photos(real: Path, tmp_path: Path) -> Path:
    """120 real photographs in a folder that can be added to."""
    pool = tmp_path / "photos"
    for file in sorted((real / "caltech101").glob("101_ObjectCategories/*/*.jpg"))[::8]:
        place = pool / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return pool


def rows_of(tmp_path: Path, dataset: str = "cifar10") -> list[Row]:
    """Rows of the one set of a dataset, behind whose name a hash may stand."""
    (path,) = (tmp_path / "support").glob(f"{dataset}*/sus-lc-photo")
    return SupportFolder(path).rows()


@pytest.mark.real
def test_a_pool_of_real_photographs(
    real: Path, photos: Path, tmp_path: Path, command: Command
) -> None:
    """For the ten names of CIFAR-10, against torch's own ranking of the same features."""
    from susx_bench.encoders.openclip import OpenClip

    words = (
        *(*POOL, "--dataset", real / "cifar10", "--pool", photos, "--per-class", 3),
        *("--encoder", "demo"),
    )
    said = command(*words)

    assert said.code == 0, said.err
    assert "30 images of 10 classes" in said.out
    kept = [row for row in rows_of(tmp_path) if row.fate == KEPT]
    assert [row.class_id for row in kept] == [label for label in range(10) for _ in range(3)]

    towers = OpenClip("demo").towers
    files = sorted(photos.rglob("*.jpg"))
    pixels = torch.stack([towers.transform(decode(file.read_bytes())) for file in files])
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
    texts = towers.texts([[f"a photo of a {name}."] for name in (*names, "truck")])
    with torch.no_grad():
        cosines = texts @ towers.images(pixels).T
    for label in range(10):
        first = kept[3 * label]
        best = [files[i].relative_to(photos).as_posix() for i in cosines[label].topk(12).indices]
        tried = [row for row in rows_of(tmp_path) if row.class_id == label]
        assert {row.source for row in tried} <= set(best)
        assert first.score is not None
        assert first.score == pytest.approx(
            float(cosines[label, files.index(photos / first.source)]), abs=1e-5
        )
    assert "nothing to do" in command(*words).out


@pytest.mark.real
def test_copies_of_test_images_are_caught_and_named(
    real: Path, photos: Path, tmp_path: Path, command: Command
) -> None:
    """Planted in the pool: as it is, shrunk, recompressed. Without the check they get in."""
    from susx_bench.data.custom import open_dataset

    test = open_dataset(str(real / "cifar10")).split("test")
    planted = {}
    for place in range(0, 60, 3):
        image = test.image(test.samples[place])
        for how, side, quality in (("same", 32, 0), ("small", 24, 0), ("coarse", 32, 60)):
            name = f"planted-{place}-{how}.{'jpg' if quality else 'png'}"
            copy = image.resize((side, side), Image.Resampling.BICUBIC)
            copy.save(photos / name, quality=quality or None)
            planted[name] = f"test/{test.samples[place].key}"
    words = (
        *(*POOL, "--dataset", real / "cifar10", "--pool", photos, "--per-class", 9),
        *("--encoder", "demo"),
    )

    said = command(*words)

    assert said.code == 0, said.err
    rows = rows_of(tmp_path)
    caught = {row.source: row.of for row in rows if row.fate == COPY_OF_TEST}
    assert caught
    assert caught.items() <= planted.items()
    assert not [row for row in rows if row.fate == KEPT and row.source in planted]
    count = sum(row.fate == COPY_OF_TEST for row in rows)
    assert f"{count} {COPY_OF_TEST}" in said.out

    assert command(*words, "--no-test-check", "--force").code == 0

    assert [row for row in rows_of(tmp_path) if row.fate == KEPT and row.source in planted]
    shown = command("support", "show", "sus-lc", "--dataset", real / "cifar10")
    assert "copies of test images were not looked for" in shown.out


@pytest.mark.real
def test_unreadable_images_of_a_pool_are_counted_and_never_taken(
    real: Path, photos: Path, tmp_path: Path, command: Command
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    cut = next(photos.rglob("*.jpg")).read_bytes()
    (photos / "cut.jpg").write_bytes(cut[: len(cut) // 3])

    words = (*POOL, "--dataset", real / "cifar10", "--pool", photos, "--encoder", "demo")
    said = command(*words, "--per-class", 2)

    assert said.code == 0, said.err
    rows = rows_of(tmp_path)
    bad = [row.source for row in rows if row.fate == UNREADABLE]
    assert sorted(bad) == ["broken.jpg", "cut.jpg"]
    assert "2 unreadable" in said.out
    assert len([row for row in rows if row.fate == KEPT]) == 20


def test_a_pool_without_a_readable_image_is_told(tmp_path: Path, command: Command) -> None:
    pool = tmp_path / "bad"
    pool.mkdir()
    for name in ("a.jpg", "b.png"):
        (pool / name).write_bytes(b"<html>")

    said = command(*POOL, "--dataset", "digits", "--pool", pool)

    assert said.code == 2
    assert f"--pool {pool}: none of its 2 images can be read, such as a.jpg" in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "support/digits").exists()


def test_a_pool_without_a_readable_image_costs_no_set(tmp_path: Path, command: Command) -> None:
    good, bad = digit_folder(tmp_path / "good", WORDS), tmp_path / "bad"
    bad.mkdir()
    (bad / "a.jpg").write_bytes(b"<html>")
    words = (*POOL, "--dataset", "digits", "--per-class", 1, "--pool")
    assert command(*words, good).code in (0, 3)  # noise may be like no digit
    before = rows_of(tmp_path, "digits")
    assert before

    said = command(*words, bad, "--force")

    assert said.code == 2
    assert "none of its 1 images can be read" in said.err
    assert rows_of(tmp_path, "digits") == before


@pytest.mark.real
def test_a_pool_of_parquet_and_a_run_on_what_it_gave(
    real: Path, tmp_path: Path, command: Command
) -> None:
    """Retrieved from CIFAR-10's own table for digits, which it has none of; and used."""
    words = (*POOL, "--dataset", "digits", "--pool", real / "cifar10/plain_text")

    said = command(*words, "--per-class", 4, "--search", "ivf")

    assert said.code == 0, said.err
    rows = [row for row in rows_of(tmp_path, "digits") if row.fate == KEPT]
    assert len(rows) == 40
    files = {f"{split}-00000-of-00001.parquet" for split in ("train", "test")}
    assert {row.source.rpartition("/")[0] for row in rows} <= files
    run = command(
        *("run", "--method", "tip-adapter", "--setting", "name-only", "--support", "sus-lc"),
        *("--shots", "2,4", "--seed", "1", "--json"),
    )
    assert run.code == 0, run.err
    assert [record["support"] for record in run.records] == ["sus-lc-photo"] * 2
    assert [record["shots"] for record in run.records] == [2, 4]


def digit_folder(root: Path, names: Sequence[str], each: int = 2) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(each):
            (root / name / f"{i}.png").write_bytes(picture(100 * number + i))
    return root


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_a_folder_of_images_is_imported_by_class_names(tmp_path: Path, command: Command) -> None:
    """Folders are sorted by name, eight before five: labels are not their order."""
    folder = digit_folder(tmp_path / "mine", WORDS)

    said = command(*POOL, "--dataset", "digits", "--import", folder, "--per-class", 2)

    assert said.code == 0, said.err
    rows = rows_of(tmp_path, "digits")
    assert [(row.class_id, row.source) for row in rows] == [
        (label, f"{name}/{i}.png") for label, name in enumerate(WORDS) for i in range(2)
    ]
    used = command(
        "run", "--method", "tipx", "--setting", "name-only", "--support", "sus-lc", "--json"
    )
    assert used.code == 0, used.err
    assert used.records[0]["support_images"] == 20


def test_a_set_of_an_earlier_version_is_built_again(tmp_path: Path, command: Command) -> None:
    """It may have its images in an order that is no longer the rule."""
    folder = digit_folder(tmp_path / "mine", WORDS)
    words = (*POOL, "--dataset", "digits", "--import", folder, "--per-class", 1)
    assert command(*words).code == 0
    before = rows_of(tmp_path, "digits")
    path = tmp_path / "support/digits/sus-lc-photo/recipe.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    path.with_name("SHA256SUMS").unlink()  # which such sets did not have

    used = command("run", "--method", "tipx", "--setting", "name-only", "--support", "sus-lc")
    again = command(*words)

    assert (used.code, "is a recipe of schema 1, this version has 2" in used.err) == (2, True)
    assert again.code == 0, again.err
    assert "is of an earlier version of susx-bench; it is built again" in again.err
    assert '"schema": 2' in path.read_text()
    assert rows_of(tmp_path, "digits") == before
    assert "nothing to do" in command(*words).out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (WORDS[:9], "nine"),
        ((*WORDS, "ten"), "ten"),
        ((), "it is no folder with a folder of images for each class"),
    ],
)
def test_a_folder_with_other_classes_is_told(
    names: Sequence[str], message: str, tmp_path: Path, command: Command
) -> None:
    folder = digit_folder(tmp_path / "mine", names)

    said = command(*POOL, "--dataset", "digits", "--import", folder)

    assert (said.code, message in said.err) == (2, True)
    assert said.err.count("\n") == 1


def test_fewer_images_than_asked_for_are_counted_by_class(tmp_path: Path, command: Command) -> None:
    folder = digit_folder(tmp_path / "mine", WORDS, each=3)
    (folder / "seven/1.png").write_bytes(b"")
    (folder / "two/0.png").unlink()

    said = command(*POOL, "--dataset", "digits", "--import", folder, "--per-class", 3)

    assert said.code == 0, said.err
    assert "28 images of 10 classes" in said.out
    assert "left out: 1 unreadable" in said.out
    assert "fewer than 3 images: two 2, seven 2" in said.out
    run = command("run", "--method", "tipx", "--setting", "name-only", "--support", "sus-lc")
    assert run.code == 0, run.err


def test_prompts_that_find_the_same_images_leave_no_class_short(
    tmp_path: Path, command: Command
) -> None:
    """Seven prompts of a class found 10 images each, all nearly the same ones, of 120."""
    digit_folder(tmp_path / "pool", WORDS, each=12)
    names = ("--classes", "zero,one", "--pool", tmp_path / "pool", "--encoder", "demo")

    said = command(
        *("support", "build", "--kind", "sus-lc", "--prompts", "ensemble", "--per-class", 16),
        *names,
    )

    assert said.code == 0, said.err
    assert "32 images of 2 classes" in said.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "0 were given"),
        (("--pool", "a", "--import", "b"), "2 were given"),
        (("--pool", "nowhere"), "--pool nowhere: there is no such folder"),
        (
            ("--pool", "."),
            "it has no image, and none in a Parquet file, an Arrow file or a tar; it has nothing",
        ),
        (("--backend", "http://127.0.0.1:9"), "--backend needs --index"),
        (("--import", ".", "--steps", "3"), "--steps goes with --kind sus-sd"),
        (("--import", ".", "--prompts", "cupl", "--prompts-dir", "."), "cannot be read"),
    ],
)
def test_bad_options_are_told(
    given: tuple[str, ...], message: str, tmp_path: Path, command: Command
) -> None:
    digit_folder(tmp_path / "mine", WORDS)
    (tmp_path / "empty").mkdir()
    words = [
        tmp_path / ("empty" if "--pool" in given else "mine") if w == "." else w for w in given
    ]

    said = command(*POOL, "--dataset", "digits", *words)

    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [({"ten": ["ten."]}, "ten", 0), ({"nine": None}, "nine", 2)],
)
def test_prompts_of_other_classes_are_told(
    change: dict[str, list[str] | None], message: str, code: int, tmp_path: Path, command: Command
) -> None:
    folder = digit_folder(tmp_path / "mine", WORDS)
    table: dict[str, list[str] | None] = {name: [f"a {name}."] for name in WORDS}
    table = {name: texts for name, texts in (table | change).items() if texts}
    (tmp_path / "CuPL_prompts_digits.json").write_text(json.dumps(table))

    said = command(
        *(*POOL, "--dataset", "digits", "--import", folder),
        *("--prompts", "cupl", "--prompts-dir", tmp_path),
    )

    assert (said.code, message in said.err) == (code, True)


# The web, on loopback: a backend as clip-retrieval has it, and a site with all kinds of answers.


@pytest.fixture
def web(real: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Answers for the digits: real photographs, and nine kinds of trouble before them."""
    monkeypatch.setattr(download, "_resolve", lambda host, port: ["127.0.0.1"])
    monkeypatch.setattr(download, "_is_public", lambda address: True)
    monkeypatch.setattr(download, "_PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "*")
    files = sorted((real / "caltech101").glob("101_ObjectCategories/*/*.jpg"))
    with Site() as site:
        trouble = {
            "/html": says(b"<html>sold</html>", Content_Type="image/jpeg"),
            "/5gb": says_head({"Content_Length": str(5 * 2**30)}),
            "/hangs": hangs,
            "/gone": says(b"", 404),
            "/broken": says(files[0].read_bytes()[:1000]),
        }
        site.routes |= trouble
        site.routes["/indices-list"] = says_json(["laion"])
        for i, file in enumerate(files[::3]):
            site.routes[f"/{i}.jpg"] = says(file.read_bytes())

        def knn(handler: Handler) -> None:
            asked = json.loads(site.body)
            label = WORDS.index(asked["text"].split()[-1].rstrip("."))
            paths = [
                *(trouble if label == 3 else ()),
                *(f"/{10 * label + i}.jpg" for i in range(8)),
            ]
            paths = paths[: asked["num_images"]]
            urls = [site.url(path) for path in paths]
            if label == 4:
                urls[0] = "ftp://a.test/x.jpg"
            hits = [
                {"url": url, "caption": "", "id": i, "similarity": 0.9 - i / 100}
                for i, url in enumerate(urls)
            ]
            handler.send(json.dumps(hits).encode(), Content_Type="application/json")

        site.routes["/knn-service"] = knn
        yield site


def says_head(headers: dict[str, str]) -> Route:
    """A promise of a body that never comes."""

    def route(handler: Handler) -> None:
        handler.head(200, headers)
        handler.close_connection = True

    return route


@pytest.mark.real
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_backend_and_a_web_full_of_trouble(
    web: Site, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every URL's fate is in the manifest, and no image stands under a wrong label."""
    monkeypatch.setattr(origins, "LIMITS", Limits(seconds=3))
    url = web.url("", "127.0.0.1")

    said = command(
        *(*POOL, "--dataset", "digits", "--backend", url, "--index", "laion"),
        *("--per-class", 3),
    )

    assert said.code == 0, said.err
    rows = rows_of(tmp_path, "digits")
    fates = {row.source.rpartition("/")[2]: row.fate for row in rows if row.fate != KEPT}
    assert fates == {
        "html": "not an image",
        "5gb": "too large",
        "hangs": "timed out",
        "gone": "not found",
        "broken": "not an image",
        "x.jpg": "bad url",
    }
    kept = [row for row in rows if row.fate == KEPT]
    assert len(kept) == 30
    for row in kept:
        number = int(row.source.rpartition("/")[2].removesuffix(".jpg"))
        assert number // 10 == row.class_id
        assert row.score is not None
    asked = web.seen.count("/knn-service")
    assert asked == 10
    assert (
        "nothing to do"
        in command(
            *(*POOL, "--dataset", "digits", "--backend", url, "--index", "laion"),
            *("--per-class", 3),
        ).out
    )
    assert web.seen.count("/knn-service") == asked


@pytest.mark.real
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_backend_gives_what_a_pool_gives(
    real: Path, photos: Path, web: Site, tmp_path: Path, command: Command
) -> None:
    """The same photographs, searched by a server and fetched from it: the same support set."""
    import faiss

    from susx_bench.encoders.openclip import OpenClip

    towers = OpenClip("demo").towers
    files = sorted(photos.rglob("*.jpg"))
    pixels = torch.stack([towers.transform(decode(file.read_bytes())) for file in files])
    index = faiss.IndexFlatIP(64)
    with torch.no_grad():
        index.add(towers.images(pixels).numpy())
    for i, file in enumerate(files):
        web.routes[f"/{i}.jpg"] = says(file.read_bytes())

    def knn(handler: Handler) -> None:
        asked = json.loads(web.body)
        with torch.no_grad():
            text = towers.texts([[asked["text"]]]).numpy()
        scores, places = index.search(text, asked["num_images"])
        hits = [
            {"url": web.url(f"/{i}.jpg"), "caption": "", "id": i, "similarity": score}
            for score, i in zip(scores[0].tolist(), places[0].tolist(), strict=True)
        ]
        handler.send(json.dumps(hits).encode(), Content_Type="application/json")

    web.routes["/knn-service"] = knn
    words = (*POOL, "--dataset", real / "cifar10", "--per-class", 3, "--name")

    backend = ("--backend", web.url("", "127.0.0.1"), "--index", "laion")
    for said in (
        command(*words, "pool", "--pool", photos, "--encoder", "demo"),
        command(*words, "web", *backend),
    ):
        assert said.code == 0, said.err

    pool, web_rows = (
        SupportFolder(next((tmp_path / "support").glob(f"cifar10-*/{name}"))).rows()
        for name in ("pool", "web")
    )
    assert sum(row.fate == KEPT for row in pool) == 30
    for ours, theirs in zip(pool, web_rows, strict=True):
        same = ("class_id", "place", "prompt", "fate", "sha256", "file")
        assert [getattr(ours, n) for n in same] == [getattr(theirs, n) for n in same]
        file = files[int(theirs.source.rpartition("/")[2].removesuffix(".jpg"))]
        assert ours.source == file.relative_to(photos).as_posix()
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


@pytest.mark.real
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_private_addresses_are_not_asked(
    web: Site, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real check in force: the URLs of the backend all point here."""
    monkeypatch.undo()
    monkeypatch.setenv("SUSX_BENCH_SUPPORT", str(tmp_path / "support"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "_resolve", lambda host, port: ["127.0.0.1"])

    said = command(
        *(*POOL, "--dataset", "digits", "--backend", web.url("", "127.0.0.1")),
        *("--index", "laion", "--per-class", 1),
    )

    assert said.code == 3, said.err
    assert {row.fate for row in rows_of(tmp_path, "digits")} == {"private address", "bad url"}
    assert "0 images of 0 of 10 classes" in said.out
    assert not [path for path in web.seen if path.endswith(".jpg")]


def test_test_images_that_are_not_here_are_asked_for(tmp_path: Path, command: Command) -> None:
    folder = digit_folder(tmp_path / "mine", ("annual crop land",))

    said = command(
        *(*POOL, "--dataset", "ucf101", "--pool", folder, "--data-root", tmp_path / "none"),
        *("--encoder", "demo"),
    )

    assert said.code == 2
    assert "--no-test-check" in said.err


@pytest.mark.real
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_backend_that_is_gone_costs_no_set(web: Site, tmp_path: Path, command: Command) -> None:
    """Asked before a set is begun or forgotten, also with --force."""
    words = (*POOL, "--dataset", "digits", "--per-class", 1, "--index")
    url = web.url("", "127.0.0.1")
    assert command(*words, "laion", "--backend", url).code in (0, 3)  # noise may be like no digit
    before = rows_of(tmp_path, "digits")

    said = command(*words, "other", "--backend", url, "--force")

    assert (said.code, "has no index 'other'" in said.err) == (2, True)
    assert rows_of(tmp_path, "digits") == before
    assert command(*words, "other", "--backend", url, "--name", "new").code == 2
    assert not (tmp_path / "support/digits/new").exists()


def test_a_set_with_an_empty_class_is_not_offered(tmp_path: Path, command: Command) -> None:
    folder = digit_folder(tmp_path / "mine", WORDS)
    for name in ("seven", "nine"):
        for file in (folder / name).iterdir():
            file.write_bytes(b"<html>")
    words = (*POOL, "--dataset", "digits", "--import", folder, "--per-class", 2)

    first, again = command(*words), command(*words)

    place = tmp_path / "support/digits/sus-lc-photo"
    assert again.out.startswith(f"{place}: 16 images of 8 of 10 classes; all were there already")
    for said in (first, again):
        assert said.code == 3
        assert "no image of 2 of 10 classes: seven, nine\n" in said.out
        assert f"{place} cannot be used: it has no image of 2 of 10 classes: seven" in said.err
        assert f"susx-bench support show {place}" in said.err
        assert said.err.count("susx-bench: ") == 1
        assert "use it" not in said.out
    shown = command("support", "show", place)
    assert shown.code == 0
    assert "16 images of 8 of 10 classes" in shown.out


@pytest.mark.parametrize("spelled", ["./mine", "./mine/../mine", "{}/mine"])
def test_a_set_of_a_folder_is_found_as_it_was_built(
    spelled: str, tmp_path: Path, command: Command
) -> None:
    """By the name of the data, however its path is written."""
    for split in ("train", "test"):
        digit_folder(tmp_path / "mine" / split, ("cat", "dog"))
    digit_folder(tmp_path / "taken", ("cat", "dog"), each=1)
    built = command(
        *(*POOL, "--dataset", "./mine", "--import", tmp_path / "taken", "--no-test-check"),
        *("--per-class", 1),
    )
    assert built.code == 0, built.err
    dataset = spelled.format(tmp_path)

    shown = command("support", "show", "sus-lc", "--dataset", dataset)
    other = command("support", "show", "sus-sd", "--dataset", dataset)

    assert shown.code == 0, shown.err
    assert "2 images of 2 classes" in shown.out
    assert other.code == 2
    assert f"support build --dataset {dataset} --kind sus-sd" in other.err


def test_a_set_in_another_place_is_offered_with_its_path(tmp_path: Path, command: Command) -> None:
    folder = digit_folder(tmp_path / "mine", WORDS)
    words = (*POOL, "--dataset", "digits", "--import", folder, "--per-class", 1)

    assert command(*words).out.endswith("--support sus-lc-photo\n")
    place = tmp_path / "elsewhere/digits/sus-lc-photo"
    assert command(*words, "--root", "elsewhere").out.endswith(f"--support {place}\n")


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread is rank 0, every other one another rank."""
    monkeypatch.setattr(
        Launch,
        "is_main",
        property(lambda self: threading.current_thread() is threading.main_thread()),
    )


def imported(tmp_path: Path) -> Request:
    return Request(
        dataset="digits",
        kind="sus-lc",
        from_folder=digit_folder(tmp_path / "mine", WORDS),
        per_class=2,
        root=tmp_path / "root",
    )


@pytest.mark.usefixtures("two_ranks")
def test_another_rank_waits_for_the_first(tmp_path: Path) -> None:
    request = imported(tmp_path)
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(builds.build, request)
        with pytest.raises(TimeoutError):
            theirs.result(1)
        assert not (tmp_path / "root").exists()

        ours = builds.build(request)

        assert theirs.result(30).rows == SupportFolder(ours.folder).rows()
    assert len(ours.rows) == 20


@pytest.mark.usefixtures("two_ranks")
def test_another_rank_does_not_outlive_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = itertools.chain([7, 7], itertools.repeat(1))
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    request = imported(tmp_path)

    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(builds.build, request)

        with pytest.raises(SupportError, match="has stopped"):
            theirs.result(30)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_suite_on_several_ranks_ends_where_one_cannot_go_on(
    devices: int, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, it goes on to the cells, which tell that the set is not there."""

    def gone(self: object) -> None:
        raise RetrievalError("nobody answers")

    monkeypatch.setattr(origins.BackendOrigin, "check", gone)
    suite = tmp_path / "suite.toml"
    suite.write_text(
        """
name = "small"
title = "Small"
[[support]]
kind = "sus-lc"
dataset = ["digits"]
backend = "http://127.0.0.1:1"
index = "laion"
[[run]]
method = ["tip-adapter"]
setting = "name-only"
support = "sus-lc-photo"
"""
    )

    said = command("run", "--suite", suite, "--devices", devices, "--accelerator", "cpu")

    assert said.code == 2
    assert "nobody answers" in said.err
    assert ("no such support set" in said.err) == (devices == 1)
