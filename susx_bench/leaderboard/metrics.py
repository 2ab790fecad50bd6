"""The metrics that a table can show: top-1 accuracy, or another number of a record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from susx_bench.leaderboard.statistics import over_seeds, tail, wilson
from susx_bench.records.record import Record


@dataclass(frozen=True)
class Metric:
    """A number of a record that a table can show.

    Attributes:
        name: The record's field.
        label: Its name in a sentence.
        unit: Unit, written after the label.
        digits: Decimals in a table.
        higher: Whether higher is better.
        counts: Whether it is a share of the test images, so that one run has Wilson's interval.
        most: Largest possible value.
    """

    name: str
    label: str
    unit: str = "in %"
    digits: int = 1
    higher: bool = True
    counts: bool = False
    most: float = 100.0

    @property
    def heading(self) -> str:
        """Label and unit, and the better direction if it is not obvious."""
        return f"{self.label} {self.unit}" + ("" if self.higher else ", lower is better")

    @property
    def sign(self) -> int:
        """1 if higher is better, else -1."""
        return 1 if self.higher else -1

    def of(self, record: Record) -> float | None:
        """The number of a record; None if it has none."""
        value: float | None = getattr(record, self.name)
        return value

    def why_blank(self, record: Record) -> str:
        """Why a record lacks the number."""
        return record.blank.get(
            self.name, "the record was measured before it was counted (run --force counts it)"
        )

    def interval(self, values: list[float], n_test: int) -> tuple[float, float] | None:
        """95 % interval: Student's over several runs, Wilson's for one; None if neither applies."""
        if len(values) > 1:
            return over_seeds(values, self.most)
        if not self.counts:
            return None
        return wilson(round(values[0] * n_test / 100), n_test)

    def worst(self, values: list[float]) -> float:
        """Mean of the worst tenth of the runs."""
        return self.sign * tail([self.sign * value for value in values])


ACCURACY: Final = Metric("accuracy", "top-1 accuracy", counts=True)
"""The default metric of every leaderboard."""

METRICS: Final = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric("mean_per_class", "mean over classes of the accuracy"),
        Metric("macro_f1", "macro F1"),
        Metric("top5", "top-5 accuracy", counts=True),
        Metric("ece", "expected calibration error", "in points", higher=False),
        Metric("nll", "negative log-likelihood", "in nats", digits=3, higher=False, most=math.inf),
        Metric("auroc", "AUROC of known against unknown images"),
        Metric("fpr95", "false positives at 95 % of the known images", higher=False),
    )
}
"""Metrics by the name of the record's field."""
