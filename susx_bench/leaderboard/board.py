"""A leaderboard as plain data: everything that a table, a page or a picture shows.

Every format draws a `Board` and computes no numbers of its own; `make.make` makes a board from
records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from susx_bench.console import counted
from susx_bench.leaderboard.metrics import ACCURACY, Metric
from susx_bench.leaderboard.published import Figure
from susx_bench.leaderboard.statistics import Ranking

STRENGTH = ("fixed", "published", "support", "few-val", "val", "test")
"""Tunings in the order of how many labels they see."""

TOLD = {
    "fixed": "one fixed setting",
    "published": "constants that a paper chose for the dataset",
    "support": "tuned on the support",
    "few-val": "tuned on a few val labels",
    "val": "tuned on the val labels",
    "test": "tuned on the test labels: upper bounds, not ranked",
}
"""Texts for tunings."""

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
"""The meaning of each mark."""

UNRANKED = "†‡‖¶"
"""Marks of numbers that are not ranked; they come from the tuning."""


def saw(regime: str, batches: str) -> str:
    """The part of the test set that a method sees for one answer; empty if only the image."""
    if regime == "streaming":
        return "the test images before it"
    if regime == "transductive":
        if not batches:
            return "all test images"
        size, classes = map(int, batches.split(":"))
        return f"{counted(size, 'test image')} of {counted(classes, 'class')}"
    return ""


class Task(NamedTuple):
    """The properties that all numbers of a column share.

    `also` lists the options of `susx_bench.options.recorded.Extras` that are set; empty for none.
    `dataset` is the unique name that `dataset_names` gives it, and `data` is its `data_of`.
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
        task: The properties that its numbers share. `support` is ``none`` and `shots` 0 if no
            method in it looks at labelled images. `prompts` and `support` are empty if the board
            has several of them, since they then belong to the row. `shots` is 0 for a support set
            of class names that is used whole.
        label: Shortest text that distinguishes it from the other columns.
        marks: ``§`` for another split than the published one; none for the user's own data.
        clean: Place in `Board.columns` of the clean test set with the same classes, see
            `robustness.clean_places`; None without one.
    """

    task: Task
    label: str
    marks: str
    clean: int | None = None

    @property
    def whole(self) -> str:
        """The label with the dataset, even if all columns have the same dataset."""
        name = self.task.dataset
        return self.label if self.label.startswith(name) else f"{name}, {self.label}"


@dataclass(frozen=True)
class Group:
    """Columns that differ only in the dataset, over which an average is taken.

    Attributes:
        label: The properties that distinguish the group from others; empty for the only group.
        columns: Places in `Board.columns`, one per dataset.
    """

    label: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """A published figure beside ours.

    Attributes:
        figure: The published figure and its source.
        difference: Our number minus the published one, in points.
        inside: Whether the published number lies inside our 95 % interval.
    """

    figure: Figure
    difference: float
    inside: bool


@dataclass(frozen=True)
class Cell:
    """A measured number.

    Attributes:
        mean: Mean of `Board.metric` over the runs, unrounded.
        numbers: Means of all metrics, by name; None if a run lacks the metric.
        spread: Standard deviation over the runs; None for one run.
        tail: Mean of the worst tenth of the runs, if `TAIL_RUNS` or more differ in their order of
            the test images; else None.
        low: Lower end of the 95 % interval: Wilson's for one run, Student's over several; None for
            one run of a metric that is no share of the test images.
        high: Upper end of the interval.
        seeds: Seed of each run; 0 if nothing is drawn.
        orders: Seed of each run's order of the test images; 0 for the order of the split.
        alike: Seeds that drew the same images and count as one run; the first is among `seeds`.
        records: Path of each run's record, relative to the leaderboards' folder.
        marks: The marks of the cell, without the column's.
        ranked: Whether it is compared with others of its section: it has no mark of `UNRANKED`.
        rank: Rank among the ranked cells of its column and section, ties shared; None if not
            ranked.
        place: 1 for the best and 2 for the second of its section as printed, with one decimal;
            else 0, also if it is the only cell of its section.
        gain: Mean minus the baseline's, in the metric's unit; None without a baseline.
        p: Two-sided p of `statistics.paired` against the baseline, for the accuracy; None without
            a baseline, or if their test images differ.
        p_holm: The p adjusted for all tests of the board.
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
        """A copy with some fields replaced: `dataclasses.replace` in a fifth of the time.

        A board calls it hundreds of thousands of times.
        """
        copy = object.__new__(Cell)
        vars(copy).update(vars(self), **values)
        return copy


