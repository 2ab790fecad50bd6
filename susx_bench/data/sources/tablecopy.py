"""A copy of a dataset as tables: which column is what, and which class is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from susx_bench.console import counted
from susx_bench.data.classes import unite
from susx_bench.data.sources.base import reason
from susx_bench.data.sources.datafiles import open_tables
from susx_bench.data.sources.labelcolumn import joined, no_label, other_labels
from susx_bench.data.sources.rows import Table, picked
from susx_bench.data.sources.splitcolumn import read_splits
from susx_bench.data.sources.tree import lists_in
from susx_bench.data.spec import Hub, Split, Where
from susx_bench.data.splitnames import (
    division,
    guess_splits,
    own_name,
    split_name,
    split_remarks,
    with_labels,
)
from susx_bench.errors import DatasetError
from susx_bench.records.text import read_names

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "cls", "fine_label", "class")
CLASSNAMES_FILE = "classnames.txt"
"""File of class names for a copy with numbers as labels: one per line, in their order."""


class TableCopy:
    """The tables of a folder, before their classes are matched to a dataset.

    Args:
        folder: The folder.
        name: Name of the dataset, for messages.
        asked: The user's options: columns, class names.
        hub: Known facts of the copy; None to guess them.
        where: Where the folder came from, for messages; by default the folder.

    Raises:
        DatasetError: If there are no tables, or they cannot be read.
    """

    def __init__(
        self, folder: Path, name: str, asked: Where, hub: Hub | None = None, where: str = ""
    ) -> None:
        self.folder = folder
        self.name = name
        self.where = where or str(folder)
        self.hub = hub
        self.asked = asked
        self._opened = open_tables(
            folder, self._image_columns, hub.config if hub else None, name, self.where
        )
        self.config = self._opened.config
        self.remarks = [*self._opened.remarks, *(lists_in(folder) if hub is None else [])]
        self.tables = self._opened.splits if hub and hub.splits else self._by_column()
        self._read: dict[str, list[str]] = {}
        self._raw: dict[tuple[str, str], list[int | str | None]] = {}
        self._names: dict[str, list[str] | None] = {}

    def _by_column(self) -> dict[str, Table]:
        """The tables, divided by their column of splits if they have one.

        Raises:
            DatasetError: If the column contradicts the file's name, or its values are unclear.
        """
        tables = self._opened.splits
        has_test = any(_meant(name) == "test" for name in tables)
        by_split: dict[str, Table] = {}
        for name, table in tables.items():
            column, values, remarks = read_splits(
                [c for c in table.split_columns() if c not in self._label_columns],
                partial(_words, table),
                f"{self.name}: {self.where}",
                known=has_test,
            )
            self.remarks += remarks
            parts: Mapping[str, Table] = {name: table}
            if {_meant(value) for value in values} - {_meant(name)}:
                parts = picked(table, values)
                if _meant(name) in ("val", "test") or by_split.keys() & parts.keys():
                    raise DatasetError(
                        f"{self.name}: {self.where} has '{name}' by the name of a file, and its "
                        f"column '{column}' says {', '.join(sorted(set(values)))}. Let both say "
                        "the same, or take the column out."
                    )
            by_split |= parts
        return by_split

    @property
    def _image_columns(self) -> Sequence[str]:
        if self.asked.image_column:
            return (self.asked.image_column,)
        return (self.hub.image, *IMAGE_COLUMNS) if self.hub else IMAGE_COLUMNS

    @property
    def _label_columns(self) -> Sequence[str]:
        if self.asked.label_column:
            return (self.asked.label_column,)
        return (self.hub.label, *LABEL_COLUMNS) if self.hub else LABEL_COLUMNS

    def image_column(self, split: str) -> str:
        """Column of the images of one of the copy's splits.

        Raises:
            DatasetError: If the split has none, or the column holds something else.
        """
        table = self.tables[split]
        named = [name for name in self._image_columns if name in table.columns]
        faults = {name: table.image_fault(name) for name in named}
        good = next((name for name in named if not faults[name]), None)
        if good is None and named:
            raise DatasetError(
                f"{self.name}: column '{named[0]}' of {self.where} holds {faults[named[0]]}."
            )
        return good or self._no_column(table, self._image_columns, "images", "--image-column")

    def _label_column(self, table: Table) -> str:
        candidates = (name for name in self._label_columns if name in table.columns)
        column = next(candidates, None)
        return column or self._no_column(table, self._label_columns, "labels", "--label-column")

    def _no_column(self, table: Table, usual: Sequence[str], purpose: str, option: str) -> str:
        raise DatasetError(
            f"{self.name}: {self.where} has the columns {', '.join(table.columns)}; none of "
            f"{', '.join(dict.fromkeys(usual))} is there for the {purpose}. Name it, {option}."
        )

    @cached_property
    def splits(self) -> dict[Split, str]:
        """The copy's own name of each split.

        Raises:
            DatasetError: If the names are unclear, or the test split has no labels and no other
                split can replace it.
        """
        names = list(self.tables)
        if not any(len(table) for table in self.tables.values()):
            raise DatasetError(f"{self.name}: {self.where} has tables, and none of them has a row.")
        if self.hub and self.hub.splits:
            for name in self.hub.splits.values():
                if name not in names:
                    raise DatasetError(
                        f"{self.name}: {self.where} has the splits {', '.join(names)}, and no "
                        f"'{name}' as {self.hub.repo} has."
                    )
            return dict(self.hub.splits)
        splits = guess_splits(names, f"{self.name}: {self.where}")
        if "test" in splits:
            self.remarks += split_remarks(names, splits)
        else:
            self.remarks += [division(), *own_name(self.folder)]
        splits, lines = with_labels(splits, self._is_hidden)
        self.remarks += lines + self._other_labels(list(splits.values()))
        return splits

    def _other_labels(self, names: Sequence[str]) -> list[str]:
        """One line for each column that may hold the labels instead."""
        tables = [self.tables[name] for name in names]
        if self.asked.label_column or not tables:
            return []
        columns = [self._label_column(table) for table in tables]
        own = [
            value
            for name, column in zip(names, columns, strict=True)
            for value in self._values(name, column)
        ]
        return other_labels(
            columns[0],
            own,
            [
                name
                for name in tables[0].columns
                if name not in columns and all(name in table.columns for table in tables)
            ],
            lambda column: [value for table in tables for value in table.labels(column)],
        )

    def _is_hidden(self, split: str) -> bool:
        """Whether a split has no labels, or only -1, because its publisher keeps them secret."""
        table = self.tables[split]
        column = next((name for name in self._label_columns if name in table.columns), None)
        return column is None or all(value in (None, -1) for value in self._values(split, column))

    def _values(self, split: str, column: str) -> list[int | str | None]:
        """Labels, unchanged; None for an empty one."""
        if (split, column) not in self._raw:
            try:
                values = self.tables[split].labels(column)
            except (OSError, ValueError) as error:
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where}: {reason(error)} Name another "
                    "with --label-column."
                ) from error
            # A million values have about a thousand different ones: only these are examined.
            stripped = {v: (v.strip() or None) if isinstance(v, str) else v for v in set(values)}
            self._raw[split, column] = [stripped[value] for value in values]
        return self._raw[split, column]

    def labels(self, split: str) -> list[str]:
        """The copy's class name of every row of one of its splits.

        Raises:
            DatasetError: If a row has no label, or a value is no label.
        """
        if split not in self._read:
            self._read[split] = self._labels(split)
        return self._read[split]

    def _labels(self, split: str) -> list[str]:
        table = self.tables[split]
        column = self._label_column(table)
        values = self._values(split, column)
        if missing := values.count(None):
            raise DatasetError(
                f"{self.name}: {missing} of {len(values)} rows in {split} of {self.where} have no "
                "label."
            )
        numbers = {value for value in set(values) if isinstance(value, int)}
        names = self._numbered(split)
        if names is None or not numbers:
            labels = list(map(str, values))
            if labels and all(re.fullmatch(r"-?\d+\.\d*", name) for name in set(labels)):
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where} holds numbers with a fraction "
                    f"({labels[0]}), and a class is a whole number or a name."
                )
            if wrong := no_label(
                value for value in dict.fromkeys(values) if isinstance(value, str)
            ):
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where} has the label '{wrong}' in "
                    f"row {labels.index(wrong) + 1} of {split}, and a class is a whole number or a "
                    "name. Give that row one name, or take it out."
                )
            return labels
        if not 0 <= min(numbers) <= max(numbers) < len(names):
            hidden = " A split of -1 alone is one whose publisher keeps the labels."
            raise DatasetError(
                f"{self.name}: {split} of {self.where} has labels {min(numbers)} to "
                f"{max(numbers)}, and {counted(len(names), 'class name')}"
                + (f" in {self.asked.classnames}, one per line" if self.asked.classnames else "")
                + f", which are those of 0 to {len(names) - 1}."
                + (hidden if numbers == {-1} else "")
            )
        return [names[value] for value in values if isinstance(value, int)]

    def _numbered(self, split: str) -> list[str] | None:
        """Like `_find_numbered`, but cached."""
        if split not in self._names:
            self._names[split] = self._find_numbered(split)
        return self._names[split]

    def _find_numbered(self, split: str) -> list[str] | None:
        """Names for a split's numeric labels; None if its labels are names.

        Raises:
            DatasetError: If they are numbers without names.
        """
        table = self.tables[split]
        column = self._label_column(table)
        values = self._values(split, column)
        if values and not any(isinstance(value, int) for value in set(values)):
            return None  # names may exist without a row
        path = self.folder / CLASSNAMES_FILE
        try:
            names = table.names(column)
        except ValueError as error:
            raise DatasetError(
                f"{self.name}: column '{column}' of {self.where}: {error}."
            ) from error
        names = names or self._opened.card.classnames(self.config, column)
        if names is None and path.is_file():
            names = read_classnames(path, self.name)
        if names is None and self.asked.classnames:
            names = read_classnames(self.asked.classnames, self.name)
        if names is None and values:
            raise DatasetError(
                f"{self.name}: {self.where} has numbers for labels, and neither names for them nor "
                f"a {CLASSNAMES_FILE}. Labels are never believed by their position: give a copy "
                "that names its classes, or for data of your own --classnames FILE, one name a "
                "line."
            )
        return names

    @cached_property
    def classnames(self) -> list[str]:
        """The copy's own class names: in the order of its numbers, or sorted."""
        splits = {s: self.splits[s] for s in ("test", "train", "val") if s in self.splits}
        numbered = {split: self._numbered(name) for split, name in splits.items()}
        lists = [names for names in numbered.values() if names is not None]
        if lists:
            # Keep the first list unchanged: two of its classes may have one name.
            every = [
                *lists,
                *(sorted(set(self.labels(splits[s]))) for s in splits if not numbered[s]),
            ]
            more = dict.fromkeys(name for names in every for name in names)
            return lists[0] + [name for name in more if name not in set(lists[0])]
        written = {split: set(self.labels(name)) for split, name in splits.items()}
        names, remarks = unite(written, f"{self.name}: {self.where}")
        self.remarks += [*remarks, *joined(names, self.where)]
        return names

    def known(self, split: str) -> Sequence[str]:
        """The class names of one of the copy's splits."""
        return self._numbered(split) or sorted(set(self.labels(split)))

    def places(self, split: str) -> list[int]:
        """For every row of one of the copy's splits, the position of its class in `known`."""
        names = self.labels(split)  # this also checks them
        if self._numbered(split):
            values = self._values(split, self._label_column(self.tables[split]))
            return [value for value in values if isinstance(value, int)]
        place = {name: i for i, name in enumerate(self.known(split))}
        return [place[name] for name in names]

    def files(self, split: str) -> list[str | None]:
        """Original file name of every row, if the copy has it."""
        column = self.hub.name if self.hub and self.hub.name else self.image_column(split)
        try:
            return self.tables[split].texts(column)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.name}: {self.where}: {reason(error)}") from error

    def image(self, split: str, row: int) -> bytes:
        """An image's file.

        Raises:
            OSError: If it cannot be read.
        """
        content = self.tables[split].image(self.image_column(split), row)
        if content is None:
            raise OSError("its row holds no image")
        return content

    @property
    def paths(self) -> list[tuple[str, Path]]:
        """Every file with rows, by its path relative to the folder."""
        root = self.folder.resolve()
        paths = (path for files in self._opened.paths.values() for path in files)
        return sorted((os.path.relpath(path, root), path) for path in paths)


def _words(table: Table, column: str) -> list[str | None]:
    """A column's texts; numbers are replaced by their names if they have any."""
    texts, names = table.texts(column), table.names(column)
    if not names:
        return texts
    numbered = {str(number): name for number, name in enumerate(names)}
    return [text and numbered.get(text, text) for text in texts]


def _meant(name: str) -> Split | None:
    """The split that a name means, if it means one."""
    read = split_name(name)
    return read.split if read else None


def read_classnames(path: Path, dataset: str) -> list[str]:
    """Class names, one per line, in the order of their numbers.

    Raises:
        DatasetError: If the file cannot be read, is empty, or has an empty line.
    """
    try:
        return read_names(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{dataset}: {path} cannot be read: {error}.") from error
