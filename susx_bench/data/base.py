"""What every dataset and every support set is: samples in a fixed order, served in fixed blocks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from susx_bench.errors import DatasetError
from susx_bench.records.files import sha256_json

if TYPE_CHECKING:
    from PIL.Image import Image

Split = Literal["train", "val", "test"]

BLOCK = 64
"""Rows computed together, always. Matrix products change their last bits with the shape of the
batch, so no option changes this number; options change how many blocks travel together."""


class Sample(NamedTuple):
    """One labelled image.

    Attributes:
        key: What identifies the image in its dataset: a relative path, or a row number.
        label: Class index in the dataset's canonical order.
    """

    key: str
    label: int


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The facts of a dataset.

    Attributes:
        name: Short name, as on the command line.
        title: Name for people.
        classnames: Canonical class names, in canonical order.
        sizes: Published number of images of each split.
        template: Prompt with one ``{}`` for the class name.
        licence: Terms of the images.
        protocol: Whose split it is.
        bibtex_key: Citation.
        support: Support set used in the name-only setting where none is asked for.
    """

    name: str
    title: str
    classnames: tuple[str, ...]
    sizes: dict[Split, int]
    template: str
    licence: str
    protocol: str
    bibtex_key: str
    support: str | None = None


class Blocks(Dataset[tuple[Tensor, Tensor]]):
    """Rows in blocks of a fixed size and membership; the last block is padded.

    Item i is ``(rows (size, ...), position (size,))``; padding repeats a row and has position -1.
    Blocks past the last row are all padding, so that every rank has as many.

    Args:
        read: Gives the row at a position.
        rows: Number of rows, at least 1.
        size: Rows a block.
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


class BlockDataModule(LightningDataModule, ABC):
    """Serves rows to `Trainer.predict`: every row once, in blocks that no option changes.

    Attributes:
        batch_size: Rows that travel together, rounded up to whole blocks.
        workers: Processes that read rows.
        block: Rows a block.
    """

    batch_size: int = BLOCK
    workers: int = 0
    block: int = BLOCK

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def row(self, position: int) -> Tensor:
        """The row at a position."""

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """This rank's share of the blocks: every ``world_size``-th one."""
        rank, world = 0, 1
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
        each = math.ceil(math.ceil(len(self) / self.block) / world)
        return DataLoader(
            Blocks(self.row, len(self), self.block, each * world),
            batch_size=math.ceil(self.batch_size / self.block),
            sampler=range(rank, each * world, world),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )


class FeatureDataModule(BlockDataModule):
    """Features in memory, ``(N, D)``, served to a `Classify` module."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def row(self, position: int) -> Tensor:
        return self.features[position]


class ImageDataModule(BlockDataModule):
    """Labelled images in a fixed order: a split of a dataset, or a support set.

    Attributes:
        source: What the keys of the samples are keys of, such as ``digits/test``.
        classnames: Canonical class names, in canonical order.
        transform: Image to the tensor an encoder reads; set before the images are served.
    """

    source: str
    classnames: tuple[str, ...]
    transform: Callable[[Image], Tensor]

    @property
    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """The images and their labels."""

    @abstractmethod
    def image(self, sample: Sample) -> Image:
        """Read one image, RGB."""

    def __len__(self) -> int:
        return len(self.samples)

    def row(self, position: int) -> Tensor:
        return self.transform(self.image(self.samples[position]))

    @cached_property
    def labels(self) -> Tensor:
        """Labels of `samples`, ``(n,)`` int64."""
        return torch.tensor([sample.label for sample in self.samples])

    @cached_property
    def sha256(self) -> str:
        """Hash of the list of samples: where from, keys, labels and order."""
        return sha256_json([self.source, [[sample.key, sample.label] for sample in self.samples]])


class BenchDataModule(ImageDataModule):
    """One split of a dataset: its facts, and where the images are.

    A subclass gives `spec`, `index` and `image`; everything else is checked here.

    Args:
        split: Which split to serve.
    """

    spec: ClassVar[DatasetSpec]

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.split = split
        self.source = f"{self.spec.name}/{split}"
        self.classnames = self.spec.classnames

    @abstractmethod
    def index(self, split: Split) -> list[Sample]:
        """List the samples of a split, in the split's own order."""

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """The split's images, checked against the facts.

        Raises:
            DatasetError: If the count or a label is not what the facts say.
        """
        samples = self.index(self.split)
        want, classes = self.spec.sizes[self.split], len(self.classnames)
        if len(samples) != want:
            raise DatasetError(
                f"{self.spec.name}: {self.split} has {len(samples)} images, the published split "
                f"has {want}."
            )
        for key, label in samples:
            if not 0 <= label < classes:
                raise DatasetError(
                    f"{self.spec.name}: {self.split} image {key} has label {label}, but there are "
                    f"{classes} classes."
                )
        return samples
