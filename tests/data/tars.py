"""What `tarfile` says of a tar, and reads of the fewest bytes."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

import pytest

from susx_bench.data.sources import tar


def is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__")) for part in parts if part != ".")


def by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path, "r:") as tar:
        return [
            (member.name, member.offset_data, member.size)
            for member in tar
            if member.isreg() and not is_hidden(member.name)
        ]


def read_narrowly(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let few headers be read and examined together, so that their borders are everywhere.

    Args:
        monkeypatch: Sets the sizes.
        way: ``steps`` to follow headers one by one, ``jumps`` many at once; ``wide`` for what is
            usual.
    """
    if way != "wide":
        monkeypatch.setattr(tar, "_LEAST", 1536)
        monkeypatch.setattr(tar, "_MOST", 4096)
        monkeypatch.setattr(tar, "_RUN", 7)
        monkeypatch.setattr(tar, "_MANY", 1024 if way == "jumps" else 8192)
