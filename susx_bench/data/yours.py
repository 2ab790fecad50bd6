"""Datasets nobody wrote a file for: a folder of yours, or any dataset on the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from susx_bench.data.base import BenchDataModule, Where
from susx_bench.data.classes import unite
from susx_bench.data.published import SourcedDataModule, hub_source
from susx_bench.data.sources.base import Source
from susx_bench.data.sources.folder import FolderSource, UnsplitSource
from susx_bench.data.sources.guess import advice, guess
from susx_bench.data.sources.hub import copy_named, snapshot
from susx_bench.data.sources.table import (
    CLASSNAMES_FILE,
    LABEL_COLUMNS,
    TableSource,
    class_labels,
    has_tables,
    load_tables,
    read_classnames,
)
from susx_bench.data.spec import ClassFolders, DatasetSpec
from susx_bench.data.splitnames import guess_splits
from susx_bench.errors import DatasetError, OptionError
from susx_bench.registry import DATASETS

_YOURS = (".", "/", "~", "hf:")
"""What the name of a folder or a repository starts with."""


def open_dataset(name: str) -> type[BenchDataModule]:
    """The class of a dataset: ``./folder``, ``hf:ORG/NAME[@REVISION]`` or a registered name.

    Raises:
        UnknownNameError: If nobody registered the name.
        DatasetError: If a folder or a repository cannot be read.
    """
    return _open_yours(name) or DATASETS.get(name)


def own_encoder(name: str) -> str | None:
    """The encoder that a dataset comes with; None where it has none. Reads no data.

    Raises:
        UnknownNameError: If nobody registered the name.
    """
    if name.startswith(_YOURS):
        return None
    return DATASETS.get(name).spec.encoder


def _open_yours(name: str) -> type[SourcedDataModule] | None:
    """A dataset class for ``./folder`` or ``hf:ORG/NAME[@REVISION]``; None for any other name.

    Raises:
        DatasetError: If it cannot be read.
    """
    if name.startswith("hf:"):
        return _from_hub(name.removeprefix("hf:"))
    if name.startswith(_YOURS):
        return _from_folder(Path(name).expanduser())
    return None


def _spec(name: str, title: str, classnames: tuple[str, ...]) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        title=title,
        classnames=classnames,
        sizes={},
        template="a photo of a {}.",
        photo="A photo of a {}.",
        licence="yours to know",
        protocol="custom",
        bibtex_key="",
    )


def _made(
    spec_: DatasetSpec, find: Callable[[Path | None], Source], remarks: Sequence[str] = ()
) -> type[SourcedDataModule]:
    class Yours(SourcedDataModule):
        """A dataset of the user's."""

        spec = spec_

        @classmethod
        @cache
        def _find(cls, where: Where) -> Source:
            if where.source != "auto":
                raise OptionError(
                    f"--source {where.source}: {spec_.title} is a source itself; --source goes "
                    "with the name of a dataset."
                )
            source = find(where.split_file)
            source.remarks += remarks
            return source

    return Yours


def _from_folder(folder: Path) -> type[SourcedDataModule]:
    if not folder.is_dir():
        raise DatasetError(f"--dataset {folder}: there is no such folder.")
    name = folder.resolve().name
    found = guess(folder)
    if found is None and has_tables(folder):
        names, remarks = _table_classes(folder, name, str(folder))
        spec = _spec(name, str(folder), names)
        return _made(
            spec, lambda split_file: TableSource(folder, spec, split_file=split_file), remarks
        )
    if found is None:
        raise DatasetError(f"--dataset {folder}: no folder in it has an image. {advice(folder)}")
    spec = _spec(name, str(folder), tuple(each.replace("_", " ") for each in found.classnames))
    layout = ClassFolders(splits=found.splits, complete=False)
    return _made(
        spec,
        lambda split_file: (
            FolderSource(folder, spec, layout, split_file, () if split_file else found.remarks)
            if split_file or found.splits
            else UnsplitSource(folder, spec, found.classes, found.remarks)
        ),
    )


def _from_hub(name: str) -> type[SourcedDataModule]:
    hub = copy_named(name)
    folder = snapshot(hub, hub.repo, "")
    where = f"hf:{hub.repo}@{folder.name[:12]}"
    classnames, remarks = _table_classes(folder, hub.repo, where)
    spec = _spec(hub.repo.replace("/", "-"), f"hf:{name}", classnames)
    hub = replace(hub, revision=folder.name)
    return _made(spec, lambda split_file: hub_source(spec, hub, split_file), remarks)


def _table_classes(folder: Path, name: str, where: str) -> tuple[tuple[str, ...], list[str]]:
    """Class names of a table nobody described, in its own order, and what to tell of them."""
    tables = load_tables(folder, None, name, where)
    splits = guess_splits(list(tables), f"{name}: {where}")
    table = tables[splits.get("test", splits.get("train", ""))]
    column = next((known for known in LABEL_COLUMNS if known in table.column_names), None)
    if column is None:
        raise DatasetError(
            f"{name}: {where} has the columns {', '.join(table.column_names)}, none of which is "
            f"{', '.join(LABEL_COLUMNS)}."
        )
    found = class_labels(table, column)
    if found is None and (folder / CLASSNAMES_FILE).is_file():
        found = read_classnames(folder / CLASSNAMES_FILE, name)
    remarks: list[str] = []
    if found is None:
        written = {
            split: {str(label) for label in tables[splits[split]].unique(column)}
            for split in ("test", "train", "val")
            if split in splits
        }
        found, remarks = unite(written, f"{name}: {where}")
    return tuple(label.replace("_", " ") for label in found), remarks
