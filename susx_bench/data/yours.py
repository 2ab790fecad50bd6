"""Datasets nobody wrote a file for: a folder of yours, or any dataset on the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from susx_bench.data.base import BenchDataModule, Where
from susx_bench.data.classes import squash
from susx_bench.data.published import SourcedDataModule, hub_copy, pinned
from susx_bench.data.sources.base import Source
from susx_bench.data.sources.datafiles import has_tables
from susx_bench.data.sources.folder import FolderSource, UnsplitSource
from susx_bench.data.sources.guess import advice, guess
from susx_bench.data.sources.hub import copy_named
from susx_bench.data.sources.splits import split_file_classes
from susx_bench.data.sources.table import (
    TableCopy,
    TableSource,
    read_classnames,
)
from susx_bench.data.sources.tree import image_files
from susx_bench.data.spec import ClassFolders, DatasetSpec
from susx_bench.errors import DatasetError, OptionError
from susx_bench.records.command import OWN
from susx_bench.records.text import trimmed
from susx_bench.registry import DATASETS


def open_dataset(name: str, where: Where | None = None) -> type[BenchDataModule]:
    """The class of a dataset: ``./folder``, ``hf:ORG/NAME[:CONFIG][@REVISION]`` or a known name.

    Args:
        name: The name.
        where: What is said of its data; the classes of the user's own data follow from the columns
            and the file of class names.

    Raises:
        UnknownNameError: If nobody registered the name.
        DatasetError: If a folder or a repository cannot be read.
    """
    asked = where or Where()
    return _open_yours(name, asked) or _known(name, asked)


def _known(name: str, asked: Where) -> type[BenchDataModule]:
    """The class of a registered dataset; what is said of data of the user's own is refused."""
    dataset = DATASETS.get(name)
    if asked.classnames:
        raise OptionError(
            f"--classnames goes with a bundle and with data of yours; {name} has its own names."
        )
    if not issubclass(dataset, SourcedDataModule):
        _refuse_columns(asked, f"{name} has no table")
    return dataset


def _refuse_columns(asked: Where, why: str) -> None:
    for option in ("image_column", "label_column"):
        if getattr(asked, option):
            raise OptionError(f"--{option.replace('_', '-')} goes with tables, and {why}.")


def own_encoder(name: str) -> str | None:
    """The encoder that a dataset comes with; None where it has none. Reads no data.

    Raises:
        UnknownNameError: If nobody registered the name.
    """
    if name.startswith(OWN):
        return None
    return DATASETS.get(name).spec.encoder


def _open_yours(name: str, asked: Where) -> type[SourcedDataModule] | None:
    """A dataset class for ``./folder`` or ``hf:ORG/NAME...``; None for any other name.

    Raises:
        DatasetError: If it cannot be read.
    """
    if name.startswith("hf:"):
        return _from_hub(name.removeprefix("hf:"), asked)
    if name.startswith(OWN):
        return _from_folder(Path(name).expanduser(), asked)
    return None


def _spec(name: str, title: str, own: Sequence[str], asked: Where) -> DatasetSpec:
    """The facts of data that calls its classes `own`; the user may call them otherwise.

    Raises:
        DatasetError: If a class has no name, or the user's names are not those of the classes.
    """
    classnames = tuple(trimmed(name.replace("_", " ")) for name in own)
    if "" in classnames and not asked.classnames:
        nameless = own[classnames.index("")]
        raise DatasetError(
            f"{title}: the class {nameless!r} has no name that a prompt can hold. Rename it."
        )
    aliases: dict[str, tuple[str, ...]] = {}
    if asked.classnames:
        given = read_classnames(asked.classnames, name)
        own = _in_order(own, f"--classnames {asked.classnames}", title)
        _check_names(given, own, f"--classnames {asked.classnames}", title)
        aliases = {new: (old,) for new, old in zip(given, own, strict=True) if new != old}
        twice = next((name for name in given if given.count(name) > 1), None)
        if aliases and twice is not None:
            raise DatasetError(
                f"--classnames {asked.classnames} has '{twice}' twice, and {title} tells its "
                "classes apart by their names: give each its own."
            )
        classnames = tuple(given)
    return DatasetSpec(
        name=name,
        title=title,
        classnames=classnames,
        aliases=aliases,
        sizes={},
        template="a photo of a {}.",
        photo="A photo of a {}.",
        licence="yours to know",
        protocol="custom",
        bibtex_key="",
    )


