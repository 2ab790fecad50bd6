"""Columns of labels: which may be meant, and what in them is no label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

_WORD = re.compile(
    r"(?:.*[^a-z])?(?:super|sub)?(?:label|class|cls|category|target|species|genus|breed|variant)"
    r"(?:e?s|ies)?(?:[^a-z].*)?",
    re.IGNORECASE,
)
"""What a column of labels is called: ``fine_label``, ``species``, ``label-coarse``."""


_NONE = re.compile(r"NaN|nan|null|NULL|None|<NA>|#?N/A|n/a|\[.*\]|\{.*\}", re.DOTALL)
"""A missing label, or several, where a program has written them as text."""


def no_label(labels: Iterable[str]) -> str:
    """The first of some texts that is a missing label or a list of several; empty where none is."""
    return next((label for label in labels if _NONE.fullmatch(label)), "")


def joined(labels: Collection[str], where: str) -> list[str]:
    """A line where texts look like several labels in one, as ``cat|dog``.

    They do where they have a mark between parts, and each part is in two of them or more.

    Args:
        labels: All labels, each once.
        where: The table, for messages.
    """
    for mark in "|;,":
        parts = {each: [one.strip() for one in each.split(mark)] for each in labels}
        several = [each for each, pieces in parts.items() if len(pieces) > 1 and all(pieces)]
        count = Counter(piece for pieces in parts.values() for piece in set(pieces))
        if len(several) > 1 and all(count[piece] > 1 for each in several for piece in parts[each]):
            return [
                f"{len(several)} labels of {where} look like several in one, such as "
                f"'{min(several)}': each is a class of its own here, and every image has one class"
            ]
    return []


def other_labels(
    taken: str,
    own: Sequence[Hashable],
    columns: Sequence[str],
    values: Callable[[str], Sequence[Hashable]],
) -> list[str]:
    """A line for each column that groups the images otherwise than the one that is taken.

    One that calls the same classes something else, such as ``label_name``, is none of them.

    Args:
        taken: The column that the labels are read from.
        own: What the rows have in it.
        columns: The other columns of the table.
        values: What the rows have in one of these; raises `ValueError` where it is no label.
    """
    lines = []
    for name in columns:
        if not _WORD.fullmatch(name):
            continue
        try:
            theirs = values(name)
        except (OSError, ValueError):  # no labels: several for one image, or fractions
            continue
        count = len(set(theirs) - {None, ""})
        if count > 1 and not len({*zip(own, theirs, strict=True)}) == len(set(own)) == count:
            lines.append(
                f"labels are read from the column '{taken}' ({len(set(own))} classes), and "
                f"'{name}' has others ({count}): say which are meant, --label-column {taken} or "
                f"--label-column {name}"
            )
    return lines
