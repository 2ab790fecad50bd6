"""Print what a run has measured: a table, JSON, and what has no record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from susx_bench.cli.shared import is_given, print_all
from susx_bench.console import counted, own_rank, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from susx_bench.runner.outcome import Outcome
    from susx_bench.runner.request import Request


def draw_searches(outcomes: Sequence[Outcome], notes: Console) -> list[Path]:
    """Draw the searches that were kept, and name the methods without one."""
    from susx_bench.leaderboard.figures.heatmap import draw
    from susx_bench.records.store import search_path

    drawn: list[Path] = []
    if own_rank() != 0:
        return drawn
    for outcome in outcomes:
        if outcome.record is None or not outcome.record.hparams:
            continue
        if not search_path(outcome.path).exists():
            name, tune = outcome.record.method, outcome.record.tuned_on
            notes.print(f"no heat map of {name}: '{tune}' searches no grid")
        else:
            drawn.append(draw(outcome.path, outcome.record))
    return drawn


def tell_unscored(outcomes: Sequence[Outcome], notes: Console) -> None:
    """Name the predictions without labels to score them."""
    from susx_bench.records.store import predictions_path

    for outcome in outcomes:
        if outcome.unscored:
            cell = outcome.cell
            did = "predicted" if outcome.fresh else "predicted before"
            notes.print(
                f"{cell.method.name} on {cell.task.dataset}: {did} and not scored, since there are "
                f"no test labels: {predictions_path(outcome.path)}",
                soft_wrap=True,
            )


def print_json(outcomes: Sequence[Outcome]) -> None:
    """Print one record per line, with its path; rank 0 alone."""
    from susx_bench.leaderboard.results import encoder_warning
    from susx_bench.records.files import canonical_json

    if own_rank() != 0:
        return
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    for warning in dict.fromkeys(filter(None, map(encoder_warning, records))):
        stderr(warnings=True).print(warning, style="bold yellow")
    for outcome in outcomes:
        if outcome.record is not None:
            line = outcome.record.as_dict() | {"record": str(outcome.path)}
            click.echo(canonical_json(line).replace("\x7f", r"\u007f"))  # the rest is ASCII


def _one_record(outcomes: Sequence[Outcome], request: Request, *, suite: bool) -> str:
    """A line with the path of a record of the last requested method; empty without records."""
    from susx_bench.loading import load_method

    shown = [outcome for outcome in outcomes if outcome.record is not None]
    if not suite and shown:
        name = load_method(request.method[-1])[0].name
        shown = [o for o in shown if o.cell.method.name == name] or shown
    if not shown:
        return ""
    cell, path = shown[-1].cell, shown[-1].path
    drawn = f", S = {cell.draw_shots}, seed {cell.seed}" if cell.draw_shots else ""
    more = " (--json names all)" if len(shown) > 1 else ""
    return f"record of {cell.method.name}{drawn}, for export and records show: {path}{more}"


def print_table(
    outcomes: Sequence[Outcome], request: Request, seconds: float, metric: str, *, suite: bool
) -> None:
    """Print the table of the records, what is left blank, and what to do next.

    Args:
        outcomes: The outcomes of the run.
        request: The request, or the first one of a suite.
        seconds: Duration of the run.
        metric: Name of the metric to show.
        suite: Whether the run was of a suite.
    """
    from susx_bench.cli.next_step import next_step
    from susx_bench.leaderboard.metrics import METRICS
    from susx_bench.leaderboard.results import choices, terminal_table

    console, out = stdout(), request.out
    order = list(dict.fromkeys(outcome.cell.method.name for outcome in outcomes))
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    print_all(terminal_table(records, order, METRICS[metric]), console)
    new = [outcome for outcome in outcomes if outcome.fresh and outcome.record is not None]
    for line in choices(records, {outcome.cell.input_sha256 for outcome in new}):
        console.print(line)
    blank = (outcome.reason for outcome in outcomes if outcome.reason and not outcome.failed)
    for reason in dict.fromkeys(blank):
        console.print(f"left blank: {reason}")
    if new:
        unchanged = len(records) - len(new)
        were = "was" if unchanged == 1 else "were"
        earlier = f", {unchanged} {were} there already" if unchanged else ""
        console.print(f"wrote {counted(len(new), 'record')}{earlier} in {seconds:.1f} s: {out}")
    elif records:
        existing = "its record exists" if len(records) == 1 else f"all {len(records)} records exist"
        console.print(
            f"{existing} with the same inputs; nothing to do (--force to run again): {out}",
        )
    if line := _one_record(outcomes, request, suite=suite):
        console.print(line, soft_wrap=True)
    if records:
        own_methods = [] if suite else [name for name in request.method if ":" in name]
        folder = out if is_given("out") else None
        features = None if suite else request.features
        console.print(next_step(records, features, own_methods, folder), soft_wrap=True)
