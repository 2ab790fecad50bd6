"""The results of `susx_bench.evaluate`: records, and a table of them."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from susx_bench.console import PlainConsole, print_whole, printable
from susx_bench.errors import OptionError, PackageMissingError
from susx_bench.leaderboard.metrics import METRICS
from susx_bench.leaderboard.results import html_table, terminal_table
from susx_bench.options import shown
from susx_bench.options.given import several
from susx_bench.records.frame import row_of
from susx_bench.records.record import Record

_WIDE = 400


@dataclass(frozen=True, eq=False, kw_only=True)
class Predicted:
    """The answers of a cell for all test images, with or without labels to score them.

    Attributes:
        method: The method.
        dataset: The dataset.
        encoder: The encoder.
        tune: The labels asked for to choose hyper-parameters.
        shots: Support images per class; 0 without support, or if the number differs by class.
        seed: Seed of the draw; 0 if nothing was drawn.
        classnames: Names of the K classes, in their order.
        top1: The class of each image, ``(N,)`` int64, in the order of the test set.
        margin: Its highest minus its second highest logit, ``(N,)`` float32 of half precision, in
            CLIP's units.
        confidence: Probability of that class under the softmax of the logits, ``(N,)`` float32 of
            half precision; None for a method whose scores are no logits.
        record: The record; None without test labels.
    """

    method: str
    dataset: str
    encoder: str
    tune: str
    shots: int
    seed: int
    classnames: tuple[str, ...]
    top1: NDArray[np.int64]
    margin: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    record: Record | None = None

    @property
    def names(self) -> list[str]:
        """The name of each image's class."""
        return [self.classnames[k] for k in self.top1.tolist()]

    def __repr__(self) -> str:
        scored = "not scored" if self.record is None else f"{self.record.accuracy:.1f} % right"
        return f"<Predicted: {self.method} on {self.dataset}, {len(self.top1):,} images, {scored}>"


class Results(Sequence[Record]):
    """Records in the order of the request: datasets, methods, shots, seeds.

    A terminal shows the table as text, a notebook as HTML.

    Args:
        records: The records.
        blank: Reasons why cells have no record, one line each.
        notes: Other notes of the run, one line each.
        metric: The number in the table: a record's ``accuracy``, ``mean_per_class``, ``macro_f1``,
            ``top5``, ``ece`` or ``nll``.
        predictions: The answers of each cell, also without labels to score them; in a run on
            several devices rank 0 has them.

    Attributes:
        records: See above, like the next three.
        blank: See above.
        notes: See above.
        metric: See above.
        predictions: See above.
    """

    def __init__(
        self,
        records: Sequence[Record],
        blank: Sequence[str] = (),
        notes: Sequence[str] = (),
        metric: str = "accuracy",
        predictions: Sequence[Predicted] = (),
    ) -> None:
        if not isinstance(metric, str) or metric not in METRICS:
            raise OptionError(f"metric {shown(metric)}: not one of {', '.join(METRICS)}.")
        self.records = list(several(records))
        if wrong := [entry for entry in self.records if not isinstance(entry, Record)]:
            raise OptionError(f"records: {shown(wrong[0])} is no Record.")
        self.blank = list(blank)
        self.notes = list(notes)
        self.metric = metric
        self.predictions = list(predictions)

    def by(self, metric: str) -> Results:
        """The same results with another number in their table, see `Results`.

        Raises:
            OptionError: If there is no such metric.
        """
        return Results(self.records, self.blank, self.notes, metric, self.predictions)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        return self.records[place]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def _lines(self) -> list[str]:
        """The lines below the table."""
        lines = [*(f"left blank: {reason}" for reason in self.blank), *self.notes]
        unscored = [prediction for prediction in self.predictions if prediction.record is None]
        for dataset in dict.fromkeys(prediction.dataset for prediction in unscored):
            methods = dict.fromkeys(
                prediction.method for prediction in unscored if prediction.dataset == dataset
            )
            lines.append(
                f"{', '.join(methods)} on {dataset}: predicted and not scored, since there are no "
                "test labels; results.predictions has the answers"
            )
        return lines

    def __repr__(self) -> str:
        file = io.StringIO()
        console = PlainConsole(file=file, width=_WIDE)
        order = list(dict.fromkeys(record.method for record in self.records))
        metric = METRICS[self.metric]
        for part in [*terminal_table(self.records, order, metric), *self._lines()]:
            print_whole(console, part)
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    def _repr_html_(self) -> str:
        order = list(dict.fromkeys(record.method for record in self.records))
        lines = (f"<p>{html.escape(printable(line))}</p>" for line in self._lines())
        return html_table(self.records, order, METRICS[self.metric]) + "\n".join(lines)

    def to_pandas(self) -> Any:
        """The records as a `pandas.DataFrame`, one row per record.

        Each hyper-parameter and each duration has a column: ``hparams.alpha``, ``seconds.search``.

        Raises:
            PackageMissingError: If pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise PackageMissingError("results.to_pandas()", "pandas") from error
        return pandas.DataFrame([row_of(record) for record in self.records])
