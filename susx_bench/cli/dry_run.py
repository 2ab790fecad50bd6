"""``susx-bench run --dry-run``: print the work of a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table

from susx_bench.console import counted, own_rank, print_whole, stdout
from susx_bench.records.files import canonical_json
from susx_bench.runner.plan import lost_lines

if TYPE_CHECKING:
    from susx_bench.runner.cell import Cell
    from susx_bench.runner.outlook import Outlook
    from susx_bench.runner.request import Request

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def print_outlook(outlook: Outlook, out: Path) -> None:
    """Print the work of a run: cells to measure, features to encode, sets to build, and bytes."""
    console = stdout()
    if outlook.cells:
        print_whole(console, _table(outlook))
    for encoding in outlook.encodings:
        images = f"{counted(encoding.images, 'image')} and " if encoding.images else ""
        console.print(
            f"would encode {images}{counted(encoding.prompts, 'prompt')} of {encoding.dataset} "
            f"with {encoding.encoder}"
        )
    for build in outlook.builds:
        console.print(f"would build {build.folder}: {counted(build.images, 'image')}")
    for wait in outlook.waiting:
        console.print(f"{_title(wait.request)}: its cells are known after building")
    for line in lost_lines(outlook.lost):
        console.print(f"cannot be listed: {line}")
    reasons = (outcome.reason for outcome in outlook.settled.values() if outcome.reason)
    for reason in dict.fromkeys(reasons):
        console.print(f"would be left blank: {reason}")
    total, todo = counted(len(outlook.cells), "cell"), len(outlook.todo)
    size = f"; about {_size(outlook.bytes)}" if outlook.bytes else ""
    more = " and those known after building" if outlook.waiting else ""
    if len(outlook.lost) > len(outlook.refused):
        more += " and those known after downloading"
    console.print(f"would measure {todo:,} of {total}{more}{size}: {out}")


def print_outlook_json(outlook: Outlook, paths: list[Path]) -> None:
    """Print it for programs: one line per cell, then one line per request with unknown cells.

    Args:
        outlook: The work of the run.
        paths: Paths of the records of its cells, existing or not.
    """
    if own_rank() != 0:
        return
    for i, (cell, path) in enumerate(zip(outlook.cells, paths, strict=True)):
        outcome = outlook.settled.get(i)
        line = {
            name: cell.inputs[name]
            for name in ("method", "dataset", "encoder", "setting", "prompts", "support")
        } | {"shots": cell.shots, "seed": cell.seed, "tune": cell.tune, "official": cell.official}
        line |= {
            "input_sha256": cell.input_sha256,
            "record": str(path),
            "todo": outcome is None,
            "reason": outcome.reason if outcome else "",
        }
        click.echo(canonical_json(line).replace("\x7f", r"\u007f"))
    for wait in outlook.waiting:
        request, build = wait.request, wait.build
        line = {
            "method": [str(name) for name in request.method],
            "dataset": (request.dataset or ("",))[0],
            "after": "building",
            "folder": str(build.folder),
            "images": build.images,
        }
        click.echo(canonical_json(line).replace("\x7f", r"\u007f"))


def _table(outlook: Outlook) -> Table:
    """One row per kind of data: its methods, cells, and cells with a record."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, cell in enumerate(outlook.cells):
        groups.setdefault(_data(cell), []).append(i)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("dataset", "encoder", "setting", "prompts", "support", "methods"):
        table.add_column(name)
    for name in ("cells", "with a record", "left blank"):
        table.add_column(name, justify="right")
    for data, places in groups.items():
        methods = Counter(outlook.cells[i].method.name for i in places)
        existing = [outlook.settled[i] for i in places if i in outlook.settled]
        blank = sum(bool(outcome.reason) for outcome in existing)
        numbers = (len(places), len(existing) - blank, blank)
        table.add_row(*data, ", ".join(methods), *(f"{n:,}" for n in numbers))
    return table


def _data(cell: Cell) -> tuple[str, ...]:
    task = cell.task
    return task.called, task.encoder, cell.setting, task.prompts, task.support


def _title(request: Request) -> str:
    methods = ", ".join(str(name) for name in request.method)
    words: list[Any] = [methods, "on", (request.dataset or ("",))[0], request.setting]
    return " ".join(map(str, words))


def _size(count: float) -> str:
    """A number of bytes: ``12.3 MB``."""
    place = 0
    while count >= 1000 and place < len(_UNITS) - 1:
        count, place = count / 1000, place + 1
    return f"{count:.1f} {_UNITS[place]}" if place else f"{count:.0f} bytes"
