"""Columns of a table that may hold the labels beside the one that is taken for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

_WORD = re.compile(
    r"(?:.*[^a-z])?(?:super|sub)?(?:label|class|cls|category|target|species|genus|breed|variant)"
    r"(?:e?s|ies)?(?:[^a-z].*)?",
    re.IGNORECASE,
)
"""What a column of labels is called: ``fine_label``, ``species``, ``label-coarse``."""


def other_labels(
    taken: str, columns: Sequence[str], values: Callable[[str], Sequence[Hashable]]
) -> list[str]:
    """A line for each column that groups the images otherwise than the one that is taken.

    One that calls the same classes something else, such as ``label_name``, is none of them.

    Args:
        taken: The column that the labels are read from.
        columns: All columns of the table.
        values: What the rows have in a column.

    Raises:
        OSError: If the column that is taken cannot be read.
        ValueError: If it holds no labels.
    """
    lines = []
    own = values(taken)
    for name in columns:
        if name == taken or not _WORD.fullmatch(name):
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
