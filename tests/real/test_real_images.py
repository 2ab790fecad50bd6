"""Real images from their files to records, through open_clip models of real size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from susx_bench.data.base import BLOCK, Where
from susx_bench.data.facts.caltech101 import Caltech101
from susx_bench.encoders.openclip import OpenClip
from susx_bench.features.encode import ImageList, encoder_recipe
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.records.record import Record
from tests.conftest import Command

pytestmark = pytest.mark.real

METHODS_READ = ("gda", "tag", "tda", "tip-adapter", "tipx", "transclip", "zero-shot")
"""Some of each regime; what the others do with features is tested without images."""


@pytest.mark.parametrize("encoder", ["RN50:random", "ViT-B-32:random"])
def test_caltech101_from_its_folder_to_records(real: Path, command: Command, encoder: str) -> None:
    cache = Path(cache_url())
    split_file = real / "caltech101" / "split_zhou_Caltech101.json"
    methods = list(METHODS_READ)
    words = (
        *("run", "--method", ",".join(methods), "--setting", "few-shot"),
        *("--dataset", "caltech101", "--data-root", str(real), "--split-file", str(split_file)),
        *("--encoder", encoder, "--shots", "4", "--seed", "1", "--views", "1", "--tune", "val"),
        "--json",
    )

    first = command(*words)
    records = first.records

    assert first.code == 0, first.err
    assert [r["method"] for r in records] == methods
    assert {(r["n_test"], r["num_classes"], r["protocol"]) for r in records} == {
        (300, 100, "custom")
    }
    assert all(Record.read(Path(r["record"])).encoder == encoder for r in records)
    assert sum(r["seconds"]["encode"] > 0 for r in records) == 1, "one pass serves all methods"
    rows = sum(len(load_file(path)["features"]) for path in cache.rglob("*.safetensors"))
    assert rows == 900 + 100, "every image once, and a prompt a class"

    # Whatever reads the same images, prompts and views encodes nothing.
    again = command(*words, "--force", "--batch-size", "7")
    assert again.code == 0, again.err
    assert all(r["seconds"]["encode"] == 0 for r in again.records)
    predictions = [r["predictions_sha256"] for r in again.records]
    assert predictions == [r["predictions_sha256"] for r in records]

    # What is stored is what open_clip gives for the same block, read without our code.
    towers = OpenClip(encoder).towers
    data = Caltech101("test", Where(real, split_file=split_file))
    entries = json.loads(split_file.read_text())["test"][:BLOCK]
    folder = real / "caltech101" / "101_ObjectCategories"
    pixels = torch.stack(
        [towers.transform(Image.open(folder / path).convert("RGB")) for path, *_ in entries]
    )
    encode: Any = towers.model.encode_image
    with torch.no_grad():
        expected = encode(pixels)
    identity = encoder_recipe(OpenClip(encoder))
    stored = FeatureStore(cache_url()).get(ImageList(data, 1, identity).recipe, 0)
    assert stored is not None
    torch.testing.assert_close(stored[:BLOCK], expected, atol=1e-4, rtol=1e-4)


def test_cifar10_as_a_folder_of_parquet(real: Path, command: Command) -> None:
    done = command(
        *("run", "--method", "tipx", "--setting", "few-shot", "--dataset", str(real / "cifar10")),
        *("--shots", "2", "--seed", "1", "--views", "1", "--json"),
    )

    assert done.code == 0, done.err
    (record,) = done.records
    assert (record["dataset"], record["n_test"], record["num_classes"]) == ("cifar10", 1000, 10)
    assert record["tuned_on"] == "support"


def test_the_published_cifar10_is_not_taken_for_granted(real: Path, command: Command) -> None:
    done = command(
        *("run", "--method", "tipx", "--setting", "few-shot", "--dataset", "cifar10"),
        *("--data-root", str(real)),
    )

    assert done.code == 2
    assert "has 2000 images" in done.err
    assert "50000" in done.err
