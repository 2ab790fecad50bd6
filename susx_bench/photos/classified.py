"""Photographs and what they were taken for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from susx_bench.photos.classifier import Classifier
from susx_bench.photos.photographs import Photos

if TYPE_CHECKING:
    import pyarrow as pa

GIVEN, SURE, UNSURE = "given", "predicted", "unsure"
COLUMNS = (
    *("file", "class", "probability", "second_class", "second_probability", "margin", "status"),
)


@dataclass(frozen=True)
class Classified:
    """Photographs and what they were taken for.

    Attributes:
        classifier: What answered.
        why: Why this method, in a line.
        files: Name of each photograph that could be read.
        labels: Its class, ``(N,)``.
        seconds: The next class, ``(N,)``; -1 for a photograph whose class was given.
        probabilities: Of the two, and the margin, ``(N, 3)``; NaN where the class was given.
        statuses: ``predicted``, ``unsure`` or ``given``, of each.
        skipped: Photographs that could not be read, and why.
        photos: The photographs; None where there were only features.
        matched: Whether probabilities are only as sure as the encoder's own, on average.
    """

    classifier: Classifier
    why: str
    files: tuple[str, ...]
    labels: Tensor
    seconds: Tensor
    probabilities: Tensor
    statuses: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    photos: Photos | None = field(default=None, repr=False, compare=False)
    matched: bool = False

    def __repr__(self) -> str:
        known = [self.classifier.classnames[label] for label in self.labels.tolist()]
        counts = ", ".join(f"{name} {n}" for name, n in Counter(known).most_common(5))
        return (
            f"<Classified: {len(self.files)} photographs ({counts}), {len(self.skipped)} skipped>"
        )

    @property
    def calibration(self) -> str:
        """What the probabilities are worth, in a line."""
        found, temperature = self.classifier.calibration, self.classifier.temperature
        if found is not None:
            return (
                f"probabilities: temperature {temperature:.3g}, fitted on {found.images} labelled "
                f"images while they were held out. There {found.accuracy:.1f} % are right, ECE "
                f"{found.ece:.1f} points, NLL {found.nll:.3f}"
            )
        if self.matched:
            return (
                "probabilities: not calibrated on any label; on average as sure as the encoder's "
                "own logit scale makes them"
            )
        return "probabilities: not calibrated on any label; they follow the encoder's logit scale"

    def rows(self) -> list[tuple[Any, ...]]:
        """The table's rows, in the order of the photographs, see `COLUMNS`."""
        names = self.classifier.classnames
        found = []
        for file, label, second, (p, q, margin), status in zip(
            self.files,
            self.labels.tolist(),
            self.seconds.tolist(),
            self.probabilities.tolist(),
            self.statuses,
            strict=True,
        ):
            known = status != GIVEN
            found.append(
                (file, names[label])
                + ((p, names[second], q, margin) if known else (None,) * 4)
                + (status,)
            )
        return found

    @property
    def table(self) -> pa.Table:
        """The answers as an Arrow table, a row a photograph, see `COLUMNS`."""
        import pyarrow as pa

        text, number = pa.string(), pa.float32()
        kinds = (text, text, number, text, number, number, text)
        columns = list(zip(*self.rows(), strict=True)) or [()] * len(COLUMNS)
        return pa.table(
            {
                name: pa.array(values, kind)
                for name, values, kind in zip(COLUMNS, columns, kinds, strict=True)
            }
        )

    def to_pandas(self) -> Any:
        """The answers as a pandas data frame; pandas must be installed."""
        return self.table.to_pandas()
