"""``susx-bench new``: write the start of a plugin."""

from __future__ import annotations

from pathlib import Path

import click

from susx_bench.console import stdout
from susx_bench.options import NAME
from susx_bench.options.commands import Group


@click.group(cls=Group)
def new() -> None:
    """Start something of your own."""


@new.command("method")
@click.argument("name", type=NAME)
def new_method(name: str) -> None:
    """Write a small package NAME/: a method, its tests, and the entry point that registers it."""
    from susx_bench.scaffold import new_method as write

    written = write(name, Path())
    console = stdout()
    for line in (
        f"wrote {written.folder}: a method, its tests and the entry point that registers it",
        f"  pytest {written.folder}",
        f"  susx-bench run --setting few-shot --method {written.method}",
        f"  pip install -e ./{written.folder}  # then: --method {name}",
    ):
        console.print(line, soft_wrap=True)
