"""``susx-bench plan``: write the cells of a suite into a file for any number of workers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.run import requests_of
from susx_bench.cli.shared import quiet_option
from susx_bench.console import counted, stderr, stdout
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, Count
from susx_bench.options.run import RunOptions

if TYPE_CHECKING:
    from susx_bench.runner.planfile import PlanFile


@click.command(
    epilog="""\b
Try:
  susx-bench plan --suite demo --out plan.json
  susx-bench plan --suite demo --out plan.json --slurm > work.sbatch
  susx-bench run --plan plan.json""",
)
@click.option("--suite", type=ANY_PATH, required=True, help="A suite, by file or by name.")
@click.option("--out", "path", type=FILE_PATH, required=True, help="The plan, a JSON file.")
@click.option(
    "--records",
    type=FOLDER_PATH,
    default=Path("results"),
    show_default=True,
    help="Folder that workers write the records to.",
)
@click.option(
    "--slurm",
    is_flag=True,
    help="Print a script for sbatch whose tasks are workers, in place of what is planned.",
)
@click.option(
    "--tasks",
    type=Count(1, 10_000),
    default=8,
    show_default=True,
    help="Workers of the script.",
)
@RunOptions.click_options("data_root", "source", "prompts_dir", group="")
@quiet_option()
def plan(suite: Path, path: Path, records: Path, slurm: bool, tasks: int, **_: Any) -> None:
    """Plan a suite once, for workers that share its cells: `susx-bench run --plan PLAN`.

    Nothing is built, encoded or downloaded.
    """
    with stderr().status("planning"):
        from susx_bench.progress import Reporter
        from susx_bench.runner.planfile import make_plan, write_plan
        from susx_bench.runner.suite import Suite

    name = Suite.read(suite).name
    requests, builds = requests_of(suite, None)
    planned = make_plan(name, requests, builds or (), records, Reporter(stderr(), summary=True))
    write_plan(planned, path)
    if slurm:
        click.echo(_script(planned, path, tasks), nl=False)
        return
    console = stdout()
    cells = [cell for part in planned.parts for cell in part.cells]
    existing = sum((records / cell.record).exists() for cell in cells)
    encodings = [encoding for part in planned.parts for encoding in part.encodings]
    missing = {(encoding.rows_of, encoding.sha256): encoding.rows for encoding in encodings}
    images = sum(rows for (unit, _), rows in missing.items() if unit == "images")
    console.print(
        f"wrote {path}: {counted(len(cells), 'cell')}, {existing:,} with a record; "
        f"{counted(images, 'image')} and {counted(sum(missing.values()) - images, 'prompt')} to "
        f"encode; {counted(len(planned.builds), 'support set')} to build",
        soft_wrap=True,
    )
    for part in planned.parts:
        if part.after:
            console.print(f"cells known after building: {part.after}", soft_wrap=True)
    for line in planned.lost:
        console.print(f"cannot be had: {line}", soft_wrap=True)
    console.print(f"work on it, on any number of machines: susx-bench run --plan {path}")


def _script(plan: PlanFile, path: Path, tasks: int) -> str:
    """A job array of workers, for ``sbatch``."""
    from susx_bench.records.kept import cache_url

    stages = ["generate"] if plan.builds or any(part.after for part in plan.parts) else []
    stages += ["encode", "measure"]
    whole = shlex.quote(str(path.absolute()))
    chain = [
        f"#   {name}=$(sbatch --parsable {'--gres=gpu:1 ' if name != 'measure' else ''}"
        + (f"--dependency=afterok:${stages[number - 1]} " if number else "")
        + f"work.sbatch --only {name})"
        for number, name in enumerate(stages)
    ]
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --job-name=susx-bench-{plan.suite}",
            f"#SBATCH --array=1-{tasks}",
            "#SBATCH --ntasks=1",
            "#SBATCH --cpus-per-task=2",
            "#SBATCH --output=susx-bench-%A-%a.log",
            "#",
            "# Each task is a worker on one plan; one that is killed leaves its cells to others.",
            "# All at once: sbatch work.sbatch. Or a stage after the other, GPUs where they help:",
            *chain,
            "set -euo pipefail",
            f"cd {shlex.quote(plan.folder)}",
            f"export SUSX_BENCH_CACHE={shlex.quote(cache_url())}  # all workers must share it",
            'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"',
            f'srun susx-bench run --plan {whole} "$@"',
            "",
        ]
    )
