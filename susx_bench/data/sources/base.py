"""Where the images of a dataset lie, and which of them are in which split."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from susx_bench.data.spec import Split

if TYPE_CHECKING:
    from PIL.Image import Image


def reason(error: BaseException) -> str:
    """What the error of a library says, in one line that ends with a full stop."""
    text = textwrap.shorten(str(error), 300, placeholder=" ...") or repr(error)
    return text if text.endswith(".") else f"{text}."


class Sample(NamedTuple):
    """One labelled image.

    Attributes:
        key: What identifies the image in its dataset: a relative path, or a split and a row.
        label: Class index in the dataset's canonical order.
    """

    key: str
    label: int


class Source(ABC):
    """A copy of a dataset.

    Attributes:
        where: The folder or repository, for messages.
        protocol: Whose split it holds.
        sizes: How many images each split must have; empty where nobody published it.
        classnames: Canonical class names.
        remarks: What whoever uses the copy should know, a line each: what is left out of it, and
            what its names are taken for. Listing a split may add some.
    """

    where: str
    protocol: str
    sizes: Mapping[Split, int]
    classnames: tuple[str, ...]
    remarks: list[str]

    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """The splits there are."""

    @abstractmethod
    def index(self, split: Split) -> list[Sample]:
        """List the images of a split, in the split's own order.

        Raises:
            DatasetError: If the list cannot be read, or names what is not there.
        """

    @abstractmethod
    def read(self, sample: Sample) -> bytes:
        """Read an image's file.

        Raises:
            OSError: If it cannot be read.
        """

    def decode(self, content: bytes) -> Image:
        """Make an RGB image of what `read` gives.

        Raises:
            BadImageError: If it is no image.
        """
        from susx_bench.data.decode import decode  # lists need neither numpy nor Pillow

        return decode(content)

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        """What is equal for two images that are one file, by a link of any kind."""
        return [sample.key for sample in samples]

    @property
    def pinned(self) -> bool:
        """Whether `state` already says what the images hold, as a commit does."""
        return False

    @abstractmethod
    def state(self, samples: Sequence[Sample]) -> Any:
        """What changes where the content of the images does, without reading them: JSON."""