@dataclass(frozen=True)
class Row:
    """One row: a method under one tuning.

    Attributes:
        method: Its name.
        tuned_on: The labels that chose its hyper-parameters.
        tunable: Whether it had any to choose.
        official: Whether it is the authors' public code.
        regime: ``inductive``, ``transductive`` or ``streaming``.
        trained: Whether it takes gradient steps.
        own: Whether the method comes from a file or a package of the user.
        batches: Batches in which a transductive method got the test set, as in `Record`.
        prompts: Its prompts; empty if the columns name them.
        support: Its support set; empty if the columns name it, or without support.
        marks: Marks that all its cells have.
        baseline: Place in `Board.rows` of the row it is compared with, in the same section; None
            without one.
        cells: One cell per column; None for a blank.
        averages: Mean over each group of `Board.groups`; None if a cell is missing.
        rank: Average rank over datasets within its section; None if the row is incomplete or not
            ranked, if most rows of the section are, or if the columns have several settings.
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
        """The name of the method for people."""
        parts = [self.method + (" (official code)" if self.official else "")]
        parts += [self.support] if self.support else []
        parts += [f"prompts {self.prompts}"] if self.prompts not in ("", self.method) else []
        parts += [f"sees {self.saw}"] if self.saw else []
        return ", ".join(parts)

    @cached_property  # a table of thousands of columns asks for each of its cells
    def repeats(self) -> bool:
        """Whether several columns show the same measurement, as for a method without support."""
        measured = [cell for cell in self.cells if cell]
        return len(measured) > 1 and all(c.records == measured[0].records for c in measured)

    @property
    def saw(self) -> str:
        """The part of the test set that it sees for one answer; empty if only the image."""
        return saw(self.regime, self.batches)

    @property
    def tuning(self) -> str:
        """The tuning for people."""
        return self.tuned_on if self.tunable else "–"


@dataclass(frozen=True)
class Section:
    """Rows that are compared with one another.

    They have one regime, are all trained or all training-free, and may see the same labels.

    Attributes:
        label: Their common properties, for people.
        rows: Their places in `Board.rows`, which are consecutive.
    """

    label: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """Average ranks of a section.

    Attributes:
        label: Label of the section, with the setting if the board has several.
        rows: Places in `Board.rows`: complete rows, in the order of `ranking`.
        ranking: Their ranks, with the tests of them.
    """

    label: str
    rows: tuple[int, ...]
    ranking: Ranking


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        name: Name of the suite.
        title: Heading.
        text: Introduction in Markdown, by the suite's author.
        facts: Properties that all columns share, as pairs of name and value.
        baseline: Method with which the others are compared; empty if there is none.
        columns: Tasks; those of one group are consecutive.
        groups: Groups of columns; every column is in one.
        rows: Methods and tunings, section by section, in the suite's order or `best_first`.
        sections: Rows that may be compared. No rank, no bold number and no test of significance
            crosses sections.
        ranks: Average ranks of each section with two or more complete rows that are at least half
            of its ranked rows.
        marks: Marks that occur.
        records: Number of records that are shown.
        left_out: Records that newer ones have replaced, one sentence per reason.
        metric: The metric of its numbers.
        unmeasured: Why some numbers of this metric are blank, one sentence per reason.
        absent: The datasets of the suite without a record, as a sentence; empty if all have one.
        classnames: Names of the classes, in their order, for records of bundles without names; by
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
