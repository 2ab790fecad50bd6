from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.launch import Launch
from susx_bench.features.task import Need
from susx_bench.testing.task import unit
from tests.conftest import Bundle


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


def test_unit_rows_that_were_rounded_to_bfloat16_are_unit_again(
    bundle: Bundle, tensors: dict[str, Tensor]
) -> None:
    """Of 1024 numbers a row is 1.0013 long in bfloat16; it was refused as not normalised."""
    wide = {name: unit(len(tensors[name]), 1024, seed=2) for name in ("text", "support", "val")}
    wide["test"] = unit(70, 1024, seed=3)
    rounded = {name: rows.bfloat16() for name, rows in wide.items()}
    rounded["text"] = (1.002 * wide["text"]).bfloat16()
    task = BundleTask(bundle(**rounded))
    rows = task.features(Need([]), Launch(), lambda unit, count: None)

    for name, want in (("text", wide["text"]), ("test", wide["test"])):
        found = getattr(rows, name)
        torch.testing.assert_close(found, want, atol=2e-3, rtol=0)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(found)))
    with pytest.raises(BundleError, match="not unit"):
        BundleTask(bundle(**rounded | {"test": (1.01 * wide["test"]).bfloat16()}))


def test_val_may_be_missing(bundle: Bundle) -> None:
    assert BundleTask(bundle(val=None, val_labels=None)).val_labels is None


def patches(rows: int, seed: int) -> Tensor:
    return unit(rows * 6, 16, seed).view(rows, 6, 16).half()


def changed(rows: Tensor, row: int, value: float) -> Tensor:
    out = rows.clone()
    out[row, 0] = value
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"support": None}, "has 'support_labels' but no 'support'"),
        ({"support_labels": None}, "has 'support' but no 'support_labels'"),
        ({"test": None}, "no tensor 'test'"),
        (
            {"support": None, "support_labels": None, "support_views": patches(20, 1)},
            "has 'support_views' but no 'support'",
        ),
        (
            {"val": None, "val_labels": None, "val_spatial": patches(30, 1)},
            "has 'val_spatial' but no 'val'",
        ),
        ({"val": None}, "has 'val_labels' but no 'val'"),
        ({"val_labels": None}, "has 'val' but no 'val_labels'"),
        ({"test": unit(70, 8, seed=1)}, "'test' has width 8, the others have width 16"),
        ({"test": unit(60, 16, seed=1)}, r"'test_labels' has shape \(70,\) for 60 rows"),
        ({"test": torch.zeros(0, 16), "test_labels": torch.zeros(0).long()}, "has no rows"),
        ({"test_labels": torch.full((70,), 5)}, "has 5 in row 0, and there are 5 classes"),
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
        ({"bundle": "{}", "more": "x"}, "the metadata keys more say nothing"),
        ({"dataset": "toy", "format": "pt"}, "the metadata keys dataset say nothing"),
        ({"bundle": "[" * 100_000 + "]" * 100_000}, "nested too deep: it opens 100000 brackets"),
        ({"bundle": '{"a":' * 100_000 + "1" + "}" * 100_000}, "it opens 100000 brackets"),
        ({"bundle": '{"encoder": ' + "[" * 500 + "]" * 500 + "}"}, r"'encoder' is \[\[.*\.\.\."),
        ({"bundle": json.dumps({"classnames": [["a"], 2, 3, 4, 5]})}, "has \\['a'\\] at 0"),
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


def test_what_other_programs_write_into_the_metadata_is_fine(bundle: Bundle) -> None:
    meta = {"bundle": json.dumps({"dataset": "mine"}), "format": "pt"}

    assert BundleTask(bundle(meta=meta)).dataset == "mine"
    assert BundleTask(bundle("plain.safetensors", meta={"format": "np"})).dataset == "plain"


