"""A dataset card: the YAML at the head of a README.md, as the Hugging Face hub has it.

It is untrusted data. Its patterns select files of its own folder only; nothing else is ever opened
for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from fsspec.utils import glob_translate

from susx_bench.data.sources.base import reason
from susx_bench.errors import DatasetError
from susx_bench.records.text import read_text

CARD = "README.md"
_LONGEST = 4_000_000  # characters of YAML; the names of 100,000 classes fit
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml the slow loader


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Attributes:
        configs: The files of each configuration: for each split the patterns of its files; ``""``
            stands for a split that the names of the files determine.
        default: The default configuration, if the card has one.
        names: Class names of the columns of labels, by configuration and column; ``""`` is the
            only configuration of a card.
    """

    configs: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    default: str | None = None
    names: Mapping[tuple[str, str], list[str]] = field(default_factory=dict)

    def classnames(self, config: str | None, column: str) -> list[str] | None:
        """Class names of a column's numbers, if the card has them."""
        return self.names.get((config or "", column), self.names.get(("", column)))


def read_card(folder: Path, dataset: str, where: str) -> Card:
    """Read the card of a folder; empty if it has none.

    Raises:
        DatasetError: If it is not YAML, or names a file outside the folder.
    """
    path = folder / CARD
    if not path.is_file():
        return Card()
    try:
        head = re.match(r"---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", read_text(path), re.DOTALL)
        if head is None:
            return Card()
        if len(head[1]) > _LONGEST:
            raise ValueError(
                f"its YAML has {len(head[1]):,} characters, at most {_LONGEST:,} are read"
            )
        content = yaml.load(head[1], Loader=_LOADER)
        return _card(content if isinstance(content, dict) else {})
    except RecursionError as error:
        raise DatasetError(f"{dataset}: {CARD} of {where} is nested too deep.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DatasetError(f"{dataset}: {CARD} of {where}: {reason(error)}") from error


def matching(patterns: Iterable[str], places: Iterable[str]) -> list[str]:
    """The files that patterns select: by name, by the name of their folder, or by a match.

    Args:
        patterns: Patterns of a card.
        places: Files, relative to the card's folder.
    """
    matches: dict[str, None] = {}
    places = list(places)
    for pattern in patterns:
        plain = str(PurePosixPath(pattern))
        compiled = re.compile(glob_translate(plain))
        matches |= dict.fromkeys(
            place for place in places if compiled.match(place) or place.startswith(f"{plain}/")
        )
    return list(matches)


def _card(content: Mapping[str, Any]) -> Card:
    configs: dict[str, Mapping[str, tuple[str, ...]]] = {}
    default = None
    for config in _objects(content.get("configs")):
        name = str(config.get("config_name", "default"))
        files = config.get("data_files")
        if files is None and isinstance(config.get("data_dir"), str):
            files = f"{config['data_dir']}/**"
        if files is None:
            continue
        configs[name] = _patterns(name, files)
        if config.get("default") is True or name == "default":
            default = name
    names: dict[tuple[str, str], list[str]] = {}
    infos = _objects(content.get("dataset_info"))
    for info in infos:
        section = str(info.get("config_name", "")) if len(infos) > 1 else ""
        for column in _objects(info.get("features")):
            kind = column.get("dtype")
            label = kind.get("class_label") if isinstance(kind, dict) else None
            if isinstance(label, dict) and (class_names := _in_order(label.get("names"))):
                names[section, str(column.get("name"))] = class_names
    return Card(configs, default, names)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; a single object counts as a list of one."""
    items = value if isinstance(value, list) else [value]
    return [one for one in items if isinstance(one, dict)]


def _in_order(names: Any) -> list[str] | None:
    """Names by their numbers: ``["cat", "dog"]`` or ``{"0": "cat", "1": "dog"}``."""
    if isinstance(names, list):
        return [str(name) for name in names]
    if isinstance(names, dict):
        numbered = {str(number): str(name) for number, name in names.items()}
        if set(numbered) == {str(number) for number in range(len(numbered))}:
            return [numbered[str(number)] for number in range(len(numbered))]
    return None


def _patterns(config: str, files: Any) -> dict[str, tuple[str, ...]]:
    """Patterns of each split, in any of the forms that ``data_files`` may have."""
    by_split = list(files.items()) if isinstance(files, dict) else []
    for one in [] if by_split else files if isinstance(files, list) else [files]:
        by_split.append(
            (one.get("split", ""), one.get("path")) if isinstance(one, dict) else ("", one)
        )
    patterns: dict[str, tuple[str, ...]] = {}
    for split, paths in by_split:
        listed = paths if isinstance(paths, list) else [paths]
        for pattern in listed:
            _check_inside(config, pattern)
        patterns[str(split)] = (*patterns.get(str(split), ()), *listed)
    return patterns


def _check_inside(config: str, pattern: object) -> None:
    if not isinstance(pattern, str):
        raise ValueError(f"configuration {config!r} names {str(pattern)[:100]!r}, which is no file")
    parts = PurePosixPath(pattern.replace("\\", "/")).parts
    if (
        "://" in pattern
        or "::" in pattern
        or ".." in parts
        or re.match(r"[/~\\]|[\w+.-]+:", pattern)
    ):
        raise ValueError(
            f"configuration {config!r} names {pattern[:100]!r}, which is outside the folder; only "
            "files in the folder are read"
        )
    glob_translate(pattern)  # raises ValueError if it is no pattern
