"""The command line: one file per verb. Nothing slow is imported before its use."""

from __future__ import annotations

import atexit
import gc

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
    # At its end Python looks through all objects again, which takes a second if they are many.
    atexit.register(gc.freeze)
    process.run(lambda: app(standalone_mode=False))
