"""List the images in a folder and below, and the files that are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from susx_bench.data.decode import endings
from susx_bench.errors import DatasetError

_LITTER = frozenset(
    {
        *("__macosx", "__pycache__", "lost+found", "system volume information"),
        *("@eadir", "@recycle", "#recycle", "$recycle.bin"),
    }
)
"""Names, in lower case, of folders that operating systems leave, besides hidden ones."""

_SHOWN = 5  # names in a message

UNREAD = frozenset(
    {
        *(".avif", ".avifs", ".bpg", ".dib", ".heic", ".heif", ".hif", ".jxl", ".mpo", ".psd"),
        *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2", ".tga"),
    }
)
"""Endings of photographs that cannot be decoded."""

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of tables that list images; they are read only if the user gives them."""

_HOLDERS = (".parquet", ".arrow", ".tar", ".zip", ".tgz", ".gz", ".7z", ".rar")
"""Endings of files that may hold images."""

Identity = tuple[int, int]
"""Device and number of a folder: the same for a folder and all links to it."""


class Tree(NamedTuple):
    """The content of a folder and below.

    Attributes:
        images: Relative paths of files with the ending of an image, sorted folder by folder; each
            folder is read once, even if several links lead to it.
        left: Number of files that are no images, by ending or reason, and of folders, by reason.
    """

    images: list[str]
    left: Counter[str]

    @property
    def unread(self) -> list[str]:
        """Endings of photographs among what is left out."""
        return sorted(UNREAD & self.left.keys())


def is_image(name: str) -> bool:
    """Whether a file's name has the ending of an image that is decoded, in any case."""
    stem, _, ending = name.rpartition("/")[2].rpartition(".")
    return bool(stem) and f".{ending.lower()}" in endings()


def is_litter(name: str) -> bool:
    """Whether a folder is hidden, or one that systems leave behind."""
    return name.startswith(".") or name.lower() in _LITTER


def identity(folder: Path | str) -> Identity:
    """The identity of a folder, equal for all links to it."""
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def read_tree(folder: Path) -> Tree:
    """List a folder and all below, linked folders included.

    A link to a folder above, or to a folder that was read already, is not followed.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    images: list[str] = []
    left: Counter[str] = Counter()
    nested = False
    for below, names in _walk(folder, left):
        shown = _images(names)
        images += [f"{below}{name}" for name in shown] if below else shown
        nested = nested or bool(below)
        if len(shown) < len(names):
            for name in set(names).difference(shown):
                hidden = name.startswith(".")
                left["hidden" if hidden else Path(name).suffix.lower() or "no ending"] += 1
    images.sort(key=(lambda path: path.split("/")) if nested else None)
    return Tree(images, left)


def image_names(folder: Path) -> Iterator[str]:
    """Relative paths of the images in a folder and below, see `read_tree`; unordered."""
    for below, names in _walk(folder, Counter()):
        yield from (f"{below}{name}" for name in _images(names))


def image_files(folder: Path) -> Iterator[Path]:
    """Images in a folder and below, see `read_tree`; unordered."""
    return (folder / name for name in image_names(folder))


def _images(names: Sequence[str]) -> list[str]:
    """The file names that are images by `is_image`, without hidden ones."""
    suffixes = endings()
    return [
        name for name in names if name[name.rfind(".") :].lower() in suffixes and name[0] != "."
    ]


def file_names(folder: Path) -> set[str]:
    """Names of the files in a folder, including links to files; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without those that operating systems leave."""
    folders = (Path(entry) for entry in _entries(folder) if _is_folder(entry))
    return [path for path in folders if not is_litter(path.name)]


def described(left: Counter[str]) -> str:
    """Describe what is left out of a tree: ``3 .heic, 2 hidden, folder __MACOSX (1 file)``."""
    files = [f"{count:,} {kind}" for kind, count in sorted(left.items()) if kind[-1] != "/"]
    folders = [
        f"folder {kind[:-1]} ({count:,} {'file' if count == 1 else 'files'})"
        for kind, count in sorted(left.items())
        if kind[-1] == "/"
    ]
    return ", ".join([*files, *folders])


def loose_images(folder: Path) -> int:
    """Number of images directly in a folder."""
    return sum(is_image(entry.name) and not _is_folder(entry) for entry in _entries(folder))


def litter(folder: Path) -> Counter[str]:
    """Number of files in folders that operating systems leave, by the folder's name and a slash."""
    left: Counter[str] = Counter()
    for entry in _entries(folder):
        if _is_folder(entry) and is_litter(entry.name):
            left[f"{entry.name}/"] += _files_below(entry.path)
    return left


