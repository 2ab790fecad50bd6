from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from susx_bench.errors import ShotsError
from susx_bench.support.fewshot import draw

NAMES = ["cat", "dog", "eel"]


@given(
    labels=st.lists(st.integers(0, 2), max_size=60).map(lambda extra: [0, 1, 2] * 5 + extra),
    shots=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_draws_are_balanced_nested_and_repeatable(labels: list[int], shots: int, seed: int) -> None:
    pool = torch.tensor(labels)

    drawn = draw(pool, shots, seed, NAMES, "toy")

    assert torch.bincount(pool[drawn], minlength=3).tolist() == [shots] * 3
    assert len(set(drawn.tolist())) == 3 * shots
    assert torch.equal(draw(pool, shots, seed, NAMES, "toy"), drawn)
    if shots > 1:
        assert set(draw(pool, shots - 1, seed, NAMES, "toy").tolist()) < set(drawn.tolist())


def test_seeds_draw_differently() -> None:
    pool = torch.arange(3).repeat_interleave(50)

    assert not torch.equal(draw(pool, 4, 1, NAMES, "toy"), draw(pool, 4, 2, NAMES, "toy"))


def test_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    draw(torch.arange(3).repeat_interleave(5), 2, 1, NAMES, "toy")

    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_images_name_the_class_and_both_numbers() -> None:
    pool = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])

    with pytest.raises(ShotsError, match=r"toy: class 1 \('dog'\) has 2 .* asks for 3"):
        draw(pool, 3, 1, NAMES, "toy")
