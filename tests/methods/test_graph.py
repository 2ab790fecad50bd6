from __future__ import annotations

import pytest
import torch

from susx_bench.methods.graph import edges, nearest, normalised, symmetric
from susx_bench.testing.task import unit


@pytest.mark.parametrize("skip_self", [False, True])
def test_nearest_in_blocks_is_nearest_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, skip_self: bool
) -> None:
    images = unit(23, 8, seed=1)
    cosines = images @ images.T
    if skip_self:
        cosines.fill_diagonal_(-2.0)
    whole = cosines.sort(dim=-1, descending=True)

    monkeypatch.setattr("susx_bench.methods.graph._ENTRIES", 70)  # three rows at a time
    weights, positions = nearest(images, images, 4, skip_self=skip_self)

    assert torch.equal(positions, whole.indices[:, :4])
    torch.testing.assert_close(weights, whole.values[:, :4])


def test_there_are_no_more_neighbours_than_keys() -> None:
    images = unit(3, 8, seed=1)

    assert nearest(images, images, 5)[0].shape == (3, 3)
    assert nearest(images, images, 5, skip_self=True)[0].shape == (3, 2)
    assert nearest(images[:1], images[:1], 5, skip_self=True)[0].shape == (1, 0)


def test_rows_sums_and_transpose_of_a_graph() -> None:
    weights, positions = torch.tensor([[2.0, 1.0], [3.0, 0.0]]), torch.tensor([[0, 2], [3, 1]])

    graph = edges(weights, positions, 4, after=2)

    dense = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 3]]).float()
    assert torch.equal(graph.to_dense(), dense)
    both = symmetric(graph)
    assert torch.equal(both.to_dense(), dense + dense.T)
    expected = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            sums = (dense + dense.T).sum(1)
            if sums[i] * sums[j] > 0:  # node 1 has none
                expected[i, j] = (dense + dense.T)[i, j] / (sums[i] * sums[j]).sqrt()
    torch.testing.assert_close(normalised(both).to_dense(), expected)
