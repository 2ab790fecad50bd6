"""Images as files: split files, class folders, list files, and folders of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import Dataset
from susx_bench.data.decode import FORMATS
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import (
    SPLITS,
    ClassFolders,
    DatasetSpec,
    ListFiles,
    Split,
    SplitFile,
    Tables,
    Where,
)
from susx_bench.errors import DatasetError, OptionError
from tests.conftest import Command
from tests.data.made import CLASSES, opened, plain, shade, spec_of, toy, write

SPLIT_FILE = SplitFile(file="split.json", images="images")
# The labels in the file are another numbering; only the names count.
ROWS: dict[str, list[tuple[str, int, str]]] = {
    "train": [("o/10.png", 0, "night owl"), ("c/11.png", 7, "cat"), ("d/12.png", 1, "dog")],
    "val": [("d/20.png", 1, "dog")],
    "test": [("d/30.png", 1, "dog"), ("c/31.png", 7, "cat"), ("c/32.png", 7, "cat")],
}
SIZES: dict[Split, int] = {"train": 3, "val": 1, "test": 3}


def images(folder: Path, names: Sequence[str]) -> None:
    """A plain picture each, of the shade that its file is called by."""
    for name in names:
        write(folder / name, plain(int(Path(name).stem)))


def split_folder(root: Path, rows: Any = ROWS, paths: Sequence[str] | None = None) -> Path:
    """The toy's folder with its images and its split file."""
    folder = root / "toy"
    paths = [path for part in ROWS.values() for path, *_ in part] if paths is None else paths
    images(folder / "images", paths)
    write(folder / "split.json", json.dumps(rows))
    return folder


def listed(dataset: DatasetSpec | Dataset, where: Where) -> dict[Split, list[Sample]]:
    """The samples of every split; every image must be the one that its key names."""
    found = {}
    for split in opened(dataset, where).splits:
        data = opened(dataset, where).split(split)
        found[split] = list(data.samples)
        for sample in data.samples:
            assert shade(data.image(sample)) == int(Path(sample.key).stem)
        assert data.labels.tolist() == [sample.label for sample in data.samples]
    return found


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    return message


# Split files


def test_a_split_file_names_the_images_and_the_class_of_each(tmp_path: Path) -> None:
    split_folder(tmp_path)
    dataset, where = toy(layout=SPLIT_FILE, sizes=SIZES), Where(tmp_path)

    assert listed(dataset, where) == {
        "train": [("o/10.png", 2), ("c/11.png", 0), ("d/12.png", 1)],
        "val": [("d/20.png", 1)],
        "test": [("d/30.png", 1), ("c/31.png", 0), ("c/32.png", 0)],
    }
    assert opened(dataset, where).protocol == "susx"
    assert opened(dataset, where).sizes == SIZES


@pytest.mark.parametrize(
    "names", [("Train", "valid", "TEST"), ("training", "Validation", "testing"), ("tr", "va", "te")]
)
def test_the_splits_of_a_split_file_may_have_other_names(
    tmp_path: Path, names: Sequence[str]
) -> None:
    rows = {name: ROWS[split] for name, split in zip(names, SPLITS, strict=True)}
    split_folder(tmp_path, rows)

    found = listed(toy(layout=SPLIT_FILE, sizes=SIZES), Where(tmp_path))
    assert {split: len(part) for split, part in found.items()} == SIZES


def test_names_in_a_split_file_may_be_aliases_or_dropped_classes(tmp_path: Path) -> None:
    renamed = {"cat": "Felis catus", "dog": "dog", "night owl": "NightOwl"}
    rows = {
        split: [(path, number, renamed[name]) for path, number, name in part]
        for split, part in ROWS.items()
    }
    rows["test"].insert(0, ("../b/40.png", 9, "background"))
    split_folder(tmp_path, rows)
    dataset = toy(
        layout=SPLIT_FILE,
        sizes=SIZES,
        aliases={"cat": ("felis catus",)},
        dropped=("background",),
    )

    assert listed(dataset, Where(tmp_path))["test"] == [
        ("d/30.png", 1),
        ("c/31.png", 0),
        ("c/32.png", 0),
    ]


