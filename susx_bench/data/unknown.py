"""Leave classes out of a dataset but keep their test images, to test uncertainty."""

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
"""Label of a test image of a class that was left out."""


def renumbered(unknown_names: str, classnames: Sequence[str]) -> list[int]:
    """Number of each class among the known ones, or `UNKNOWN`.

    Args:
        unknown_names: Names of the unknown classes, separated by commas.
        classnames: All classes.

    Raises:
        OptionError: If a name is no class, or fewer than two classes are left.
    """
    names = [name.strip() for name in unknown_names.split(",") if name.strip()]
    labels = [label_of(name, classnames) for name in names]
    if wrong := [name for name, label in zip(names, labels, strict=True) if label is None]:
        raise OptionError(f"--unknown: no class is called {unknown(wrong, classnames)}.")
    known = [label for label in range(len(classnames)) if label not in labels]
    if len(known) < 2 or not names:
        raise OptionError(
            f"--unknown {unknown_names}: {len(known)} of {len(classnames)} classes are known "
            "then; at least 2 are, and not all."
        )
    return [known.index(label) if label in known else UNKNOWN for label in range(len(classnames))]


def open_set(dataset: Dataset, unknown_names: str) -> Dataset:
    """A dataset without some classes; their test images stay, with the label `UNKNOWN`.

    Args:
        dataset: The dataset.
        unknown_names: See `renumbered`.

    Raises:
        OptionError: As `renumbered`.
    """
    spec = dataset.spec
    numbers = renumbered(unknown_names, spec.classnames)
    known_names = [name for name, n in zip(spec.classnames, numbers, strict=True) if n != UNKNOWN]
    return Dataset(
        replace(spec, classnames=tuple(known_names), sizes={}),
        dataset.where,
        lambda: _OpenSource(dataset.source, numbers, tuple(known_names)),
        own=dataset.own,
        unknown=UNKNOWN,
    )


class _OpenSource(Source):
    """A source without some classes; their images stay in the test split only."""

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
