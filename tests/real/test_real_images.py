"""Real images from their files to records, through open_clip models of real size."""

from __future__ import annotations

import json
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from susx_bench.data.custom import open_dataset
from susx_bench.data.spec import Where
from susx_bench.encoders.openclip import OpenClip
from susx_bench.features.contents import Contents
from susx_bench.features.rows import ImageRows, encoder_recipe
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.records.record import Record
from tests.conftest import Command

pytestmark = pytest.mark.real


PER_CLASS = {"train": 2, "val": 1, "test": 1}
"""Of 4, 2 and 3: RN50 takes its time, and 100 test images are more than a block."""

SOME = 16
"""Images that open_clip reads again."""


def cut(split: Path) -> dict[str, list[tuple[str, int, str]]]:
    """The first images of each of the 100 classes in a split file."""
    return {
        name: [e for _, group in groupby(entries, itemgetter(1)) for e in islice(group, some)]
        for name, some in PER_CLASS.items()
        for entries in [json.loads(split.read_text())[name]]
    }


FEW = ("--setting", "few-shot", "--shots", "2", "--seed", "1", "--views", "1", "--tune", "val")


@pytest.mark.parametrize(
    ("encoder", "methods", "setting", "images"),
    [
        # Some of each regime; what the others do with features is tested without images.
        ("RN50:random", "gda,tag,tda,tip-adapter,tipx,transclip,zero-shot", FEW, 400),
        ("ViT-B-32:random", "tda,transclip,zero-shot", ("--setting", "name-only"), 100),
    ],
)
def test_caltech101_from_its_folder_to_records(
    real: Path,
    command: Command,
    tmp_path: Path,
    encoder: str,
    methods: str,
    setting: tuple[str, ...],
    images: int,
) -> None:
    cache = Path(cache_url())
    split = cut(real / "caltech101" / "split_zhou_Caltech101.json")
    split_file = tmp_path / "split.json"
    split_file.write_text(json.dumps(split))
    words = (
        *("run", "--method", methods, *setting),
        *("--dataset", "caltech101", "--data-root", str(real), "--split-file", str(split_file)),
        *("--encoder", encoder, "--json"),
    )

    first = command(*words)
    records = first.records

    assert first.code == 0, first.err
    assert [r["method"] for r in records] == methods.split(",")
    assert {(r["n_test"], r["num_classes"], r["protocol"]) for r in records} == {
        (100, 100, "custom")
    }
    assert all(Record.read(Path(r["record"])).encoder == encoder for r in records)
    assert sum(r["seconds"]["encode"] > 0 for r in records) == 1, "one pass serves all methods"
    rows = sum(len(load_file(path)["features"]) for path in cache.rglob("*.safetensors"))
    assert rows == images + 100, "every image once, and a prompt a class"

    # Whatever reads the same images, prompts and views encodes nothing.
    again = command(*words, "--force", "--batch-size", "7")
    assert again.code == 0, again.err
    assert all(r["seconds"]["encode"] == 0 for r in again.records)
    predictions = [r["predictions_sha256"] for r in again.records]
    assert predictions == [r["predictions_sha256"] for r in records]

    # What is stored is what open_clip gives for the first images, read without our code.
    towers = OpenClip(encoder).towers
    data = open_dataset("caltech101", Where(real, split_file=split_file)).split("test")
    folder = real / "caltech101" / "101_ObjectCategories"
    pixels = torch.stack(
        [
            towers.transform(Image.open(folder / path).convert("RGB"))
            for path, *_ in split["test"][:SOME]
        ]
    )
    encode: Any = towers.model.encode_image
    with torch.no_grad():
        expected = encode(pixels)
    identity = encoder_recipe(OpenClip(encoder))
    store = FeatureStore(cache_url())
    work = ImageRows(data, 1, identity, Contents(store).sha256(data))
    stored = store.get(work.recipe, 0)
    assert stored is not None
    torch.testing.assert_close(stored[:SOME], expected, atol=1e-4, rtol=1e-4)


def test_cifar10_as_a_folder_of_parquet(real: Path, command: Command) -> None:
    done = command(
        *("run", "--method", "tipx", "--setting", "few-shot", "--dataset", str(real / "cifar10")),
        *("--encoder", "demo"),
        *("--shots", "2", "--seed", "1", "--views", "1", "--json"),
    )

    assert done.code == 0, done.err
    (record,) = done.records
    assert (record["dataset"], record["n_test"], record["num_classes"]) == ("cifar10", 1000, 10)
    assert record["tuned_on"] == "support"


def test_the_published_cifar10_is_not_taken_for_granted(real: Path, command: Command) -> None:
    done = command(
        *("run", "--method", "tipx", "--setting", "few-shot", "--dataset", "cifar10"),
        *("--encoder", "demo", "--data-root", str(real)),
    )

    assert done.code == 2
    assert "has 2000 images" in done.err
    assert "50000" in done.err
