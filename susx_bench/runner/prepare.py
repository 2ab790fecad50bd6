"""Prepare a plan: build its missing support sets, and encode its images and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from susx_bench.errors import BenchError, OptionError, OutputError, RetrievalError, SupportError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.features.launch import Launch, warn_of_slow_half
from susx_bench.features.task import Need, Task, TaskFeatures, part_key
from susx_bench.runner.cell import Cell
from susx_bench.runner.plan import Plan, plan, plan_suite
from susx_bench.support.build import build


def complete(planned: Plan, listen: Listener = ignore) -> Plan:
    """Build the support sets of a plan, and list the cells that waited for them.

    Every rank calls it and builds its own part.

    Args:
        planned: The plan.
        listen: Told of notes and progress.

    Returns:
        The plan with all cells; a complete plan is returned unchanged.

    Raises:
        BenchError: If data is not available; for a suite, only if no data is.
    """
    stale = bool(planned.waiting)
    for outstanding in planned.builds:
        try:
            fresh = build(outstanding.request, listen).fresh
        except OptionError:
            raise
        except BenchError as error:
            alone = isinstance(error, (OutputError, RetrievalError))
            if not planned.is_suite or (outstanding.request.launch.processes > 1 and alone):
                raise  # this rank alone may have met it, and the others wait for this rank
            # Only cells with this support set are lost.
            listen(Note(f"{outstanding.request.whose}: {error}", "warning"))
        else:
            if fresh and not outstanding.images:  # data opened before the build is outdated
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
    """The features that a task's cells need together, each list of images once."""
    parts = {part_key(part): part for cell in cells for part in cell.parts}
    patches = frozenset(split for cell in cells for split in cell.patches)
    return Need(list(parts.values()), any(cell.sees_val for cell in cells), patches)


def encode(
    task: Task, cells: Sequence[Cell], launch: Launch, listen: Listener = ignore
) -> TaskFeatures:
    """Return the features that cells of a task need; encode those that the store lacks.

    Every rank calls it and gets the same features.

    Args:
        task: The task.
        cells: Its cells.
        launch: Where to encode.
        listen: Told of progress.
    """
    return encoded(task, need_of(cells), launch, listen)


def encoded(task: Task, need: Need, launch: Launch, listen: Listener) -> TaskFeatures:
    """Return the needed features of a task; encode those that the store lacks.

    Args:
        task: The task.
        need: The needed features.
        launch: Where to encode.
        listen: Told of progress.
    """
    if launch.processes > 1:
        task.agree(need, launch)
    missing = {unit: total for unit, total in task.missing(need).items() if total}
    if missing:
        warn_of_slow_half(task.precision, launch, listen)
    with ExitStack() as stack:
        jobs = {
            unit: stack.enter_context(Job(listen, f"encoding {task.called}", unit, total))
            for unit, total in missing.items()
        }
        return task.features(need, launch, lambda unit, count: jobs[unit].advance(count))
