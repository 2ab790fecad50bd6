"""Leaderboards: a Markdown table that is a function of a suite's records, and of nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from susx_bench.errors import CheckError, RecordError
from susx_bench.records.record import Record
from susx_bench.report.table import accuracy, marks, rows, tuned_on
from susx_bench.runner.suite import Suite

SILENT = frozenset({"susx", "susx-bench", "bundle"})
"""Split protocols that go without saying; any other stands in the head of its column."""


def records_of(suite: Suite, folder: Path) -> list[Record]:
    """Read a suite's records, in the order of their paths.

    Raises:
        RecordError: If there are none, or one cannot be believed.
    """
    root = folder / "records" / suite.name
    records = [Record.read(path) for path in sorted(root.rglob("*.json"))]
    if not records:
        raise RecordError(
            f"no records in {root}. Run `susx-bench run --suite FILE --out {root}` first."
        )
    return records


class Task(NamedTuple):
    """What stands in one column."""

    dataset: str
    encoder: str
    protocol: str
    setting: str
    support: str
    shots: int
    n_test: int


def _task(record: Record) -> Task:
    return Task(*(getattr(record, name) for name in Task._fields))


def _head(task: Task) -> str:
    support = "" if task.setting == "few-shot" else f", {task.support}"
    split = "" if task.protocol in SILENT else f", {task.protocol}"
    return f"{task.dataset} {task.encoder}{support}, S = {task.shots} (n = {task.n_test}{split})"


def markdown(suite: Suite, records: Sequence[Record]) -> str:
    """The leaderboard's text: methods and tunings down, tasks across."""
    order = list(dict.fromkeys(method for run in suite.run for method in run.method))
    tasks = sorted(
        {_task(r) for r in records if r.support_images}, key=lambda t: (*t[:5], -t.shots)
    )
    head = [_head(task) for task in tasks]
    lines = [
        f"# {suite.title}",
        "",
        *([suite.text.strip(), ""] if suite.text else []),
        "| method | tuned on | " + " | ".join(head) + " |",
        "|---|---|" + "---|" * len(tasks),
    ]
    for row in rows(records, order):
        cells = []
        for task in tasks:
            here = [r for r in row.records if _task(r)[:4] == task[:4]]
            cells.append(accuracy([r for r in here if not r.support_images or _task(r) == task]))
        tuning = tuned_on(row.records[0], count=False)
        lines.append(f"| {row.method} | {tuning} | " + " | ".join(cells) + " |")
    lines += ["", "Top-1 accuracy in %; in brackets the 95 % Wilson interval of one run."]
    lines += [f"{mark}." for mark in marks(records)]
    lines.append(f"Made from {len(records)} records by `susx-bench leaderboard build`.")
    return "\n".join(lines) + "\n"


def build(suite: Suite, folder: Path) -> tuple[Path, str]:
    """Where the leaderboard lies, and what it says."""
    return folder / f"{suite.name}.md", markdown(suite, records_of(suite, folder))


def check(suite: Suite, folder: Path) -> None:
    """Compare the committed table with one built now.

    Raises:
        CheckError: If they differ; the message has the first line that does.
    """
    path, text = build(suite, folder)
    try:
        committed = path.read_text()
    except OSError as error:
        raise CheckError(f"{path} cannot be read: {error.strerror}.") from error
    if committed == text:
        return
    changed = [
        line for line in difflib.ndiff(committed.splitlines(), text.splitlines()) if line[0] in "+-"
    ]
    raise CheckError(
        f"{path} is not what its records give, first at: {changed[0] if changed else ''}"
    )
