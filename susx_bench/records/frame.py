"""Records as a table for pandas, polars or Parquet: one row per record, one column per value."""

from __future__ import annotations

import io
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel

from susx_bench.errors import OptionError, PackageMissingError, RecordError
from susx_bench.records.files import write_atomic
from susx_bench.records.index import read_records
from susx_bench.records.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["pandas", "polars", "arrow"]
KINDS: Final = ("pandas", "polars", "arrow")

_LISTS: Final = frozenset({"right", "classes", "confusions", "skipped"})
"""Fields with one value per image or class; rows leave them out."""


def row_of(record: Record) -> dict[str, Any]:
    """The single-valued fields of a record; a field of a part is named ``part.field``."""
    row: dict[str, Any] = {}
    for name, field in Record.model_fields.items():
        if name in _LISTS:
            continue
        value = getattr(record, name)
        parts = vars(value) if isinstance(value, BaseModel) else value
        if isinstance(parts, dict):
            row |= {f"{name}.{key}": part for key, part in parts.items() if not _is_nested(part)}
        else:
            row[field.alias or name] = value
    return row


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def table_of(records: Iterable[Record]) -> pa.Table:
    """Records as an Arrow table. A hyper-parameter that a record lacks is null."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    count = 0
    for count, record in enumerate(records, start=1):
        for name, value in row_of(record).items():
            column = columns.setdefault(name, [])
            column += [None] * (count - 1 - len(column))
            column.append(value)
    for column in columns.values():
        column += [None] * (count - len(column))
    return pa.table(columns)


def load_records(folder: str | Path, kind: Kind = "pandas") -> Any:
    """Load the records of a folder as a data frame: one row per record, its path in ``path``.

    Each hyper-parameter and each duration has a column: ``hparams.alpha``, ``seconds.search``.

    Args:
        folder: Where to look for records, at any depth. A large folder gets an index, see
            `susx_bench.records.index`.
        kind: ``pandas`` or ``polars`` for one of their data frames, which must be installed;
            ``arrow`` for a table of pyarrow.

    Raises:
        RecordError: If there are no records, or one cannot be believed.
        OptionError: If there is no such kind.
        PackageMissingError: If the package is not installed.
    """
    if kind not in KINDS:
        raise OptionError(f"load_records: '{kind}' is not one of {', '.join(KINDS)}.")
    package: Any = None
    if kind != "arrow":
        try:
            package = import_module(kind)
        except ImportError as error:
            raise PackageMissingError(f"load_records as {kind}", kind) from error
    table = read_table([Path(folder).expanduser()])
    if kind == "arrow":
        return table
    return package.from_arrow(table) if kind == "polars" else table.to_pandas()


def read_table(folders: Iterable[Path]) -> pa.Table:
    """The records of some folders as an Arrow table, with the path of each as ``path``.

    Raises:
        RecordError: If a folder is missing or has no records, or one cannot be believed.
    """
    import pyarrow as pa

    records: dict[str, Record] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"{folder}: no such folder.")
        in_folder = read_records(folder)
        if not in_folder:
            raise RecordError(f"no records in {folder}.")
        records |= {(folder / name).as_posix(): record for name, record in in_folder.items()}
    table = table_of(records.values())
    return table.append_column("path", pa.array(list(records), pa.string()))


def export(folders: Iterable[Path], file: Path) -> int:
    """Write the records of some folders into one Parquet file.

    Returns:
        Their number.

    Raises:
        RecordError: As `read_table`.
        OutputError: If the file cannot be written.
    """
    import pyarrow.parquet as pq

    table = read_table(folders)
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    write_atomic(file, content.getvalue())
    return int(table.num_rows)
