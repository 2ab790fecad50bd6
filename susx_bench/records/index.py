"""Read folders of very many records: each file once, afterwards its copy in an index.

The index lies beside the records as ``.index.parquet``. It is a copy and never the source: it may
be removed at any time. Its copy of a file is used only while the file has the size and the times
that it had when it was read.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from susx_bench.errors import RecordError
from susx_bench.records.files import UNFINISHED, sweep
from susx_bench.records.paths import open_file
from susx_bench.records.reading import read_rows
from susx_bench.records.record import Record
from susx_bench.records.rows import HEAVY, PARTS, PLAIN, Row, State, batch_of, rows_of, schema

INDEX: Final = ".index.parquet"
"""Name of the index in a folder of records."""
FEWEST: Final = 1000
"""Fewest records for which an index is kept: fewer are read as fast without one."""

_ROWS: Final = 1024  # of the index, in memory at once
_META: Final = {b"susx-bench": b"2"}
"""Version of an index: what another version says in the same columns is not read."""


class LightRecord(Record):
    """A record without its fields per class, which are read from its file on access.

    The record, or the one it is a copy of, was checked when it was read. It takes a tenth of a
    record's memory.

    Attributes:
        bits: The bits of `Record.right`, eight per byte.
        file: Path of the record's file.
        data: `susx_bench.records.cells.data_of` the record.
    """

    bits: bytes = b""
    file: str = ""
    data: str = ""

    def __getattr__(self, name: str) -> Any:  # called for fields that the instance does not hold
        if name == "right":
            return base64.b64encode(self.bits).decode()
        if name in HEAVY:
            return getattr(self.whole(), name)
        raise AttributeError(name)

    def hits(self) -> NDArray[np.bool_]:
        """Which test images were right, ``(n_test,)``, from bits instead of text."""
        packed = np.frombuffer(self.bits, dtype=np.uint8)
        return np.unpackbits(packed, count=self.n_test).astype(np.bool_)

    def whole(self) -> Record:
        """Read the whole record from its file.

        Raises:
            RecordError: If the file is gone, or was changed meanwhile.
        """
        record = Record.read(Path(self.file))
        if record.checksum != self.checksum:
            raise RecordError(f"{self.file} was changed while it was read. Try again.")
        return record


_NAMES: Final = {part: tuple(model.model_fields) for part, model in PARTS.items()}


class _Maker:
    """Makes light records; searches that compared no settings are alike, so that they share one."""

    def __init__(self) -> None:
        self._searches: dict[Any, Any] = {}

    def make(self, root: Path, row: Row) -> LightRecord:
        """Make the light record of a file in a folder."""
        values: dict[str, Any] = dict(zip(PLAIN, row.values, strict=False))
        place = len(PLAIN)
        for part, model in PARTS.items():
            names = _NAMES[part]
            values[part] = _filled(model, dict(zip(names, row.values[place:], strict=False)))
            place += len(names)
        if not values["search"].settings:
            said = repr(values["search"])
            values["search"] = self._searches.setdefault(said, values["search"])
        values |= {"bits": row.bits, "file": f"{root}/{row.name}", "data": row.data}
        record: LightRecord = _filled(LightRecord, values)
        return record


_NONE_SET: Final[set[str]] = set()  # shared by all models: it is read and never changed


def _filled(kind: Any, values: dict[str, Any]) -> Any:
    """Make a model without validation: its values were validated when they were written."""
    model = kind.__new__(kind)
    for name, value in (
        ("__dict__", values),
        ("__pydantic_fields_set__", _NONE_SET),
        ("__pydantic_extra__", None),
        ("__pydantic_private__", None),
    ):
        object.__setattr__(model, name, value)
    return model


def names_in(root: Path) -> list[str]:
    """Paths of the records in a folder, at any depth, relative to it; sorted as paths are."""
    names = []
    for folder, _, files in os.walk(root):
        relative = Path(folder).relative_to(root).as_posix()
        start = "" if relative == "." else f"{relative}/"
        names += [start + name for name in files if name.endswith(".json")]
    return sorted(names, key=lambda name: name.split("/"))


def read_records(root: Path, *, index: bool = True, fewest: int = FEWEST) -> dict[str, Record]:
    """Read the records in a folder, at any depth, in a tenth of the memory of whole records.

    Args:
        root: The folder. It holds the index too.
        index: Whether to use the index for files that have not changed, and to update it; else
            every file is read and checked.
        fewest: Fewest records for which an index is kept.

    Returns:
        The records by path from the folder, with ``/`` on every system; sorted by path.

    Raises:
        RecordError: If a record cannot be believed.
    """
    names = names_in(root)
    maker = _Maker()
    records: dict[str, Record | None] = dict.fromkeys(names)
    index = index and len(names) >= fewest
    rows = kept = 0
    for row in _rows(root) if index else ():
        rows += 1
        if row.name in records and State.of(f"{root}/{row.name}") == row.state:
            records[row.name] = maker.make(root, row)
            kept += 1
    stale = [name for name, record in records.items() if record is None]
    current = {name for name, record in records.items() if record is not None} if stale else records
    keep = _Writer(root, current) if index and (stale or rows > kept) else None
    try:
        for row in read_rows(root, stale):
            records[row.name] = maker.make(root, row)
            if keep and row.state:
                keep.add(row)
    except BaseException:
        if keep:
            keep.drop()
        raise
    if keep:
        keep.close()
    return {name: record for name, record in records.items() if record is not None}


def _schema() -> Any:
    return schema().with_metadata(_META)


def _rows(root: Path) -> Iterator[Row]:
    """The rows of a folder's index; none if it has no index that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    same: dict[Any, Any] = {}
    try:
        with open_file(root / INDEX) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True)
            if not table.schema_arrow.equals(_schema(), check_metadata=True):
                return
            for batch in table.iter_batches(_ROWS):
                yield from rows_of(batch, same)
    except (OSError, pa.ArrowException, ValueError):  # damaged: the records are read again
        return


class _Writer:
    """Writes an index: first the rows of the old one that stay, then new rows.

    A whole index replaces the old one. A folder that cannot be written gets none.

    Args:
        root: The folder.
        kept: Paths of the old index's rows that stay.
    """

    def __init__(self, root: Path, kept: Container[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = root / INDEX
        self._temporary = root / f"{INDEX}.{uuid.uuid4().hex}{UNFINISHED}"
        self._new: list[Row] = []
        self._errors = (OSError, pa.ArrowException)
        self._file: Any = None
        sweep(root)
        try:
            self._file = pq.ParquetWriter(
                self._temporary,
                _schema(),
                compression="zstd",
                use_dictionary=False,  # but for columns that are a dictionary already
                write_page_checksum=True,
            )
            for row in _rows(root):
                if row.name in kept:
                    self.add(row)
        except self._errors:
            self.drop()

    def add(self, row: Row) -> None:
        """Add a row."""
        self._new.append(row)
        if len(self._new) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._new = self._new, []
        if self._file is None or not rows:
            return
        try:
            self._file.write_batch(batch_of(rows))
        except self._errors:
            self.drop()

    def close(self) -> None:
        """Put the index into its place."""
        self._flush()
        if self._file is None:
            return
        try:
            self._file.close()
            self._temporary.replace(self._path)
        except self._errors:
            self.drop()

    def drop(self) -> None:
        """Leave the old index where it is."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
            self._temporary.unlink(missing_ok=True)
        except self._errors:
            pass
