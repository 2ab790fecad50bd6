"""A leaderboard as plain data: everything a table, a page or a picture shows, from records.

Every format is drawn from a `Board` and computes nothing of its own.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.errors import OptionError
from susx_bench.records.cells import current, data_of, dataset_names, draw_of, shots_of
from susx_bench.records.record import Record, unpack
from susx_bench.report.published import Figure, fitting
from susx_bench.report.statistics import (
    TAIL_RUNS,
    Ranking,
    holm,
    over_seeds,
    paired,
    ranking,
    tail,
    wilson,
)
from susx_bench.report.table import STRENGTH, saw

BASELINES = ("tip-adapter", "zero-shot")
"""What a table compares with where it is not told: the first one it has."""

PUBLISHED_SPLITS = frozenset({"susx", "susx-bench", "bundle"})
"""Split protocols without a mark: SuS-X's, the demo's own, and whatever a bundle brought."""

MARKS = {
    "†": "chosen on the test labels: an upper bound, not a result, and not ranked",
    "‡": "chosen on target labels: name-only no more, and not ranked",
    "¶": "constants chosen with an eye on this dataset: no independent evidence, and not ranked",
    "ᵗ": "transductive: an answer depends on other test images, all or those of its batch",
    "ˢ": "streaming: an answer depends on the test images before it, in a seeded order",
    "ᵍ": "trained by gradient steps on the support set: compared with trained methods only",
    "§": "another split than the published one",
}
"""What each mark means."""

UNRANKED = "†‡¶"
"""Marks of numbers that are compared with no other; they belong to the tuning."""


class Task(NamedTuple):
    """What the numbers of one column have in common.

    `dataset` is the name by which `dataset_names` tells it from the others, and `data` is its
    `data_of`.
    """

    encoder: str
    precision: str
    setting: str
    support: str
    prompts: str
    draw: str
    views: int
    shots: int
    dataset: str
    protocol: str
    n_test: int
    data: str


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        task: What its numbers have in common. `support` is ``none`` and `shots` 0 where no method
            in it looks at labelled images. `prompts` and `support` are empty where the board has
            several: then they belong to the row. `shots` is 0 for a support set of class names
            that is used whole.
        label: Shortest text that tells it from the other columns.
        marks: ``§`` for another split than the published one.
    """

    task: Task
    label: str
    marks: str


@dataclass(frozen=True)
class Group:
    """Columns that differ in the dataset only: what an average goes over.

    Attributes:
        label: What they have in common that other groups have not; empty for the only group.
        columns: Places in `Board.columns`, one a dataset.
    """

    label: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """A published figure beside ours.

    Attributes:
        figure: What was published, and where.
        difference: Ours minus theirs, in points.
        inside: Whether theirs lies inside our 95 % interval.
    """

    figure: Figure
    difference: float
    inside: bool


