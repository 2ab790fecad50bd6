"""A leaderboard as plain data: everything a table, a page or a picture shows.

Every format is drawn from a `Board` and computes nothing of its own; `make.make` makes one from
records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from susx_bench.console import counted
from susx_bench.leaderboard.metrics import ACCURACY, Metric
from susx_bench.leaderboard.published import Figure
from susx_bench.leaderboard.statistics import Ranking

STRENGTH = ("fixed", "published", "support", "few-val", "val", "test")
"""Tunings by how much they have seen."""

TOLD = {
    "fixed": "one fixed setting",
    "published": "constants that a paper chose for the dataset",
    "support": "tuned on the support",
    "few-val": "tuned on a few val labels",
    "val": "tuned on the val labels",
    "test": "tuned on the test labels: upper bounds, not ranked",
}
"""Tunings in words."""

REGIMES = ("inductive", "transductive", "streaming")

MARKS = {
    "†": "chosen on the test labels: an upper bound, not a result, and not ranked",
    "‡": "chosen on target labels: name-only no more, and not ranked",
    "‖": "nobody says that its support set was made from names: name-only in doubt, and not ranked",
    "¶": "constants chosen with an eye on this dataset: no independent evidence, and not ranked",
    "ᵗ": "transductive: an answer depends on other test images, all or those of its batch",
    "ˢ": "streaming: an answer depends on the test images before it, in a seeded order",
    "ᵍ": "trained by gradient steps on the support set: compared with trained methods only",
    "§": "another split than the published one",
}
"""What each mark means."""

UNRANKED = "†‡‖¶"
"""Marks of numbers that are compared with no other; they belong to the tuning."""


def saw(regime: str, batches: str) -> str:
    """What of the test set a method sees for one answer; empty where it is the image alone."""
    if regime == "streaming":
        return "the test images before it"
    if regime == "transductive":
        if not batches:
            return "all test images"
        size, classes = map(int, batches.split(":"))
        return f"{counted(size, 'test image')} of {counted(classes, 'class')}"
    return ""


class Task(NamedTuple):
    """What the numbers of one column have in common.

    `also` says the options of `susx_bench.options.recorded.Extras` that are set; empty for none.
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
    also: str
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
        marks: ``§`` for another split than the published one; data of the user's own has none.
        clean: Place in `Board.columns` of the clean test set with the same classes, see
            `robustness.clean_places`; None without one.
    """

    task: Task
    label: str
    marks: str
    clean: int | None = None

    @property
    def whole(self) -> str:
        """The label with the dataset, also where all columns are of one."""
        name = self.task.dataset
        return self.label if self.label.startswith(name) else f"{name}, {self.label}"


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
        mean: What the board shows, `Board.metric`, mean over the runs, unrounded.
        numbers: The same of every metric, by name; None where a run has none.
        spread: Standard deviation over the runs; None for one run.
        tail: Mean of the worst tenth of the runs, where `TAIL_RUNS` or more differ in their order
            of the test images; else None.
        low: Lower end of the 95 % interval: Wilson's for one run, Student's over several; None
            for one run of what is no share of the test images.
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
        gain: Mean minus the baseline's, in the metric's unit; None without a baseline.
        p: Two-sided p of `statistics.paired` against the baseline; None without one, or where
            they have not seen the same test images; of the accuracy alone.
        p_holm: The same, adjusted for all tests of the board.
        published: Published figures that fit, the most primary first.
    """

    mean: float
    numbers: Mapping[str, float | None]
    spread: float | None
    tail: float | None
    low: float | None
    high: float | None
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

    def changed(self, **values: Any) -> Cell:
        """The same with other values for some fields: a board takes it hundreds of thousand times.

        It is `dataclasses.replace` in a fifth of the time, as no value is computed from another.
        """
        copy = object.__new__(Cell)
        vars(copy).update(vars(self), **values)
        return copy


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
        own: Whether the method comes from a file or a package of the user's.
        batches: How a transductive method got the test set, as in `Record`.
        prompts: What its text encoder read; empty where it is what the columns say.
        support: Its support set; empty where the columns say it, or without one.
        marks: Marks that all its cells have.
        baseline: Place in `Board.rows` of the row it is compared with, in the same section; None
            for none.
        cells: One a column; None is a blank.
        averages: Mean over each group of `Board.groups`; None where a cell is missing.
        rank: Average rank over datasets within its section; None for a row that is not complete
            or not ranked, where most others of the section are not, and where the columns are of
            several settings.
    """

    method: str
    tuned_on: str
    tunable: bool
    official: bool
    regime: str
    trained: bool
    own: bool
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
        parts += [f"prompts {self.prompts}"] if self.prompts not in ("", self.method) else []
        parts += [f"sees {self.saw}"] if self.saw else []
        return ", ".join(parts)

    @property
    def repeats(self) -> bool:
        """Whether several columns show one and the same number, as of a method without support."""
        first, *others = [cell.records for cell in self.cells if cell] or [()]
        return bool(others) and all(records == first for records in others)

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
        rows: Methods and tunings, section by section, in the suite's order or `best_first`.
        sections: What is compared with one another. No rank, no bold number and no test of
            significance crosses them.
        ranks: Average ranks of each section of which half or more of the ranked rows are
            complete, and two or more.
        marks: Marks that occur.
        records: Number of records that are shown.
        left_out: Records that newer ones have replaced, a sentence for each reason.
        metric: What its numbers are.
        unmeasured: Why numbers of this metric are blank where others are not, a sentence for each
            reason.
        absent: Which datasets of the suite have no record, as a sentence; empty where each has.
        classnames: Names of the classes, in their order, of records whose bundle had none; by
            dataset.
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
    metric: Metric = ACCURACY
    unmeasured: tuple[str, ...] = ()
    absent: str = ""
    classnames: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)

    @property
    def zero_shot(self) -> int | None:
        """Place in `rows` of the first row of zero-shot; None without one."""
        return next((i for i, row in enumerate(self.rows) if row.method == "zero-shot"), None)
