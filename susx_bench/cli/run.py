"""``susx-bench run``: measure methods."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.measured import draw_searches, print_json, print_table, tell_unscored
from susx_bench.cli.shared import is_given, metric_option, quiet_option, said
from susx_bench.console import counted, some, stderr, stdout
from susx_bench.errors import CheckError, OptionError
from susx_bench.options import ANY_PATH, FILE_PATH, SHARD, WORDS
from susx_bench.options.commands import Command, Grouped
from susx_bench.options.run import BASELINES, LAUNCH, ON_THE_DEMO, RunOptions
from susx_bench.options.shared import MEASURED, OUTPUT, PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from susx_bench.progress import Reporter
    from susx_bench.runner.outcome import Outcome
    from susx_bench.runner.plan import Part
    from susx_bench.runner.planfile import Stage
    from susx_bench.runner.request import Request
    from susx_bench.support.request import Request as Build


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
@click.option(
    "--plan",
    cls=Grouped,
    group=MEASURED,
    type=FILE_PATH,
    help="A file of `susx-bench plan`: work on its cells, beside any number of other workers.",
)
@click.option(
    "--only",
    cls=Grouped,
    group=PLACE,
    type=click.Choice(["generate", "encode", "measure"]),
    help="Of a plan, one stage: build support sets, encode, or measure what is encoded.",
)
@RunOptions.click_options()
@metric_option(cls=Grouped, group=OUTPUT)
@click.option(
    "--json",
    "as_json",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="One record per line on stdout, no table.",
)
@click.option(
    "--dry-run",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="Say what would be measured, encoded and built, and do nothing.",
)
@click.option(
    "--log",
    cls=Grouped,
    group=OUTPUT,
    type=WORDS,
    help="Log each measured cell too: csv, wandb, trackio or what a package registers.",
)
@quiet_option(cls=Grouped, group=OUTPUT)
@click.option(
    "--verbose",
    "-v",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="Print each step and each measured cell, with seconds.",
)
@click.option(
    "--heat-map",
    cls=Grouped,
    group=OUTPUT,
    is_flag=True,
    help="Draw each search beside its record.",
)
def run(
    suite: Path | None,
    shard: tuple[int, int] | None,
    plan: Path | None,
    only: Stage | None,
    metric: str,
    as_json: bool,
    dry_run: bool,
    heat_map: bool,
    log: Sequence[str] | None,
    verbose: bool,
    **_: Any,
) -> None:
    """Measure methods and print them side by side with zero-shot and tip-adapter.

    Where no data is asked for, on the demo, all other inductive methods stand there too.
    """
    notes, clock = stderr(), time.perf_counter()
    if only and not plan:
        raise OptionError("--only goes with --plan only.")
    if plan:
        _work(plan, only, suite, notes, log, verbose=verbose)
        return
    with notes.status("loading"):
        from susx_bench.cli.logs import logs_of
        from susx_bench.logs.base import Logged
        from susx_bench.progress import Reporter
        from susx_bench.runner.execute import execute

    listen = Reporter(notes, summary=suite is not None)
    requests, builds = requests_of(suite, shard)
    if not suite and not as_json:
        data = requests[0].dataset or requests[0].features
        requests = [requests[0].beside(BASELINES if data else ON_THE_DEMO)]
    request = requests[0]
    if dry_run:
        _dry_run(requests, builds, shard, listen, as_json, heat_map)
        return
    logs = logs_of(request.out, log, notes, verbose=verbose)
    # Stdout is for results, whatever a method prints.
    with redirect_stdout(sys.stderr), Logged(listen, logs) as heard:
        done = execute(requests, builds, heard, shard=shard, keep_search=heat_map)
    outcomes = done.outcomes
    drawn = draw_searches(outcomes, notes) if heat_map else []
    tell_unscored(outcomes, notes)
    if as_json:
        print_json(outcomes)
    else:
        print_table(outcomes, request, time.perf_counter() - clock, metric, suite=bool(suite))
    for picture in drawn:
        (notes if as_json else stdout()).print(f"heat map: {picture}", soft_wrap=True)
    _raise_failures(outcomes, done.lost, request.out)


def _dry_run(
    requests: Sequence[Request],
    builds: Sequence[Build] | None,
    shard: tuple[int, int] | None,
    listen: Reporter,
    as_json: bool,
    heat_map: bool,
) -> None:
    """Print the work of a run, and refuse everything that the run would refuse."""
    from susx_bench.cli.dry_run import print_outlook, print_outlook_json
    from susx_bench.runner.execute import share
    from susx_bench.runner.outcome import path_of
    from susx_bench.runner.outlook import check_place, look_ahead
    from susx_bench.runner.plan import plan_suite

    force, out = requests[0].force, requests[0].out
    planned = plan_suite(requests, builds or (), listen)
    cells = share(planned.cells, shard, listen)
    outlook = look_ahead(planned, cells, out, listen, force=force, keep_search=heat_map)
    refused = outlook.refused
    if builds is None and refused and refused[0].error:
        raise refused[0].error  # only a suite goes on
    if outlook.todo or outlook.waiting:
        check_place(out, requests[0].launch)
    if as_json:
        print_outlook_json(outlook, [path_of(cell, out) for cell in cells])
    else:
        print_outlook(outlook, out)
    if refused:
        raise CheckError(f"{_unlisted(refused)}. The run would end with this too.")


def _raise_failures(outcomes: Sequence[Outcome], lost: Sequence[Part], out: Path) -> None:
    """Exit 3 if cells failed, or could not be listed because their data is missing."""
    from susx_bench.runner.outcome import title

    failed = [outcome for outcome in outcomes if outcome.failed]
    faults = []
    if failed:
        count = f"{len(failed):,} of {counted(len(outcomes), 'cell')} failed"
        names = [title(outcome.cell) for outcome in failed]
        faults.append(f"{count}: {failed[0].reason if len(failed) == 1 else some(names)}")
    if lost:
        faults.append(_unlisted(lost))
    if faults:
        ends = "; ".join(line.rstrip(".") for line in faults)
        raise CheckError(f"{ends}. See the *.failed.txt in {out}; a further run tries them again.")


def _unlisted(lost: Sequence[Part]) -> str:
    """Name the data whose cells could not be listed, and the reason if it is one."""
    names = [str(part) for part in lost]
    what = counted(len({part.dataset for part in lost}), "dataset")
    which = lost[0].lost if len(lost) == 1 else some(names)
    return f"the cells of {what} could not be listed: {which.rstrip('.')}"


_WORKERS = ("accelerator", "batch_size", "workers")
"""Options that a worker may set; the plan sets all others."""


def _work(
    path: Path,
    only: Stage | None,
    suite: Path | None,
    notes: Console,
    log: Sequence[str] | None,
    *,
    verbose: bool,
) -> None:
    """Work on a plan, and print the work done."""
    given_names = {name for name in click.get_current_context().params if is_given(name)}
    if suite or (unfit := sorted(given_names - {"plan", "only", "log", "verbose", *_WORKERS})):
        name = "suite" if suite else unfit[0]
        option = RunOptions.declared().get(name)
        spelled = option.spelling(name) if option else f"--{name.replace('_', '-')}"
        more = " Start a worker for each device." if name in ("devices", "num_nodes") else ""
        raise OptionError(f"{spelled} does not go with --plan, which says it.{more}")
    with notes.status("loading"):
        from susx_bench.cli.logs import logs_of
        from susx_bench.logs.base import Logged
        from susx_bench.progress import Reporter
        from susx_bench.runner.planfile import PlanFile, work

    plan = PlanFile.read(path)
    options = said(RunOptions)
    place = {name: options[name] for name in _WORKERS if name in options}
    listen = Reporter(notes, summary=True)
    logs = logs_of(Path(plan.out), log, notes, verbose=verbose)
    with redirect_stdout(sys.stderr), Logged(listen, logs) as heard:
        done = work(plan, only, heard, lambda r: r.changed(**place))
    fresh = sum(outcome.fresh for outcome in done.outcomes)
    blank = sum(bool(o.reason) and not o.failed for o in done.outcomes)
    failed = sum(outcome.failed for outcome in done.outcomes)
    existing = done.skipped + len(done.outcomes) - fresh - blank - failed
    console = stdout()
    parts = [f"{done.built} support sets built"] if done.built else []
    parts += [f"{done.encoded:,} rows encoded"] if done.encoded else []
    if only in (None, "measure"):
        parts.append(f"wrote {counted(fresh, 'record')}, {existing:,} were there, {blank:,} blank")
    console.print(f"{'; '.join(parts) or 'nothing to do'}: {plan.out}", soft_wrap=True)
    for why, cells in done.waits.items():
        console.print(f"left: {counted(cells, 'cell') if cells else 'cells'}, {why}")
    _raise_failures(done.outcomes, done.lost, Path(plan.out))
    if done.waits:
        raise CheckError("cells are left for which an earlier stage is not done: run that first.")


def requests_of(
    path: Path | None, shard: tuple[int, int] | None
) -> tuple[list[Request], list[Build] | None]:
    """The requests of the command line, and the support sets of its suite; None without a suite."""
    from susx_bench.runner.request import Request
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
        return [Request(**options)], None
    for name in options:
        option = RunOptions.declared()[name]
        if option.decides and is_given(name):
            why = "the suite says it" if option.suite else "it is for a single run"
            raise OptionError(f"{option.spelling(name)} does not go with --suite: {why}.")
    suite = Suite.read(path)
    requests = []
    for entry in suite.options(options.get("data_root")):
        unread = {"prompts_dir"} if "features" in entry else set()
        shared = {name: value for name, value in options.items() if name not in unread}
        requests.append(Request(**shared, **entry))
    return requests, _builds(suite.supports(options.get("data_root")), requests[0])


def _builds(supports: list[dict[str, Any]], request: Request) -> list[Build]:
    """The support sets that a suite names."""
    from susx_bench.support.places import BLOCK
    from susx_bench.support.request import Request as Build

    names = (*LAUNCH, "data_root", "source", "split_file", "prompts_dir")
    shared = {name: getattr(request, name) for name in names} | {"batch_size": BLOCK}
    return [Build(**shared | entry) for entry in supports]
