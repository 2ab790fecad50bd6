"""What `susx_bench.evaluate` returns: records, and the table of them."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, overload

from susx_bench.console import PlainConsole, print_whole, printable
from susx_bench.errors import OptionError, PackageMissingError
from susx_bench.leaderboard.metrics import METRICS
from susx_bench.leaderboard.results import html_table, terminal_table
from susx_bench.records.frame import row_of
from susx_bench.records.record import Record

_WIDE = 400


class Results(Sequence[Record]):
    """Records in the order of what was asked: datasets, methods, shots, seeds.

    A terminal shows the table, a notebook the same as HTML.

    Args:
        records: The records.
        blank: Why cells have no record, a line each.
        notes: What else was told, a line each.
        metric: What the table shows: a record's ``accuracy``, ``mean_per_class``, ``macro_f1``,
            ``top5``, ``ece`` or ``nll``.

    Attributes:
        records: See above, like the next three.
        blank: See above.
        notes: See above.
        metric: See above.
    """

    def __init__(
        self,
        records: Sequence[Record],
        blank: Sequence[str] = (),
        notes: Sequence[str] = (),
        metric: str = "accuracy",
    ) -> None:
        if metric not in METRICS:
            raise OptionError(f"metric '{metric}': not one of {', '.join(METRICS)}.")
        self.records = list(records)
        self.blank = list(blank)
        self.notes = list(notes)
        self.metric = metric

    def by(self, metric: str) -> Results:
        """The same results with another number in their table, see `Results`.

        Raises:
            OptionError: If there is no such metric.
        """
        return Results(self.records, self.blank, self.notes, metric)

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
        """What stands below the table."""
        return [*(f"left blank: {reason}" for reason in self.blank), *self.notes]

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
        """A `pandas.DataFrame` with a row for each record.

        Hyper-parameters and seconds have a column each, ``hparams.alpha`` and ``seconds.search``.

        Raises:
            PackageMissingError: If pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise PackageMissingError("results.to_pandas()", "pandas") from error
        return pandas.DataFrame([row_of(record) for record in self.records])
