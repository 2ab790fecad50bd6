"""LightningDataModules: datasets, support sets and features, wrapped where a Trainer runs.

A dataset's split, a support set and a pool are plain lists of images (`susx_bench.data.images`).
`ImageDataModule` wraps any of them, `FeatureDataModule` wraps features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from susx_bench.data.images import Images
from susx_bench.encoders.base import Towers
from susx_bench.errors import DatasetError
from susx_bench.features.blocks import BLOCK, Blocks, Rows, row_at
from susx_bench.features.store import SHARD
from susx_bench.features.views import augmented


class BlockDataModule(LightningDataModule, ABC):
    """Serves rows to `Trainer.predict`: every row once, in blocks that no option changes.

    Attributes:
        batch_size: Rows that travel together, rounded up to whole blocks.
        workers: Processes that read rows.
        block: Rows per block.
        unit: Blocks that one rank computes, whatever the number of ranks.
    """

    batch_size: int = BLOCK
    workers: int = 0
    block: int = BLOCK
    unit: int = 1

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def row(self, position: int) -> Tensor:
        """The row at a position."""

    def predict_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        """This rank's share of the blocks: every ``world_size``-th unit."""
        rank, world = 0, 1
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
        units = math.ceil(math.ceil(len(self) / self.block) / self.unit)
        units = math.ceil(units / world) * world
        mine = [
            block
            for first in range(rank, units, world)
            for block in range(first * self.unit, (first + 1) * self.unit)
        ]
        return DataLoader(
            Blocks(self.row, len(self), self.block, units * self.unit),
            batch_size=math.ceil(self.batch_size / self.block),
            sampler=mine,
            num_workers=self.workers,
            # A dataset need not survive pickling; only fork hands it on as it is.
            multiprocessing_context="fork" if self.workers else None,
            pin_memory=torch.cuda.is_available(),
        )


Batch = tuple[Tensor, Tensor]
"""Blocks ``(blocks, rows, ...)`` and positions ``(blocks, rows)``, -1 for padding."""


class FeatureDataModule(BlockDataModule):
    """Features served to `Classify` modules, to one after another from the same memory.

    Args:
        features: In memory, ``(N, D)``.
        patches: Features of each image's patches, N times ``(P, D)``; a row is then ``(1 + P, D)``,
            the image's own feature first, and is read anew each time.
    """

    def __init__(self, features: Tensor, patches: Rows | None = None) -> None:
        super().__init__()
        self.features = features
        self.patches = patches
        self._cached: dict[tuple[int, int, int], list[Batch]] = {}
        self._moved: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.features)

    def row(self, position: int) -> Tensor:
        return row_at(position, self.features, self.patches)

    def predict_dataloader(self) -> Iterable[Batch]:
        """This rank's share of the blocks: every ``world_size``-th; made once without patches."""
        if self.patches is not None:
            return self._read()
        rank, world = self._ranks()
        key = rank, world, self.batch_size
        if key not in self._cached:
            self._cached[key] = self._batches(rank, world)
        # Lightning would take a list for several loaders.
        return DataLoader(_Held(self._cached[key]), batch_size=None, collate_fn=_as_it_is)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch, or take it from the device where it was moved before."""
        if self.patches is not None or batch[0].device == device:
            moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
            return moved
        if id(batch) not in self._moved:  # the batch lives as long as this module
            self._moved[id(batch)] = (batch[0].to(device), batch[1].to(device))
        return self._moved[id(batch)]

    def _ranks(self) -> tuple[int, int]:
        """The number of this rank, and the number of ranks."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _read(self) -> Iterable[Batch]:
        return super().predict_dataloader()

    def _batches(self, rank: int, world: int) -> list[Batch]:
        rows = len(self)
        blocks = math.ceil(math.ceil(rows / self.block) / world) * world
        position = torch.arange(blocks * self.block)
        rows_of = position.clamp(max=rows - 1).view(blocks, self.block)
        position[rows:] = -1
        position = position.view(blocks, self.block)
        mine = torch.arange(rank, blocks, world)
        return [
            (self.features[rows_of[chunk]], position[chunk])
            for chunk in torch.split(mine, math.ceil(self.batch_size / self.block))
        ]


def _as_it_is(batch: Any) -> Any:
    return batch


