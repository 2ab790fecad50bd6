"""Features that SuS-X published: their columns are in the order of folders, not of class names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from susx_bench.data.facts.digits import SPEC
from susx_bench.support.folder import SupportFolder
from susx_bench.support.published import read_published
from tests.conftest import Command

NAMES = SPEC.classnames


def published(folder: Path, features: Any, targets: Any) -> Path:
    """Two files as encode_sus_lc.py writes them."""
    torch.save(targets, folder / "sus_lc_photo_digits_t_mdemo.pt")
    path = folder / "sus_lc_photo_digits_f_mdemo.pt"
    torch.save(features, path)
    return path


def three_each() -> tuple[Tensor, Tensor]:
    """30 columns in the order of the folders, half precision, and their one-hot targets."""
    features = torch.randn(64, 30, generator=torch.Generator().manual_seed(0))
    features = (features / features.norm(dim=0)).half()
    return features, torch.eye(10).repeat_interleave(3, 0).half()


def test_columns_are_mapped_by_folder_names(tmp_path: Path) -> None:
    """The oracle sorts the folders: eight, five, four, nine, one, seven, six, three, two, zero."""
    features, targets = three_each()

    rows, labels = read_published(published(tmp_path, features, targets), SPEC)

    folders = ["eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero"]
    assert [NAMES[label] for label in labels.tolist()] == [n for n in folders for _ in range(3)]
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(30))
    torch.testing.assert_close(rows, features.T.float(), atol=1e-3, rtol=0)


def test_features_become_a_support_set_and_are_used(tmp_path: Path, command: Command) -> None:
    features, targets = three_each()
    path = published(tmp_path, features, targets)
    build = ("support", "build", "--dataset", "digits", "--kind", "sus-lc", "--import", path)

    said = command(*build, "--encoder", "demo", "--per-class", 2)

    assert said.code == 0, said.err
    assert "20 images of 10 classes" in said.out
    folder = SupportFolder(tmp_path / "support/digits/sus-lc-photo")
    rows, stored = folder.rows(), folder.features
    assert stored is not None
    assert [row.class_id for row in rows] == [label for label in range(10) for _ in range(2)]
    zero = [row.source for row in rows if NAMES[row.class_id] == "zero"]
    assert zero == ["column 27", "column 28"]
    torch.testing.assert_close(stored[0], features[:, 27].float(), atol=1e-3, rtol=0)

    run = ("run", "--method", "tip-adapter", "--setting", "name-only", "--support", "sus-lc")
    used = command(*run, "--json")
    assert used.code == 0, used.err
    assert used.records[0]["support_images"] == 20
    other = command(*run, "--encoder", "ViT-B-32:random")
    assert other.code == 2
    assert "holds features of demo and no images" in other.err
    assert "nothing to do" in command(*build, "--encoder", "demo", "--per-class", 2).out
    shown = command("support", "show", "sus-lc")
    assert (shown.code, "contact sheet: none" in shown.out) == (0, True), shown.err


def test_images_in_the_place_of_features_leave_nothing_of_them(
    tmp_path: Path, command: Command
) -> None:
    """Else as many images would be used by the features that were there before."""
    path = published(tmp_path, *three_each())
    build = ("support", "build", "--dataset", "digits", "--kind", "sus-lc", "--import")
    assert command(*build, path, "--encoder", "demo").code == 0
    for label, name in enumerate(NAMES):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(3 * label + i).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")

    said = command(*build, tmp_path / "mine", "--per-class", 3, "--no-test-check", "--force")

    assert said.code == 0, said.err
    folder = SupportFolder(tmp_path / "support/digits/sus-lc-photo")
    assert len(folder.rows()) == 30
    assert folder.features is None


@pytest.mark.parametrize(
    ("features", "targets", "message"),
    [
        (torch.randn(64, 30), torch.eye(9).repeat_interleave(3, 0), "digits has 10 classes"),
        (torch.randn(64, 29), three_each()[1], "but sus_lc_photo_digits_t_mdemo.pt has 30 rows"),
        (torch.randn(64, 30), torch.ones(30, 10), "not every row has a single 1"),
        (torch.full((64, 30), torch.nan), three_each()[1], "NaN, infinity or rows of zeros"),
        (torch.zeros(64, 30), three_each()[1], "NaN, infinity or rows of zeros"),
        ([1, 2], three_each()[1], "it holds a list, not a tensor"),
        (Path, three_each()[1], "torch cannot read it"),
    ],
)
def test_what_does_not_fit_is_told(
    features: Any, targets: Any, message: str, tmp_path: Path, command: Command
) -> None:
    """Among it what is no tensor: nothing but weights is loaded."""
    path = published(tmp_path, features, targets)

    said = command(
        *("support", "build", "--dataset", "digits", "--kind", "sus-lc"),
        *("--import", path, "--encoder", "demo"),
    )

    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_what_is_missing_is_told(tmp_path: Path, command: Command) -> None:
    features, targets = three_each()
    path = published(tmp_path, features, targets)
    words = ("support", "build", "--dataset", "digits", "--kind", "sus-lc", "--import")

    assert "give --encoder" in command(*words, path).err
    path.with_name("sus_lc_photo_digits_t_mdemo.pt").unlink()
    assert "_t_mdemo.pt: no such file" in command(*words, path, "--encoder", "demo").err
    other = path.rename(tmp_path / "features.pt")
    assert "have _f_m in their name" in command(*words, other, "--encoder", "demo").err
