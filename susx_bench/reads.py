"""Find the data files that a program reads: files that its text names, and files that it opens.

Files named in a text are known before the program runs, so that a record can depend on them. Opened
files are known only later, and are compared with the named ones.
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

_LONGEST = 200  # characters; longer texts are no names of files
_DEPTH = 3  # nested folders that may be named one by one before the file
_PROGRAMS = (".py", ".pyc", ".so")
_opened: dict[str, set[Path]] = {}
"""Files that were opened for reading, by the program file with the opening code."""


def named_files(texts: Iterable[str], program: Path) -> dict[str, Path]:
    """The data files that texts of a program name, by their path relative to the program.

    A text names a file beside the program or in the working directory, or by a whole path;
    ``.npy`` is a file called like the program. Of ``folder / "data" / "w.npy"`` each part is a
    text.

    Args:
        texts: The texts in a program.
        program: Its file.
    """
    names = {text for text in texts if 0 < len(text) <= _LONGEST and text.isprintable()}
    folders, files = [program.parent, Path.cwd()], dict[str, Path]()
    for _ in range(_DEPTH):
        inner = []
        for folder in dict.fromkeys(folders):
            for name in names:
                place = _place(folder, name, program)
                try:
                    if place.is_file() and place.suffix not in _PROGRAMS:
                        files[os.path.relpath(place, program.parent)] = place
                    elif name.strip("./") and not Path(name).is_absolute() and place.is_dir():
                        inner.append(place)
                except (OSError, ValueError):  # no name of any file
                    continue
        folders = inner
    return files


def _place(folder: Path, name: str, program: Path) -> Path:
    if name.startswith("~/"):
        return Path(os.path.expanduser(name))  # noqa: PTH111 - raises nothing where there is no home
    if name.startswith(".") and name[1:].isalnum():
        return program.with_suffix(name)
    return folder / name


def file_sha256(path: Path) -> str:
    """sha256 of a file, computed again only if the file has changed."""
    state = path.stat()
    return _file_sha256(path, state.st_size, state.st_mtime_ns)


@cache
def _file_sha256(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def watch(program: str) -> None:
    """Record from now on the files that the code of a file opens, directly or through other code.

    Args:
        program: The file, by the name in its code objects.
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
