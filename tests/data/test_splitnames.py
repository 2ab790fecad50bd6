"""Which split a name means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from susx_bench.data.spec import Split
from susx_bench.data.splitnames import (
    SplitName,
    files_by_split,
    guess_splits,
    is_filler,
    named_splits,
    nameless,
    one_each,
    split_name,
)
from susx_bench.errors import DatasetError

PLAIN: dict[Split, str] = {
    "train": (
        "train Train TRAIN training Training_Set train_set trainset TrainSet train-images "
        "images_train trainImages train2017 01_train train_256 tr trn"
    ),
    "val": "val VAL valid Valid validation validation-set ValidationData val2017 dev devset va",
    "test": "test TEST Testing test_set testset eval evaluation holdout Hold-Out hold_out_set te",
}


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for split, names in PLAIN.items() for name in names.split()]
)
def test_a_name_that_can_only_mean_a_split(name: str, split: Split) -> None:
    assert split_name(name) == SplitName(split, ())


@pytest.mark.parametrize(
    ("name", "split", "rest"),
    [
        ("Validation Set", "val", ()),
        ("train-00000-of-00003", "train", ()),
        ("cars_train", "train", ("cars",)),
        ("seg_test", "test", ("seg",)),
        ("dtd_train_1", "train", ("dtd",)),
        ("test tube", "test", ("tube",)),
        ("trainval", "train", ("val",)),
        ("train+val", "train", ("val",)),
    ],
)
def test_other_words_beside_a_split_are_kept(name: str, split: Split, rest: tuple[str]) -> None:
    assert split_name(name) == SplitName(split, rest)


@pytest.mark.parametrize(
    "name",
    [
        *("cat", "trains", "trainer", "contest", "latest", "invalid", "travel", "", "2017"),
        *("train-test-split", "test_dev", "te_reo", "tr lira", "images"),
    ],
)
def test_a_name_that_means_no_split(name: str) -> None:
    assert split_name(name) is None


def test_words_that_say_nothing() -> None:
    assert all(is_filler(name) for name in ("data", "Images", "dataset2", "image_folder", "all"))
    assert not any(is_filler(name) for name in ("cat", "train", "my_data", "", "7"))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("train validation test", {"train": "train", "val": "validation", "test": "test"}),
        ("test valid training", {"train": "training", "val": "valid", "test": "test"}),
        ("Train Dev TEST", {"train": "Train", "val": "Dev", "test": "TEST"}),
        ("train validation", {"train": "train", "test": "validation"}),
        ("train test train_noisy", {"train": "train", "test": "test"}),
        ("train val trainval test", {"train": "train", "val": "val", "test": "test"}),
        ("trainval test", {"train": "trainval", "test": "test"}),
        ("cars_train cars_test", {"train": "cars_train", "test": "cars_test"}),
        ("all", {"train": "all"}),
        ("train", {"train": "train"}),
        ("test extra", {"test": "test"}),
    ],
)
def test_splits_are_known_by_their_usual_names(names: str, found: dict[Split, str]) -> None:
    assert guess_splits(names.split(), "here") == found


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train val dev test", "here has 2 candidates for the val split: 'val', 'dev'. Keep one"),
        ("train Test test", "here has 2 candidates for the test split: 'Test', 'test'. Keep one"),
        ("train_1 train_2 test", "candidates for the train split: 'train_1', 'train_2'. Keep one"),
        ("a_train b_train", "here has 2 candidates for the train split: 'a_train', 'b_train'."),
        ("red blue", "here has the splits red, blue, and none of them is called train"),
    ],
)
def test_splits_that_cannot_be_told_are_refused(names: str, message: str) -> None:
    def guess() -> object:
        return guess_splits(names.split(), "here")

    refused(guess, message)


def refused(guess: Callable[[], object], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        guess()
    assert message in str(caught.value)


def test_one_name_each_is_all_there_may_be() -> None:
    assert one_each(named_splits(["Train", "cat"]), "here") == {"train": "Train"}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            "data/train-00000-of-00002.p data/train-00001-of-00002.p data/validation-0.p",
            {"train": [0, 1], "validation": [2]},
        ),
        ("Train.p Test.p", {"train": [0], "test": [1]}),
        ("dtd_train_1.p dtd_train_2.p dtd_test_1.p", {"train": [0, 1], "test": [2]}),
        ("my.train.0.p my.dev.0.p", {"train": [0], "validation": [1]}),
        ("Training/0.p Testing/0.p", {"train": [0], "test": [1]}),
        ("train/all-tests-0.p test/0.p", {"train": [0], "test": [1]}),
        ("0.p 1.p", {"train": [0, 1]}),
        ("train.p extra.p", {"train": [0], "extra": [1]}),
        ("a_train.p b_train.p a_test.p", {"a_train": [0], "b_train": [1], "test": [2]}),
        ("", {}),
    ],
)
def test_a_file_is_of_the_split_that_its_path_names(
    files: str, found: dict[str, list[int]]
) -> None:
    paths = files.split()

    assert files_by_split(paths, "here") == {
        split: [paths[i] for i in numbers] for split, numbers in found.items()
    }


def test_a_path_with_two_splits_is_refused() -> None:
    message = "the path of train/test-0.p has the names of several splits"
    refused(lambda: files_by_split(["train/test-0.p"], "here"), message)


def test_files_of_other_names_are_told() -> None:
    assert nameless(["entrenamiento.parquet", "prueba-00000-of-00001.parquet"], "here") == [
        "no file is named after a split, so their rows are divided together: 'entrenamiento', "
        "'prueba'"
    ]
    assert nameless(["00000.tar", "00001.tar"], "here") == []
    assert nameless(["part-0.parquet", "part-1.parquet"], "here") == []
    assert nameless(["train.parquet", "other.parquet"], "here") == []
