"""Find the images of a dataset whose facts are known: in a local folder, or on the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from susx_bench.data.sources.base import Source
from susx_bench.data.sources.datafiles import has_tables, walk
from susx_bench.data.sources.folder import FolderSource
from susx_bench.data.sources.hub import copy_named, snapshot
from susx_bench.data.sources.lent import LentSource
from susx_bench.data.sources.table import TableSource
from susx_bench.data.sources.tablecopy import TableCopy
from susx_bench.data.sources.tree import class_folders
from susx_bench.data.spec import ClassFolders, DatasetSpec, Hub, Layout, SplitFile, Tables, Where
from susx_bench.data.splitnames import named_splits, one_each
from susx_bench.errors import DatasetError, OptionError
from susx_bench.registry import DATASETS

if TYPE_CHECKING:
    from susx_bench.data.dataset import Dataset

Lend = Callable[[str, Where], "Dataset"]
"""Opens the dataset that lends its train images, by name; perhaps one that is open already."""


def local_folder(spec: DatasetSpec, root: Path | None) -> Path | None:
    """The dataset's folder under the data root, under its own or the field's other names."""
    if root is None:
        return None
    folders = [root / name for name in (spec.name, *spec.folders) if (root / name).is_dir()]
    fitting = (folder for folder in folders if spec.layout and _has(spec.layout, folder))
    return next(fitting, folders[0] if folders else None)


def find_source(spec: DatasetSpec, where: Where, lend: Lend | None = None) -> Source:
    """Find a dataset's images: in its folder, else on the hub; add train images of its lender.

    Args:
        spec: The facts of the dataset.
        where: Where to search.
        lend: Opens the lender, so that those who borrow from it list it once; None to open it anew.

    Raises:
        DatasetError: If they are in neither; the message says how to get them.
        OptionError: If the source is unknown.
    """
    source = _own_source(spec, where)
    if not spec.train_of or "train" in source.splits():
        return source
    lent = DATASETS.get(spec.train_of)
    folder = local_folder(lent, where.root)
    if folder is None or not isinstance(lent.layout, ClassFolders):
        return source
    if not (folder / lent.layout.splits["train"]).is_dir() or not _has(lent.layout, folder):
        return source
    # The other options tell how to read the copy of the test images.
    there = replace(where, source="auto", split_file=None, image_column=None, label_column=None)
    lender = lend(lent.name, there).source if lend else find_source(lent, there)
    return LentSource(source, lender, spec, lent)


def _own_source(spec: DatasetSpec, where: Where) -> Source:
    """A dataset's own images, see `find_source`."""
    kind, _, name = where.source.partition(":")
    if kind == "hf" and name:
        return hub_source(spec, _hub_copy(spec, name), where)
    if where.source not in ("auto", "folder", "hub"):
        raise OptionError(
            f"--source {where.source}: it is auto, folder, hub or hf:ORG/NAME[:CONFIG][@REVISION]."
        )
    folder = local_folder(spec, where.root)
    if where.source != "hub" and folder:
        return _folder(spec, folder, where)
    if where.source != "folder" and spec.hub:
        return hub_source(spec, spec.hub[0], where)
    root = where.root / spec.name if where.root else None
    looked = f"{root} does not exist" if root else "no --data-root (or SUSX_BENCH_DATA) is given"
    no_hub = "" if spec.hub else ", and no copy on the hub is known with its commit"
    raise DatasetError(
        f"{spec.name}: {looked}{no_hub}. {spec.fetch} "
        f"Then run `susx-bench data check {spec.name} --data-root DIR`."
    )


def hub_source(spec: DatasetSpec, hub: Hub, where: Where) -> TableSource:
    """A copy on the hub.

    Raises:
        DatasetError: If it cannot be downloaded or read.
    """
    copy = hub_copy(hub, spec.name, spec.fetch, where)
    return TableSource(copy, spec, state=pinned(copy), split_file=where.split_file)


def hub_copy(hub: Hub, name: str, fetch: str, where: Where) -> TableCopy:
    """The tables of a copy on the hub, downloaded if they are not cached.

    Raises:
        DatasetError: If they cannot be downloaded or read.
    """
    folder = snapshot(hub, name, fetch)
    config = f":{hub.config}" if hub.config else ""
    return TableCopy(folder, name, where, hub, f"hf:{hub.repo}{config}@{folder.name[:12]}")


def pinned(copy: TableCopy) -> str:
    """The commit of a copy on the hub, which pins its content."""
    assert copy.hub is not None
    config = f":{copy.hub.config}" if copy.hub.config else ""
    return f"{copy.hub.repo}{config}@{copy.folder.name}"


def _hub_copy(spec: DatasetSpec, name: str) -> Hub:
    """The facts of ``ORG/NAME[:CONFIG][@REVISION]``, as far as they are known.

    Sizes are known only for the commit and the configuration in the dataset's facts.
    """
    requested = copy_named(name)
    published = next((hub for hub in spec.hub if hub.repo == requested.repo), None)
    if published is None:
        return requested
    revision = requested.revision if "@" in name else published.revision
    config = requested.config or published.config
    if (revision, config) == (published.revision, published.config):
        return published
    return replace(published, revision=revision, config=config, sizes={}, protocol="hub-official")


def _folder(spec: DatasetSpec, folder: Path, where: Where) -> Source:
    """A local folder: in the dataset's own layout, of tables, or of class folders."""
    split_file = where.split_file
    layout = spec.layout or Tables()
    if not _has(layout, folder):
        if has_tables(folder):
            hub = next((hub for hub in spec.hub if _fits(hub, folder)), None)
            return TableSource(
                TableCopy(folder, spec.name, where, hub), spec, split_file=split_file
            )
        names = named_splits(path.name for path in class_folders(folder))
        wanted = {split: folders for split, folders in names.items() if split in spec.sizes}
        if spec.sizes and wanted.keys() == spec.sizes.keys():
            layout = ClassFolders(splits=one_each(wanted, f"{spec.name}: {folder}"))
    if isinstance(layout, Tables) and not split_file:
        raise DatasetError(
            f"{spec.name}: {folder} has neither Parquet files nor webdataset shards, nor the "
            f"folders {', '.join(spec.sizes)}. {spec.fetch}"
        )
    if where.image_column or where.label_column:
        raise OptionError(
            f"--image-column and --label-column go with tables, and {folder} has folders of images."
        )
    return FolderSource(folder, spec, layout, split_file)


def _has(layout: Layout, folder: Path) -> bool:
    if isinstance(layout, Tables):
        return False
    if isinstance(layout, ClassFolders):
        splits = (folder / name for name in layout.splits.values())
        return any(split.is_dir() and any(class_folders(split)) for split in splits)
    if isinstance(layout, SplitFile) and layout.images == ".":
        return (folder / layout.file).is_file()
    return (folder / layout.images).is_dir()


def _fits(hub: Hub, folder: Path) -> bool:
    """Whether a local folder of tables can be a copy of a hub repository: the file kinds agree."""
    ending = ".tar" if hub.label == "cls" else ".parquet"
    return any(place.lower().endswith(ending) for place in walk(folder))
