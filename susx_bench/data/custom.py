"""Open a dataset by name: a registered one, a folder of the user's, or any on the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from susx_bench.data.classes import squash
from susx_bench.data.dataset import Dataset
from susx_bench.data.sources.base import Source
from susx_bench.data.sources.datafiles import has_tables
from susx_bench.data.sources.find import Lend, find_source, hub_copy, pinned
from susx_bench.data.sources.folder import FolderSource, UnsplitSource
from susx_bench.data.sources.guess import advice, guess
from susx_bench.data.sources.hub import copy_named
from susx_bench.data.sources.listed import ListedSource, read_listed
from susx_bench.data.sources.splits import split_file_classes
from susx_bench.data.sources.table import TableSource
from susx_bench.data.sources.tablecopy import TableCopy, read_classnames
from susx_bench.data.sources.tree import LISTS, described, image_files, lists_in, read_tree
from susx_bench.data.spec import ClassFolders, DatasetSpec, Where, own_spec
from susx_bench.data.wording import wording_hints
from susx_bench.errors import DatasetError, OptionError
from susx_bench.options.shared import OWN
from susx_bench.records.text import trimmed
from susx_bench.registry import DATASETS


def open_dataset(name: str, where: Where | None = None, lend: Lend | None = None) -> Dataset:
    """Open ``./folder``, ``./list.csv``, ``hf:ORG/NAME[:CONFIG][@REVISION]`` or a known name.

    Args:
        name: The name.
        where: Where to search for the images, and the columns and class names of a table.
        lend: See `find_source`.

    Raises:
        UnknownNameError: If no such dataset is registered.
        DatasetError: If a folder or a repository cannot be read.
    """
    where = where or Where()
    if name.startswith("hf:"):
        return _from_hub(name.removeprefix("hf:"), where)
    if name.startswith(OWN):
        return _from_folder(Path(name).expanduser(), where)
    return _registered(name, where, lend)


def _registered(name: str, where: Where, lend: Lend | None) -> Dataset:
    """A registered dataset; options that describe the user's own data are refused."""
    spec = DATASETS.get(name)
    if where.classnames:
        raise OptionError(
            f"--classnames goes with a bundle and with data of yours; {name} has its own names."
        )
    if spec.source is not None:
        _refuse_columns(where, f"{name} has no table")
        return Dataset(spec, where)
    return Dataset(spec, where, lambda: find_source(spec, where, lend))


def _refuse_columns(where: Where, why: str) -> None:
    for option in ("image_column", "label_column"):
        if getattr(where, option):
            raise OptionError(f"--{option.replace('_', '-')} goes with tables, and {why}.")


def own_encoder(name: str) -> str | None:
    """The encoder that a dataset comes with, or None. Reads no data.

    Raises:
        UnknownNameError: If no such dataset is registered.
    """
    if name.startswith(OWN):
        return None
    return DATASETS.get(name).encoder


def _spec(name: str, title: str, own: Sequence[str], where: Where) -> DatasetSpec:
    """The facts of data with the class names `own`; the user may rename the classes.

    Raises:
        DatasetError: If a class has no name, or the user's names are not those of the classes.
    """
    classnames = tuple(trimmed(name.replace("_", " ")) for name in own)
    if "" in classnames and not where.classnames:
        nameless = own[classnames.index("")]
        raise DatasetError(
            f"{title}: the class {nameless!r} has no name that a prompt can hold. Rename it."
        )
    aliases: dict[str, tuple[str, ...]] = {}
    if where.classnames:
        user_names = read_classnames(where.classnames, name)
        own = _in_order(own, f"--classnames {where.classnames}", title)
        _check_names(user_names, own, f"--classnames {where.classnames}", title)
        aliases = {new: (old,) for new, old in zip(user_names, own, strict=True) if new != old}
        twice = next((name for name in user_names if user_names.count(name) > 1), None)
        if aliases and twice is not None:
            raise DatasetError(
                f"--classnames {where.classnames} has '{twice}' twice, and {title} tells its "
                "classes apart by their names: give each its own."
            )
        classnames = tuple(user_names)
    return own_spec(name, title, classnames, aliases)


def _in_order(own: Sequence[str], option: str, title: str) -> Sequence[str]:
    """Names in their order, or sorted as numbers if all are numbers: 2 before 10.

    Raises:
        DatasetError: If they are numbers with a gap.
    """
    if not all(name.isdecimal() and name.isascii() for name in own):
        return own
    ordered = sorted(own, key=int)
    low, high = int(ordered[0]), int(ordered[-1])
    if low > 1 or high - low + 1 != len(own):
        raise DatasetError(
            f"{option}: the {len(own)} classes of {title} are numbers from {low} to {high} and "
            "not all of them, so it is not clear which line is whose. Name them in the data."
        )
    return ordered


