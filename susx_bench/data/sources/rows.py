"""Rows of images: Parquet files and Arrow files that ``save_to_disk`` wrote.

They are read in place, each row on demand. A row with a file name or an address instead of an image
holds no image.
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
    """Images with further columns, one row per image.

    Attributes:
        columns: Names of the columns.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def image(self, column: str, row: int) -> bytes | None:
        """An image's file; None if the row has none.

        Raises:
            OSError: If it cannot be read.
        """

    @abstractmethod
    def labels(self, column: str) -> list[int | str | None]:
        """Whole numbers or names, one per row; None for a row without one.

        Raises:
            ValueError: If the column holds anything else; the message names it.
        """

    @abstractmethod
    def texts(self, column: str) -> list[str | None]:
        """Texts, one per row; for a column of images the original file names."""

    def names(self, column: str) -> list[str] | None:
        """Class names of a column's numbers, if the files have them."""
        return None

    def image_fault(self, column: str) -> str:
        """The reason why a column holds no images, worded to follow "it holds"; else empty."""
        return ""

    @abstractmethod
    def split_columns(self) -> list[str]:
        """Columns that may hold the split of each row, under any name."""


class ArrowTable(Table, ABC):
    """Rows in files of Arrow's types, read in whole chunks.

    Args:
        schemas: Columns of each file.
        chunks: For each chunk the number of its file, its number in the file, and its rows.
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
        """Distinct types of a column in the files.

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
        values = []
        for chunk in range(len(self._chunks)):
            cells = self._cells(chunk, column)
            for part in cells.chunks:
                if only:  # of images, without their bytes
                    part = pa.StructArray.from_arrays(
                        [part.field(only)], [only], mask=part.is_null()
                    )
                values += part.to_pylist()
        return values

    def names(self, column: str) -> list[str] | None:
        names = None
        for schema in self._schemas:
            declared = _declared(schema, column)
            if names is not None and declared != names:
                raise ValueError("its files name the classes differently")
            names = declared
        return names

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
    """The column that holds images: the first of `names` that does, else the only image struct.

    ``datasets`` writes image columns as structs of ``bytes`` and ``path``.
    """
    if usual := next((name for name in names if holds_images(schema, [name])), None):
        return usual
    structs = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and holds_images(schema, [field.name])
    ]
    return structs[0] if len(structs) == 1 else None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values; for categories the type of their names."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_any(kind: pa.DataType, *names: str) -> bool:
    return any(getattr(pa.types, f"is_{name}")(kind) for name in names)


_LISTS = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
_TEXTS = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view", "fixed_size_binary")


def _label_fault(kind: pa.DataType) -> str:
    """The reason why a column of a type holds no labels; empty if it does."""
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
    """Whether one of the columns exists and holds images."""
    existing = (column for column in columns if schema.get_field_index(column) >= 0)
    return any(not _image_fault(schema.field(column).type) for column in existing)


def _image_fault(kind: pa.DataType) -> str:
    """The reason why a column of a type holds no images; empty if it does."""
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
        OSError: If one cannot be read; the message names it.
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
                self._last = (None, None)  # never hold two groups in memory
                self._last = ((chunk, column), self._read(chunk, column))
            return self._last[1]

    def _read(self, chunk: int, column: str) -> pa.ChunkedArray:
        number, group, _ = self._chunks[chunk]
        file = self._files[number]
        try:
            with pa.memory_map(str(file)) as source:
                # Pass the open file, so that pyarrow resolves no path or address.
                parquet = pq.ParquetFile(
                    source, metadata=self._metadata[number], page_checksum_verification=True
                )
                return parquet.read_row_group(group, [column], use_threads=False).column(column)
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"{file} cannot be read: {reason(error)}".rstrip(".")) from error


def read_footer(file: Path) -> pq.FileMetaData:
    """The metadata of a Parquet file.

    Raises:
        OSError: If it cannot be read; the message names it.
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
        OSError: If one cannot be read; the message names it.
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
        rows: Numbers of the rows.
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
        labels = self._table.labels(column)
        return [labels[row] for row in self._rows]

    def texts(self, column: str) -> list[str | None]:
        texts = self._table.texts(column)
        return [texts[row] for row in self._rows]

    def names(self, column: str) -> list[str] | None:
        return self._table.names(column)

    def image_fault(self, column: str) -> str:
        return self._table.image_fault(column)

    def split_columns(self) -> list[str]:
        return self._table.split_columns()


def picked(table: Table, values: Sequence[str]) -> dict[str, Table]:
    """Divide the rows of a table by a value per row."""
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    return {value: PickedTable(table, numbers) for value, numbers in rows.items()}
