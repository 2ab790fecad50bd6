"""Whose label is whose: the names a copy uses, as a checked bijection onto the canonical ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from susx_bench.data.spec import DatasetSpec, Split
from susx_bench.errors import DatasetError

_SHOWN = 5  # names in a message


def _plain(name: str) -> str:
    """A class name as a folder or a file name may have it, else unchanged."""
    return unicodedata.normalize("NFC", name.replace("_", " "))


def _fold(name: str) -> str:
    """A class name without case, and with its accents set apart from their letters."""
    return unicodedata.normalize("NFKD", name).casefold()


def squash(name: str) -> str:
    """A class name without case, accents, punctuation and leading ``001.``: ``faceseasy``."""
    return re.sub(r"[\W_]", "", re.sub(r"^\d+\.(?=\D)", "", _fold(name)))


def words(name: str) -> tuple[str, ...]:
    """The words of a class name in no order, which finds a car's year wherever it stands.

    The letter that SUN397's paths begin with, as in ``/a/apse/indoor``, is not a word.
    """
    return tuple(sorted(re.findall(r"[^\W_]+", re.sub(r"^/[a-z]/", "", _fold(name)))))


def match(
    names: Sequence[str], spec: DatasetSpec, where: str, *, some: bool = False
) -> list[int | None]:
    """Find the canonical label of every class of a copy.

    A name is known as it stands, by its letters and digits, by an alias of the facts, or by its
    words in any order. No label is ever believed for its position.

    Args:
        names: The copy's class names, in its own order.
        spec: The facts.
        where: Where the names were found, for messages.
        some: Whether classes may be missing: a split need not have an image of every class.

    Returns:
        For each name its canonical label, or None for a class the protocol drops.

    Raises:
        DatasetError: If a name is unknown or not told apart from another, or a class is missing
            that may not be.
    """
    if spec.numbered and sorted(names) == sorted(str(i + 1) for i in range(len(spec.classnames))):
        return [int(name) - 1 for name in names]
    exact = {_plain(name): label for label, name in enumerate(spec.classnames)}
    known = _spellings(spec)
    dropped = {squash(name) for name in spec.dropped}
    labels: list[int | None] = []
    unknown: list[str] = []
    theirs: list[list[str]] = [[] for _ in spec.classnames]
    for name in names:
        label = exact.get(_plain(name), known.get(squash(name), known.get(words(name))))
        if label is not None:
            theirs[label].append(name)
        elif squash(name) not in dropped:
            unknown.append(name)
        labels.append(label)
    missing = [name for name, found in zip(spec.classnames, theirs, strict=True) if not found]
    several = [
        f"several classes for '{name}': {_quoted(found)}"
        for name, found in zip(spec.classnames, theirs, strict=True)
        if len(found) > 1
    ]
    wrong = [f"none of its: {_quoted(unknown)}"] if unknown else []
    wrong += [f"without {_quoted(missing)}"] if missing and not some else []
    wrong += several[:_SHOWN]
    if wrong:
        raise DatasetError(
            f"{spec.name}: {where} has {len(names)} class names, the dataset has "
            f"{len(spec.classnames)} ({'; '.join(wrong)}). Labels are never believed by their "
            "position: give a copy with the dataset's own class names."
        )
    return labels


def unite(names: Mapping[Split, Iterable[str]], where: str) -> tuple[list[str], list[str]]:
    """Make one list of classes from those of several splits, each of which may lack some.

    A class that two splits spell alike but for case, accents, a leading number, blanks, hyphens
    and underscores is one class, called as in the first of them.

    Args:
        names: The class names of each split.
        where: Where they were found, for messages.

    Returns:
        The names, sorted, whichever split lacks which; and a line for each second spelling.

    Raises:
        DatasetError: If it cannot be told whether two splits mean the same class.
    """
    known: dict[str, Split] = {}  # name to the split that has it first
    lines = []
    for split, theirs in names.items():
        own = set(theirs)
        for name in sorted(own - known.keys()):
            near = [k for k in known if k not in own and squash(k) == squash(name) != ""]
            alike = [other for other in near if _spelled(other) == _spelled(name)]
            if near and len(alike) != 1:
                raise DatasetError(
                    f"{where}: is '{name}' of {split} the class '{near[0]}' of {known[near[0]]}, "
                    "or another? Call a class the same in every split."
                )
            if alike:
                lines.append(f"'{name}' of {split} is the class '{alike[0]}' of {known[alike[0]]}")
            else:
                known[name] = split
    return sorted(known), lines


def _spelled(name: str) -> str:
    """A class name with what two spellings of one name usually differ in left out."""
    return re.sub(r"[\s_-]", "", re.sub(r"^\d+\.(?=\D)", "", _fold(name)))


def _quoted(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more


def _spellings(spec: DatasetSpec) -> dict[str | tuple[str, ...], int]:
    """Every spelling that means one class and no other."""
    spelled: list[tuple[str | tuple[str, ...], int]] = []
    for label, name in enumerate(spec.classnames):
        spelled += [(squash(alias), label) for alias in (name, *spec.aliases.get(name, ()))]
        spelled.append((words(name), label))
    known: dict[str | tuple[str, ...], int] = {}
    unclear: set[str | tuple[str, ...]] = {"", ()}  # names without a letter or a digit
    for key, label in spelled:
        if known.setdefault(key, label) != label:
            unclear.add(key)
    return {key: label for key, label in known.items() if key not in unclear}
