"""Parquet files and webdataset shards in a folder, read by the real ``datasets``."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import Dataset
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import SPLITS, DatasetSpec, Hub, Split, SplitFile, Tables, Where
from susx_bench.errors import DatasetError
from susx_bench.support.pool import open_pool
from tests.conftest import Command
from tests.data.made import (
    CLASSES,
    dotted,
    encoded,
    opened,
    parquet,
    photo,
    plain,
    shade,
    toy,
    turned,
    webdataset,
    write,
)

NAMES = ("Night_Owl", "cat", "dog")  # another order and another spelling
UNDERSCORES = (
    "underscores in class names are read as spaces: 'Night_Owl' is 'Night Owl' in a prompt"
)
SPLIT_FILE = SplitFile(file="split.json", images="images")


def hub_of(**facts: Any) -> Hub:
    kept: dict[str, Any] = {
        "repo": "org/toy",
        "revision": "f" * 40,
        "splits": {"train": "train", "test": "test"},
        "sizes": {},
        "protocol": "susx",
    }
    return Hub(**(kept | facts))


def rows(
    dataset: DatasetSpec | Dataset, where: Where, split: Split = "test"
) -> list[tuple[str, int, int]]:
    """Key, label and shade of every image."""
    data = opened(dataset, where).split(split)
    return [(key, label, shade(data.image(Sample(key, label)))) for key, label in data.samples]


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused(root: Path, **facts: Any) -> str:
    """The message for a folder that cannot be read as the toy dataset's."""
    dataset = toy(**({"layout": Tables()} | facts))
    return refusal(lambda: opened(dataset, Where(root)).split("test").samples)


# Labels


def test_numbers_mean_the_names_of_the_copy(tmp_path: Path) -> None:
    write(tmp_path / "toy/data/train-00000-of-00002.parquet", parquet([plain(1)], [0], NAMES))
    write(tmp_path / "toy/data/train-00001-of-00002.parquet", parquet([plain(2)], [2], NAMES))
    test = parquet([plain(3), plain(4), plain(5)], [1, 0, 1], NAMES)
    write(tmp_path / "toy/data/test-00000-of-00001.parquet", test)
    dataset, where = toy(layout=Tables()), Where(tmp_path)

    assert opened(dataset, where).splits == ("train", "test")
    assert rows(dataset, where, "train") == [("train/0", 2, 1), ("train/1", 1, 2)]
    assert rows(dataset, where) == [("test/0", 0, 3), ("test/1", 2, 4), ("test/2", 0, 5)]
    assert opened(dataset, where).protocol == "custom"


def test_labels_may_be_the_names(tmp_path: Path) -> None:
    test = parquet([plain(3), plain(4), plain(5)], ["dog", "night-owl", "CAT"])
    write(tmp_path / "toy/test.parquet", test)

    found = rows(toy(layout=Tables()), Where(tmp_path))
    assert found == [("test/0", 1, 3), ("test/1", 2, 4), ("test/2", 0, 5)]


def test_the_names_may_stand_in_a_file(tmp_path: Path) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(3), plain(4)], [2, 0]))
    write(tmp_path / "toy/classnames.txt", "night owl\ncat\ndog\n\n")

    found = rows(toy(layout=Tables()), Where(tmp_path))
    assert found == [("test/0", 1, 3), ("test/1", 2, 4)]


def test_numbers_without_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(i) for i in range(3)], [0, 1, 2]))

    message = refused(tmp_path)
    assert f"toy: {tmp_path}/toy has numbers for labels, and neither names" in message
    assert "classnames.txt" in message
    assert "has numbers for labels" in refusal(lambda: open_dataset(str(tmp_path / "toy")))


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [
        ([0, 1, 3], NAMES, "test of {} has labels 0 to 3, and 3 class names"),
        ([-1, -1, -1], NAMES, "test of {} has labels -1 to -1, and 3 class names"),
        ([0, None, None], NAMES, "2 of 3 rows in test of {} have no label"),
        ([None, None, None], None, "3 of 3 rows in test of {} have no label"),
        (["", " ", ""], None, "3 of 3 rows in test of {} have no label"),
        (["cat", None, "dog"], None, "1 of 3 rows in test of {} have no label"),
        ([0, 1, 2], ("cat", "dog", "ant"), "{} has 3 class names, the dataset has 3 (none of"),
        (["cat", "dog", "cat"], None, "none of its rows is of 'night owl'"),
    ],
)
def test_labels_that_mean_no_class_are_refused(
    tmp_path: Path, labels: Sequence[Any], names: Sequence[str] | None, reason: str
) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(i) for i in range(3)], labels, names))

    assert reason.format(tmp_path / "toy") in refused(tmp_path)


def test_dropped_classes_leave_no_row(tmp_path: Path) -> None:
    names = ("clutter", *NAMES)
    test = parquet([plain(i) for i in range(4)], [0, 3, 0, 1], names)
    write(tmp_path / "toy/test.parquet", test)

    found = rows(toy(layout=Tables(), dropped=("clutter",)), Where(tmp_path))
    assert found == [("test/1", 1, 1), ("test/3", 2, 3)]


# Columns and splits


def test_columns_go_by_the_facts_or_by_their_usual_names(tmp_path: Path) -> None:
    test = parquet([plain(1)], [0], NAMES, image="picture", label="species")
    write(tmp_path / "facts/toy/test.parquet", test)
    hub = hub_of(splits={"test": "test"}, image="picture", label="species")
    assert rows(toy(layout=Tables(), hub=(hub,)), Where(tmp_path / "facts")) == [("test/0", 2, 1)]

    test = parquet([plain(1)], [0], NAMES, image="img", label="fine_label")
    write(tmp_path / "usual/toy/test.parquet", test)
    assert rows(toy(layout=Tables()), Where(tmp_path / "usual")) == [("test/0", 2, 1)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": "picture"}, "has the columns picture, label; none of image, img, jpg"),
        ({"label": "species"}, "has the columns image, species; none of label, labels, cls"),
    ],
)
def test_unknown_columns_are_listed(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(1)], [0], NAMES, **columns))

    assert f"toy: {tmp_path}/toy {reason}" in refused(tmp_path)


def test_splits_that_are_not_asked_for_need_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "toy/test-0.parquet", parquet([plain(1)], [-1], NAMES))
    write(tmp_path / "toy/validation-0.parquet", parquet([plain(2)], [0], NAMES))
    hub = hub_of(splits={"test": "validation"})

    assert rows(toy(layout=Tables(), hub=(hub,)), Where(tmp_path)) == [("validation/0", 2, 2)]


def test_a_split_that_the_facts_know_and_the_copy_has_not(tmp_path: Path) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(1)], [0], NAMES))

    message = refused(tmp_path, hub=(hub_of(),))
    assert f"toy: {tmp_path}/toy has the splits test, and no 'train' as org/toy has" in message


def test_a_wrong_count_is_told_with_both_numbers(tmp_path: Path) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(1)], [0], NAMES))
    hub = hub_of(splits={"test": "test"}, sizes={"test": 2})

    message = refused(tmp_path, hub=(hub,))
    assert f"toy: test has 1 images in {tmp_path}/toy, the published split has 2" in message


