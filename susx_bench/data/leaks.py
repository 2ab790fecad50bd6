"""Images that several splits or classes share, or that show nothing, and classes without one."""

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
    """An image of a split, and the name of its class where that matters."""

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
    """The places of one image in one split that are of several classes, with their classes.

    Args:
        groups: The places of each image.
        names: The class name of every place.
    """
    found = []
    for group in groups:
        for split in dict.fromkeys(place.split for place in group):
            inside = [place for place in group if place.split == split]
            if len({names[place] for place in inside}) > 1:
                found.append([place._replace(name=names[place]) for place in inside])
    return found


def as_text(groups: Sequence[list[Place]]) -> str:
    """The first of some groups of places."""
    return some([" = ".join(map(str, group)) for group in groups])


def lacking(split: Split, samples: Sequence[Sample], classnames: Sequence[str]) -> list[str]:
    """A line that names the classes of which a split has no image, where there are any."""
    there = set(labels_of(samples).tolist())
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


def unseen(split: Split, appearance: Iterable[tuple[bool, bool]]) -> list[str]:
    """A line that says why no image of a split shows anything, if none does.

    Args:
        split: Which.
        appearance: Whether each image is of one colour, and whether it is dim, see `is_plain` and
            `is_dim`. No more are asked for than it takes.
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
    """What `unseen` asks for, of the images of a split that can be read."""
    for sample in split.samples:
        try:
            image = split.image(sample)
        except DatasetError:  # told where the image is used
            continue
        yield is_plain(image), is_dim(image)


def linked_leaks(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Files that several splits list, under whatever links."""
    groups: dict[Hashable, list[Place]] = defaultdict(list)
    for split in splits:
        for sample, file in zip(split.listed, split.files(split.listed), strict=True):
            groups[file].append(Place(split.split, sample.key))
    return leaks(groups.values())


def copies(splits: Sequence[DatasetSplit]) -> list[list[Place]]:
    """Groups of places of one image, in one split or several.

    Two images are one where they have the same pixels, whatever their files are; those that cannot
    be decoded, where they have the same bytes.
    """
    groups: dict[str, list[Place]] = defaultdict(list)
    for split in splits:
        for sample, digest in zip(split.samples, pixels(split), strict=True):
            groups[digest or f"{split.split}/{sample.key}"].append(Place(split.split, sample.key))
    return [group for group in groups.values() if len(group) > 1]


def pixels(images: Images) -> list[str]:
    """What is equal for copies of an image, for each sample; empty for one that is not there."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        return list(pool.map(lambda sample: _digest(images, sample), images.samples))


def _digest(images: Images, sample: Sample) -> str:
    try:
        return pixels_sha256(images.image(sample))
    except BenchError:
        pass
    try:
        return sha256_bytes(images.content(sample))
    except (BenchError, OSError):  # told where the image is used
        return ""
