"""Paths and names that users give, and files that are read: regular ones only."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

from susx_bench.errors import OptionError

LONGEST_PATH = 3500
"""Most bytes of a path. Linux takes 4096, and names of files in a folder need some of them."""
_LONGEST_NAME = 255


def check_text(text: str) -> None:
    """Check that words given by a user can be written, printed and used as a name.

    Raises:
        OptionError: If they are empty, hold a control character, or are no Unicode.
    """
    if not text.strip():
        raise OptionError("it is empty.")
    control = next((c for c in text if c < " " or "\x7f" <= c < "\xa0"), None)
    if control is not None:
        raise OptionError(f"it holds the control character {control!r}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OptionError(f"{text[:60]!a} is not UTF-8. Rename it.") from error


def checked_path(given: str | Path) -> Path:
    """Expand the ``~`` of a path, and check that this machine can have such a path.

    Raises:
        OptionError: If it is empty, holds a control character, is not UTF-8, is too long, names an
            unknown user, or cannot be looked at.
    """
    text = os.fspath(given)
    check_text(text)
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise OptionError(f"{shown} is an address, and a path on this machine is wanted.")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        user = Path(text).parts[0]
        raise OptionError(f"{shown}: {user} is nobody's home on this machine.") from error
    try:
        length = len(os.fsencode(path.absolute()))
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
        if length > LONGEST_PATH or longest > _LONGEST_NAME:
            raise OptionError(
                f"{shown}: the path has {length} bytes and its longest name {longest}, at most "
                f"{LONGEST_PATH} and {_LONGEST_NAME} are taken."
            )
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # the code that uses the path creates it or reports it missing
    except OSError as error:
        raise OptionError(f"{shown}: {error.strerror}.") from error
    return path


def path_from(variable: str) -> Path | None:
    """The path that an environment variable names; None if it is not set, or empty.

    Raises:
        OptionError: If the path is impossible on this machine.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    try:
        return checked_path(value)
    except OptionError as error:
        raise OptionError(f"{variable}: {error}") from error


def own_folder(variable: str, usual: Path) -> Path:
    """A folder of this user: the one that a variable names, else the `usual` one.

    Raises:
        OptionError: If the path is impossible, or the usual folder needs a home that the user
            lacks.
    """
    chosen = path_from(variable)
    if chosen is None and not usual.is_absolute():
        raise OptionError(f"this user has no home folder: set {variable} to a folder.")
    return chosen or usual


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading. Anything else, which might never end, is an error.

    Raises:
        OSError: If it cannot be opened, or is a pipe, a socket or a device.
    """
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, and no file", str(path))
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Content of a file.

    Raises:
        OSError: As `open_file` does.
    """
    with open_file(path) as file:
        return file.read()
