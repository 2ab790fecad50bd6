"""A dataset as tables: Parquet files, webdataset shards or what ``save_to_disk`` wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from susx_bench.console import counted
from susx_bench.data.classes import match, same_names, unite
from susx_bench.data.sources.base import Sample, Samples, Source, reason
from susx_bench.data.sources.datafiles import open_tables
from susx_bench.data.sources.labelcolumn import joined, no_label, other_labels
from susx_bench.data.sources.rows import Table, picked
from susx_bench.data.sources.splitcolumn import read_splits
from susx_bench.data.sources.splits import UNSPLIT, divide, read_split_file
from susx_bench.data.sources.tree import is_image, lists_in
from susx_bench.data.spec import SPLITS, DatasetSpec, Hub, Split, Where
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
"""Class names of a copy whose labels are numbers, one a line, in the order of the numbers."""


class TableCopy:
    """The tables of a folder, before it is known whose classes theirs are.

    Args:
        folder: Where they lie.
        name: Name of the dataset, for messages.
        asked: What the user says of them: columns, class names.
        hub: What else is known of the copy; None finds out.
        where: Where the folder came from, for messages; the folder where nothing is said.

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
        """The tables, those with a column of splits taken apart.

        Raises:
            DatasetError: If the column says another split than the file's name, or nobody can
                tell what it says.
        """
        tables = self._opened.splits
        known = any(_meant(name) == "test" for name in tables)
        found: dict[str, Table] = {}
        for name, table in tables.items():
            column, values, remarks = read_splits(
                [c for c in table.split_columns() if c not in self._label_columns],
                partial(_words, table),
                f"{self.name}: {self.where}",
                known=known,
            )
            self.remarks += remarks
            parts: Mapping[str, Table] = {name: table}
            if {_meant(value) for value in values} - {_meant(name)}:
                parts = picked(table, values)
                if _meant(name) in ("val", "test") or found.keys() & parts.keys():
                    raise DatasetError(
                        f"{self.name}: {self.where} has '{name}' by the name of a file, and its "
                        f"column '{column}' says {', '.join(sorted(set(values)))}. Let both say "
                        "the same, or take the column out."
                    )
            found |= parts
        return found

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
            DatasetError: If there is none, or it holds something else.
        """
        table = self.tables[split]
        known = [name for name in self._image_columns if name in table.columns]
        faults = {name: table.image_fault(name) for name in known}
        good = next((name for name in known if not faults[name]), None)
        if good is None and known:
            raise DatasetError(
                f"{self.name}: column '{known[0]}' of {self.where} holds {faults[known[0]]}."
            )
        return good or self._no_column(table, self._image_columns, "images", "--image-column")

    def _label_column(self, table: Table) -> str:
        known = (name for name in self._label_columns if name in table.columns)
        found = next(known, None)
        return found or self._no_column(table, self._label_columns, "labels", "--label-column")

    def _no_column(self, table: Table, known: Sequence[str], what: str, option: str) -> str:
        raise DatasetError(
            f"{self.name}: {self.where} has the columns {', '.join(table.columns)}; none of "
            f"{', '.join(dict.fromkeys(known))} is there for the {what}. Name it, {option}."
        )

    @cached_property
    def splits(self) -> dict[Split, str]:
        """The copy's own name of each split.

        Raises:
            DatasetError: If it cannot be told, or the test split has no labels and no other can
                take its place.
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
        found = guess_splits(names, f"{self.name}: {self.where}")
        if "test" in found:
            self.remarks += split_remarks(names, found)
        else:
            self.remarks += [division(), *own_name(self.folder)]
        found, told = with_labels(found, self._is_hidden)
        self.remarks += told + self._other_labels(list(found.values()))
        return found

    def _other_labels(self, names: Sequence[str]) -> list[str]:
        """A line for each column that may be meant in the place of the one of the labels."""
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
        """Whether a split has no labels, as where its publisher keeps them: none, or all -1."""
        table = self.tables[split]
        column = next((name for name in self._label_columns if name in table.columns), None)
        return column is None or all(value in (None, -1) for value in self._values(split, column))

    def _values(self, split: str, column: str) -> list[int | str | None]:
        """Labels as they stand; None for an empty one."""
        if (split, column) not in self._raw:
            try:
                values = self.tables[split].labels(column)
            except (OSError, ValueError) as error:
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where}: {reason(error)} Name another "
                    "with --label-column."
                ) from error
            # Of a million values a thousand are different: those are what is looked at.
            stripped = {v: (v.strip() or None) if isinstance(v, str) else v for v in set(values)}
            self._raw[split, column] = [stripped[value] for value in values]
        return self._raw[split, column]

    def labels(self, split: str) -> list[str]:
        """The copy's name of the class of every row of one of its splits.

        Raises:
            DatasetError: If a row has none, or they are not what labels are.
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
            found = list(map(str, values))
            if found and all(re.fullmatch(r"-?\d+\.\d*", name) for name in set(found)):
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where} holds numbers with a fraction "
                    f"({found[0]}), and a class is a whole number or a name."
                )
            if wrong := no_label(value for value in values if isinstance(value, str)):
                raise DatasetError(
                    f"{self.name}: column '{column}' of {self.where} has the label '{wrong}' in "
                    f"row {found.index(wrong) + 1} of {split}, and a class is a whole number or a "
                    "name. Give that row one name, or take it out."
                )
            return found
        if not 0 <= min(numbers) <= max(numbers) < len(names):
            hidden = " A split of -1 alone is one whose publisher keeps the labels."
            raise DatasetError(
                f"{self.name}: {split} of {self.where} has labels {min(numbers)} to "
                f"{max(numbers)}, and {counted(len(names), 'class name')}"
                + (f" in {self.asked.classnames}, one a line" if self.asked.classnames else "")
                + f", which are those of 0 to {len(names) - 1}."
                + (hidden if numbers == {-1} else "")
            )
        return [names[value] for value in values if isinstance(value, int)]

    def _numbered(self, split: str) -> list[str] | None:
        """As `_find_numbered`, once."""
        if split not in self._names:
            self._names[split] = self._find_numbered(split)
        return self._names[split]

    def _find_numbered(self, split: str) -> list[str] | None:
        """Names of the numbers that are a split's labels; None where its labels are names.

        Raises:
            DatasetError: If they are numbers that have no names.
        """
        table = self.tables[split]
        column = self._label_column(table)
        values = self._values(split, column)
        if values and not any(isinstance(value, int) for value in set(values)):
            return None  # without a row there may be names all the same
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
        """The classes that the copy itself names: in the order of its numbers, or sorted."""
        splits = {s: self.splits[s] for s in ("test", "train", "val") if s in self.splits}
        numbered = {split: self._numbered(name) for split, name in splits.items()}
        lists = [names for names in numbered.values() if names is not None]
        if lists:
            # The first as it is: two of its classes may have one name.
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
        """The class names that one of the copy's splits has."""
        return self._numbered(split) or sorted(set(self.labels(split)))

    def places(self, split: str) -> list[int]:
        """For every row of one of the copy's splits, which of the `known` names its class has."""
        names = self.labels(split)  # also checks them
        if self._numbered(split):
            values = self._values(split, self._label_column(self.tables[split]))
            return [value for value in values if isinstance(value, int)]
        place = {name: i for i, name in enumerate(self.known(split))}
        return [place[name] for name in names]

    def files(self, split: str) -> list[str | None]:
        """Original file name of every row, where the copy keeps it."""
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
        """Every file that holds rows, by its path from the folder."""
        root = self.folder.resolve()
        paths = (path for each in self._opened.paths.values() for path in each)
        return sorted((os.path.relpath(path, root), path) for path in paths)


