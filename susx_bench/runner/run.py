"""Turn cells into records: existing records stay, missing ones are measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from susx_bench.console import counted
from susx_bench.errors import CheckError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.features.first import from_first
from susx_bench.features.launch import Launch
from susx_bench.features.task import Task
from susx_bench.ranks import starts_others
from susx_bench.records.failures import clear_failure, write_failure
from susx_bench.records.files import make_folder
from susx_bench.records.store import folder_name
from susx_bench.runner.cell import Cell
from susx_bench.runner.outcome import (
    Outcome,
    as_json,
    from_json,
    path_of,
    settled_outcomes,
)
from susx_bench.runner.plan import Part
from susx_bench.runner.prepare import need_of
from susx_bench.runner.worker import Worker

_ONE = (
    "nothing is left to encode, and one process, with a thread on each core, measures faster on "
    "this machine's CPUs than several do: one is started."
)


def run(
    cells: Sequence[Cell],
    out: Path,
    launch: Launch,
    listen: Listener = ignore,
    *,
    force: bool = False,
    keep_search: bool = False,
    keep_going: bool = False,
    wait: bool = True,
) -> list[Outcome]:
    """Measure the cells that have no record yet.

    Rank 0 says which cells are missing, because another run may have changed the files before the
    others look at them. All ranks make the same predictions together; on CPUs they only encode
    together. Only rank 0 writes. A record is written whole or not at all, so that a killed run
    loses at most its current cell. Several runs may share one folder: each measures cells that no
    other run is measuring.

    Args:
        cells: The cells.
        out: Folder of the records.
        launch: The devices to predict on.
        listen: Told of notes and progress.
        force: Measure also cells with a record.
        keep_search: Keep the accuracy of every searched setting, for a heat map.
        keep_going: Mark a cell that fails and go on with the next one; else its error is raised.
        wait: Wait for cells that another run is measuring; else they are left out.

    Returns:
        One outcome per cell, in the order of `cells`.
    """
    paths = [path_of(cell, out) for cell in cells]
    settle = partial(settled_outcomes, cells, out, listen, force=force, keep_search=keep_search)
    outcomes, todo = _settled(cells, settle, launch)
    if todo and launch.accelerator != "auto":
        from susx_bench.features.predict import trainer  # Lightning, which takes seconds to import

        trainer(launch)  # refuses a missing device before anything is encoded
    if launch.is_main:
        if todo:
            make_folder(out)
        for i in outcomes:
            clear_failure(paths[i])
    with Job(listen, "cells", "cells", len(cells), len(outcomes)) as job:
        worker = Worker(
            job,
            launch,
            listen,
            force=force,
            keep_search=keep_search,
            keep_going=keep_going,
            wait=wait,
        )
        if launch.processes > 1 and launch.on_cpu:
            outcomes |= _by_one(worker, cells, paths, todo, listen)
        else:
            for places in _by_task(cells, todo):
                done = worker.measure_all([(cells[i], paths[i]) for i in places])
                outcomes |= {places[place]: outcome for place, outcome in done.items()}
    return [outcomes[i] for i in range(len(cells)) if i in outcomes]


def _settled(
    cells: Sequence[Cell], settle: Callable[[], dict[int, Outcome]], launch: Launch
) -> tuple[dict[int, Outcome], list[int]]:
    """Outcomes of the cells with nothing to do, and the places of those to measure.

    Rank 0 says which these are. The others look after it, and find whatever it has found.

    Raises:
        CheckError: If rank 0 has cells that this process has not.
    """
    outcomes: dict[int, Outcome] = {}

    def missing() -> str:
        outcomes.update(settle())
        return json.dumps([c.input_sha256 for i, c in enumerate(cells) if i not in outcomes])

    hashes = set(json.loads(from_first(launch, "cells to measure", missing)))
    if not launch.is_main:
        outcomes.update(settle())
    if unknown := hashes - {cell.input_sha256 for cell in cells}:
        raise CheckError(
            f"{counted(len(unknown), 'cell')} of rank 0 cannot be found by another process: data, "
            "prompts, methods and weights must be the same for all of them."
        )
    return outcomes, [i for i, cell in enumerate(cells) if cell.input_sha256 in hashes]


def _by_task(cells: Sequence[Cell], todo: Sequence[int]) -> list[list[int]]:
    """The places of some cells, those of each task together."""
    places: dict[Task, list[int]] = {}
    for i in todo:
        places.setdefault(cells[i].task, []).append(i)
    return list(places.values())


def _by_one(
    worker: Worker,
    cells: Sequence[Cell],
    paths: Sequence[Path],
    todo: Sequence[int],
    listen: Listener,
) -> dict[int, Outcome]:
    """Encode with all processes; then the first one measures alone, and the others wait for it.

    Together, every process would choose all hyper-parameters by itself, on the same cores. One
    process, with a thread on each core, is done sooner.

    Args:
        worker: Of this process.
        cells: The cells of the run.
        paths: Paths of their records.
        todo: Places of those to measure.
        listen: Told of progress, and that one process is enough.

    Returns:
        The outcomes by the cells' places, the same on every rank, without cells that another run is
        measuring.
    """
    launch, threads = worker.launch, torch.get_num_threads()
    tasks, mine = _by_task(cells, todo), dict[int, Outcome]()

    def to_encode() -> str:
        needs = [(cells[some[0]].task, need_of([cells[i] for i in some])) for some in tasks]
        return json.dumps(not all(task.is_encoded(need) for task, need in needs))

    def measured() -> str:
        torch.set_num_threads(threads)  # Lightning has left this process its part of them
        worker.launch = replace(launch, devices=1, num_nodes=1)
        for of_task in tasks:
            done = worker.measure_all([(cells[i], paths[i]) for i in of_task])
            mine.update({of_task[place]: outcome for place, outcome in done.items()})
        return as_json(mine.values())

    if json.loads(from_first(launch, "whether to encode", to_encode)):
        for of_task in tasks:
            worker.encode([(cells[i], paths[i]) for i in of_task])
    elif todo and starts_others(launch.devices, launch.num_nodes):
        listen(Note(f"--devices {launch.devices}: {_ONE}"))
    told = from_first(launch, "outcomes", measured)
    return mine if launch.is_main else from_json(told, cells, paths)


def mark_parts(parts: Sequence[Part], out: Path, launch: Launch) -> list[Part]:
    """Mark the missing data of a suite, under the name ``cells``.

    Args:
        parts: The suite's data; marks of available data are removed.
        out: Folder of the records.
        launch: The devices of the run; only rank 0 writes.

    Returns:
        The missing parts.
    """
    lost = []
    for part in parts:
        folder = out / folder_name(part.dataset) / folder_name(part.encoder)
        path = folder / f"cells-{part.sha256[:12]}.json"
        if part.error is None:
            if launch.is_main:
                clear_failure(path)
            continue
        lost.append(part)
        if launch.is_main:
            facts = {"dataset": part.dataset, "encoder": part.encoder}
            write_failure(path, facts, part.error, part.lost)
    return lost
