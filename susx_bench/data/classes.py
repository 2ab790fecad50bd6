"""Map the class names of a copy onto the canonical ones, as a checked bijection."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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


def letters(name: str) -> tuple[str, ...]:
    """The letters of a name of several words, in no order, and its numbers, in no order.

    So a car matches with its year first or last, and with ``C/V`` as ``CV``. The first letter of
    SUN397's paths, as in ``/a/apse/indoor``, is left out.
    """
    parts = re.findall(r"\d+|[^\W\d_]+", re.sub(r"^/[a-z]/", "", _fold(name)))
    if len(parts) < 2:
        return tuple(parts)
    numbers = sorted(part for part in parts if part.isdigit())
    return ("".join(sorted("".join(part for part in parts if not part.isdigit()))), *numbers)


Key = str | tuple[str, ...]
Reading = Callable[[str], set[Key]]


def _as_it_stands(name: str) -> set[Key]:
    return {_plain(name)}


def _squashed(name: str) -> set[Key]:
    keys: set[Key] = {squash(name), squash(name.replace("&", " and "))}
    return keys - {""}


def _lettered(name: str) -> set[Key]:
    glued = re.sub(r"[^\w\s]", "", name)  # the 570-4 of a car is 5704
    keys: set[Key] = {letters(name), letters(glued), letters(name.replace("&", " and "))}
    return keys - {()}


class _Spellings:
    """The classes that a name can mean, by ways to compare names, the strictest first.

    Args:
        spec: The facts, with the class names and their aliases.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        numbered = list(enumerate(spec.classnames))
        aliases = [(i, alias) for i, name in numbered for alias in spec.aliases.get(name, ())]
        synonyms = [
            (i, synonym) for i, alias in aliases if "," in alias for synonym in alias.split(",")
        ]
        self._ways: list[tuple[Reading, dict[Key, set[int]]]] = [
            (_as_it_stands, _by(_as_it_stands, numbered)),
            (_squashed, _by(_squashed, numbered)),
            (_squashed, _by(_squashed, aliases)),
            (_lettered, _by(_lettered, numbered + aliases)),
            (_squashed, _by(_squashed, synonyms)),
        ]
        shared = [(i, other) for i, name in numbered for other in spec.shared.get(name, ())]
        self.shared = _by(_squashed, shared)

    def rank(self, name: str) -> tuple[int, int | None]:
        """The first way in which a name matches, and the class: None for several or none."""
        for way, labels in enumerate(self._meanings(name)):
            if labels:
                return way, next(iter(labels)) if len(labels) == 1 else None
        return len(self._ways), None

    def fits(self, name: str, label: int) -> bool:
        """Whether a name can mean a class."""
        return any(label in labels for labels in self._meanings(name)) or label in self.shared.get(
            squash(name), ()
        )

    def _meanings(self, name: str) -> Iterator[set[int]]:
        for read, labels_by_key in self._ways:
            yield {label for key in read(name) for label in labels_by_key.get(key, ())}


def _by(read: Reading, spelled: Iterable[tuple[int, str]]) -> dict[Key, set[int]]:
    labels: dict[Key, set[int]] = defaultdict(set)
    for label, name in spelled:
        for key in read(name):
            labels[key].add(label)
    return labels


def match(
    names: Sequence[str], spec: DatasetSpec, where: str, *, some: bool = False
) -> list[int | None]:
    """Find the canonical label of every class of a copy.

    A name matches unchanged, by its letters and digits, by an alias in the facts, or by its letters
    in any order. The position of a name does not count, with one exception: two classes may have
    one name, as ImageNet's two ``missile`` in many copies, if the other names show that the list is
    the canonical one.

    Args:
        names: The copy's class names, in its own order.
        spec: The facts.
        where: Where the names were found, for messages.
        some: Whether classes may be missing: a split need not have an image of every class.

    Returns:
        The canonical label of each name, or None for a class that the protocol drops.

    Raises:
        DatasetError: If a name is unknown or ambiguous, or a class is missing and `some` is False.
    """
    if (numbers := _numbers(names, spec)) is not None:
        return list(numbers)
    spellings = _Spellings(spec)
    if _in_place(names, spec, spellings):
        return list(range(len(names)))
    dropped = {squash(name) for name in spec.dropped}
    labels: list[int | None] = [spellings.rank(name)[1] for name in names]
    theirs: list[list[str]] = [[] for _ in spec.classnames]
    unknown: list[str] = []
    for name, label in zip(names, labels, strict=True):
        if label is not None:
            theirs[label].append(name)
        elif squash(name) not in dropped:
            unknown.append(name)
    _check(names, theirs, unknown, spec, where, some=some)
    return labels


