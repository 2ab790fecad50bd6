"""Check a copy of a dataset: sizes, classes, images, duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from filecmp import cmp
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.console import counted, some
from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.decode import BadImageError, is_dim, is_plain
from susx_bench.data.duplicates import perceptual_hash, pixels_sha256
from susx_bench.data.leaks import (
    Place,
    alike,
    as_text,
    contradictions,
    lacking,
    leaks,
    unseen,
)
from susx_bench.data.sources.base import Sample, Source, labels_of
from susx_bench.data.spec import SPLITS, DatasetSpec, Split

NEAR = 4
"""Most bits by which the 64-bit perceptual hashes of near-duplicates differ."""

_BANDS = NEAR + 1  # of this many parts of two hashes that differ in NEAR bits, one is equal
_CROWD = 400  # most images with a common part of their hash that are compared in pairs


@dataclass(frozen=True)
class SplitReport:
    """Counts of one split.

    Attributes:
        split: The split.
        images: Number of images.
        published: Number in the published protocol; None if it has no such split.
        expected: Number that this copy must have; None if unknown.
        fewest: Images of the smallest class.
        most: Images of the largest class.
        empty: Classes without an image.
        sha256: Hash of the list of images and labels.
    """

    split: Split
    images: int
    published: int | None
    expected: int | None
    fewest: int
    most: int
    empty: tuple[str, ...]
    sha256: str


@dataclass
class Report:
    """The result of a check.

    Attributes:
        spec: The dataset's facts.
        origin: Folder or repository.
        protocol: The protocol of its split.
        splits: Counts of each split.
        remarks: Remarks on images that are left out and on how names were read.
        lender: Name of the dataset that lends the train images; empty if they are its own.
        read: Number of images that were read.
        unreadable: Images that cannot be decoded, with the reason.
        same: Groups of places of images with equal pixels.
        contradictions: Groups within one split that have several classes, with the classes.
        near: Pairs of images that look the same and have different pixels.
        near_contradictions: Pairs within one split that have two classes, with the classes.
        crowded: Number of images without a search for near-duplicates: too many look alike.
        plain: Images of one colour, see `is_plain`.
        dim: Images in the lowest quarter of their range, see `is_dim`.
    """

    spec: DatasetSpec
    origin: str
    protocol: str
    splits: list[SplitReport]
    remarks: Sequence[str] = ()
    lender: str = ""
    read: int = 0
    unreadable: list[tuple[Place, str]] = field(default_factory=list)
    same: list[list[Place]] = field(default_factory=list)
    contradictions: list[list[Place]] = field(default_factory=list)
    near: list[tuple[Place, Place]] = field(default_factory=list)
    near_contradictions: list[list[Place]] = field(default_factory=list)
    crowded: int = 0
    plain: list[Place] = field(default_factory=list)
    dim: list[Place] = field(default_factory=list)

    @property
    def leaks(self) -> list[list[Place]]:
        """Groups of the same image in more than one split."""
        return leaks(self.same)

    @property
    def near_leaks(self) -> list[tuple[Place, Place]]:
        """Pairs of near-duplicates in different splits."""
        return [pair for pair in self.near if pair[0].split != pair[1].split]

    @property
    def published(self) -> bool:
        """Whether it is a published split; then images in several splits belong to it."""
        return bool(self.spec.sizes) and self.protocol == self.spec.protocol

    @property
    def train_alone_is_wrong(self) -> bool:
        """Whether every fault is in train, so that runs that do not read train are right."""
        others = Report(
            self.spec,
            self.origin,
            self.protocol,
            [part for part in self.splits if part.split != "train"],
            unreadable=[(place, why) for place, why in self.unreadable if place.split != "train"],
            same=[[place for place in group if place.split != "train"] for group in self.same],
            contradictions=[group for group in self.contradictions if group[0].split != "train"],
            plain=[place for place in self.plain if place.split != "train"],
            dim=[place for place in self.dim if place.split != "train"],
        )
        whole = all(part.images and part.expected in (None, part.images) for part in self.splits)
        return whole and bool(self.wrong) and not others.wrong

    @property
    def wrong(self) -> list[str]:
        """The faults, one line each; empty for a good copy."""
        faults = []
        for part in self.splits:
            if part.expected not in (None, part.images):
                faults.append(f"{part.split} has {part.images} images, not {part.expected}")
            elif not part.images:
                faults.append(f"{part.split} has no images")
            faults += self._unseen(part)
        if self.unreadable:
            faults.append(f"cannot be read: {some([place for place, _ in self.unreadable])}")
        if self.leaks and not self.published:
            faults.append(f"in more than one split: {as_text(self.leaks)}")
        if self.contradictions and not self.published:
            count = counted(len(self.contradictions), "image")
            faults.append(f"{count} under several labels: {as_text(self.contradictions)}")
        return faults

    def _unseen(self, part: SplitReport) -> list[str]:
        """Faults that all readable images of a split share."""
        if part.split == "train" and self.lender:
            return []
        readable = part.images - sum(place.split == part.split for place, _ in self.unreadable)
        plain = readable == sum(place.split == part.split for place in self.plain)
        dim = readable == sum(place.split == part.split for place in self.dim)
        return unseen(part.split, [(plain, dim)] if readable else [])


SPARED = (
    "A run that does not read train, such as zero-shot with --setting name-only, is not affected; "
    "`run` refuses those that read what is wrong"
)
"""Behaviour of `run` if `Report.train_alone_is_wrong`."""


def _to_read(
    source: Source, listed: Sequence[tuple[DatasetSplit, Sequence[Sample]]]
) -> tuple[list[tuple[Split, Sample]], list[str]]:
    """The images to read, and a remark on those that are not read.

    Of train images that another dataset lends, only copies of the dataset's own files are read.
    """
    of_dataset: list[tuple[Split, Sample]] = []
    lent: list[tuple[Split, Sample]] = []
    for split, samples in listed:
        kind = lent if source.lender and split.split == "train" else of_dataset
        kind += [(split.split, sample) for sample in samples]
    if not lent:
        return of_dataset, []
    own: dict[int | None, list[Path]] = defaultdict(list)
    for _, sample in of_dataset:
        if path := source.path(sample):
            own[_length(path)].append(path)
    copies = [(split, sample) for split, sample in lent if _is_copy(source.path(sample), own)]
    return [*copies, *of_dataset], [
        f"train is of {source.lender}: of its {len(lent):,} images those {len(copies):,} are read "
        f"whose files are copies of this dataset's; `susx-bench data check {source.lender}` reads "
        "all"
    ]


def _is_copy(path: Path | None, own: Mapping[int | None, Sequence[Path]]) -> bool:
    """Whether a lent file has the content of one of the dataset's own, which are given by length.

    A file that cannot be read is none: it is reported as the dataset's own, or as the lender's.
    """
    if path is None:
        return False
    try:
        return any(cmp(path, other, shallow=False) for other in own.get(_length(path), ()))
    except OSError:
        return False


def _length(path: Path) -> int | None:
    """Bytes of a file; None if it cannot be read."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def check(
    dataset: Dataset, begin: Callable[[int], object], advance: Callable[[], object]
) -> Report:
    """Read every image of a dataset, except lent ones, and search for faults.

    Args:
        dataset: The dataset.
        begin: Called with the number of images.
        advance: Called after each image.

    Raises:
        DatasetError: If the copy cannot be listed at all, or its class names are not the
            dataset's.
    """
    source, spec = dataset.source, dataset.spec
    present = dataset.splits
    splits = [dataset.split(name) for name in SPLITS if name in (*present, *dataset.sizes)]
    listed = [
        (split, source.index(split.split) if split.split in present else []) for split in splits
    ]
    absent = [lacking(split.split, samples, spec.classnames) for split, samples in listed]
    report = Report(
        spec,
        dataset.origin,
        dataset.protocol,
        [_split(split, samples) for split, samples in listed],
        [*dataset.remarks, *alike(spec.classnames), *chain(*absent)],
        source.lender,
    )
    images, unread = _to_read(source, listed)
    report.remarks = [*report.remarks, *unread]
    report.read = len(images)
    begin(report.read)

    def look(item: tuple[Split, Sample]) -> _Seen:
        split, sample = item
        seen = _look(source, Place(split, sample.key), sample)
        advance()
        return seen

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        seen = list(pool.map(look, images))
    good = []
    for one in seen:
        if one.error:
            report.unreadable.append((one.place, one.error))
        else:
            good.append(one)
    report.plain = [one.place for one in good if one.plain]
    report.dim = [one.place for one in good if one.dim]
    report.same = _same(good)
    report.near, report.crowded = _near(good)
    names = {Place(split, sample.key): spec.classnames[sample.label] for split, sample in images}
    report.contradictions = contradictions(report.same, names)
    report.near_contradictions = contradictions(map(list, report.near), names)
    return report


