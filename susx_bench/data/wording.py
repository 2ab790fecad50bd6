"""Report class names that do not suit a prompt; they are never changed."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 3
_KINDS = (
    (re.compile(r"n\d{8}"), "WordNet ids", "which say nothing in a prompt"),
    (re.compile(r"\d+"), "numbers", "which say nothing in a prompt"),
    (re.compile(r"\d+[\W_]+\D.*"), "names that begin with a number", "which the prompt repeats"),
    (re.compile(r".*\D[\W_]*\d+"), "names that end in a number", "which the prompt repeats"),
    (re.compile(r"[A-Z]?[a-z]+([A-Z][a-z]+)+"), "words without spaces", "which a text encoder "
     "reads as one"),
)  # fmt: skip


def wording_hints(names: Sequence[str]) -> list[str]:
    """Report odd class names, one line per kind; empty if there are none.

    Args:
        names: Class names of the data or of the user.
    """
    lines = []
    left = list(names)
    for pattern, kind, why in _KINDS:
        odd = [name for name in left if pattern.fullmatch(name)]
        left = [name for name in left if name not in odd]
        if odd:
            examples = ", ".join(odd[:_SHOWN]) + (", ..." if len(odd) > _SHOWN else "")
            count = "" if len(odd) == len(names) else f"{len(odd)} of "
            lines.append(
                f"{count}its {len(names)} classes are called by {kind} ({examples}), {why}; "
                "give their names with --classnames FILE"
            )
    if spaced := [name for name in names if "_" in name.strip("_")]:
        lines.append(
            f"underscores in class names are read as spaces: '{spaced[0]}' is "
            f"'{spaced[0].replace('_', ' ')}' in a prompt"
        )
    return lines
