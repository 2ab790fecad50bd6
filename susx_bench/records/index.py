"""Folders of very many records: a file is read and checked once, then its copy in an index is.

The index lies beside the records as ``.index.parquet``. It is a copy and never the source: it may
be removed at any time, and it is believed of a file only while the file has the size and the times
that it had when its content was read.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from susx_bench.records.files import UNFINISHED, canonical_json, sha256_json, sweep
from susx_bench.records.paths import open_file
from susx_bench.records.record import Record, Search, Seconds

if TYPE_CHECKING:
    import pyarrow as pa

INDEX: Final = ".index.parquet"
"""Name of the index in a folder of records."""
FEWEST: Final = 1000
"""Records from which an index is kept: fewer are read as fast."""

_ROWS: Final = 2048  # of the index, in memory at once
_META: Final = b"susx-bench"
_HEAVY: Final = ("right", "classes", "confusions")


class State(NamedTuple):
    """By what a file is known to be unchanged.

    Any program can set the time of modification. The time of the last change is the system's own,
    and a file that was written anew under its name has another number.

    Attributes:
        size: Bytes.
        modified: When its content was written, nanoseconds.
        changed: When anything of it was changed, nanoseconds.
        number: The file system's number of it.
    """

    size: int
    modified: int
    changed: int
    number: int

    @classmethod
    def of(cls, path: Path) -> State:
        """The state of a file now."""
        found = path.stat()
        number = found.st_ino & (2**63 - 1)  # as large as a column of integers can hold
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, number)


class Packed(NamedTuple):
    """The large fields of a record.

    Attributes:
        right: The bits of `Record.right`, eight per byte.
        hits: How many images of each class were right, int32.
        classes: JSON of the classes' names and sizes: one text for all records of a test set.
        confusions: JSON of `Record.confusions`.
    """

    right: bytes
    hits: bytes
    classes: str
    confusions: str

    @classmethod
    def of(cls, record: Record) -> Packed:
        """The large fields of a record."""
        names, hits, sizes = zip(*record.classes, strict=True)
        return cls(
            base64.b64decode(record.right),
            np.array(hits, np.int32 if record.n_test < 2**31 else np.int64).tobytes(),
            json.dumps([names, sizes]),
            json.dumps(record.confusions),
        )


class LightRecord(Record):
    """A record that takes a tenth of the memory: large fields are unpacked when they are asked for.

    It was read and checked, or is the copy of one that was.
    """

    packed: Packed = Packed(b"", b"", "[[],[]]", "[]")

    def __getattr__(self, name: str) -> Any:  # of what the instance does not hold
        if name not in _HEAVY:
            raise AttributeError(name)
        right, hits, classes, confusions = vars(self)["packed"]
        if name == "right":
            return base64.b64encode(right).decode()
        if name == "confusions":
            return [tuple(each) for each in json.loads(confusions)]
        names, sizes = json.loads(classes)
        kind = np.int32 if len(hits) == 4 * len(names) else np.int64
        return list(zip(names, np.frombuffer(hits, kind).tolist(), sizes, strict=True))

    def whole(self) -> Record:
        """The record with all its fields in memory."""
        values = {name: value for name, value in vars(self).items() if name != "packed"}
        return Record.model_construct(**values, **{name: getattr(self, name) for name in _HEAVY})


class _Maker:
    """Makes light records which share what many of them say."""

    def __init__(self) -> None:
        self._same: dict[Any, Any] = {}
        fields = Record.model_fields.items()
        self._defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in fields
            if not field.is_required()
        }

    def make(self, text: str, packed: Packed) -> LightRecord:
        """A light record from the JSON of its other fields, and its packed ones."""
        values = json.loads(text)
        values["record_schema"] = values.pop("schema")
        search = values["search"]
        search["ranges"] = {name: tuple(each) for name, each in search["ranges"].items()}
        values["search"] = _filled(Search, search)
        values["seconds"] = _filled(Seconds, values["seconds"])
        for name, value in values.items():
            if isinstance(value, str):
                values[name] = self._once(value, value)
        values["versions"] = self._once(tuple(values["versions"].items()), values["versions"])
        values["packed"] = packed._replace(classes=self._once(packed.classes, packed.classes))
        made: LightRecord = _filled(LightRecord, self._defaults | values)
        return made

    def _once(self, key: Any, value: Any) -> Any:
        return self._same.setdefault(key, value)


def _filled(kind: Any, values: dict[str, Any]) -> Any:
    """A model with these values, which were validated when they were written."""
    made = kind.__new__(kind)
    for name, value in (
        ("__dict__", values),
        ("__pydantic_fields_set__", set()),
        ("__pydantic_extra__", None),
        ("__pydantic_private__", None),
    ):
        object.__setattr__(made, name, value)
    return made


def _text(record: Record) -> str:
    """JSON of a record's fields but for the large ones."""
    values = record.as_dict()
    for name in _HEAVY:
        del values[name]
    return canonical_json(values)


