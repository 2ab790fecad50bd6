"""Images that two parts of a feature bundle share, found by their features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.records.files import sha256_bytes

PARTS = ("support", "val", "test")
"""Parts that hold images; each is judged by the ones before it."""

MOST = 1.0
"""Percent of a part's rows that may be rows of another one: real datasets hold some images twice.
So few move an accuracy by one point at most; more are refused."""

NEAR = 0.03
"""Unit rows at most so far apart (cosine 0.99955) are features of one image.

One image differs by at most 0.0004 where its features are kept in float16, 0.0024 in bfloat16, and
0.01 where the encoder itself ran in bfloat16 (ViT-B/32). Of the pairs of parts of ten bundles of
real features, 28,908 rows in all, two are at distance 0 (an image that ImageNet has twice), none
between 0 and 0.06, one at 0.07 (two crops of a texture) and 29 below 0.15; frames of one video of
UCF101 are at least 0.1 apart.
"""

_SPARSE = 10
# Rows are also this much nearer to each other than most rows are to the next one of their part: an
# encoder may put all images closer together than `NEAR`.
_NARROW = (
    8  # rows with fewer numbers than this are near each other by chance: compared for equality
)
_DIRECTIONS = 16
_SAMPLE = 256  # rows of a part whose distance to the next one is measured
_CHUNK = 4096  # rows that are worked on at once


@dataclass(frozen=True)
class Shared:
    """Rows of one part that are rows of another one too.

    Attributes:
        part: The part, the later one of the two in `PARTS`.
        other: The other part.
        count: Number of shared rows.
        rows: Number of rows of the part.
        row: The first shared row.
        other_row: The matching row of the other part: the first equal one, or the nearest.
        rounded: Number of shared rows that are not equal number by number, see `NEAR`.
    """

    part: str
    other: str
    count: int
    rows: int
    row: int
    other_row: int
    rounded: int = 0

    @property
    def is_leak(self) -> bool:
        """Whether there are more than `MOST` percent."""
        return 100 * self.count > MOST * self.rows

    def __str__(self) -> str:
        verb = "is a row" if self.count == 1 else "are rows"
        which = "" if self.rounded == self.count else f"{self.rounded:,} of them "
        near = f", {which}up to rounding" if self.rounded else ""
        return (
            f"{self.count:,} of {self.rows:,} rows of '{self.part}' {verb} of '{self.other}' "
            f"too{near}, the first is row {self.row}, which is row {self.other_row} there"
        )


def shared_rows(tensors: Mapping[str, Tensor]) -> Iterator[Shared]:
    """Count the images that two parts share, for each pair of parts that share any.

    Rows are of one image where their numbers are equal, or where they point in one direction up to
    `NEAR`: features of one image that were encoded in another batch, kept in half precision or not
    normalised differ that little.

    Args:
        tensors: Features by part, each ``(rows, D)``; parts that are not in `PARTS` are left out.
    """
    parts = {name: _Part(tensors[name]) for name in PARTS if name in tensors}
    for other, part in combinations(parts, 2):
        equal = parts[part].equal(parts[other])
        match = parts[part].near(parts[other], equal)
        shared = np.flatnonzero(match >= 0)
        if len(shared):
            row = int(shared[0])
            yield Shared(
                part,
                other,
                count=len(shared),
                rows=len(match),
                row=row,
                other_row=int(match[row]),
                rounded=int(((match >= 0) & (equal < 0)).sum()),
            )


class _Part:
    """The rows of a part, with the digests and directions by which they are compared.

    Args:
        rows: Features, ``(rows, D)``.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.digests = [
            sha256_bytes(row)
            for chunk in torch.split(rows, _CHUNK)
            for row in (chunk.float() + 0.0).numpy()  # -0 is 0
        ]
        self.first = {digest: row for row, digest in reversed([*enumerate(self.digests)])}

    def equal(self, other: _Part) -> NDArray[np.int64]:
        """The first row of another part that has the same numbers, ``(rows,)``; else -1."""
        return np.array([other.first.get(digest, -1) for digest in self.digests], dtype=np.int64)

    def near(self, other: _Part, equal: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add to `equal`, for rows without an equal row, the nearest row that is near enough.

        A tree compares rows along `_DIRECTIONS` fixed random directions, where all but one in
        30,000 pairs of one image are within ``reach``. Its matches are verified in all D.
        """
        from scipy.spatial import cKDTree  # slow to import, and only bundles need it

        match, width = equal.copy(), self.rows.shape[1]
        unmatched = np.flatnonzero(equal < 0)
        if width < _NARROW or not len(unmatched) or not len(other.rows):
            return match
        limit = min(NEAR, self.spacing() / _SPARSE)
        # A difference of length d has length d * chi(16) / sqrt(D) there, and chi(16) is below 7.
        reach = limit * min(1.0, 7 / math.sqrt(width))
        once = np.fromiter(
            other.first.values(), np.int64
        )  # without duplicates, which would fill one leaf of the tree
        tree = cKDTree(other.sketch(once))
        distance, place = tree.query(self.sketch(unmatched), distance_upper_bound=reach)
        own_rows, other_rows = unmatched[np.isfinite(distance)], once[place[np.isfinite(distance)]]
        for mine, theirs in zip(_chunks(own_rows), _chunks(other_rows), strict=True):
            apart = (_unit(self.rows[mine]) - _unit(other.rows[theirs])).norm(dim=1)
            close = (apart <= limit).numpy()
            match[mine[close]] = theirs[close]
        return match

    def sketch(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows as unit rows in the directions, ``(rows, directions)``."""
        width = self.rows.shape[1]
        random = torch.randn(width, min(_DIRECTIONS, width), generator=_generator())
        directions = torch.linalg.qr(random).Q  # orthonormal: no difference becomes longer
        sketches = [_unit(self.rows[chunk]) @ directions for chunk in _chunks(rows)]
        return torch.cat(sketches).numpy()

    def spacing(self) -> float:
        """Median distance of a sample of rows to the nearest other row of the part."""
        count = len(self.rows)
        some = torch.linspace(0, count - 1, min(_SAMPLE, count)).long()
        sample, nearest = _unit(self.rows[some]), torch.full((len(some),), math.inf)
        for start in range(0, count, _CHUNK):
            rows = _unit(self.rows[start : start + _CHUNK])
            apart = torch.cdist(sample, rows, compute_mode="use_mm_for_euclid_dist")
            place = some - start
            inside = (place >= 0) & (place < len(rows))
            apart[inside.nonzero().squeeze(1), place[inside]] = math.inf
            nearest = torch.minimum(nearest, apart.amin(1))
        return float(nearest.median())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.float(), dim=-1)


def _chunks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(rows, max(1, -(-len(rows) // _CHUNK)))


def check_shared(
    where: str, dataset: str, tensors: Mapping[str, Tensor], *, scored: bool = True
) -> list[str]:
    """Refuse a bundle whose parts hold the same images; report a few duplicates.

    Args:
        where: Name of the bundle, for errors.
        dataset: Name of its dataset.
        tensors: Features by part.
        scored: Whether the test images have labels; without labels no accuracy can be too high.

    Returns:
        A line for each pair of parts that share some rows.

    Raises:
        BundleError: If two parts share more than `MOST` percent of the rows of one.
    """
    pairs = list(shared_rows(tensors))
    for pair in pairs:
        if pair.is_leak and (scored or pair.part != "test"):
            raise BundleError(
                f"{where}: {pair}. They are the same images, so that accuracies would be too high; "
                f"up to {MOST:g} % is taken for duplicates of the dataset. {_REMEDY[pair.other]}"
            )
    return [f"{dataset}: {pair}; they stay where they are" for pair in pairs]


_REMEDY = {
    "support": "Take them out of one of the two.",
    "val": "Take them out of 'val'; where val is the test set, leave 'val' and 'val_labels' out.",
}
