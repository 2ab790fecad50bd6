"""Label the columns of a leaderboard by their differences, and list their common properties."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from susx_bench.leaderboard.board import Group, Task
from susx_bench.options.run import RunOptions

PUBLISHED_SPLITS = frozenset({"susx", "susx-bench", "bundle"})
"""Split protocols without a mark: SuS-X's, the demo's own, and a bundle's."""

_OPTIONS = (
    *("dataset", "encoder", "precision", "setting", "support", "prompts"),
    *("draw", "views", "shots"),
)

WORDS = {
    **{name: RunOptions.declared()[name].words or "{}" for name in _OPTIONS},
    "also": "{}",
    "protocol": "split {}",
    "n_test": "n = {}",
    "data": "data {:.6}",
}
"""Formats for fields of `Task`; an option declares its own."""


def _varying(tasks: Sequence[Task]) -> list[str]:
    """Fields that distinguish tasks, without fields that follow from the dataset."""
    names = [name for name in WORDS if name not in ("dataset", "n_test", "data")]
    return [name for name in names if len({getattr(task, name) for task in tasks}) > 1]


def _describe(task: Task, names: Iterable[str]) -> str:
    words = []
    for name in names:
        value = getattr(task, name)
        if value in ("", "none") or (name in ("shots", "views") and not value):
            continue
        if name == "support" and task.setting == value:
            continue  # the few-shot setting's support is few-shot
        words.append(WORDS[name].format(value))
    return ", ".join(words)


def labels_of(tasks: Sequence[Task]) -> list[str]:
    """The shortest text that distinguishes each task from the others."""
    varying = _varying(tasks)
    several = len({task.dataset for task in tasks}) > 1
    names = varying if varying and not several else ["dataset", *varying]
    if len(tasks) == 1:
        names.append("shots")
    labels = [_describe(task, names) for task in tasks]
    if "" in labels:
        names = ["dataset", *varying]
        labels = [_describe(task, names) for task in tasks]
    for more in ("n_test", "data"):
        if len(set(labels)) < len(labels):
            labels = [_describe(task, [*names, more]) for task in tasks]
    return labels


def groups_of(tasks: Sequence[Task]) -> list[Group]:
    """Groups of columns to average over: they differ only in the dataset."""
    by_rest: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        by_rest[*task[:8], task.also].append(i)
    split: list[list[int]] = []
    for places in by_rest.values():
        if len({tasks[i].dataset for i in places}) == len(places):
            split.append(places)
            continue
        by_protocol = defaultdict(list)  # one dataset twice: an average per protocol
        for i in places:
            by_protocol[tasks[i].protocol].append(i)
        for of_protocol in by_protocol.values():
            distinct = len({tasks[i].dataset for i in of_protocol}) == len(of_protocol)
            split += [of_protocol] if distinct else [[i] for i in of_protocol]  # or none
    names = _varying([tasks[places[0]] for places in split])
    return [Group(_describe(tasks[places[0]], names), tuple(places)) for places in split]


def common_facts(tasks: Sequence[Task]) -> tuple[tuple[str, str], ...]:
    """Name and value of the properties that all tasks share."""
    facts = []
    for name in (
        "dataset",
        "encoder",
        "precision",
        "setting",
        "support",
        "prompts",
        "draw",
        "views",
        "shots",
        "also",
        "protocol",
    ):
        values = {getattr(task, name) for task in tasks}
        value = values.pop()
        if not values and value not in ("", "none", 0):
            facts.append((name, str(value)))
    return tuple(facts)


def split_mark(task: Task) -> str:
    """``§`` for a split of a registered dataset that is not the published one."""
    return "" if task.protocol in PUBLISHED_SPLITS else "§"
