"""Parquet files and webdataset shards, local or from the hub, read by Hugging Face ``datasets``."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from susx_bench.data.classes import match
from susx_bench.data.sources.base import Sample, Source, reason
from susx_bench.data.sources.splits import UNSPLIT, divide, read_split_file
from susx_bench.data.sources.tree import is_image
from susx_bench.data.spec import SPLITS, DatasetSpec, Hub, Split
from susx_bench.data.splitnames import files_by_split, guess_splits, split_remarks
from susx_bench.errors import DatasetError
from susx_bench.records.files import fingerprint
from susx_bench.records.text import read_names

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "cls", "fine_label", "class")
CLASSNAMES_FILE = "classnames.txt"
"""Class names of a webdataset copy, one a line, in the order of its labels."""


class TableSource(Source):
    """A table of images and labels, a row an image.

    Args:
        folder: Folder of Parquet files or of webdataset shards.
        spec: The dataset's facts.
        hub: What is known of the copy; None finds out.
        state: What pins the content, such as a commit; None looks at the files.
        split_file: A published split to join by file name, over all the copy's rows.
    """

    def __init__(
        self,
        folder: Path,
        spec: DatasetSpec,
        hub: Hub | None = None,
        *,
        where: str = "",
        state: str | None = None,
        split_file: Path | None = None,
    ) -> None:
        self.folder = folder
        self.where = where or str(folder)
        self.classnames = spec.classnames
        self.remarks = []
        self._spec = spec
        self._hub = hub
        self._state = state
        self._split_file = split_file
        self._published = read_split_file(split_file, spec) if split_file else None
        self._places: dict[str, str] = {}
        self._written: set[int] = set()  # classes that a split has, where rows say their names
        self.sizes, self.protocol = self._promised()

    def _promised(self) -> tuple[Mapping[Split, int], str]:
        """How many images the splits must have, and whose splits they are."""
        if self._published is not None:
            sizes = {split: len(samples) for split, samples in self._published.items()}
            published = sizes == self._spec.sizes
            return (sizes, self._spec.protocol) if published else ({}, "custom")
        if "test" not in self._theirs:
            return {}, UNSPLIT
        return (self._hub.sizes, self._hub.protocol) if self._hub else ({}, "custom")

    @cached_property
    def tables(self) -> dict[str, Dataset]:
        """Every split under the copy's own name, its images not decoded.

        Raises:
            DatasetError: If there are none, or they cannot be read.
        """
        config = self._hub.config if self._hub else None
        tables = load_tables(self.folder, config, self._spec.name, self.where)
        return {name: undecoded(table, self._image(table)) for name, table in tables.items()}

    @cached_property
    def _images(self) -> dict[str, Dataset]:
        """The tables with nothing but images: reading a row decodes whatever else it holds."""
        return {
            name: table.select_columns([self._image(table)]) for name, table in self.tables.items()
        }

    def _image(self, table: Dataset) -> str:
        known = (self._hub.image, *IMAGE_COLUMNS) if self._hub else IMAGE_COLUMNS
        return self._column(known, table, "images")

    def _label(self, table: Dataset) -> str:
        known = (self._hub.label, *LABEL_COLUMNS) if self._hub else LABEL_COLUMNS
        return self._column(known, table, "labels")

    def _column(self, known: Sequence[str], table: Dataset, what: str) -> str:
        for name in known:
            if name in table.column_names:
                return name
        raise DatasetError(
            f"{self._spec.name}: {self.where} has the columns {', '.join(table.column_names)}; "
            f"none of {', '.join(dict.fromkeys(known))} is there for the {what}."
        )

    @cached_property
    def _theirs(self) -> dict[Split, str]:
        """The copy's own name of each split."""
        names = list(self.tables)
        if self._hub and self._hub.splits:
            for name in self._hub.splits.values():
                if name not in names:
                    raise DatasetError(
                        f"{self._spec.name}: {self.where} has the splits {', '.join(names)}, "
                        f"and no '{name}' as {self._hub.repo} has."
                    )
            return dict(self._hub.splits)
        theirs = guess_splits(names, f"{self._spec.name}: {self.where}")
        self.remarks += split_remarks(names, theirs)
        return theirs

    def _labels(self, name: str) -> list[int | None]:
        """Canonical label of every row of one of the copy's splits."""
        table = self.tables[name]
        column = self._label(table)
        if missing := table.data.column(column).null_count:
            raise DatasetError(
                f"{self._spec.name}: {missing} of {len(table)} rows in {name} of {self.where} "
                "have no label."
            )
        raw = table.with_format("numpy")[column][:]
        names = class_labels(table, column)
        if names is None and raw.dtype.kind in "iu":
            path = self.folder / CLASSNAMES_FILE
            if not path.is_file():
                raise DatasetError(
                    f"{self._spec.name}: {self.where} has numbers for labels, and neither names "
                    f"for them nor a {CLASSNAMES_FILE}. Labels are never believed by their "
                    "position: give a copy that names its classes."
                )
            names = read_classnames(path, self._spec.name)
        strings = names is None
        if names is None:
            unique, numbers = np.unique(raw.astype(str), return_inverse=True)
            names = unique.tolist()
        else:
            numbers = raw
            if len(raw) and not 0 <= raw.min() <= raw.max() < len(names):
                raise DatasetError(
                    f"{self._spec.name}: {name} of {self.where} has labels {raw.min()} to "
                    f"{raw.max()}, and {len(names)} class names."
                )
        canonical = match(names, self._spec, self.where, some=strings)
        if strings:
            self._written |= {label for label in canonical if label is not None}
        return [canonical[int(i)] for i in numbers]

    @cached_property
    def _samples(self) -> Mapping[Split, list[Sample]]:
        if self._published is not None:
            return self._joined(self._published)
        rows = {
            split: [
                Sample(f"{name}/{row}", label)
                for row, label in enumerate(self._labels(name))
                if label is not None
            ]
            for split, name in self._theirs.items()
        }
        absent = [name for i, name in enumerate(self.classnames) if i not in self._written]
        if self._written and absent:
            raise DatasetError(
                f"{self._spec.name}: {self.where} has {len(self._written)} of the "
                f"{len(self.classnames)} classes, and none of its rows is of '{absent[0]}'."
            )
        if "test" not in rows:
            return divide([sample for samples in rows.values() for sample in samples])
        return rows

    def _joined(self, published: dict[Split, list[Sample]]) -> dict[Split, list[Sample]]:
        """Rows of the whole copy, in the published order, under the published names."""
        rows: dict[tuple[str, int], list[str]] = {}
        for name, table in self.tables.items():
            files = self._files(table)
            for row, (file, label) in enumerate(zip(files, self._labels(name), strict=True)):
                if label is not None:
                    rows.setdefault((_stem(file), label), []).append(f"{name}/{row}")
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
                self._places[key] = found[0]
        return published

    def _files(self, table: Dataset) -> list[str]:
        """Original file name of every row."""
        if self._hub and self._hub.name:
            names = table[self._hub.name][:]
        else:  # without the bytes that stand beside them
            image = self._image(table)
            names = table.select_columns([image]).flatten()[f"{image}.path"][:]
        if not all(names):
            raise DatasetError(
                f"{self._spec.name}: {self.where} does not keep the original file names, so "
                f"{self._split_file} cannot be joined. Use a local folder. {self._spec.fetch}"
            )
        return [str(name) for name in names]

    def splits(self) -> tuple[Split, ...]:
        return tuple(split for split in SPLITS if split in self._samples)

    def index(self, split: Split) -> list[Sample]:
        return self._samples[split]

    def read(self, sample: Sample) -> bytes:
        place = self._places.get(sample.key, sample.key)
        name, _, row = place.rpartition("/")
        table = self._images[name]
        value: Any = table[int(row)][self._image(table)]
        if value is None or value["bytes"] is None:
            raise OSError("its row holds no image")
        return bytes(value["bytes"])

    def state(self, samples: Sequence[Sample]) -> Any:
        if self._state:
            return self._state
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        stats = [(path, path.stat()) for path in files]
        return [[str(p.relative_to(self.folder)), s.st_size, s.st_mtime_ns] for p, s in stats]

    def content(self, samples: Sequence[Sample]) -> Any:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return self._state or [
            [path.relative_to(self.folder).as_posix(), fingerprint(path)] for path in files
        ]


