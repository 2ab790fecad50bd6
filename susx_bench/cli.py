"""The door: what was asked, checked and handed on. Nothing slow is imported before its use."""

from __future__ import annotations

import atexit
import gc
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench import process
from susx_bench.console import (
    counted,
    own_rank,
    print_whole,
    printable_lines,
    stderr,
    stdout,
)
from susx_bench.errors import BenchError, CheckError, OptionError, OutputError, RetrievalError
from susx_bench.options import (
    ANY_PATH,
    FILE_PATH,
    FOLDER_PATH,
    IMAGES,
    NAME,
    NAMES,
    ORDER_LIST,
    PRICE,
    SEED,
    SEED_LIST,
    SHARD,
    SHOT_LIST,
    TRAVEL,
    WORDS,
    Count,
    Group,
    Number,
    Text,
    Url,
    checked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from susx_bench.data.spec import DatasetSpec
    from susx_bench.prompts import build as prompts_build
    from susx_bench.runner.cell import Cell
    from susx_bench.runner.plan import Request
    from susx_bench.runner.run import Outcome

DEMO = "digits"
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
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)
LISTS = ("methods", "datasets", "encoders", "prompts", "suites")


SUITE_SAYS = (
    *("method", "setting", "dataset", "encoder", "prompts", "support", "shots", "seed", "tune"),
    *("features", "val_shots", "allow_test_tuning", "logit_scale", "classnames", "official"),
    *("precision", "source", "split_file", "on_bad_image", "views", "draw", "shots_file"),
    *("image_column", "label_column"),
    *("order", "batches"),
)


DATA_ROOT = click.option(
    "--data-root",
    type=FOLDER_PATH,
    envvar="SUSX_BENCH_DATA",
    show_envvar=True,
    help="Folder of local data, DIR/DATASET each, and of a suite's bundles.",
)
SOURCE = click.option(
    "--source",
    type=NAME,
    default="auto",
    show_default=True,
    help="Where images come from: folder, hub, hf:ORG/NAME[:CONFIG][@COMMIT]; auto: the folder, "
    "else the hub.",
)
SPLIT_FILE = click.option(
    "--split-file",
    type=FILE_PATH,
    help="A split file in place of the published one; joined with a hub copy by file name.",
)


_OWN_DATA = (
    click.option(
        "--image-column",
        type=NAME,
        help="Column of a table's images, or their ending in webdataset shards. [default: image, "
        "img, jpg, ...]",
    ),
    click.option(
        "--label-column",
        type=NAME,
        help="Column of its labels, likewise. [default: label, labels, cls, fine_label, class]",
    ),
    click.option(
        "--classnames",
        type=FILE_PATH,
        help="Names of the classes in their order, one a line, of a bundle or of data of yours.",
    ),
)
OWN_DATA = ("image_column", "label_column", "classnames")


def own_data(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how data is to be read of which no facts are known."""
    for option in reversed(_OWN_DATA):
        command = option(command)
    return command


PROMPTS_DIR = click.option(
    "--prompts-dir",
    type=FOLDER_PATH,
    envvar="SUSX_BENCH_PROMPTS",
    show_envvar=True,
    help="Folder of prompt files: CuPL_prompts_DATASET.json for cupl and combined, "
    "descriptors_DATASET.json for visdesc.",
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="What models compute in.",
)
DEVICES = click.option("--devices", type=Count(1, 1024), default=1, show_default=True)
NUM_NODES = click.option("--num-nodes", type=Count(1, 10_000), default=1, show_default=True)
ACCELERATOR = click.option(
    "--accelerator", type=NAME, default="auto", show_default=True, help="cpu, gpu, ..."
)
WORKERS = click.option(
    "--workers",
    type=Count(0, 256),
    help="Processes that read images. [default: as many as cores]",
)


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Try:
  susx-bench run --method tipx --setting few-shot
  susx-bench run --method tipx --setting few-shot --features FILE.safetensors
  susx-bench list methods""",
)
@click.version_option(package_name="susx-bench")
def app() -> None:
    """Training-free adaptation of CLIP: every method on the same images, prompts and labels."""


