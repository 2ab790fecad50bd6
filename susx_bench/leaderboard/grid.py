"""Sort records into the rows, columns and runs of a leaderboard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from susx_bench.leaderboard.board import STRENGTH, Task
from susx_bench.records.cells import data_of, draw_of, shots_of
from susx_bench.records.record import Record


class RowKind(NamedTuple):
    """The properties of a row besides its method; they sort as rows do."""

    official: bool
    strength: int
    regime: str
    trained: bool
    batches: str
    prompts: str
    support: str


RowKey = tuple[str, RowKind]  # method, and the rest

Runs = dict[tuple[int, int], tuple[str, Record]]  # (seed, order) -> path, record


def place_in(name: str, order: Sequence[str]) -> int:
    """Place of a name in a list; one past the end if it is missing."""
    return order.index(name) if name in order else len(order)


class Said(NamedTuple):
    """Settings in which prompts or support sets vary by row rather than by column.

    Attributes:
        prompts: Maps such a setting to the prompts of most methods, which the columns then name;
            other rows name their own. Empty if a method has several kinds, so that all rows name
            theirs.
        support: Settings with several support sets.
    """

    prompts: Mapping[str, str]
    support: frozenset[str]


def said_by_rows(records: Iterable[Record]) -> Said:
    """Find the settings in which prompts or support sets vary by row."""
    prompts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    support = defaultdict(set)
    for r in records:
        prompts[r.setting][r.method].add(r.prompts)
        if r.support_images:
            support[r.setting].add(r.support)
    most_common = {}
    for setting, kinds in prompts.items():
        if len(set().union(*kinds.values())) > 1:
            counts = Counter(kind for kinds_of_method in kinds.values() for kind in kinds_of_method)
            one_each = all(len(kinds_of_method) == 1 for kinds_of_method in kinds.values())
            most_common[setting] = max(sorted(counts), key=counts.__getitem__) if one_each else ""
    return Said(most_common, frozenset(s for s, names in support.items() if len(names) > 1))


_FIELDS = attrgetter(*Task._fields[:-2])  # `also` and `data` are no fields of a record

_BASE = attrgetter(
    *("encoder", "precision", "setting", "prompts", "dataset", "protocol", "also", "data")
)


def _task_of(r: Record, split: Said) -> Task:
    """The column of a record with support."""
    task = Task._make((*_FIELDS(r), ", ".join(r.extra_words()), data_of(r)))
    if r.setting in split.prompts:
        task = task._replace(prompts=split.prompts[r.setting])
    if r.setting in split.support and r.support_images:
        task = task._replace(support="")
    return task._replace(shots=shots_of(r))


def columns_of(records: Iterable[Record], split: Said, datasets: Sequence[str]) -> list[Task]:
    """The columns in order; a task without any method with support gets a column of its own."""
    with_support: dict[Task, object] = {}
    without: dict[Task, object] = {}
    for r in records:
        task = _task_of(r, split)
        (with_support if r.support_images else without)[task] = _BASE(task)
    filled = set(with_support.values())
    tasks = [*with_support, *(task for task, base in without.items() if base not in filled)]
    return sorted(tasks, key=lambda t: (*t[:8], place_in(t.dataset, datasets), *t[8:]))


def grid_of(
    records: Mapping[str, Record], split: Said, tasks: Sequence[Task]
) -> dict[RowKey, dict[Task, Runs]]:
    """Records by row, column and run. A record without support is in all columns of its data."""
    bases: dict[object, list[Task]] = defaultdict(list)
    for task in tasks:
        bases[_BASE(task)].append(task)
    grid: dict[RowKey, dict[Task, Runs]] = defaultdict(dict)
    for path, r in records.items():
        own_column = _task_of(r, split)
        key = (
            r.method,
            RowKind(
                official=r.official,
                strength=place_in(r.tuned_on, STRENGTH),
                regime=r.regime,
                trained=r.trained,
                batches=r.batches,
                prompts="" if r.prompts == own_column.prompts else r.prompts,
                support=r.support if r.setting in split.support and r.support_images else "",
            ),
        )
        for task in [own_column] if r.support_images else bases[_BASE(own_column)]:
            grid[key].setdefault(task, {})[r.seed, r.order] = path, r
    return grid


def distinct_runs(runs: Runs) -> tuple[Runs, tuple[tuple[int, ...], ...]]:
    """Runs that drew different images, and lists of seeds that drew the same images."""
    first: dict[object, tuple[int, int]] = {}
    seeds: dict[object, list[int]] = defaultdict(list)
    for run in sorted(runs):
        draw = draw_of(runs[run][1])
        first.setdefault(draw, run)
        seeds[draw].append(run[0])
    alike = tuple(tuple(same) for same in seeds.values() if len(same) > 1)
    return {run: runs[run] for run in first.values()}, alike


def is_tunable(runs: Mapping[Task, Runs]) -> bool:
    """Whether a row has hyper-parameters to choose."""
    first = next(record for runs_of_task in runs.values() for _, record in runs_of_task.values())
    return bool(first.hparams) or first.tuned_on != "fixed"
