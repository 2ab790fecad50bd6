"""Tables of answers: Parquet, and CSV without formulas that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from susx_bench.console import FORMULA, printable


def escaped(text: str) -> str:
    """A text as a cell that a spreadsheet shows and does not run; `unescaped` gives it back."""
    plain = printable(text)
    return f"'{plain}" if plain.lstrip("'").startswith(FORMULA) else plain


def unescaped(cell: str) -> str:
    """The text of a cell of `escaped`, without the apostrophe."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def as_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as CSV: numbers with six decimals, nothing for None."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else escaped(str(value))


def as_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content
