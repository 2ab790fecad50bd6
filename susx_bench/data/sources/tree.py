"""The images in a folder and below, and what is left out of them."""

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
"""Folders that systems leave, in lower case; hidden ones besides."""

_SHOWN = 5  # names in a message

UNREAD = frozenset(
    {
        *(".avif", ".avifs", ".bpg", ".dib", ".heic", ".heif", ".hif", ".jxl", ".mpo", ".psd"),
        *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2", ".tga"),
    }
)
"""Endings of photographs that nothing here decodes."""

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Endings of tables that list images; they are read where they are given themselves."""

_HOLDERS = (".parquet", ".arrow", ".tar", ".zip", ".tgz", ".gz", ".7z", ".rar")
"""Endings of files that may hold images."""

Identity = tuple[int, int]
"""Device and number of a folder: the same for a folder and all links to it."""


class Tree(NamedTuple):
    """What lies in a folder and below.

    Attributes:
        images: Paths from the folder of files whose ending says that they are images, sorted folder
            by folder; each folder is read once, whatever links lead to it.
        left: How many files are no images, by ending or reason, and folders, by reason.
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
    """What a folder and all links to it have in common."""
    found = os.stat(folder)  # noqa: PTH116
    return found.st_dev, found.st_ino


def read_tree(folder: Path) -> Tree:
    """List a folder and all below, linked folders included.

    A link to a folder above, or to one that is read already, is not followed.

    Raises:
        DatasetError: If a folder cannot be read.
    """
    images: list[str] = []
    left: Counter[str] = Counter()
    nested = False
    for below, names in _walk(folder, left):
        found = _images(names)
        images += [f"{below}{name}" for name in found] if below else found
        nested = nested or bool(below)
        if len(found) < len(names):
            for name in set(names).difference(found):
                hidden = name.startswith(".")
                left["hidden" if hidden else Path(name).suffix.lower() or "no ending"] += 1
    images.sort(key=(lambda path: path.split("/")) if nested else None)
    return Tree(images, left)


def image_names(folder: Path) -> Iterator[str]:
    """Paths from a folder of the images in it and below, see `read_tree`; in no order."""
    for below, names in _walk(folder, Counter()):
        yield from (f"{below}{name}" for name in _images(names))


def image_files(folder: Path) -> Iterator[Path]:
    """Images in a folder and below, see `read_tree`; in no order."""
    return (folder / name for name in image_names(folder))


def _images(names: Sequence[str]) -> list[str]:
    """Those of some file names that `is_image` is true of and that are not hidden."""
    known = endings()
    return [name for name in names if name[name.rfind(".") :].lower() in known and name[0] != "."]


def file_names(folder: Path) -> set[str]:
    """Names of the files in a folder, links to files among them; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without those that systems leave behind."""
    found = (Path(entry) for entry in _entries(folder) if _is_folder(entry))
    return [path for path in found if not is_litter(path.name)]


def described(left: Counter[str]) -> str:
    """What is left out of a tree, in words: ``3 .heic, 2 hidden, folder __MACOSX (1 file)``."""
    files = [f"{count:,} {what}" for what, count in sorted(left.items()) if what[-1] != "/"]
    folders = [
        f"folder {what[:-1]} ({count:,} {'file' if count == 1 else 'files'})"
        for what, count in sorted(left.items())
        if what[-1] == "/"
    ]
    return ", ".join([*files, *folders])


def loose_images(folder: Path) -> int:
    """How many images lie directly in a folder."""
    return sum(is_image(entry.name) and not _is_folder(entry) for entry in _entries(folder))


def litter(folder: Path) -> Counter[str]:
    """Files in the folders that systems leave behind, by the folder's name and a slash."""
    left: Counter[str] = Counter()
    for entry in _entries(folder):
        if _is_folder(entry) and is_litter(entry.name):
            left[f"{entry.name}/"] += _files_below(entry.path)
    return left


def dead_links(folder: Path) -> list[Path]:
    """Links in a folder that lead nowhere and may have been folders, sorted by name."""
    links = [Path(entry) for entry in _entries(folder) if entry.is_symlink()]
    return [path for path in links if not path.exists() and not is_image(path.name)]


def lists_in(folder: Path) -> list[str]:
    """A line that tells of lists that lie in a folder and are not read, where there are some."""
    found = _named(folder, LISTS)
    if not found:
        return []
    how = f"to read what it lists, give --dataset {as_option(found[0])}"
    return [f"not read: {_names(found)} in {folder}; {how}"]


def holders_in(folder: Path) -> list[str]:
    """A line that tells of tables and archives that lie beside folders of images, if any do."""
    found = _named(folder, _HOLDERS)
    if not found:
        return []
    how = "to read tables or shards, put them into a folder of their own; unpack archives"
    return [f"not read: {_names(found)} in {folder}, beside folders of images; {how}"]


def _named(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files in a folder whose names end so, without hidden ones."""
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
    """A path as ``--dataset`` takes it, told from the name of a dataset by how it begins."""
    plain = path.as_posix()
    return plain if plain.startswith((".", "/", "~")) else f"./{plain}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name; else as `_scan`."""
    return sorted(_scan(folder), key=lambda entry: entry.name)


def _scan(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder.

    Raises:
        DatasetError: If it cannot be read, or a folder or image in it has a name that is no text:
            it could not stand in a table or a record.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}.") from error
    if "".join([entry.name for entry in found]).isascii():
        return found
    for entry in sorted(found, key=lambda entry: entry.name):
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            if _is_folder(entry) or is_image(entry.name):
                raise DatasetError(
                    f"{folder}: the name {entry.name!a} in it is not UTF-8. Rename it."
                ) from error
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _walk(folder: Path, left: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """The folder and all below: the path from it, with a slash, and the names of its files.

    Links to folders are followed when all else is read. A link that ends nowhere is a file: reading
    it says so.
    """
    top = os.fspath(folder)
    seen: set[Identity] = set()
    folders, links = [""], list[str]()
    while folders or links:
        below = folders.pop() if folders else links.pop(0)
        here = os.path.join(top, below)  # noqa: PTH118 - a path object for each takes seconds
        if below:
            seen = seen or {identity(path) for path in _above(folder)}
            if (known := identity(here)) in seen:
                left["linked again"] += 1
                continue
            seen.add(known)
        names, inside = [], []
        for entry in _scan(here):
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
    """A folder and those that it is in, by every path."""
    return {folder, *folder.absolute().parents, *folder.resolve().parents}


def _files_below(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
