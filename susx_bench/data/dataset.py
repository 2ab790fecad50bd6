"""Datasets, each with its facts and a source of images, and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from susx_bench.data.decode import BadImageError
from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample, Source, labels_of
from susx_bench.data.sources.find import find_source
from susx_bench.data.spec import DatasetSpec, Split, Where
from susx_bench.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image


class Dataset:
    """A dataset: its facts, and its images, which are found on first use.

    Args:
        spec: The facts.
        where: Where its images are looked for.
        find: Finds the source of the images; by default where the facts say that they lie.
        remarks: Remarks for the user, one line each.
        own: Whether it is the user's own data, under a name that others may use as well.
        unknown: Label of test images of no class; None if every image has a class.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        where: Where | None = None,
        find: Callable[[], Source] | None = None,
        remarks: Sequence[str] = (),
        *,
        own: bool = False,
        unknown: int | None = None,
    ) -> None:
        self.spec = spec
        self.own = own
        self.unknown = unknown
        self.where = where or Where()
        self._find = find or (lambda: (spec.source or find_source)(spec, self.where))
        self._remarks = tuple(remarks)

    @cached_property
    def source(self) -> Source:
        """The source of the images; opened once for all splits, as a table is read as a whole.

        Raises:
            DatasetError: If the images are not found.
        """
        return self._find()

    @property
    def protocol(self) -> str:
        """The protocol of its split."""
        return self.source.protocol

    @property
    def is_published(self) -> bool:
        """Whether it is the published split, with all its faults."""
        return bool(self.spec.sizes) and self.protocol == self.spec.protocol

    @property
    def sizes(self) -> Mapping[Split, int]:
        """Number of images each split must have; empty if unpublished."""
        return self.source.sizes

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that exist."""
        return self.source.splits()

    @property
    def origin(self) -> str:
        """Folder or repository the images come from, for messages."""
        return self.source.where

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks for users of this copy, one line each; listing a split may add some."""
        return [*self.source.remarks, *self._remarks]

    def split(self, name: Split) -> DatasetSplit:
        """The images of a split, listed on first use."""
        return DatasetSplit(self, name)


class DatasetSplit(Images):
    """The images of one split of a dataset, checked against the facts.

    Args:
        dataset: The dataset.
        name: The split.
    """

    def __init__(self, dataset: Dataset, name: Split) -> None:
        self.dataset = dataset
        self.spec = dataset.spec
        self.split: Split = name
        self.name = f"{dataset.spec.name}/{name}"
        self.classnames = dataset.spec.classnames

    @cached_property
    def listed(self) -> Sequence[Sample]:
        """The images of the split, also those that cannot be read.

        Raises:
            DatasetError: If the split does not exist or is empty, or its size or a label does not
                match the facts.
        """
        name, dataset = self.spec.name, self.dataset
        if self.split not in dataset.splits:
            raise DatasetError(
                f"{name}: {dataset.origin} has no {self.split} split, only "
                f"{', '.join(dataset.splits)}."
            )
        samples = dataset.source.index(self.split)
        want, classes = dataset.sizes.get(self.split, len(samples)), len(self.classnames)
        if len(samples) != want:
            raise DatasetError(
                f"{name}: {self.split} has {len(samples)} images in {dataset.origin}, the "
                f"published split has {want}. If that is meant, give a split file of your own with "
                "--split-file."
            )
        if not samples:
            raise DatasetError(
                f"{name}: {self.split} has no images in {dataset.origin}. Add some, or take the "
                "split out of the split file or the folder."
            )
        labels = labels_of(samples)
        wrong = (labels < 0) | (labels >= classes)
        if dataset.unknown is not None and self.split == "test":
            wrong &= labels != dataset.unknown
        for place in np.flatnonzero(wrong).tolist():
            key, label = samples[place]
            raise DatasetError(
                f"{name}: {self.split} image {key} has label {label}, but there are "
                f"{classes} classes."
            )
        return samples

    @cached_property
    def skipped(self) -> list[str]:
        """Keys of images left out because they cannot be decoded; only with ``skip_bad``."""
        if not self.dataset.where.skip_bad:
            return []
        return unreadable(self)

    @cached_property
    def samples(self) -> Sequence[Sample]:
        samples = self.listed
        if bad := set(self.skipped):
            samples = [sample for sample in samples if sample.key not in bad]
        if self.dataset.where.limit is None or self.split != "test":
            return samples
        kept = first_of_each(labels_of(samples).tolist(), self.dataset.where.limit)
        return [samples[place] for place in kept]

    def image(self, sample: Sample) -> Image:
        source = self.dataset.source
        try:
            return source.decode(source.read(sample))
        except (BadImageError, OSError) as error:
            raise DatasetError(
                f"{self.spec.name}: {self.split} image {sample.key} in {source.where} cannot be "
                f"read: {error}. Mend the file, or give --on-bad-image skip, which is recorded; "
                f"`susx-bench data check {self.spec.name}` lists all such images."
            ) from error

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        """One value per image; equal for two images that are one file."""
        return self.dataset.source.files(samples)

    def state(self, samples: Sequence[Sample]) -> Any:
        return self.dataset.source.state(samples)

    @property
    def pinned(self) -> bool:
        return self.dataset.source.pinned

    def content(self, sample: Sample) -> bytes:
        return self.dataset.source.read(sample)


def first_of_each(labels: Iterable[int], count: int) -> list[int]:
    """Places of the first `count` labels of each class, in their order."""
    seen: Counter[int] = Counter()
    places = []
    for place, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= count:
            places.append(place)
    return places


def unreadable(split: DatasetSplit) -> list[str]:
    """Keys of the images of a split that cannot be decoded, in its order."""

    def fails(sample: Sample) -> bool:
        try:
            split.image(sample)
        except DatasetError:
            return True
        return False

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        bad = list(pool.map(fails, split.listed))
    return [sample.key for sample, wrong in zip(split.listed, bad, strict=True) if wrong]
