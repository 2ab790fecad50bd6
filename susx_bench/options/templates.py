"""The user's own templates in place of a kind of prompts."""

from __future__ import annotations

from pathlib import Path

from susx_bench.errors import OptionError
from susx_bench.records.text import read_lines

_BETWEEN = "|"
"""Separator between templates."""


def templates_in(kind: str) -> tuple[str, ...]:
    """Split templates that are given in place of a kind's name, with ``|`` between them.

    Args:
        kind: Such as ``single``, ``a sketch of a {}.``, or ``a photo of a {}. | art of a {}.``.

    Returns:
        Texts with one ``{}`` each for the class name; none if `kind` is the name of a kind.

    Raises:
        OptionError: If a template has no ``{}``, or several.
    """
    if "{" not in kind and "}" not in kind:
        return ()
    templates = tuple(part.strip() for part in kind.split(_BETWEEN))
    for template in templates:
        fixed = template.replace("{}", "", 1)
        if fixed == template or "{" in fixed or "}" in fixed:
            raise OptionError(
                f"--prompts '{template}': a template has one {{}}, where the class name stands."
            )
    return templates


def read_templates(path: Path) -> str:
    """Read a file of templates, one per line, and join them into one value of ``--prompts``.

    Raises:
        OptionError: If the file cannot be read, or a line is no template.
    """
    try:
        lines = read_lines(path)
    except (OSError, ValueError) as error:
        raise OptionError(f"--templates {path}: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if _BETWEEN in line or "{}" not in line:
            raise OptionError(
                f"--templates {path}: line {number} is '{line[:60]}'; a template has one {{}} for "
                f"the class name, and no '{_BETWEEN}'."
            )
    if not lines:
        raise OptionError(f"--templates {path}: it has no line.")
    kind = f" {_BETWEEN} ".join(lines)
    templates_in(kind)
    return kind