def _check_names(user_names: Sequence[str], own: Sequence[str], option: str, title: str) -> None:
    """Check that the user's names are in the order of the classes.

    Raises:
        DatasetError: If their number differs, or one is the name of another class.
    """
    if len(user_names) != len(own):
        raise DatasetError(f"{option} has {len(user_names)} names, {title} has {len(own)} classes.")
    places = {squash(name): place for place, name in enumerate(own)}
    for place, name in enumerate(user_names):
        other = place if squash(own[place]) == squash(name) else places.get(squash(name), place)
        if other != place:
            raise DatasetError(
                f"{option} has '{name}' in line {place + 1}, and {title} has it as class "
                f"{other + 1}: name the classes in its order, {', '.join(own[:5])}, ..."
            )


def _dataset(
    spec: DatasetSpec, own: Sequence[str], where: Where, find: Callable[[], Source]
) -> Dataset:
    """A dataset of the user; its source is found when its images are needed.

    Args:
        spec: The facts.
        own: The class names in the data.
        where: The user's options.
        find: Finds its images.
    """

    def source() -> Source:
        if where.source != "auto":
            raise OptionError(
                f"--source {where.source}: {spec.title} is a source itself; --source goes "
                "with the name of a dataset."
            )
        return find()

    hints = wording_hints(spec.classnames if where.classnames else own)
    folder = Path(spec.title)
    if not spec.title.startswith("hf:") and spec.name in DATASETS.names():
        hints.insert(
            0,
            f"{folder} is read as data of your own; for the dataset of that name give "
            f"--dataset {spec.name} --data-root {folder.parent}",
        )
    return Dataset(spec, where, source, hints, own=True)


def _from_folder(folder: Path, where: Where) -> Dataset:
    if folder.suffix.lower() in LISTS and not folder.is_dir():
        return _from_list(folder, where)
    if not folder.is_dir():
        raise DatasetError(f"--dataset {folder}: there is no such folder.")
    name = folder.resolve().name
    split_file = where.split_file
    if split_file and next(image_files(folder), None):
        return _from_split_file(folder, name, split_file, where)
    layout = guess(folder)
    if layout is None and has_tables(folder):
        copy = TableCopy(folder, name, where)
        spec = _spec(name, str(folder), copy.classnames, where)
        return _dataset(
            spec, copy.classnames, where, lambda: TableSource(copy, spec, split_file=split_file)
        )
    if layout is None:
        left = described(read_tree(folder).left)
        only = f", only {left}" if left else ""
        beside = "".join(f" {line[0].upper()}{line[1:]}." for line in lists_in(folder))
        raise DatasetError(
            f"--dataset {folder}: no folder in it has an image{only}. {advice(folder)}{beside}"
        )
    _refuse_columns(where, f"{folder} has folders of images")
    spec = _spec(name, str(folder), layout.classnames, where)
    folders = ClassFolders(splits=layout.splits, complete=False)
    if layout.splits:
        return _dataset(
            spec,
            layout.classnames,
            where,
            lambda: FolderSource(folder, spec, folders, remarks=layout.remarks),
        )
    return _dataset(
        spec,
        layout.classnames,
        where,
        lambda: UnsplitSource(folder, spec, layout.classes, layout.remarks),
    )


def _from_list(path: Path, where: Where) -> Dataset:
    """Images that a table of file names and labels lists."""
    if not path.is_file():
        raise DatasetError(f"--dataset {path}: there is no such file.")
    if where.split_file:
        raise OptionError(f"--split-file does not go with {path}, which may have a column 'split'.")
    listed = read_listed(path, where)
    names = sorted({row.label for row in listed.rows})
    if len(names) < 2:
        raise DatasetError(f"--dataset {path}: all images are of class '{names[0]}', 2 are needed.")
    spec = _spec(path.stem, str(path), names, where)
    return _dataset(spec, names, where, lambda: ListedSource(path, spec, listed))


def _from_split_file(folder: Path, name: str, split_file: Path, where: Where) -> Dataset:
    """Images that a split file lists, in any layout."""
    names = split_file_classes(split_file, name)
    spec = _spec(name, str(folder), names, where)
    layout = ClassFolders(splits={}, complete=False)
    return _dataset(spec, names, where, lambda: FolderSource(folder, spec, layout, split_file))


def _from_hub(name: str, where: Where) -> Dataset:
    copy = hub_copy(copy_named(name), name.partition("@")[0], "", where)
    short_name = name.partition("@")[0].replace("/", "-").replace(":", "-")
    spec = _spec(short_name, f"hf:{name}", copy.classnames, where)
    return _dataset(
        spec,
        copy.classnames,
        where,
        lambda: TableSource(copy, spec, state=pinned(copy), split_file=where.split_file),
    )
