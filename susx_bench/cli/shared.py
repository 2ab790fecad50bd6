"""Options that several commands take, and what they all print with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from susx_bench.console import print_whole, stdout
from susx_bench.options import FILE_PATH, FOLDER_PATH, NAME, Count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

DEMO = "digits"
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)


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


def is_given(option: str) -> bool:
    """Whether an option of the running command stands on the command line."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def print_all(parts: Sequence[RenderableType], console: Console | None = None) -> None:
    """Print tables and texts, see `print_whole`."""
    for part in parts:
        print_whole(console or stdout(), part)