def test_another_name_of_the_folder_will_do(tmp_path: Path) -> None:
    split_folder(tmp_path).rename(tmp_path / "toy-set")
    dataset = toy(layout=SPLIT_FILE, sizes=SIZES, folders=("toy-set",))

    assert len(listed(dataset, Where(tmp_path))["test"]) == 3


@pytest.mark.parametrize("path", ["../30.png", "c/../../../30.png", "/etc/hostname"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    split_folder(tmp_path, ROWS | {"val": [(path, 1, "dog")]})
    dataset = toy(layout=SPLIT_FILE)

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    why = "a path from the root" if path.startswith("/") else "which is outside"
    assert f"{tmp_path}/toy/split.json names '{path}', {why}" in message


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"val": [("d/30.png", 1, "dog")]}, "lists 'd/30.png' twice, in val and in test"),
        ({"val": [("d//30.png", 1, "dog")]}, "lists 'd/30.png' twice, in val and in test"),
        ({"val": [("d/20.png", 1, "dog")] * 2}, "lists 'd/20.png' twice, in val and in val"),
        ({"val": [("d/20.png", 3, "dog")]}, "gives class 'dog' the labels [1, 3]"),
        ({"val": [("d/20.png", 3, "ant")]}, "none of its: 'ant'"),
        ({"train": ROWS["train"][1:]}, "2 class names, the dataset has 3 (without 'night owl')"),
    ],
)
def test_a_list_that_contradicts_itself_or_the_facts_is_refused(
    tmp_path: Path, rows: dict[str, Any], reason: str
) -> None:
    split_folder(tmp_path, ROWS | rows)
    dataset = toy(layout=SPLIT_FILE)

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert message.startswith(f"toy: {tmp_path}/toy/split.json ")
    assert reason in message


FORM = 'is not a split file, {"train": [[path, label, class name], ...], ...}: '


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is not a split file"),
        (b"\xff\xfe", "is not a split file"),
        (b"7", "is not a split file"),
        (b'{"test": [["a.png", 0]]}', "is not a split file"),
        (b'{"test": [["a.png", "first", "cat"]]}', "is not a split file"),
        (b'{"test": [["a.png", NaN, "cat"]]}', f"{FORM}test.0.1 Input should be a finite number"),
        (b'{"test": [["a.png", 1e999, "cat"]]}', f"{FORM}test.0.1 Input should be a finite number"),
        (b'{"test": [["a.png", 1.5, "cat"]]}', f"{FORM}test.0.1 Input should be a valid integer"),
        (b'{"test": [[7, 1, "cat"]]}', f"{FORM}test.0.0 Input should be a valid string"),
        (b'{"test": [["a", 1, "\\ud83d"]]}', rf"{FORM}it has \ud83d, which is half a character"),
        (b"[]", "is not a split file"),
        (b"{}", "has no 'test' split."),
        (b'{"train": [["a.png", 0, "cat"]]}', "has no 'test' split, only train."),
        (b'{"test": [], "classes": ["cat"]}', "has the key 'classes', which means no split. Take"),
        (b'{"val": [], "dev": [], "test": []}', "has 2 candidates for the val split: 'val', 'dev'"),
        (b'{"test": [], "train": [], "trainval": []}', "has 2 candidates for the train split:"),
    ],
)
def test_a_split_file_of_another_form_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    write(split_folder(tmp_path) / "split.json", content)
    dataset = toy(layout=SPLIT_FILE)

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert message.startswith(f"toy: {tmp_path}/toy/split.json {reason}")


