"""Images that two parts of a bundle share: few are named, more are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import susx_bench as sb
from susx_bench.errors import BundleError
from susx_bench.features.leaks import Shared, shared_rows
from susx_bench.testing.task import unit
from tests.conftest import Bundle, Command

RUN = ("run", "--method", "tip-adapter", "--setting", "few-shot", "--features")


def by_pairs(one: Tensor, other: Tensor) -> int:
    """Rows of `one` that are in `other`, each compared with each."""
    return sum(any(torch.equal(a, b) for b in other) for a in one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_are_counted_as_pair_by_pair(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    # Few different rows, zeros of both signs among them, so that many are equal.
    rows = {n: torch.randint(-1, 2, (23, 3), generator=generator) for n in ("val", "test", "text")}
    parts = {name: (0.5 * some).to(dtype) for name, some in rows.items()}

    (found,) = shared_rows(parts)

    assert found.count == by_pairs(rows["test"], rows["val"])
    assert torch.equal(rows["test"][found.row], rows["val"][found.other_row])
    assert by_pairs(rows["test"][: found.row], rows["val"]) == 0
    assert by_pairs(rows["val"][: found.other_row], rows["test"][[found.row]]) == 0


def last_bits(rows: Tensor) -> Tensor:
    """The same images in another batch: other last bits."""
    noise = torch.rand(rows.shape, generator=torch.Generator().manual_seed(8)) - 0.5
    return rows * (1 + 2e-6 * noise)


SAME_IMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "another scale": lambda rows: 7.3 * rows,
    "a scale per image": lambda rows: rows * torch.linspace(0.2, 30, len(rows))[:, None],
    "float16": lambda rows: rows.half(),
    "bfloat16": lambda rows: rows.bfloat16(),
    "bfloat16, not normalised": lambda rows: (9.7 * rows).bfloat16(),
    "float64": lambda rows: rows.double() / 3,
    "another batch": last_bits,
    "all of these": lambda rows: (4 * last_bits(rows)).half(),
}


@pytest.mark.parametrize("width", [8, 16, 512, 1024])
@pytest.mark.parametrize("change", SAME_IMAGE)
def test_one_image_is_found_whatever_rounding_did_to_it(change: str, width: int) -> None:
    """Images are as alike as CLIP's: all near one direction, classes nearer."""
    centre = unit(5, width, seed=1)[torch.arange(300) % 5] + 2 * unit(1, width, seed=2)
    test, val = (unit(300, width, seed=seed) + centre for seed in (3, 4))
    val[::7] = test.flip(0)[::7]

    (found,) = shared_rows({"val": val, "test": SAME_IMAGE[change](test)})

    assert (found.count, found.rounded) == (43, 43)
    assert (found.row, found.other_row) == (5, 294)
    assert "43 of 300 rows of 'test' are rows of 'val' too, up to rounding, the" in str(found)


@pytest.mark.parametrize(("width", "narrow"), [(2, 1), (3, 1), (16, 1), (16, 1e-3), (512, 1e-3)])
def test_other_images_are_not_taken_for_one(width: int, narrow: float) -> None:
    """Whether features have few numbers, or the encoder puts all images close together."""
    middle = unit(1, width, seed=1)
    parts = {
        name: middle / narrow + unit(400, width, seed=seed)
        for seed, name in enumerate(("support", "val", "test"), start=2)
    }

    assert not [*shared_rows(parts)]


def test_equal_rows_and_rounded_ones_are_told_apart() -> None:
    test = unit(100, 16, seed=4)
    val = torch.cat([test[:10], test[10:30].half().float(), unit(70, 16, seed=5)])

    (found,) = shared_rows({"val": val, "test": test})

    assert (found.count, found.rounded) == (30, 20)
    assert "'val' too, 20 of them up to rounding, the first is row 0" in str(found)


def test_the_same_images_in_half_precision_are_refused(
    tensors: dict[str, Tensor], command: Command, bundle: Bundle
) -> None:
    half: dict[str, Any] = {
        "val": tensors["test"].half().float(),
        "val_labels": tensors["test_labels"].clone(),
    }

    with pytest.raises(BundleError, match=r"70 of 70 rows of 'test' .* too, up to rounding"):
        sb.evaluate("tag", features=sb.Features(**{**tensors, **half}))
    assert command(*RUN, bundle(**half)).code == 2


