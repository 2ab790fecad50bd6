"""Labelled photographs: a folder per class, or the ``labels.csv`` that the page saves."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from susx_bench.console import printable
from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.duplicates import pixels_sha256
from susx_bench.data.named import label_of, unknown
from susx_bench.data.sources.tree import class_folders, image_files
from susx_bench.data.splitnames import split_name
from susx_bench.errors import OptionError
from susx_bench.photos.photographs import Photo, Photos
from susx_bench.photos.tables import unescaped
from susx_bench.records.text import read_text

_HEADS = ({"file", "filename", "path", "image"}, {"class", "label", "classname"})


@dataclass
class Labels:
    """Labels that the user gives.

    Attributes:
        given: Labels of photographs among those to classify, by position.
        others: Labelled photographs that are not among them.
        skipped: Those of `others` that cannot be read, as name and reason.
    """

    given: dict[int, int] = field(default_factory=dict)
    others: list[tuple[Photo, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.given) + len(self.others)


class _Places:
    """Positions of photographs, by name and by file."""

    def __init__(self, photos: Photos) -> None:
        self._photos = photos
        # The plain name, or as a table shows it.
        self.by_name = {printable(photo.name): i for i, photo in enumerate(photos.photos)}
        self.by_name |= {photo.name: i for i, photo in enumerate(photos.photos)}

    @cached_property
    def by_file(self) -> Mapping[str, int]:
        photos = enumerate(self._photos.photos)
        return {os.path.realpath(photo.path): i for i, photo in photos if photo.path is not None}


def classes_of(folder: Path) -> list[str]:
    """The class folders in a folder, in the order of their names.

    Raises:
        OptionError: If it has no class folder.
    """
    names = [path.name for path in class_folders(folder)]
    if not names:
        raise OptionError(
            f"--labelled {folder}: it has no folder per class. Give one, as in "
            f"{folder}/cat/1.jpg, or a CSV file with the columns file and class."
        )
    if all(split_name(name) for name in names):
        raise OptionError(
            f"--labelled {folder}: its folders {', '.join(map(printable, names))} are splits and "
            f"no classes. Give one of them, as in --labelled {folder / names[0]}."
        )
    return names


def read_labels(places: Sequence[Path], classnames: Sequence[str], photos: Photos) -> Labels:
    """Read labelled photographs from folders and CSV files.

    Raises:
        OptionError: If a class is unknown, a file is missing, or a picture has two classes.
        DatasetError: If a folder cannot be read.
    """
    labels, where = Labels(), _Places(photos)
    seen: dict[str, tuple[int, str]] = {}
    for place in places:
        rows = _in_folder(place, classnames) if place.is_dir() else _in_file(place, classnames)
        lost: list[str] = []
        for name, path, label in rows:
            at = where.by_name.get(name)
            if at is None and path is not None:
                at = where.by_file.get(os.path.realpath(path))
            if at is None and path is None:
                lost.append(name)
                continue
            key = photos.photos[at].name if at is not None else os.path.realpath(path or "")
            again = key in seen
            before = seen.setdefault(key, (label, str(place)))
            if before[0] != label:
                raise OptionError(
                    f"--labelled {place}: {name} is '{classnames[label]}' here and "
                    f"'{classnames[before[0]]}' in {before[1]}. Give it one class."
                )
            if at is not None:
                labels.given[at] = label
            elif path is not None and not again:
                labels.others.append((Photo.of_file(name, str(path)), label))
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise OptionError(
                f"--labelled {place}: {lost[0]}{more} is neither one of the photographs nor a "
                f"file beside {place.name}."
            )
    if places and not len(labels):
        raise OptionError(f"--labelled {places[0]}: it has no labelled photograph.")
    _refuse_two_classes(labels, photos, classnames)
    return labels


def _refuse_two_classes(labels: Labels, photos: Photos, classnames: Sequence[str]) -> None:
    """Refuse a picture that has two classes, even in two files."""
    labelled = [(photos.photos[place], label) for place, label in labels.given.items()]
    labelled += labels.others
    seen: dict[str, tuple[int, str]] = {}
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        digests = pool.map(_digest, [photo for photo, _ in labelled])
        for (photo, label), digest in zip(labelled, digests, strict=True):
            before, other = seen.setdefault(digest or photo.name, (label, photo.name))
            if before != label:
                raise OptionError(
                    f"--labelled: {photo.name} is '{classnames[label]}', and {other}, the same "
                    f"picture, is '{classnames[before]}'. Give both one class."
                )


def _digest(photo: Photo) -> str:
    """A hash that is equal for one picture in two files; empty if it cannot be read."""
    try:
        return pixels_sha256(decode(photo.read() or b""))
    except (OSError, BadImageError):
        return ""


def _in_folder(folder: Path, classnames: Sequence[str]) -> list[tuple[str, Path | None, int]]:
    names = classes_of(folder)
    labels = {name: label_of(name, classnames) for name in names}
    if foreign := [name for name, label in labels.items() if label is None]:
        raise OptionError(
            f"--labelled {folder}: {len(foreign)} of its {len(names)} folders are none of the "
            f"classes: {unknown(foreign, classnames)}."
        )
    photographs: list[tuple[str, Path | None, int]] = []
    for name, label in labels.items():
        assert label is not None
        photographs += [
            (path.as_posix(), path, label) for path in sorted(image_files(folder / name))
        ]
    return photographs


def _in_file(path: Path, classnames: Sequence[str]) -> list[tuple[str, Path | None, int]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(path)), strict=True) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise OptionError(f"--labelled {path} cannot be read: {error}.") from error
    files, classes = 0, 1
    if rows and (head := _header(rows[0])):
        files, classes = head
        rows = rows[1:]
    short = next((i for i, row in enumerate(rows, 1) if len(row) <= max(files, classes)), None)
    if short is not None:
        raise OptionError(
            f"--labelled {path}: row {short} has {len(rows[short - 1])} columns; file and class "
            "are wanted."
        )
    labels = {
        name: label_of(unescaped(name), classnames) for name in {row[classes] for row in rows}
    }
    if foreign := sorted(name for name, label in labels.items() if label is None):
        raise OptionError(
            f"--labelled {path}: {len(foreign)} of its {len(labels)} classes are not among those "
            f"named: {unknown(foreign, classnames)}."
        )
    photographs: list[tuple[str, Path | None, int]] = []
    for row in rows:
        label = labels[row[classes]]
        assert label is not None
        name = unescaped(row[files])
        near = (path.parent / name, Path(name))
        photographs.append(
            (name, next((candidate for candidate in near if candidate.is_file()), None), label)
        )
    return photographs


def _header(row: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the file and the class, if a row is a header; else None."""
    words = [cell.strip().lower() for cell in row]
    places = [next((i for i, w in enumerate(words) if w in names), None) for names in _HEADS]
    return None if places[0] is None or places[1] is None else (places[0], places[1])
