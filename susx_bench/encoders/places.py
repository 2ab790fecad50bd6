"""Encoders that lie in a folder, or in a repository of the Hub: ``FAMILY:PLACE``."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from susx_bench.encoders.base import Encoder
from susx_bench.errors import EncoderError

REPOSITORY = r"([\w.-]+/[\w.-]+)(?:@(.+))?"
"""``ORG/NAME[@REVISION]``."""


@dataclass(frozen=True)
class Parts:
    """What an encoder is made of, all of it on this machine.

    Attributes:
        folder: Where it lies.
        config: Its ``config.json``.
        weights: Its safetensors files.
        files: All that decides a feature.
        revision: Commit on the Hub, None where it is from elsewhere.
    """

    folder: Path
    config: dict[str, Any]
    weights: Sequence[Path]
    files: Sequence[Path]
    revision: str | None


class PlacedEncoder(Encoder):
    """An encoder at a place. A folder is checked at once, the Hub is asked when a part is needed.

    Args:
        place: A folder, with a slash at its beginning, a point or ``~``; or what `repository`
            takes, with ``@REVISION`` at a branch, tag or commit.
        precision: One of `PRECISIONS`; features are fp32 in any case.

    Raises:
        UnknownNameError: If there is no such precision.
        EncoderError: If a place is neither, or a folder is not complete.
    """

    def __init__(self, place: str, precision: str = "fp32") -> None:
        super().__init__(precision)
        self.name = f"{self.family}:{place}"
        self._find: Callable[[], Parts]
        if place.startswith((".", "/", "~")):
            found = self.in_folder(Path(place).expanduser(), None)
            self._find = lambda: found
        else:
            repository, revision = self.repository(place)
            self._find = lambda: self.from_hub(repository, revision)

    def repository(self, place: str) -> tuple[str, str | None]:
        """Repository and revision of a place that is no folder.

        Raises:
            EncoderError: If it names none.
        """
        if parts := re.fullmatch(REPOSITORY, place):
            return parts[1], parts[2]
        raise EncoderError(
            f"--encoder {self.name}: it is neither ORG/NAME[@REVISION] nor ./FOLDER."
        )

    @abstractmethod
    def in_folder(self, folder: Path, revision: str | None) -> Parts:
        """The parts that lie in a folder.

        Raises:
            EncoderError: If one is missing, or the configuration is none that is built here.
        """

    @abstractmethod
    def from_hub(self, repository: str, revision: str | None) -> Parts:
        """Get a repository's parts."""

    @cached_property
    def parts(self) -> Parts:
        """What it is made of."""
        return self._find()

    @property
    def revision(self) -> str | None:
        """Commit on the Hub that the weights are from, None where they are from elsewhere."""
        return self.parts.revision
