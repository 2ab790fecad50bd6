"""``susx-bench run``: measure methods."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import is_given, print_all, said
from susx_bench.cli.support import build_support
from susx_bench.console import counted, own_rank, stderr, stdout
from susx_bench.errors import BenchError, CheckError, OptionError, OutputError, RetrievalError
from susx_bench.options import ANY_PATH, SHARD, Command, Grouped, checked
from susx_bench.options.run import (
    BASELINES,
    MEASURED,
    ON_THE_DEMO,
    OUTPUT,
    OWN_DATA,
    PLACE,
    RunOptions,
)

if TYPE_CHECKING:
    from rich.console import Console

    from susx_bench.runner.cell import Cell
    from susx_bench.runner.plan import Request
    from susx_bench.runner.run import Outcome


@click.command(
    cls=Command,
    epilog="""\b
Try:
  susx-bench run --method tipx --setting few-shot
  susx-bench run --method tipx --setting name-only
  susx-bench run --method tipx --setting few-shot --features FILE.safetensors --json""",
)
@click.option(
    "--suite",
    cls=Grouped,
    group=MEASURED,
    type=ANY_PATH,
    help="A suite, by file or by name, in place of the options that decide a number. A cell that "
    "fails is marked, and the others are measured.",
)
@click.option(
    "--shard",
    cls=Grouped,
    group=PLACE,
    type=SHARD,
    help="Of a suite, one part of N: 1/N to N/N together are all its cells.",
)
@RunOptions.click_options()
@click.option(
    "--json",
    "as_json",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="One record a line on stdout, no table.",
)
@click.option(
    "--heat-map",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="Draw each search beside its record.",
)
def run(
    suite: Path | None, shard: tuple[int, int] | None, as_json: bool, heat_map: bool, **_: Any
) -> None:
    """Measure methods and print them side by side with zero-shot and tip-adapter.

    Where no data is asked for, on the demo, all other inductive methods stand there too.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.runner.plan import plan, plan_suite
        from susx_bench.runner.run import mark_parts
        from susx_bench.runner.run import run as run_cells

    requests = _requests(suite, shard, notes)
    request = requests[0]
    if suite:
        cells, parts = plan_suite(requests, notes)
        cells = _share(cells, shard, notes)
        lost = mark_parts(parts, request.out, request.launch)
    else:
        beside = BASELINES if request.dataset or request.features else ON_THE_DEMO
        cells = plan(request, () if as_json else beside, notes)
        lost = []
    with redirect_stdout(sys.stderr):  # stdout is for results, whatever a method prints
        outcomes = run_cells(
            cells,
            request.out,
            request.launch,
            notes,
            force=request.force,
            keep_search=heat_map,
            keep_going=suite is not None,
        )
    drawn = _draw_searches(outcomes, notes) if heat_map else []
    _tell_unscored(outcomes, notes)
    if as_json:
        _print_json(outcomes)
    else:
        _print_table(outcomes, request.out, notes)
    for picture in drawn:
        (notes if as_json else stdout()).print(f"heat map: {picture}", soft_wrap=True)
    _raise_failures(outcomes, lost, request.out)


def _share(cells: list[Cell], shard: tuple[int, int] | None, notes: Console) -> list[Cell]:
    """The cells of one shard: by input hash, so that nothing else decides who measures a cell."""
    if shard is None:
        return cells
    part, parts = shard
    mine = [cell for cell in cells if int(cell.input_sha256[:16], 16) % parts == part - 1]
    if cells and not mine:
        notes.print(
            f"--shard {part}/{parts}: none of the suite's {counted(len(cells), 'cell')} falls into "
            "this part, since their hashes decide; the other parts measure them. Nothing to do."
        )
    return mine


def _raise_failures(outcomes: list[Outcome], lost: list[str], out: Path) -> None:
    """Exit 3 where cells failed, or could not be listed for lack of their data."""
    failed = [outcome.reason for outcome in outcomes if outcome.failed]
    told = []
    if failed:
        told.append(f"{len(failed)} of {counted(len(outcomes), 'cell')} failed, first {failed[0]}")
    if lost:
        told.append(
            f"the cells of {counted(len(lost), 'dataset')} could not be listed, first {lost[0]}"
        )
    if told:
        ends = "; ".join(line.rstrip(".") for line in told)
        raise CheckError(f"{ends}. See the *.failed.txt in {out}; a further run tries them again.")


