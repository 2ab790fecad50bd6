"""Datasets nobody wrote a file for: a folder of yours, or any dataset on the hub."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from susx_bench.data.base import BenchDataModule
from susx_bench.data.published import SourcedDataModule
from susx_bench.data.sources.base import Source
from susx_bench.data.sources.folder import FolderSource, UnsplitSource, class_folders
from susx_bench.data.sources.hub import pinned, snapshot
from susx_bench.data.sources.table import (
    CLASSNAMES_FILE,
    LABEL_COLUMNS,
    TableSource,
    class_labels,
    guess_splits,
    load_tables,
)
from susx_bench.data.spec import ClassFolders, DatasetSpec, Hub, Split
from susx_bench.errors import DatasetError
from susx_bench.registry import DATASETS

_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}


def open_dataset(name: str) -> type[BenchDataModule]:
    """The class of a dataset: ``./folder``, ``hf:ORG/NAME[@REVISION]`` or a registered name.

    Raises:
        UnknownNameError: If nobody registered the name.
        DatasetError: If a folder or a repository cannot be read.
    """
    return _open_yours(name) or DATASETS.get(name)


def _open_yours(name: str) -> type[SourcedDataModule] | None:
    """A dataset class for ``./folder`` or ``hf:ORG/NAME[@REVISION]``; None for any other name.

    Raises:
        DatasetError: If it cannot be read.
    """
    if name.startswith("hf:"):
        return _from_hub(name.removeprefix("hf:"))
    if name.startswith((".", "/", "~")):
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


def _made(spec_: DatasetSpec, source: Source) -> type[SourcedDataModule]:
    class Yours(SourcedDataModule):
        """A dataset of the user's."""

        spec = spec_

        @cached_property
        def origin_source(self) -> Source:
            return source

    return Yours


def _from_folder(folder: Path) -> type[SourcedDataModule]:
    if not folder.is_dir():
        raise DatasetError(f"--dataset {folder}: there is no such folder.")
    name = folder.resolve().name
    if any(folder.glob("**/*.parquet")) or any(folder.glob("**/*.tar")):
        spec = _spec(name, str(folder), _table_classes(folder, name, str(folder)))
        return _made(spec, TableSource(folder, spec))
    splits: dict[Split, str] = {
        split: found
        for split, names in _SPLITS.items()
        if (found := next((n for n in names if (folder / n).is_dir()), None))
    }
    classes = class_folders(folder / splits["test"] if "test" in splits else folder)
    classnames = tuple(path.name.replace("_", " ") for path in classes)
    if len(classnames) < 2:
        raise DatasetError(
            f"--dataset {folder}: it has {len(classnames)} class folders, at least 2 are needed: "
            f"{folder}/test/CLASS/IMAGE (and train, val), or {folder}/CLASS/IMAGE without a split."
        )
    spec = _spec(name, str(folder), classnames)
    if "test" not in splits:
        return _made(spec, UnsplitSource(folder, spec))
    return _made(spec, FolderSource(folder, spec, ClassFolders(splits=splits)))


def _from_hub(name: str) -> type[SourcedDataModule]:
    repo, _, revision = name.partition("@")
    commit = pinned(repo, revision or None, repo)
    hub = Hub(repo=repo, revision=commit, splits={}, sizes={}, protocol="hub-official")
    folder = snapshot(hub, repo, "")
    where = f"hf:{repo}@{commit[:12]}"
    spec = _spec(repo.replace("/", "-"), where, _table_classes(folder, repo, where))
    return _made(spec, TableSource(folder, spec, where=where, state=f"{repo}@{commit}"))


def _table_classes(folder: Path, name: str, where: str) -> tuple[str, ...]:
    """Class names of a table nobody described, in its own order."""
    tables = load_tables(folder, None, where)
    names = list(guess_splits(list(tables)).values())
    table = tables[names[-1] if names else next(iter(tables))]
    column = next((known for known in LABEL_COLUMNS if known in table.column_names), None)
    if column is None:
        raise DatasetError(
            f"{name}: {where} has the columns {', '.join(table.column_names)}, none of which is "
            f"{', '.join(LABEL_COLUMNS)}."
        )
    found = class_labels(table, column)
    if found is None and (folder / CLASSNAMES_FILE).is_file():
        lines = (folder / CLASSNAMES_FILE).read_text(encoding="utf-8").splitlines()
        found = [line for line in lines if line.strip()]
    if found is None:
        found = sorted({str(value) for value in table[column]})
    return tuple(label.replace("_", " ") for label in found)
