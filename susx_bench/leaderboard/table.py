"""Tables for the terminal, from records and nothing else."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import RenderableType
from rich.table import Table

from susx_bench.console import counted, one_line, several_lines
from susx_bench.leaderboard.board import STRENGTH, saw
from susx_bench.leaderboard.statistics import wilson
from susx_bench.records.cells import data_of, dataset_names, draw_of
from susx_bench.records.record import Record

REGIMES = {"transductive": " ᵗ", "streaming": " ˢ"}
"""Marks of methods that look at the other test images."""

TRAINED = " ᵍ"
"""Mark of methods that take gradient steps."""

_DEMO_ENCODER, _DEMO = "demo", ("digits", "susx-bench")
"""The encoder of the package, and dataset and protocol of the only data that it was made for."""


_CHOICES = 6  # choices a person reads line by line


def results(
    records: Sequence[Record], order: Sequence[str], worded: Collection[str] = ()
) -> list[RenderableType]:
    """One table a task with its heading and facts: methods down, shots across.

    Two datasets are two tasks, whatever their folders are called. Numbers of two support sets, or
    of two prompts, never share a table; a method without either stands in all of them.

    Args:
        records: The cells.
        order: Method names in the order of the rows.
        worded: Methods that bring their own prompts: they stand beside those that do not.
    """
    names = dataset_names(records)
    tasks: dict[tuple[tuple[str, ...], _Kind], list[Record]] = {}
    for r in sorted(records, key=lambda r: _kind(r, worded).count(None)):
        name = names[r.dataset, data_of(r)]
        data = (name, r.encoder, r.setting, r.protocol, r.precision, data_of(r), *r.extra_words())
        kind = _kind(r, worded)
        beside = [
            group
            for (where, other), group in tasks.items()
            if where == data
            and all(None in pair or len(set(pair)) == 1 for pair in zip(kind, other, strict=True))
        ]
        for group in beside or [tasks.setdefault((data, kind), [])]:
            group.append(r)
    return [
        part
        for ((name, *_), _), group in tasks.items()
        for part in _task(name, group, order, worded)
    ]


_Kind = tuple[str | None, ...]


def _kind(r: Record, worded: Collection[str]) -> _Kind:
    """Prompts, and what the support set is; None where a method has no say in it."""
    prompts = None if r.method in worded else r.prompts
    drawn = (r.support, r.draw, str(r.views)) if r.support_images else (None, None, None)
    return (prompts, *drawn)


def _task(
    name: str, records: Sequence[Record], order: Sequence[str], worded: Collection[str]
) -> list[RenderableType]:
    first = records[0]
    own = sorted({r.prompts for r in records if r.method in worded})
    supports = sorted({r.support for r in records} - {"none"})
    several = [r for runs in _runs(records, order) for r in runs if len(runs) > 1]
    over = [
        f"{what}s {', '.join(map(str, sorted(values)))}"
        for what in ("seed", "order")
        if len(values := {getattr(r, what) for r in several}) > 1
    ]
    spread = f"mean ± sd over {' and '.join(over)}" if over else "[95 % interval]"
    facts = [
        f"test n = {first.n_test}",
        f"{first.num_classes} classes",
        *([f"prompts {first.prompts}"] if first.method not in worded else []),
        *([f"own prompts {', '.join(own)}"] if own else []),
        *(f"support {name}" for name in supports),
        f"split {first.protocol}",
        *(f"drawn by {rule}" for rule in sorted({r.draw for r in records} - {"", "balanced"})),
        *(f"{n} views" for n in sorted({r.views for r in records} - {0, 1})),
        *([first.precision] if first.precision != "fp32" else []),
        *first.extra_words(),
    ]
    alike = _alike(records)
    if first.skipped:
        facts.append(f"{len(first.skipped)} of the images unreadable and left out")
    heading = [
        one_line((f"{name} · {first.encoder} · {first.setting}", "bold")),
        one_line(f"top-1 accuracy in %, {spread}"),
    ]
    if first.encoder == _DEMO_ENCODER and (first.dataset, first.protocol) != _DEMO:
        told = f"encoder {_DEMO_ENCODER} knows only drawn digits: these numbers say nothing of CLIP"
        heading.append(one_line((told, "bold yellow")))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("method")
    table.add_column("tuned on")
    columns = sorted({r.shots for r in records if r.support_images})
    for shots in columns:
        table.add_column(f"S = {shots}" if shots else "support", justify="right", no_wrap=True)
    if not columns:
        table.add_column("accuracy", justify="right", no_wrap=True)
    # Where all classes have as many test images the two are one number.
    by_class = len(columns) < 2 and len({size for *_, size in first.classes}) > 1
    if by_class:
        table.add_column("mean over classes", justify="right", no_wrap=True)

    for row in rows(records, order):
        by_shots = defaultdict(list)
        for r in row.records:
            by_shots[r.shots].append(r)
        if any(r.support_images for r in row.records):
            cells = [accuracy(by_shots.get(shots, [])) for shots in columns]
        elif len(columns) > 1:  # without support there is one number, whatever the column
            cells = [f"{row.records[0].accuracy:.1f}"] * len(columns)
            facts.append(f"{row.method} {accuracy(row.records)}")
        else:
            cells = [accuracy(row.records)]
        if by_class:
            means = [r.mean_per_class for r in _distinct(row.records)]
            cells.append(f"{statistics.mean(means):.1f}")
        table.add_row(row.method, row.tuned_on, *cells)
    below = several_lines([" · ".join(facts), *alike, *marks(records)])
    return [several_lines(heading), table, below]


def _runs(records: Sequence[Record], order: Sequence[str]) -> list[list[Record]]:
    """The runs of each cell of a table."""
    cells: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for place, row in enumerate(rows(records, order)):
        for r in row.records:
            cells[place, r.shots if r.support_images else 0].append(r)
    return [_distinct(runs) for runs in cells.values()]


def _distinct(records: Sequence[Record]) -> list[Record]:
    """Runs of a cell, one for each draw: seeds that draw the same images are one run."""
    runs = sorted(records, key=lambda r: (r.seed, r.order))
    return list({draw_of(r): r for r in reversed(runs)}.values())[::-1]


def _alike(records: Sequence[Record]) -> list[str]:
    """Which seeds drew the same images, a sentence for each number of shots."""
    seeds: dict[tuple[int, str], set[int]] = defaultdict(set)
    for r in records:
        if r.seed:
            seeds[r.shots, r.support_sha256].add(r.seed)
    return [
        f"Seeds {', '.join(map(str, sorted(same)))} drew the same images at S = {shots}: one run."
        for (shots, _), same in seeds.items()
        if len(same) > 1
    ]


@dataclass(frozen=True)
class Row:
    """One row of a table: a method under one tuning.

    Attributes:
        method: Its name, whether it is the authors' code, and how it got the test set.
        tuned_on: What chose its hyper-parameters.
        records: The cells of the row.
    """

    method: str
    tuned_on: str
    records: list[Record]


def rows(records: Sequence[Record], order: Sequence[str]) -> list[Row]:
    """Group records into rows: methods in `order`, each by how much its tuning has seen."""
    groups: dict[tuple[int, str, bool, int, str], list[Record]] = defaultdict(list)
    for r in records:
        rank = order.index(r.method) if r.method in order else len(order)
        strength = STRENGTH.index(r.tuned_on) if r.hparams else 0
        groups[rank, r.method, r.official and bool(r.hparams), strength, r.batches].append(r)
    found = []
    for (_, method, official, _, batches), group in sorted(
        groups.items(), key=lambda item: item[0]
    ):
        seen = {tuned_on(r) for r in group}
        label = seen.pop() if len(seen) == 1 else tuned_on(group[0], count=False)
        name = f"{method} (official code)" if official else method
        if how := saw(group[0].regime, batches):
            name += f"{REGIMES[group[0].regime]} sees {how}"
        if group[0].trained:
            name += TRAINED
        found.append(Row(name, label, group))
    return found


def tuned_on(record: Record, *, count: bool = True) -> str:
    """What chose the hyper-parameters, in a word or two.

    A dagger marks the test set; a double dagger marks target labels in the name-only setting,
    which is then name-only no more; a pilcrow marks constants chosen with an eye on the dataset.

    Args:
        record: The cell.
        count: Whether to add how many labelled images were looked at.
    """
    here = " ¶" if record.chosen_here else ""
    if not record.hparams:
        return f"–{here}"
    seen = f" ({record.search.images})" if count and record.search.images else ""
    mark = ""
    if record.tuned_on == "test":
        mark = " †"
    elif record.setting == "name-only" and record.tuned_on in ("val", "few-val"):
        mark = " ‡"
    return f"{record.tuned_on}{seen}{mark}{here}"


def accuracy(records: Sequence[Record]) -> str:
    """Mean and spread over seeds, or one accuracy with its interval; blank where there is none."""
    if not records:
        return ""
    records = _distinct(records)
    values = [r.accuracy for r in records]
    if len(values) > 1:
        return f"{statistics.mean(values):.1f} ±{statistics.stdev(values):.1f}"
    low, high = wilson(records[0].correct, records[0].n_test)
    return f"{values[0]:.1f} [{low:.1f}, {high:.1f}]"


def marks(records: Sequence[Record]) -> list[str]:
    """What the marks of `tuned_on` mean, for those that occur."""
    shown = "".join(tuned_on(r) + REGIMES.get(r.regime, "") + TRAINED * r.trained for r in records)
    meanings = {
        "†": "chosen on the test labels: an upper bound, not a result",
        "‡": "chosen on target labels: not name-only, not to be ranked beside the others",
        "¶": "constants chosen with an eye on this dataset: no independent evidence",
        "ᵗ": "transductive: an answer depends on the other test images, all or those of its batch",
        "ˢ": "streaming: an answer depends on the test images before it, in a seeded order",
        "ᵍ": "trained by gradient steps on the support set: not to be ranked beside the others",
    }
    return [f"{mark} {meaning}" for mark, meaning in meanings.items() if mark in shown]


def _instead(records: Sequence[Record]) -> list[str]:
    """Where a tuning could not do what its name says, a line for each reason."""
    where: dict[str, tuple[dict[str, None], set[int]]] = {}
    for r in records:
        if r.search.note:
            methods, shots = where.setdefault(r.search.note, ({}, set()))
            methods[r.method] = None
            shots.add(r.shots)
    return [
        f"{', '.join(methods)}"
        + (f" at S = {', '.join(map(str, sorted(shots)))}" if any(shots) else "")
        + f": {note}"
        for note, (methods, shots) in where.items()
    ]


def choices(records: Sequence[Record], fresh: Collection[str]) -> list[str]:
    """What was chosen and what it took: a line a cell, or one line for many.

    Args:
        records: The records of the table.
        fresh: Input hashes of those that were measured now; of the others nothing is said of
            what they took, which was the time of another run.
    """
    chosen = [r for r in records if r.hparams]
    if len(chosen) > _CHOICES:
        instead = _instead(chosen)
        searched = [r for r in chosen if r.search.settings and r.input_sha256 in fresh]
        if not searched:
            return instead
        settings = sum(r.search.settings for r in searched)
        seconds = sum(r.seconds.search for r in searched)
        cells = counted(len(searched), "cell")
        return [
            f"searched {counted(settings, 'setting')} for {cells} in {seconds:.1f} s "
            f"({settings / seconds:,.0f} a second)",
            *instead,
        ]
    lines = []
    names = dataset_names(records)
    for r in chosen:
        where = f" on {names[r.dataset, data_of(r)]}" if len(names) > 1 else ""
        if len({each.shots for each in chosen}) > 1 and r.shots:
            where += f" at S = {r.shots}"
        if len({each.seed for each in chosen}) > 1 and r.seed:
            where += f", seed {r.seed}"
        values = ", ".join(f"{name} {value:.4g}" for name, value in r.hparams.items())
        line = f"{r.method}{where}: {values}"
        if r.search.settings:
            compared = counted(r.search.settings, "setting")
            line += f"; {r.search.score:.2f} on {r.tuned_on}, best of {compared} ({r.search.space})"
        if r.search.settings and r.input_sha256 in fresh:
            line += (
                f" in {r.seconds.search:.2f} s "
                f"({r.search.settings / r.seconds.search:,.0f} a second)"
            )
        if r.search.near:
            line += f"; {r.search.ties:,} tie, {r.search.near:,} within 0.5 points"
        if r.search.note:
            line += f"; {r.search.note}"
        lines.append(line)
    return lines