class TableSource(Source):
    """A table of images and labels, a row an image.

    Args:
        copy: The tables.
        spec: The dataset's facts.
        state: What pins the content, such as a commit; None looks at the files.
        split_file: A published split to join by file name, over all the copy's rows.
    """

    def __init__(
        self,
        copy: TableCopy,
        spec: DatasetSpec,
        *,
        state: str | None = None,
        split_file: Path | None = None,
    ) -> None:
        self.where = copy.where
        self.classnames = spec.classnames
        self._copy = copy
        self._spec = spec
        self._state = state
        self._split_file = split_file
        self._published = (
            read_split_file(split_file, spec, copy.remarks.append) if split_file else None
        )
        self._places: dict[str, tuple[str, int]] = {}
        self.sizes, self.protocol = self._promised()
        self.remarks = copy.remarks

    def _promised(self) -> tuple[Mapping[Split, int], str]:
        """How many images the splits must have, and whose splits they are."""
        if self._published is not None:
            sizes = {split: len(samples) for split, samples in self._published.items()}
            published = sizes == self._spec.sizes
            return (sizes, self._spec.protocol) if published else ({}, "custom")
        if "test" not in self._copy.splits:
            return {}, UNSPLIT
        hub = self._copy.hub
        return (hub.sizes, hub.protocol) if hub else ({}, "custom")

    def _labels(self, names: Sequence[str]) -> dict[str, list[int | None]]:
        """Canonical label of every row of some of the copy's splits."""
        found: dict[str, list[int | None]] = {}
        met: set[int | None] = set()
        for name in names:
            self._copy.image_column(name)  # what is wrong with it is told before any is read
            known = self._copy.known(name)
            canonical = match(known, self._spec, self.where, some=True)
            met |= set(canonical)
            if known != list(self.classnames):
                same = [f"in {self.where} {line}" for line in same_names(enumerate(known))]
                self.remarks += [line for line in same if line not in self.remarks]
            found[name] = [canonical[place] for place in self._copy.places(name)]
        absent = [name for i, name in enumerate(self.classnames) if i not in met]
        if absent:
            raise DatasetError(
                f"{self._spec.name}: {self.where} has {len(met - {None})} of the "
                f"{len(self.classnames)} classes, and none of its rows is of '{absent[0]}'."
            )
        return found

    @cached_property
    def _samples(self) -> Mapping[Split, Sequence[Sample]]:
        if self._published is not None:
            return self._joined(self._published)
        labels = self._labels(list(self._copy.splits.values()))
        rows = {
            split: Samples.of(
                (f"{self._prefix}{name}/{row}", label)
                for row, label in enumerate(labels[name])
                if label is not None
            )
            for split, name in self._copy.splits.items()
        }
        if "test" not in rows:
            return divide([sample for samples in rows.values() for sample in samples])
        return rows

    @property
    def _prefix(self) -> str:
        """What keys begin with: images of a column that was asked for are others than without."""
        column = self._copy.asked.image_column
        return f"{column}:" if column else ""

    def _joined(self, published: dict[Split, Sequence[Sample]]) -> dict[Split, Sequence[Sample]]:
        """Rows of the whole copy, in the published order, under the published names."""
        rows: dict[tuple[str, int], list[tuple[str, int]]] = {}
        labels = self._labels(list(self._copy.tables))
        for name, theirs in labels.items():
            for row, (file, label) in enumerate(zip(self._files(name), theirs, strict=True)):
                if label is not None:
                    rows.setdefault((_stem(file), label), []).append((name, row))
        for samples in published.values():
            for key, label in samples:
                found = rows.get((_stem(key), label), [])
                if len(found) != 1:
                    what = "no row" if not found else f"{len(found)} rows"
                    raise DatasetError(
                        f"{self._spec.name}: {self.where} has {what} for '{key}' of "
                        f"{self._split_file}. This copy cannot be joined with the split file; "
                        f"use a local folder. {self._spec.fetch}"
                    )
                self._places[f"{self._prefix}{key}"] = found[0]
        return {
            split: [Sample(f"{self._prefix}{key}", label) for key, label in samples]
            for split, samples in published.items()
        }

    def _files(self, name: str) -> list[str]:
        """Original file name of every row."""
        files = self._copy.files(name)
        if not all(files):
            raise DatasetError(
                f"{self._spec.name}: {self.where} does not keep the original file names, so "
                f"{self._split_file} cannot be joined. Use a local folder. {self._spec.fetch}"
            )
        return [str(file) for file in files]

    def splits(self) -> tuple[Split, ...]:
        return tuple(split for split in SPLITS if split in self._samples)

    def index(self, split: Split) -> Sequence[Sample]:
        return self._samples[split]

    def read(self, sample: Sample) -> bytes:
        if sample.key in self._places:
            return self._copy.image(*self._places[sample.key])
        name, _, row = sample.key.removeprefix(self._prefix).rpartition("/")
        return self._copy.image(name, int(row))

    def state(self, samples: Sequence[Sample]) -> Any:
        stats = [(name, path.stat()) for name, path in self._copy.paths]
        return self._state or [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]

    @property
    def pinned(self) -> bool:
        return self._state is not None


def _words(table: Table, column: str) -> list[str | None]:
    """A column's texts, and in the place of numbers that have names the names."""
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
    """Class names, one a line, in the order of their numbers.

    Raises:
        DatasetError: If the file cannot be read, has no line, or an empty line.
    """
    try:
        return read_names(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{dataset}: {path} cannot be read: {error}.") from error


def _stem(file: str) -> str:
    """A file's name without its folder, and without its suffix where it has one."""
    path = PurePosixPath(file)
    return path.stem if is_image(file) else path.name
