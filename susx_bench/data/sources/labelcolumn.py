"""Columns of labels: report alternatives to the chosen one, and values that are no labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

_WORD = re.compile(
    r"(?:.*[^a-z])?(?:super|sub)?(?:label|class|cls|category|target|species|genus|breed|variant)"
    r"(?:e?s|ies)?(?:[^a-z].*)?",
    re.IGNORECASE,
)
"""Usual names of a column of labels: ``fine_label``, ``species``, ``label-coarse``."""


_NONE = re.compile(r"NaN|nan|null|NULL|None|<NA>|#?N/A|n/a|\[.*\]|\{.*\}", re.DOTALL)
"""A missing label, or several labels, that a program wrote as text."""


def no_label(labels: Iterable[str]) -> str:
    """The first text that is a missing label or a list of several; empty if none is."""
    return next((label for label in labels if _NONE.fullmatch(label)), "")


def joined(labels: Collection[str], where: str) -> list[str]:
    """A remark on texts that look like several labels in one, as ``cat|dog``, if there are any.

    These have a mark between parts, and each part occurs in at least two of them.

    Args:
        labels: Distinct labels.
        where: The table, for messages.
    """
    for mark in "|;,":
        parts = {label: [part.strip() for part in label.split(mark)] for label in labels}
        several = [label for label, pieces in parts.items() if len(pieces) > 1 and all(pieces)]
        count = Counter(piece for pieces in parts.values() for piece in set(pieces))
        if len(several) > 1 and all(
            count[piece] > 1 for label in several for piece in parts[label]
        ):
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
    """One line for each column that groups the images differently from the chosen one.

    A column with other names for the same classes, such as ``label_name``, is not reported.

    Args:
        taken: The column that the labels are read from.
        own: Its values.
        columns: The other columns of the table.
        values: Returns the values of such a column; raises `ValueError` if they are no labels.
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
