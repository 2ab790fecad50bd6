"""Find images that splits or classes share, images that show nothing, and empty classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from susx_bench.console import some
from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.decode import DIM, is_dim, is_plain
from susx_bench.data.duplicates import pixels_sha256
from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample, labels_of
from susx_bench.data.spec import Split
from susx_bench.errors import BenchError, DatasetError
from susx_bench.records.files import sha256_bytes


class Place(NamedTuple):
    """An image of a split, with the name of its class if that matters."""

    split: Split
    key: str
    name: str = ""

    def __str__(self) -> str:
        called = f", '{self.name}'" if self.name else ""
        return f"{self.key} ({self.split}{called})"


def leaks(groups: Iterable[list[Place]]) -> list[list[Place]]:
    """The groups of places of one image that are in more than one split."""
    return [group for group in groups if len({place.split for place in group}) > 1]


def contradictions(groups: Iterable[list[Place]], names: Mapping[Place, str]) -> list[list[Place]]:
    """Groups of places of one image in one split that have several classes, with the classes.

    Args:
        groups: The places of each image.
        names: The class name of every place.
    """
    contradicting = []
    for group in groups:
        for split in dict.fromkeys(place.split for place in group):
            inside = [place for place in group if place.split == split]
            if len({names[place] for place in inside}) > 1:
                contradicting.append([place._replace(name=names[place]) for place in inside])
    return contradicting


def as_text(groups: Sequence[list[Place]]) -> str:
    """The first of some groups of places."""
    return some([" = ".join(map(str, group)) for group in groups])


def lacking(split: Split, samples: Sequence[Sample], classnames: Sequence[str]) -> list[str]:
    """A line that names the classes without an image in a split, if there are any."""
    present = set(labels_of(samples).tolist())
    absent = [f"'{name}'" for label, name in enumerate(classnames) if label not in present]
    return [f"{split} has no image of {some(absent)}"] if absent and present else []


def alike(classnames: Sequence[str]) -> list[str]:
    """A line that names classes with names that differ only in case, if any."""
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


def unseen(split: Split, appearance: Iterable[tuple[bool, bool]]) -> list[str]:
    """A line with the reason why no image of a split shows anything; none if one does.

    Args:
        split: The split.
        appearance: Whether each image has one colour, and whether it is dim, see `is_plain` and
            `is_dim`. Only as many as needed are read.
    """
    plain, dim, count = True, True, 0
    for of_one_colour, in_the_dark in appearance:
        plain, dim, count = plain and of_one_colour, dim and in_the_dark, count + 1
        if not (plain or dim):
            break
    if count and plain:
        return [f"every image of {split} is of one colour"]
    if count and dim:
        return [
            f"no image of {split} has a number above {DIM} of 255, as where numbers of 14 bits are "
            "kept in 16: scale them to the whole range"
        ]
    return []


def appearances(split: DatasetSplit) -> Iterator[tuple[bool, bool]]:
    """The second argument of `unseen`, for the readable images of a split."""
    for sample in split.samples:
        try:
            image = split.image(sample)
        except DatasetError:  # reported when the image is used
            continue
        yield is_plain(image), is_dim(image)


def linked_leaks(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Files that several splits list, also through links."""
    groups: dict[Hashable, list[Place]] = defaultdict(list)
    for split in splits:
        for sample, file in zip(split.listed, split.files(split.listed), strict=True):
            groups[file].append(Place(split.split, sample.key))
    return leaks(groups.values())


def copies(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Groups of places of one image, in one split or several.

    Images are one if their pixels are equal, or their bytes if they cannot be decoded.
    """
    groups: dict[str, list[Place]] = defaultdict(list)
    for split in splits:
        for sample, digest in zip(split.samples, pixels(split), strict=True):
            groups[digest or f"{split.split}/{sample.key}"].append(Place(split.split, sample.key))
    return [group for group in groups.values() if len(group) > 1]


def pixels(images: Images) -> list[str]:
    """One hash per sample, equal for copies of an image; empty for a missing image."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        return list(pool.map(lambda sample: _digest(images, sample), images.samples))


def _digest(images: Images, sample: Sample) -> str:
    try:
        return pixels_sha256(images.image(sample))
    except BenchError:
        pass
    try:
        return sha256_bytes(images.content(sample))
    except (BenchError, OSError):  # reported when the image is used
        return ""