def test_a_copy_without_a_test_split_is_split(tmp_path: Path) -> None:
    labels = [i % 3 for i in range(30)]
    train = parquet([plain(i) for i in range(30)], labels, NAMES)
    write(tmp_path / "toy/train.parquet", train)
    dataset, where = toy(layout=Tables()), Where(tmp_path)

    assert opened(dataset, where).protocol == "susx-bench 50/20/30"  # before it was listed, too
    assert [len(rows(dataset, where, split)) for split in ("train", "val", "test")] == [15, 6, 9]
    for key, label, seen in rows(dataset, where):
        assert (key, label) == (f"train/{seen}", {0: 2, 1: 0, 2: 1}[labels[seen]])


# Images


def test_exif_turns_nothing(tmp_path: Path) -> None:
    write(tmp_path / "toy/test.parquet", parquet([turned()], [0], NAMES))
    data = opened(toy(layout=Tables()), Where(tmp_path)).split("test")

    assert data.content(data.samples[0]) == turned()
    assert data.image(data.samples[0]).size == (16, 8)


def test_rows_without_an_image_are_bad_images(tmp_path: Path) -> None:
    images = [plain(0), None, plain(2)[:50], plain(3)]
    write(tmp_path / "toy/test.parquet", parquet(images, [0, 1, 2, 1], NAMES))
    dataset = toy(layout=Tables())
    data = opened(dataset, Where(tmp_path)).split("test")

    assert "image test/1 in" in refusal(lambda: data.image(data.samples[1]))
    assert "its row holds no image" in refusal(lambda: data.image(data.samples[1]))
    where = Where(tmp_path, skip_bad=True)
    assert rows(dataset, where) == [("test/0", 2, 0), ("test/3", 0, 3)]
    assert opened(dataset, where).split("test").skipped == ["test/1", "test/2"]


def test_a_file_that_a_row_names_is_not_read(tmp_path: Path) -> None:
    """A table from somewhere else must not choose files of this machine."""
    secret = write(tmp_path / "secret.png", plain(7))
    (tmp_path / "toy").mkdir()
    table = pa.table({"image": [{"bytes": None, "path": str(secret)}], "label": ["cat"]})
    pq.write_table(table, tmp_path / "toy/test.parquet")
    data = opened(toy(layout=Tables(), classnames=("cat",)), Where(tmp_path)).split("test")

    assert "its row holds no image" in refusal(lambda: data.image(data.samples[0]))


def test_other_columns_are_not_decoded(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": plain(9), "path": None}],
            "mask": [{"bytes": b"broken", "path": None}],
            "label": ["cat"],
        },
        features=datasets.Features(
            {"image": datasets.Image(), "mask": datasets.Image(), "label": datasets.Value("string")}
        ),
    )
    (tmp_path / "toy").mkdir()
    table.to_parquet(tmp_path / "toy/test.parquet")

    found = rows(toy(layout=Tables(), classnames=("cat",)), Where(tmp_path))
    assert found == [("test/0", 0, 9)]


def test_a_file_that_changes_changes_the_state(tmp_path: Path) -> None:
    path = write(tmp_path / "toy/test.parquet", parquet([plain(1)], [0], NAMES))
    data = opened(toy(layout=Tables()), Where(tmp_path)).split("test")
    before = data.state(data.samples)
    assert data.state(data.samples) == before
    write(path, parquet([plain(1, "bmp")], [0], NAMES))

    assert data.state(data.samples) != before
    changed = opened(toy(layout=Tables()), Where(tmp_path)).split("test")
    assert changed.content(changed.samples[0]) == plain(1, "bmp")  # not from the cache


# Webdataset


def shards(folder: Path) -> Path:
    """Three shards of two splits, the images' shades counting on."""
    for split, part, labels in (("train", 0, [1]), ("test", 0, [0, 2]), ("test", 1, [1, 0])):
        start = {"train": 1, "test": 10}[split] + 2 * part
        images = [plain(start + i, "webp", lossless=True) for i in range(len(labels))]
        write(folder / split / f"{part}.tar", webdataset(images, labels, "webp"))
    write(folder / "train" / "nshards.txt", "1")
    write(folder / "test" / "nshards.txt", "2")
    write(folder / "classnames.txt", "\n".join(NAMES))
    return folder


@pytest.mark.parametrize("known", [True, False])
def test_webdataset_shards_with_their_class_names_beside_them(tmp_path: Path, known: bool) -> None:
    shards(tmp_path / "toy")
    hub = hub_of(image="jpg", label="cls", sizes={"train": 1, "test": 4})
    dataset, where = toy(layout=Tables(), hub=(hub,) if known else ()), Where(tmp_path)

    assert rows(dataset, where, "train") == [("train/0", 0, 1)]
    assert rows(dataset, where) == [
        ("test/0", 2, 10),
        ("test/1", 1, 11),
        ("test/2", 0, 12),
        ("test/3", 2, 13),
    ]
    assert opened(dataset, where).protocol == ("susx" if known else "custom")


def test_shards_without_class_names_are_refused(tmp_path: Path) -> None:
    (shards(tmp_path / "toy") / "classnames.txt").unlink()

    assert "nor a classnames.txt" in refused(tmp_path)


# Files


@pytest.mark.parametrize("kept", [0, 60, 0.5, 0.99])
def test_a_parquet_file_that_is_cut_off_is_named(tmp_path: Path, kept: float) -> None:
    content = parquet([plain(i) for i in range(50)], [i % 3 for i in range(50)], NAMES)
    length = kept if isinstance(kept, int) else int(kept * len(content))
    path = write(tmp_path / "toy/test.parquet", content[:length])

    message = refused(tmp_path)
    assert message.startswith(f"toy: {path} is no whole Parquet file: ")


def test_a_parquet_file_with_broken_pages_is_refused(tmp_path: Path) -> None:
    content = bytearray(parquet([plain(i) for i in range(50)], [i % 3 for i in range(50)], NAMES))
    content[100:300] = bytes(200)
    path = write(tmp_path / "toy/test.parquet", bytes(content))
    data = opened(toy(layout=Tables()), Where(tmp_path)).split("test")

    message = refusal(lambda: data.image(data.samples[0]))
    assert f"toy: test image test/0 in {tmp_path}/toy cannot be read: {path} cannot be" in message


def test_a_shard_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = shards(tmp_path / "toy") / "test" / "1.tar"
    path.write_bytes(path.read_bytes()[:700])

    assert f"toy: {path} is no whole tar file: unexpected end of data." in refused(tmp_path)


