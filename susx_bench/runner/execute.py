"""Run from options to outcomes, for the command line and `evaluate` alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.console import counted
from susx_bench.events import Listener, Note, ignore
from susx_bench.runner.cell import Cell
from susx_bench.runner.outcome import Outcome
from susx_bench.runner.plan import Part, lost_lines, plan, plan_suite
from susx_bench.runner.prepare import complete
from susx_bench.runner.request import Request
from susx_bench.runner.run import mark_parts, run
from susx_bench.support.request import Request as Build


@dataclass(frozen=True)
class Done:
    """The result of a run.

    Attributes:
        outcomes: One outcome per cell.
        lost: The data of a suite that is not available.
    """

    outcomes: Sequence[Outcome]
    lost: Sequence[Part]


def execute(
    requests: Sequence[Request],
    builds: Sequence[Build] | None = None,
    listen: Listener = ignore,
    *,
    out: Path | None = None,
    shard: tuple[int, int] | None = None,
    keep_search: bool = False,
) -> Done:
    """Plan, prepare and measure.

    Args:
        requests: The requests. All run on the devices of the first one.
        builds: The support sets that a suite names; None if this is no suite, so that the first
            error is raised instead of being marked.
        listen: Told of notes and progress.
        out: Folder of the records; None for the folder of the first request.
        shard: Number of the part to run, and number of parts, of a suite.
        keep_search: Keep the accuracy of every searched setting.

    Raises:
        BenchError: If a name is unknown, options do not fit, or data is not available.
    """
    first = requests[0]
    planned = (
        plan(first, listen, fetch=True)
        if builds is None
        else plan_suite(requests, builds, listen, fetch=True)
    )
    planned = complete(planned, listen)
    folder = out or first.out
    lost = mark_parts(planned.parts, folder, first.launch)
    for line in lost_lines(lost):
        listen(Note(f"cannot be listed: {line}", "warning"))
    outcomes = run(
        share(planned.cells, shard, listen),
        folder,
        first.launch,
        listen,
        force=first.force,
        keep_search=keep_search,
        keep_going=planned.is_suite,
    )
    return Done(outcomes, lost)


def share(
    cells: Sequence[Cell], shard: tuple[int, int] | None, listen: Listener = ignore
) -> Sequence[Cell]:
    """The cells of one shard, which depend on the input hashes alone."""
    if shard is None:
        return cells
    part, parts = shard
    own_cells = [cell for cell in cells if int(cell.input_sha256[:16], 16) % parts == part - 1]
    if cells and not own_cells:
        line = (
            f"--shard {part}/{parts}: none of the suite's {counted(len(cells), 'cell')} falls into "
            "this part, since their hashes decide; the other parts measure them. Nothing to do."
        )
        listen(Note(line))
    return own_cells
