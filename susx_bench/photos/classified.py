"""Photographs and their predicted classes."""

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
    """Photographs and their predicted classes.

    Attributes:
        classifier: The classifier that answered.
        why: The reason for its method, in one line.
        files: Name of each photograph that could be read.
        labels: Its class, ``(N,)``.
        seconds: The next class, ``(N,)``; -1 for a photograph whose class was given.
        probabilities: Of the two classes, and the margin, ``(N, 3)``; NaN if the class was given.
        statuses: ``predicted``, ``unsure`` or ``given``, for each.
        skipped: Photographs that could not be read, with the reason.
        photos: The photographs; None if there were only features.
        matched: Whether the mean confidence was only matched to the encoder's own.
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
        names = [self.classifier.classnames[label] for label in self.labels.tolist()]
        counts = ", ".join(f"{name} {n}" for name, n in Counter(names).most_common(5))
        return (
            f"<Classified: {len(self.files)} photographs ({counts}), {len(self.skipped)} skipped>"
        )

    @property
    def calibration(self) -> str:
        """The quality of the probabilities, in one line."""
        measured, temperature = self.classifier.calibration, self.classifier.temperature
        if measured is not None:
            return (
                f"probabilities: temperature {temperature:.3g}, fitted on {measured.images} "
                f"labelled images while they were held out. There {measured.accuracy:.1f} % are "
                f"right, ECE {measured.ece:.1f} points, NLL {measured.nll:.3f}"
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
        rows = []
        for file, label, second, (p, q, margin), status in zip(
            self.files,
            self.labels.tolist(),
            self.seconds.tolist(),
            self.probabilities.tolist(),
            self.statuses,
            strict=True,
        ):
            is_predicted = status != GIVEN
            rows.append(
                (file, names[label])
                + ((p, names[second], q, margin) if is_predicted else (None,) * 4)
                + (status,)
            )
        return rows

    @property
    def table(self) -> pa.Table:
        """The answers as an Arrow table, one row per photograph, see `COLUMNS`."""
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