def test_configurations_that_cannot_be_told_apart_are_listed(tmp_path: Path) -> None:
    for row, config in enumerate(("big", "small")):
        table = parquet([plain(row)], [row], NAMES)
        write(tmp_path / f"toy/{config}/test.parquet", table)
    configs = [
        f"- config_name: {config}\n  data_files: [{{split: test, path: {config}/*}}]\n"
        for config in ("big", "small")
    ]
    write(tmp_path / "toy/README.md", f"---\nconfigs:\n{''.join(configs)}---\n")

    assert "toy has 2 configurations: 'big', 'small'. Name one" in refused(tmp_path)
    hub = hub_of(splits={"test": "test"}, config="small")
    assert rows(toy(layout=Tables(), hub=(hub,)), Where(tmp_path)) == [("test/0", 0, 1)]


@pytest.mark.parametrize("layout", [Tables(), SPLIT_FILE, SplitFile(file="split.json", images=".")])
def test_tables_will_do_in_place_of_another_layout(tmp_path: Path, layout: Any) -> None:
    write(tmp_path / "toy/test.parquet", parquet([plain(1)], [0], NAMES))
    write(tmp_path / "toy/images.tar", b"what the table was made from")

    assert rows(toy(layout=layout), Where(tmp_path)) == [("test/0", 2, 1)]


# A published split file


PUBLISHED = {
    "train": [("o/a.b_1.jpg", 5, "night owl"), ("c/1.jpg", 6, "cat")],
    "val": [("d/1.jpg", 7, "dog")],
    "test": [("d/3.jpg", 7, "dog"), ("c/2.jpg", 6, "cat")],
}
FILES = ["x/2.png", "d_3.png", "1.webp", "3.png", "a.b_1.png", "1.png", "unused.png"]
LABELS = [1, 1, 2, 2, 0, 1, 0]
JOINED = {
    "train": [("o/a.b_1.jpg", 2, 4), ("c/1.jpg", 0, 5)],
    "val": [("d/1.jpg", 1, 2)],
    "test": [("d/3.jpg", 1, 3), ("c/2.jpg", 0, 0)],
}


def joined(
    root: Path,
    files: Sequence[str | None] = FILES,
    published: Any = PUBLISHED,
    *,
    column: str | None = None,
) -> Where:
    """A copy of other splits, its rows in another order; the shade of an image is its row."""
    for split, part in ("train", slice(0, 4)), ("test", slice(4, None)):
        images = [plain(row) for row in range(len(files))[part]]
        names = list(files[part])
        more = {column: [str(name) for name in names]} if column else {}
        table = parquet(
            images,
            LABELS[part],
            NAMES,
            files=[None] * len(images) if column else names,
            more=more,
        )
        write(root / f"data/toy/{split}-0.parquet", table)
    return Where(root / "data", split_file=write(root / "mine.json", json.dumps(published)))


@pytest.mark.parametrize("sizes", [{"train": 2, "val": 1, "test": 2}, {"train": 9, "test": 2}])
def test_a_split_file_is_joined_over_all_splits_by_file_name(
    tmp_path: Path, sizes: dict[Split, int]
) -> None:
    dataset, where = toy(layout=SPLIT_FILE, sizes=sizes), joined(tmp_path)

    splits: tuple[Split, ...] = ("train", "val", "test")
    assert {split: rows(dataset, where, split) for split in splits} == JOINED
    assert opened(dataset, where).protocol == ("susx" if "val" in sizes else "custom")


def test_file_names_may_have_a_column_of_their_own(tmp_path: Path) -> None:
    stems = [Path(name).stem for name in FILES]
    where = joined(tmp_path, stems, column="image_id")
    dataset = toy(layout=SPLIT_FILE, hub=(hub_of(name="image_id"),))

    assert rows(dataset, where, "train") == JOINED["train"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["x/9.png", *FILES[1:]], "has no row for 'c/2.jpg' of "),
        ([*FILES[:6], "y/a.b_1.webp"], "has 2 rows for 'o/a.b_1.jpg' of "),
        ([*FILES[:3], None, *FILES[4:]], "does not keep the original file names, so "),
        ([None] * 7, "does not keep the original file names, so "),
    ],
)
def test_a_copy_that_cannot_be_joined_is_refused(
    tmp_path: Path, files: Sequence[str | None], reason: str
) -> None:
    where = joined(tmp_path, files)
    dataset = toy(layout=SPLIT_FILE)

    message = refusal(lambda: opened(dataset, where).split("test").samples)
    assert message.startswith(f"toy: {tmp_path}/data/toy {reason}")
    assert f"{tmp_path}/mine.json" in message
    assert message.endswith("Make them anew.")


def test_a_row_of_another_class_is_not_joined(tmp_path: Path) -> None:
    published = PUBLISHED | {"val": [("o/1.jpg", 5, "night owl")]}
    where = joined(tmp_path, published=published)

    message = refusal(lambda: opened(toy(layout=SPLIT_FILE), where).split("test").samples)
    assert "has no row for 'o/1.jpg'" in message


# A folder of the user's


def test_a_table_of_ones_own_brings_its_classes(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder / "data/train-0.parquet", parquet([plain(1)], [0], NAMES))
    write(folder / "data/validation-0.parquet", parquet([plain(2), plain(3)], [2, 1], NAMES))
    dataset = open_dataset(str(folder))

    assert dataset.spec.classnames == ("Night Owl", "cat", "dog")
    assert dataset.splits == ("train", "test")
    assert rows(dataset, Where()) == [("validation/0", 2, 2), ("validation/1", 1, 3)]
    assert dataset.protocol == "custom"


def test_names_and_shards_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "mine/test.parquet", parquet([plain(1), plain(2)], ["wolf", "ant"]))
    dataset = open_dataset(str(tmp_path / "mine"))
    assert dataset.spec.classnames == ("ant", "wolf")
    assert rows(dataset, Where()) == [("test/0", 1, 1), ("test/1", 0, 2)]

    dataset = open_dataset(str(shards(tmp_path / "shards")))
    assert dataset.spec.classnames == ("Night Owl", "cat", "dog")
    assert [label for _, label, _ in rows(dataset, Where())] == [0, 2, 1, 0]


def test_a_split_file_divides_a_table_of_ones_own(tmp_path: Path) -> None:
    where = replace(joined(tmp_path), root=None)
    dataset = open_dataset(str(tmp_path / "data/toy"), where)

    found = rows(dataset, where)
    order = dataset.spec.classnames
    assert [(key, order[label].casefold(), seen) for key, label, seen in found] == [
        (key, CLASSES[label], seen) for key, label, seen in JOINED["test"]
    ]


def test_a_table_of_ones_own_without_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine/test.parquet", parquet([plain(1)], [0], NAMES, label="species"))

    message = refusal(lambda: open_dataset(str(tmp_path / "mine")))
    assert f"mine: {tmp_path}/mine has the columns image, species; none of label, " in message
    assert "Name it, --label-column." in message


def test_files_of_ones_own_are_known_by_the_usual_names_of_splits(tmp_path: Path) -> None:
    for name, grey in (("Train_1", 1), ("Train_2", 2), ("Dev", 3), ("TEST", 4)):
        write(tmp_path / f"mine/{name}.parquet", parquet([plain(grey)], [grey % 3], NAMES))
    dataset = open_dataset(str(tmp_path / "mine"))

    found = {split: rows(dataset, Where(), split) for split in SPLITS}
    assert {split: [seen for *_, seen in part] for split, part in found.items()} == {
        "train": [1, 2],
        "val": [3],
        "test": [4],
    }
    assert dataset.remarks == [UNDERSCORES]


