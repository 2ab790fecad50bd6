"""The command line: one file per verb. Nothing slow is imported before its use."""

from __future__ import annotations

import atexit
import gc
import sys

import click

from susx_bench import process
from susx_bench.cli import (
    classify,
    data,
    doctor,
    export,
    features,
    leaderboard,
    listing,
    new,
    plan,
    prompts,
    records,
    run,
    support,
)
from susx_bench.cli.completion import install_completion
from susx_bench.options.commands import Group


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
@install_completion
def app() -> None:
    """Training-free adaptation of CLIP: every method on the same images, prompts and labels."""


for _command in (
    run.run,
    plan.plan,
    classify.classify,
    export.export,
    listing.list_,
    data.data,
    features.features,
    prompts.prompts,
    support.support,
    records.records,
    leaderboard.leaderboard,
    doctor.doctor,
    new.new,
):
    app.add_command(_command)


def main() -> None:
    """Run the command line; see `susx_bench.errors` for the exit codes."""
    atexit.register(_leave_objects)
    process.run(lambda: app(standalone_mode=False))


def _leave_objects() -> None:
    """Let Python end without a last look through all objects: it takes a second for many records.

    With torch come compiled modules that take the objects left for leaks, and print them.
    """
    if "torch" not in sys.modules:
        gc.freeze()
