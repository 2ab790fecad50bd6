"""Read and check the files of records, in several processes where they are many.

A worker is a plain Python process that is told what to read on its stdin and answers with a line
of JSON per record. A process that forked itself would copy the locks of its threads, and one that
`multiprocessing` starts runs a user's script again that has no ``if __name__ == "__main__"``.
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
"""Fields of a record that have a value per image or class."""
MANY: Final = 4000
"""Files from which they are read by several processes: fewer are read before these have started."""

_MOST = 8  # processes: more only wait for the one that gathers what they read


class State(NamedTuple):
    """By what a file is known to be unchanged.

    Any program can set the time of modification. The time of the last change is the system's own,
    and a file that was written anew under its name has another number.

    Attributes:
        size: Bytes.
        modified: When its content was written, nanoseconds.
        changed: When anything of it was changed, nanoseconds.
        number: The file system's number of it.
    """

    size: int
    modified: int
    changed: int
    number: int

    @classmethod
    def of(cls, path: str) -> State | None:
        """The state of a file now; None where it is gone: whoever reads it says so."""
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path takes longer to make than this
        except OSError:
            return None
        number = found.st_ino & (2**63 - 1)  # as large as a column of integers can hold
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, number)


class Row(NamedTuple):
    """What is kept of a file that was read and checked.

    Attributes:
        name: Path from the folder.
        state: State before it was read; None where it was gone.
        text: JSON of its record, but for `HEAVY`.
        bits: The bits of `Record.right`, eight per byte.
        data: `susx_bench.records.cells.data_of` it.
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
        names: Paths from there.
        many: From how many on they are read by several processes; `MANY` unless said.

    Raises:
        RecordError: If one cannot be believed; of several it is the first one.
    """
    workers = min(_MOST, cores())
    left = dict.fromkeys(names)
    if len(names) >= (MANY if many is None else many) and workers > 1:
        for row in _by_workers(str(root), [names[i::workers] for i in range(workers)]):
            del left[row.name]
            yield row
    # A worker ends at a file that it cannot believe. What it says of it is said here.
    for name in left:
        yield read_row(str(root), name)


def _by_workers(root: str, parts: Sequence[Sequence[str]]) -> Iterator[Row]:
    """What a worker for each part reads, as far as it comes; nothing where none can be started."""
    with ExitStack() as stack:
        try:
            streams = [_start(stack, {"root": root, "names": part}) for part in parts]
        except OSError:
            return
        while streams:
            for stream in list(streams):
                # What a killed worker has torn is no line.
                if not (line := stream.readline()).endswith(b"\n"):
                    streams.remove(stream)
                    continue
                name, state, text, bits, data = json.loads(line)
                yield Row(name, state and State(*state), text, base64.b64decode(bits), data)


def _start(stack: ExitStack, task: dict[str, Any]) -> IO[bytes]:
    """Start a worker, which ends with the stack, and give its answers."""
    told = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the stack
    stack.callback(told.close)
    told.write(json.dumps(task).encode())
    told.seek(0)
    worker = subprocess.Popen(
        [sys.executable or "python", "-m", __name__],
        stdin=told,
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
    """Read what stdin says, and print a line for each, until one cannot be believed."""
    gc.disable()  # no record is part of a circle
    task = json.load(sys.stdin)
    with suppress(BenchError, BrokenPipeError):
        for name in task["names"]:
            row = read_row(task["root"], name)
            answer = [*row[:3], base64.b64encode(row.bits).decode(), row.data]
            sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _work()