@dataclass(frozen=True)
class Cell:
    """A measured number.

    Attributes:
        mean: Top-1 accuracy, mean over the runs, percent, unrounded.
        mean_per_class: The same, averaged over classes.
        spread: Standard deviation over the runs; None for one run.
        tail: Mean of the worst tenth of the runs, where `TAIL_RUNS` or more differ in their order
            of the test images; else None.
        low: Lower end of the 95 % interval: Wilson's for one run, Student's over several.
        high: Its upper end.
        seeds: Seed of each run, as many as there are runs; 0 where nothing is drawn.
        orders: Seed of each run's order of the test images; 0 for the order of the split.
        alike: Seeds that drew the same images, the first of which is among `seeds`: one run.
        records: Path of each run's record, from the leaderboards' folder.
        marks: Those of `MARKS` that concern the cell, without the column's.
        ranked: Whether it is compared with the others of its section: none of `UNRANKED`.
        rank: Rank among the ranked cells of its column and section, ties shared; None if not
            ranked.
        place: 1 for the best and 2 for the second of its section as printed, with one decimal;
            else 0, and where the section has no other.
        gain: Mean minus the baseline's, in points; None without a baseline.
        p: Two-sided p of `statistics.paired` against the baseline; None without one, or where
            they have not seen the same test images.
        p_holm: The same, adjusted for all tests of the board.
        published: Published figures that fit, the most primary first.
    """

    mean: float
    mean_per_class: float
    spread: float | None
    tail: float | None
    low: float
    high: float
    seeds: tuple[int, ...]
    orders: tuple[int, ...]
    alike: tuple[tuple[int, ...], ...]
    records: tuple[str, ...]
    marks: str
    ranked: bool
    rank: float | None = None
    place: int = 0
    gain: float | None = None
    p: float | None = None
    p_holm: float | None = None
    published: tuple[Compared, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row: a method under one tuning.

    Attributes:
        method: Its name.
        tuned_on: What chose its hyper-parameters.
        tunable: Whether there were any to choose.
        official: Whether it is the authors' public code.
        regime: ``inductive``, ``transductive`` or ``streaming``.
        trained: Whether it takes gradient steps.
        batches: How a transductive method got the test set, as in `Record`.
        prompts: What its text encoder read; empty where it is what the columns say.
        support: Its support set; empty where the columns say it, or without one.
        marks: Marks that all its cells have.
        baseline: Place in `Board.rows` of the row it is compared with, in the same section; None
            for none.
        cells: One a column; None is a blank.
        averages: Mean over each group of `Board.groups`; None where a cell is missing.
        rank: Average rank over datasets within its section; None for a row that is not complete
            or not ranked, and where the columns are of several settings.
    """

    method: str
    tuned_on: str
    tunable: bool
    official: bool
    regime: str
    trained: bool
    batches: str
    prompts: str
    support: str
    marks: str
    baseline: int | None
    cells: tuple[Cell | None, ...]
    averages: tuple[float | None, ...]
    rank: float | None = None

    @property
    def label(self) -> str:
        """The method as a person reads it."""
        parts = [self.method + (" (official code)" if self.official else "")]
        parts += [self.support] if self.support else []
        parts += [f"prompts {self.prompts}"] if self.prompts else []
        parts += [f"sees {self.saw}"] if self.saw else []
        return ", ".join(parts)

    @property
    def saw(self) -> str:
        """What of the test set it sees for one answer; empty where it is the image alone."""
        return saw(self.regime, self.batches)

    @property
    def tuning(self) -> str:
        """What chose the hyper-parameters, as a person reads it."""
        return self.tuned_on if self.tunable else "–"


@dataclass(frozen=True)
class Section:
    """Rows that are compared with one another.

    They are of one regime, all trained or all training-free, and were allowed to see the same.

    Attributes:
        label: What they have in common, for people.
        rows: Their places in `Board.rows`, which follow one another.
    """

    label: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """Average ranks of a section.

    Attributes:
        label: The section's; with the setting, where the board has several.
        rows: Places in `Board.rows`: complete rows, in the order of `ranking`.
        ranking: Their ranks, and what they are worth.
    """

    label: str
    rows: tuple[int, ...]
    ranking: Ranking


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        name: The suite's.
        title: Heading.
        text: What a reader must know first; Markdown of the suite's author.
        facts: What all columns have in common, as name and value.
        baseline: Method that the others are compared with; empty where there is none.
        columns: Tasks, in groups that follow one another.
        groups: Groups of columns; every column is in one.
        rows: Methods and tunings, section by section, in the suite's order.
        sections: What is compared with one another. No rank, no bold number and no test of
            significance crosses them.
        ranks: Average ranks of each section of two complete rows or more.
        marks: Marks that occur.
        records: Number of records that are shown.
        left_out: Records that newer ones have replaced, a sentence for each reason.
    """

    name: str
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]
    baseline: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    sections: tuple[Section, ...]
    ranks: tuple[Ranks, ...]
    marks: tuple[str, ...]
    records: int
    left_out: tuple[str, ...] = ()


REGIMES = ("inductive", "transductive", "streaming")

SEEN = {
    "support": "no labels but the support's",
    "published": "constants that a paper chose for the dataset",
    "few-val": "tuned on a few val labels",
    "val": "tuned on the val labels",
    "test": "tuned on the test labels: upper bounds, not ranked",
}
"""What chose the hyper-parameters, by how much it was allowed to see. ``fixed`` looks at no label,
``support`` at labels that every method is given, so that they are one."""


class _Key(NamedTuple):
    """What the numbers of one row have in common; sorts as rows do, after the method."""

    official: bool
    strength: int
    regime: str
    trained: bool
    batches: str
    prompts: str
    support: str


class _Kind(NamedTuple):
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


_RowKey = tuple[str, _Key]  # method, and the rest
_Runs = dict[tuple[int, int], tuple[str, Record]]  # (seed, order) -> path, record


