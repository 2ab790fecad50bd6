"""Data files that a program reads: those that its text names, and those that it was seen to open.

What a text names is known before the program runs, so a record can follow it. What a program opens
is known too late for that, and is compared with what it names.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from susx_bench.records.paths import read_bytes

_LONGEST = 200  # characters of a name; longer texts are no names
_DEPTH = 3  # folders that may be named one by one before the file
_PROGRAMS = (".py", ".pyc", ".so")
_opened: dict[str, set[Path]] = {}
"""Files that were opened for reading, by the program file whose code did."""


def named_files(texts: Iterable[str], program: Path) -> dict[str, Path]:
    """The data files that texts of a program name, by their path from it.

    A text names a file beside the program or in the working directory, or by a whole path;
    ``.npy`` is a file called like the program. Of ``folder / "data" / "w.npy"`` each part is a
    text.

    Args:
        texts: The texts in a program.
        program: Its file.
    """
    names = {text for text in texts if 0 < len(text) <= _LONGEST and text.isprintable()}
    folders, found = [program.parent, Path.cwd()], dict[str, Path]()
    for _ in range(_DEPTH):
        inner = []
        for folder in dict.fromkeys(folders):
            for name in names:
                place = _place(folder, name, program)
                try:
                    if place.is_file() and place.suffix not in _PROGRAMS:
                        found[os.path.relpath(place, program.parent)] = place
                    elif name.strip("./") and not Path(name).is_absolute() and place.is_dir():
                        inner.append(place)
                except (OSError, ValueError):  # no name of any file
                    continue
        folders = inner
    return found


def _place(folder: Path, name: str, program: Path) -> Path:
    if name.startswith("~/"):
        return Path(os.path.expanduser(name))  # noqa: PTH111 - raises nothing where there is no home
    if name.startswith(".") and name[1:].isalnum():
        return program.with_suffix(name)
    return folder / name


def file_sha256(path: Path) -> str:
    """sha256 of a file, read again only where it changed."""
    state = path.stat()
    return _file_sha256(path, state.st_size, state.st_mtime_ns)


@cache
def _file_sha256(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def watch(program: str) -> None:
    """Take note from now on of what the code of a file opens, itself or through others.

    Args:
        program: The file, as its code objects call it.
    """
    if not _opened:
        sys.addaudithook(_heed)
    _opened.setdefault(program, set())


def opened_by(programs: Iterable[str]) -> set[Path]:
    """The files that the code of some files has opened since they are watched."""
    return set().union(*(_opened.get(program, set()) for program in programs))


def _heed(event: str, given: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(given[0], str | bytes | os.PathLike):
        return
    writes = isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
    path = os.fsdecode(given[0])
    if writes or path.endswith(_PROGRAMS):
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if (seen := _opened.get(frame.f_code.co_filename)) is not None:
            seen.add(Path(path).absolute())
            return
        frame = frame.f_back
