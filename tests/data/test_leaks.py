"""What lists of images say before any image is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.leaks import Place, contradictions, copies, lacking, leaks, linked_leaks
from susx_bench.data.sources.base import Sample
from tests.data.made import digits, encoded, photo, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of random bytes in train, val and test, all of one size."""
    noise = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            for i in range(3):
                write(tmp_path / "mine" / split / name / f"{i}.png", noise.bytes(50_000))
    return tmp_path / "mine"


def splits(folder: Path) -> list[DatasetSplit]:
    dataset = open_dataset(str(folder))
    return [dataset.split("train"), dataset.split("val"), dataset.split("test")]


def test_classes_that_a_split_lacks_are_named() -> None:
    samples = [Sample("a", 0), Sample("b", 2)]

    assert lacking("train", samples, ("ant", "bee", "cat")) == ["train has no image of 'bee'"]
    assert lacking("train", samples, ("ant", "bee", "cat", "dog")) == [
        "train has no image of 'bee', 'dog'"
    ]
    assert lacking("train", samples[:1], ("ant",)) == []
    assert lacking("train", [], ("ant",)) == []


def test_files_of_their_own_leak_nowhere(folder: Path) -> None:
    assert linked_leaks(splits(folder)) == []
    assert leaks(copies(splits(folder))) == []
    assert linked_leaks([digits("val"), digits("test")]) == []
    assert leaks(copies([digits("val"), digits("test")])) == []


@pytest.mark.parametrize("kind", ["symbolic", "hard", "folder"])
def test_a_file_in_two_splits_is_found_whatever_the_link(folder: Path, kind: str) -> None:
    original, link = folder / "train/cat/1.png", folder / "test/cat/9.png"
    if kind == "symbolic":
        link.symlink_to(original)
    elif kind == "hard":
        link.hardlink_to(original)
    else:
        (folder / "test/cat/more").symlink_to(folder / "train/cat", target_is_directory=True)
    found = linked_leaks(splits(folder))

    at = "9.png" if kind != "folder" else "more/1.png"
    assert [Place("train", "train/cat/1.png"), Place("test", f"test/cat/{at}")] in found
    assert len(found) == (3 if kind == "folder" else 1)
    assert leaks(copies(splits(folder))) == found


def test_copies_in_two_splits_are_found_and_no_others(folder: Path) -> None:
    copy = (folder / "train/dog/0.png").read_bytes()
    write(folder / "val/cat/8.png", copy)
    write(folder / "test/cat/9.png", copy)
    write(folder / "train/dog/7.png", (folder / "train/cat/0.png").read_bytes())  # in one split
    write(folder / "val/cat/7.png", copy[:-1] + b"x")  # all but an end
    write(folder / "val/cat/6.png", copy + b"x")  # all but the size
    write(folder / "val/cat/5.png", copy[:25_000] + b"x" + copy[25_001:])  # all but the middle

    assert linked_leaks(splits(folder)) == []
    assert leaks(copies(splits(folder))) == [
        [
            Place("train", "train/dog/0.png"),
            Place("val", "val/cat/8.png"),
            Place("test", "test/cat/9.png"),
        ]
    ]


def test_one_picture_in_other_bytes_is_one_image(tmp_path: Path) -> None:
    picture = photo(1)
    folder = tmp_path / "mine"
    for name in ("cat", "dog"):
        write(folder / name / "0.png", encoded(photo(2 if name == "cat" else 3)))
    write(folder / "cat/1.png", encoded(picture))
    write(folder / "dog/1.bmp", encoded(picture, "bmp"))
    write(folder / "dog/2.png", encoded(picture, compress_level=0))
    write(folder / "cat/2.png", encoded(picture.resize((40, 40))))
    write(folder / "test.csv", "file,label,split\n" + "".join(
        f"{file.relative_to(folder).as_posix()},{file.parent.name},test\n"
        for file in sorted(folder.glob("*/*"))
    ))  # fmt: skip
    split = open_dataset(str(folder / "test.csv")).split("test")

    groups = copies([split])

    places = [Place("test", file) for file in ("cat/1.png", "dog/1.bmp", "dog/2.png")]
    assert groups == [places]
    names = {Place("test", s.key): split.classnames[s.label] for s in split.samples}
    (found,) = contradictions(groups, names)
    assert [str(place) for place in found] == [
        "cat/1.png (test, 'cat')",
        "dog/1.bmp (test, 'dog')",
        "dog/2.png (test, 'dog')",
    ]


def test_one_image_of_one_class_contradicts_nothing() -> None:
    one, other = Place("test", "a"), Place("train", "b")
    again = Place("test", "c")

    assert contradictions([[one, again]], {one: "cat", again: "cat"}) == []
    assert contradictions([[one, other]], {one: "cat", other: "dog"}) == []  # a leak, and told so
