"""Which files of a folder hold its rows, and of which configuration and split each is.

The files are found here, one by one, inside the folder. Neither a path nor a word of a file among
them is ever taken for a pattern, an address or a place elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa

from susx_bench.data.sources.base import reason
from susx_bench.data.sources.card import CARD, Card, matching, read_card
from susx_bench.data.sources.rows import (
    ParquetTable,
    SavedTable,
    Table,
    holds_images,
    read_footer,
)
from susx_bench.data.sources.shards import ShardTable
from susx_bench.data.splitnames import files_by_split, is_filler, nameless, split_name
from susx_bench.errors import DatasetError
from susx_bench.records.text import read_json

_SPLITS, _STATE = "dataset_dict.json", "state.json"  # of save_to_disk
_SHOWN = 5


@dataclass(frozen=True)
class Opened:
    """The tables of a folder.

    Attributes:
        splits: Every split under the copy's own name.
        paths: The files of each.
        config: The configuration, where the copy has some.
        card: What the copy's card says.
        remarks: What is left out, a line each.
    """

    splits: Mapping[str, Table]
    paths: Mapping[str, Sequence[Path]]
    config: str | None = None
    card: Card = field(default_factory=Card)
    remarks: Sequence[str] = ()


def has_tables(folder: Path) -> bool:
    """Whether there are Parquet files, webdataset shards or what ``save_to_disk`` wrote."""
    return _is_saved(folder) or any(
        place.lower().endswith((".parquet", ".tar")) for place in walk(folder)
    )


def walk(folder: Path) -> Iterator[str]:
    """Paths from a folder of the files in it and below, without hidden ones, in order.

    A linked folder is not entered.
    """
    cut = len(os.fspath(folder))
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        below = base[cut:].strip("/")  # a path object for each file takes seconds
        begin = f"{below}/" if below else ""
        yield from (f"{begin}{name}" for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def inside(folder: Path, place: str) -> Path:
    """The real path of a file in a folder, or in the files of the hub's cache that it links to.

    Raises:
        OSError: If it is no file, or a link to somewhere else; the message names it.
    """
    path, root = (folder / place).resolve(), folder.resolve()
    roots = [root]
    if root.parent.name == "snapshots":  # of the hub's cache: its files are links
        blobs = root.parent.parent / "blobs"
        roots += [blobs] if blobs.resolve() == blobs else []
    if not any(path.is_relative_to(known) for known in roots):
        raise OSError(
            f"{folder / place} is a link to {path}, outside the folder; only files in the folder "
            "are read, so copy it there"
        )
    if not path.is_file():
        raise OSError(f"{folder / place} is no regular file")
    return path


def open_tables(
    folder: Path, images: Sequence[str], config: str | None, dataset: str, where: str
) -> Opened:
    """Open the tables of a folder; no row is read, and no connection opened.

    Args:
        folder: A folder of Parquet files, of webdataset shards, or that ``save_to_disk`` wrote.
        images: Names that the column of images may have.
        config: Which of its configurations, where it has several.
        dataset: Name of the dataset, for messages.
        where: Where the folder came from, for messages.

    Raises:
        DatasetError: If there are none, a file cannot be read, or it is not said which
            configuration is meant.
    """
    try:
        if _is_saved(folder):
            paths = _saved(folder)
            return Opened({split: SavedTable(each) for split, each in paths.items()}, paths)
        places = list(walk(folder))
        parquet = [place for place in places if place.lower().endswith(".parquet")]
        shards = [place for place in places if place.lower().endswith(".tar")]
        schemas = {p: read_footer(inside(folder, p)).schema.to_arrow_schema() for p in parquet}
        used = [place for place in parquet if holds_images(schemas[place], images)]
        if not used and not shards:  # what else is wrong with a column is told by who reads it
            used = [place for place in parquet if set(schemas[place].names) & set(images)]
        if not used and not shards:
            _refuse(folder, schemas, images, dataset, where)
        remarks = []
        if other := [place for place in parquet if place not in used]:
            remarks.append(f"not used: {_some(other)}, without a column of images")
        if used and shards:
            remarks.append(f"not used: {_some(shards)}, beside Parquet files with images")
        kind = ParquetTable if used else ShardTable
        card = read_card(folder, dataset, where)
        config, files, more = _configured(used or shards, card, config, where)
        remarks += _missing(place for each in files.values() for place in each)
        paths = {split: [inside(folder, place) for place in each] for split, each in files.items()}
        tables = {split: kind(each) for split, each in paths.items()}
        return Opened(tables, paths, config, card, [*remarks, *more])
    except (OSError, ValueError) as error:
        told = reason(error)
        place = "" if where in told else f"{where}: "  # a file's path says it
        raise DatasetError(f"{dataset}: {place}{told}") from error


def _missing(places: Iterable[str]) -> list[str]:
    """A line for each set of numbered files, ``test-00000-of-00003``, that is not all here."""
    here: dict[tuple[str, int], set[int]] = {}
    for place in places:
        if found := re.fullmatch(r"(.*-)(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.\w+", place):
            here.setdefault((found[1], int(found[3])), set()).add(int(found[2]))
    return [
        f"{len(there)} of the {count} files {name}*-of-{count:05d} are here"
        for (name, count), there in here.items()
        if len(there) < count
    ]


def of_config(folder: Path, config: str, dataset: str, where: str) -> list[str]:
    """The Parquet files and shards of one configuration of a folder.

    Raises:
        DatasetError: If there is no such configuration.
    """
    places = [place for place in walk(folder) if place.lower().endswith((".parquet", ".tar"))]
    card = read_card(folder, dataset, where)
    try:
        _, files, _ = _configured(places, card, config, where)
    except ValueError as error:
        raise DatasetError(f"{dataset}: {where}: {reason(error)}") from error
    return [place for each in files.values() for place in each]


def _refuse(
    folder: Path,
    schemas: Mapping[str, pa.Schema],
    images: Sequence[str],
    dataset: str,
    where: str,
) -> None:
    if not schemas:
        there = folder.iterdir() if folder.is_dir() else ()  # of a hub copy maybe nothing is here
        linked = [path.name for path in there if path.is_symlink() and path.is_dir()]
        hint = f" It does not enter linked folders ({_some(linked)})." if linked else ""
        raise DatasetError(
            f"{dataset}: {where} has neither Parquet files nor webdataset shards.{hint}"
        )
    names = next(iter(schemas.values())).names
    raise DatasetError(
        f"{dataset}: {where} has the columns {', '.join(names)}; none of {', '.join(images)} is "
        "there for the images. Name it, --image-column."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _configured(
    places: Sequence[str], card: Card, config: str | None, where: str
) -> tuple[str | None, dict[str, list[str]], list[str]]:
    """The configuration, its files by split, and what to tell of it."""
    if not card.configs:
        config, places = _by_folder(places, config, where)
        return config, files_by_split(places, where), nameless(places, where)
    known = {
        name: {split: matching(patterns, places) for split, patterns in splits.items()}
        for name, splits in card.configs.items()
    }
    known = {name: splits for name, splits in known.items() if any(splits.values())}
    if not known:
        raise ValueError(f"{CARD} names no file that is there")
    remarks = []
    if config is None and len(known) > 1 and card.default in known:
        config = card.default
        remarks.append(f"configuration '{config}' of {_some(list(known))}, as {CARD} says")
    config = _one_of(list(known), config, where)
    found: dict[str, list[str]] = {}
    for split, files in known[config].items():
        if split:
            found[split] = files
        else:
            found |= files_by_split(files, where)
    if lacking := [split for split, files in found.items() if not files]:
        remarks.append(f"no file of {_some(lacking)}, which {CARD} has")
    return config, {split: files for split, files in found.items() if files}, remarks


def _by_folder(
    places: Sequence[str], config: str | None, where: str
) -> tuple[str | None, Sequence[str]]:
    """A configuration is a folder whose name means neither a split nor nothing."""
    known: dict[str, list[str]] = {}
    for place in places:
        top = PurePosixPath(place).parts[0] if "/" in place else ""
        own = not top or split_name(top) or is_filler(top)
        known.setdefault("" if own else top, []).append(place)
    if config is None and len(known) == 1:
        return None, places
    names = [name for name in known if name]
    if config is None and "" in known:
        raise ValueError(
            f"{where} has rows in folders ({_some(names)}) and beside them ({known[''][0]}); keep "
            "what belongs together in a folder of its own"
        )
    return config, known[_one_of(names, config, where)]


def _one_of(known: Sequence[str], config: str | None, where: str) -> str:
    if config is None and len(known) == 1:
        return known[0]
    if config is not None and config in known:
        return config
    listed = ", ".join(repr(name) for name in known) or "none"
    if config is None:
        raise ValueError(
            f"{where} has {len(known)} configurations: {listed}. Name one, as in "
            "hf:ORG/NAME:CONFIG; of a folder here, give the folder that holds one"
        )
    raise ValueError(f"{where} has no configuration '{config}'; it has {listed}")


def _is_saved(folder: Path) -> bool:
    return (folder / _SPLITS).is_file() or (folder / _STATE).is_file()


def _saved(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of each split that ``save_to_disk`` wrote; of a single one as train."""
    if not (folder / _SPLITS).is_file():
        return {"train": _saved_files(folder, "")}
    said = read_json(inside(folder, _SPLITS))
    names = said.get("splits") if isinstance(said, dict) else None
    if not isinstance(names, list) or not names:
        raise ValueError(f"{_SPLITS} names no splits")
    return {str(name): _saved_files(folder, f"{_part(name)}/") for name in names}


def _saved_files(folder: Path, split: str) -> list[Path]:
    state = read_json(inside(folder, f"{split}{_STATE}"))
    files = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(files, list) or not files or not all(isinstance(f, dict) for f in files):
        raise ValueError(f"{split}{_STATE} names no Arrow files")
    if state.get("_indices_data_files"):
        raise ValueError(f"{split}{_STATE} is of rows picked from others; save it anew, flattened")
    return [inside(folder, f"{split}{_part(file.get('filename'))}") for file in files]


def _part(name: object) -> str:
    """The name of a file or folder, which must not be a path."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"{str(name)[:100]!r} is no name of a file in it")
    return name
