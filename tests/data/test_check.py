"""``check`` and ``susx-bench data check``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from susx_bench.data.check import NEAR, Report, SplitReport, check
from susx_bench.data.dataset import Dataset
from susx_bench.data.facts.digits import SPEC
from susx_bench.data.leaks import Place
from susx_bench.data.report import render
from susx_bench.data.spec import ClassFolders, DatasetSpec, Split, SplitFile, Where
from tests.conftest import Command
from tests.data.made import CLASSES, encoded, opened, parquet, photo, plain, spec_of, toy, write

SIZES: dict[Split, int] = {"train": 6, "val": 3, "test": 3}
LAYOUT = ClassFolders(splits={split: split for split in SIZES})


def folder_of_photos(folder: Path) -> Path:
    """Photos that look like no other: two a class in train, one in val and in test."""
    seed = 0
    for split, size in SIZES.items():
        for name in CLASSES:
            for i in range(size // len(CLASSES)):
                write(folder / split / name / f"{i}.png", encoded(photo(seed)))
                seed += 1
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of_photos(tmp_path / "toy")


def checked(dataset: DatasetSpec | Dataset, where: Where) -> Report:
    steps: list[int] = []
    report = check(opened(dataset, where), steps.append, lambda: steps.append(1))
    assert len(steps) == steps[0] + 1
    assert steps[0] == sum(part.images for part in report.splits)
    return report


def looked_at(folder: Path, **sizes: int) -> Report:
    """The report on the toy dataset, of which each split must have so many images."""
    return checked(toy(layout=LAYOUT, sizes=SIZES | sizes), Where(folder.parent))


def lines(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(render(report))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_good_folder_has_nothing_wrong(folder: Path, command: Command) -> None:
    report = looked_at(folder)

    assert report.wrong == []
    assert report.near == []
    assert [(part.split, part.images, part.fewest, part.most) for part in report.splits] == [
        ("train", 6, 2, 2),
        ("val", 3, 1, 1),
        ("test", 3, 1, 1),
    ]
    data = opened(toy(layout=LAYOUT, sizes=SIZES), Where(folder.parent)).split("test")
    assert report.splits[2].sha256 == data.sha256
    done = command("data", "check", folder)
    assert done.code == 0
    assert done.err == ""
    assert "nothing wrong with 12 images" in done.out
    assert "3 classes matched by name" in done.out


def test_a_wrong_count_is_told_with_both_numbers(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train/cat/0.png").unlink()
    dataset = Dataset(toy(layout=LAYOUT, sizes=SIZES), Where(folder.parent))
    monkeypatch.setattr("susx_bench.data.custom.open_dataset", lambda name, where: dataset)

    assert looked_at(folder).wrong == ["train has 5 images, not 6"]
    done = command("data", "check", "toy", "--data-root", folder.parent)
    assert done.code == 3
    assert done.err == f"susx-bench: toy in {folder}: train has 5 images, not 6.\n"
    assert "not the published sizes" in done.out


def test_a_split_that_is_missing_is_told(tmp_path: Path) -> None:
    rows = {
        split: [[f"{split}/{name}/0.png", i, name] for i, name in enumerate(CLASSES)]
        for split in ("train", "test")
    }
    folder_of_photos(tmp_path / "toy" / "images")
    write(tmp_path / "toy/split.json", json.dumps(rows))
    sizes: dict[Split, int] = {"train": 3, "val": 3, "test": 3}
    layout = SplitFile(file="split.json", images="images")

    report = checked(toy(layout=layout, sizes=sizes), Where(tmp_path))
    assert report.wrong == ["val has 0 images, not 3"]


def test_a_class_without_an_image_is_told(folder: Path, command: Command) -> None:
    (folder / "val/night owl/0.png").unlink()

    report = looked_at(folder, val=2)
    assert report.wrong == []
    assert report.remarks == ["val has no image of 'night owl'"]
    done = command("data", "check", folder)
    assert done.code == 0
    assert "val has no image of 'night owl'\n" in done.out


def test_a_file_that_cannot_be_read_is_told(folder: Path, command: Command) -> None:
    path = folder / "test/dog/0.png"
    write(path, path.read_bytes()[:99])
    write(folder / "val/cat/0.png", "")

    report = looked_at(folder)
    assert [place for place, _ in report.unreadable] == [
        Place("val", "val/cat/0.png"),
        Place("test", "test/dog/0.png"),
    ]
    done = command("data", "check", folder)
    assert done.code == 3
    assert "cannot be read: val/cat/0.png (val), test/dog/0.png (test)" in done.err
    assert "  val/cat/0.png (val): it is empty (0 bytes)\n" in done.out


def test_the_same_bytes_in_train_and_test_are_told(folder: Path, command: Command) -> None:
    same = (folder / "train/dog/1.png").read_bytes()
    write(folder / "test/dog/0.png", same)

    report = looked_at(folder)
    places = [Place("train", "train/dog/1.png"), Place("test", "test/dog/0.png")]
    assert report.leaks == [places]
    assert report.near == []  # told once
    done = command("data", "check", folder)
    assert done.code == 3
    both = "train/dog/1.png (train) = test/dog/0.png (test)"
    assert f"in more than one split: {both}" in done.err
    assert f"the same image in several splits: 1\n  {both}\n" in done.out


def test_what_a_published_split_has_in_several_splits_is_part_of_it(folder: Path) -> None:
    write(folder / "test/dog/0.png", (folder / "train/dog/1.png").read_bytes())

    report = looked_at(folder)
    assert len(report.leaks) == 1
    assert report.wrong == []
    assert "the same image in several splits: 1" in lines(report)


def test_the_same_bytes_twice_in_one_split_are_no_fault(folder: Path) -> None:
    write(folder / "train/dog/1.png", (folder / "train/cat/1.png").read_bytes())

    report = looked_at(folder)
    assert report.wrong == []
    assert report.same == [[Place("train", "train/cat/1.png"), Place("train", "train/dog/1.png")]]
    assert "the same image twice in one split: 1" in lines(report)


@pytest.mark.parametrize("kind", ["png", "bmp"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_one_image_under_two_labels_is_wrong_in_data_of_ones_own(
    folder: Path, command: Command, kind: str, split: str
) -> None:
    image: Image.Image = Image.open(folder / split / "cat/0.png")
    write(folder / split / f"dog/9.{kind}", encoded(image, kind))

    done = command("data", "check", folder)
    both = f"{split}/cat/0.png ({split}, 'cat') = {split}/dog/9.{kind} ({split}, 'dog')"
    assert done.code == 3
    assert f"1 image under several labels: {both}." in done.err
    assert f"one image under several labels in one split: 1\n  {both}\n" in done.out

    few = ("--setting", "few-shot", "--shots", 1, "--seed", 1)
    done = command("run", "--method", "tip-adapter", *few, "--dataset", folder, "--encoder", "demo")
    assert done.code == 2
    assert f"under several labels, 1 in all, of which one at most is right: {both}" in done.err


def test_images_that_look_alike_under_two_labels_are_named(folder: Path) -> None:
    image = Image.open(folder / "train/cat/0.png")
    write(folder / "train/dog/1.png", encoded(image, "jpeg"))

    report = looked_at(folder)
    assert report.wrong == []
    text = "\n".join(lines(report, 400))
    assert "look alike under several labels in one split (at most 4 of 64 bits): 1\n" in text
    assert "train/cat/0.png (train, 'cat') ~ train/dog/1.png (train, 'dog')" in text


@pytest.mark.parametrize("change", ["smaller", "jpeg", "both"])
def test_a_copy_made_anew_looks_alike(folder: Path, command: Command, change: str) -> None:
    image: Image.Image = Image.open(folder / "train/cat/0.png")
    if change != "jpeg":
        image = image.resize((40, 36))
    kind = "png" if change == "smaller" else "jpeg"
    write(folder / "test/cat/0.png", encoded(image, kind))

    report = looked_at(folder)
    places = Place("train", "train/cat/0.png"), Place("test", "test/cat/0.png")
    assert report.near == report.near_leaks == [places]
    assert report.same == []
    assert report.wrong == []
    done = command("data", "check", folder)
    assert done.code == 0
    assert f"look alike across splits (at most {NEAR} of 64 bits): 1" in done.out
    assert "  train/cat/0.png (train) ~ test/cat/0.png (test)" in done.out


def test_copies_within_a_split_are_counted(folder: Path) -> None:
    image = Image.open(folder / "train/cat/0.png")
    write(folder / "train/cat/1.png", encoded(image, "jpeg"))

    report = looked_at(folder)
    assert report.near_leaks == []
    assert "pairs that look alike within a split: 1" in lines(report)


def test_too_many_that_look_alike_are_not_compared_in_pairs(tmp_path: Path) -> None:
    for i in range(202):
        for name in ("cat", "dog"):
            write(tmp_path / "toy/test" / name / f"{i}.png", plain(i))
    dataset = toy(
        layout=ClassFolders(splits={"test": "test"}),
        sizes={"test": 404},
        classnames=("cat", "dog"),
    )

    report = checked(dataset, Where(tmp_path))
    assert report.crowded >= 402
    assert len(report.same) == 202
    assert f"images too much alike to be compared in pairs: {report.crowded}" in lines(report)


def test_images_of_one_colour_are_named(folder: Path) -> None:
    """A remark where they are some; wrong where a split has no other."""
    write(folder / "test/cat/0.png", plain(7))
    some = looked_at(folder)
    assert some.plain == [Place("test", "test/cat/0.png")]
    assert "of one colour (within 16 of 255 levels): 1" in lines(some)
    assert some.wrong == []

    for i, file in enumerate(sorted((folder / "test").glob("*/*"))):
        noise = np.random.default_rng(i).integers(200, 216, (8, 8, 3), np.uint8)
        file.write_bytes(encoded(Image.fromarray(noise)))
    assert "every image of test is of one colour" in looked_at(folder).wrong


@pytest.mark.parametrize("top", [8_191, 16_383])
def test_a_split_whose_images_all_lie_in_a_quarter_of_their_range_is_wrong(
    folder: Path, top: int, command: Command
) -> None:
    """Numbers of 13 or 14 bits in files of 16: digits so kept had 19 % where they have 58 %."""
    files = sorted(folder.glob("*/*/*.png"))
    for i, file in enumerate(files):
        grey = np.asarray(photo(i).convert("L")).astype(np.uint32)
        file.write_bytes(encoded(Image.fromarray((grey * top // grey.max()).astype(np.uint16))))
    wrong = looked_at(folder).wrong
    assert [line.partition(" above")[0] for line in wrong] == [
        f"no image of {split} has a number" for split in ("train", "val", "test")
    ]
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo")
    done = command(*words, "--dataset", folder)
    assert done.code == 2
    assert "no image of val has a number above 63 of 255" in done.err

    for split in ("train", "val", "test"):  # one night among days is no fault
        first = next(file for file in files if split in file.parts)
        first.write_bytes(encoded(photo(len(split) + 100)))
    assert looked_at(folder).wrong == []


def test_a_run_refuses_images_of_one_colour(folder: Path, command: Command) -> None:
    for i, file in enumerate(sorted(folder.glob("test/*/*"))):
        file.write_bytes(plain(i))
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo")

    done = command(*words, "--dataset", folder)

    assert done.code == 2
    assert "every image of test is of one colour" in done.err


def test_tables_and_the_digits_can_be_checked(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [encoded(photo(seed)) for seed in range(3)]
    table = parquet([*images, b"broken"], [0, 1, 2, 2], CLASSES)
    write(tmp_path / "mine/test.parquet", table)
    done = command("data", "check", tmp_path / "mine")
    assert done.code == 3
    assert "cannot be read: test/3 (test)" in done.err

    report = checked(SPEC, Where())
    assert report.wrong == []
    assert [part.images for part in report.splits] == [771, 257, 769]


def test_what_cannot_be_listed_is_one_line(command: Command, tmp_path: Path) -> None:
    for words, message in (
        ((tmp_path / "none",), "there is no such folder"),
        (("caltech102",), "no dataset called 'caltech102'. Did you mean caltech101"),
        (
            ("caltech101", "--data-root", tmp_path, "--source", "folder"),
            "caltech101 does not exist",
        ),
    ):
        done = command("data", "check", *words)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert message in done.err
        assert done.out == ""


def big_report() -> Report:
    """On the largest there is, with all that can be wrong."""
    splits: list[tuple[Split, int, int]] = [
        ("train", 1_281_167, 1_281_166),
        ("val", 50_000, 50_000),
    ]
    key = "n01440764/ILSVRC2012_val_00000293.JPEG"
    one, other = Place("train", key), Place("val", key)
    return Report(
        spec_of(sizes={"train": 1_281_167, "val": 50_000}),
        "/data/imagenet",
        "custom",
        [
            SplitReport(split, here, wanted, wanted, 732, 1300, ("tench",), "0123456789abcdef" * 4)
            for split, wanted, here in splits
        ],
        unreadable=[(one, "it is empty (0 bytes)")] * 12,
        same=[[one, other], [one, one]],
        near=[(one, other), (one, one)],
        crowded=1234,
    )


def test_the_report_fits_80_columns_and_says_it_all() -> None:
    narrow, wide = lines(big_report(), 80), lines(big_report(), 400)

    assert all(len(line) <= 80 for line in narrow)
    assert narrow[:8] == wide[:8]  # the heading and the table, nothing folded
    text = "\n".join(wide)
    assert [line.strip() for line in wide[:3]] == [
        "Toys (toy)",
        "from /data/imagenet",
        "split custom, 3 classes matched by name",
    ]
    assert wide[6].split() == [
        *("train", "1,281,166", "1,281,167", "732", "to", "1300", "2", "0123456789abcdef"),
    ]
    assert "not the published split: do not compare with published numbers" in text
    assert "cannot be read: 12\n" in text
    assert text.count("it is empty (0 bytes)") == 10
    assert "  and 2 more\n" in text
    assert "the same image in several splits: 1\n" in text
    assert "the same image twice in one split: 1\n" in text
    assert "pairs that look alike within a split: 1" in text
    assert "images too much alike to be compared in pairs: 1,234" in text
    assert "\nwrong: train has 1281166 images, not 1281167; cannot be read: " in text


@pytest.mark.parametrize(
    ("other", "name", "place", "spared"),
    [
        ("train", "dog", "test/dog/0.png", True),
        ("val", "dog", "test/dog/0.png", False),
        ("val", "dog", "train/dog/0.png", True),
        ("train", "cat", "train/dog/0.png", True),  # under two labels in one split
        ("test", "cat", "test/dog/1.png", False),
    ],
)
def test_run_does_what_the_check_says_of_runs_that_do_not_read_train(
    other: str, name: str, place: str, spared: bool, tmp_path: Path, command: Command
) -> None:
    folder = folder_of_photos(tmp_path / "own")
    write(folder / place, (folder / other / name / "0.png").read_bytes())

    done = command("data", "check", folder)

    assert done.code == 3
    said = "A run that does not read train, such as zero-shot"
    assert (said in " ".join(done.err.split())) == spared
    assert (said in " ".join(done.out.split())) == spared
    data = ("--dataset", f"{folder}", "--encoder", "demo")
    alone = command("run", "--method", "zero-shot", "--setting", "name-only", *data)
    assert alone.code == (0 if spared else 2)
    few = ("--setting", "few-shot", "--shots", "1", "--seed", "1", "--tune", "val")
    assert command("run", "--method", "tip-adapter", *few, *data).code == 2
