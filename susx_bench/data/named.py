"""Class names that the user gives, and prompts made from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from susx_bench.console import printable
from susx_bench.data.classes import quoted, squash
from susx_bench.data.dataset import Dataset
from susx_bench.data.sources.base import Source
from susx_bench.data.spec import own_spec
from susx_bench.errors import DatasetError, OptionError
from susx_bench.options import shortened, shown
from susx_bench.options.given import several
from susx_bench.prompts.base import Say
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import sha256_json
from susx_bench.records.paths import check_text
from susx_bench.records.text import read_names

_LONGEST = 300  # characters of a name


def read_classes(classes: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Read class names: ``cat,dog``, a file with one per line, or a sequence.

    Raises:
        OptionError: If there are fewer than two, one is empty or repeated, or the file cannot be
            read.
    """
    if isinstance(classes, Path) or (isinstance(classes, str) and _is_file(classes)):
        where = f"--classes {classes}"
        try:
            names: Sequence[str] = read_names(Path(classes).expanduser())
        except (OSError, ValueError) as error:
            raise OptionError(f"{where}: {error}.") from error
    elif isinstance(classes, str):
        where = f"--classes {printable(shortened(classes))}"
        names = [name.strip() for name in classes.split(",")]
    else:
        where, names = "classes", several(classes)
        if wrong := next((i for i, name in enumerate(names, 1) if not isinstance(name, str)), 0):
            raise OptionError(f"{where}: name {wrong} is {shown(names[wrong - 1])}, and no text.")
    return _checked(names, where)


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _checked(names: Sequence[str], where: str) -> tuple[str, ...]:
    by_key: dict[str, str] = {}
    for place, raw in enumerate(names, 1):
        name = " ".join(raw.replace("_", " ").split())
        try:
            check_text(name)
        except OptionError as error:
            raise OptionError(f"{where}: name {place}: {error}") from error
        if len(name) > _LONGEST:
            raise OptionError(
                f"{where}: name {place} has {len(name)} characters, at most {_LONGEST} are taken."
            )
        key = name.casefold()
        if key in by_key:
            raise OptionError(
                f"{where}: '{name}' is name {list(by_key).index(key) + 1} and name {place}. Name "
                "each class once."
            )
        by_key[key] = name
    if len(by_key) < 2:
        hint = ""
        if len(names) == 1 and (names[0].endswith(".txt") or "/" in names[0]):
            hint = f" There is no file {names[0]}."
        raise OptionError(
            f"{where}: {len(by_key)} class, and photographs are told apart between at least "
            f"2.{hint} Add another, such as what else the photographs may show."
        )
    return tuple(by_key.values())


def label_of(name: str, classnames: Sequence[str]) -> int | None:
    """The label of a class name from a folder or a file; None if no class has it.

    Case, accents, punctuation and underscores are ignored if the match stays unique.
    """
    plain = " ".join(name.replace("_", " ").split())
    if plain in classnames:
        return list(classnames).index(plain)
    alike = [
        i for i, classname in enumerate(classnames) if squash(classname) == squash(plain) != ""
    ]
    return alike[0] if len(alike) == 1 else None


def names_alone(classnames: Sequence[str]) -> Dataset:
    """A dataset without images, from class names alone.

    Its name contains the hash of the names, so that equal lists of names are one dataset.
    """
    name = f"names-{sha256_json(list(classnames))[:10]}"
    spec = own_spec(name, "photographs", tuple(classnames))

    def nothing() -> Source:
        raise DatasetError("class names alone have no images.")

    return Dataset(spec, find=nothing)


def texts_of(
    prompts: str, classnames: Sequence[str], folder: Path | None, say: Say
) -> tuple[tuple[str, ...], ...]:
    """The prompts of every class, by kind or by a template such as ``a sketch of a {}``.

    Raises:
        OptionError: If a template does not have exactly one ``{}``.
        UnknownNameError: If there is no such kind.
        PromptsError: If its file is missing, or does not fit.
    """
    return tuple(map(tuple, class_prompts(prompts, names_alone(classnames).spec, folder, say)))


def unknown(names: Sequence[str], classnames: Sequence[str]) -> str:
    """Describe unknown class names and the known ones, for a message."""
    return f"{quoted(names)}; the classes are {quoted(list(classnames))}"