def make(
    name: str,
    title: str,
    text: str,
    order: Sequence[str],
    datasets: Sequence[str],
    records: Mapping[str, Record],
    figures: Sequence[Figure] = (),
    baseline: str | None = None,
) -> Board:
    """Make a leaderboard.

    Args:
        name: The suite's.
        title: Heading.
        text: What stands below it.
        order: Methods in the order of the rows; others follow by name.
        datasets: Datasets, as they are asked for, in the order of the columns; others follow by
            name.
        records: The runs by their paths.
        figures: Published figures.
        baseline: Method to compare with; the first of `BASELINES` that there is.

    Raises:
        RecordError: If two records have the same inputs and other results.
        OptionError: If there is no record of the baseline.
    """
    kept, replaced = current(records)
    names = dataset_names(kept.values())
    called = {(r.dataset_given, names[r.dataset, data_of(r)]): None for r in kept.values()}
    called |= {(r.dataset, names[r.dataset, data_of(r)]): None for r in kept.values()}
    datasets = [name for asked in datasets for given, name in called if given == asked]
    kept = {
        path: r.model_copy(update={"dataset": names[r.dataset, data_of(r)]})
        for path, r in kept.items()
    }
    split = _split(kept.values())
    tasks = _tasks(kept.values(), split, datasets)
    grid = _grid(kept, split, tasks)
    methods = sorted({method for method, _ in grid}, key=lambda m: (_place(m, order), m))
    kinds = _kinds(grid)
    keys = sorted(grid, key=lambda row: (kinds[row], methods.index(row[0]), row[1]))
    if baseline is None:
        baseline = next((method for method in BASELINES if method in methods), "")
    elif baseline not in methods:
        raise OptionError(
            f"{name}: no record of the baseline '{baseline}'. There are: {', '.join(methods)}."
        )
    sections = _sections([kinds[key] for key in keys])
    free = {key for key in keys if not _tunable(grid[key])}
    bases = [_base(key, keys, baseline, kinds, free) for key in keys]
    runs = [[_distinct(grid[key].get(task, {})) for task in tasks] for key in keys]
    table = [[_cell(*cell) for cell in row] for row in runs]
    _test(table, [[distinct for distinct, _ in row] for row in runs], bases)
    for section in sections:
        for column in range(len(tasks)):
            _rank(table, section.rows, column)
    columns = [
        Column(t, label, _split_mark(t)) for t, label in zip(tasks, _labels(tasks), strict=True)
    ]
    groups = _groups(tasks)
    rows = []
    for key, base, cells in zip(keys, bases, table, strict=True):
        first = next(record for runs in grid[key].values() for _, record in runs.values())
        _publish(cells, grid[key], tasks, [f for f in figures if f.method == first.method])
        rows.append(
            Row(
                method=first.method,
                tuned_on=first.tuned_on,
                tunable=_tunable(grid[key]),
                official=first.official,
                regime=first.regime,
                trained=first.trained,
                batches=first.batches,
                prompts=key[1].prompts,
                support=key[1].support,
                marks="".join(
                    mark for mark in MARKS if all(mark in cell.marks for cell in cells if cell)
                ),
                baseline=base,
                cells=tuple(cells),
                averages=tuple(_average(cells, group) for group in groups),
            )
        )
    rows, ranks = _ranking(rows, sections, tasks)
    shown = {mark for row in rows for cell in row.cells if cell for mark in cell.marks}
    shown |= {mark for column in columns for mark in column.marks}
    return Board(
        name=name,
        title=title,
        text=text,
        facts=_facts(tasks),
        baseline=baseline,
        columns=tuple(columns),
        groups=tuple(groups),
        rows=tuple(rows),
        sections=sections,
        ranks=ranks,
        marks=tuple(mark for mark in MARKS if mark in shown),
        records=len(kept),
        left_out=tuple(each.line for each in replaced),
    )


def _tunable(runs: Mapping[Task, _Runs]) -> bool:
    """Whether a row has hyper-parameters to choose."""
    first = next(record for each in runs.values() for _, record in each.values())
    return bool(first.hparams) or first.tuned_on != "fixed"


def _kinds(grid: Mapping[_RowKey, Mapping[Task, _Runs]]) -> dict[_RowKey, _Kind]:
    """The section of each row.

    A row with nothing to choose is the same number whatever it may look at. It stands in the
    largest section of its regime and kind.
    """
    found = {}
    for row in grid:
        tuned_on = STRENGTH[row[1].strength]
        seen = list(SEEN).index("support" if tuned_on == "fixed" else tuned_on)
        regime = REGIMES.index(row[1].regime)
        found[row] = _Kind(row[1].trained, regime, row[1].batches, seen)
    sizes = Counter(found[row] for row, runs in grid.items() if _tunable(runs))
    for row, runs in grid.items():
        mine = found[row].apart
        alike = [kind for kind in sorted(sizes) if kind.apart == mine and kind.seen < _TEST]
        if not _tunable(runs) and alike:
            found[row] = max(alike, key=sizes.__getitem__)
    return found


