"""``susx-bench data``: look at datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from susx_bench.cli.shared import DATA_ROOT
from susx_bench.console import print_whole, stderr, stdout
from susx_bench.errors import CheckError
from susx_bench.options import NAME
from susx_bench.options.commands import Group
from susx_bench.options.run import OWN_DATA, RunOptions


@click.group(cls=Group)
def data() -> None:
    """Look at datasets."""


@data.command("check")
@click.argument("dataset", type=NAME)
@DATA_ROOT
@RunOptions.click_options("source", "split_file", *OWN_DATA, group="")
def check_data(dataset: str, data_root: Path | None, **asked: Any) -> None:
    """Read every image of a dataset; exit 3 where something is wrong."""
    from susx_bench.data.check import SPARED
    from susx_bench.data.check import check as check_images
    from susx_bench.data.custom import open_dataset
    from susx_bench.data.report import render
    from susx_bench.data.spec import Where
    from susx_bench.events import Job
    from susx_bench.progress import Reporter

    where = Where(data_root, **asked)
    with Job(Reporter(stderr()), f"reading {dataset}", "images") as job:
        report = check_images(open_dataset(dataset, where), job.begin, job.advance)
    print_whole(stdout(), render(report))
    if report.wrong:
        spared = f" {SPARED}." if report.train_alone_is_wrong else ""
        copy = f"{report.spec.name} in {report.origin}"
        raise CheckError(f"{copy}: {'; '.join(report.wrong)}.{spared}")
