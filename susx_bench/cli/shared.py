"""Options that several commands take, and what they all print with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from susx_bench.console import print_whole, stdout
from susx_bench.options.run import OWN_DATA, RunOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from susx_bench.options.declare import Options

# Options that commands have which take no request.
DATA_ROOT = RunOptions.click_options("data_root", group="")
PROMPTS_DIR = RunOptions.click_options("prompts_dir", group="")
PRECISION = RunOptions.click_options("precision", group="")
DEVICES = RunOptions.click_options("devices", group="")
NUM_NODES = RunOptions.click_options("num_nodes", group="")
ACCELERATOR = RunOptions.click_options("accelerator", group="")
WORKERS = RunOptions.click_options("workers", group="")
own_data = RunOptions.click_options(*OWN_DATA, group="")
"""Add the options that say how data is to be read of which no facts are known."""


def said(model: type[Options]) -> dict[str, Any]:
    """The options of the running command that are not at their default, by name."""
    context = click.get_current_context()
    return {
        name: context.params[name]
        for name in model.declared()
        if context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
    }


def is_given(option: str) -> bool:
    """Whether an option of the running command stands on the command line."""
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


def print_all(parts: Sequence[RenderableType], console: Console | None = None) -> None:
    """Print tables and texts, see `print_whole`."""
    for part in parts:
        print_whole(console or stdout(), part)