def _in_order(own: Sequence[str], option: str, title: str) -> Sequence[str]:
    """Names in their order; those that are numbers in the order of the numbers: 2 before 10.

    Raises:
        DatasetError: If they are numbers and one between them is missing.
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


def _check_names(given: Sequence[str], own: Sequence[str], option: str, title: str) -> None:
    """Check that names stand in the order of the classes that they are for.

    Raises:
        DatasetError: If there are more or fewer, or one is the name of another class.
    """
    if len(given) != len(own):
        raise DatasetError(f"{option} has {len(given)} names, {title} has {len(own)} classes.")
    places = {squash(name): place for place, name in enumerate(own)}
    for place, name in enumerate(given):
        other = place if squash(own[place]) == squash(name) else places.get(squash(name), place)
        if other != place:
            raise DatasetError(
                f"{option} has '{name}' in line {place + 1}, and {title} has it as class "
                f"{other + 1}: name the classes in its order, {', '.join(own[:5])}, ..."
            )


def _made(spec_: DatasetSpec, find: Callable[[Path | None], Source]) -> type[SourcedDataModule]:
    names = spec_.classnames
    numbered = [
        f"its classes are called by numbers ({', '.join(names[:3])}, ...), which say nothing in a "
        "prompt; give their names with --classnames FILE"
    ] * all(name.isdecimal() for name in names)

    class Yours(SourcedDataModule):
        """A dataset of the user's."""

        spec = spec_

        @property
        def remarks(self) -> Sequence[str]:
            return [*super().remarks, *numbered]

        @classmethod
        @cache
        def _find(cls, where: Where) -> Source:
            if where.source != "auto":
                raise OptionError(
                    f"--source {where.source}: {spec_.title} is a source itself; --source goes "
                    "with the name of a dataset."
                )
            return find(where.split_file)

    return Yours


def _from_folder(folder: Path, asked: Where) -> type[SourcedDataModule]:
    if not folder.is_dir():
        raise DatasetError(f"--dataset {folder}: there is no such folder.")
    name = folder.resolve().name
    if asked.split_file and next(image_files(folder), None):
        return _from_split_file(folder, name, asked.split_file, asked)
    found = guess(folder)
    if found is None and has_tables(folder):
        copy = TableCopy(folder, name, asked)
        spec = _spec(name, str(folder), copy.classnames, asked)
        return _made(spec, lambda split_file: TableSource(copy, spec, split_file=split_file))
    if found is None:
        raise DatasetError(f"--dataset {folder}: no folder in it has an image. {advice(folder)}")
    _refuse_columns(asked, f"{folder} has folders of images")
    spec = _spec(name, str(folder), found.classnames, asked)
    layout = ClassFolders(splits=found.splits, complete=False)
    return _made(
        spec,
        lambda split_file: (
            FolderSource(folder, spec, layout, split_file, () if split_file else found.remarks)
            if split_file or found.splits
            else UnsplitSource(folder, spec, found.classes, found.remarks)
        ),
    )


def _from_split_file(
    folder: Path, name: str, split_file: Path, asked: Where
) -> type[SourcedDataModule]:
    """Images of which a file says all there is to know, however they lie."""
    spec = _spec(name, str(folder), split_file_classes(split_file, name), asked)
    layout = ClassFolders(splits={}, complete=False)
    return _made(spec, lambda _: FolderSource(folder, spec, layout, split_file))


def _from_hub(name: str, asked: Where) -> type[SourcedDataModule]:
    copy = hub_copy(copy_named(name), name.partition("@")[0], "", asked)
    own = name.partition("@")[0].replace("/", "-").replace(":", "-")
    spec = _spec(own, f"hf:{name}", copy.classnames, asked)
    return _made(
        spec, lambda split_file: TableSource(copy, spec, state=pinned(copy), split_file=split_file)
    )
