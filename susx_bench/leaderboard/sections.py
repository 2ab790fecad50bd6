"""Which rows are compared with one another, and with which row of the baseline."""

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
"""What chose the hyper-parameters, by how much it was allowed to see. ``fixed`` looks at no label,
``support`` at labels that every method is given, so that they are one."""


class Kind(NamedTuple):
    """What the rows of one section have in common; sorts as sections do."""

    trained: bool
    regime: int
    batches: str
    seen: int

    @property
    def apart(self) -> tuple[bool, int, str]:
        """What keeps rows apart that have nothing to choose."""
        return self.trained, self.regime, self.batches

    @property
    def label(self) -> str:
        regime = REGIMES[self.regime]
        how = saw(regime, self.batches)
        words = f"{'trained, ' if self.trained else ''}{regime}{f' ({how})' if how else ''}"
        return f"{words}; {list(SEEN.values())[self.seen]}"


def kinds_of(grid: Mapping[RowKey, Mapping[Task, Runs]]) -> dict[RowKey, Kind]:
    """The section of each row.

    A row with nothing to choose is the same number whatever it may look at. It stands in the
    largest section of its regime and kind.
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
    """The sections, from the kind of each row."""
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
    """The baseline's row that a row is compared with: the next to it in what else differs.

    It is of the same section, or has nothing to choose and is apart in nothing else. None for
    itself, and where there is no such row.
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
