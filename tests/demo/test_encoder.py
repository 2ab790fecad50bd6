"""The shipped encoder, and in a short form the script that made it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from susx_bench.demo.render import CLASSNAMES, draw
from susx_bench.demo.train_encoder import to_pixels, train
from susx_bench.encoders.layout import EMBEDDED
from susx_bench.encoders.openclip import OpenClip


def rendered(count: int) -> torch.Tensor:
    rng = np.random.default_rng(99)
    return torch.from_numpy(np.stack([draw(i % 10, rng).image for i in range(count)]))


def zero_shot_on_drawings(encoder: OpenClip) -> float:
    towers = encoder.towers
    text = towers.texts([[f"a photo of the number {name}."] for name in CLASSNAMES])
    with torch.no_grad():
        images = towers.images(to_pixels(rendered(200)))
    top1 = (images @ text.T).argmax(-1)
    return float((top1 == torch.arange(200) % 10).float().mean())


def test_shipped_weights_are_small_and_know_the_drawings() -> None:
    size = sum(file.stat().st_size for file in EMBEDDED["demo"].iterdir())

    assert size <= 4 * 2**20
    assert zero_shot_on_drawings(OpenClip("demo")) > 0.95


def test_training_starts_from_nothing_and_learns(tmp_path: Path) -> None:
    train(tmp_path / "encoder", steps=80, drawings=2000)
    encoder = OpenClip(f"local-dir:{tmp_path / 'encoder'}")

    assert zero_shot_on_drawings(encoder) > 0.5  # chance is 0.1
    assert 1 < encoder.logit_scale <= 100.5
    assert encoder.sha256 != OpenClip("demo").sha256


@pytest.mark.parametrize("label", range(10))
def test_drawings_repeat_for_a_seed_and_differ_between_seeds(label: int) -> None:
    images = [draw(label, np.random.default_rng(seed)).image for seed in (1, 1, 2)]

    assert images[0].shape == (8, 8)
    assert images[0].dtype == np.uint8
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert images[0].max() > 128


def test_text_features_do_not_depend_on_the_other_prompts() -> None:
    towers = OpenClip("demo").towers
    alone = towers.texts([["two"]])
    among = towers.texts([["one"], ["two"], *[["three"]] * 90])

    assert torch.equal(alone[0], among[1])
    torch.testing.assert_close(among.norm(dim=-1), torch.ones(92))


def test_prompts_of_a_class_are_averaged_as_unit_vectors() -> None:
    towers = OpenClip("demo").towers
    one, other = towers.texts([["seven"]])[0], towers.texts([["the digit seven"]])[0]

    both = towers.texts([["seven", "the digit seven"]])[0]

    mean = (one + other) / 2
    torch.testing.assert_close(both, mean / mean.norm())
