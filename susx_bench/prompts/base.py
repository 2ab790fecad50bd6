"""What a kind of prompts is: a name, a line about it, and a function that writes the prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from susx_bench.data.spec import DatasetSpec

Say = Callable[[str], object]
"""Told, in a line, what a prompt file has otherwise than the dataset."""


@dataclass(frozen=True)
class PromptKind:
    """A kind of prompts.

    A package of anyone's adds one: a constant, declared as an entry point in the group
    ``susx_bench.prompts``.

    Attributes:
        name: What ``--prompts`` calls it.
        about: What the text encoder reads, in one line.
        write: Writes the prompts. It gets the dataset's facts, the folder of prompt files (or None)
            and a function to tell of remarks, and returns at least one prompt for each class, in
            the order of the class names.
    """

    name: str
    about: str
    write: Callable[[DatasetSpec, Path | None, Say], Sequence[Sequence[str]]]