def _requests(path: Path | None, shard: tuple[int, int] | None, notes: Console) -> list[Request]:
    """What the command line asks for; a suite's support sets are built."""
    from susx_bench.runner.plan import Request, check_encoders
    from susx_bench.runner.suite import Suite

    options = said(RunOptions)
    if path is None:
        if "features" in options and not is_given("prompts_dir"):
            options.pop("prompts_dir", None)  # the variable is for other runs
        for name, option in RunOptions.declared().items():
            if option.required and name not in options:
                raise OptionError(f"Missing option '--{name}'.")
        if shard:
            raise OptionError("--shard goes with --suite only.")
        return [Request(**options)]
    for name in options:
        option = RunOptions.declared()[name]
        if option.decides and is_given(name):
            why = "the suite says it" if option.suite else "it is for a single run"
            raise OptionError(f"{option.spelling(name)} does not go with --suite: {why}.")
    suite = Suite.read(path)
    requests = []
    for each in suite.options(options.get("data_root")):
        unread = {"prompts_dir"} if "features" in each else set()
        shared = {name: value for name, value in options.items() if name not in unread}
        requests.append(Request(**shared, **each))
    check_encoders(requests)
    _build_supports(path, suite.supports(options.get("data_root")), requests[0], notes)
    return requests


def _build_supports(
    path: Path, supports: list[dict[str, Any]], request: Request, notes: Console
) -> None:
    """Build the support sets of a suite; one that cannot be had takes only its own cells away."""
    from susx_bench.support.build import Request as Build
    from susx_bench.support.build import build
    from susx_bench.support.places import BLOCK

    launch = replace(request.launch, batch_size=BLOCK)
    for each in supports:
        support = checked(build_support, each, f"{path}: support")
        own = {name: support.pop(name) for name in OWN_DATA}
        where = replace(request.where, **own)
        try:
            build(
                Build(**support, where=where, prompts_dir=request.prompts_dir, launch=launch), notes
            )
        except OptionError:
            raise
        except BenchError as error:  # only the cells that look at it are lost
            if launch.processes > 1 and isinstance(error, (OutputError, RetrievalError)):
                raise  # met by this rank alone, and the others wait for it
            notes.print(f"{support['dataset']}: {error}", style="yellow")


def _draw_searches(outcomes: list[Outcome], notes: Console) -> list[Path]:
    """Draw the searches that were kept, and name the methods that have none."""
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


def _tell_unscored(outcomes: list[Outcome], notes: Console) -> None:
    """Name the predictions that no label can score."""
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


def _print_json(outcomes: list[Outcome]) -> None:
    from susx_bench.records.files import canonical_json

    if own_rank() != 0:
        return
    for outcome in outcomes:
        if outcome.record is not None:
            line = outcome.record.as_dict() | {"record": str(outcome.path)}
            click.echo(canonical_json(line).replace("\x7f", r"\u007f"))  # the rest is ASCII


def _print_table(outcomes: list[Outcome], out: Path, notes: Console) -> None:
    from susx_bench.cli.next_step import next_step
    from susx_bench.leaderboard.results import choices, terminal_table

    console = stdout()
    order = list(dict.fromkeys(outcome.cell.method.name for outcome in outcomes))
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    print_all(terminal_table(records, order), console)
    new = [outcome for outcome in outcomes if outcome.fresh and outcome.record is not None]
    for line in choices(records, {outcome.cell.input_sha256 for outcome in new}):
        console.print(line)
    blank = (outcome.reason for outcome in outcomes if outcome.reason and not outcome.failed)
    for reason in dict.fromkeys(blank):
        console.print(f"left blank: {reason}")
    if new:
        kept = len(records) - len(new)
        there = f", {kept} {'was' if kept == 1 else 'were'} there already" if kept else ""
        console.print(f"wrote {counted(len(new), 'record')}{there}: {out}")
    elif records:
        each = "its record exists" if len(records) == 1 else f"all {len(records)} records exist"
        console.print(
            f"{each} with the same inputs; nothing to do (--force to run again): {out}",
        )
    if records:
        console.print(next_step(records), soft_wrap=True)
