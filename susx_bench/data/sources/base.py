"""Where the images of a dataset lie, and which of them are in which split."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.spec import Split

if TYPE_CHECKING:
    from pathlib import Path

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


class Samples(Sequence[Sample]):
    """A list of images that takes little memory, however long: all keys are one text.

    Args:
        text: The keys, UTF-8, one after another.
        ends: Where each ends in `text`, ``(n,)``.
        labels: ``(n,)``.
    """

    def __init__(self, text: bytes, ends: NDArray[np.int64], labels: NDArray[np.int32]) -> None:
        self.text = text
        self.ends = ends
        self.labels = labels

    @classmethod
    def of(cls, samples: Iterable[tuple[str, int]]) -> Samples:
        """Take in keys and labels, one after another."""
        text, lengths, labels = bytearray(), array("q"), array("i")
        left = iter(samples)
        while some := list(islice(left, 10_000)):
            keys = [key.encode() for key, _ in some]
            text += b"".join(keys)
            lengths.extend(map(len, keys))
            labels.extend([label for _, label in some])
        ends = np.cumsum(np.array(lengths, np.int64))
        return cls(bytes(text), ends, np.array(labels, np.int32))

    @classmethod
    def unpacked(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Samples:
        """Read what `packed` gave."""
        text, ends, labels = (arrays[f"{name}.{part}"] for part in ("text", "ends", "labels"))
        return cls(text.tobytes(), ends, labels)

    def packed(self, name: str) -> dict[str, NDArray[Any]]:
        """Itself as named arrays."""
        text = np.frombuffer(self.text, np.uint8)
        return {f"{name}.text": text, f"{name}.ends": self.ends, f"{name}.labels": self.labels}

    @property
    def keys(self) -> Iterator[str]:
        """The keys alone."""
        text, ends = self.text, self.ends.tolist()
        return (text[start:end].decode() for start, end in pairwise(chain((0,), ends)))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, place: int, /) -> Sample: ...

    @overload
    def __getitem__(self, place: slice, /) -> list[Sample]: ...

    def __getitem__(self, place: int | slice, /) -> Sample | list[Sample]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        start = int(self.ends[at - 1]) if at else 0
        return Sample(self.text[start : int(self.ends[at])].decode(), int(self.labels[at]))

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, self.keys, self.labels.tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Samples):
            same = self.text == other.text and np.array_equal(self.ends, other.ends)
            return same and np.array_equal(self.labels, other.labels)
        if isinstance(other, list):
            return list(self) == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self[:5])}{', ...' if len(self) > 5 else ''})"


def pairs_of(samples: Sequence[Sample]) -> Iterable[tuple[str, int]]:
    """Keys and labels of a list of images, in the quickest way."""
    if isinstance(samples, Samples):
        return zip(samples.keys, samples.labels.tolist(), strict=True)
    return samples


def labels_of(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Labels of a list of images, ``(n,)``."""
    if isinstance(samples, Samples):
        return samples.labels.astype(np.int64)
    return np.array([sample.label for sample in samples], dtype=np.int64)


class Source(ABC):
    """A copy of a dataset.

    Attributes:
        where: The folder or repository, for messages.
        protocol: Whose split it holds.
        sizes: How many images each split must have; empty where nobody published it.
        classnames: Canonical class names.
        remarks: What whoever uses the copy should know, a line each: what is left out of it, and
            what its names are taken for. Listing a split may add some.
        lender: Name of the dataset whose images those of train are; empty where they are its own.
    """

    lender: str = ""
    where: str
    protocol: str
    sizes: Mapping[Split, int]
    classnames: tuple[str, ...]
    remarks: list[str]

    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """The splits there are."""

    @abstractmethod
    def index(self, split: Split) -> Sequence[Sample]:
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

    def path(self, sample: Sample) -> Path | None:
        """The image's own file; None where it lies in a file of several."""
        return None

    @property
    def pinned(self) -> bool:
        """Whether `state` already says what the images hold, as a commit does."""
        return False

    @abstractmethod
    def state(self, samples: Sequence[Sample]) -> Any:
        """What changes where the content of the images does, without reading them: JSON."""
