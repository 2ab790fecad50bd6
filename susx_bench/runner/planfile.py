"""Write a plan into a file, from which any number of workers take their work."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from susx_bench.console import counted
from susx_bench.errors import BenchError, CheckError, OptionError
from susx_bench.events import Listener, Note, ignore
from susx_bench.records.failures import reason_of
from susx_bench.records.files import canonical_json, write_atomic
from susx_bench.records.text import read_json
from susx_bench.runner.cell import Cell
from susx_bench.runner.needs import unmet_need
from susx_bench.runner.outcome import Outcome, path_of
from susx_bench.runner.plan import UNAVAILABLE, by_dataset, lost_lines, plan_suite
from susx_bench.runner.plan import Part as Lost
from susx_bench.runner.prepare import complete, encode, need_of
from susx_bench.runner.request import Request
from susx_bench.runner.run import run
from susx_bench.runner.tasks import Opened
from susx_bench.support.build import build, outstanding
from susx_bench.support.request import Request as Build

LAYOUT = 1
Stage = Literal["generate", "encode", "measure"]
"""A stage that a worker can do alone: build support sets, encode images, or measure cells."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedCell(_Strict):
    """One cell.

    Attributes:
        record: Path of its record, relative to the folder of the records.
        input_sha256: Hash of all its inputs.
        method: Its method.
        tune: The labels that choose the hyper-parameters.
        shots: Images per class.
        seed: Seed of the draw.
    """

    record: str
    input_sha256: str
    method: str
    tune: str
    shots: int
    seed: int


class Encoding(_Strict):
    """A list of rows that was not encoded when the plan was made.

    Attributes:
        rows_of: ``images`` (their views included) or ``prompts``.
        sha256: Hash of the list's inputs.
        rows: Number of missing rows.
    """

    rows_of: str
    sha256: str
    rows: int


class Part(_Strict):
    """The cells of one request for one dataset.

    Attributes:
        options: The request, as options of ``run``.
        cells: Its cells without those of earlier parts; none if `after` must be built first.
        encodings: The features that they need and that were missing.
        after: The support set that must be built before its cells are known.
    """

    options: dict[str, Any]
    cells: tuple[PlannedCell, ...] = ()
    encodings: tuple[Encoding, ...] = ()
    after: str = ""