class _Held(Dataset[Batch]):
    """Batches that are held in memory."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, place: int) -> Batch:
        return self._batches[place]


class GroupDataModule(FeatureDataModule):
    """Test features in groups, of which a method answers each on its own.

    A group takes the place of a block: rows that are computed together. Groups may differ in size;
    `Classify` leaves out the padding, which has position -1.

    Args:
        features: ``(N, D)``.
        groups: Positions, each of the N in one.
        patches: As in `FeatureDataModule`.
    """

    def __init__(
        self, features: Tensor, groups: Sequence[Tensor], patches: Rows | None = None
    ) -> None:
        super().__init__(features, patches)
        self.groups = groups

    def _read(self) -> Iterable[Batch]:
        rank, world = self._ranks()
        size, count, together = self._sizes(world)
        return DataLoader(
            _Groups(self, size, count),
            batch_size=together,
            sampler=range(rank, count, world),
            pin_memory=torch.cuda.is_available(),
        )

    def _batches(self, rank: int, world: int) -> list[Batch]:
        size, count, together = self._sizes(world)
        served = _Groups(self, size, count)
        blocks = [served[place] for place in range(rank, count, world)]
        batches = [blocks[start : start + together] for start in range(0, len(blocks), together)]
        return [
            (torch.stack([rows for rows, _ in chunk]), torch.stack([place for _, place in chunk]))
            for chunk in batches
        ]

    def _sizes(self, world: int) -> tuple[int, int, int]:
        """Rows of a group, groups over all ranks, groups of a batch."""
        size = max(len(group) for group in self.groups)
        count = math.ceil(len(self.groups) / world) * world  # the same for every rank
        return size, count, math.ceil(self.batch_size / size)


class _Groups(Dataset[tuple[Tensor, Tensor]]):
    """Item i is group i: ``(rows (size, ...), position (size,))``; past the last group padding."""

    def __init__(self, data: GroupDataModule, size: int, count: int) -> None:
        self._data = data
        self._size = size
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        data, groups = self._data, self._data.groups
        group = groups[index] if index < len(groups) else groups[0][:0]
        position = torch.full((self._size,), -1)
        position[: len(group)] = group
        members = group if len(group) else groups[0][:1]
        # Padding repeats a row, as in `Blocks`.
        if data.patches is None:
            rows = data.features[members]
        else:
            rows = torch.stack([data.row(i) for i in members])
        return torch.cat(
            [rows, rows[-1:].expand(self._size - len(rows), *rows.shape[1:])]
        ), position


class ImageDataModule(BlockDataModule):
    """Images as an encoder reads them: of a dataset's split, of a support set, or of a pool.

    Args:
        images: The images.
        towers: The encoder they are prepared for.
        views: 1 for the image as the encoder reads it, more for so many augmented views, rows
            beside each other.
        shards: Which shards of `SHARD` rows to serve, one after another; None for all rows.
    """

    unit = SHARD // BlockDataModule.block

    def __init__(
        self, images: Images, towers: Towers, views: int = 1, shards: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.images = images
        self.towers = towers
        self.views = views
        self._total = len(images) * views
        self._shards = range(-(-self._total // SHARD)) if shards is None else shards
        self._last: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        if not self._shards:
            return 0
        last = min((self._shards[-1] + 1) * SHARD, self._total) - self._shards[-1] * SHARD
        return (len(self._shards) - 1) * SHARD + last

    def row(self, position: int) -> Tensor:
        """Prepare an image, or one view of it.

        Returns:
            ``(3, H, W)``; NaN for an image that cannot be read, where the list is tolerant.

        Raises:
            DatasetError: If the image cannot be read and the list is not tolerant.
        """
        row = self._shards[position // SHARD] * SHARD + position % SHARD
        place, view = divmod(row, self.views)
        sample = self.images.samples[place]
        if self._last[0] != place:  # the views of an image follow each other: decode it once
            try:
                self._last = (place, self.images.image(sample))
            except DatasetError:
                if not self.images.tolerant:
                    raise
                return self.towers.transform(Image.new("RGB", (8, 8))) * math.nan
        if self.views == 1:
            return self.towers.transform(self._last[1])
        seed = f"{self.images.name}/{sample.key}/{view}"
        return augmented(self._last[1], seed, self.towers.preprocess_cfg)
