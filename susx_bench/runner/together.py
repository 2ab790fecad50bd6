"""Which test images a method sees together that looks at the others, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from susx_bench.data.base import FeatureDataModule, Rows
from susx_bench.runner.batches import Batches


def compose(labels: Tensor, batches: Batches, seed: int) -> list[Tensor]:
    """Cut a test set into batches of few classes: each image is in one.

    For each batch a number of classes, from 1 to the most there may be, and that many of the
    classes that have images left are drawn; the batch is a random part of their images, or all
    where there are fewer. This is how StatA's authors draw batches, but that they draw each anew
    from all images. Labels compose the batches, and are seen by nothing else.

    Args:
        labels: True classes ``(N,)``.
        batches: Their size and classes.
        seed: Which cut.

    Returns:
        Positions, a tensor a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    left = {k: order[labels[order] == k].tolist() for k in sorted(set(labels.tolist()))}
    found = []
    while left:
        most = min(batches.classes, len(left))
        several = int(torch.randint(1, most + 1, (), generator=generator))
        names = list(left)
        drawn = torch.randperm(len(names), generator=generator)[:several].tolist()
        images = torch.tensor([i for name in drawn for i in left[names[name]]])
        taken = images[torch.randperm(len(images), generator=generator)[: batches.size]]
        found.append(taken)
        gone = set(taken.tolist())
        for name in (names[place] for place in drawn):
            left[name] = [i for i in left[name] if i not in gone]
            if not left[name]:
                del left[name]
    return found


def in_order(images: int, seed: int) -> Tensor:
    """Positions of all images in a seeded order; with seed 0 in the split's."""
    if seed == 0:
        return torch.arange(images)
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))


class TogetherDataModule(FeatureDataModule):
    """Test features in groups, of which a method answers each on its own.

    A group is what a block is elsewhere: rows that are computed together. Groups may differ in
    size; what is padding, with position -1, is for `Classify` to leave out.

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

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """This rank's share of the groups: every ``world_size``-th."""
        rank, world = 0, 1
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
        size = max(len(group) for group in self.groups)
        count = math.ceil(len(self.groups) / world) * world  # every rank has as many
        return DataLoader(
            _Groups(self, size, count),
            batch_size=math.ceil(self.batch_size / size),
            sampler=range(rank, count, world),
            pin_memory=torch.cuda.is_available(),
        )


class _Groups(Dataset[tuple[Tensor, Tensor]]):
    """Item i is group i: ``(rows (size, ...), position (size,))``; past the last all padding."""

    def __init__(self, data: TogetherDataModule, size: int, count: int) -> None:
        self._data = data
        self._size = size
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        groups = self._data.groups
        group = groups[index] if index < len(groups) else groups[0][:0]
        position = torch.full((self._size,), -1)
        position[: len(group)] = group
        # Padding repeats a row, as in `Blocks`.
        rows = torch.stack([self._data.row(i) for i in (group if len(group) else groups[0][:1])])
        return torch.cat(
            [rows, rows[-1:].expand(self._size - len(rows), *rows.shape[1:])]
        ), position
