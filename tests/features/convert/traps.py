"""What runs when it is loaded without care."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Trap:
    """An object whose loading makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")
