"""Turn cells into records: existing records stay, missing ones are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.features.launch import Launch
from susx_bench.features.task import Task
from susx_bench.ranks import starts_others
from susx_bench.records.failures import clear_failure, write_failure
from susx_bench.records.files import make_folder
from susx_bench.records.store import folder_name
from susx_bench.runner.cell import Cell
from susx_bench.runner.outcome import (
    Outcome,
    Pairs,
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

    Before the first launch every rank decides from the same files which cells are missing, so that
    all ranks make the same predictions together; on CPUs they only encode together. Only rank 0
    writes. A record is written whole or not at all, so that a killed run loses at most its current
    cell. Several runs may share one folder: each measures cells that no other run is measuring.

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
    outcomes = settled_outcomes(cells, out, listen, force=force, keep_search=keep_search)
    todo = [i for i in range(len(cells)) if i not in outcomes]
    if todo and launch.accelerator != "auto":
        from susx_bench.features.predict import trainer  # Lightning, which takes seconds to import

        trainer(launch)  # refuses a missing device before anything is encoded
    if launch.is_main:
        if todo:
            make_folder(out)
        for i in outcomes:
            clear_failure(paths[i])
    places: dict[Task, list[int]] = {}
    for i in todo:
        places.setdefault(cells[i].task, []).append(i)
    tasks = [[(cells[i], paths[i]) for i in of_task] for of_task in places.values()]
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
        if tasks and launch.processes > 1 and launch.on_cpu:
            done = _by_one(worker, tasks, listen)
        else:
            done = [worker.measure_all(pairs) for pairs in tasks]
    for of_task, measured in zip(places.values(), done, strict=True):
        outcomes |= {of_task[number]: outcome for number, outcome in measured.items()}
    return [outcomes[i] for i in range(len(cells)) if i in outcomes]


def _by_one(worker: Worker, tasks: Sequence[Pairs], listen: Listener) -> list[dict[int, Outcome]]:
    """Encode with all processes; then the first one measures alone, and the others wait for it.

    Together, every process would choose all hyper-parameters by itself, on the same cores. One
    process, with a thread on each core, is done sooner.

    Args:
        worker: Of this process.
        tasks: The cells of each task.
        listen: Told of progress, and that one process is enough.

    Returns:
        What `Worker.measure_all` returns of each task, on every rank.
    """
    launch, threads = worker.launch, torch.get_num_threads()
    if not all(
        pairs[0][0].task.is_encoded(need_of([cell for cell, _ in pairs])) for pairs in tasks
    ):
        for pairs in tasks:
            worker.encode(pairs)
    elif starts_others(launch.devices, launch.num_nodes):
        listen(Note(f"--devices {launch.devices}: {_ONE}"))

    def measured() -> list[dict[int, Outcome]]:
        torch.set_num_threads(threads)  # Lightning has left this process its part of them
        worker.launch = replace(launch, devices=1, num_nodes=1)
        return [worker.measure_all(pairs) for pairs in tasks]

    if starts_others(launch.devices, launch.num_nodes):
        return measured()  # none was needed

    from susx_bench.features.predict import from_first

    mine: list[dict[int, Outcome]] = []

    def text() -> str:
        mine.extend(measured())
        return as_json(mine)

    told = from_first(launch, text)
    return mine or from_json(told, tasks)


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
