"""Rows of images: Parquet files and Arrow files that ``save_to_disk`` wrote.

They are read where they lie, a row when it is asked for. A row that names a file or an address in
place of an image holds no image.
"""

from __future__ import annotations

import bisect
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from susx_bench.data.sources.base import reason

_BLOCK = 512  # bytes; a tar is made of such


class Table(ABC):
    """Images and what is known of each, a row an image.

    Attributes:
        columns: Names of what is known.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def image(self, column: str, row: int) -> bytes | None:
        """An image's file; None where the row has none.

        Raises:
            OSError: If it cannot be read.
        """

    @abstractmethod
    def labels(self, column: str) -> list[int | str | None]:
        """Whole numbers or names, one for each row; None where a row has none.

        Raises:
            ValueError: If the column holds anything else; the message says what.
        """

    @abstractmethod
    def texts(self, column: str) -> list[str | None]:
        """Texts, one for each row: of a column of images the files' own names."""

    def names(self, column: str) -> list[str] | None:
        """Class names of a column's numbers, where the files have them."""
        return None

    def image_fault(self, column: str) -> str:
        """Why a column holds no images, in words that follow "it holds"; empty where it does."""
        return ""

    @abstractmethod
    def split_columns(self) -> list[str]:
        """Columns that may say the split of each row, whatever they are called."""


class ArrowTable(Table, ABC):
    """Rows in files of Arrow's types, in chunks that are read whole.

    Args:
        schemas: Columns of each file.
        chunks: Number of the file, number in the file, and rows of each chunk.
    """

    def __init__(
        self, schemas: Sequence[pa.Schema], chunks: Sequence[tuple[int, int, int]]
    ) -> None:
        self.columns = tuple(schemas[0].names)
        self._schemas = schemas
        self._chunks = chunks
        self._starts = [0, *accumulate(rows for _, _, rows in chunks)]

    def __len__(self) -> int:
        return self._starts[-1]

    @abstractmethod
    def _cells(self, chunk: int, column: str) -> pa.ChunkedArray:
        """A column of a chunk.

        Raises:
            OSError: If it cannot be read.
        """

    def _types(self, column: str) -> list[pa.DataType]:
        """Types of a column in the files, each once.

        Raises:
            ValueError: If a file has no such column, or two.
        """
        for schema in self._schemas:
            if schema.get_field_index(column) < 0:
                raise ValueError(f"one of its files has the columns {', '.join(schema.names)}")
        return list(dict.fromkeys(_plain(schema.field(column).type) for schema in self._schemas))

    def image(self, column: str, row: int) -> bytes | None:
        chunk = bisect.bisect_right(self._starts, row) - 1
        value = self._cells(chunk, column)[row - self._starts[chunk]].as_py()
        content: bytes | None = value["bytes"] if isinstance(value, dict) else value
        return content

    def labels(self, column: str) -> list[int | str | None]:
        kinds = self._types(column)
        for kind in kinds:
            if fault := _label_fault(kind):
                raise ValueError(f"it holds {fault}")
        if any(pa.types.is_integer(kind) for kind in kinds) and any(
            _is_any(k, *_TEXTS) for k in kinds
        ):
            raise ValueError("it holds numbers in one file and names in another")
        return self._values(column)

    def texts(self, column: str) -> list[str | None]:
        if any(pa.types.is_struct(kind) for kind in self._types(column)):
            return [value and value.get("path") for value in self._values(column, "path")]
        return [None if value is None else str(value) for value in self._values(column)]

    def _values(self, column: str, only: str = "") -> list[Any]:
        found = []
        for chunk in range(len(self._chunks)):
            cells = self._cells(chunk, column)
            for part in cells.chunks:
                if only:  # of images, without the bytes that stand beside it
                    part = pa.StructArray.from_arrays(
                        [part.field(only)], [only], mask=part.is_null()
                    )
                found += part.to_pylist()
        return found

    def names(self, column: str) -> list[str] | None:
        found = None
        for schema in self._schemas:
            names = _declared(schema, column)
            if found is not None and names != found:
                raise ValueError("its files name the classes differently")
            found = names
        return found

    def split_columns(self) -> list[str]:
        plain = ("integer", "boolean", *_TEXTS)
        return [
            column
            for column in self.columns
            if all(schema.get_field_index(column) >= 0 for schema in self._schemas)
            and all(_is_any(kind, *plain) for kind in self._types(column))
        ]

    def image_column(self, names: Iterable[str]) -> str | None:
        """The column that holds the images, see `image_column`."""
        return image_column(self._schemas[0], names)

    def image_fault(self, column: str) -> str:
        faults = (_image_fault(kind) for kind in self._types(column))
        return next(filter(None, faults), "")


def image_column(schema: pa.Schema, names: Iterable[str]) -> str | None:
    """The column that holds images: the first of these names, else the one that is made for them.

    An image's column as ``datasets`` makes it has ``bytes`` and ``path``.
    """
    if found := next((name for name in names if holds_images(schema, [name])), None):
        return found
    made = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and holds_images(schema, [field.name])
    ]
    return made[0] if len(made) == 1 else None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values: of categories, that of their names."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_any(kind: pa.DataType, *names: str) -> bool:
    return any(getattr(pa.types, f"is_{name}")(kind) for name in names)


_LISTS = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
_TEXTS = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view", "fixed_size_binary")