def serve(names: Sequence[str], spec: DatasetSpec, where: str) -> tuple[list[str], list[str]]:
    """Find the name of each class in a table of texts.

    As `match`, but the table may have further names. If a class has several names, the one with
    the nearest spelling is taken. A class that is missing may share the name of another class
    (`DatasetSpec.shared`).

    Args:
        names: The table's names.
        spec: The facts.
        where: Where the names were found, for messages.

    Returns:
        The name for each class, and the names that belong to no class.

    Raises:
        DatasetError: If a class is missing, or has two names that are equally near.
    """
    if (numbers := _numbers(names, spec)) is not None:
        return [name for _, name in sorted(zip(numbers, names, strict=True))], []
    spellings = _Spellings(spec)
    ranked = {name: spellings.rank(name) for name in names}
    theirs: list[list[str]] = []
    for label in range(len(spec.classnames)):
        ways = {name: way for name, (way, meaning) in ranked.items() if meaning == label}
        nearest = min(ways.values(), default=None)
        theirs.append([name for name, way in ways.items() if way == nearest])
        if not ways:
            theirs[-1] = [n for n in names if label in spellings.shared.get(squash(n), ())]
    used = {name for spellings_of in theirs for name in spellings_of}
    dropped = {squash(name) for name in spec.dropped}
    left = [name for name in names if name not in used and squash(name) not in dropped]
    _check(names, theirs, left if [] in theirs else [], spec, where)
    return [spellings_of[0] for spellings_of in theirs], left


def same_names(classes: Iterable[tuple[int, str]]) -> list[str]:
    """One line for each name that several of the numbered classes have."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, name in classes:
        numbers[name].append(number)
    return [
        f"classes {' and '.join(map(str, several))} have one name, '{name}'; their numbers tell "
        "them apart"
        for name, several in numbers.items()
        if len(several) > 1
    ]


def _in_place(names: Sequence[str], spec: DatasetSpec, spellings: _Spellings) -> bool:
    """Whether a list is in canonical order.

    It is if all names are canonical, or if each name can mean the class at its position and at
    most one in a hundred can mean another.
    """
    if len(names) != len(spec.classnames):
        return False
    others = [label for label, name in enumerate(names) if spellings.rank(name)[1] != label]
    return [*map(_plain, names)] == [*map(_plain, spec.classnames)] or (
        100 * len(others) <= len(names)
        and all(spellings.fits(names[label], label) for label in others)
    )


def _numbers(names: Sequence[str], spec: DatasetSpec) -> list[int] | None:
    """Labels of a copy that calls its classes 1 to K; None if it may not or does not."""
    count = len(spec.classnames)
    if spec.numbered and sorted(names) == sorted(str(i + 1) for i in range(count)):
        return [int(name) - 1 for name in names]
    return None


def _check(
    names: Sequence[str],
    theirs: Sequence[Sequence[str]],
    unknown: Sequence[str],
    spec: DatasetSpec,
    where: str,
    *,
    some: bool = False,
) -> None:
    """Refuse unknown, missing and repeated class names, unless the facts allow them.

    Args:
        names: All names.
        theirs: The names of each class.
        unknown: The names of no class.
        spec: The facts.
        where: Where they were found.
        some: Whether classes may be missing.
    """
    missing = [name for name, matches in zip(spec.classnames, theirs, strict=True) if not matches]
    several = [
        f"several classes for '{name}': {quoted(matches)}"
        for name, matches in zip(spec.classnames, theirs, strict=True)
        if len(matches) > 1 and not (spec.merged and set(matches) <= {*spec.aliases.get(name, ())})
    ]
    wrong = [f"none of its: {quoted(unknown)}"] if unknown else []
    wrong += [f"without {quoted(missing)}"] if missing and not some else []
    wrong += several[:_SHOWN]
    if wrong:
        raise DatasetError(
            f"{spec.name}: {where} has {len(names)} class names, the dataset has "
            f"{len(spec.classnames)} ({'; '.join(wrong)}). Labels are never believed by their "
            "position: give a copy with the dataset's own class names."
        )


def unite(names: Mapping[Split, Iterable[str]], where: str) -> tuple[list[str], list[str]]:
    """Merge the classes of several splits, each of which may lack some.

    Spellings that differ only in case, accents, a leading number, blanks, hyphens and underscores
    are one class, under the name of the first split.

    Args:
        names: The class names of each split.
        where: Where they were found, for messages.

    Returns:
        The names of all splits, sorted; and one line for each second spelling.

    Raises:
        DatasetError: If it is unclear whether two splits mean the same class.
    """
    split_of: dict[str, Split] = {}  # name to the split that has it first
    lines = []
    for split, theirs in names.items():
        of_split = set(theirs)
        for name in sorted(of_split - split_of.keys()):
            near = [k for k in split_of if k not in of_split and squash(k) == squash(name) != ""]
            alike = [other for other in near if _spelled(other) == _spelled(name)]
            if near and len(alike) != 1:
                raise DatasetError(
                    f"{where}: is '{name}' of {split} the class '{near[0]}' of "
                    f"{split_of[near[0]]}, or another? Call a class the same in every split."
                )
            if alike:
                lines.append(
                    f"'{name}' of {split} is the class '{alike[0]}' of {split_of[alike[0]]}"
                )
            else:
                split_of[name] = split
    return sorted(split_of), lines


def _spelled(name: str) -> str:
    """A class name without the usual differences between two spellings."""
    return re.sub(r"[\s_-]", "", re.sub(r"^\d+\.(?=\D)", "", _fold(name)))


def quoted(names: Sequence[str]) -> str:
    """The first names, each in quotes, and the number of further ones."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
