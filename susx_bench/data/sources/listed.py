"""A table of file names and labels: CSV, TSV or JSON lines, one row per image."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from susx_bench.data.classes import match
from susx_bench.data.sources.base import Sample
from susx_bench.data.sources.folder import FolderSource
from susx_bench.data.sources.labelcolumn import joined, other_labels
from susx_bench.data.sources.splitcolumn import read_splits
from susx_bench.data.sources.splits import UNSPLIT, divide, labelled
from susx_bench.data.sources.tree import is_image
from susx_bench.data.spec import ClassFolders, DatasetSpec, Split, Where
from susx_bench.data.splitnames import division, guess_splits, own_name, split_remarks, with_labels
from susx_bench.errors import DatasetError
from susx_bench.records.text import read_text

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")

_FILE = ("file", "filename", "file_name", "path", "filepath", "image", "image_path", "img")
_LABEL = ("label", "class", "classname", "class_name", "category", "target")
_NO_NAME = re.compile(
    r"-\d+|[-+]?(\d+\.\d*|\.\d+|\d+)(e[-+]?\d+)?|\[.*\]|\{.*\}|true|false|null|none|nan",
    re.IGNORECASE,
)
"""Matches a missing label, a fraction, or several labels as text. Whole numbers, which it matches
too, are names."""

_HIDDEN = frozenset({"-1", ""})
"""Labels of images with secret labels."""


class ListedRow(NamedTuple):
    """An image: its file, relative to the folder of the table, its class, and its split.

    The split is None if the table has to be divided.
    """

    file: str
    label: str
    split: Split | None


class Listed(NamedTuple):
    """The content of a table: a row per image that is used, and remarks, one line each."""

    rows: list[ListedRow]
    remarks: list[str]


def read_listed(path: Path, where: Where) -> Listed:
    """Read a table of ``file,label[,split]``.

    A CSV file may begin with the names of its columns; without them the columns are file, label
    and split in this order. JSON lines are objects.

    Args:
        path: The table.
        where: The user's names of the columns, if they are unusual.

    Raises:
        DatasetError: If it cannot be read, lacks a column, or a row lacks a value.
    """
    try:
        text = read_text(path)
        rows = _json_rows(text) if path.suffix.lower() in _LINES else _csv_rows(text, path)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise DatasetError(f"--dataset {path} cannot be read: {error}.") from error
    if not rows:
        raise DatasetError(f"--dataset {path}: it has no row.")
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    file = _column(path, columns, where.image_column, _FILE, "--image-column")
    label = _column(path, columns, where.label_column, _LABEL, "--label-column")
    column, theirs, remarks = read_splits(
        [name for name in columns if name not in (file, label)],
        partial(_values, rows),
        f"--dataset {path}",
    )
    theirs = theirs or [""] * len(rows)
    names = list(dict.fromkeys(theirs))
    splits = guess_splits(names, f"--dataset {path}") if column else {}
    divided = "test" not in splits
    if divided:
        remarks += [division(splits.get("train", "")), *own_name(path)]
    else:
        remarks += split_remarks(names, splits)
    written = _by_split(theirs, [row.get(label) for _, row in rows])
    splits, notes = with_labels(splits, lambda split: written[split] <= _HIDDEN)
    remarks += notes
    used = {name: split for split, name in splits.items()} or {"": "train"}
    kept = [(row, split) for row, split in zip(rows, theirs, strict=True) if split in used]
    _check_labels(path, kept, label, written)
    if not where.label_column:
        used_rows = [row for row, _ in kept]
        others = [name for name in columns if name not in (file, label)]
        own = _values(used_rows, label)
        remarks += other_labels(label, own, others, partial(_labels, used_rows))
    read = [
        ListedRow(
            _text(path, number, row, file),
            _text(path, number, row, label),
            None if divided else used[split],
        )
        for (number, row), split in kept
    ]
    return Listed(read, [*remarks, *joined({row.label for row in read}, str(path))])


def _values(rows: Rows, column: str) -> list[str | None]:
    return [_written(row.get(column)) for _, row in rows]


def _labels(rows: Rows, column: str) -> list[str | None]:
    """The labels in a column.

    Raises:
        ValueError: If it holds several labels for one image, or fractions.
    """
    if not all(isinstance(row.get(column), str | int | None) for _, row in rows):
        raise ValueError("it holds what is no label")
    return _values(rows, column)


Row = tuple[int, Mapping[str, Any]]
"""A row of a table, with the number of its line."""
Rows = list[Row]


def _csv_rows(text: str, path: Path) -> Rows:
    reader = csv.reader(text.split("\n"), delimiter=_DELIMITERS[path.suffix.lower()], strict=True)
    rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    if not rows:
        return []
    head = rows[0][1]
    if len(head) == 1 and (other := next((mark for mark in ";\t|," if mark in head[0]), "")):
        wanted = _DELIMITERS[path.suffix.lower()]
        raise ValueError(f"its columns stand between {other!r}; save it with {wanted!r}")
    if is_image(head[0].strip()):
        head = ["file", "label", "split"][: len(head)]
    else:
        rows = rows[1:]
    for name in head:
        if sum(other.strip().casefold() == name.strip().casefold() for other in head) > 1:
            raise ValueError(f"two columns are called '{name}'")
    for number, cells in rows:
        if len(cells) != len(head):
            raise ValueError(f"line {number} has {len(cells)} columns, and {len(head)} are named")
    return [(number, dict(zip(head, cells, strict=True))) for number, cells in rows]


def _json_rows(text: str) -> Rows:
    rows: Rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"line {number} is no object")
        rows.append((number, value))
    return rows


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("it has one key twice")
    return value


def _column(
    path: Path, columns: Sequence[str], column: str | None, usual: Sequence[str], option: str
) -> str:
    """The column that the user names, or the one with a usual name."""
    if column is not None:
        if column in columns:
            return column
        raise DatasetError(f"--dataset {path}: no column '{column}'. It has {', '.join(columns)}.")
    matches = [name for name in columns if name.strip().casefold() in usual]
    if len(matches) != 1:
        has = "several" if matches else "none"
        raise DatasetError(
            f"--dataset {path}: of its columns {', '.join(columns)} {has} of {', '.join(usual)} "
            f"may be meant. Say which with {option} NAME."
        )
    return matches[0]


def _by_split(splits: Sequence[str], values: Sequence[Any]) -> dict[str, set[str]]:
    """The distinct values of a column in each split."""
    written: dict[str, set[str]] = defaultdict(set)
    for split, value in zip(splits, values, strict=True):
        written[split].add((_written(value) or "").strip())
    return written


def _check_labels(
    path: Path,
    rows: Sequence[tuple[Row, str]],
    column: str,
    written: Mapping[str, set[str]],
) -> None:
    """Refuse labels that are no names, and splits that call the classes differently.

    Args:
        path: The table.
        rows: Its rows with the split of each.
        column: The column of labels.
        written: Its distinct values in each split.
    """
    kinds: dict[str, set[bool]] = defaultdict(set)
    number = next((line for (line, row), _ in rows if isinstance(row.get(column), int)), 0)
    for (line, row), split in rows:
        label = _text(path, line, row, column)
        whole = label.isdecimal()
        if number and not whole:
            raise DatasetError(
                f"--dataset {path}: line {line} has the {column} '{label}', and line {number} has "
                "a number. Give all rows names, or all rows numbers."
            )
        if not whole and _NO_NAME.fullmatch(label):
            hidden = f" '{split}' has no labels: all are -1 or empty."
            raise DatasetError(
                f"--dataset {path}: line {line} has the {column} '{label}', and a label is a name "
                f"or a whole number from 0.{hidden if written[split] <= _HIDDEN else ''}"
            )
        kinds[split].add(whole)
    numbers = [name for name, is_whole in kinds.items() if is_whole == {True}]
    names = [name for name, is_whole in kinds.items() if is_whole == {False}]
    if numbers and names:
        raise DatasetError(
            f"--dataset {path}: '{numbers[0]}' has numbers as {column} and '{names[0]}' has names. "
            "Give all splits the same."
        )


def _written(value: Any) -> str | None:
    return None if value is None else str(value)


def _text(path: Path, number: int, row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DatasetError(
            f"--dataset {path}: line {number} has no {column} that is a name or a whole number."
        )
    return str(value).strip()


class ListedSource(FolderSource):
    """Images that a table lists, beside it or below.

    Args:
        path: The table.
        spec: The dataset's facts.
        listed: Its content.
    """

    def __init__(self, path: Path, spec: DatasetSpec, listed: Listed) -> None:
        layout = ClassFolders(splits={}, complete=False)
        super().__init__(path.parent, spec, layout, remarks=listed.remarks)
        self.where = str(path)
        self.protocol = UNSPLIT if listed.rows[0].split is None else "custom"
        self._path = path
        self._rows = listed.rows

    @property
    def _folders(self) -> Mapping[Split, str]:
        return {}

    @cached_property
    def _listed(self) -> Mapping[Split, Sequence[Sample]]:
        names = sorted({row.label for row in self._rows})
        labels = dict(zip(names, match(names, self._spec, str(self._path)), strict=True))
        rows: dict[Split, list[tuple[str, str]]] = {row.split or "test": [] for row in self._rows}
        for row in self._rows:
            rows[row.split or "test"].append((row.file, row.label))
        samples = labelled(rows, labels, self._spec, f"--dataset {self._path}")
        return divide(samples["test"]) if self.protocol == UNSPLIT else samples