_TEST = list(SEEN).index("test")


def _sections(kinds: Sequence[_Kind]) -> tuple[Section, ...]:
    places: dict[_Kind, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    return tuple(Section(kind.label, tuple(rows)) for kind, rows in places.items())


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


class _Split(NamedTuple):
    """Settings in which the rows say, and not the columns, what differs between methods.

    Attributes:
        prompts: For each, the prompts of most methods, which the columns say then and the other
            rows do not; empty where a method has several kinds, and all rows say theirs.
        support: The settings of several support sets.
    """

    prompts: Mapping[str, str]
    support: frozenset[str]


def _split(records: Iterable[Record]) -> _Split:
    prompts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    support = defaultdict(set)
    for r in records:
        prompts[r.setting][r.method].add(r.prompts)
        if r.support_images:
            support[r.setting].add(r.support)
    usual = {}
    for setting, kinds in prompts.items():
        if len(set().union(*kinds.values())) > 1:
            counts = Counter(kind for own in kinds.values() for kind in own)
            one_each = all(len(own) == 1 for own in kinds.values())
            usual[setting] = max(sorted(counts), key=counts.__getitem__) if one_each else ""
    return _Split(usual, frozenset(s for s, names in support.items() if len(names) > 1))


_FIELDS = attrgetter(*Task._fields[:-1])  # `data` is no field of a record
_BASE = attrgetter("encoder", "precision", "setting", "prompts", "dataset", "protocol", "data")


def _task_of(r: Record, split: _Split) -> Task:
    """The column of a record that has support."""
    task = Task._make((*_FIELDS(r), data_of(r)))
    if r.setting in split.prompts:
        task = task._replace(prompts=split.prompts[r.setting])
    if r.setting in split.support and r.support_images:
        task = task._replace(support="")
    return task._replace(shots=shots_of(r))


def _tasks(records: Iterable[Record], split: _Split, datasets: Sequence[str]) -> list[Task]:
    """The columns in their order; one of its own for what no method with support was run on."""
    with_support: dict[Task, object] = {}
    without: dict[Task, object] = {}
    for r in records:
        task = _task_of(r, split)
        (with_support if r.support_images else without)[task] = _BASE(task)
    filled = set(with_support.values())
    tasks = [*with_support, *(task for task, base in without.items() if base not in filled)]
    return sorted(tasks, key=lambda t: (*t[:8], _place(t.dataset, datasets), *t[8:]))


def _grid(
    records: Mapping[str, Record], split: _Split, tasks: Sequence[Task]
) -> dict[_RowKey, dict[Task, _Runs]]:
    """Records by row, column and run. One without support stands in all columns of its data."""
    bases: dict[object, list[Task]] = defaultdict(list)
    for task in tasks:
        bases[_BASE(task)].append(task)
    grid: dict[_RowKey, dict[Task, _Runs]] = defaultdict(dict)
    for path, r in records.items():
        here = _task_of(r, split)
        key = (
            r.method,
            _Key(
                official=r.official,
                strength=_place(r.tuned_on, STRENGTH),
                regime=r.regime,
                trained=r.trained,
                batches=r.batches,
                prompts="" if r.prompts == here.prompts else r.prompts,
                support=r.support if r.setting in split.support and r.support_images else "",
            ),
        )
        for task in [here] if r.support_images else bases[_BASE(here)]:
            grid[key].setdefault(task, {})[r.seed, r.order] = path, r
    return grid


def _base(
    key: _RowKey,
    keys: Sequence[_RowKey],
    baseline: str,
    kinds: Mapping[_RowKey, _Kind],
    free: Collection[_RowKey],
) -> int | None:
    """The baseline's row that a row is compared with: the next to it in what else differs.

    It is of the same section, or has nothing to choose and is apart in nothing else. None for
    itself, and where there is no such row.
    """
    mine = key[1]
    if key[0] == baseline:
        return None

    def distance(i: int) -> tuple[bool, ...]:
        other = keys[i][1]
        return tuple(
            getattr(other, name) != getattr(mine, name)
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


def _distinct(runs: _Runs) -> tuple[_Runs, tuple[tuple[int, ...], ...]]:
    """Runs on different images, and the seeds that drew the same ones."""
    first: dict[object, tuple[int, int]] = {}
    seeds: dict[object, list[int]] = defaultdict(list)
    for run in sorted(runs):
        draw = draw_of(runs[run][1])
        first.setdefault(draw, run)
        seeds[draw].append(run[0])
    alike = tuple(tuple(each) for each in seeds.values() if len(each) > 1)
    return {run: runs[run] for run in first.values()}, alike


def _cell(runs: _Runs, alike: tuple[tuple[int, ...], ...]) -> Cell | None:
    if not runs:
        return None
    found = [runs[run] for run in sorted(runs)]
    first = found[0][1]
    accuracies = [r.accuracy for _, r in found]
    mean = math.fsum(accuracies) / len(found)
    spread = None
    low, high = wilson(first.correct, first.n_test)
    if len(found) > 1:
        low, high = over_seeds(accuracies)
        spread = math.sqrt(math.fsum((a - mean) ** 2 for a in accuracies) / (len(found) - 1))
    marks = ""
    if first.tuned_on == "test":
        marks += "†"
    elif first.setting == "name-only" and first.tuned_on in ("val", "few-val"):
        marks += "‡"
    if any(r.chosen_here for _, r in found):
        marks += "¶"
    ranked = not marks
    marks += {"transductive": "ᵗ", "streaming": "ˢ"}.get(first.regime, "")
    marks += "ᵍ" if first.trained else ""
    return Cell(
        mean=mean,
        mean_per_class=math.fsum(r.mean_per_class for _, r in found) / len(found),
        spread=spread,
        tail=tail(accuracies) if len({r.order for _, r in found}) >= TAIL_RUNS else None,
        low=low,
        high=high,
        seeds=tuple(r.seed for _, r in found),
        orders=tuple(r.order for _, r in found),
        alike=alike,
        records=tuple(path for path, _ in found),
        marks=marks,
        ranked=ranked,
    )


def _test(
    table: list[list[Cell | None]], runs: Sequence[Sequence[_Runs]], bases: Sequence[int | None]
) -> None:
    """Fill in gains and tests against the baseline, adjusted for all of the table."""
    tested = []
    for row, base in enumerate(bases):
        if base is None:
            continue
        for column, cell in enumerate(table[row]):
            other = table[base][column]
            if cell is None or other is None or not (cell.ranked and other.ranked):
                continue
            p = _p(runs[row][column], runs[base][column])
            table[row][column] = replace(cell, gain=cell.mean - other.mean, p=p)
            if p is not None:
                tested.append((row, column, p))
    for (row, column, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
        if (cell := table[row][column]) is not None:
            table[row][column] = replace(cell, p_holm=p)


def _p(first: _Runs, second: _Runs) -> float | None:
    common = first.keys() & second.keys()
    if common:  # the same draws, where both have them
        first, second = ({run: runs[run] for run in common} for runs in (first, second))
    bits = [_right(runs) for runs in (first, second)]
    return None if bits[0].shape[1] != bits[1].shape[1] else paired(*bits)


def _right(runs: _Runs) -> NDArray[np.bool_]:
    return np.stack([unpack(r.right, r.n_test) for _, (_, r) in sorted(runs.items())])


def _rank(table: list[list[Cell | None]], section: Sequence[int], column: int) -> None:
    """Fill in the ranks and places of one column, within a section."""
    here = {i: table[i][column] for i in section}
    ranked = {i: cell for i, cell in here.items() if cell is not None and cell.ranked}
    if not ranked:
        return
    printed = sorted({round(cell.mean, 1) for cell in ranked.values()}, reverse=True)[:2]
    ranks = ranking(np.array([[cell.mean] for cell in ranked.values()])).ranks
    for (i, cell), rank in zip(ranked.items(), ranks, strict=True):
        mean = round(cell.mean, 1)
        place = printed.index(mean) + 1 if mean in printed and len(ranked) > 1 else 0
        table[i][column] = replace(cell, rank=rank, place=place)


def _publish(
    cells: list[Cell | None],
    runs: Mapping[Task, _Runs],
    tasks: Sequence[Task],
    figures: Sequence[Figure],
) -> None:
    for column, (cell, task) in enumerate(zip(cells, tasks, strict=True)):
        if cell is None:
            continue
        record = next(iter(runs[task].values()))[1]
        found = tuple(
            Compared(f, cell.mean - f.accuracy, cell.low <= f.accuracy <= cell.high)
            for f in fitting(figures, record)
        )
        cells[column] = replace(cell, published=found)


def _average(cells: Sequence[Cell | None], group: Group) -> float | None:
    here = [cell.mean for cell in (cells[i] for i in group.columns) if cell]
    return math.fsum(here) / len(here) if len(here) == len(group.columns) else None


def _ranking(
    rows: list[Row], sections: Sequence[Section], tasks: Sequence[Task]
) -> tuple[list[Row], tuple[Ranks, ...]]:
    """Rank the complete rows of each section over datasets, for each setting."""
    settings = list(dict.fromkeys(task.setting for task in tasks))
    found = []
    for section in sections:
        for setting in settings:
            columns = [i for i, task in enumerate(tasks) if task.setting == setting]
            places = [
                i
                for i in section.rows
                if all((cell := rows[i].cells[c]) and cell.ranked for c in columns)
            ]
            if len(places) < 2:
                continue
            ranks = _over_datasets([rows[i] for i in places], columns, tasks)
            label = section.label + (f", {setting}" if len(settings) > 1 else "")
            found.append(Ranks(label, tuple(places), ranks))
            if len(settings) == 1:
                for i, rank in zip(places, ranks.ranks, strict=True):
                    rows[i] = replace(rows[i], rank=rank)
    return rows, tuple(found)


def _over_datasets(rows: Sequence[Row], columns: Sequence[int], tasks: Sequence[Task]) -> Ranking:
    """Ranks over datasets: columns of one dataset are averaged first."""
    names = list(dict.fromkeys(tasks[c].dataset for c in columns))
    means = np.array([[cell.mean for c in columns if (cell := row.cells[c])] for row in rows])
    of = np.array([names.index(tasks[c].dataset) for c in columns])
    return ranking(np.stack([means[:, of == d].mean(1) for d in range(len(names))], axis=1))


WORDS = {
    "dataset": "{}",
    "encoder": "{}",
    "precision": "{}",
    "setting": "{}",
    "support": "{}",
    "prompts": "prompts {}",
    "draw": "drawn by {}",
    "views": "{} views",
    "shots": "S = {}",
    "protocol": "split {}",
    "n_test": "n = {}",
    "data": "data {:.6}",
}
"""How a field of `Task` is read out."""


def _varying(tasks: Sequence[Task]) -> list[str]:
    """Fields that tell tasks apart beyond what goes with their dataset, as its size does."""
    names = [name for name in WORDS if name not in ("dataset", "n_test", "data")]
    return [name for name in names if len({getattr(task, name) for task in tasks}) > 1]


def _describe(task: Task, names: Iterable[str]) -> str:
    words = []
    for name in names:
        value = getattr(task, name)
        if value in ("", "none") or (name in ("shots", "views") and not value):
            continue
        if name == "support" and task.setting == value:
            continue  # the few-shot setting's support is few-shot
        words.append(WORDS[name].format(value))
    return ", ".join(words)


def _labels(tasks: Sequence[Task]) -> list[str]:
    names = ["dataset", *_varying(tasks)]
    labels = [_describe(task, names) for task in tasks]
    for more in ("n_test", "data"):
        if len(set(labels)) < len(labels):
            labels = [_describe(task, [*names, more]) for task in tasks]
    return labels


def _groups(tasks: Sequence[Task]) -> list[Group]:
    found: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        found[task[:8]].append(i)
    split: list[list[int]] = []
    for places in found.values():
        if len({tasks[i].dataset for i in places}) == len(places):
            split.append(places)
            continue
        by_protocol = defaultdict(list)  # one dataset twice: an average per protocol
        for i in places:
            by_protocol[tasks[i].protocol].append(i)
        for same in by_protocol.values():
            once = len({tasks[i].dataset for i in same}) == len(same)
            split += [same] if once else [[i] for i in same]  # or none
    names = _varying([tasks[places[0]] for places in split])
    return [Group(_describe(tasks[places[0]], names), tuple(places)) for places in split]


def _facts(tasks: Sequence[Task]) -> tuple[tuple[str, str], ...]:
    found = []
    for name in (
        "dataset",
        "encoder",
        "precision",
        "setting",
        "support",
        "prompts",
        "draw",
        "views",
        "shots",
        "protocol",
    ):
        values = {getattr(task, name) for task in tasks}
        value = values.pop()
        if not values and value not in ("", "none", 0):
            found.append((name, str(value)))
    return tuple(found)


def _split_mark(task: Task) -> str:
    return "" if task.protocol in PUBLISHED_SPLITS else "§"
