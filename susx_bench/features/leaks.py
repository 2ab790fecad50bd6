"""Images that two parts of a feature bundle share, found by their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.records.files import sha256_bytes

PARTS = ("support", "val", "test")
"""Parts that hold images; each is judged by the ones before it."""

MOST = 1.0
"""Percent of a part's rows that may be rows of another one: real datasets hold some images twice.
So few move an accuracy by one point at most; more are refused."""


@dataclass(frozen=True)
class Shared:
    """Rows of one part that are rows of another one too.

    Attributes:
        part: The part, the later one of the two in `PARTS`.
        other: The other part.
        count: How many of its rows.
        rows: How many rows it has.
        row: The first of them.
        other_row: The first row of the other part that it is.
    """

    part: str
    other: str
    count: int
    rows: int
    row: int
    other_row: int

    @property
    def is_leak(self) -> bool:
        """Whether there are more than `MOST` percent."""
        return 100 * self.count > MOST * self.rows

    def __str__(self) -> str:
        verb = "is a row" if self.count == 1 else "are rows"
        return (
            f"{self.count:,} of {self.rows:,} rows of '{self.part}' {verb} of '{self.other}' too, "
            f"the first is row {self.row}, which is row {self.other_row} there"
        )


def shared_rows(tensors: Mapping[str, Tensor]) -> Iterator[Shared]:
    """For each pair of parts that share rows of equal numbers, how many they share.

    Args:
        tensors: Features by part, each ``(rows, D)``; parts that are not in `PARTS` are left out.
    """
    places: dict[str, list[str]] = {
        name: [sha256_bytes(row) for row in (tensors[name].float() + 0.0).numpy()]  # -0 is 0
        for name in PARTS
        if name in tensors
    }
    first = {
        name: {digest: row for row, digest in reversed([*enumerate(digests)])}
        for name, digests in places.items()
    }
    for other, part in combinations(places, 2):
        found = [i for i, digest in enumerate(places[part]) if digest in first[other]]
        if found:
            row = found[0]
            yield Shared(
                part, other, len(found), len(places[part]), row, first[other][places[part][row]]
            )


def check_shared(
    where: str, dataset: str, tensors: Mapping[str, Tensor], *, scored: bool = True
) -> list[str]:
    """Refuse a bundle whose parts hold the same images; name what few duplicates it has.

    Args:
        where: What the bundle is called, for errors.
        dataset: What its data is called.
        tensors: Features by part.
        scored: Whether the test images have labels; else nothing about them can be too high.

    Returns:
        A line for each pair of parts that share some rows.

    Raises:
        BundleError: If one shares more than `MOST` percent.
    """
    found = list(shared_rows(tensors))
    for each in found:
        if each.is_leak and (scored or each.part != "test"):
            raise BundleError(
                f"{where}: {each}. They are the same images, so that accuracies would be too high; "
                f"up to {MOST:g} % is taken for duplicates of the dataset. {_REMEDY[each.other]}"
            )
    return [f"{dataset}: {each}; they stay where they are" for each in found]


_REMEDY = {
    "support": "Take them out of one of the two.",
    "val": "Take them out of 'val'; where val is the test set, leave 'val' and 'val_labels' out.",
}