class PlanFile(_Strict):
    """A plan.

    Attributes:
        layout: Version of the file's layout.
        suite: The suite.
        folder: The working folder, the base of relative paths.
        out: Folder of the records.
        builds: Options of the support sets to build.
        parts: The cells, by request.
        lost: Missing data with the reasons, one line each.
    """

    layout: int = LAYOUT
    suite: str
    folder: str
    out: str
    builds: tuple[dict[str, Any], ...] = ()
    parts: tuple[Part, ...]
    lost: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> PlanFile:
        """Read a plan.

        Raises:
            OptionError: If it is no plan, has another layout, or was made in another folder.
        """
        try:
            content = read_json(path)
            read = cls.model_validate(content)
        except (OSError, ValueError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise OptionError(
                f"--plan {path}: it is no plan: {why.rstrip('.')}. `susx-bench plan --suite SUITE "
                "--out PLAN.json` makes one."
            ) from error
        if read.layout != LAYOUT:
            raise OptionError(
                f"--plan {path} has layout {read.layout}, this version reads {LAYOUT}. Make it "
                "again, with `susx-bench plan`."
            )
        if str(Path.cwd()) != read.folder:
            raise OptionError(
                f"--plan {path} was made in {read.folder}, and its paths start there. Change to "
                "that folder."
            )
        return read


def make_plan(
    suite: str,
    requests: Sequence[Request],
    builds: Sequence[Build],
    out: Path,
    listen: Listener = ignore,
) -> PlanFile:
    """Plan a suite. Nothing is built, encoded or downloaded.

    Args:
        suite: Name of the suite.
        requests: The requests of the suite.
        builds: The support sets that it names.
        out: Folder of the records.
        listen: Told of notes.

    Raises:
        BenchError: If the suite is faulty.
    """
    opened, seen = Opened(), set[str]()
    parts: list[Part] = []
    lost: list[str] = []
    todo: dict[str, Build] = {}
    for request in requests:
        for single in by_dataset(request):
            try:
                planned = plan_suite([single], builds, listen, opened=opened)
            except UNAVAILABLE as error:
                lost.append(reason_of(error))
                continue
            lost += lost_lines(planned.parts)
            for waiting in planned.builds:
                if waiting.images:
                    todo[str(waiting.folder)] = waiting.request
            cells = [cell for cell in planned.cells if cell.input_sha256 not in seen]
            seen.update(cell.input_sha256 for cell in cells)
            after = str(planned.waiting[0].build.folder) if planned.waiting else ""
            if cells or after:
                parts.append(_part(single, cells, out, after))
    return PlanFile(
        suite=suite,
        folder=str(Path.cwd()),
        out=str(out),
        builds=tuple(_said(request) for request in todo.values()),
        parts=tuple(parts),
        lost=tuple(dict.fromkeys(lost)),
    )


def write_plan(plan: PlanFile, path: Path) -> None:
    """Write a plan.

    Raises:
        OutputError: If it cannot be written.
    """
    write_atomic(path, canonical_json(plan.model_dump(mode="json")).encode() + b"\n")


def _part(request: Request, cells: Sequence[Cell], out: Path, after: str) -> Part:
    lacking: dict[tuple[str, str], int] = {}
    for task in dict.fromkeys(cell.task for cell in cells):
        task_cells = [cell for cell in cells if cell.task is task and not unmet_need(cell)]
        lacking |= task.lacking(need_of(task_cells)) if task_cells else {}
    return Part(
        options=_said(request),
        cells=tuple(
            PlannedCell(
                record=path_of(cell, out).relative_to(out).as_posix(),
                input_sha256=cell.input_sha256,
                method=cell.method.name,
                tune=cell.tune,
                shots=cell.shots,
                seed=cell.seed,
            )
            for cell in cells
        ),
        encodings=tuple(
            Encoding(rows_of=unit, sha256=sha256, rows=rows)
            for (unit, sha256), rows in sorted(lacking.items())
        ),
        after=after,
    )


def _said(options: Request | Build) -> dict[str, Any]:
    """The options that were set, as JSON; the prompts already hold templates from a file."""
    given = options.model_fields_set - {"templates"}
    values: dict[str, Any] = options.model_dump(mode="json", include=set(given))
    return values


@dataclass
class Work:
    """The work that a worker has done.

    Attributes:
        outcomes: Outcomes of the cells that it looked at.
        skipped: Number of cells that had a record before their data was opened.
        built: Support sets that it built.
        encoded: Number of missing rows that are encoded now.
        waits: Reasons why cells are left for a later worker, with their number if known.
        lost: Data that is not available.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    skipped: int = 0
    built: int = 0
    encoded: int = 0
    waits: dict[str, int] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)

    def wait(self, why: str, cells: int) -> None:
        """Leave cells for a later worker."""
        self.waits[why] = self.waits.get(why, 0) + cells


def work(
    plan: PlanFile,
    only: Stage | None = None,
    listen: Listener = ignore,
    place: Callable[[Request], Request] = lambda request: request,
) -> Work:
    """Do the unfinished work of a plan, beside any number of other workers.

    Workers begin at different parts. Each takes work that no other worker has locked: on its first
    pass free work only, on the second also work that others leave undone.

    Args:
        plan: The plan.
        only: The one stage to do; None for all.
        listen: Told of notes and progress.
        place: Sets into each request the devices to run on.

    Raises:
        CheckError: If data has changed since the plan was made.
        BenchError: If data is not available.
    """
    done = Work()
    if only in (None, "generate"):
        _build(plan, done, listen)
    if only == "generate":
        return done
    parts = list(plan.parts)
    first = _beginning(len(parts))
    parts = parts[first:] + parts[:first]
    opened = Opened()
    for wait in (False, True):
        unfinished = []
        for part in parts:
            request = place(Request(**part.options))
            if not _work_on(plan, part, request, done, only, opened, listen, wait=wait):
                unfinished.append(part)
            opened.tasks.clear()  # the features of all data together may be more than memory
            opened.draws.clear()
        parts = unfinished
    return done


def _beginning(parts: int) -> int:
    """The part with which this worker begins: a different one for most workers."""
    name = f"{platform.node()} {os.getpid()}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % parts if parts else 0


def _build(plan: PlanFile, done: Work, listen: Listener) -> None:
    """Build the missing support sets."""
    for options in plan.builds:
        request = Build(**options)
        try:
            if outstanding(request).images and build(request, listen).fresh:
                done.built += 1
        except OptionError:
            raise
        except BenchError as error:  # only the cells that look at it are lost
            listen(Note(f"{request.dataset}: {error}", "warning"))


def _work_on(
    plan: PlanFile,
    part: Part,
    request: Request,
    done: Work,
    only: Stage | None,
    opened: Opened,
    listen: Listener,
    *,
    wait: bool,
) -> bool:
    """Encode and measure the cells of one part.

    Returns:
        Whether no cell is left for which another worker holds the lock.
    """
    out = Path(plan.out)
    wanted = {cell.input_sha256 for cell in part.cells}
    existing = sum((out / cell.record).exists() for cell in part.cells)
    if part.cells and existing == len(part.cells):
        done.skipped += 0 if wait else existing
        return True
    if only == "encode" and part.cells and not part.encodings:
        return True
    try:
        planned = plan_suite([request], (), listen, opened=opened, fetch=True)
    except UNAVAILABLE as error:
        done.lost.append(Lost(_data(request), request.encoder or "", "", error=error))
        return True
    if planned.waiting:
        if only is None:
            planned = complete(planned, listen)
        else:
            done.wait(f"{part.after or planned.waiting[0].build.folder} is not built", 0)
            return True
    cells = [c for c in planned.cells if c.input_sha256 in wanted or part.after]
    if missing := wanted - {cell.input_sha256 for cell in cells}:
        raise CheckError(
            f"{counted(len(missing), 'cell')} of {len(wanted)} on {_data(request)} cannot be found "
            "again: data, prompts, methods or weights have changed since the plan was made. "
            "Make it again, with `susx-bench plan`."
        )
    if only in ("encode", "measure"):
        cells = _prepared(cells, only, request, done, listen)
    if only == "encode" or not cells:
        return True
    outcomes = run(cells, out, request.launch, listen, keep_going=True, wait=wait)
    done.outcomes += outcomes
    return len(outcomes) == len(cells)


def _data(request: Request) -> str:
    return str(request.features or ", ".join(request.dataset or ("the demo",)))


def _prepared(
    cells: Sequence[Cell], only: Stage, request: Request, done: Work, listen: Listener
) -> list[Cell]:
    """Encode the features of cells, or return the cells with no feature left to encode."""
    ready = []
    for task in dict.fromkeys(cell.task for cell in cells):
        task_cells = [cell for cell in cells if cell.task is task]
        needed = [cell for cell in task_cells if not unmet_need(cell)]
        missing = sum(task.missing(need_of(needed)).values()) if needed else 0
        if only == "encode":
            if missing:
                encode(task, needed, request.launch, listen)
                done.encoded += missing
        elif missing:
            done.wait(f"{task.called} {task.encoder} is not encoded", len(task_cells))
        else:
            ready += task_cells
    return ready
