"""Test sets whose training images are ImageNet's, of the same classes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from susx_bench.data.dataset import Dataset
from susx_bench.data.sources.tree import Tree, class_folders, read_tree
from susx_bench.data.spec import Where
from susx_bench.errors import DatasetError
from susx_bench.records import store
from susx_bench.runner.tasks import Opened
from tests.conftest import Command
from tests.data.copies import EACH, FACTS, lay_out, seen
from tests.data.made import write
from tests.data.test_all_datasets import HERE, NEAREST, TEST_ONLY, shrunk


@pytest.fixture(params=TEST_ONLY)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A test set of few classes, and ImageNet with these, called by its names, and others."""
    name: str = request.param
    small = shrunk(name, monkeypatch, most=50)
    codes = {FACTS[name].aliases[each][0] for each in small.classnames}
    imagenet = FACTS["imagenet"]
    theirs = [each for each in imagenet.classnames if imagenet.aliases[each][0] in codes]
    others = [each for each in imagenet.classnames if each not in theirs][500:503]
    kept = tuple(sorted([*theirs, *others], key=lambda each: each[::-1]))
    spec = shrunk(
        "imagenet",
        monkeypatch,
        classnames=kept,
        aliases={each: imagenet.aliases[each] for each in kept},
        sizes={split: EACH[split] * len(kept) for split in imagenet.sizes},
    )
    assert len(theirs) == len(small.classnames)
    lay_out(small, tmp_path / "data" / name)
    lay_out(spec, tmp_path / "data" / "imagenet")
    return name


def test_training_images_are_those_of_the_same_classes(name: str, tmp_path: Path) -> None:
    from susx_bench.registry import DATASETS

    spec, imagenet = DATASETS.get(name), DATASETS.get("imagenet")
    dataset = Dataset(spec, Where(tmp_path / "data"))

    assert dataset.splits == ("train", "test")
    assert len(dataset.split("test")) == EACH["test"] * len(spec.classnames)
    train = dataset.split("train")
    assert len(train) == EACH["train"] * len(spec.classnames)
    for sample in train.samples:
        label, split = seen(train.image(sample))  # as ImageNet numbers its classes
        assert split == "train"
        code = imagenet.aliases[imagenet.classnames[label]][0]
        assert code in spec.aliases[spec.classnames[sample.label]]
        assert code in sample.key
        assert dataset.source.path(sample) == tmp_path / "data" / "imagenet" / sample.key[9:]
    assert len(set(dataset.source.files(train.samples))) == len(train)
    state = dataset.source.state(train.samples)
    write(tmp_path / "data" / "imagenet" / train.samples[0].key[9:], b"other")
    assert dataset.source.state(train.samples) != state


def test_few_shot_from_imagenet(name: str, command: Command, tmp_path: Path) -> None:
    from susx_bench.registry import DATASETS

    root, method = tmp_path / "data", write(tmp_path / "nearest.py", NEAREST)
    words = ["run", "--dataset", name, "--data-root", root, "--out", tmp_path / "out", *HERE]
    words += ["--encoder", "demo", "--setting", "few-shot", "--shots", 1, "--seed", 1]
    words += ["--views", 1, "--method", f"ncm,{method}:Nearest"]

    done = command(*words)

    assert done.code == 0, done.err
    classes = len(DATASETS.get(name).classnames)
    assert {record["method"] for record in done.records} == {"ncm", "nearest"}
    for record in done.records:
        assert record["support_images"] == classes
        assert record["n_test"] == EACH["test"] * classes
        assert len(store.read_predictions(Path(record["record"])).top1) == record["n_test"]


def test_a_check_reads_what_is_its_own(name: str, command: Command, tmp_path: Path) -> None:
    """And of ImageNet's images those that are copies; one that cannot be read is ImageNet's."""
    from susx_bench.registry import DATASETS

    dataset = Dataset(DATASETS.get(name), Where(tmp_path / "data"))
    samples = dataset.split("train").samples
    own = dataset.source.read(dataset.split("test").samples[0])
    of_its_length = b"x" * len(own)
    for sample, content in zip(samples, (own, b"no image", of_its_length), strict=False):
        path = dataset.source.path(sample)
        assert path is not None
        path.write_bytes(content)

    done = command("data", "check", name, "--data-root", tmp_path / "data")

    said = " ".join(done.out.split())
    assert done.code == 0, done.err
    assert "train is of imagenet: of its" in said
    assert "images those 1 are read" in said
    assert "the same image in several splits: 1" in said
    assert "cannot be read" not in said


def test_without_training_images_there_is_no_few_shot(
    name: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "data/imagenet/train").rename(tmp_path / "data/imagenet/elsewhere")
    words = ["run", "--dataset", name, "--data-root", tmp_path / "data", "--encoder", "demo"]

    done = command(*words, "--setting", "few-shot", "--method", "ncm")

    assert done.code == 2
    assert "no train split" in done.err
    assert "unless imagenet/train lies beside it" in " ".join(done.err.split())


def test_an_empty_folder_lends_nothing_and_leaves_the_test_set_usable(
    name: str, tmp_path: Path
) -> None:
    from susx_bench.registry import DATASETS

    shutil.rmtree(tmp_path / "data/imagenet")
    (tmp_path / "data/imagenet/train").mkdir(parents=True)

    assert Dataset(DATASETS.get(name), Where(tmp_path / "data")).splits == ("test",)


def test_a_class_that_imagenet_has_not_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from susx_bench.registry import DATASETS

    spec = DATASETS.get(name)
    first = spec.classnames[0]
    wrong = replace(spec, aliases={**spec.aliases, first: ("n00000000",)})

    with pytest.raises(DatasetError, match=f"'{first}' is no class of imagenet"):
        _ = Dataset(wrong, Where(tmp_path / "data")).splits


def test_one_plan_walks_the_lender_once_and_the_next_looks_again(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    walked: list[Path] = []

    def counted(folder: Path) -> Tree:
        walked.append(folder)
        return read_tree(folder)

    monkeypatch.setattr("susx_bench.data.sources.folder.read_tree", counted)
    where, train = Where(tmp_path / "data"), tmp_path / "data/imagenet/train"

    opened = Opened()
    before = [
        list(opened.dataset(each, where).split("train").samples) for each in ("imagenet", name)
    ]

    assert sorted(path for path in walked if path.parent == train) == class_folders(train)
    lent = before[1][-1].key
    (train.parent / lent.removeprefix("imagenet:")).unlink()
    after = Opened().dataset(name, where).split("train").samples
    assert [sample for sample in before[1] if sample.key != lent] == list(after)
