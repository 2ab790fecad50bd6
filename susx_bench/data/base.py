"""What every dataset and every support set is: samples in a fixed order, served in fixed blocks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.sources.base import File, Sample
from susx_bench.data.spec import SPLITS, DatasetSpec, Split
from susx_bench.errors import DatasetError
from susx_bench.records.files import sha256_json

if TYPE_CHECKING:
    from PIL.Image import Image

BLOCK = 64
"""Rows computed together, always. Matrix products change their last bits with the shape of the
batch, so no option changes this number; options change how many blocks travel together."""


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

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
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


class Rows(Protocol):
    """Rows that are read when they are asked for; a tensor is some."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, position: int, /) -> Tensor:
        """The row at a position."""


class FeatureDataModule(BlockDataModule):
    """Features served to a `Classify` module.

    Args:
        features: In memory, ``(N, D)``.
        patches: Features of each image's patches, N times ``(P, D)``; a row is then ``(1 + P, D)``,
            the image's own feature first.
    """

    def __init__(self, features: Tensor, patches: Rows | None = None) -> None:
        super().__init__()
        self.features = features
        self.patches = patches

    def __len__(self) -> int:
        return len(self.features)

    def row(self, position: int) -> Tensor:
        row = self.features[position]
        if self.patches is None:
            return row
        return torch.cat([row[None], self.patches[position].to(row.dtype)])


class ImageDataModule(BlockDataModule):
    """Labelled images in a fixed order: a split of a dataset, or a support set.

    Attributes:
        source: What the keys of the samples are keys of, such as ``digits/test``.
        classnames: Canonical class names, in canonical order.
        transform: Image to the tensor an encoder reads; set before the images are served.
        tolerant: Whether an image that cannot be read becomes a row of NaN; else it is an error.
        features: Features ``(n, D)`` that somebody gave in place of the images; mostly None.
    """

    source: str
    classnames: tuple[str, ...]
    tolerant: bool = False
    features: Tensor | None = None
    transform: Callable[[Image], Tensor]

    @property
    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """The images and their labels."""

    @abstractmethod
    def image(self, sample: Sample) -> Image:
        """Read one image, RGB.

        Raises:
            DatasetError: If it cannot be read.
        """

    def __len__(self) -> int:
        return len(self.samples)

    def row(self, position: int) -> Tensor:
        return self.transform(self.image(self.samples[position]))

    @cached_property
    def labels(self) -> Tensor:
        """Labels of `samples`, ``(n,)`` int64."""
        return torch.tensor([sample.label for sample in self.samples], dtype=torch.int64)

    @cached_property
    def sha256(self) -> str:
        """Hash of `samples`: where from, keys, labels and order."""
        return self.list_sha256(self.samples)

    def list_sha256(self, samples: Sequence[Sample]) -> str:
        """Hash of a list of samples: where from, keys, labels and order."""
        return sha256_json([self.source, [[sample.key, sample.label] for sample in samples]])

    def state(self, samples: Sequence[Sample]) -> Any:
        """Describe, without reading them, what the images of a list are now, as JSON.

        It changes where their content does, as the sizes and times of files do; None for images
        that never change under their names.
        """
        return None

    @property
    def pinned(self) -> bool:
        """Whether `state` already says what the images hold, as a commit or a hash does."""
        return False

    def content(self, sample: Sample) -> bytes:
        """Read the bytes that an image is: its file, or its pixels where it is no file.

        Raises:
            OSError: If the file cannot be read.
        """
        return self.image(sample).tobytes()


class Part(ImageDataModule):
    """Some images of another list, in an order of their own.

    Args:
        whole: The list.
        positions: Which images, as positions in it.
    """

    def __init__(self, whole: ImageDataModule, positions: Sequence[int]) -> None:
        super().__init__()
        self.whole = whole
        self.source = whole.source
        self.classnames = whole.classnames
        self._samples = [whole.samples[i] for i in positions]

    @property
    def samples(self) -> Sequence[Sample]:
        return self._samples

    def image(self, sample: Sample) -> Image:
        return self.whole.image(sample)

    def state(self, samples: Sequence[Sample]) -> Any:
        return self.whole.state(samples)

    @property
    def pinned(self) -> bool:
        return self.whole.pinned

    def content(self, sample: Sample) -> bytes:
        return self.whole.content(sample)


