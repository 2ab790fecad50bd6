"""Divide rows into sections that may be compared, and choose the baseline of each row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from susx_bench.leaderboard.board import REGIMES, STRENGTH, Section, Task, saw
from susx_bench.leaderboard.grid import RowKey, Runs, is_tunable

SEEN = {
    "support": "support labels at most",
    "published": "constants that a paper chose for the dataset",
    "few-val": "tuned on a few val labels",
    "val": "tuned on the val labels",
    "test": "tuned on the test labels: upper bounds, not ranked",
}
"""Tunings in the order of how many labels they see. ``fixed`` looks at no label and ``support`` at
labels that every method has, so that they count as one."""


class Kind(NamedTuple):
    """The properties that the rows of a section share; they sort as sections do."""

    trained: bool
    regime: int
    batches: str
    seen: int

    @property
    def apart(self) -> tuple[bool, int, str]:
        """The properties that separate rows even if they have nothing to choose."""
        return self.trained, self.regime, self.batches

    @property
    def label(self) -> str:
        regime = REGIMES[self.regime]
        how = saw(regime, self.batches)
        words = f"{'trained, ' if self.trained else ''}{regime}{f' ({how})' if how else ''}"
        return f"{words}; {list(SEEN.values())[self.seen]}"


def kinds_of(grid: Mapping[RowKey, Mapping[Task, Runs]]) -> dict[RowKey, Kind]:
    """The kind of each row, which decides its section.

    A row with nothing to choose has the same number whatever labels it may see. It belongs to the
    largest section of its regime.
    """
    kinds = {}
    for row in grid:
        tuned_on = STRENGTH[row[1].strength]
        seen = list(SEEN).index("support" if tuned_on == "fixed" else tuned_on)
        regime = REGIMES.index(row[1].regime)
        kinds[row] = Kind(row[1].trained, regime, row[1].batches, seen)
    sizes = Counter(kinds[row] for row, runs in grid.items() if is_tunable(runs))
    for row, runs in grid.items():
        apart = kinds[row].apart
        alike = [kind for kind in sorted(sizes) if kind.apart == apart and kind.seen < _TEST]
        if not is_tunable(runs) and alike:
            kinds[row] = max(alike, key=sizes.__getitem__)
    return kinds


_TEST = list(SEEN).index("test")


def sections_of(kinds: Sequence[Kind]) -> tuple[Section, ...]:
    """Make the sections from the kind of each row."""
    places: dict[Kind, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    return tuple(Section(kind.label, tuple(rows)) for kind, rows in places.items())


def baseline_row(
    key: RowKey,
    keys: Sequence[RowKey],
    baseline: str,
    kinds: Mapping[RowKey, Kind],
    free: Collection[RowKey],
) -> int | None:
    """The baseline's row with which a row is compared: the one that differs least from it.

    It is in the same section, or has nothing to choose and differs in nothing else that separates
    sections. None for a row of the baseline itself, or if there is no such row.
    """
    kind = key[1]
    if key[0] == baseline:
        return None

    def distance(i: int) -> tuple[bool, ...]:
        other = keys[i][1]
        return tuple(
            getattr(other, name) != getattr(kind, name)
            for name in ("strength", "support", "prompts", "official")
        )

    places = [
        i
        for i, (method, other) in enumerate(keys)
        if method == baseline
        and (
            kinds[method, other] == kinds[key]
            or ((method, other) in free and kinds[method, other].apart == kinds[key].apart)
        )
    ]
    return min(places, key=distance, default=None)
