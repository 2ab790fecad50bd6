"""A table of file names and labels as a dataset, and class names that need other words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.data.spec import Split, Where
from susx_bench.data.wording import wording_hints
from susx_bench.errors import DatasetError, OptionError
from tests.conftest import Command
from tests.data.made import dotted, encoded, photo, shade, write

NAMES = ("cat", "night owl")
SPLITS: tuple[tuple[Split, range], ...] = (
    ("train", range(10, 18)),
    ("val", range(20, 24)),
    ("test", range(30, 36)),
)
ROWS: list[tuple[str, ...]] = [
    (f"{split}/{number}.png", NAMES[number % 2], split)
    for split, numbers in (
        ("train", range(10, 18)),
        ("val", range(20, 24)),
        ("test", range(30, 36)),
    )
    for number in numbers
]


def images(folder: Path) -> None:
    for file, *_ in ROWS:
        write(folder / file, dotted(int(Path(file).stem)))


def as_csv(
    rows: Sequence[tuple[str, ...]], head: str = "file,label,split\n", mark: str = ","
) -> str:
    return head.replace(",", mark) + "".join(mark.join(row) + "\n" for row in rows)


def as_lines(rows: Sequence[tuple[str, ...]]) -> str:
    names = ("file_name", "class", "subset")
    return "".join(json.dumps(dict(zip(names, row, strict=False))) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", as_csv(ROWS)),
        ("photos.csv", "\ufeff" + as_csv(ROWS, "Set,Class,Image_Path\n").replace("\n", "\r\n")),
        ("photos.csv", as_csv(ROWS, "")),
        ("photos.tsv", as_csv(ROWS, mark="\t")),
        ("photos.jsonl", as_lines(ROWS)),
    ],
)
def test_a_table_lists_the_images_of_each_split(name: str, text: str, tmp_path: Path) -> None:
    if text.startswith("\ufeff"):
        head, *rows = text.split("\r\n")
        turned = [",".join(reversed(row.split(","))) for row in rows]
        text = "\r\n".join([head, *turned])
    images(tmp_path)
    write(tmp_path / name, text)

    dataset = open_dataset(f"{tmp_path / name}")

    assert dataset.spec.name == "photos"
    assert dataset.spec.classnames == NAMES
    for split, _ in SPLITS:
        data = dataset.split(split)
        assert [sample.key for sample in data.samples] == [f for f, _, s in ROWS if s == split]
        for sample in data.samples:
            assert shade(data.image(sample)) == int(Path(sample.key).stem)
            assert sample.label == int(Path(sample.key).stem) % 2


def test_without_splits_the_images_are_divided(tmp_path: Path) -> None:
    images(tmp_path)
    write(tmp_path / "photos.csv", as_csv([row[:2] for row in ROWS], "file,label\n"))

    dataset = open_dataset(f"{tmp_path}/photos.csv")

    sizes = {split: len(dataset.split(split).samples) for split in dataset.splits}
    assert sizes == {"train": 8, "val": 4, "test": 6}
    assert dataset.protocol == "susx-bench 50/20/30"


def test_columns_and_names_are_said_by_hand(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [(file, "x", str(NAMES.index(label)), split) for file, label, split in ROWS]
    write(tmp_path / "photos.csv", as_csv(rows, "where,label,kind,split\n"))
    write(tmp_path / "names.txt", "tabby cat\nowl\n")

    where = Where(image_column="where", label_column="kind", classnames=tmp_path / "names.txt")
    dataset = open_dataset(f"{tmp_path}/photos.csv", where)

    assert dataset.spec.classnames == ("tabby cat", "owl")
    assert [s.label for s in dataset.split("test").samples] == [0, 1] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no row"),
        ("file,label\n", "it has no row"),
        ("file,label\n10.png\n", "line 2 has 1 columns, and 2 are named"),
        ("file,label\n10.png,\n", "line 2 has no label that is a name"),
        ("file,label\n10.png,cat\n", "all images are of class 'cat', 2 are needed"),
        ("name,label\n10.png,cat\n", "none of file, filename, .* Say which with --image-column"),
        ("file,path,label\na.png,b.png,c\n", "several of file, .* --image-column NAME"),
        ("file,label\n../a.png,cat\nb.png,dog\n", "outside the images' folder"),
        ("file,label\na.png,cat\na.png,dog\n", "lists 'a.png' twice"),
        (
            "file,label\na.png,cat\nb.png,dog\n",
            "2 of 2 test images do not exist, the first is ",
        ),
        ("file,label,split\na.png,cat,x\nb.png,dog,y\n", "none of them is called train"),
        ('file,label\n"a.png,cat\n', "cannot be read"),
        ("file;label\na.png;cat\n", "its columns stand between ';'; save it with ','"),
        ("file\tlabel\na.png\tcat\n", "its columns stand between '.t'; save it with ','"),
    ],
)
def test_a_table_with_a_mistake_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "photos.csv", text)

    with pytest.raises(DatasetError, match=message) as caught:
        _ = open_dataset(f"{tmp_path}/photos.csv").split("test").samples

    assert "\n" not in str(caught.value)


def test_json_lines_with_a_mistake_are_one_line(tmp_path: Path) -> None:
    def refused(text: str, message: str) -> None:
        write(tmp_path / "photos.jsonl", text)
        with pytest.raises(DatasetError, match=message):
            open_dataset(f"{tmp_path}/photos.jsonl")

    refused("[1]\n", "line 1 is no object")
    refused('{"file": "a.png", "label": "cat"}\n\nnot json\n', "line 3 is not JSON")
    refused('{"file": "a.png", "label": ["cat"]}\n', "line 1 has no label that is a name")
    mixed = '{"file": "a.png", "label": 3}\n{"file": "b.png", "label": "cat"}\n'
    refused(mixed, "line 2 has the label 'cat', and line 1 has a number")
    with pytest.raises(DatasetError, match="there is no such file"):
        open_dataset(f"{tmp_path}/none.csv")
    with pytest.raises(OptionError, match="--split-file does not go with"):
        open_dataset(f"{tmp_path}/photos.jsonl", Where(split_file=tmp_path / "split.json"))


def test_a_table_is_run_on(tmp_path: Path, command: Command) -> None:
    images(tmp_path)
    write(tmp_path / "photos.csv", as_csv(ROWS))
    run = ("run", "--method", "zero-shot", "--setting", "few-shot", "--dataset", "./photos.csv")

    (record,) = command(*run, "--encoder", "demo", "--json").records

    assert (record["dataset"], record["dataset_given"]) == ("photos", "./photos.csv")
    assert (record["n_test"], record["protocol"]) == (6, "custom")


@pytest.mark.parametrize(
    ("names", "hints"),
    [
        (["n01440764", "n01443537", "tench"], ["2 of its 3 classes are called by WordNet ids"]),
        (["Annual_Crop", "Forest"], ["underscores .* 'Annual_Crop' is 'Annual Crop' in a prompt"]),
        (["cat_01", "dog_02"], ["end in a number .cat_01, dog_02.", "underscores"]),
        (["001.Albatross", "002.Auklet"], ["begin with a number"]),
        (["AnnualCrop", "Forest"], ["1 of its 2 classes are called by words without spaces"]),
        (["cat", "night owl", "Boeing 747", "m&m", "été"], ["1 of its 5 .* .Boeing 747."]),
        (["cat", "McLaren"], ["words without spaces"]),
        (["猫", "犬", "cat's eye"], []),
    ],
)
def test_odd_names_are_told(names: list[str], hints: list[str]) -> None:
    import re

    told = wording_hints(names)

    assert len(told) == len(hints)
    assert all(re.search(hint, line) for hint, line in zip(hints, told, strict=True))


def test_hints_stand_beside_a_run(tmp_path: Path, command: Command) -> None:
    for start, name in ((10, "Annual_Crop"), (30, "n01440764")):
        for number in range(start, start + 10):
            write(tmp_path / f"photos/{name}/{number}.png", dotted(number))
    run = ("run", "--method", "zero-shot", "--setting", "few-shot", "--dataset", "./photos")

    told = command(*run, "--encoder", "demo").err

    assert "1 of its 2 classes are called by WordNet ids (n01440764)" in " ".join(told.split())
    assert "'Annual_Crop' is 'Annual Crop' in a prompt" in " ".join(told.split())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,label,label\n0.png,cat,dog\n", "two columns are called 'label'"),
        ("file,label,Split,split\n0.png,cat,train,test\n", "two columns are called 'Split'"),
        ("file,label,split,subset\n0.png,cat,train,test\n", "split, subset may each say the split"),
        ("file,label,part_\n0.png,cat,train\n1.png,dog,Test\n", "'part_' has names of splits"),
        ("file,label,split\n0.png,cat,train\n1.png,dog,\n", "1 of its 2 rows have no 'split'"),
        (
            "file,label,split\n0.png,cat,train\n1.png,dog,query\n",
            "has 'train' and no test split, and beside it 'query', of which no name means a split",
        ),
        ("file,label,is_valid\n0.png,cat,True\n1.png,dog,False\n", "'is_valid' says splits"),
        ("file,label\n0.png,0.0\n1.png,1.0\n", "line 2 has the label '0.0'"),
        (
            "file,label\n0.png,cat\n1.png,-1\n",
            "'-1', and a label is a name or a whole number from 0",
        ),
        (
            "file,label,split\n0.png,cat,train\n1.png,-1,test\n",
            "'test' has no labels: all are -1 or empty.",
        ),
        ('file,label\n0.png,"[0, 1]"\n', "line 2 has the label '[0, 1]'"),
        ("file,label\n0.png,cat\n1.png,NaN\n", "line 3 has the label 'NaN'"),
        ("file,label\n0.png,True\n1.png,False\n", "line 2 has the label 'True'"),
        (
            "file,label,split\n0.png,cat,train\n1.png,0,test\n",
            "'test' has numbers as label and 'train' has names",
        ),
        ("file,label\n/photos/0.png,cat\n/photos/1.png,dog\n", "a path from the root"),
    ],
)
def test_what_would_be_another_number_is_refused(text: str, says: str, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.png", encoded(photo(number)))
    (tmp_path / "mine.csv").write_text(text)

    with pytest.raises(DatasetError) as caught:
        assert open_dataset(str(tmp_path / "mine.csv")).split("test").samples
    assert says in str(caught.value)


def test_a_key_that_an_object_has_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"file": "0.png", "label": "cat", "label": "dog"}\n')

    with pytest.raises(DatasetError, match="one key twice"):
        open_dataset(str(tmp_path / "mine.jsonl"))


def test_numbers_beside_names_are_classes_where_every_split_has_both(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'7' if i % 2 else 'other'}" for i in range(8)]
    for i in range(8):
        write(tmp_path / f"{i}.png", encoded(photo(i)))
    (tmp_path / "mine.csv").write_text("\n".join(["file,label", *rows]))

    assert open_dataset(str(tmp_path / "mine.csv")).spec.classnames == ("7", "other")


def test_any_usual_name_says_the_splits(tmp_path: Path) -> None:
    rows = [f"{i}.png,{NAMES[i % 2]},{'Training' if i < 6 else 'PublicTest'}" for i in range(10)]
    for i in range(10):
        write(tmp_path / f"{i}.png", dotted(i))
    for column in ("split", "Usage", "phase", "SUBSET", "partition", "fold", "set"):
        (tmp_path / "mine.csv").write_text("\n".join([f"file,label,{column}", *rows]))

        dataset = open_dataset(str(tmp_path / "mine.csv"))

        assert {s: len(dataset.split(s).samples) for s in dataset.splits} == {"train": 6, "test": 4}


def test_a_column_that_names_no_split_is_told(tmp_path: Path) -> None:
    rows = [f"{i}.png,{NAMES[i % 2]},{i % 5}" for i in range(10)]
    for i in range(10):
        write(tmp_path / f"{i}.png", dotted(i))
    (tmp_path / "mine.csv").write_text("\n".join(["file,label,fold", *rows]))

    dataset = open_dataset(str(tmp_path / "mine.csv"))

    assert list(dataset.remarks)[:2] == [
        "its column 'fold' is not read: none of its values (0, 1, 2, 3, 4) is the name of a split",
        "it has no test split, so each class is divided: 50 % train, 20 % val, 30 % test",
    ]


def test_a_split_that_only_later_lines_say_is_not_overlooked(tmp_path: Path) -> None:
    lines = [{"file": "0.png", "label": "cat"}, {"file": "1.png", "label": "dog", "split": "test"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))

    with pytest.raises(DatasetError, match="1 of its 2 rows have no 'split', the first is row 1"):
        open_dataset(str(tmp_path / "mine.jsonl"))


def test_classes_of_rows_that_are_not_used_are_none(tmp_path: Path) -> None:
    rows = ["0.png,cat,train", "1.png,dog,train", "2.png,cat,test", "3.png,cow,extra"]
    for i in range(4):
        write(tmp_path / f"{i}.png", dotted(i))
    (tmp_path / "mine.csv").write_text("\n".join(["file,label,split", *rows]))

    dataset = open_dataset(str(tmp_path / "mine.csv"))

    assert dataset.spec.classnames == ("cat", "dog")
    assert "not used: 'extra', beside train, test" in dataset.remarks


def test_validation_takes_the_place_of_a_test_split_without_labels(tmp_path: Path) -> None:
    rows = [f"{i}.png,{NAMES[i % 2]},{'train' if i < 4 else 'valid'}" for i in range(8)]
    for i in range(10):
        write(tmp_path / f"{i}.png", dotted(i))
    for hidden in ("-1", ""):
        more = [f"{i}.png,{hidden},test" for i in (8, 9)]
        (tmp_path / "mine.csv").write_text("\n".join(["file,label,split", *rows, *more]))

        dataset = open_dataset(str(tmp_path / "mine.csv"))

        assert {s: len(dataset.split(s).samples) for s in dataset.splits} == {"train": 4, "test": 4}
        assert "'test' has no labels, so 'valid' is the test set and there is no val" in (
            dataset.remarks
        )


def test_a_list_beside_photographs_without_folders_is_told(tmp_path: Path) -> None:
    write(tmp_path / "mine/0.png", dotted(1))
    write(tmp_path / "mine/metadata.csv", "file_name,label\n0.png,cat\n")

    place = f"{tmp_path}/mine/metadata.csv"
    with pytest.raises(DatasetError, match=f"to read what it lists, give --dataset {place}"):
        open_dataset(str(tmp_path / "mine"))