def has_tables(folder: Path) -> bool:
    """Whether there are Parquet files or webdataset shards in a folder or below."""
    return any(folder.rglob("*.parquet")) or any(folder.rglob("*.tar"))


def load_tables(folder: Path, config: str | None, dataset: str, where: str) -> DatasetDict:
    """Read all splits of a folder of Parquet files or webdataset shards; no network.

    Args:
        folder: The folder.
        config: Which of its configurations, where it has several.
        dataset: Name of the dataset, for messages.
        where: Where the folder came from, for messages.

    Raises:
        DatasetError: If ``datasets`` cannot read them.
    """
    import datasets

    parquet, shards = _files(folder, "parquet", where), _files(folder, "tar", where)
    if not parquet and not shards:
        raise DatasetError(f"{dataset}: {where} has neither Parquet files nor webdataset shards.")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    log = logging.getLogger("datasets")
    told = _Told()
    handlers, log.handlers = log.handlers, [told]
    try:
        if parquet:
            # Where a card says which files are in which split, it is right.
            files = None if _has_configurations(folder) else parquet
            return datasets.load_dataset(str(folder), name=config, data_files=files)
        return datasets.load_dataset("webdataset", data_files=shards)
    except Exception as error:  # whatever datasets and pyarrow raise
        why = next(iter(told.errors), reason(error.__cause__ or error))
        raise DatasetError(
            f"{dataset}: {where} cannot be read by datasets {datasets.__version__}: {why}"
        ) from error
    finally:
        log.handlers = handlers