def test_validation_is_the_test_split_of_a_split_file_without_another(tmp_path: Path) -> None:
    split_folder(tmp_path, {"train": ROWS["train"], "Valid": ROWS["test"]})

    dataset = opened(toy(layout=SPLIT_FILE), Where(tmp_path))

    assert dataset.splits == ("train", "test")
    assert [sample.key for sample in dataset.split("test").samples] == [
        path for path, *_ in ROWS["test"]
    ]
    assert list(dataset.remarks) == [
        "in split.json there is no test split, so 'Valid' is the test set and there is no val"
    ]


def test_what_is_missing_is_named_and_how_to_get_it(tmp_path: Path) -> None:
    def read(root: Path | None) -> str:
        dataset = toy(layout=SPLIT_FILE)
        return refusal(lambda: opened(dataset, Where(root)).split("test").samples)

    assert "no --data-root (or SUSX_BENCH_DATA) is given" in read(None)
    nothing = read(tmp_path)
    assert f"toy: {tmp_path}/toy does not exist" in nothing
    assert "Make them anew." in nothing
    assert nothing.endswith("Then run `susx-bench data check toy --data-root DIR`.")
    folder = split_folder(tmp_path)
    (folder / "split.json").unlink()
    assert f"{folder}/split.json does not exist. Make them anew." in read(tmp_path)
    split_folder(tmp_path)
    (folder / "images/c/31.png").unlink()
    (folder / "images/d/30.png").unlink()
    message = read(tmp_path)
    assert f"2 of 3 test images do not exist, the first is {folder}/images/d/30.png. " in message
    assert message.endswith("Make them anew.")
    (folder / "images").rename(folder / "pictures")
    assert f"{folder}/images does not exist" in read(tmp_path)


def test_a_wrong_count_is_told_with_both_numbers(tmp_path: Path) -> None:
    split_folder(tmp_path)
    dataset = toy(layout=SPLIT_FILE, sizes=SIZES | {"test": 4})

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert f"toy: test has 3 images in {tmp_path}/toy, the published split has 4" in message
    assert "--split-file" in message
    assert len(opened(dataset, Where(tmp_path)).split("train").samples) == 3


def test_a_split_file_of_ones_own_has_sizes_of_its_own(tmp_path: Path) -> None:
    split_folder(tmp_path / "data")
    mine = ROWS | {"test": ROWS["test"][:2], "val": []}
    where = Where(tmp_path / "data", split_file=write(tmp_path / "mine.json", json.dumps(mine)))
    dataset = toy(layout=SPLIT_FILE, sizes=SIZES)

    assert listed_keys(dataset, where, "test") == ["d/30.png", "c/31.png"]
    assert opened(dataset, where).protocol == "custom"
    assert refusal(lambda: opened(dataset, where).split("val").samples).startswith(
        "toy: val has no images"
    )


def listed_keys(dataset: DatasetSpec | Dataset, where: Where, split: Split) -> list[str]:
    return [sample.key for sample in opened(dataset, where).split(split).samples]


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    split_folder(tmp_path, {key: part for key, part in ROWS.items() if key != "val"})
    dataset = toy(layout=SPLIT_FILE)

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("val").samples)
    assert "has no val split, only train, test" in message


@pytest.mark.parametrize("same", ["time", "size"])
def test_an_image_that_changes_changes_the_state(tmp_path: Path, same: str) -> None:
    path = split_folder(tmp_path) / "images/c/31.png"
    data = opened(toy(layout=SPLIT_FILE), Where(tmp_path)).split("test")
    os.utime(path, ns=(1, 1))
    before = data.state(data.samples)
    assert data.state(data.samples) == before
    write(path, plain(99, "bmp") if same == "time" else path.read_bytes()[::-1])
    if same == "time":
        os.utime(path, ns=(1, 1))

    after = data.state(data.samples)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


# Class folders


