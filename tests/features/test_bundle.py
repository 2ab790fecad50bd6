from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.predict import Launch
from susx_bench.features.task import Need
from tests.conftest import Bundle, unit


def test_tensors_are_used_as_stored(bundle: Bundle, tensors: dict[str, Tensor]) -> None:
    task = BundleTask(bundle())
    some, rest = torch.tensor([3, 0]), torch.tensor([7, 5, 1])
    features = task.features(Need([some, rest]), Launch(), lambda unit, count: None)

    assert torch.equal(features.text, tensors["text"])
    wanted = torch.tensor([5, 3, 1])
    assert torch.equal(features.support([some, rest], wanted), tensors["support"][wanted])
    assert torch.equal(features.test, tensors["test"])
    assert features.val is not None
    assert torch.equal(features.val.labels, tensors["val_labels"])
    assert (task.dataset, task.encoder, task.logit_scale) == ("toy", "made:up", 50.0)


def test_options_override_the_bundles_own_words(bundle: Bundle) -> None:
    task = BundleTask(
        bundle(), dataset="mine", encoder="other", logit_scale=30.0, classnames=list("abcde")
    )

    assert (task.dataset, task.encoder, task.logit_scale) == ("mine", "other", 30.0)
    assert task.classnames == tuple("abcde")


def test_without_words_there_are_defaults(bundle: Bundle) -> None:
    task = BundleTask(bundle(name="plain.safetensors", meta={}))

    assert (task.dataset, task.encoder, task.logit_scale) == ("plain", "unknown", 100.0)


def test_half_precision_is_cast(bundle: Bundle, tensors: dict[str, Tensor]) -> None:
    task = BundleTask(bundle(test=tensors["test"].half()))

    assert task.features(Need([]), Launch(), lambda unit, count: None).test.dtype == torch.float32


def test_val_may_be_missing(bundle: Bundle) -> None:
    assert BundleTask(bundle(val=None, val_labels=None)).val_labels is None


def changed(rows: Tensor, row: int, value: float) -> Tensor:
    out = rows.clone()
    out[row, 0] = value
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"support": None}, "no tensor 'support'"),
        ({"text": None}, "no tensor 'text'"),
        ({"test_labels": None}, "no tensor 'test_labels'"),
        ({"val": None}, "has 'val_labels' but no 'val'"),
        ({"val_labels": None}, "has 'val' but no 'val_labels'"),
        ({"test": unit(70, 8, seed=1)}, "'test' has width 8, 'text' has width 16"),
        ({"test": unit(60, 16, seed=1)}, r"'test_labels' has shape \(70,\) for 60 rows"),
        ({"test": torch.zeros(0, 16), "test_labels": torch.zeros(0).long()}, "has no rows"),
        ({"test_labels": torch.full((70,), 5)}, "has 5 in row 0, 'text' has 5 rows"),
        ({"support_labels": torch.arange(20) - 1}, "has -1 in row 0"),
        ({"support_labels": torch.arange(20).float()}, "labels are integers"),
        ({"val": changed(unit(30, 16, seed=1), 3, float("nan"))}, "NaN .* 1 of 30 rows, .* row 3"),
        ({"val": changed(unit(30, 16, seed=1), 3, float("inf"))}, "NaN or infinity"),
        ({"test": 2 * unit(70, 16, seed=1)}, "70 of 70 rows of 'test' are not unit, .* 2.0000"),
        ({"test": torch.ones(70, 16, dtype=torch.int64)}, r"features are \(rows, width\) floats"),
        ({"text": unit(1, 16, seed=1)}, "a task has at least 2 classes"),
    ],
)
def test_a_bundle_that_breaks_the_format_is_refused(
    bundle: Bundle, changes: dict[str, Tensor | None], message: str
) -> None:
    path = bundle(**changes)

    with pytest.raises(BundleError, match=message) as caught:
        BundleTask(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"bundle": "{}", "more": "x"}, "2 metadata keys"),
        ({"dataset": "toy"}, "1 metadata keys"),
        ({"bundle": "{"}, "is not JSON"),
        ({"bundle": "[]"}, "is not a JSON object"),
        ({"bundle": json.dumps({"logit_scale": -1})}, "logit_scale is -1"),
        ({"bundle": json.dumps({"dataset": 3})}, "'dataset' is 3"),
        ({"bundle": json.dumps({"classnames": ["a"]})}, "1 class names for 5 rows"),
    ],
)
def test_metadata_that_breaks_the_format_is_refused(
    bundle: Bundle, meta: dict[str, str], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        BundleTask(bundle(meta=meta))


def test_half_a_file_is_refused(bundle: Bundle) -> None:
    path = bundle()
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(BundleError, match="is not a whole safetensors file"):
        BundleTask(path)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        BundleTask(tmp_path / "nothing.safetensors")
