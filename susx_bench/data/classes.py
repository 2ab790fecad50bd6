"""Whose label is whose: the names a copy uses, as a checked bijection onto the canonical ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import DatasetError

_SHOWN = 5  # names in a message


def squash(name: str) -> str:
    """A class name without case, punctuation and leading ``001.``, as ``faceseasy``."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^\d+\.(?=\D)", "", name.casefold()))


def words(name: str) -> tuple[str, ...]:
    """The words of a class name in no order, which finds a car's year wherever it stands.

    The letter that SUN397's paths begin with, as in ``/a/apse/indoor``, is not a word.
    """
    return tuple(sorted(re.findall(r"[a-z0-9]+", re.sub(r"^/[a-z]/", "", name.casefold()))))


def match(names: Sequence[str], spec: DatasetSpec, where: str) -> list[int | None]:
    """Find the canonical label of every class of a copy.

    A name is known by its letters and digits, by an alias of the facts, or by its words in any
    order. No label is ever believed for its position.

    Args:
        names: The copy's class names, in its own order.
        spec: The facts.
        where: Where the names were found, for messages.

    Returns:
        For each name its canonical label, or None for a class the protocol drops.

    Raises:
        DatasetError: If a name is unknown or not told apart from another, or a class is missing.
    """
    known = _spellings(spec)
    dropped = {squash(name) for name in spec.dropped}
    if spec.numbered and sorted(names) == sorted(str(i + 1) for i in range(len(spec.classnames))):
        return [int(name) - 1 for name in names]
    labels: list[int | None] = []
    unknown = []
    for name in names:
        label = known.get(squash(name), known.get(words(name)))
        if label is None and squash(name) not in dropped:
            unknown.append(name)
        labels.append(label)
    found = [label for label in labels if label is not None]
    missing = [name for i, name in enumerate(spec.classnames) if i not in found]
    twice = [name for i, name in enumerate(spec.classnames) if found.count(i) > 1]
    for what, which in (
        ("classes that are none of its", unknown),
        ("not all classes, without", missing),
        ("several classes for", twice),
    ):
        if which:
            more = f" and {len(which) - _SHOWN} more" if len(which) > _SHOWN else ""
            shown = ", ".join(f"'{name}'" for name in which[:_SHOWN])
            raise DatasetError(
                f"{spec.name}: {where} has {len(names)} class names, the dataset has "
                f"{len(spec.classnames)}; among them are {what} {shown}{more}. Labels are never "
                "believed by their position: give a copy with the dataset's own class names."
            )
    return labels


def _spellings(spec: DatasetSpec) -> dict[str | tuple[str, ...], int]:
    """Every spelling that means one class and no other."""
    known: dict[str | tuple[str, ...], int] = {}
    unclear = set()
    exact = [(squash(name), label) for label, name in enumerate(spec.classnames)]
    exact += [
        (squash(alias), spec.classnames.index(name))
        for name, aliases in spec.aliases.items()
        for alias in aliases
    ]
    for key, label in exact:
        if known.setdefault(key, label) != label:
            unclear.add(key)
    loose = [(words(name), label) for label, name in enumerate(spec.classnames)]
    for bag, label in loose:
        if known.setdefault(bag, label) != label:
            unclear.add(bag)  # type: ignore[arg-type]
    return {key: label for key, label in known.items() if key not in unclear}
