"""Rows in blocks of a fixed size, each for one matrix product; no option changes the blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

BLOCK = 64
"""Rows computed together, always. Matrix products change their last bits with the shape of the
batch, so no option changes this number; options change how many blocks travel together."""


class Rows(Protocol):
    """Rows that are read on demand; a tensor qualifies."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, position: int, /) -> Tensor:
        """The row at a position."""


class Blocks(Dataset[tuple[Tensor, Tensor]]):
    """Rows in blocks of a fixed size and membership; the last block is padded.

    Item i is ``(rows (size, ...), position (size,))``; padding repeats a row and has position -1.
    Blocks past the last row are all padding, so that every rank has as many.

    Args:
        read: Gives the row at a position.
        rows: Number of rows, at least 1.
        size: Rows per block.
        blocks: Number of blocks, at least ``ceil(rows / size)``.
    """

    def __init__(self, read: Callable[[int], Tensor], rows: int, size: int, blocks: int) -> None:
        self._read = read
        self._rows = rows
        self._size = size
        self._blocks = blocks

    def __len__(self) -> int:
        return self._blocks

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = index * self._size
        position = torch.arange(start, start + self._size)
        position[position >= self._rows] = -1
        rows = [self._read(i) for i in position.tolist() if i >= 0] or [self._read(0)]
        return torch.stack(rows + rows[-1:] * (self._size - len(rows))), position


def row_at(position: int, features: Tensor, patches: Rows | None = None) -> Tensor:
    """A row that a method scores.

    Args:
        position: Which row.
        features: ``(N, D)``.
        patches: Features of each image's patches, N times ``(P, D)``.

    Returns:
        ``(D,)``, or ``(1 + P, D)`` with patches, the image's own feature first.
    """
    row = features[position]
    if patches is None:
        return row
    return torch.cat([row[None], patches[position].to(row.dtype)])
