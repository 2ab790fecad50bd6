"""Sources of images: the copies of a dataset, which list the images of each split."""

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


_CHUNK = 10_000  # images whose keys are Python's texts at the same time


def reason(error: BaseException) -> str:
    """The message of a library's error, as one line that ends with a full stop."""
    text = textwrap.shorten(str(error), 300, placeholder=" ...") or repr(error)
    return text if text.endswith(".") else f"{text}."


class Sample(NamedTuple):
    """One labelled image.

    Attributes:
        key: Identifies the image in its dataset: a relative path, or a split and a row.
        label: Class index in the dataset's canonical order.
    """

    key: str
    label: int


class Samples(Sequence[Sample]):
    """A list of images that takes little memory: all keys are stored in one text.

    Args:
        text: The keys, UTF-8, concatenated.
        ends: The end of each key in `text`, ``(n,)``.
        labels: ``(n,)``.
    """

    def __init__(self, text: bytes, ends: NDArray[np.int64], labels: NDArray[np.int32]) -> None:
        self.text = text
        self.ends = ends
        self.labels = labels

    @classmethod
    def of(cls, samples: Iterable[tuple[str, int]]) -> Samples:
        """Collect pairs of keys and labels."""
        text, lengths, labels = bytearray(), array("q"), array("i")
        left = iter(samples)
        while chunk := list(islice(left, _CHUNK)):
            keys = [key.encode() for key, _ in chunk]
            text += b"".join(keys)
            lengths.extend(map(len, keys))
            labels.extend([label for _, label in chunk])
        ends = np.cumsum(np.array(lengths, np.int64))
        return cls(bytes(text), ends, np.array(labels, np.int32))

    @classmethod
    def numbered(cls, prefix: str, labels: Sequence[int | None]) -> Samples:
        """The rows of a table that have a label. Their keys are a prefix and the row's number."""
        rows = np.flatnonzero(np.array([label is not None for label in labels], bool))
        parts = (
            "".join([f"{prefix}{row}" for row in rows[i : i + _CHUNK].tolist()]).encode()
            for i in range(0, len(rows), _CHUNK)
        )
        digits = np.searchsorted(10 ** np.arange(1, 19), rows, side="right") + 1
        ends = np.cumsum(len(prefix.encode()) + digits)
        own = np.array([label for label in labels if label is not None], np.int32)
        return cls(b"".join(parts), ends, own)

    @classmethod
    def unpacked(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Samples:
        """Read the arrays of `packed`."""
        text, ends, labels = (arrays[f"{name}.{part}"] for part in ("text", "ends", "labels"))
        return cls(text.tobytes(), ends, labels)

    def packed(self, name: str) -> dict[str, NDArray[Any]]:
        """The list as named arrays."""
        text = np.frombuffer(self.text, np.uint8)
        return {f"{name}.text": text, f"{name}.ends": self.ends, f"{name}.labels": self.labels}

    @property
    def keys(self) -> Iterator[str]:
        """The keys alone."""
        text, ends = self.text, self.ends.tolist()
        return (text[start:end].decode() for start, end in pairwise(chain((0,), ends)))

    def take(self, places: Sequence[int]) -> list[Sample]:
        """The images at some places, each from 0 on."""
        at = np.array(places, np.int64)
        ends = self.ends[at]
        begins = np.where(at > 0, self.ends[at - 1], 0)
        spans = zip(begins.tolist(), ends.tolist(), self.labels[at].tolist(), strict=True)
        return [Sample(self.text[begin:end].decode(), label) for begin, end, label in spans]

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
    """Keys and labels of a list of images, in the fastest way."""
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
        protocol: The protocol of its split.
        sizes: Number of images each split must have; empty if unpublished.
        classnames: Canonical class names.
        remarks: Remarks for users of the copy, one line each, on what is left out and how names
            were read. Listing a split may add some.
        lender: Name of the dataset that lends the train images; empty if they are its own.
    """

    lender: str = ""
    where: str
    protocol: str
    sizes: Mapping[Split, int]
    classnames: tuple[str, ...]
    remarks: list[str]

    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """The splits of the copy."""

    @abstractmethod
    def index(self, split: Split) -> Sequence[Sample]:
        """List the images of a split, in the split's own order.

        Raises:
            DatasetError: If the list cannot be read, or names a missing image.
        """

    @abstractmethod
    def read(self, sample: Sample) -> bytes:
        """Read an image's file.

        Raises:
            OSError: If it cannot be read.
        """

    def decode(self, content: bytes) -> Image:
        """Decode the bytes of `read` into an RGB image.

        Raises:
            BadImageError: If it is no image.
        """
        from susx_bench.data.decode import decode  # Pillow is not needed for lists

        return decode(content)

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        """One value per image; equal for two images that are one file, also through links."""
        return [sample.key for sample in samples]

    def path(self, sample: Sample) -> Path | None:
        """The image's own file; None if it shares a file with others."""
        return None

    @property
    def pinned(self) -> bool:
        """Whether `state` identifies the content of the images, like a commit."""
        return False

    @abstractmethod
    def state(self, samples: Sequence[Sample]) -> Any:
        """A JSON value that changes with the content of the images, which are not read."""
