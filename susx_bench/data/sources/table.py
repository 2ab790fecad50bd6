"""A dataset as tables: Parquet files, webdataset shards or the output of ``save_to_disk``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from susx_bench.data.classes import match, same_names
from susx_bench.data.sources.base import Sample, Samples, Source
from susx_bench.data.sources.splits import UNSPLIT, divide, read_split_file
from susx_bench.data.sources.tablecopy import TableCopy
from susx_bench.data.sources.tree import is_image
from susx_bench.data.spec import SPLITS, DatasetSpec, Split
from susx_bench.errors import DatasetError


class TableSource(Source):
    """A table of images and labels, one row per image.

    Args:
        copy: The tables.
        spec: The dataset's facts.
        state: Pins the content, such as a commit; None for the state of the files.
        split_file: A published split to join with all the copy's rows, by file name.
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
        """Required number of images of each split, and the protocol."""
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
        labels: dict[str, list[int | None]] = {}
        met: set[int | None] = set()
        for name in names:
            self._copy.image_column(name)  # report its faults before anything is read
            classnames = self._copy.known(name)
            canonical = match(classnames, self._spec, self.where, some=True)
            met |= set(canonical)
            if classnames != list(self.classnames):
                same = [f"in {self.where} {line}" for line in same_names(enumerate(classnames))]
                self.remarks += [line for line in same if line not in self.remarks]
            labels[name] = [canonical[place] for place in self._copy.places(name)]
        absent = [name for i, name in enumerate(self.classnames) if i not in met]
        if absent:
            raise DatasetError(
                f"{self._spec.name}: {self.where} has {len(met - {None})} of the "
                f"{len(self.classnames)} classes, and none of its rows is of '{absent[0]}'."
            )
        return labels

    @cached_property
    def _samples(self) -> Mapping[Split, Sequence[Sample]]:
        if self._published is not None:
            return self._joined(self._published)
        labels = self._labels(list(self._copy.splits.values()))
        rows = {
            split: Samples.numbered(f"{self._prefix}{name}/", labels[name])
            for split, name in self._copy.splits.items()
        }
        if "test" not in rows:
            return divide([sample for samples in rows.values() for sample in samples])
        return rows

    @property
    def _prefix(self) -> str:
        """Prefix of keys: images of a column that the user chose are different images."""
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
                matches = rows.get((_stem(key), label), [])
                if len(matches) != 1:
                    count = "no row" if not matches else f"{len(matches)} rows"
                    raise DatasetError(
                        f"{self._spec.name}: {self.where} has {count} for '{key}' of "
                        f"{self._split_file}. This copy cannot be joined with the split file; "
                        f"use a local folder. {self._spec.fetch}"
                    )
                self._places[f"{self._prefix}{key}"] = matches[0]
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


def _stem(file: str) -> str:
    """A file's name without its folder, and without its suffix where it has one."""
    path = PurePosixPath(file)
    return path.stem if is_image(file) else path.name
