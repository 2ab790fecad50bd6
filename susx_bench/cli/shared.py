"""Options that several commands share, and helpers to print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from susx_bench.console import be_quiet, print_whole, stdout
from susx_bench.options import FILE_PATH, NAME
from susx_bench.options.run import OWN_DATA, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from susx_bench.options.declare import Options
    from susx_bench.runner.verify import Named

# Options of commands that take no request.
DATA_ROOT = RunOptions.click_options("data_root", group="")
PROMPTS_DIR = RunOptions.click_options("prompts_dir", group="")
PRECISION = RunOptions.click_options("precision", group="")
DEVICES = RunOptions.click_options("devices", group="")
NUM_NODES = RunOptions.click_options("num_nodes", group="")
ACCELERATOR = RunOptions.click_options("accelerator", group="")
WORKERS = RunOptions.click_options("workers", group="")
own_data = RunOptions.click_options(*OWN_DATA, group="")
"""Add the options about the format of data that no fact file describes."""


def said(model: type[Options]) -> dict[str, Any]:
    """The options of the running command that differ from their defaults, by name."""
    context = click.get_current_context()
    return {
        name: context.params[name]
        for name in model.declared()
        if context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
    }


def is_given(option: str) -> bool:
    """Whether an option of the running command was given on the command line."""
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


def print_all(parts: Sequence[RenderableType], console: Console | None = None) -> None:
    """Print tables and texts, see `print_whole`."""
    for part in parts:
        print_whole(console or stdout(), part)


def _hush(context: click.Context, param: click.Parameter, quiet: bool) -> None:
    be_quiet(quiet=quiet)


def quiet_option(**how: Any) -> Callable[[Any], Any]:
    """Add ``--quiet``: print only results, warnings and errors."""
    return click.option(
        "--quiet",
        "-q",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_hush,
        help="No progress and notes; warnings and errors stay.",
        **how,
    )


_METRICS = ("accuracy", "mean_per_class", "macro_f1", "top5", "ece", "nll", "auroc", "fpr95")


def metric_option(**how: Any) -> Callable[[Any], Any]:
    """Add ``--metric``: the number of the records that the tables show."""
    return click.option(
        "--metric",
        type=click.Choice(_METRICS),
        default="accuracy",
        show_default=True,
        help="Number of the records that the tables show.",
        **how,
    )


_INPUTS = (
    click.option(
        "--features",
        type=FILE_PATH,
        multiple=True,
        help="The feature bundle of the records that have one; repeatable.",
    ),
    click.option(
        "--method",
        type=NAME,
        multiple=True,
        help="./FILE.py:CLASS, of a method that was read from a file; repeatable.",
    ),
    click.option(
        "--dataset",
        type=NAME,
        multiple=True,
        help="./FOLDER or hf:ORG/NAME, of images of yours; repeatable.",
    ),
    click.option(
        "--encoder",
        type=NAME,
        multiple=True,
        help="local-dir:FOLDER, of an encoder in a folder; repeatable.",
    ),
    RunOptions.click_options(
        "data_root", "source", "split_file", *OWN_DATA, "prompts_dir", group=""
    ),
    click.option("--support", type=NAME, help="PATH of a support set that lies elsewhere."),
    click.option("--shots-file", type=FILE_PATH, help="The list of labelled images."),
    RunOptions.click_options("devices", "num_nodes", "accelerator", "workers", group=""),
    click.option("--fetch", is_flag=True, help="Download what a record names, from the hub."),
)
"""Options by which the user names a record's inputs, and the folders they are read from."""


def names_inputs(command: Any) -> Any:
    """Add the options that name the inputs of a record: a record opens nothing by itself."""
    for option in reversed(_INPUTS):
        command = option(command)
    return command


def named_inputs(given: dict[str, Any]) -> Named:
    """The inputs that the user named with these options of the running command."""
    from susx_bench.runner.verify import Named

    several = {name: given[name] for name in ("features", "method", "dataset", "encoder")}
    options = {name: value for name, value in said(RunOptions).items() if name not in several}
    return Named(**several, options=options, fetch=given["fetch"])
