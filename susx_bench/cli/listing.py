"""``susx-bench list``: list the values that options of a run accept."""

from __future__ import annotations

from pathlib import Path

import click

from susx_bench.cli.shared import DATA_ROOT
from susx_bench.console import print_whole, stdout
from susx_bench.options.commands import Command

LISTS = ("methods", "datasets", "encoders", "prompts", "support", "formats", "logs", "suites")


@click.command("list", cls=Command)
@click.argument("what", type=click.Choice(LISTS))
@DATA_ROOT
def list_(what: str, data_root: Path | None) -> None:
    """List what there is to choose from, also of plugins: what options of a run accept."""
    from susx_bench import listing

    table = listing.datasets(data_root) if what == "datasets" else getattr(listing, what)()
    print_whole(stdout(), table)