def test_a_file_of_another_library_says_how_it_becomes_a_bundle(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    torch.save(tensors, tmp_path / "new.pt")
    torch.save(tensors, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "arrays.npz", **arrays)  # type: ignore[arg-type]  # of its other options
    np.save(tmp_path / "one.npy", arrays["test"])
    for name, what in (
        ("new.pt", "torch"),
        ("old.bin", "torch"),
        ("arrays.npz", "numpy"),
        ("one.npy", "numpy"),
    ):
        with pytest.raises(BundleError, match=f"is a file of {what}'s .* not opened") as caught:
            BundleTask(tmp_path / name)

        assert len(str(caught.value).splitlines()) == 1
        stem = tmp_path / Path(name).stem
        told = f"susx-bench features import {tmp_path / name} --out {stem}.safetensors"
        assert str(caught.value).endswith(told)


def test_support_and_test_labels_may_be_missing(bundle: Bundle, tensors: dict[str, Tensor]) -> None:
    nothing = {"support": None, "support_labels": None, "test_labels": None}
    task = BundleTask(bundle(**nothing))
    features = task.features(Need([]), Launch(), lambda unit, count: None)

    assert (task.test_size, task.test_labels, len(task.pool_labels)) == (70, None, 0)
    assert torch.equal(features.test, tensors["test"])
    assert features.val is not None
    assert (
        task.hashes["split_sha256"]
        != BundleTask(bundle("whole.safetensors")).hashes["split_sha256"]
    )


def test_what_has_no_place_is_named(bundle: Bundle) -> None:
    meta = {"bundle": json.dumps({"dataset": "toy", "logitscale": 50.0})}
    unread = BundleTask(
        bundle(meta=meta, supports=unit(3, 16, seed=1), x=unit(1, 2, seed=1))
    ).unread
    assert unread == ("a tensor supports", "a tensor x", "metadata 'logitscale'")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        BundleTask(tmp_path / "nothing.safetensors")


def lengths(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {f"{name}_norms": torch.arange(len(tensors[name])) + 1.0 for name in names}


def test_patches_are_used_as_stored(bundle: Bundle) -> None:
    test, val = patches(70, seed=1), patches(30, seed=2)
    plain, one, both = (
        BundleTask(bundle(f"{i}.safetensors", **extra))
        for i, extra in enumerate(({}, {"spatial": test}, {"spatial": test, "val_spatial": val}))
    )
    features = both.features(Need([]), Launch(), lambda unit, count: None)

    assert torch.equal(torch.stack([features.patches["test"][i] for i in range(70)]), test)
    assert torch.equal(torch.stack([features.patches["val"][i] for i in range(30)]), val)
    assert [task.patched for task in (plain, one, both)] == [set(), {"test"}, {"test", "val"}]
    assert ["spatial" in task.gives for task in (plain, one, both)] == [False, True, True]
    assert len({task.hashes["split_sha256"] for task in (plain, one, both)}) == 3


def test_rows_in_full_are_as_long_as_the_bundle_says(
    bundle: Bundle, tensors: dict[str, Tensor]
) -> None:
    task = BundleTask(bundle(**lengths(tensors, "text", "support", "val", "test")))
    part = torch.tensor([3, 0])
    features = task.features(Need([part]), Launch(), lambda unit, count: None).in_full()

    assert "norms" in task.gives
    assert features.val is not None
    torch.testing.assert_close(features.text.norm(dim=-1), torch.arange(5) + 1.0)
    torch.testing.assert_close(features.test.norm(dim=-1), torch.arange(70) + 1.0)
    torch.testing.assert_close(features.val.features.norm(dim=-1), torch.arange(30) + 1.0)
    torch.testing.assert_close(features.support([part], part)[0], 4 * tensors["support"][3])
    assert "norms" not in BundleTask(bundle("plain.safetensors")).gives


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spatial": patches(69, 1)}, "'spatial' is for 69 rows of 'test', which has 70"),
        ({"spatial": patches(70, 1)[:, 0]}, r"'spatial' has shape \(70, 16\), it holds"),
        ({"spatial": 2 * patches(70, 1)}, "rows of 'spatial' are not unit"),
        ({"val_spatial": patches(70, 1)}, "'val_spatial' is for 70 rows of 'val', which has 30"),
        ({"test_norms": torch.ones(70)}, "has 'test_norms' but no 'text_norms'"),
        ({"text_norms": torch.ones(4)}, r"'text_norms' is torch.float32 \(4,\), it holds"),
        ({"text_norms": torch.zeros(5)}, "'text_norms' has a length that is not a number above 0"),
    ],
)
def test_patches_and_lengths_that_do_not_fit_are_refused(
    bundle: Bundle, changes: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        BundleTask(bundle(**changes))


def test_a_conversion_never_writes_over_what_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "renamed.safetensors"
    path.write_bytes(b"PK\x03\x04" * 9)

    with pytest.raises(BundleError, match=r"renamed-imported\.safetensors"):
        BundleTask(path)


WITHOUT_TEXT: dict[str, Any] = {"text": None, "text_prompts": None, "text_norms": None}


def test_a_bundle_without_text_has_the_classes_of_its_support(bundle: Bundle) -> None:
    """An encoder that reads no text: what is not text is as before."""
    whole, task = BundleTask(bundle()), BundleTask(bundle("bare.safetensors", **WITHOUT_TEXT))
    found = task.features(Need([torch.arange(20)]), Launch(), lambda *_: None)

    assert found.text.shape == (0, 16)
    assert len(task.classnames) == 5
    assert "text" not in task.gives
    assert "text" in whole.gives
    for name in ("split_sha256", "pool_sha256"):
        assert task.hashes[name] == whole.hashes[name]
    assert task.hashes["prompts_sha256"] != whole.hashes["prompts_sha256"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"support": None, "support_labels": None}, "neither class names nor 'support_labels' say"),
        ({"text_norms": torch.ones(5)}, "has 'text_norms' but no 'text'"),
        ({"support_labels": torch.zeros(20).long()}, "it has 1 class, a task has at least 2"),
        ({"val_labels": torch.full((30,), 5)}, "has 5 in row 0, and there are 5 classes"),
    ],
)
def test_a_bundle_without_text_is_refused_where_it_does_not_fit(
    bundle: Bundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        BundleTask(bundle(**(WITHOUT_TEXT | changes)))


def test_class_names_say_how_many_there_are(bundle: Bundle) -> None:
    meta = {"bundle": json.dumps({"classnames": list("abcdefg")})}

    assert len(BundleTask(bundle(meta=meta, **WITHOUT_TEXT)).classnames) == 7
