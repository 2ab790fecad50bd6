"""``susx-bench doctor``: report the state of this machine."""

from __future__ import annotations

from pathlib import Path

import click

from susx_bench.cli.shared import DATA_ROOT
from susx_bench.console import print_whole, stderr, stdout
from susx_bench.errors import CheckError
from susx_bench.options.commands import Command


@click.command(cls=Command)
@DATA_ROOT
def doctor(data_root: Path | None) -> None:
    """Say what this machine has: versions, devices, folders, plugins and data.

    Exit 3 where something keeps a run from working. Opens no connection.
    """
    from susx_bench.doctor import examine

    with stderr().status("looking"):
        report = examine(data_root)
    print_whole(stdout(), report.table())
    if report.wrong:
        raise CheckError(f"{'; '.join(report.wrong)}.")
    stdout().print("nothing is missing that a run needs")
