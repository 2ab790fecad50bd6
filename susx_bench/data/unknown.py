"""Classes that a method is not told of, and whose test images it is to be unsure about."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from susx_bench.data.dataset import Dataset
from susx_bench.data.named import label_of, unknown
from susx_bench.data.sources.base import Sample, Source
from susx_bench.data.spec import Split
from susx_bench.errors import OptionError

if TYPE_CHECKING:
    from PIL.Image import Image

UNKNOWN: Final = -1
"""Label of a test image of such a class."""


def renumbered(asked: str, classnames: Sequence[str]) -> list[int]:
    """For each class its number among the known ones, or `UNKNOWN`.

    Args:
        asked: Names of the unknown classes, with commas between them.
        classnames: All classes.

    Raises:
        OptionError: If a name is no class, or fewer than two classes are left.
    """
    names = [name.strip() for name in asked.split(",") if name.strip()]
    found = [label_of(name, classnames) for name in names]
    if wrong := [name for name, label in zip(names, found, strict=True) if label is None]:
        raise OptionError(f"--unknown: no class is called {unknown(wrong, classnames)}.")
    known = [label for label in range(len(classnames)) if label not in found]
    if len(known) < 2 or not names:
        raise OptionError(
            f"--unknown {asked}: {len(known)} of {len(classnames)} classes are known then; at "
            "least 2 are, and not all."
        )
    return [known.index(label) if label in known else UNKNOWN for label in range(len(classnames))]


def open_set(dataset: Dataset, asked: str) -> Dataset:
    """A dataset without some of its classes, whose test images are there with the label `UNKNOWN`.

    Args:
        dataset: The dataset.
        asked: As of `renumbered`.

    Raises:
        OptionError: As `renumbered`.
    """
    spec = dataset.spec
    numbers = renumbered(asked, spec.classnames)
    known = [name for name, n in zip(spec.classnames, numbers, strict=True) if n != UNKNOWN]
    return Dataset(
        replace(spec, classnames=tuple(known), sizes={}),
        dataset.where,
        lambda: _OpenSource(dataset.source, numbers, tuple(known)),
        own=dataset.own,
        unknown=UNKNOWN,
    )


class _OpenSource(Source):
    """A source without some classes; their images are left in the test split alone."""

    def __init__(self, source: Source, numbers: Sequence[int], known: tuple[str, ...]) -> None:
        self.where = source.where
        self.protocol = source.protocol
        self.sizes = {}
        self.classnames = known
        self.remarks = source.remarks
        self._source = source
        self._numbers = numbers

    def splits(self) -> tuple[Split, ...]:
        return self._source.splits()

    def index(self, split: Split) -> Sequence[Sample]:
        moved = [Sample(key, self._numbers[label]) for key, label in self._source.index(split)]
        self.remarks = self._source.remarks  # listing may have added some
        return [s for s in moved if split == "test" or s.label != UNKNOWN]

    def read(self, sample: Sample) -> bytes:
        return self._source.read(sample)

    def decode(self, content: bytes) -> Image:
        return self._source.decode(content)

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        return self._source.files(samples)

    def path(self, sample: Sample) -> Path | None:
        return self._source.path(sample)

    @property
    def pinned(self) -> bool:
        return self._source.pinned

    def state(self, samples: Sequence[Sample]) -> Any:
        return self._source.state(samples)
