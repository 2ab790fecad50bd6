"""A kind of prompts: a name, a line about it, and a function that writes the prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.data.spec import DatasetSpec

Say = Callable[[str], object]
"""Called with one line about each difference between a prompt file and the dataset."""


@dataclass(frozen=True)
class PromptKind:
    """A kind of prompts.

    Any package can add one: a constant, declared as an entry point in the group
    ``susx_bench.prompts``.

    Attributes:
        name: Its name for ``--prompts``.
        about: Its texts, in one line.
        write: Writes the prompts. It gets the dataset's facts, the folder of prompt files (or None)
            and a function for remarks, and returns at least one prompt for each class, in
            the order of the class names.
    """

    name: str
    about: str
    write: Callable[[DatasetSpec, Path | None, Say], Sequence[Sequence[str]]]
