"""Hashes, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from susx_bench.errors import OutputError
from susx_bench.records.paths import open_file, read_bytes

UNFINISHED = ".unfinished"
"""Suffix of unfinished files. `sweep` removes those that a killed writer left."""
_ABANDONED = 3600.0
"""Seconds after which an unfinished file has no living writer."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, independent of key order."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_json_pairs(name: str, pairs: Iterable[tuple[str, int]]) -> str:
    """`sha256_json` of ``[name, [*pairs]]``, without holding all pairs in memory."""
    digest = hashlib.sha256(f"[{canonical_json(name)},[".encode())
    comma = b""
    remaining = iter(pairs)
    while chunk := list(islice(remaining, 10_000)):
        texts = "".join([text for text, _ in chunk])
        if texts.isascii() and texts.isprintable() and '"' not in texts and "\\" not in texts:
            # JSON has them unchanged, and this takes a quarter of the time.
            items = ",".join([f'["{text}",{number}]' for text, number in chunk])
        else:
            items = canonical_json(chunk)[1:-1]
        digest.update(comma + items.encode())
        comma = b","
    digest.update(b"]]")
    return digest.hexdigest()


def sha256_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash of named arrays: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.data)
    return digest.hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Hash of bytes."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> Path:
    """Make a folder, and check that it can be written to.

    Raises:
        OutputError: If it cannot be made, or nothing can be written in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}. Give another folder."
        ) from error
    return path


def write_atomic(path: Path, content: bytes, check: Callable[[Path], object] | None = None) -> None:
    """Write a file so that a reader sees all of it or none of it, even if the writer is killed.

    Args:
        path: The file.
        content: Its whole content.
        check: Called with the finished file before it is moved to its place. If it raises, the
            file is not moved.

    Raises:
        OutputError: If the folder cannot be written or the disk is full.
    """
    make_folder(path.parent)
    sweep(path.parent)
    temporary = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with temporary.open("xb") as file:  # with the rights that the user's umask gives
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@cache  # once per folder and process: a folder may hold thousands of files
def sweep(folder: Path) -> None:
    """Remove this user's old unfinished files from a folder: killed writers have left them."""
    for path in folder.glob(f".*{UNFINISHED}"):
        try:
            status = path.lstat()
            if time.time() - status.st_mtime > _ABANDONED and status.st_uid == os.getuid():
                path.unlink()
        except FileNotFoundError:  # another writer swept it away
            continue
        except PermissionError:  # a folder that can be written but not cleared
            return


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines to a file, and flush them to the disk.

    An incomplete last line, left by a killed writer, is cut off first.

    Raises:
        OutputError: If the folder cannot be written or the disk is full.
    """
    try:
        with path.open("a+b") as file:
            if file.tell() and not _ends_a_line(file):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(what: Path | str, error: OSError) -> OutputError:
    """The error of a file, or another output, that could not be written to the end."""
    return OutputError(
        f"{what} cannot be written: {error.strerror}. What was done is kept; make room and give "
        "the same command again."
    )


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def whole_lines(path: Path) -> Iterator[str]:
    """The complete lines of a file: an incomplete last one is left out."""
    whole, _, _ = read_bytes(path).rpartition(b"\n")
    yield from whole.decode().split("\n") if whole else ()
