"""What a run would do: the plan of a dry run, in numbers. Nothing is built, encoded or written."""

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
from susx_bench.runner.plan import PURE, Part, Plan, Waiting
from susx_bench.runner.prepare import need_of
from susx_bench.runner.run import Outcome, there_already
from susx_bench.support.build import Outstanding

FLOAT = 4
"""Bytes of a number in a stored feature."""
RECORD = 8_000
"""Bytes of a record, about; it grows with the number of classes."""
ANSWER = 6
"""Bytes of the answer to one test image: its class, its margin and its probability."""


@dataclass(frozen=True)
class Encoding:
    """What is to be encoded of one dataset by one encoder.

    Attributes:
        dataset: The dataset, as it was asked for.
        encoder: The encoder.
        images: Images, and views of them.
        prompts: Prompts.
        width: Numbers in a feature; None where nobody knows.
    """

    dataset: str
    encoder: str
    images: int
    prompts: int
    width: int | None

    @property
    def bytes(self) -> int:
        """What that takes in the feature cache; patches and an unknown width are not counted."""
        return (self.images + self.prompts) * (self.width or 0) * FLOAT


@dataclass(frozen=True)
class Outlook:
    """What a run would do.

    Attributes:
        cells: Its cells.
        there: Those with nothing to do, by their place: with a record, or with a reason.
        encodings: What is to be encoded.
        builds: The support sets to be built.
        waiting: Requests whose cells are known after building.
        lost: The data whose cells cannot be listed.
    """

    cells: Sequence[Cell]
    there: dict[int, Outcome]
    encodings: Sequence[Encoding]
    builds: Sequence[Outstanding]
    waiting: Sequence[Waiting]
    lost: Sequence[Part]

    @property
    def todo(self) -> list[Cell]:
        """The cells that would be measured."""
        return [cell for i, cell in enumerate(self.cells) if i not in self.there]

    @property
    def refused(self) -> list[Part]:
        """Of `lost` what a run refuses too; the rest it would download."""
        return [part for part in self.lost if PURE not in str(part.error)]

    @property
    def bytes(self) -> int:
        """About what it would write, without images of support sets and patch features."""
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
    """Tell what a run would do.

    Args:
        planned: The plan.
        cells: Those of its cells that this process would measure.
        out: Folder of the records.
        listen: Told of records that are damaged.
        force: As in `run`, like the next one.
        keep_search: See above.
    """
    there = there_already(cells, out, listen, force=force, keep_search=keep_search)
    todo = [cell for i, cell in enumerate(cells) if i not in there]
    return Outlook(
        cells,
        there,
        _encodings(todo),
        [build for build in planned.builds if build.images],
        planned.waiting,
        [part for part in planned.parts if part.error],
    )


def check_place(out: Path, launch: Launch) -> None:
    """Refuse what a run refuses before its first cell: devices, and a folder to write to.

    Raises:
        OptionError: If the machine has no such devices.
        OutputError: If records cannot be written into the folder.
    """
    if launch.processes > 1 or launch.accelerator != "auto":
        from susx_bench.features.predict import trainer  # Lightning, which no usual plan needs

        trainer(launch)
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        why = "is no folder" if not nearest.is_dir() else "may not be written to"
        raise OutputError(f"{out} cannot be written: {nearest} {why}. Give another folder.")


def _encodings(cells: Sequence[Cell]) -> list[Encoding]:
    """What cells need that the store does not have, by dataset and encoder."""
    by_task: dict[Task, list[Cell]] = {}
    for cell in cells:
        by_task.setdefault(cell.task, []).append(cell)
    lists: dict[tuple[str, str, int | None], dict[tuple[str, str], int]] = {}
    for task, mine in by_task.items():
        # A list that several tasks look at is encoded once.
        of_both = lists.setdefault((task.called, task.encoder, task.width), {})
        of_both.update(task.lacking(need_of(mine)))
    found = []
    for (dataset, encoder, width), rows in lists.items():
        images = sum(count for (unit, _), count in rows.items() if unit == "images")
        prompts = sum(rows.values()) - images
        if rows:
            found.append(Encoding(dataset, encoder, images, prompts, width))
    return found