def class_folders(folder: Path, names: Sequence[str] = ("cat", "Dog", "003.night_owl")) -> Path:
    """Six pictures of train and three of test, in a folder per class."""
    for place, name in enumerate(names):
        images(folder / "train" / name, [f"{10 * place + 1}.png", f"{10 * place}.png"])
        images(folder / "test" / name, [f"{10 * place + 100}.png"])
    return folder


def test_class_folders_are_known_by_name(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "toy")
    write(folder / "train" / "Dog" / "notes.txt", "no image")
    write(folder / "train" / "Dog" / "._10.png", "left by macOS")
    write(folder / "train" / "Dog" / ".thumbs" / "10.png", plain(1))
    write(folder / "train" / ".cache" / "10.png", plain(1))
    write(folder / "train" / "clutter" / "200.png", plain(200))
    write(folder / "train" / "Dog" / "more" / "12.PNG", plain(12))
    layout = ClassFolders(splits={"train": "train", "test": "test"})
    dataset = toy(layout=layout, sizes={"train": 7, "test": 3}, dropped=("clutter",))

    assert listed(dataset, Where(tmp_path)) == {
        "train": [
            ("train/003.night_owl/20.png", 2),
            ("train/003.night_owl/21.png", 2),
            ("train/Dog/10.png", 1),
            ("train/Dog/11.png", 1),
            ("train/Dog/more/12.PNG", 1),
            ("train/cat/0.png", 0),
            ("train/cat/1.png", 0),
        ],
        "test": [
            ("test/003.night_owl/120.png", 2),
            ("test/Dog/110.png", 1),
            ("test/cat/100.png", 0),
        ],
    }


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("cat", "dog"), "/test has 2 class names, the dataset has 3 (without 'night owl')"),
        ((*CLASSES, "ant"), "none of its: 'ant'"),
        (("cat", "Cat", *CLASSES[1:]), "several classes for 'cat': 'Cat', 'cat'"),
    ],
)
def test_class_folders_that_are_not_the_classes_are_refused(
    tmp_path: Path, names: Sequence[str], reason: str
) -> None:
    class_folders(tmp_path / "toy", names)
    dataset = toy(layout=ClassFolders(splits={"train": "train", "test": "test"}))

    assert reason in refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)


@pytest.mark.parametrize("layout", [Tables(), SPLIT_FILE, None])
def test_class_folders_will_do_in_place_of_another_layout(tmp_path: Path, layout: Any) -> None:
    class_folders(tmp_path / "toy")
    dataset = toy(layout=layout, sizes={"train": 6, "test": 3})

    assert len(listed(dataset, Where(tmp_path))["train"]) == 6


def test_class_folders_of_a_known_dataset_may_have_other_names(tmp_path: Path) -> None:
    class_folders(tmp_path / "toy")
    (tmp_path / "toy/train").rename(tmp_path / "toy/Training")
    (tmp_path / "toy/test").rename(tmp_path / "toy/Test_Set")
    dataset = toy(layout=Tables(), sizes={"train": 6, "test": 3})

    assert {split: len(part) for split, part in listed(dataset, Where(tmp_path)).items()} == {
        "train": 6,
        "test": 3,
    }


def test_a_folder_with_nothing_of_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    dataset = toy(layout=Tables(), sizes={"train": 6, "test": 3})

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert f"{tmp_path}/toy has neither Parquet files nor webdataset shards" in message
    assert "nor the folders train, test. Make them anew." in message


def test_a_folder_of_a_split_that_is_missing_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "toy")
    dataset = toy(layout=ClassFolders(splits={"train": "train", "test": "valid"}))

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert f"{tmp_path}/toy/valid does not exist" in message
    assert (
        len(opened(dataset, Where(tmp_path)).split("train").samples) == 6
    )  # nothing else is needed for it


# List files

LISTS = ListFiles(
    lists={"train": "train.txt", "test": "test.txt"}, images="data/images", suffix=".png"
)


