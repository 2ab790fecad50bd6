"""Describe the work of a run in numbers, for a dry run. Nothing is built, encoded or written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.errors import OutputError
from susx_bench.events import Listener, ignore
from susx_bench.features.launch import Launch
from susx_bench.features.task import Task
from susx_bench.runner.cell import Cell
from susx_bench.runner.outcome import Outcome, settled_outcomes
from susx_bench.runner.plan import PURE, Part, Plan, Waiting
from susx_bench.runner.prepare import need_of
from susx_bench.support.build import Outstanding

FLOAT = 4
"""Bytes per number in a stored feature."""
RECORD = 8_000
"""Approximate bytes of a record; it grows with the number of classes."""
ANSWER = 6
"""Bytes of the prediction for one test image: its class, margin and probability."""


@dataclass(frozen=True)
class Encoding:
    """The missing features of one dataset under one encoder.

    Attributes:
        dataset: The dataset, as it was requested.
        encoder: The encoder.
        images: Number of images to encode, their views included.
        prompts: Number of prompts to encode.
        width: Numbers per feature; None if unknown.
    """

    dataset: str
    encoder: str
    images: int
    prompts: int
    width: int | None

    @property
    def bytes(self) -> int:
        """Their size in the feature cache, without patches; 0 if the width is unknown."""
        return (self.images + self.prompts) * (self.width or 0) * FLOAT


@dataclass(frozen=True)
class Outlook:
    """The work of a run.

    Attributes:
        cells: Its cells.
        settled: Outcomes of the cells with nothing to do, by their place: a record, or a reason.
        encodings: The features to encode.
        builds: The support sets to build.
        waiting: Requests whose cells are known only after building.
        lost: The data whose cells cannot be listed.
    """

    cells: Sequence[Cell]
    settled: dict[int, Outcome]
    encodings: Sequence[Encoding]
    builds: Sequence[Outstanding]
    waiting: Sequence[Waiting]
    lost: Sequence[Part]

    @property
    def todo(self) -> list[Cell]:
        """The cells that would be measured."""
        return [cell for i, cell in enumerate(self.cells) if i not in self.settled]

    @property
    def refused(self) -> list[Part]:
        """The part of `lost` that a run would refuse too; it would download the rest."""
        return [part for part in self.lost if PURE not in str(part.error)]

    @property
    def bytes(self) -> int:
        """Approximate bytes to write, without images of support sets and patch features."""
        records = sum(RECORD + ANSWER * cell.task.test_size for cell in self.todo)
        return records + sum(encoding.bytes for encoding in self.encodings)


def look_ahead(
    planned: Plan,
    cells: Sequence[Cell],
    out: Path,
    listen: Listener = ignore,
    *,
    force: bool = False,
    keep_search: bool = False,
) -> Outlook:
    """Describe the work of a run.

    Args:
        planned: The plan.
        cells: The cells of the plan that this process would measure.
        out: Folder of the records.
        listen: Told of damaged records.
        force: As in `run`.
        keep_search: As in `run`.
    """
    existing = settled_outcomes(cells, out, listen, force=force, keep_search=keep_search)
    todo = [cell for i, cell in enumerate(cells) if i not in existing]
    return Outlook(
        cells,
        existing,
        _encodings(todo),
        [build for build in planned.builds if build.images],
        planned.waiting,
        [part for part in planned.parts if part.error],
    )


def check_place(out: Path, launch: Launch) -> None:
    """Check devices and the output folder, as a run does before its first cell.

    Raises:
        OptionError: If the machine has no such devices.
        OutputError: If records cannot be written into the folder.
    """
    if launch.processes > 1 or launch.accelerator != "auto":
        from susx_bench.features.predict import trainer  # Lightning, which most plans do not need

        trainer(launch)
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        why = "is no folder" if not nearest.is_dir() else "may not be written to"
        raise OutputError(f"{out} cannot be written: {nearest} {why}. Give another folder.")


def _encodings(cells: Sequence[Cell]) -> list[Encoding]:
    """The features that cells need and the store lacks, by dataset and encoder."""
    by_task: dict[Task, list[Cell]] = {}
    for cell in cells:
        by_task.setdefault(cell.task, []).append(cell)
    lists: dict[tuple[str, str, int | None], dict[tuple[str, str], int]] = {}
    for task, task_cells in by_task.items():
        # A list that several tasks look at is encoded once.
        of_both = lists.setdefault((task.called, task.encoder, task.width), {})
        of_both.update(task.lacking(need_of(task_cells)))
    encodings = []
    for (dataset, encoder, width), rows in lists.items():
        images = sum(count for (unit, _), count in rows.items() if unit == "images")
        prompts = sum(rows.values()) - images
        if rows:
            encodings.append(Encoding(dataset, encoder, images, prompts, width))
    return encodings