@app.command(
    epilog="""\b
Try:
  susx-bench run --method tipx --setting few-shot
  susx-bench run --method tipx --setting name-only
  susx-bench run --method tipx --setting few-shot --features FILE.safetensors --json"""
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


def _given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def _requests(
    options: dict[str, Any], path: Path | None, shard: tuple[int, int] | None, notes: Console
) -> list[Request]:
    from susx_bench.runner.plan import Request, check_encoders
    from susx_bench.runner.suite import Suite
    from susx_bench.support.build import Request as Build
    from susx_bench.support.build import build
    from susx_bench.support.generate import BLOCK

    if path is None:
        if options["features"] and not _given("prompts_dir"):
            options["prompts_dir"] = None  # the variable is for other runs
        if options["features"] and _given("prompts"):
            raise OptionError("--prompts does not go with --features: a bundle has its text.")
        for name in ("method", "setting"):
            if options[name] is None:
                raise OptionError(f"Missing option '--{name}'.")
        if shard:
            raise OptionError("--shard goes with --suite only.")
        return [Request(**options)]
    for name in SUITE_SAYS:
        if _given(name):
            flag = name.replace("_", "-")
            raise OptionError(f"--{flag} does not go with --suite: the suite says it.")
    suite = Suite.read(path)
    runs = [
        checked(app.commands["run"], run, f"{path}: run")
        for run in suite.options(options["data_root"])
    ]
    requests = [Request(**(options | run)) for run in runs]
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
    from susx_bench.records.store import search_path
    from susx_bench.report.heatmap import draw

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
    from susx_bench.report.table import choices, results

    console = stdout()
    order = list(dict.fromkeys(outcome.cell.method.name for outcome in outcomes))
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    worded = {outcome.cell.method.name for outcome in outcomes if outcome.cell.method.prompts}
    _print_whole(results(records, order, worded), console)
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


def _print_whole(parts: Sequence[RenderableType], console: Console | None = None) -> None:
    """Print tables and texts, see `print_whole`."""
    for part in parts:
        print_whole(console or stdout(), part)


@app.command("list")
@click.argument("what", type=click.Choice(LISTS))
@DATA_ROOT
def list_(what: str, data_root: Path | None) -> None:
    """List what --method, --dataset, --encoder, --prompts and --suite accept."""
    from susx_bench.report import listing

    table = listing.datasets(data_root) if what == "datasets" else getattr(listing, what)()
    print_whole(stdout(), table)


@app.group()
def data() -> None:
    """Look at datasets."""


@data.command("check")
@click.argument("dataset", type=NAME)
@DATA_ROOT
@SOURCE
@SPLIT_FILE
@own_data
def check_data(dataset: str, data_root: Path | None, **asked: Any) -> None:
    """Read every image of a dataset; exit 3 where something is wrong."""
    from susx_bench.data.base import Where
    from susx_bench.data.check import check as check_images
    from susx_bench.data.yours import open_dataset
    from susx_bench.progress import Progress
    from susx_bench.report.datacheck import render

    notes, where = stderr(), Where(data_root, **asked)
    with Progress(notes) as progress:
        bar = progress.bar(f"reading {dataset}", None, "images")
        report = check_images(
            open_dataset(dataset, where),
            where,
            bar.begin,
            bar.advance,
        )
    print_whole(stdout(), render(report))
    if report.wrong:
        raise CheckError(f"{report.spec.name} in {report.origin}: {'; '.join(report.wrong)}.")


@app.group()
def prompts() -> None:
    """Make what the text encoder reads."""


@prompts.command(
    "build",
    epilog="""\b
Try:
  export OPENAI_BASE_URL=http://localhost:11434/v1 OPENAI_API_KEY=none
  susx-bench prompts build --dataset dtd --model llama3.2 --out prompts
  susx-bench run --prompts cupl --prompts-dir prompts --dataset dtd ...""",
)
@click.option(
    "--dataset",
    type=NAMES,
    multiple=True,
    callback=NAMES.join,
    required=True,
    help="Datasets, ./FOLDER or hf:ORG/NAME[:CONFIG][@COMMIT]; repeatable.",
)
@click.option(
    "--model", type=NAME, required=True, help="The language model, as its endpoint calls it."
)
@click.option(
    "--out",
    type=FOLDER_PATH,
    required=True,
    help="Folder for CuPL_prompts_DATASET.json, the --prompts-dir of a run.",
)
@click.option(
    "--answers",
    type=Count(1, 1000),
    default=10,
    show_default=True,
    help="Answers to each question about each class.",
)
@click.option(
    "--question",
    "questions",
    type=Text(10_000, lines=True),
    multiple=True,
    help="A question, {} the class name and a(n) its article; repeatable. [default: CuPL's five]",
)
@click.option("--temperature", type=Number(0, 2), default=0.99, show_default=True)
@click.option(
    "--max-tokens",
    type=Count(1, 1_000_000),
    default=50,
    show_default=True,
    help="Longest answer; more for a model that thinks before it answers.",
)
@click.option(
    "--concurrency",
    type=Count(1, 256),
    default=8,
    show_default=True,
    help="Questions asked at the same time.",
)
@click.option("--price-in", type=PRICE, help="USD per million tokens read.")
@click.option("--price-out", type=PRICE, help="USD per million tokens written.")
@click.option("--force", is_flag=True, help="Ask again what was answered.")
@own_data
def build_prompts(
    dataset: tuple[str, ...],
    out: Path,
    concurrency: int,
    price_in: float | None,
    price_out: float | None,
    force: bool,
    **asked: Any,
) -> None:
    """Ask a language model for sentences about each class, as CuPL does.

    The model is behind OPENAI_BASE_URL, any endpoint that speaks OpenAI's chat completions, and
    OPENAI_API_KEY opens it. A stopped build goes on from where it was.
    """
    from susx_bench.prompts.build import QUESTIONS, Request

    own = {name: asked.pop(name) for name in OWN_DATA}
    asked["questions"] = tuple(dict.fromkeys(asked["questions"])) or QUESTIONS
    request = Request(**asked)
    if (price_in is None) != (price_out is None):
        raise OptionError("--price-in and --price-out go together.")
    with stderr().status("loading"):
        from susx_bench.data.base import Where
        from susx_bench.data.yours import open_dataset

        specs = [open_dataset(name, Where(**own)).spec for name in dataset]
    for spec in specs:
        built = _ask(spec, request, out, concurrency=concurrency, force=force)
        stdout().print(_built(built, price_in, price_out))


def _ask(
    spec: DatasetSpec, request: prompts_build.Request, out: Path, **how: Any
) -> prompts_build.Built:
    from susx_bench.progress import Progress
    from susx_bench.prompts.build import build

    notes = stderr()
    with Progress(notes) as progress:
        bar = progress.bar(f"asking about {spec.name}", None, "questions")
        return build(
            spec,
            request,
            out,
            bar.begin,
            bar.advance,
            **how,
        )


def _built(built: prompts_build.Built, price_in: float | None, price_out: float | None) -> str:
    if not built.replies:
        return (
            f"{built.path} is there, with {counted(built.sentences, 'sentence')}; nothing to do "
            "(--force to ask again)"
        )
    tokens_in, tokens_out = built.prompt_tokens, built.completion_tokens
    line = (
        f"wrote {built.path}: {counted(built.sentences, 'sentence')} from "
        f"{counted(len(built.replies), 'reply')}, "
        f"{tokens_in} tokens read and {tokens_out} written"
    )
    if built.uncounted:
        line += f" (without {counted(built.uncounted, 'reply')} that the server did not count)"
    if built.rejected:
        why = ", ".join(f"{count} {reason}" for reason, count in built.rejected.items())
        line += f", {sum(built.rejected.values())} of {built.answers} answers rejected ({why})"
    if price_in is not None and price_out is not None:
        line += f", {(tokens_in * price_in + tokens_out * price_out) / 1e6:.4f} USD"
    return line


@app.group()
def support() -> None:
    """Build support sets from class names alone, and look at them."""


SUPPORT_ROOT = click.option(
    "--root",
    type=FOLDER_PATH,
    help="Folder of support sets, DIR/DATASET/NAME each. [default: SUSX_BENCH_SUPPORT, or your "
    "data folder]",
)


@support.command(
    "build",
    epilog="""\b
Try:
  susx-bench support build --dataset digits --kind sus-sd --per-class 16
  susx-bench support build --dataset cub --kind sus-sd --prompts photo --preset fast
  susx-bench support build --dataset cifar10 --kind sus-lc --pool PHOTOS --encoder RN50:openai""",
)
@click.option("--dataset", type=NAME, help="Whose classes: a name, ./FOLDER or hf:ORG/NAME.")
@click.option(
    "--kind",
    type=click.Choice(["sus-sd", "sus-lc"]),
    help="Generated by a text-to-image pipeline, or retrieved.",
)
@click.option(
    "--prompts",
    type=NAME,
    default="photo",
    show_default=True,
    help="What is drawn or looked for: photo, cupl, or another kind.",
)
@PROMPTS_DIR
@click.option(
    "--per-class",
    type=Count(1, 10_000),
    help="Images a class. [default: the preset's; retrieved 16]",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--name", type=NAME, help="Name of the set. [default: KIND-PROMPTS]")
@SUPPORT_ROOT
@click.option(
    "--preset",
    type=click.Choice(["published", "fast", "demo"]),
    help="Pipeline, steps, guidance and images a class: published is Stable Diffusion v1-4, 85 "
    "steps, 9.5, 100; fast is SD-Turbo, 1 step, 0, 16. [default: published; digits demo]",
)
@click.option("--model", type=NAME, help="A text-to-image pipeline: ./FOLDER or ORG/NAME[@COMMIT].")
@click.option("--steps", type=Count(1, 1000), help="Denoising steps.")
@click.option("--guidance", type=Number(0, 1000), help="Classifier-free guidance.")
@click.option(
    "--pool", type=NAME, help="Retrieve from FOLDER (images, Parquet, webdataset) or hf:ORG/NAME."
)
@click.option(
    "--backend", type=Url(), help="Retrieve through a clip-retrieval backend of your own, a URL."
)
@click.option("--index", type=NAME, help="Name of the backend's index.")
@click.option(
    "--import",
    "from_folder",
    type=ANY_PATH,
    help="Take images you have, in a folder a class; or SuS-X's features, ..._f_m....pt.",
)
@click.option(
    "--encoder",
    type=NAME,
    help="Encoder of a pool, or of features. [default: demo, for digits alone]",
)
@click.option(
    "--search",
    type=click.Choice(["exact", "ivf"]),
    default="exact",
    show_default=True,
    help="How a pool is searched; ivf is for millions of images.",
)
@click.option(
    "--test-check/--no-test-check",
    default=True,
    show_default=True,
    help="Leave out copies of the dataset's test images, which must be here.",
)
@PRECISION
@DATA_ROOT
@SOURCE
@SPLIT_FILE
@own_data
@click.option(
    "--recipe",
    type=FILE_PATH,
    help="Build again what a recipe.json says, in place of the options that decide the images.",
)
@DEVICES
@NUM_NODES
@ACCELERATOR
@click.option(
    "--batch-size",
    type=TRAVEL,
    default=8,
    show_default=True,
    help="Images that travel together. Changes no pixel.",
)
@WORKERS
@click.option("--force", is_flag=True, help="Build in the place of a set that is there.")
def build_support(**options: Any) -> None:
    """Build a support set, or complete one; a second build of the same does nothing."""
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.data.base import Where
        from susx_bench.features.predict import Launch
        from susx_bench.report.support import summary
        from susx_bench.support.build import Request, build
        from susx_bench.support.folder import Recipe, default_root, unusable, without_images

    names = ("devices", "num_nodes", "accelerator", "batch_size", "workers")
    options["launch"] = Launch(**{name: options.pop(name) for name in names})
    options["where"] = Where(
        options.pop("data_root"),
        **{name: options.pop(name) for name in ("source", "split_file", *OWN_DATA)},
    )
    options["root"] = options["root"] or default_root()
    path = options.pop("recipe")
    if path is None:
        for name in ("dataset", "kind"):
            if options[name] is None:
                raise OptionError(f"Missing option '--{name}'.")
        request = Request(**options)
    else:
        for name in (
            "kind",
            "prompts",
            "per_class",
            "seed",
            "preset",
            "model",
            "steps",
            "guidance",
            "pool",
            "backend",
            "index",
            "from_folder",
            "encoder",
            "search",
            "precision",
            "test_check",
        ):
            if _given(name):
                flag = {"from_folder": "import"}.get(name, name.replace("_", "-"))
                raise OptionError(f"--{flag} does not go with --recipe: the recipe says it.")
        kept = ("name", "root", "where", "launch", "force", "dataset")
        changes = {name: options[name] for name in kept if options[name] is not None}
        request = Request.of(Recipe.read(path), **changes)
    with redirect_stdout(sys.stderr):
        built = build(request, notes)
    if own_rank() == 0:
        stdout().print(summary(built))
        if empty := without_images(built.recipe, built.rows):
            raise CheckError(unusable(built.folder, empty, len(built.recipe.classnames)))


@support.command("show")
@click.argument("name", type=NAME)
@click.option("--dataset", type=NAME, help=f"Whose set a NAME is. [default: {DEMO}]")
@SUPPORT_ROOT
@click.option(
    "--sheet",
    type=FILE_PATH,
    help="Where the contact sheet goes. [default: contact-sheet.png in the set's folder]",
)
@own_data
def show_support(
    name: str, dataset: str | None, root: Path | None, sheet: Path | None, **said: Any
) -> None:
    """Show a support set, NAME or PATH: counts, provenance, and a sheet of its images."""
    from susx_bench.data.base import Where
    from susx_bench.data.yours import open_dataset
    from susx_bench.report.support import draw_sheet, render
    from susx_bench.support.folder import SupportFolder, default_root, find

    asked = dataset or DEMO
    spec = open_dataset(asked, Where(**said)).spec
    folder = SupportFolder(find(name, spec.name, root or default_root(), asked))
    picture = draw_sheet(folder, sheet or folder.path / "contact-sheet.png")
    print_whole(stdout(), render(folder))
    told = picture or "none, the set holds features and no images"
    stdout().print(f"contact sheet: {told}")


@app.group()
def records() -> None:
    """Doubt records, and join those of several machines."""


@records.command(
    epilog="""\b
Try:
  susx-bench records verify results/digits/demo
  susx-bench records verify RECORD.json --features FILE.safetensors"""
)
@click.argument("record", type=ANY_PATH, nargs=-1, required=True)
@click.option(
    "--features",
    type=FILE_PATH,
    multiple=True,
    help="The feature bundle of the records that have one; repeatable.",
)
@click.option(
    "--method",
    type=NAME,
    multiple=True,
    help="./FILE.py:CLASS, of a method that was read from a file; repeatable.",
)
@click.option(
    "--dataset",
    type=NAME,
    multiple=True,
    help="./FOLDER or hf:ORG/NAME, of images of yours; repeatable.",
)
@click.option(
    "--encoder",
    type=NAME,
    multiple=True,
    help="local-dir:FOLDER, of an encoder in a folder; repeatable.",
)
@DATA_ROOT
@SOURCE
@SPLIT_FILE
@own_data
@PROMPTS_DIR
@click.option("--support", type=NAME, help="PATH of a support set that lies elsewhere.")
@click.option("--shots-file", type=FILE_PATH, help="The list of labelled images.")
@DEVICES
@NUM_NODES
@ACCELERATOR
@WORKERS
@click.option("--fetch", is_flag=True, help="Download what a record names, from the hub.")
def verify(record: tuple[Path, ...], fetch: bool, **given: Any) -> None:
    """Measure RECORDs, files or folders, again and compare every prediction.

    A record is data: the files, folders and repositories that it names are read if you name them
    too. Nothing is written. Exit 3 where an image has another answer now, 2 where the inputs
    cannot be found again.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.runner.plan import Opened
        from susx_bench.runner.verify import Named, fault_of, records_in
        from susx_bench.runner.verify import verify as measure_again

    several = ("features", "method", "dataset", "encoder")
    named = Named(**{name: given.pop(name) for name in several}, options=given, fetch=fetch)
    opened, verdicts = Opened(), []
    for path in records_in(record):
        with redirect_stdout(sys.stderr), notes.status(f"measuring {path.name}"):
            verdict = measure_again(path, named, notes, opened)
        verdicts.append(verdict)
        said = f"{verdict.differ} of {verdict.images} images differ" if verdict.differ else "same"
        stdout().print(f"{path}: {said}", soft_wrap=True)
    if fault := fault_of(verdicts):
        raise CheckError(fault)


@records.command(
    "merge",
    epilog="""\b
Try:
  susx-bench records merge machine-1 machine-2 --into leaderboards/records/few-shot""",
)
@click.argument("folder", type=FOLDER_PATH, nargs=-1, required=True)
@click.option(
    "--into",
    type=FOLDER_PATH,
    required=True,
    help="Where they go; what is there already stays.",
)
def merge_records(folder: tuple[Path, ...], into: Path) -> None:
    """Join the records in FOLDERs; none is copied where one is damaged or two contradict."""
    from susx_bench.records.merge import merge

    done = merge(folder, into)
    there = done.records - done.written
    line = (
        f"merged {counted(len(folder), 'folder')} into {into}: "
        f"{counted(done.written, 'new record')}, {there} there"
    )
    if done.completed:
        line += f", {done.completed} of them now with their predictions"
    stdout().print(line, soft_wrap=True)


@records.command(
    "prune",
    epilog="""\b
Try:
  susx-bench records prune leaderboards/records/few-shot --dry-run""",
)
@click.argument("folder", type=FOLDER_PATH, nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
def prune_records(folder: tuple[Path, ...], dry_run: bool) -> None:
    """Remove the records in FOLDERs that no table shows, because newer ones replace them.

    Those of an older source or version of a method, of prompts or support sets that were made anew,
    and copies; predictions and pictures beside them go too.
    """
    from susx_bench.records.prune import prune

    replaced, left = prune(list(folder), dry_run=dry_run)
    console = stdout()
    verb = "would remove" if dry_run else "removed"
    for each in replaced:
        console.print(each.line, soft_wrap=True)
        for path in each.paths:
            console.print(f"  {verb} {path}", soft_wrap=True)
    gone = counted(sum(len(each.paths) for each in replaced), "record")
    console.print(f"{verb} {gone}, {left:,} left")


@app.group()
def leaderboard() -> None:
    """Build the tables of a suite from its records, or check them."""


SUITE = click.argument("suite", type=ANY_PATH)
FOLDER = click.option(
    "--folder",
    type=FOLDER_PATH,
    default=Path("leaderboards"),
    show_default=True,
    help="Where records/NAME/ and the tables lie.",
)


BASELINE = click.option(
    "--baseline",
    type=NAME,
    help="Method the others are compared with. [default: tip-adapter, else zero-shot]",
)


@leaderboard.command()
@SUITE
@FOLDER
@BASELINE
def build(suite: Path, folder: Path, baseline: str | None) -> None:
    """Write the tables of a suite, and print them."""
    from susx_bench.report import leaderboard as boards
    from susx_bench.report.formats import terminal
    from susx_bench.runner.suite import Suite

    with boards.uncollected():
        built = boards.build(Suite.read(suite), folder, baseline)
        written = boards.write(built, folder)
        _print_whole(terminal(built.board))
    named = [str(path) for path in written if path.parent == folder]
    stdout().print(
        f"wrote {', '.join(named)} and {counted(len(written) - len(named), 'picture')}",
        soft_wrap=True,
    )


@leaderboard.command()
@SUITE
@FOLDER
@BASELINE
def check(suite: Path, folder: Path, baseline: str | None) -> None:
    """Exit 3 where a committed file is not what its records give: table, page or picture."""
    from susx_bench.report import leaderboard as boards
    from susx_bench.runner.suite import Suite

    with boards.uncollected():
        built = boards.check(Suite.read(suite), folder, baseline)
    stdout().print(
        f"{suite}: tables, page and pictures are what {counted(len(built.records), 'record')} give",
        soft_wrap=True,
    )


@leaderboard.command("cite")
@SUITE
@FOLDER
def cite_suite(suite: Path, folder: Path) -> None:
    """Print BibTeX for every method, dataset and encoder of a suite and its records."""
    from susx_bench.records.record import Record
    from susx_bench.report.cite import cite
    from susx_bench.runner.suite import Suite

    read = Suite.read(suite)
    found = sorted((folder / "records" / read.name).rglob("*.json"))
    entries = cite(read, [Record.read(path) for path in found], DEMO)
    click.echo(printable_lines(entries.expandtabs(4)), nl=False)


@app.command()
@DATA_ROOT
def doctor(data_root: Path | None) -> None:
    """Say what this machine has: versions, devices, folders, plugins and data.

    Exit 3 where something keeps a run from working. Opens no connection.
    """
    from susx_bench.report.doctor import examine

    with stderr().status("looking"):
        report = examine(data_root)
    print_whole(stdout(), report.table())
    if report.wrong:
        raise CheckError(f"{'; '.join(report.wrong)}.")
    stdout().print("nothing is missing that a run needs")


@app.group()
def new() -> None:
    """Start something of your own."""


@new.command("method")
@click.argument("name", type=NAME)
def new_method(name: str) -> None:
    """Write a small package NAME/: a method, its tests, and the entry point that registers it."""
    from susx_bench.scaffold import new_method as write

    written = write(name, Path())
    stdout().print(
        f"wrote {written.folder}: a method, its tests and the entry point that registers it\n"
        f"  pytest {written.folder}\n"
        f"  susx-bench run --setting few-shot --method {written.method}\n"
        f"  pip install -e ./{written.folder}  # then: --method {name}",
        soft_wrap=True,
    )


def main() -> None:
    """Run the command line; see `susx_bench.errors` for the exit codes."""
    # Python looks through every object once more when it ends, for a second where there are many.
    atexit.register(gc.freeze)
    process.run(lambda: app(standalone_mode=False))