def read_records(
    root: Path, paths: Iterable[Path], *, index: bool = True, fewest: int = FEWEST
) -> dict[Path, Record]:
    """Read records that can be believed, in a tenth of the memory.

    Args:
        root: A folder of records: the index lies there.
        paths: Records below it, each once.
        index: Whether to believe the index of files that have not changed, and to keep it; else
            the content of every file is read and checked.
        fewest: Records from which an index is kept.

    Returns:
        A record for each path, in their order.

    Raises:
        RecordError: If one cannot be believed.
    """
    wanted = {path.relative_to(root).as_posix(): path for path in paths}
    maker = _Maker()
    found: dict[str, Record] = {}
    index = index and len(wanted) >= fewest
    rows = 0
    for name, state, text, packed in _rows(root) if index else ():
        rows += 1
        if name in wanted and _state(wanted[name]) == state:
            found[name] = maker.make(text, packed)
    stale = [name for name in wanted if name not in found]
    keep = _Writer(root, set(found)) if index and (stale or rows > len(found)) else None
    try:
        for name in stale:
            path = wanted[name]
            now = _state(path)
            record = Record.read(path)
            text, packed = _text(record), Packed.of(record)
            found[name] = maker.make(text, packed)
            if keep and now:
                keep.add(name, now, text, packed)
    except BaseException:
        if keep:
            keep.drop()
        raise
    if keep:
        keep.close()
    return {path: found[name] for name, path in wanted.items()}


def _state(path: Path) -> State | None:
    try:
        return State.of(path)
    except OSError:  # it is gone: whoever reads it says so
        return None


Row = tuple[str, State, str, Packed]
"""Path from the folder, state when it was read, JSON of the small fields, the large fields."""

_COLUMNS: Final = ("path", *State._fields, "record", *Packed._fields)


def _version() -> bytes:
    """What an index must have been written by to be read: the same fields of a record."""
    return sha256_json([1, sorted(Record.model_fields), _COLUMNS]).encode()


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = (
        *(pa.string(), pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.string()),
        *(pa.binary(), pa.binary(), pa.dictionary(pa.int32(), pa.string()), pa.string()),
    )
    return pa.schema(list(zip(_COLUMNS, kinds, strict=True)), metadata={_META: _version()})


def _rows(root: Path) -> Iterator[Row]:
    """The rows of the index of a folder; none where there is none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(root / INDEX) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True)
            if not table.schema_arrow.equals(_schema(), check_metadata=False) or (
                (table.schema_arrow.metadata or {}).get(_META) != _version()
            ):
                return
            for batch in table.iter_batches(_ROWS):
                columns = [_values(batch.column(name)) for name in _COLUMNS]
                for name, *state, text, right, hits, classes, confusions in zip(
                    *columns, strict=True
                ):
                    packed = Packed(right, hits, classes, confusions)
                    yield name, State(*state), text, packed
    except (OSError, pa.ArrowException, ValueError):  # damaged: the records are read again
        return


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; a text of a dictionary is one object, however many rows have it."""
    if not hasattr(column, "dictionary"):
        values: list[Any] = column.to_pylist()
        return values
    texts = column.dictionary.to_pylist()
    return [texts[place] for place in column.indices.to_pylist()]


class _Writer:
    """Writes an index: the rows of the old one that stay, and new ones as they come.

    It takes its place when it is whole. A folder that cannot be written goes without.

    Args:
        root: The folder.
        kept: Paths of the old index's rows that stay.
    """

    def __init__(self, root: Path, kept: set[str]) -> None:
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
                self._temporary, _schema(), compression="zstd", write_page_checksum=True
            )
            for row in _rows(root):
                if row[0] in kept:
                    self._put(row)
        except self._errors:
            self.drop()

    def add(self, name: str, state: State, text: str, packed: Packed) -> None:
        """Add a record that was read; its file's state is of before that."""
        self._put((name, state, text, packed))

    def _put(self, row: Row) -> None:
        self._new.append(row)
        if len(self._new) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows, self._new = self._new, []
        if self._file is None or not rows:
            return
        flat = [(name, *state, text, *packed) for name, state, text, packed in rows]
        columns = dict(zip(_COLUMNS, zip(*flat, strict=True), strict=True))
        try:
            self._file.write_table(pa.Table.from_pydict(columns, schema=_schema()))
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