def list_files(root: Path, test: str) -> Path:
    folder = root / "toy"
    images(folder / "data/images", [f"{i}.png" for i in (1, 2, 3, 4, 5)])
    write(folder / "train.txt", "3 cat\n1 night owl\n2 dog\n")
    write(folder / "test.txt", test)
    return folder


def test_list_files_name_an_image_and_a_class_a_line(tmp_path: Path) -> None:
    list_files(tmp_path, "5 night owl \n4\tdog\r\n")
    dataset = toy(layout=LISTS, sizes={"train": 3, "test": 2})

    assert listed(dataset, Where(tmp_path)) == {
        "train": [("3.png", 0), ("1.png", 2), ("2.png", 1)],
        "test": [("5.png", 2), ("4.png", 1)],
    }


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("4 dog\n5\n", "/test.txt has no class after '5' in line 2"),
        ("4 dog\n4 dog\n", "lists '4.png' twice, in test and in test"),
        ("3 dog\n", "lists '3.png' twice, in train and in test"),
        ("../../4 dog\n", "names '../../4.png', which is outside"),
        ("4 ant\n", "none of its: 'ant'"),
        ("6 dog\n", "1 of 1 test images does not exist: /"),
    ],
)
def test_a_list_file_with_a_mistake_is_refused(tmp_path: Path, test: str, reason: str) -> None:
    list_files(tmp_path, test)
    dataset = toy(layout=LISTS)

    assert reason in refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)


def test_a_list_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (list_files(tmp_path, "") / "test.txt").unlink()
    dataset = toy(layout=LISTS)

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert f"{tmp_path}/toy/test.txt does not exist. Make them anew." in message


# Folders of the user's


def unsplit_folder(folder: Path, counts: Sequence[int]) -> Path:
    for place, count in enumerate(counts):
        images(folder / f"class_{place}", [f"{20 * place + i}.png" for i in range(count)])
    return folder


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (1, (0, 0, 1)),
        (2, (1, 0, 1)),
        (3, (2, 0, 1)),
        (4, (2, 1, 1)),
        (5, (2, 1, 2)),
        (7, (4, 1, 2)),
        (10, (5, 2, 3)),
        (15, (8, 3, 4)),
    ],
)
def test_a_folder_without_a_split_gets_coops(
    tmp_path: Path, count: int, parts: tuple[int, int, int]
) -> None:
    folder = unsplit_folder(tmp_path / "mine", (count, 10))
    found = listed(open_dataset(str(folder)), Where())

    for label, sizes in enumerate((parts, (5, 2, 3))):
        kept = [sum(sample.label == label for sample in found.get(split, ())) for split in SPLITS]
        assert tuple(kept) == sizes
    keys = [sample.key for part in found.values() for sample in part]
    assert len(keys) == len(set(keys)) == count + 10


def test_splits_with_no_image_are_not_there(tmp_path: Path) -> None:
    dataset = open_dataset(str(unsplit_folder(tmp_path / "mine", (2, 2))))

    assert dataset.splits == ("train", "test")


def test_a_folder_without_a_split_is_split_the_same_on_every_machine(tmp_path: Path) -> None:
    first, second = (
        open_dataset(str(unsplit_folder(tmp_path / where / "mine", (5, 4, 6)))).split("test")
        for where in ("here", "there")
    )

    assert first.dataset.protocol == "susx-bench 50/20/30"
    assert first.classnames == ("class 0", "class 1", "class 2")
    assert first.samples == second.samples
    assert first.sha256 == second.sha256
    assert [sample.key for sample in first.samples] == [
        *("class_0/0.png", "class_0/1.png", "class_1/23.png", "class_2/43.png", "class_2/45.png"),
    ]


