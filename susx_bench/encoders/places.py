"""Encoders in a folder or in a repository of the Hub: ``FAMILY:PLACE``."""

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
    """The parts of an encoder, all of them on this machine.

    Attributes:
        folder: Its folder.
        config: Its ``config.json``.
        weights: Its safetensors files.
        files: All files on which a feature depends.
        revision: Commit on the Hub; None for an encoder from elsewhere.
    """

    folder: Path
    config: dict[str, Any]
    weights: Sequence[Path]
    files: Sequence[Path]
    revision: str | None


class PlacedEncoder(Encoder):
    """An encoder at a place. A folder is checked at once; the Hub is used when a part is needed.

    Args:
        place: A folder, beginning with a slash, a point or ``~``; or a place for `repository`,
            with ``@REVISION`` for a branch, tag or commit.
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
            local_parts = self.in_folder(Path(place).expanduser(), None)
            self._find = lambda: local_parts
        else:
            repository, revision = self.repository(place)
            self._find = lambda: self.from_hub(repository, revision)

    def repository(self, place: str) -> tuple[str, str | None]:
        """Repository and revision of a place that is no folder.

        Raises:
            EncoderError: If the place names no repository.
        """
        if parts := re.fullmatch(REPOSITORY, place):
            return parts[1], parts[2]
        raise EncoderError(
            f"--encoder {self.name}: it is neither ORG/NAME[@REVISION] nor ./FOLDER."
        )

    @abstractmethod
    def in_folder(self, folder: Path, revision: str | None) -> Parts:
        """The parts in a folder.

        Raises:
            EncoderError: If one is missing, or the configuration is not supported.
        """

    @abstractmethod
    def from_hub(self, repository: str, revision: str | None) -> Parts:
        """Get a repository's parts."""

    @cached_property
    def parts(self) -> Parts:
        """The parts of the encoder."""
        return self._find()

    @property
    def revision(self) -> str | None:
        """Commit on the Hub that the weights are from, None for weights from elsewhere."""
        return self.parts.revision