class _Told(logging.Handler):
    """Keeps what ``datasets`` logs before it raises less: the name of the broken file."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record.getMessage())


def _files(folder: Path, kind: str, where: str) -> dict[str, list[str]]:
    """The files of a kind by split, which the name of a folder or of the file says.

    ``datasets`` left alone knows fewer names, and takes what it does not know for train.
    """
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*.{kind}"))
    found = files_by_split(there, where)
    return {split: [str(folder / file) for file in files] for split, files in found.items()}


def _has_configurations(folder: Path) -> bool:
    """Whether the card of a copy says which files are in which split."""
    card = folder / "README.md"
    if not card.is_file():
        return False
    text = card.read_text(encoding="utf-8", errors="replace")
    return re.match(r"---\r?\n(?:(?!---).*\n)*?configs:", text) is not None


def undecoded(table: Dataset, image: str) -> Dataset:
    """The table with its images as bytes: ``datasets`` would turn them by EXIF."""
    from datasets import Image

    return table.cast_column(image, Image(decode=False))


def class_labels(table: Dataset, column: str) -> list[str] | None:
    """Names of a column's labels, where it has them."""
    names = getattr(table.features[column], "names", None)
    return None if names is None else [str(name) for name in names]


def read_classnames(path: Path, dataset: str) -> list[str]:
    """Class names, one a line, in the order of their numbers.

    Raises:
        DatasetError: If the file cannot be read, has no line, an empty line, or a name twice.
    """
    try:
        return read_names(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{dataset}: {path} cannot be read: {error}.") from error


def _stem(file: str) -> str:
    """A file's name without its folder, and without its suffix where it has one."""
    path = PurePosixPath(file)
    return path.stem if is_image(file) else path.name