def test_one_percent_is_taken_for_duplicates() -> None:
    assert not Shared("test", "val", 2, 200, 0, 0).is_leak
    assert Shared("test", "val", 3, 200, 0, 0).is_leak
    assert Shared("test", "val", 1, 1, 0, 0).is_leak


@pytest.mark.parametrize(
    ("part", "other", "share", "does"),
    [
        ("test", "support", 1.0, "Take them out of one of the two"),
        ("test", "support", 0.1, "2 of 20 rows of 'test' are rows of 'support' too"),
        ("test", "val", 1.0, "where val is the test set, leave 'val' and 'val_labels' out"),
        ("val", "support", 1.0, "20 of 20 rows of 'val' are rows of 'support' too"),
    ],
)
def test_parts_that_share_images_are_refused(
    part: str, other: str, share: float, does: str, command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    rows, labels = unit(20, 16, seed=4), torch.arange(20) % 5
    mixed = unit(20, 16, seed=5)
    mixed[: int(20 * share)] = rows.flip(0)[: int(20 * share)]
    changes = {part: mixed, f"{part}_labels": labels, other: rows}
    changes[f"{other}_labels"] = labels.clone()
    path = bundle(**changes)

    done = command(*RUN, path)

    assert done.code == 2
    assert done.out == ""
    assert does in done.err
    assert str(path.name) in done.err
    assert not (tmp_path / "results").exists()
    imported = command("features", "import", path, "--out", "new.safetensors")
    assert imported.code == 0
    assert "`run` refuses that" in imported.err


def test_a_few_duplicates_are_named(command: Command, bundle: Bundle) -> None:
    test, labels = unit(200, 16, seed=6), torch.arange(200) % 5
    support = test[[7, 180]].repeat(10, 1)

    done = command(
        *RUN,
        bundle(test=test, test_labels=labels, support=support, support_labels=labels[:20].clone()),
    )

    assert done.code == 0
    said = " ".join(done.err.split())
    assert (
        "toy: 2 of 200 rows of 'test' are rows of 'support' too, the first is row 7, which is row "
        "0 there; they stay where they are." in said
    )


def test_features_in_memory_are_looked_at_too(tensors: dict[str, Tensor]) -> None:
    given: dict[str, Any] = tensors | {"val": tensors["test"], "val_labels": tensors["test_labels"]}

    with pytest.raises(BundleError, match="Features: 70 of 70 rows of 'test' are rows of 'val'"):
        sb.evaluate("tag", features=sb.Features(**given))


def test_images_without_labels_may_be_labelled_elsewhere(
    command: Command, bundle: Bundle, tensors: dict[str, Tensor]
) -> None:
    """Somebody predicts all images, also those with a label: no number is too high."""
    done = command(*RUN, bundle(test=tensors["support"].clone(), test_labels=None))

    assert done.code == 0, done.err
    assert "20 of 20 rows of 'test' are rows of 'support' too" in " ".join(done.err.split())


def test_a_suite_loses_such_a_bundle_alone(
    command: Command, bundle: Bundle, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    bundle("good.safetensors")
    bad = tensors | {"val": tensors["test"], "val_labels": tensors["test_labels"]}
    save_file({name: rows.clone() for name, rows in bad.items()}, tmp_path / "bad.safetensors")
    (tmp_path / "both.toml").write_text(
        'name = "both"\ntitle = "Both"\n[[run]]\nmethod = ["zero-shot"]\nsetting = "few-shot"\n'
        'features = ["bad.safetensors", "good.safetensors"]\n'
    )

    done = command("run", "--suite", "both.toml")

    assert done.code == 3
    assert "70 of 70 rows of 'test' are rows of 'val' too" in " ".join(done.err.split())
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


@pytest.mark.real
def test_no_real_bundle_is_refused(real: Path) -> None:
    """Of ten, one has an image twice: ImageNet's first test row is a row of its support.

    Frames of one video (UCF101) and crops of one texture (DTD) are images of their own.
    """
    from susx_bench.features.bundle import BundleTask

    found = {
        path.stem: [str(each) for each in shared_rows(BundleTask(path).images)]
        for path in sorted((real / "features").glob("*.safetensors"))
    }

    assert {name for name, each in found.items() if each} == {"imagenet_vit-b-32_2shot"}
    assert found["imagenet_vit-b-32_2shot"] == [
        "1 of 2,000 rows of 'val' is a row of 'support' too, the first is row 0, which is row 0 "
        "there",
        "1 of 2,000 rows of 'test' is a row of 'support' too, the first is row 0, which is row 1 "
        "there",
    ]
