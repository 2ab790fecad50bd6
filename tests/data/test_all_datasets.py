"""Every dataset from files to a record: real layouts and schemas, small pictures, small splits.

A picture's colour says which class it shows and its width which split it is in, so what is read
can be held against what is seen. Classes are called what the copies call them, by rules and lists
of this file's own, and the order of the facts is shuffled: an image gets the right label by its
class's name, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from susx_bench.data.dataset import Dataset
from susx_bench.data.spec import ClassFolders, DatasetSpec, Split, Where
from susx_bench.errors import DatasetError
from susx_bench.records import store
from susx_bench.registry import DATASETS
from tests.conftest import Command
from tests.data.copies import (
    EACH,
    FACTS,
    LATER,
    NAMES,
    OTHERWISE,
    SPLITS,
    cut,
    facts_of,
    lay_out,
    lay_out_folders,
    lay_out_table,
    seen,
)
from tests.data.made import write

TEST_ONLY = sorted({"imagenet-r", "imagenet-sketch", *LATER})
VAL_IS_TEST = ["cifar10", "cifar100", "imagenet", *TEST_ONLY]
UNLIKE_FOLDERS = [name for name in NAMES if not isinstance(FACTS[name].layout, ClassFolders)]
ON_THE_HUB = [(name, hub) for name in NAMES for hub in range(len(FACTS[name].hub))]
MOST = 50
"""Classes that a dataset may have to be run whole."""
FEW = 12
"""Classes that are left of a larger one."""
ONE_SHOT = ["--setting", "few-shot", "--shots", 1, "--seed", 1, "--views", 1, "--tune", "fixed"]
# No workers: they hand images over through sockets, which tests may not open.
HERE = ["--workers", 0, "--accelerator", "cpu", "--json"]


def shrunk(
    name: str, monkeypatch: pytest.MonkeyPatch, most: int = 1000, **changes: Any
) -> DatasetSpec:
    """The dataset with small splits, its classes in another order, and few if they are many."""
    small = cut(name, most, FEW, **changes)
    monkeypatch.setattr(facts_of(name), small)
    return small


def check_every_image(spec: DatasetSpec, splits: Iterable[Split], where: Where) -> None:
    """Every image of a split is there and has the label that its colour shows."""
    names, dataset = spec.classnames, Dataset(spec, where)
    for split in splits:
        data = dataset.split(split)
        labels = data.labels.tolist()

        assert dataset.splits == tuple(splits)
        assert [seen(data.image(sample)) for sample in data.samples] == [(i, split) for i in labels]
        assert sorted(labels) == sorted(list(range(len(names))) * EACH[split])


# Answers with the class of the nearest support image, which shows the very colour of the test
# image: wrong only where pictures and labels have come apart.
NEAREST = """
import torch
from susx_bench import Method

class Nearest(Method):
    name = "nearest"
    def fit(self, context):
        self.context = context
    def logits(self, images):
        far = torch.cdist(images.double(), self.context.support.double())
        return -far[:, self.context.support_labels.argsort()]
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_image_gets_its_label(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch)
    lay_out(spec, tmp_path / OTHERWISE.get(name, name))

    check_every_image(spec, spec.sizes, Where(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_from_files_to_a_record(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch, MOST)
    classes = len(spec.classnames)
    root, method = tmp_path / "data", write(tmp_path / "nearest.py", NEAREST)
    lay_out(spec, root / name)

    asked = [*ONE_SHOT, "--method", f"tipx,{method}:Nearest"]
    words = ["run", "--dataset", name, "--data-root", root, "--out", tmp_path / "out", *HERE]
    words += ["--encoder", "demo"]

    done = command(*words, *asked)
    if name in TEST_ONLY:
        assert done.code == 2
        assert f"{name}: it has no train split" in done.err
        assert not (tmp_path / "out").exists()
        done = command(*words, "--setting", "name-only", "--method", "zero-shot")

    assert done.code == 0, done.err
    found = {record["method"]: record for record in done.records}
    assert set(found) == ({"zero-shot"} if name in TEST_ONLY else {"tipx", "nearest"})
    truth = Dataset(spec, Where(root)).split("test").labels
    for record in found.values():
        top1 = store.read_predictions(Path(record["record"])).top1
        assert record["dataset"] == name
        assert record["protocol"] == spec.protocol
        assert record["num_classes"] == classes
        assert record["n_test"] == EACH["test"] * classes
        assert record["support_images"] == (0 if name in TEST_ONLY else classes)
        assert record["views"] == (0 if name in TEST_ONLY else 1)
        assert record["correct"] == (top1 == truth).sum()
    if "nearest" in found:
        assert found["nearest"]["accuracy"] == 100


@pytest.mark.parametrize("name", UNLIKE_FOLDERS)
def test_class_folders_serve_for_any_dataset(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch)
    lay_out_folders(spec, tmp_path / name)

    check_every_image(spec, spec.sizes, Where(tmp_path, "folder"))


@pytest.mark.parametrize(("name", "nth"), ON_THE_HUB)
def test_copies_on_the_hub(
    name: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch)
    hub = spec.hub[nth]
    folder = tmp_path / hub.revision
    lay_out_table(spec, hub, folder)
    monkeypatch.setattr("susx_bench.data.sources.find.snapshot", lambda *_: folder)
    where = Where(tmp_path, f"hf:{hub.repo}")

    check_every_image(spec, SPLITS.get(hub.repo, ["train", "test"]), where)
    assert Dataset(spec, where).protocol == hub.protocol


@pytest.mark.parametrize("name", VAL_IS_TEST)
def test_there_is_no_val_where_it_is_the_test_set(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch, MOST)
    assert spec.val_is_test
    lay_out(spec, tmp_path / name)
    setting = ["--setting", "name-only" if name in TEST_ONLY else "few-shot"]
    words = ["run", *setting, "--method", "tipx", "--dataset", name, "--data-root", tmp_path]

    done = command(*words, "--tune", "val", "--encoder", "demo")

    assert done.code == 2
    assert f"the published val split of {name} is its test set" in done.err


@pytest.mark.parametrize("name", NAMES)
def test_another_size_is_an_error_with_both_numbers(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrunk(name, monkeypatch, MOST)
    lay_out(spec, tmp_path / name)
    there = spec.sizes["test"]
    wrong: dict[Split, int] = {"test": there + 1}
    hub = tuple(replace(hub, sizes={**hub.sizes, **wrong}) for hub in spec.hub)
    shrunk(name, monkeypatch, MOST, sizes={**spec.sizes, **wrong}, hub=hub)
    words = ["run", "--setting", "name-only", "--method", "zero-shot", "--dataset", name]

    done = command(*words, "--data-root", tmp_path, "--encoder", "demo")

    assert done.code == 2
    assert f"{name}: test has {there} images" in done.err
    assert f"has {there + 1}." in done.err


def test_a_broken_alias_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases = dict(FACTS["caltech101"].aliases) | {"face": ("off-center face",)}
    spec = shrunk("caltech101", monkeypatch, aliases=aliases)
    lay_out_folders(spec, tmp_path / "caltech101")

    with pytest.raises(DatasetError, match="none of its: 'Faces'; without 'face'"):
        check_every_image(spec, ["train", "val", "test"], Where(tmp_path))


def test_all_nineteen_and_ten_more() -> None:
    assert len(NAMES) == 19 + len(LATER & set(NAMES)) == 29
    assert all(isinstance(DATASETS.get(name), DatasetSpec) for name in NAMES)
