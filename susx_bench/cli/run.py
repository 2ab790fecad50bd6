"""``susx-bench run``: measure methods."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import (
    ACCELERATOR,
    DATA_ROOT,
    DEMO,
    DEVICES,
    NUM_NODES,
    OWN_DATA,
    PRECISION,
    PROMPTS_DIR,
    SEEDS,
    SHOTS,
    SOURCE,
    SPLIT_FILE,
    WORKERS,
    is_given,
    own_data,
    print_all,
)
from susx_bench.cli.support import build_support
from susx_bench.console import counted, own_rank, stderr, stdout
from susx_bench.errors import BenchError, CheckError, OptionError, OutputError, RetrievalError
from susx_bench.options import (
    ANY_PATH,
    FILE_PATH,
    FOLDER_PATH,
    IMAGES,
    NAME,
    NAMES,
    ORDER_LIST,
    SEED_LIST,
    SHARD,
    SHOT_LIST,
    TRAVEL,
    WORDS,
    Command,
    Count,
    Number,
    checked,
)

if TYPE_CHECKING:
    from rich.console import Console

    from susx_bench.runner.cell import Cell
    from susx_bench.runner.plan import Request
    from susx_bench.runner.run import Outcome

BASELINES = ("zero-shot", "tip-adapter")
ON_THE_DEMO = (
    "zero-shot",
    "calip",
    "clip-dn",
    "waffle",
    "tip-adapter",
    "gda",
    "ape",
    "timo",
    "tag",
    "tipx",
)
"""Beside what is asked for where no data is: the inductive methods, without variants of one and
those that read prompt files."""


SUITE_SAYS = (
    *("method", "setting", "dataset", "encoder", "prompts", "support", "shots", "seed", "tune"),
    *("features", "val_shots", "allow_test_tuning", "logit_scale", "classnames", "official"),
    *("precision", "source", "split_file", "on_bad_image", "views", "draw", "shots_file"),
    *("image_column", "label_column"),
    *("order", "batches"),
)


@click.command(
    cls=Command,
    epilog="""\b
Try:
  susx-bench run --method tipx --setting few-shot
  susx-bench run --method tipx --setting name-only
  susx-bench run --method tipx --setting few-shot --features FILE.safetensors --json""",
)
@click.option(
    "--method",
    type=NAMES,
    multiple=True,
    callback=NAMES.join,
    help="Methods, or ./file.py:Class; repeatable.",
)
@click.option(
    "--setting",
    type=click.Choice(["name-only", "few-shot"]),
    help="What the support set may be built from.",
)
@click.option(
    "--suite",
    type=ANY_PATH,
    help="A suite, by file or by name, in place of the options above and below that decide a "
    "number. A cell that fails is marked, and the others are measured.",
)
@click.option(
    "--shard", type=SHARD, help="Of a suite, one part of N: 1/N to N/N together are all its cells."
)
@DATA_ROOT
@click.option(
    "--dataset",
    type=NAMES,
    multiple=True,
    callback=NAMES.join,
    help=f"Datasets, ./FOLDER or hf:ORG/NAME[:CONFIG][@COMMIT]; repeatable, as for a folder whose "
    f"name has a comma. [default: {DEMO}, embedded] Names a bundle's data.",
)
@SOURCE
@SPLIT_FILE
@own_data
@click.option(
    "--on-bad-image",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with an image that cannot be read; what is skipped is recorded.",
)
@click.option(
    "--encoder",
    type=NAME,
    help="Encoder. [default: demo, for digits alone] Names a bundle's encoder.",
)
@PRECISION
@click.option(
    "--prompts", type=NAME, default="single", show_default=True, help="What the text encoder reads."
)
@PROMPTS_DIR
@click.option(
    "--support", type=NAME, help="Support set in the name-only setting. [default: the dataset's]"
)
@click.option(
    "--shots", type=SHOT_LIST, help="Labelled images a class. [default: 1,2,4,8,16; a bundle whole]"
)
@click.option("--seed", type=SEED_LIST, help="Which draws. [default: 1,2,3]")
@click.option(
    "--draw",
    type=click.Choice(["balanced", "coop"]),
    default="balanced",
    show_default=True,
    help="How labelled images are drawn: ours, nested over shots, or by CoOp's rule.",
)
@click.option(
    "--shots-file",
    type=FILE_PATH,
    help="Which labelled images to use: a JSON list of file names or positions.",
)
@click.option(
    "--views",
    type=Count(1, 1000),
    help="Augmented views a labelled image is averaged over; 1 for the image itself. "
    "[default: 10; the demo 1]",
)
@click.option(
    "--tune",
    type=NAME,
    help="Which labels choose hyper-parameters: fixed, published, support, few-val, val, test. "
    "[default: few-shot val, or support without val; name-only fixed]",
)
@click.option("--val-shots", type=IMAGES, help="Images a class for few-val.")
@click.option("--allow-test-tuning", is_flag=True, help="Let --tune test see the test labels.")
@click.option(
    "--features",
    type=FILE_PATH,
    help="A feature bundle, in place of a dataset and an encoder.",
)
@click.option("--logit-scale", type=Number(1e-3, 1e6), help="Of a bundle.")
@click.option(
    "--order",
    type=ORDER_LIST,
    help="Seeds of the order in which streaming methods meet the test images, and of batches; 0 "
    "for the order of the split. [default: 1]",
)
@click.option(
    "--batches",
    type=WORDS,
    help="How transductive methods get the test set: all, or SIZE:CLASSES, batches of up to SIZE "
    "images of up to CLASSES classes. [default: all]",
)
@click.option("--official", is_flag=True, help="Reproduce the authors' code, its faults included.")
@DEVICES
@NUM_NODES
@ACCELERATOR
@click.option(
    "--batch-size",
    type=TRAVEL,
    default=256,
    show_default=True,
    help="Images that travel together. Changes no prediction.",
)
@WORKERS
@click.option(
    "--out",
    type=FOLDER_PATH,
    default=Path("results"),
    show_default=True,
    help="Folder of the records.",
)
@click.option("--json", "as_json", is_flag=True, help="One record a line on stdout, no table.")
@click.option("--heat-map", is_flag=True, help="Draw each search beside its record.")
@click.option(
    "--force", is_flag=True, help="Measure again what has a record, and read all images for it."
)
def run(**options: Any) -> None:
    """Measure methods and print them side by side with zero-shot and tip-adapter.

    Where no data is asked for, on the demo, all other inductive methods stand there too.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.runner.plan import plan, plan_suite
        from susx_bench.runner.run import mark_parts
        from susx_bench.runner.run import run as run_cells

    as_json, heat_map = options.pop("as_json"), options.pop("heat_map")
    suite, shard = options.pop("suite"), options.pop("shard")
    requests = _requests(options, suite, shard, notes)
    request = requests[0]
    if suite:
        cells, parts = plan_suite(requests, DEMO, SHOTS, SEEDS, notes)
        cells = _share(cells, shard)
        lost = mark_parts(parts, request.out, request.launch)
    else:
        beside = BASELINES if request.dataset or request.features else ON_THE_DEMO
        cells = plan(request, () if as_json else beside, DEMO, SHOTS, SEEDS, notes)
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


