"""Images that several splits share, and classes without one, found before any is decoded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.sources.base import File, Sample
from susx_bench.data.spec import Split
from susx_bench.errors import DatasetError
from susx_bench.records.files import sha256_bytes, sha256_file

_SHOWN = 5  # things named in a line


class Place(NamedTuple):
    """An image of a split."""

    split: Split
    key: str

    def __str__(self) -> str:
        return f"{self.key} ({self.split})"


def some(things: Sequence[object]) -> str:
    """The first of some things, and how many more there are."""
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(map(str, things[:_SHOWN])) + more


def leaks(groups: Iterable[list[Place]]) -> list[list[Place]]:
    """The groups of places of one image that are in more than one split."""
    return [group for group in groups if len({place.split for place in group}) > 1]


def as_text(groups: Sequence[list[Place]]) -> str:
    """The first of some groups of places."""
    return some([" = ".join(map(str, group)) for group in groups])


def lacking(split: Split, samples: Sequence[Sample], classnames: Sequence[str]) -> list[str]:
    """A line that names the classes of which a split has no image, where there are any."""
    there = {sample.label for sample in samples}
    absent = [f"'{name}'" for label, name in enumerate(classnames) if label not in there]
    return [f"{split} has no image of {some(absent)}"] if absent and there else []


def alike(classnames: Sequence[str]) -> list[str]:
    """A line that names the classes whose names differ in upper and lower case alone, if any."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classnames:
        groups[name.casefold()].append(name)
    pairs = [
        " and ".join(f"'{name}'" for name in group)
        for group in groups.values()
        if len(set(group)) > 1
    ]
    if not pairs:
        return []
    return [f"{some(pairs)} differ in upper and lower case alone and are classes of their own"]


def linked_leaks(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Files that several splits list, under whatever links."""
    files = dict(_files(splits))
    return leaks(_grouped(list(files), lambda place: files[place].identity))


def copied_leaks(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Images of several splits that have the same bytes.

    Of files, only those of the same size are read; of rows of a table, every one.
    """
    there = _files(splits)
    files = {place: file.path for place, file in there if file.path}
    sizes = {place: file.size for place, file in there if file.path}
    rows = {
        Place(split.split, sample.key): (split, sample)
        for split in splits
        for sample in split.listed
    }

    def content(place: Place) -> Hashable:
        if path := files.get(place):
            return _unless_unreadable(place, lambda: sha256_file(path))
        split, sample = rows[place]
        return _unless_unreadable(place, lambda: sha256_bytes(split.content(sample)))

    suspects = leaks(_grouped(list(rows), sizes.get))
    return leaks(_grouped([place for group in suspects for place in group], content))


def _files(splits: Sequence[DatasetSplit]) -> list[tuple[Place, File]]:
    return [
        (Place(split.split, sample.key), file)
        for split in splits
        for sample, file in zip(split.listed, split.files(split.listed), strict=True)
    ]


def _grouped(places: Sequence[Place], key: Callable[[Place], Hashable]) -> list[list[Place]]:
    """Places of which something is the same."""
    groups: dict[Hashable, list[Place]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:  # reading waits for the disk
        for place, value in zip(places, pool.map(key, places), strict=True):
            groups[value].append(place)
    return list(groups.values())


def _unless_unreadable(place: Place, read: Callable[[], str]) -> Hashable:
    """What was read, or the place itself, which nothing else is equal to."""
    try:
        return read()
    except (OSError, DatasetError):  # told where the image is used
        return place