def test_a_folder_that_is_split_is_read_as_it_is(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("night_owl", "cat"))
    (folder / "train").rename(folder / "training")
    images(folder / "valid" / "cat", ["200.png"])
    images(folder / "valid" / "night_owl", ["201.png"])
    dataset = open_dataset(str(folder))

    assert dataset.spec.name == "mine"
    assert dataset.spec.classnames == ("cat", "night owl")
    found = listed(dataset, Where())
    assert {split: len(part) for split, part in found.items()} == {"train": 4, "val": 2, "test": 2}
    assert found["val"] == [("valid/cat/200.png", 0), ("valid/night_owl/201.png", 1)]
    assert dataset.protocol == "custom"


def test_without_a_test_folder_the_validation_is_the_test(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    (folder / "test").rename(folder / "val")
    dataset = open_dataset(str(folder))

    assert dataset.splits == ("train", "test")
    assert len(listed(dataset, Where())["test"]) == 3


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    images(folder / "train", [f"{i}.png" for i in range(10)])
    images(folder / "bus", [f"{i}.png" for i in range(20, 30)])
    dataset = open_dataset(str(folder))

    assert dataset.spec.classnames == ("bus", "train")
    assert len(listed(dataset, Where())["train"]) == 10


def test_classes_may_be_called_anything(tmp_path: Path) -> None:
    names = ("A", "C", "C++", "a", "犬", "猫")
    dataset = open_dataset(str(class_folders(tmp_path / "mine", names)))

    assert dataset.spec.classnames == names
    for key, label in listed(dataset, Where())["train"]:
        assert Path(key).parent.name == names[label]


def test_splits_may_lack_classes(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    images(folder / "train" / "ant", ["99.png"])
    images(folder / "test" / "owl", ["98.png"])
    (folder / "train" / "owl").mkdir()
    dataset = open_dataset(str(folder))

    assert dataset.spec.classnames == ("ant", "cat", "dog", "owl")
    found = listed(dataset, Where())
    assert [(key, label) for key, label in found["train"] if "99" in key] == [
        ("train/ant/99.png", 0),
    ]
    assert [label for _, label in found["train"]] == [0, 1, 1, 2, 2]
    assert [label for _, label in found["test"]] == [1, 2, 3]


def test_every_ending_of_a_format_that_is_decoded_is_read(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    for i, name in enumerate(("20.jfif", "21.JPE", "22.Jpg", "23.TIF", "24.apng", "25.jp2")):
        kind = {"T": "tiff", "a": "png"}.get(name[3], "jpeg2000" if i == 5 else "jpeg")
        write(folder / "test/cat" / name, plain(20 + i, kind))

    found = listed(open_dataset(str(folder)), Where())
    assert len(found["test"]) == 8


@pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow reads no AVIF")
def test_avif_is_read_where_pillow_reads_it(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    write(folder / "test/cat/20.AVIF", plain(200, "avif"))

    opened = open_dataset(str(folder))

    assert len(opened.split("test")) == 3
    (sample,) = [s for s in opened.split("test").samples if s.key.endswith("AVIF")]
    assert np.abs(np.asarray(opened.split("test").image(sample)).astype(int) - 200).max() <= 3


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    for name in ("a.HEIC", "b.heic", "c.txt", "Thumbs.db", "noending", ".DS_Store", "._1.png"):
        write(folder / "test/cat" / name, "not read")
    for name in (".ipynb_checkpoints/1.png", "@eaDir/1.png", "@eaDir/deeper/2.png"):
        write(folder / "test/dog" / name, "not read")
    data = open_dataset(str(folder)).split("test")

    assert len(data.samples) == 2
    assert data.dataset.remarks == [
        "left out of the class folders: 1 .db, 2 .heic, 1 .txt, 2 hidden, 1 no ending, "
        "folder .ipynb_checkpoints (1 file), folder @eaDir (2 files)"
    ]


def test_a_linked_folder_is_read_once(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    images(tmp_path / "elsewhere" / "deep", ["30.png"])
    images(folder / "test/cat/inside", ["31.png"])
    for name, target in (
        ("more", tmp_path / "elsewhere"),
        ("again", tmp_path / "elsewhere/deep"),
        ("twice", folder / "test/cat/inside"),
        ("loop", folder / "test/cat"),
        ("up", tmp_path),
    ):
        (folder / "test/cat" / name).symlink_to(target, target_is_directory=True)
    (tmp_path / "elsewhere/deep/back").symlink_to(folder, target_is_directory=True)
    (folder / "test/cat/itself").symlink_to(folder / "test/cat/itself")
    dataset = open_dataset(str(folder))

    found = listed(dataset, Where())["test"]
    assert [key for key, _ in found] == [
        *("test/cat/100.png", "test/cat/again/30.png", "test/cat/inside/31.png"),
        "test/dog/110.png",
    ]
    # Again, back, loop, twice and up; and the link to itself.
    left = "left out of the class folders: 5 linked again, 1 no ending"
    nested = "folders inside a class folder are of its class: those in 'cat'"
    assert dataset.remarks == [nested, left]


def test_a_linked_class_folder_and_a_linked_split_are_read(tmp_path: Path) -> None:
    stored = class_folders(tmp_path / "stored", ("cat", "dog"))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train").symlink_to(stored / "train", target_is_directory=True)
    (folder / "test").mkdir()
    for name in ("cat", "dog"):
        (folder / "test" / name).symlink_to(stored / "test" / name, target_is_directory=True)

    found = listed(open_dataset(str(folder)), Where())
    assert {split: len(part) for split, part in found.items()} == {"train": 4, "test": 2}


def test_a_linked_image_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine", ("cat", "dog"))
    (folder / "test/dog/9.png").symlink_to(tmp_path / "gone.png")
    data = open_dataset(str(folder)).split("test")

    assert len(data.samples) == 3
    assert data.state(data.samples)[2] == [0, 0]
    assert "test/dog/9.png" in refusal(lambda: [data.image(sample) for sample in data.samples])


def test_an_archive_beside_the_class_folders_is_no_dataset(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "mine")
    write(folder / "mine.tar", b"what the folders were unpacked from")

    assert len(listed(open_dataset(str(folder)), Where())["train"]) == 6


def test_a_split_file_divides_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = unsplit_folder(tmp_path / "mine", (3, 3))
    rows = {
        "train": [("class_0/0.png", 0, "class 0"), ("class_1/20.png", 1, "class 1")],
        "test": [("class_1/21.png", 1, "class 1"), ("class_0/2.png", 0, "class 0")],
    }
    where = Where(split_file=write(tmp_path / "split.json", json.dumps(rows)))

    assert listed(open_dataset(str(folder), where), where) == {
        "train": [("class_0/0.png", 0), ("class_1/20.png", 1)],
        "test": [("class_1/21.png", 1), ("class_0/2.png", 0)],
    }


def test_a_split_file_names_the_classes_of_a_folder_however_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    images(folder / "train", ["1.png", "2.png"])
    images(folder / "test", ["3.png", "4.png"])
    rows = {
        "train": [("train/1.png", 0, "wolf"), ("train/2.png", 1, "cat")],
        "valid": [("test/3.png", 2, "ant")],
        "test": [("test/4.png", 0, "wolf")],
    }
    where = Where(split_file=write(tmp_path / "split.json", json.dumps(rows)))
    dataset = open_dataset(str(folder), where)

    assert dataset.spec.classnames == ("ant", "cat", "wolf")
    assert listed(dataset, where) == {
        "train": [("train/1.png", 2), ("train/2.png", 1)],
        "val": [("test/3.png", 0)],
        "test": [("test/4.png", 2)],
    }
    rows["valid"] = [("test/3.png", 1, "cta")]
    where = Where(split_file=write(tmp_path / "typo.json", json.dumps(rows)))
    message = refusal(lambda: open_dataset(str(folder), where))
    assert "typo.json gives two classes the label 1: 'cat' and 'cta'" in message


def test_a_folder_of_ones_own_with_a_mistake_is_refused(tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(lambda: open_dataset(str(tmp_path / "none")))
    (tmp_path / "empty").mkdir()
    message = refusal(lambda: open_dataset(str(tmp_path / "empty")))
    assert "no folder in it has an image. Lay the images out as" in message
    one = class_folders(tmp_path / "one", ["cat"])
    assert "it has 1 class folder," in refusal(lambda: open_dataset(str(one)))
    dataset = open_dataset(
        str(class_folders(tmp_path / "two", ["cat", "dog"])), Where(source="hf:org/name")
    )
    with pytest.raises(OptionError, match=r"--source hf:org/name: .*two is a source itself"):
        _ = dataset.split("test").samples


def test_unknown_sources_are_refused() -> None:
    for source in ("disk", "hf:", "hub:org/name"):
        with pytest.raises(OptionError, match=f"--source {source}: it is auto, folder, hub or hf:"):
            _ = opened(toy(), Where(source=source)).split("test").samples


# Images that cannot be read


def test_a_bad_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    write(folder / "images/c/31.png", b"")
    data = opened(toy(layout=SPLIT_FILE, sizes=SIZES), Where(tmp_path)).split("test")

    message = refusal(lambda: [data.image(sample) for sample in data.samples])
    assert message.startswith(f"toy: test image c/31.png in {folder} cannot be read: it is empty")
    assert "--on-bad-image skip" in message
    assert "`susx-bench data check toy`" in message


def test_bad_images_are_left_out_where_asked_for(tmp_path: Path) -> None:
    folder = split_folder(tmp_path)
    write(folder / "images/d/30.png", plain(30)[:40])
    write(folder / "images/c/11.png", b"<html>")
    dataset = toy(layout=SPLIT_FILE, sizes=SIZES)
    where = Where(tmp_path, skip_bad=True)

    assert listed(dataset, where) == {
        "train": [("o/10.png", 2), ("d/12.png", 1)],
        "val": [("d/20.png", 1)],
        "test": [("c/31.png", 0), ("c/32.png", 0)],
    }
    assert opened(dataset, where).split("train").skipped == ["c/11.png"]
    assert opened(dataset, where).split("val").skipped == []
    assert opened(dataset, where).split("test").skipped == ["d/30.png"]
    whole = opened(dataset, Where(tmp_path)).split("test")
    assert opened(dataset, where).split("test").sha256 != whole.sha256
    assert whole.skipped == []


def test_the_facts_of_a_toy_are_a_spec() -> None:
    assert spec_of(name="other").name == "other"


def test_a_class_has_a_name_that_is_seen(tmp_path: Path) -> None:
    """A byte order mark and blanks are no part of it; nothing but these is no name."""
    folder = class_folders(tmp_path / "mine", ("\ufeffcat ", "dog_"))
    assert open_dataset(str(folder)).spec.classnames == ("dog", "cat")
    assert {label for _, label in listed(open_dataset(str(folder)), Where())["test"]} == {0, 1}

    for place, name in enumerate(("_", " ", "\u200b")):
        other = class_folders(tmp_path / f"other{place}", (name, "dog"))
        with pytest.raises(DatasetError, match="has no name that a prompt can hold"):
            open_dataset(str(other))


def test_classes_called_by_numbers_are_told(tmp_path: Path, command: Command) -> None:
    """``a photo of a 0.`` has an accuracy, and it says nothing of a method."""
    places = [(split, name) for split in ("train", "test") for name in ("0", "1")]
    for number, (split, name) in enumerate(places):
        write(tmp_path / f"mine/{split}/{name}/{number}.png", plain(number))
    names = write(tmp_path / "names.txt", "cat\ndog")

    numbers = command("data", "check", "./mine")
    named = command("data", "check", "./mine", "--classnames", names)

    assert "its 2 classes are called by numbers (0, 1), which say nothing" in numbers.out
    assert "called by numbers" not in named.out