def test_what_takes_the_place_of_the_test_split_is_told(tmp_path: Path) -> None:
    for name in ("train", "extra", "Validation"):
        write(tmp_path / f"mine/{name}.parquet", parquet([plain(1)], [0], NAMES))
    data = open_dataset(str(tmp_path / "mine")).split("test")

    assert data.dataset.splits == ("train", "test")
    assert data.dataset.remarks == [
        "there is no test split, so 'validation' is the test set and there is no val",
        "not used: 'extra', beside train, validation",
        UNDERSCORES,
    ]


def test_a_split_of_names_may_lack_a_class(tmp_path: Path) -> None:
    write(tmp_path / "mine/train.parquet", parquet([plain(1), plain(2)], ["wolf", "cat"]))
    write(tmp_path / "mine/test.parquet", parquet([plain(3), plain(4)], ["wolf", "ant"]))
    dataset = open_dataset(str(tmp_path / "mine"))

    assert dataset.spec.classnames == ("ant", "cat", "wolf")
    assert [label for _, label, _ in rows(dataset, Where(), "train")] == [2, 1]
    assert [label for _, label, _ in rows(dataset, Where())] == [2, 0]


def test_a_class_that_no_split_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "toy/train.parquet", parquet([plain(1)], ["cat"]))
    write(tmp_path / "toy/test.parquet", parquet([plain(3)], ["dog"]))
    dataset = toy(layout=Tables())

    message = refusal(lambda: opened(dataset, Where(tmp_path)).split("test").samples)
    assert "has 2 of the 3 classes, and none of its rows is of 'night owl'" in message


# Labels that are none


def typed(labels: pa.Array, image: pa.Array | None = None) -> bytes:
    images = pa.array([plain(i) for i in range(len(labels))], pa.binary())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"image": images if image is None else image, "label": labels}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (pa.array([[0, 1], [1]]), "it holds several labels for one image"),
        (pa.array([["cat"], ["dog"]]), "it holds several labels for one image"),
        (pa.array([[0], [1]], pa.list_(pa.int64(), 1)), "it holds several labels for one image"),
        (pa.array([0.0, 1.0]), "it holds numbers with a fraction (0.0, 1.0)"),
        (pa.array([0.5, 1.5], pa.float32()), "it holds numbers with a fraction"),
        (pa.array([0, 1]).cast(pa.decimal128(22, 1)), "it holds numbers with a fraction"),
        (pa.array([True, False]), "it holds true and false"),
        (pa.array([{"id": 0, "name": "cat"}] * 2), "it holds objects (id, name)"),
        (pa.array([b"cat", b"dog"]), "it holds values of the type binary"),
        (pa.array([0, 1]).cast(pa.timestamp("s")), "it holds values of the type timestamp[ms]"),
        (pa.array(["0.0", "1.0"]), "holds numbers with a fraction (0.0)"),
        (pa.array([None, None]), "2 of 2 rows in test of "),
        (pa.array(["cat", " "]), "1 of 2 rows in test of "),
        (pa.array(["cat", ""]), "1 of 2 rows in test of "),
        (pa.array([0, None]), "1 of 2 rows in test of "),
        (pa.array([0.0, 1.0]).dictionary_encode(), "it holds numbers with a fraction"),
    ],
)
def test_what_is_no_label_is_one_line(
    tmp_path: Path, command: Command, labels: pa.Array, reason: str
) -> None:
    write(tmp_path / "mine/test.parquet", typed(labels))
    write(tmp_path / "mine/classnames.txt", "cat\ndog\n")
    done = command("data", "check", tmp_path / "mine")

    assert done.code == 2
    assert reason in " ".join(done.err.split())
    assert done.err.count("\n") == 1


VIEWS = pytest.mark.skipif(
    int(pa.__version__.partition(".")[0]) < 21, reason="this pyarrow writes no views into Parquet"
)


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(["dog", "cat"]),
        pa.array(["dog ", " cat"]),
        pa.array(["dog", "cat"], pa.large_string()),
        pytest.param(pa.array(["dog", "cat"], pa.string_view()), marks=VIEWS),
        pa.array(["dog", "cat"]).dictionary_encode(),
        pa.array([1, 0], pa.uint8()),
        pa.array([1, 0], pa.int8()).dictionary_encode(),
    ],
)
def test_labels_of_any_kind_of_number_or_name(tmp_path: Path, labels: pa.Array) -> None:
    write(tmp_path / "mine/test.parquet", typed(labels))
    write(tmp_path / "mine/classnames.txt", "cat\ndog\n")
    dataset = open_dataset(str(tmp_path / "mine"))

    assert dataset.spec.classnames == ("cat", "dog")
    assert rows(dataset, Where()) == [("test/0", 1, 0), ("test/1", 0, 1)]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (pa.array([[plain(0)], [plain(1), plain(2)]]), "holds several images in one row"),
        (pa.array([[{"bytes": plain(0), "path": ""}]] * 2), "holds several images in one row"),
        (pa.array(["a.png", "http://x/b.png"]), "holds names or addresses of images"),
        (pa.array([{"path": "a.png"}] * 2), "holds objects (path)"),
        (pa.array([1, 2]), "holds values of the type int64"),
    ],
)
def test_what_is_no_image_is_one_line(
    tmp_path: Path, command: Command, images: pa.Array, reason: str
) -> None:
    write(tmp_path / "mine/test.parquet", typed(pa.array(["cat", "dog"]), images))
    done = command("data", "check", tmp_path / "mine")

    assert done.code == 2
    assert f"mine: column 'image' of {tmp_path}/mine {reason}" in " ".join(done.err.split())
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pytest.param(pa.binary_view(), marks=VIEWS)]
)
def test_images_may_be_plain_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    table = typed(pa.array(["cat", "dog"]), pa.array([plain(3), plain(4)], kind))
    write(tmp_path / "mine/test.parquet", table)

    assert [seen for *_, seen in rows(open_dataset(str(tmp_path / "mine")), Where())] == [3, 4]


def test_rows_are_read_across_row_groups_and_files(tmp_path: Path) -> None:
    for part in range(3):
        table = pa.table({"image": [plain(10 * part + i) for i in range(7)], "label": ["cat"] * 7})
        (tmp_path / "mine").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / f"mine/test-{part}.parquet", row_group_size=3)
    data = open_dataset(str(tmp_path / "mine")).split("test")

    seen = {sample.key: shade(data.image(sample)) for sample in reversed(data.samples)}
    assert seen == {f"test/{7 * part + i}": 10 * part + i for part in range(3) for i in range(7)}


# Names of paths


