"""What a plan says is missing: support sets are built, images and prompts encoded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from susx_bench.errors import BenchError, OptionError, OutputError, RetrievalError, SupportError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.features.launch import Launch
from susx_bench.features.task import Need, Task, TaskFeatures, part_key
from susx_bench.runner.cell import Cell
from susx_bench.runner.plan import Plan, plan, plan_suite
from susx_bench.support.build import build


def complete(planned: Plan, listen: Listener = ignore) -> Plan:
    """Build the support sets of a plan, and list the cells that waited for them.

    Every rank calls this, and builds its part.

    Args:
        planned: The plan.
        listen: Told of notes and progress.

    Returns:
        The plan with all cells; one that lacked none is returned as it is.

    Raises:
        BenchError: If what is named cannot be had; of a suite, only if that is about all of it.
    """
    stale = bool(planned.waiting)
    for each in planned.builds:
        try:
            fresh = build(each.request, listen).fresh
        except OptionError:
            raise
        except BenchError as error:
            alone = isinstance(error, (OutputError, RetrievalError))
            if not planned.is_suite or (each.request.launch.processes > 1 and alone):
                raise  # if met by this rank alone, the others wait for it
            # Only the cells that look at it are lost.
            listen(Note(f"{each.request.whose}: {error}", "warning"))
        else:
            if fresh and not each.images:  # what was opened of it is of before
                planned.opened.tasks.clear()
                stale = True
    if not stale:
        return planned
    if planned.is_suite:
        whole = plan_suite(planned.requests, (), listen, opened=planned.opened, fetch=True)
    else:
        whole = plan(planned.requests[0], listen, opened=planned.opened, fetch=True)
    if whole.waiting:
        folder = whole.waiting[0].build.folder
        raise SupportError(f"{folder} is not whole after it was built. Build it again.")
    return whole


def need_of(cells: Sequence[Cell]) -> Need:
    """What a task's cells need together, every list of images once."""
    parts = {part_key(part): part for cell in cells for part in cell.parts}
    patches = frozenset(split for cell in cells for split in cell.patches)
    return Need(list(parts.values()), any(cell.sees_val for cell in cells), patches)


def encode(
    task: Task, cells: Sequence[Cell], launch: Launch, listen: Listener = ignore
) -> TaskFeatures:
    """Encode what cells of a task need and the store does not have, and give all of it.

    Every rank calls this, and gets the same.

    Args:
        task: The task.
        cells: Its cells.
        launch: Where to encode.
        listen: Told of progress.
    """
    return encoded(task, need_of(cells), launch, listen)


def encoded(task: Task, need: Need, launch: Launch, listen: Listener) -> TaskFeatures:
    """Encode what is needed and the store does not have, and give all of it.

    Args:
        task: The task.
        need: What of it is needed.
        launch: Where to encode.
        listen: Told of progress.
    """
    with ExitStack() as stack:
        jobs = {
            unit: stack.enter_context(Job(listen, f"encoding {task.called}", unit, total))
            for unit, total in task.missing(need).items()
            if total
        }
        return task.features(need, launch, lambda unit, count: jobs[unit].advance(count))
