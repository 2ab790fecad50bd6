from __future__ import annotations

import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from susx_bench.methods.memory import entropy, places
from susx_bench.testing.task import unit


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 99)), max_size=30), st.integers(1, 4))
def test_a_memory_keeps_the_surest_of_each_class(
    stream: list[tuple[int, int]], capacity: int
) -> None:
    unsure = [value + i / 1000 for i, (_, value) in enumerate(stream)]  # no ties
    memory: dict[tuple[int, int], float] = {}
    found = list(places([label for label, _ in stream], unsure, capacity))
    for value, place in zip(unsure, found, strict=True):
        if place is not None:
            memory[place] = value

    for label in range(3):
        mine = [u for u, (of, _) in zip(unsure, stream, strict=True) if of == label]
        held = sorted(value for (of, _), value in memory.items() if of == label)
        assert held == sorted(mine)[:capacity]
    assert all(slot < capacity for _, slot in memory)


def test_an_equally_unsure_image_takes_no_place() -> None:
    assert list(places([1, 1, 1], [0.5, 0.5, 0.5], 2)) == [(1, 0), (1, 1), None]


def test_entropy_is_that_of_scipy() -> None:
    logits = 5 * unit(6, 9, seed=1)

    expected = [scipy.stats.entropy(row.softmax(0).double()) for row in logits]

    torch.testing.assert_close(entropy(logits).double(), torch.tensor(expected))