def _label_fault(kind: pa.DataType) -> str:
    """Why a column of a type holds no labels; empty where it does."""
    if _is_any(kind, "integer", "null", *_TEXTS):
        return ""
    if _is_any(kind, *_LISTS):
        return "several labels for one image, and every image has one class here"
    if _is_any(kind, "boolean"):
        return "true and false, and a class is a whole number or a name"
    if _is_any(kind, "floating", "decimal"):
        return "numbers with a fraction (0.0, 1.0), and a class is a whole number or a name"
    if _is_any(kind, "struct"):
        fields = ", ".join(kind.field(i).name for i in range(kind.num_fields))
        return f"objects ({fields}), and a class is a whole number or a name"
    return f"values of the type {kind}, and a class is a whole number or a name"


def holds_images(schema: pa.Schema, columns: Iterable[str]) -> bool:
    """Whether one of the columns is there and holds images."""
    there = (column for column in columns if schema.get_field_index(column) >= 0)
    return any(not _image_fault(schema.field(column).type) for column in there)


def _image_fault(kind: pa.DataType) -> str:
    """Why a column of a type holds no images; empty where it does."""
    if _is_any(kind, "null", *_BYTES):
        return ""
    if _is_any(kind, *_LISTS):
        return "several images in one row, and every row is one image here"
    if _is_any(kind, *_TEXTS):
        return "names or addresses of images, and only images that are in the file are read"
    if _is_any(kind, "struct"):
        index = kind.get_field_index("bytes")
        if index >= 0 and _is_any(kind.field(index).type, "null", *_BYTES):
            return ""
        fields = ", ".join(kind.field(i).name for i in range(kind.num_fields))
        return f"objects ({fields}), and images are objects with 'bytes'"
    return f"values of the type {kind}, and images are bytes"


def _declared(schema: pa.Schema, column: str) -> list[str] | None:
    """Class names that ``datasets`` keeps beside a schema."""
    try:
        meta = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = meta["info"]["features"][column]["names"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


class ParquetTable(ArrowTable):
    """Parquet files, one after another.

    Args:
        files: At least one.

    Raises:
        OSError: If one cannot be read, which the message names.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._metadata = [read_footer(file) for file in files]
        self._lock = threading.Lock()
        self._last: tuple[tuple[int, str] | None, Any] = (None, None)
        super().__init__(
            [metadata.schema.to_arrow_schema() for metadata in self._metadata],
            [
                (number, group, metadata.row_group(group).num_rows)
                for number, metadata in enumerate(self._metadata)
                for group in range(metadata.num_row_groups)
            ],
        )

    def _cells(self, chunk: int, column: str) -> pa.ChunkedArray:
        with self._lock:  # threads ask for rows of one group at the same time
            if self._last[0] != (chunk, column):
                self._last = (None, None)  # two groups are never held
                self._last = ((chunk, column), self._read(chunk, column))
            return self._last[1]

    def _read(self, chunk: int, column: str) -> pa.ChunkedArray:
        number, group, _ = self._chunks[chunk]
        file = self._files[number]
        try:
            with pa.memory_map(str(file)) as source:
                # It never looks for a path or an address: it is given the file.
                parquet = pq.ParquetFile(
                    source, metadata=self._metadata[number], page_checksum_verification=True
                )
                return parquet.read_row_group(group, [column], use_threads=False).column(column)
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"{file} cannot be read: {reason(error)}".rstrip(".")) from error


def read_footer(file: Path) -> pq.FileMetaData:
    """What a Parquet file has, without its rows.

    Raises:
        OSError: If it cannot be read, which the message names.
    """
    try:
        with pa.memory_map(str(file)) as source:
            metadata = pq.read_metadata(source)
            metadata.schema.to_arrow_schema()
            return metadata
    except (pa.ArrowException, OSError) as error:
        raise OSError(f"{file} is no whole Parquet file: {reason(error)}".rstrip(".")) from error


class SavedTable(ArrowTable):
    """Arrow files that ``datasets`` wrote by ``save_to_disk``.

    Args:
        files: At least one.

    Raises:
        OSError: If one cannot be read, which the message names.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._tables = [_mapped(file) for file in files]
        super().__init__(
            [table.schema for table in self._tables],
            [(number, 0, len(table)) for number, table in enumerate(self._tables)],
        )

    def _cells(self, chunk: int, column: str) -> pa.ChunkedArray:
        return self._tables[chunk].column(column)


def _mapped(file: Path) -> pa.Table:
    try:
        table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
        table.validate()
        return table
    except (pa.ArrowException, OSError) as error:
        raise OSError(f"{file} is no whole Arrow file: {reason(error)}".rstrip(".")) from error


class PickedTable(Table):
    """Some rows of a table.

    Args:
        table: The table.
        rows: Which.
    """

    def __init__(self, table: Table, rows: Sequence[int]) -> None:
        self.columns = table.columns
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, column: str, row: int) -> bytes | None:
        return self._table.image(column, self._rows[row])

    def labels(self, column: str) -> list[int | str | None]:
        found = self._table.labels(column)
        return [found[row] for row in self._rows]

    def texts(self, column: str) -> list[str | None]:
        found = self._table.texts(column)
        return [found[row] for row in self._rows]

    def names(self, column: str) -> list[str] | None:
        return self._table.names(column)

    def image_fault(self, column: str) -> str:
        return self._table.image_fault(column)

    def split_columns(self) -> list[str]:
        return self._table.split_columns()


def picked(table: Table, values: Sequence[str]) -> dict[str, Table]:
    """The rows of a table by a value that each has."""
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    return {value: PickedTable(table, each) for value, each in rows.items()}