@dataclass(frozen=True)
class Where:
    """Where the images of a dataset are looked for.

    Attributes:
        root: Folder of local data, with a folder a dataset.
        source: ``folder``, ``hub``, ``hf:ORG/NAME[@REVISION]``, or ``auto``: the folder where
            there is one, else the hub.
        split_file: Split file in place of the published one.
        skip_bad: Whether images that cannot be decoded are left out; else they are an error.
        image_column: Column of a table's images; where None, one of the usual names.
        label_column: Column of its labels, likewise.
        classnames: File of class names, one a line, for data of the user's own.
    """

    root: Path | None = None
    source: str = "auto"
    split_file: Path | None = None
    skip_bad: bool = False
    image_column: str | None = None
    label_column: str | None = None
    classnames: Path | None = None


class BenchDataModule(ImageDataModule):
    """One split of a dataset: its facts, and where the images are.

    A subclass gives `spec`, `index` and `image`; everything else is checked here.

    Args:
        split: Which split to serve.
        where: Where its images are looked for.

    Attributes:
        protocol: Whose split it is.
        sizes: Number of images each split must have; empty where nobody published it.
    """

    spec: ClassVar[DatasetSpec]

    def __init__(self, split: Split, where: Where = Where()) -> None:
        super().__init__()
        self.split = split
        self.where = where
        self.source = f"{self.spec.name}/{split}"
        self.classnames = self.spec.classnames

    @property
    def protocol(self) -> str:
        """Whose split it is."""
        return self.spec.protocol

    @property
    def sizes(self) -> Mapping[Split, int]:
        """Number of images each split must have; empty where nobody published it."""
        return self.spec.sizes

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits there are."""
        return tuple(split for split in SPLITS if split in self.spec.sizes)

    @property
    def origin(self) -> str:
        """Folder or repository the images come from, for messages."""
        return "the package"

    @property
    def remarks(self) -> Sequence[str]:
        """What whoever uses the copy should know, a line each; listing a split may add some."""
        return ()

    @abstractmethod
    def index(self, split: Split) -> list[Sample]:
        """List the samples of a split, in the split's own order."""

    def image(self, sample: Sample) -> Image:
        try:
            return decode(self.read(sample))
        except (BadImageError, OSError) as error:
            raise DatasetError(
                f"{self.spec.name}: {self.split} image {sample.key} in {self.origin} cannot be "
                f"read: {error}. Mend the file, or give --on-bad-image skip, which is recorded; "
                f"`susx-bench data check {self.spec.name}` lists all such images."
            ) from error

    def files(self, samples: Sequence[Sample]) -> list[File]:
        """Where some of the split's images are stored."""
        return [File((self.split, sample.key)) for sample in samples]

    def read(self, sample: Sample) -> bytes:
        """Read an image's file, not decoded; not implemented where images are no files."""
        raise NotImplementedError

    @cached_property
    def listed(self) -> Sequence[Sample]:
        """The split's images, checked against the facts.

        Raises:
            DatasetError: If there is no such split, it is empty, or the count or a label is not
                what the facts say.
        """
        name = self.spec.name
        if self.split not in self.splits:
            raise DatasetError(
                f"{name}: {self.origin} has no {self.split} split, only {', '.join(self.splits)}."
            )
        samples = self.index(self.split)
        want, classes = self.sizes.get(self.split, len(samples)), len(self.classnames)
        if len(samples) != want:
            raise DatasetError(
                f"{name}: {self.split} has {len(samples)} images in {self.origin}, the published "
                f"split has {want}. If that is meant, give a split file of your own with "
                "--split-file."
            )
        if not samples:
            raise DatasetError(f"{name}: {self.split} has no images in {self.origin}.")
        for key, label in samples:
            if not 0 <= label < classes:
                raise DatasetError(
                    f"{name}: {self.split} image {key} has label {label}, but there are "
                    f"{classes} classes."
                )
        return samples

    @cached_property
    def skipped(self) -> list[str]:
        """Keys of the images left out because they cannot be decoded; only where asked for."""
        if not self.where.skip_bad:
            return []
        return unreadable(self)

    @cached_property
    def samples(self) -> Sequence[Sample]:
        bad = set(self.skipped)
        return [sample for sample in self.listed if sample.key not in bad]


def unreadable(data: BenchDataModule) -> list[str]:
    """Keys of the images of a split that cannot be decoded, in its order."""

    def fails(sample: Sample) -> bool:
        try:
            data.image(sample)
        except DatasetError:
            return True
        return False

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        bad = list(pool.map(fails, data.listed))
    return [sample.key for sample, wrong in zip(data.listed, bad, strict=True) if wrong]