def dead_links(folder: Path) -> list[Path]:
    """Broken links in a folder that may have been folders, sorted by name."""
    links = [Path(entry) for entry in _entries(folder) if entry.is_symlink()]
    return [path for path in links if not path.exists() and not is_image(path.name)]


def lists_in(folder: Path) -> list[str]:
    """A remark on lists in a folder, which are not read, if there are any."""
    lists = _named(folder, LISTS)
    if not lists:
        return []
    how = f"to read what it lists, give --dataset {as_option(lists[0])}"
    return [f"not read: {_names(lists)} in {folder}; {how}"]


def holders_in(folder: Path) -> list[str]:
    """A remark on tables and archives beside folders of images, if there are any."""
    holders = _named(folder, _HOLDERS)
    if not holders:
        return []
    how = "to read tables or shards, put them into a folder of their own; unpack archives"
    return [f"not read: {_names(holders)} in {folder}, beside folders of images; {how}"]


def _named(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files in a folder with certain endings, without hidden ones."""
    return [
        Path(entry)
        for entry in _entries(folder)
        if not entry.name.startswith(".")
        and Path(entry).suffix.lower() in endings
        and not _is_folder(entry)
    ]


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:_SHOWN]) + (", ..." if paths[_SHOWN:] else "")


def as_option(path: Path) -> str:
    """A path for ``--dataset``; its beginning distinguishes it from the name of a dataset."""
    plain = path.as_posix()
    return plain if plain.startswith((".", "/", "~")) else f"./{plain}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, sorted by name; see `_scan`."""
    return sorted(_scan(folder), key=lambda entry: entry.name)


def _scan(folder: Path | str) -> list[os.DirEntry[str]]:
    """Entries of a folder.

    Raises:
        DatasetError: If it cannot be read, or the name of a folder or image in it is not valid
            text: tables and records could not contain it.
    """
    try:
        with os.scandir(folder) as entries:
            scanned = list(entries)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}.") from error
    if "".join([entry.name for entry in scanned]).isascii():
        return scanned
    for entry in sorted(scanned, key=lambda entry: entry.name):
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            if _is_folder(entry) or is_image(entry.name):
                raise DatasetError(
                    f"{folder}: the name {entry.name!a} in it is not UTF-8. Rename it."
                ) from error
    return scanned


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _walk(folder: Path, left: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder of a tree: its relative path, with a slash, and the names of its files.

    Links to folders are followed last. A broken link counts as a file: reading it raises an error.
    """
    top = os.fspath(folder)
    seen: set[Identity] = set()
    folders, links = [""], list[str]()
    while folders or links:
        below = folders.pop() if folders else links.pop(0)
        path_ = os.path.join(top, below)  # noqa: PTH118 - a path object for each takes seconds
        if below:
            seen = seen or {identity(path) for path in _above(folder)}
            if (file_id := identity(path_)) in seen:
                left["linked again"] += 1
                continue
            seen.add(file_id)
        names, inside = [], []
        for entry in _scan(path_):
            if _is_folder(entry):
                inside.append(entry)
            else:
                names.append(entry.name)
        for entry in sorted(inside, key=lambda entry: entry.name):
            if is_litter(entry.name):
                left[f"{entry.name}/"] += _files_below(entry.path)
            else:
                (links if entry.is_symlink() else folders).append(f"{below}{entry.name}/")
        yield below, names


def _above(folder: Path) -> set[Path]:
    """A folder and the folders above it, by every path."""
    return {folder, *folder.absolute().parents, *folder.resolve().parents}


def _files_below(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