ODD = ("cifar[10]", "a*b", "what?", "{x}", "a,b", "100%", "x::y", "~tilde", "a b", "[!a]", "**")


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_never_a_pattern(tmp_path: Path, name: str) -> None:
    """Beside each folder lie others that it would mean as a pattern."""
    for other in ("cifar1", "ab", "whatx", "x", "a"):
        write(tmp_path / other / name / "test.parquet", parquet([plain(9)], [0], NAMES))
    folder = tmp_path / "in" / name
    write(folder / name / "test.parquet", parquet([plain(1)], [0], NAMES))
    shards(tmp_path / "web" / name)

    assert rows(open_dataset(str(folder / name)), Where()) == [("test/0", 0, 1)]
    assert len(rows(open_dataset(str(tmp_path / "web" / name)), Where())) == 4
    assert [sample.key for sample in open_pool(str(folder)).samples] == [f"{name}/test.parquet/0"]
    assert len(open_pool(str(tmp_path / "web" / name)).samples) == 5


# Two classes of one name


def test_numbers_tell_two_classes_of_one_name_apart(tmp_path: Path) -> None:
    """As `missile` and `projectile`, which lists of ImageNet both call so."""
    numbers = [0, 657, 744, 836, 837]
    test = parquet([plain(number % 250) for number in numbers], numbers)
    write(tmp_path / "imagenet/data/test-00000-of-00001.parquet", test)
    imagenet = open_dataset("imagenet")
    theirs = list(imagenet.spec.classnames)
    theirs[744], theirs[836] = "missile", "sunglasses"
    write(tmp_path / "imagenet/classnames.txt", "\n".join(theirs))

    data = open_dataset("imagenet", Where(tmp_path)).split("test")
    assert [label for _, label in data.dataset.source.index("test")] == numbers
    where = f"in {tmp_path / 'imagenet'} classes"
    assert [line for line in data.dataset.remarks if "one name" in line] == [
        f"{where} 657 and 744 have one name, 'missile'; their numbers tell them apart",
        f"{where} 836 and 837 have one name, 'sunglasses'; their numbers tell them apart",
    ]


def test_two_classes_of_ones_own_may_have_one_name(tmp_path: Path) -> None:
    test = parquet([plain(1), plain(2), plain(3)], [2, 0, 1])
    write(tmp_path / "own/test.parquet", test)
    write(tmp_path / "own/classnames.txt", "crane\ndog\ncrane\n")

    dataset = open_dataset(str(tmp_path / "own"))
    assert dataset.spec.classnames == ("crane", "dog", "crane")
    assert [row[1] for row in rows(dataset, Where())] == [2, 0, 1]


def test_two_numbers_of_a_split_file_tell_two_classes_of_one_name_apart(tmp_path: Path) -> None:
    classes = ("crane", "dog", "crane")
    table = {"test": [[f"{i}.png", i, name] for i, name in enumerate(classes)]}
    for i in range(3):
        write(tmp_path / f"toy/images/{i}.png", plain(i))
    write(tmp_path / "toy/split.json", json.dumps(table))
    dataset = Dataset(toy(classnames=classes, layout=SPLIT_FILE), Where(tmp_path))

    assert [row[1] for row in rows(dataset, Where(tmp_path))] == [0, 1, 2]
    assert list(dataset.remarks) == [
        "in split.json classes 0 and 2 have one name, 'crane'; their numbers tell them apart"
    ]


# What is said of data of one's own