def _share(cells: list[Cell], shard: tuple[int, int] | None) -> list[Cell]:
    """The cells of one shard: by input hash, so that nothing else decides who measures a cell."""
    if shard is None:
        return cells
    part, parts = shard
    return [cell for cell in cells if int(cell.input_sha256[:16], 16) % parts == part - 1]


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


def _requests(
    options: dict[str, Any], path: Path | None, shard: tuple[int, int] | None, notes: Console
) -> list[Request]:
    from susx_bench.runner.plan import Request, check_encoders
    from susx_bench.runner.suite import Suite
    from susx_bench.support.build import Request as Build
    from susx_bench.support.build import build
    from susx_bench.support.places import BLOCK

    if path is None:
        if options["features"] and not is_given("prompts_dir"):
            options["prompts_dir"] = None  # the variable is for other runs
        if options["features"] and is_given("prompts"):
            raise OptionError("--prompts does not go with --features: a bundle has its text.")
        for name in ("method", "setting"):
            if options[name] is None:
                raise OptionError(f"Missing option '--{name}'.")
        if shard:
            raise OptionError("--shard goes with --suite only.")
        return [Request(**options)]
    for name in SUITE_SAYS:
        if is_given(name):
            flag = name.replace("_", "-")
            raise OptionError(f"--{flag} does not go with --suite: the suite says it.")
    suite = Suite.read(path)
    requests = [
        Request(**(options | checked(run, each, f"{path}: run")))
        for each in suite.options(options["data_root"])
    ]
    check_encoders(requests)
    for each in suite.supports(options["data_root"]):
        support = checked(build_support, each, f"{path}: support")
        launch = replace(requests[0].launch, batch_size=BLOCK)
        own = {name: support.pop(name) for name in OWN_DATA}
        given = {
            "where": replace(requests[0].where, **own),
            "prompts_dir": options["prompts_dir"],
        }
        try:
            build(Build(**support, **given, launch=launch), notes)
        except OptionError:
            raise
        except BenchError as error:  # only the cells that look at it are lost
            if launch.processes > 1 and isinstance(error, (OutputError, RetrievalError)):
                raise  # met by this rank alone, and the others wait for it
            notes.print(f"{support['dataset']}: {error}", style="yellow")
    return requests


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
    from susx_bench.leaderboard.table import choices, results

    console = stdout()
    order = list(dict.fromkeys(outcome.cell.method.name for outcome in outcomes))
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    worded = {outcome.cell.method.name for outcome in outcomes if outcome.cell.method.prompts}
    print_all(results(records, order, worded), console)
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
