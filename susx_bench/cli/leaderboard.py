"""``susx-bench leaderboard``: the tables of a suite."""

from __future__ import annotations

from pathlib import Path

import click

from susx_bench.cli.shared import metric_option, print_all
from susx_bench.console import counted, printable_lines, some, stdout
from susx_bench.options import ANY_PATH, FOLDER_PATH, NAME
from susx_bench.options.commands import Group
from susx_bench.options.run import DEMO


@click.group(cls=Group)
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
@metric_option()
@click.option(
    "--format",
    "others",
    type=NAME,
    multiple=True,
    help="A table format of a plugin to write besides Markdown, CSV and LaTeX; repeatable.",
)
def build(
    suite: Path, folder: Path, baseline: str | None, metric: str, others: tuple[str, ...]
) -> None:
    """Write the tables of a suite, and print them.

    The tables of another metric than the accuracy go to files of their own, NAME.METRIC.md and so
    on; the page shows all.
    """
    from susx_bench.leaderboard import files as boards
    from susx_bench.leaderboard.absent import failures, unnamed
    from susx_bench.leaderboard.formats import terminal
    from susx_bench.leaderboard.metrics import METRICS
    from susx_bench.runner.suite import Suite

    read = Suite.read(suite)
    with boards.uncollected():
        built = boards.build(read, folder, baseline, others, METRICS[metric])
        written = boards.write(built, folder)
        print_all(terminal(built.board))
    for line in failures(folder / "records" / read.name):
        stdout().print(f"not measured: {line}", soft_wrap=True)
    if bundles := unnamed(read, built.records):
        stdout().print(
            f"no record is called after {some(bundles)}: what it holds may be called otherwise, or "
            "was not measured",
            soft_wrap=True,
        )
    named = [str(path) for path in written if path.parent == folder]
    drawn = counted(len(written) - len(named), "picture")
    stdout().print(
        f"wrote {', '.join(named)}" + (f" and {drawn}" if built.paged else ""), soft_wrap=True
    )


@leaderboard.command()
@SUITE
@FOLDER
@BASELINE
@metric_option()
def check(suite: Path, folder: Path, baseline: str | None, metric: str) -> None:
    """Exit 3 where a committed file is not what its records give: table, page or picture."""
    from susx_bench.leaderboard import files as boards
    from susx_bench.leaderboard.metrics import METRICS
    from susx_bench.runner.suite import Suite

    with boards.uncollected():
        built = boards.check(Suite.read(suite), folder, baseline, METRICS[metric])
    what = "tables, page and pictures are" if built.paged else "tables are"
    stdout().print(
        f"{suite}: {what} what {counted(len(built.records), 'record')} give", soft_wrap=True
    )


@leaderboard.command("cite")
@SUITE
@FOLDER
def cite_suite(suite: Path, folder: Path) -> None:
    """Print BibTeX for every method, dataset and encoder of a suite and its records."""
    from susx_bench.leaderboard.cite import cite
    from susx_bench.records.record import Record
    from susx_bench.runner.suite import Suite

    read = Suite.read(suite)
    paths = sorted((folder / "records" / read.name).rglob("*.json"))
    entries = cite(read, [Record.read(path) for path in paths], DEMO)
    click.echo(printable_lines(entries.expandtabs(4)), nl=False)
