"""Lists of images: the samples, their labels, and how to read one image. No torch, no Trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.sources.base import Sample, Samples, labels_of, pairs_of
from susx_bench.records.files import sha256_json_pairs

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Images(ABC):
    """Labelled images in a fixed order: a split of a dataset, or a support set.

    `susx_bench.features.datamodules.ImageDataModule` wraps one where a Trainer runs.

    Attributes:
        name: Name of the list, such as ``digits/test``; keys are unique within it.
        classnames: Canonical class names, in canonical order.
        tolerant: Whether an image that cannot be read becomes a row of NaN instead of an error.
        features: Unit features ``(n, D)`` that replace the images; None where images exist.
    """

    name: str
    classnames: tuple[str, ...]
    tolerant: bool = False
    features: Tensor | None = None

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

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels of `samples`, ``(n,)``."""
        return labels_of(self.samples)

    @cached_property
    def sha256(self) -> str:
        """Hash of `samples`: the name of the list, keys, labels and order."""
        return self.list_sha256(self.samples)

    def list_sha256(self, samples: Sequence[Sample]) -> str:
        """Hash of a list of samples: the name of the list, keys, labels and order."""
        return sha256_json_pairs(self.name, pairs_of(samples))

    def state(self, samples: Sequence[Sample]) -> Any:
        """Describe the current state of the images as JSON, without reading them.

        It changes with their content, like the sizes and times of files; None for images that
        never change.
        """
        return None

    @property
    def pinned(self) -> bool:
        """Whether `state` identifies the content of the images, like a commit or a hash."""
        return False

    def content(self, sample: Sample) -> bytes:
        """Read the bytes of an image: its file, or its pixels if it is no file.

        Raises:
            OSError: If the file cannot be read.
        """
        return self.image(sample).tobytes()


class Subset(Images):
    """Some images of another list, in any order.

    Args:
        whole: The list.
        positions: Positions of the images in it.
    """

    def __init__(self, whole: Images, positions: Sequence[int]) -> None:
        self.whole = whole
        self.name = whole.name
        self.classnames = whole.classnames
        samples = whole.samples
        if isinstance(samples, Samples):
            self._samples = samples.take(positions)
        else:
            self._samples = [samples[i] for i in positions]

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