def several(folder: Path, labels: Sequence[Any], names: Sequence[str] | None = None) -> Path:
    """A table with two columns of images and two of labels."""
    more = {"kind": ["ant", "bee"] * (len(labels) // 2)}
    table = pq.read_table(
        pa.BufferReader(parquet([dotted(i) for i in range(len(labels))], labels, names, more=more))
    )
    depth = pa.array([dotted(100 + i) for i in range(len(labels))], pa.binary())
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.append_column("depth", depth), folder / "test.parquet")
    return folder


def test_splits_may_call_the_column_of_labels_differently(tmp_path: Path) -> None:
    train = parquet([plain(1), plain(2)], ["cat", "dog"], more={"species": ["ant", "bee"]})
    test = parquet([plain(3), plain(4)], ["dog", "cat"], label="labels")
    write(tmp_path / "mine/train.parquet", train)
    write(tmp_path / "mine/test.parquet", test)

    assert open_dataset(f"{tmp_path}/mine").spec.classnames == ("cat", "dog")
    write(tmp_path / "mine/test.parquet", parquet([plain(3), plain(4)], [0.5, 1.5]))
    with pytest.raises(DatasetError, match=r"'label' of .* numbers with a fraction"):
        _ = open_dataset(f"{tmp_path}/mine").spec


@pytest.mark.parametrize("wrong", ["nan", "None", "N/A", "<NA>", "['cat']", '{"name": "cat"}'])
def test_a_missing_label_that_is_text_is_no_class(wrong: str, tmp_path: Path) -> None:
    """As a program writes them that makes texts of a column."""
    content = parquet([plain(i) for i in range(3)], ["cat", wrong, "none"])
    write(tmp_path / "mine/test.parquet", content)

    with pytest.raises(DatasetError, match=r"has the label .* in row 2 of test, and a class is"):
        _ = open_dataset(f"{tmp_path}/mine").spec


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (("cat|dog", "dog|cat", "cat|owl", "owl|dog"), True),
        (("cat", "dog", "cat,dog", "owl", "dog, owl"), True),
        (("missile", "projectile, missile", "tench, Tinca tinca"), False),
        (("black & white", "and/or", "m|n"), False),
    ],
)
def test_several_labels_in_one_text_are_told(
    labels: tuple[str, ...], several: bool, tmp_path: Path
) -> None:
    content = parquet([plain(i) for i in range(len(labels))], labels)
    write(tmp_path / "mine/test.parquet", content)
    rows = [json.dumps({"file": f"{i}.png", "label": name}) for i, name in enumerate(labels)]
    write(tmp_path / "list.jsonl", "\n".join(rows))
    for i in range(len(labels)):
        write(tmp_path / f"{i}.png", plain(i))

    for place in ("mine", "list.jsonl"):
        lines = open_dataset(f"{tmp_path}/{place}").remarks
        assert any("look like several in one" in line for line in lines) == several, place


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"fine_label": ["ant", "bee", "wasp", "gnat"]}, ["'label' (2 classes), and 'fine_label'"]),
        ({"species": ["ant", "bee", "ant", "bee"]}, []),  # the same classes in other words
        ({"species": ["ant", "ant", "bee", "bee"]}, ["and 'species' has others (2)"]),
        ({"superclass": ["insect"] * 4, "class_score": [0.5] * 4, "tags": list("abcd")}, []),
        ({"multi_labels": [[0], [1], [0, 1], [1]]}, []),
    ],
    ids=lambda each: next(iter(each), "") if isinstance(each, dict) else "",
)
def test_a_second_column_of_labels_is_told(
    more: dict[str, list[Any]], told: list[str], tmp_path: Path
) -> None:
    labels = ["cat", "dog", "cat", "dog"]
    content = parquet([plain(i) for i in range(4)], labels, more=more)
    write(tmp_path / "mine/test.parquet", content)

    lines = open_dataset(f"{tmp_path}/mine").remarks
    assert len(lines) == len(told)
    assert all(part in line for part, line in zip(told, lines, strict=True))
    for said in ("label", *more):
        if all(isinstance(value, str) for value in {"label": labels, **more}[said]):
            assert not open_dataset(f"{tmp_path}/mine", Where(label_column=said)).remarks

    rows = [{"file": f"{i}.png", "label": name} for i, name in enumerate(labels)]
    for i, row in enumerate(rows):
        row |= {name: values[i] for name, values in more.items()}
        write(tmp_path / f"{i}.png", plain(i))
    write(tmp_path / "list.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lines = [line for line in open_dataset(f"{tmp_path}/list.jsonl").remarks if "--label" in line]
    assert len(lines) == len(told)


def test_columns_may_be_named(tmp_path: Path) -> None:
    folder = several(tmp_path / "mine", [0, 2], NAMES)
    plainly = open_dataset(str(folder))
    where = Where(image_column="depth", label_column="kind")
    named = open_dataset(str(folder), where)

    assert plainly.spec.classnames == ("Night Owl", "cat", "dog")
    assert rows(plainly, Where()) == [("test/0", 0, 0), ("test/1", 2, 1)]
    assert named.spec.classnames == ("ant", "bee")
    assert rows(named, where) == [("depth:test/0", 0, 100), ("depth:test/1", 1, 101)]
    # Other images are never found under the same name.
    other = Where(image_column="depth")
    hashes = {open_dataset(str(folder), w).split("test").sha256 for w in (Where(), other, where)}
    assert len(hashes) == 3


def test_columns_of_shards_may_be_named(tmp_path: Path) -> None:
    shards(tmp_path / "web")
    where = Where(image_column="webp", label_column="cls")

    assert len(rows(open_dataset(str(tmp_path / "web"), where), where)) == 4
    message = refusal(lambda: open_dataset(str(tmp_path / "web"), Where(label_column="txt")))
    assert "has the columns webp, cls, image; none of txt is there for the labels" in message


def read(folder: str, where: Where) -> Sequence[Sample]:
    return open_dataset(folder, where).split("test").samples


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = str(several(tmp_path / "mine", [0, 2], NAMES))

    for where, reason in (
        (Where(image_column="photo"), "none of photo is there for the images"),
        (Where(label_column="species"), "none of species is there for the labels"),
        (Where(image_column="kind"), "column 'kind' of .* holds names or addresses"),
        (Where(label_column="depth"), "column 'depth' of .* holds values of the type binary"),
    ):
        message = refusal(partial(read, folder, where))
        assert re.search(reason, message), message


def test_numbers_may_get_their_names_from_a_file_that_is_given(tmp_path: Path) -> None:
    folder = several(tmp_path / "mine", [2, 0])
    where = Where(classnames=write(tmp_path / "names.txt", "\ufeffcat\r\nnight_owl\r\ndog\r\n"))
    dataset = open_dataset(str(folder), where)

    assert dataset.spec.classnames == ("cat", "night_owl", "dog")
    assert rows(dataset, where) == [("test/0", 2, 0), ("test/1", 0, 1)]


def test_names_that_are_given_stand_for_those_of_the_data(tmp_path: Path) -> None:
    table = several(tmp_path / "table", [0, 2], NAMES)
    for code in ("n02", "n01", "n03"):
        write(tmp_path / f"folders/test/{code}/1.png", plain(int(code[1:])))
    given = write(tmp_path / "names.txt", "owl\nkitten\npuppy\n")
    where = Where(classnames=given)

    assert rows(open_dataset(str(table), where), where) == [("test/0", 0, 0), ("test/1", 2, 1)]
    folders = open_dataset(str(tmp_path / "folders"), where)
    assert folders.spec.classnames == ("owl", "kitten", "puppy")
    assert [(label, seen) for _, label, seen in rows(folders, where)] == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("owl\ncat", "names.txt has 2 names, .* has 3 classes"),
        ("cat\nnight owl\ndog", "has 'cat' in line 1, and .* has it as class 2"),
        ("owl\npuppy\npuppy", "names.txt has 'puppy' twice"),
        ("owl\n\ncat", "line 2 of 3 is empty"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, names: str, reason: str) -> None:
    folder = several(tmp_path / "mine", [0, 2], NAMES)
    where = Where(classnames=write(tmp_path / "names.txt", names))

    assert re.search(reason, refusal(lambda: open_dataset(str(folder), where)))


def test_what_is_said_of_own_data_reaches_a_run(tmp_path: Path, command: Command) -> None:
    several(tmp_path / "mine", [0, 1, 0, 1])
    names = write(tmp_path / "names.txt", "cat\ndog\n")
    run = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo", "--json")
    mine = ("--dataset", "./mine")
    hashes = []
    for more in (
        ("--classnames", names),
        ("--classnames", names, "--image-column", "depth"),
        ("--label-column", "kind"),
    ):
        done = command(*run, *mine, *more)
        assert done.code == 0, done.err
        hashes.append(done.records[0]["input_sha256"])
        record = done.records[0]["record"]
        again = command("records", "verify", record, *mine, *more)
        assert (again.code, again.out.strip()) == (0, f"{record}: same")
    assert len(set(hashes)) == 3

    suite = 'name = "s"\ntitle = "S"\n[[run]]\nmethod = ["zero-shot"]\nsetting = "name-only"\n'
    suite += 'dataset = ["./mine"]\nencoder = "demo"\n'
    path = write(tmp_path / "s.toml", f'{suite}classnames = "names.txt"\nimage_column = "depth"\n')
    done = command("run", "--suite", path, "--data-root", tmp_path, "--json")
    assert [record["input_sha256"] for record in done.records] == [hashes[1]]
    done = command("run", "--suite", path, "--label-column", "kind")
    assert "--label-column does not go with --suite: the suite says it" in done.err

    for words, reason in (
        (("data", "check", "./mine", "--classnames", names), ""),
        (("data", "check", "digits", "--classnames", names), "digits has its own names"),
        (("data", "check", "digits", "--label-column", "x"), "digits has no table"),
        ((*run, "--features", "x", "--image-column", "x"), "does not go with --features"),
    ):
        done = command(*words)
        assert reason in " ".join(done.err.split())
        assert done.code == (2 if reason else done.code)


def test_hidden_test_labels_make_validation_the_test_set(tmp_path: Path) -> None:
    hidden: dict[str, Sequence[Any]] = {"minus": [-1, -1], "null": [None, None]}
    for kind, labels in hidden.items():
        folder = tmp_path / kind
        write(folder / "train.parquet", parquet([plain(1)], [0], NAMES))
        write(folder / "validation.parquet", parquet([plain(2), plain(3)], [2, 1], NAMES))
        write(folder / "test.parquet", parquet([plain(4), plain(5)], labels, NAMES))
        data = open_dataset(str(folder)).split("test")

        assert data.dataset.splits == ("train", "test")
        assert rows(data.dataset, Where()) == [("validation/0", 2, 2), ("validation/1", 1, 3)]
        assert data.dataset.remarks == [
            "'test' has no labels, so 'validation' is the test set and there is no val",
            UNDERSCORES,
        ]


def test_hidden_test_labels_without_another_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine/train.parquet", parquet([plain(1)], [0], NAMES))
    write(tmp_path / "mine/test.parquet", parquet([plain(4), plain(5)], [-1, -1], NAMES))

    message = refusal(lambda: open_dataset(str(tmp_path / "mine")).split("test").samples)
    assert "test of" in message
    assert "-1 alone is one whose publisher keeps the labels" in message


def test_names_may_stand_in_the_card(tmp_path: Path) -> None:
    """As ``push_to_hub`` writes them; a Parquet file of another hand has none."""
    write(tmp_path / "mine/test.parquet", parquet([plain(1), plain(2)], [2, 0]))
    info = {
        "features": [
            {"name": "image", "dtype": "image"},
            {
                "name": "label",
                "dtype": {"class_label": {"names": {"0": "owl", "1": "cat", "2": "dog"}}},
            },
        ]
    }
    write(tmp_path / "mine/README.md", f"---\n{json.dumps({'dataset_info': info})}\n---\n")
    dataset = open_dataset(str(tmp_path / "mine"))

    assert dataset.spec.classnames == ("owl", "cat", "dog")
    assert rows(dataset, Where()) == [("test/0", 2, 1), ("test/1", 0, 2)]
    # What stands in the files is believed first.
    write(tmp_path / "mine/test.parquet", parquet([plain(1), plain(2)], [2, 0], NAMES))
    assert open_dataset(str(tmp_path / "mine")).spec.classnames == ("Night Owl", "cat", "dog")


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    )
    parts = {
        name: datasets.Dataset.from_dict(
            {
                "image": [{"bytes": plain(shade), "path": None} for shade in shades],
                "label": [shade % 3 for shade in shades],
            },
            features=features,
        )
        for name, shades in (("train", range(1, 6)), ("test", range(7, 14)))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both", num_shards={"train": 1, "test": 3})
    parts["test"].select([5, 1, 3]).save_to_disk(tmp_path / "one")
    both = open_dataset(str(tmp_path / "both"))

    assert both.spec.classnames == ("Night Owl", "cat", "dog")
    assert rows(both, Where()) == [(f"test/{i}", (7 + i) % 3, 7 + i) for i in range(7)]
    assert [seen for *_, seen in rows(both, Where(), "train")] == list(range(1, 6))
    one = open_dataset(str(tmp_path / "one"))
    assert one.protocol == "susx-bench 50/20/30"
    assert sorted(seen for *_, seen in rows(one, Where())) == [8, 10, 12]
    (tmp_path / "both/test/data-00001-of-00003.arrow").unlink()
    assert "data-00001-of-00003.arrow" in refusal(lambda: open_dataset(str(tmp_path / "both")))


def test_configurations_are_folders_where_no_card_says_more(tmp_path: Path) -> None:
    for row, config in enumerate(("big", "small")):
        write(tmp_path / f"mine/{config}/test.parquet", parquet([plain(row)], [row], NAMES))

    message = refusal(lambda: open_dataset(str(tmp_path / "mine")))
    assert "mine has 2 configurations: 'big', 'small'. Name one" in message
    assert rows(open_dataset(str(tmp_path / "mine/small")), Where()) == [("test/0", 1, 1)]


def test_a_table_of_addresses_beside_shards_is_left_out(tmp_path: Path) -> None:
    """As img2dataset leaves them; the other way round, tables of images are taken."""
    shards(tmp_path / "mine")
    addresses = pa.table({"url": ["http://x/1.jpg"], "key": ["0"]})
    pq.write_table(addresses, tmp_path / "mine/test/0.parquet")
    data = open_dataset(str(tmp_path / "mine")).split("test")

    assert len(data.samples) == 4
    assert data.dataset.remarks == [
        "not used: test/0.parquet, without a column of images",
        UNDERSCORES,
    ]


def test_images_of_shards_may_have_different_endings(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        names = ("a.jpg", "b.PNG", "c.v2.webp", "d.bmp", "e.gif")
        for number, name in enumerate(names):
            base, _, ending = name.partition(".")
            kind = {"jpg": "jpeg"}.get(ending.lower(), ending.lower().rpartition(".")[2])
            mask = [(f"{base}.seg.png", plain(200))] if number < 2 else []
            label = (f"{base}.cls", str(number % 3).encode())
            for path, content in [(name, plain(number, kind)), label, *mask]:
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    write(tmp_path / "mine/test.tar", file.getvalue())
    write(tmp_path / "mine/classnames.txt", "ant\nbee\ncat\n")

    found = rows(open_dataset(str(tmp_path / "mine")), Where())
    assert found == [(f"test/{i}", i % 3, i) for i in range(5)]


def test_files_that_are_missing_by_their_numbers_are_told(tmp_path: Path) -> None:
    for name in ("test-00000-of-00003", "test-00002-of-00003", "train-00000-of-00001"):
        write(tmp_path / f"mine/data/{name}.parquet", parquet([plain(1)], [0], NAMES))
    data = open_dataset(str(tmp_path / "mine")).split("test")

    assert data.dataset.remarks == [
        "2 of the 3 files data/test-*-of-00003 are here",
        UNDERSCORES,
    ]


def test_names_for_classes_that_are_numbers_go_by_the_number(tmp_path: Path) -> None:
    """Sorted as words, 10 stands before 2."""
    numbers = [str(number) for number in range(12)]
    write(tmp_path / "table/test.parquet", parquet([plain(i) for i in range(12)], numbers))
    for number in numbers:
        write(tmp_path / f"folders/test/{number}/1.png", plain(int(number)))
    given = write(tmp_path / "names.txt", "\n".join(f"number {i}" for i in range(12)))
    where = Where(classnames=given)

    for name in ("table", "folders"):
        dataset = open_dataset(str(tmp_path / name), where)
        assert all(label == seen for _, label, seen in rows(dataset, where))
    (tmp_path / "folders/test/5/1.png").rename(tmp_path / "folders/test/4/2.png")
    write(given, "\n".join(f"number {i}" for i in range(11)))
    message = refusal(lambda: open_dataset(str(tmp_path / "folders"), where))
    assert "the 11 classes of" in message
    assert "are numbers from 0 to 11 and not all of them" in message


def test_a_test_split_without_a_column_of_labels_has_none(tmp_path: Path) -> None:
    write(tmp_path / "mine/train.parquet", parquet([plain(1)], [0], NAMES))
    write(tmp_path / "mine/validation.parquet", parquet([plain(2)], [1], NAMES))
    write(tmp_path / "mine/test.parquet", parquet([plain(3)], [5], label="row"))
    data = open_dataset(str(tmp_path / "mine")).split("test")

    assert rows(data.dataset, Where()) == [("validation/0", 1, 2)]
    assert data.dataset.splits == ("train", "test")


@pytest.mark.parametrize(
    "name",
    ["", "org/name:", "org/name@", "org/../x", "org/name/x", "https://huggingface.co/org/name"],
)
def test_a_name_that_no_dataset_on_the_hub_can_have(name: str, command: Command) -> None:
    """Refused before anything is asked; nothing was downloaded that could be kept."""
    said = command("data", "check", f"hf:{name}")

    assert said.code == 2
    assert f"'hf:{name}' names no dataset on the hub: write hf:ORG/NAME" in said.err


def test_a_folder_of_save_to_disk_is_a_pool(tmp_path: Path) -> None:
    import datasets

    shades = [{"bytes": plain(shade), "path": None} for shade in (1, 2)]
    saved = datasets.Dataset.from_dict(
        {"image": shades, "label": [0, 1]},
        features=datasets.Features(image=datasets.Image(), label=datasets.Value("int64")),
    )
    saved.save_to_disk(str(tmp_path / "pool"))

    pool = open_pool(str(tmp_path / "pool"))

    assert [shade(pool.image(sample)) for sample in pool.samples] == [1, 2]


def with_column(file: Path, column: str, values: Sequence[Any], labels: Sequence[int]) -> None:
    """A Parquet file with a picture of its number in every row, and a column more."""
    pictures = [plain(20 * number) for number in range(len(labels))]
    write(file, parquet(pictures, labels, NAMES))
    table = pq.read_table(file)
    pq.write_table(table.append_column(column, pa.array(values)), file)


@pytest.mark.parametrize("name", ["images", "train-00000-of-00001"])
@pytest.mark.parametrize("column", ["split", "phase", "Usage", "set", "subset", "partition"])
def test_a_column_of_splits_is_read(tmp_path: Path, name: str, column: str) -> None:
    values = ["train", "Test", "train", "train", "Test", "valid"]
    with_column(tmp_path / f"mine/{name}.parquet", column, values, [0, 1, 2] * 2)

    dataset = open_dataset(str(tmp_path / "mine"))

    parts = {split: dataset.split(split) for split in dataset.splits}
    found = {
        split: [(shade(part.image(sample)) // 20, sample.label) for sample in part.samples]
        for split, part in parts.items()
    }
    assert found == {
        "train": [(0, 0), (2, 2), (3, 0)],
        "val": [(5, 2)],
        "test": [(1, 1), (4, 1)],
    }
    assert dataset.protocol == "custom"
    assert list(dataset.remarks) == [UNDERSCORES]


def test_a_column_of_splits_may_have_numbers_with_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": plain(20 * i), "path": None} for i in range(6)],
            "label": [0, 1] * 3,
            "split": [1, 0, 1, 1, 0, 0],
        },
        features=datasets.Features(
            image=datasets.Image(),
            label=datasets.ClassLabel(names=["cat", "dog"]),
            split=datasets.ClassLabel(names=["test", "train"]),
        ),
    )
    saved.save_to_disk(str(tmp_path / "mine"))

    dataset = open_dataset(str(tmp_path / "mine"))

    assert {s: len(dataset.split(s).samples) for s in dataset.splits} == {"train": 3, "test": 3}


def test_a_file_and_its_column_must_say_the_same_split(tmp_path: Path) -> None:
    with_column(tmp_path / "mine/train.parquet", "split", ["train"] * 6, [0, 1, 2] * 2)
    with_column(tmp_path / "mine/test.parquet", "split", ["test"] * 5 + ["train"], [0, 1, 2] * 2)

    with pytest.raises(DatasetError, match="'test' by the name of a file, and its column 'split'"):
        open_dataset(str(tmp_path / "mine"))


def test_a_column_beside_files_of_splits_may_say_something_else(tmp_path: Path) -> None:
    for name in ("train", "test"):
        with_column(tmp_path / f"mine/{name}.parquet", "fold", [1, 2, 3] * 2, [0, 1, 2] * 2)

    dataset = open_dataset(str(tmp_path / "mine"))

    assert dataset.splits == ("train", "test")


def test_a_column_that_says_the_splits_of_some_rows_is_refused(tmp_path: Path) -> None:
    values = ["train", None, "test"] * 2
    with_column(tmp_path / "mine/images.parquet", "split", values, [0, 1, 2] * 2)

    with pytest.raises(DatasetError, match="2 of its 6 rows have no 'split', the first is row 2"):
        open_dataset(str(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("names", "splits", "says"),
    [
        ("test", {"test": 6}, ""),
        ("val", {"test": 6}, "there is no test split, so 'validation' is the test set"),
        ("train", {"train": 3, "test": 3}, "it has no test split, so each class is divided"),
        ("images", {"train": 3, "test": 3}, "it has no test split, so each class is divided"),
    ],
)
def test_a_single_file_is_the_split_that_it_is_called_by(
    tmp_path: Path, names: str, splits: dict[str, int], says: str
) -> None:
    pictures = [plain(20 * number) for number in range(6)]
    write(tmp_path / f"mine/{names}.parquet", parquet(pictures, [0, 1, 2] * 2, NAMES))

    dataset = open_dataset(str(tmp_path / "mine"))

    assert {s: len(dataset.split(s).samples) for s in dataset.splits} == splits
    told = [line for line in dataset.remarks if line != UNDERSCORES]
    assert says in " ".join(told)
    assert len(told) == bool(says)


def test_a_train_file_beside_files_of_no_split_is_not_divided(tmp_path: Path) -> None:
    for name in ("train", "query", "gallery"):
        pictures = [plain(20 * number) for number in range(6)]
        write(tmp_path / f"mine/{name}.parquet", parquet(pictures, [0, 1, 2] * 2, NAMES))

    with pytest.raises(
        DatasetError, match="'train' and no test split, and beside it 'gallery', 'q"
    ):
        open_dataset(str(tmp_path / "mine"))


@pytest.mark.parametrize("name", ["test", "images"])
def test_tables_without_a_row_are_told_as_what_they_are(tmp_path: Path, name: str) -> None:
    write(tmp_path / f"mine/{name}.parquet", parquet([], pa.array([], pa.int64())))

    with pytest.raises(DatasetError, match="has tables, and none of them has a row"):
        open_dataset(str(tmp_path / "mine"))


def test_a_split_without_a_row_is_empty(tmp_path: Path, command: Command) -> None:
    pictures = [encoded(photo(seed)) for seed in range(6)]
    write(tmp_path / "mine/train.parquet", parquet([], pa.array([], pa.int64())))
    write(tmp_path / "mine/test.parquet", parquet(pictures, ["cat", "dog"] * 3))

    run = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo")
    assert command(*run, "--dataset", tmp_path / "mine").code == 0
    done = command("data", "check", tmp_path / "mine")
    assert done.code == 3
    assert "train has no images" in done.err


def test_a_list_beside_tables_is_told(tmp_path: Path) -> None:
    write(tmp_path / "mine/test.parquet", parquet([plain(1), plain(2)], ["cat", "dog"]))
    write(tmp_path / "mine/labels.csv", "file,label\n")

    dataset = open_dataset(str(tmp_path / "mine"))

    assert list(dataset.remarks) == [
        f"not read: labels.csv in {tmp_path}/mine; to read what it lists, give --dataset "
        f"{tmp_path}/mine/labels.csv"
    ]
