"""Read and check the files of records; many of them in several processes.

A worker is a plain Python process that reads its task from stdin and answers with one line of JSON
per record. A forked process would copy the locks of its parent's threads. `multiprocessing` would
run a user's script again if it lacks ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from susx_bench.errors import BenchError
from susx_bench.records.cells import data_of
from susx_bench.records.files import canonical_json
from susx_bench.records.record import Record

HEAVY: Final = ("right", "classes", "confusions")
"""Fields of a record with one value per image or class."""
MANY: Final = 4000
"""Fewest files that several processes read: fewer are read before these have started."""

_MOST = 8  # processes: more would only wait for the one that gathers their results


class State(NamedTuple):
    """Facts that show whether a file has changed.

    Any program can set the time of modification. Only the system sets the time of the last change,
    and a file that replaces another under its name has another number.

    Attributes:
        size: Bytes.
        modified: Time at which the content was written, nanoseconds.
        changed: Time at which content or attributes were changed, nanoseconds.
        number: Inode number.
    """

    size: int
    modified: int
    changed: int
    number: int

    @classmethod
    def of(cls, path: str) -> State | None:
        """The present state of a file; None if it is gone, which reading it will report."""
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path takes longer to make than this
        except OSError:
            return None
        number = status.st_ino & (2**63 - 1)  # as large as a column of integers can hold
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, number)


class Row(NamedTuple):
    """The part of a checked record file that the index keeps.

    Attributes:
        name: Path relative to the folder.
        state: State of the file before it was read; None if it was gone.
        text: JSON of its record, without the fields in `HEAVY`.
        bits: The bits of `Record.right`, eight per byte.
        data: `susx_bench.records.cells.data_of` the record.
    """

    name: str
    state: State | None
    text: str
    bits: bytes
    data: str


def read_row(root: str, name: str) -> Row:
    """Read and check the record of a file in a folder.

    Raises:
        RecordError: If it cannot be believed.
    """
    path = f"{root}/{name}"
    state = State.of(path)
    record = Record.read(Path(path))
    text = canonical_json(record.as_dict(HEAVY))
    return Row(name, state, text, base64.b64decode(record.right), data_of(record))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_rows(root: Path, names: Sequence[str], many: int | None = None) -> Iterator[Row]:
    """Read and check the records of some files, in any order.

    Args:
        root: The folder.
        names: Paths relative to the folder.
        many: Fewest files that several processes read; None for `MANY`.

    Raises:
        RecordError: If a record cannot be believed; the first of several is named.
    """
    workers = min(_MOST, cores())
    unread = dict.fromkeys(names)
    if len(names) >= (MANY if many is None else many) and workers > 1:
        for row in _by_workers(str(root), [names[i::workers] for i in range(workers)]):
            del unread[row.name]
            yield row
    # A worker stops silently at a record that it cannot believe; reading it here raises the error.
    for name in unread:
        yield read_row(str(root), name)


def _by_workers(root: str, parts: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Rows that workers read, one worker per part; no rows if no worker can be started."""
    with ExitStack() as stack:
        try:
            streams = [_start(stack, {"root": root, "names": part}) for part in parts]
        except OSError:
            return
        while streams:
            for stream in list(streams):
                # A killed worker leaves an incomplete line.
                if not (line := stream.readline()).endswith(b"\n"):
                    streams.remove(stream)
                    continue
                name, state, text, bits, data = json.loads(line)
                yield Row(name, state and State(*state), text, base64.b64decode(bits), data)


def _start(stack: ExitStack, task: dict[str, Any]) -> IO[bytes]:
    """Start a worker, which ends with the stack, and return its output."""
    task_file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the stack
    stack.callback(task_file.close)
    task_file.write(json.dumps(task).encode())
    task_file.seek(0)
    worker = subprocess.Popen(
        [sys.executable or "python", "-m", __name__],
        stdin=task_file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=1 << 20,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    stack.callback(worker.wait)
    stack.callback(worker.kill)
    assert worker.stdout is not None
    stack.callback(worker.stdout.close)
    return worker.stdout


def _work() -> None:
    """Read the records that stdin names and print a line for each; stop at a damaged one."""
    gc.disable()  # no record is part of a reference cycle
    task = json.load(sys.stdin)
    with suppress(BenchError, BrokenPipeError):
        for name in task["names"]:
            row = read_row(task["root"], name)
            answer = [*row[:3], base64.b64encode(row.bits).decode(), row.data]
            sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _work()
