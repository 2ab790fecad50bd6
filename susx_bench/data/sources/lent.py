"""A test set whose training images are another dataset's: ImageNet's, of its variants."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from susx_bench.data.sources.base import Sample, Samples, Source, pairs_of
from susx_bench.data.spec import DatasetSpec, Split
from susx_bench.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image


class LentSource(Source):
    """The test images of one source, and the training images of another for the same classes.

    Keys of training images begin with the lender's name.

    Args:
        own: Holds the test images.
        lender: Holds the training images.
        spec: The facts of the test set. Each of its classes is one or several of the lender's: it
            has the first alias of these, a code, as an alias.
        lent: The facts of the lender.

    Raises:
        DatasetError: If a class of the test set is no class of the lender.
    """

    def __init__(self, own: Source, lender: Source, spec: DatasetSpec, lent: DatasetSpec) -> None:
        self.where = f"{own.where} and {lender.where}"
        self.protocol = own.protocol
        self.sizes = own.sizes
        self.classnames = own.classnames
        self.remarks = own.remarks
        self._own = own
        self.lender = lent.name
        self._lender = lender
        self._prefix = f"{lent.name}:"
        codes = {lent.aliases[name][0]: place for place, name in enumerate(lent.classnames)}
        self._labels: dict[int, int] = {}
        for label, name in enumerate(spec.classnames):
            places = [codes[alias] for alias in spec.aliases[name] if alias in codes]
            if not places:
                raise DatasetError(f"{spec.name}: '{name}' is no class of {lent.name}.")
            self._labels |= dict.fromkeys(places, label)

    def splits(self) -> tuple[Split, ...]:
        return ("train", *self._own.splits())

    def index(self, split: Split) -> Sequence[Sample]:
        if split != "train":
            samples = self._own.index(split)
            self.remarks = self._own.remarks  # listing may have added some
            return samples
        pairs = pairs_of(self._lender.index("train"))
        return Samples.of(
            (self._prefix + key, self._labels[label])
            for key, label in pairs
            if label in self._labels
        )

    def _of(self, sample: Sample) -> tuple[Source, Sample]:
        """The source of an image, and its sample in that source."""
        if sample.key.startswith(self._prefix):
            return self._lender, sample._replace(key=sample.key.removeprefix(self._prefix))
        return self._own, sample

    def read(self, sample: Sample) -> bytes:
        source, inner = self._of(sample)
        return source.read(inner)

    def decode(self, content: bytes) -> Image:
        return self._own.decode(content)

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        return [(id(source), source.files([inner])[0]) for source, inner in map(self._of, samples)]

    def path(self, sample: Sample) -> Path | None:
        source, inner = self._of(sample)
        return source.path(inner)

    @property
    def pinned(self) -> bool:
        return self._own.pinned and self._lender.pinned

    def state(self, samples: Sequence[Sample]) -> Any:
        parts: dict[str, list[Sample]] = {"own": [], "lender": []}
        for source, inner in map(self._of, samples):
            parts["own" if source is self._own else "lender"].append(inner)
        lent = {"lender": self._lender.state(parts["lender"])} if parts["lender"] else {}
        # For test images alone, it equals the state without a lender.
        return [self._own.state(parts["own"]), lent] if lent else self._own.state(parts["own"])