class _Seen(NamedTuple):
    place: Place
    error: str
    digest: str = ""
    look: int = 0
    plain: bool = False
    dim: bool = False


def _look(source: Source, place: Place, sample: Sample) -> _Seen:
    try:
        image = source.decode(source.read(sample))
    except (BadImageError, OSError) as error:
        return _Seen(place, str(error))
    return _Seen(
        place, "", pixels_sha256(image), perceptual_hash(image), is_plain(image), is_dim(image)
    )


def _split(split: DatasetSplit, samples: Sequence[Sample]) -> SplitReport:
    classnames = split.classnames
    counts = np.bincount(labels_of(samples), minlength=len(classnames)).tolist()
    return SplitReport(
        split=split.split,
        images=len(samples),
        published=split.spec.sizes.get(split.split),
        expected=split.dataset.sizes.get(split.split),
        fewest=min(counts),
        most=max(counts),
        empty=tuple(name for name, n in zip(classnames, counts, strict=True) if not n),
        sha256=split.list_sha256(samples),
    )


def _same(seen: Sequence[_Seen]) -> list[list[Place]]:
    groups: dict[str, list[Place]] = defaultdict(list)
    for one in seen:
        groups[one.digest].append(one.place)
    return [group for group in groups.values() if len(group) > 1]


def _near(seen: Sequence[_Seen]) -> tuple[list[tuple[Place, Place]], int]:
    """Pairs with hashes that differ in at most `NEAR` bits, and the number of crowded images."""
    looks = np.array([one.look for one in seen], dtype=np.uint64)
    edges = np.linspace(0, 64, _BANDS + 1).astype(int)
    pairs: set[tuple[int, int]] = set()
    crowded: set[int] = set()
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = (looks >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        for members in _alike(part):
            if len(members) > _CROWD:
                crowded.update(members.tolist())
                continue
            differ = np.bitwise_count(looks[members][:, None] ^ looks[members][None])
            for i, j in np.argwhere(np.triu(differ <= NEAR, k=1)):
                pairs.add((int(members[i]), int(members[j])))
    near = [
        (seen[i].place, seen[j].place) for i, j in sorted(pairs) if seen[i].digest != seen[j].digest
    ]
    return near, len(crowded)


def _alike(values: NDArray[np.uint64]) -> list[NDArray[np.intp]]:
    """Places of equal values, for every value that occurs more than once."""
    if not len(values):
        return []
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order])) + 1
    return [group for group in np.split(order, starts) if len(group) > 1]
