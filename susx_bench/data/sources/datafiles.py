"""Find the files that hold the rows of a folder, with their configurations and splits.

The files are listed one by one inside the folder. No path or text in a file is ever used as a
pattern, an address or a place elsewhere.
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
        card: The copy's card.
        remarks: Remarks on files that are left out, one line each.
    """

    splits: Mapping[str, Table]
    paths: Mapping[str, Sequence[Path]]
    config: str | None = None
    card: Card = field(default_factory=Card)
    remarks: Sequence[str] = ()


def has_tables(folder: Path) -> bool:
    """Whether a folder has Parquet files, webdataset shards or the output of ``save_to_disk``."""
    return _is_saved(folder) or any(
        place.lower().endswith((".parquet", ".tar")) for place in walk(folder)
    )


def walk(folder: Path) -> Iterator[str]:
    """Relative paths of the files in a folder and below, without hidden ones, in order.

    Linked folders are not entered.
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
    """The real path of a file in a folder or, through a link, in the hub's cache.

    Raises:
        OSError: If it is no file, or a link to another place; the message names it.
    """
    path, root = (folder / place).resolve(), folder.resolve()
    roots = [root]
    if root.parent.name == "snapshots":  # of the hub's cache: its files are links
        blobs = root.parent.parent / "blobs"
        roots += [blobs] if blobs.resolve() == blobs else []
    if not any(path.is_relative_to(allowed) for allowed in roots):
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
        config: The configuration to open if it has several.
        dataset: Name of the dataset, for messages.
        where: Where the folder came from, for messages.

    Raises:
        DatasetError: If the folder has no tables, a file cannot be read, or several configurations
            may be meant.
    """
    try:
        if _is_saved(folder):
            paths = _saved(folder)
            return Opened({split: SavedTable(of_split) for split, of_split in paths.items()}, paths)
        places = list(walk(folder))
        parquet = [place for place in places if place.lower().endswith(".parquet")]
        shards = [place for place in places if place.lower().endswith(".tar")]
        schemas = {p: read_footer(inside(folder, p)).schema.to_arrow_schema() for p in parquet}
        used = [place for place in parquet if holds_images(schemas[place], images)]
        if not used and not shards:  # other faults of a column are reported by its reader
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
        remarks += _missing(place for of_split in files.values() for place in of_split)
        paths = {
            split: [inside(folder, place) for place in of_split]
            for split, of_split in files.items()
        }
        tables = {split: kind(of_split) for split, of_split in paths.items()}
        return Opened(tables, paths, config, card, [*remarks, *more])
    except (OSError, ValueError) as error:
        message = reason(error)
        place = "" if where in message else f"{where}: "  # it may contain the file's path already
        raise DatasetError(f"{dataset}: {place}{message}") from error


def _missing(places: Iterable[str]) -> list[str]:
    """One line for each incomplete set of numbered files, such as ``test-00000-of-00003``."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for place in places:
        if match := re.fullmatch(r"(.*-)(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.\w+", place):
            numbers.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    return [
        f"{len(present)} of the {count} files {name}*-of-{count:05d} are here"
        for (name, count), present in numbers.items()
        if len(present) < count
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
    return [place for places in files.values() for place in places]


def _refuse(
    folder: Path,
    schemas: Mapping[str, pa.Schema],
    images: Sequence[str],
    dataset: str,
    where: str,
) -> None:
    if not schemas:
        entries = folder.iterdir() if folder.is_dir() else ()  # of a hub copy maybe nothing is here
        linked = [path.name for path in entries if path.is_symlink() and path.is_dir()]
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
    """The configuration, its files by split, and remarks."""
    if not card.configs:
        config, places = _by_folder(places, config, where)
        return config, files_by_split(places, where), nameless(places, where)
    by_config = {
        name: {split: matching(patterns, places) for split, patterns in splits.items()}
        for name, splits in card.configs.items()
    }
    by_config = {name: splits for name, splits in by_config.items() if any(splits.values())}
    if not by_config:
        raise ValueError(f"{CARD} names no file that is there")
    remarks = []
    if config is None and len(by_config) > 1 and card.default in by_config:
        config = card.default
        remarks.append(f"configuration '{config}' of {_some(list(by_config))}, as {CARD} says")
    config = _one_of(list(by_config), config, where)
    by_split: dict[str, list[str]] = {}
    for split, files in by_config[config].items():
        if split:
            by_split[split] = files
        else:
            by_split |= files_by_split(files, where)
    if lacking := [split for split, files in by_split.items() if not files]:
        remarks.append(f"no file of {_some(lacking)}, which {CARD} has")
    return config, {split: files for split, files in by_split.items() if files}, remarks


def _by_folder(
    places: Sequence[str], config: str | None, where: str
) -> tuple[str | None, Sequence[str]]:
    """Choose a configuration: a folder with a name that is neither a split nor a filler."""
    by_folder: dict[str, list[str]] = {}
    for place in places:
        top = PurePosixPath(place).parts[0] if "/" in place else ""
        is_plain = not top or split_name(top) or is_filler(top)
        by_folder.setdefault("" if is_plain else top, []).append(place)
    if config is None and len(by_folder) == 1:
        return None, places
    config_folders = [name for name in by_folder if name]
    if config is None and "" in by_folder:
        raise ValueError(
            f"{where} has rows in folders ({_some(config_folders)}) and beside them "
            f"({by_folder[''][0]}); keep what belongs together in a folder of its own"
        )
    return config, by_folder[_one_of(config_folders, config, where)]


def _one_of(configs: Sequence[str], config: str | None, where: str) -> str:
    if config is None and len(configs) == 1:
        return configs[0]
    if config is not None and config in configs:
        return config
    listed = ", ".join(repr(name) for name in configs) or "none"
    if config is None:
        raise ValueError(
            f"{where} has {len(configs)} configurations: {listed}. Name one, as in "
            "hf:ORG/NAME:CONFIG; of a folder here, give the folder that holds one"
        )
    raise ValueError(f"{where} has no configuration '{config}'; it has {listed}")


def _is_saved(folder: Path) -> bool:
    return (folder / _SPLITS).is_file() or (folder / _STATE).is_file()


def _saved(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of each split that ``save_to_disk`` wrote; a single split is train."""
    if not (folder / _SPLITS).is_file():
        return {"train": _saved_files(folder, "")}
    content = read_json(inside(folder, _SPLITS))
    names = content.get("splits") if isinstance(content, dict) else None
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
