"""Nearest-neighbour graphs over features, as sparse matrices."""

from __future__ import annotations

import torch
from torch import Tensor

_ENTRIES = 1 << 25  # cosines held at once: 128 MiB in fp32


def nearest(
    queries: Tensor, keys: Tensor, k: int, *, skip_self: bool = False
) -> tuple[Tensor, Tensor]:
    """Largest dot products of each query with the keys, a block of queries at a time.

    Args:
        queries: ``(N, D)``.
        keys: ``(M, D)``.
        k: Neighbours a query; fewer where there are fewer keys.
        skip_self: Whether queries and keys are the same rows and none is its own neighbour.

    Returns:
        Dot products, largest first, and positions among the keys, both ``(N, min(k, M))``;
        ``(N, min(k, M - 1))`` with `skip_self`.
    """
    k = min(k, len(keys) - skip_self)
    rows = max(_ENTRIES // len(keys), 1)
    found = []
    for start in range(0, len(queries), rows):
        similarity = queries[start : start + rows] @ keys.T
        if skip_self:
            similarity.diagonal(start).fill_(-torch.inf)
        found.append(similarity.topk(k, dim=-1))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def edges(weights: Tensor, positions: Tensor, columns: int, *, after: int = 0) -> Tensor:
    """Sparse matrix with `weights` ``(N, k)`` at `positions` of each row, below `after` empty ones.

    Returns:
        ``(after + N, columns)``.
    """
    height = after + len(weights)
    rows = torch.arange(after, height, device=weights.device).repeat_interleave(weights.shape[1])
    return torch.sparse_coo_tensor(
        torch.stack([rows, positions.flatten()]),
        weights.flatten(),
        (height, columns),
        check_invariants=False,
    ).coalesce()


def symmetric(graph: Tensor) -> Tensor:
    r"""Sum with the transpose, :math:`A + A^\top`, of a sparse square matrix."""
    return (graph + graph.T).coalesce()


def kinship(images: Tensor, neighbours: int) -> Tensor:
    r"""Mean of the cosines by which each of two images counts the other among its nearest.

    .. math:: a_{ij} = \tfrac{1}{2n} (w_{ij} + w_{ji})

    with :math:`w_{ij}` the cosine of :math:`f_i` and :math:`f_j` if :math:`f_j` is among the
    :math:`n` nearest of :math:`f_i`, else 0.

    Returns:
        Sparse, ``(N, N)``, for images ``(N, D)``.
    """
    graph = edges(*nearest(images, images, neighbours, skip_self=True), len(images))
    return symmetric(graph) / (2 * neighbours)


def normalised(graph: Tensor) -> Tensor:
    r"""Divide a sparse symmetric matrix by the roots of its row sums, >= 0, on both sides.

    .. math:: D^{-1/2} S D^{-1/2}

    A node with row sum 0 keeps its zeros.
    """
    degree = torch.sparse.sum(graph, dim=1).to_dense()
    scale = torch.where(degree > 0, degree.rsqrt(), 0)
    row, column = graph.indices()
    return torch.sparse_coo_tensor(
        graph.indices(),
        graph.values() * scale[row] * scale[column],
        graph.shape,
        check_invariants=False,
        is_coalesced=True,
    )
