"""Records without their values per image and class, as rows of an Arrow table.

A column holds one field, so that equal texts of many records are kept and read once.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from operator import itemgetter
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

from susx_bench.records.cells import data_of
from susx_bench.records.record import Record, Search, Seconds

if TYPE_CHECKING:
    import pyarrow as pa

HEAVY: Final = ("right", "classes", "confusions")
"""Fields of a record with one value per image or class."""
PARTS: Final[dict[str, type[BaseModel]]] = {"search": Search, "seconds": Seconds}
"""Fields that have fields of their own, each of which has a column."""
PLAIN: Final = tuple(name for name in Record.model_fields if name not in (*HEAVY, *PARTS))
"""The other fields of a record."""
OWN: Final = ("input_sha256", "predictions_sha256", "checksum", "started")
"""Texts that hardly any two records share."""


class State(NamedTuple):
    """Facts that show whether a file has changed.

    Any program can set the time of modification. Only the system sets the time of the last change,
    and a file that replaces another under its name has another number.

    Attributes:
        size: Bytes.
        modified: Time at which the content was written, nanoseconds.
        changed: Time at which content or attributes were changed, nanoseconds.
        number: Inode number.
    """

    size: int
    modified: int
    changed: int
    number: int

    @classmethod
    def of(cls, path: str) -> State | None:
        """The present state of a file; None if it is gone, which reading it will report."""
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path takes longer to make than this
        except OSError:
            return None
        number = status.st_ino & (2**63 - 1)  # as large as a column of integers can hold
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, number)


class Row(NamedTuple):
    """The part of a checked record file that the index keeps.

    Attributes:
        name: Path relative to the folder.
        state: State of the file before it was read; None if it was gone.
        bits: The bits of `Record.right`, eight per byte.
        data: `susx_bench.records.cells.data_of` the record.
        values: Values of the fields of `PLAIN`, then those of each of `PARTS`.
    """

    name: str
    state: State | None
    bits: bytes
    data: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, name: str, state: State | None, record: Record) -> Row:
        """The row of a record and its file."""
        values = _plain(vars(record))
        for part, of_part in _of_parts.items():
            values += of_part(vars(getattr(record, part)))
        return cls(name, state, base64.b64decode(record.right), data_of(record), values)


_plain = itemgetter(*PLAIN)
_of_parts = {name: itemgetter(*model.model_fields) for name, model in PARTS.items()}
_FIELDS: Final[dict[str, Any]] = {name: Record.model_fields[name].annotation for name in PLAIN} | {
    f"{part}.{name}": field.annotation
    for part, model in PARTS.items()
    for name, field in model.model_fields.items()
}
"""Type of each of `Row.values`, by the name of its column."""


def _scalar(kind: Any) -> type | None:
    """The type of a field's values that are not None; None if they are lists or objects."""
    if get_origin(kind) is Annotated:
        return _scalar(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return type(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return next(_scalar(each) for each in get_args(kind) if each is not type(None))
    return kind if kind in (str, int, float, bool) else None


_SCALARS: Final = {name: _scalar(kind) for name, kind in _FIELDS.items()}
_JSON: Final = {name: TypeAdapter(_FIELDS[name]) for name, kind in _SCALARS.items() if not kind}
"""Fields that are lists or objects: their columns hold JSON."""


def schema() -> pa.Schema:
    """The columns of rows."""
    import pyarrow as pa

    shared = pa.dictionary(pa.int32(), pa.string())
    arrow: dict[type | None, Any] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    columns = {"path": pa.string(), **dict.fromkeys(State._fields, pa.int64())}
    columns |= {"bits": pa.binary(), "data": shared}
    for name, kind in _SCALARS.items():
        columns[name] = pa.string() if name in OWN else arrow.get(kind, shared)
    return pa.schema(columns.items())


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as columns of `schema`."""
    import pyarrow as pa

    nowhere = (None,) * len(State._fields)
    flat = ((r.name, *(r.state or nowhere), r.bits, r.data, *r.values) for r in rows)
    arrays = []
    for field, values in zip(schema(), zip(*flat, strict=True), strict=True):
        column: Sequence[Any] = values
        if field.name in _JSON:
            column = [to_json(value).decode() for value in values]
        arrays.append(pa.array(column, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema())


def rows_of(batch: pa.RecordBatch, same: dict[Any, Any]) -> Iterator[Row]:
    """The rows of `batch_of`.

    Args:
        batch: Columns of `schema`.
        same: Values that rows of other batches have, and that these rows share with them.
    """
    columns = [_values(batch.column(name), name, same) for name in batch.schema.names]
    file, values = columns[: -len(_FIELDS)], zip(*columns[-len(_FIELDS) :], strict=True)
    for name, *state, bits, data in zip(*file, strict=True):
        yield Row(name, None if state[0] is None else State(*state), bits, data, next(values))


def _values(column: pa.Array, name: str, same: dict[Any, Any]) -> list[Any]:
    """The values of a column; those of a dictionary are one object in all rows."""
    if not hasattr(column, "dictionary"):
        values: list[Any] = column.to_pylist()
        return values
    texts = column.dictionary.to_pylist()
    if adapter := _JSON.get(name):
        shared = []
        for text in texts:
            if (name, text) not in same:
                same[name, text] = adapter.validate_json(text)
            shared.append(same[name, text])
    else:
        shared = [same.setdefault(text, text) for text in texts]
    shared.append(None)  # the place of a null
    return [shared[-1 if place is None else place] for place in column.indices.to_pylist()]
