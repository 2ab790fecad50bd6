"""Read and check the files of records; many of them in several processes.

A worker is a plain Python process that reads its task from stdin and answers with rows as a stream
of Arrow. A forked process would copy the locks of its parent's threads. `multiprocessing` would
run a user's script again if it lacks ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final

from susx_bench.errors import BenchError
from susx_bench.records.record import Record
from susx_bench.records.rows import Row, State, batch_of, rows_of, schema

MANY: Final = 4000
"""Fewest files that several processes read: fewer are read before these have started."""

_MOST = 8  # processes: more would only wait for the one that gathers their results
_ROWS = 256  # that a worker sends at once


def read_row(root: str, name: str) -> Row:
    """Read and check the record of a file in a folder.

    Raises:
        RecordError: If it cannot be believed.
    """
    path = f"{root}/{name}"
    state = State.of(path)
    return Row.of(name, state, Record.read(Path(path)))


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
    import pyarrow as pa

    same: dict[Any, Any] = {}
    with ExitStack() as stack:
        try:
            pipes = [_start(stack, {"root": root, "names": part}) for part in parts]
        except OSError:
            return
        streams: dict[IO[bytes], Any] = dict.fromkeys(pipes)
        while streams:
            for pipe, stream in list(streams.items()):
                try:
                    streams[pipe] = stream = stream or pa.ipc.open_stream(pipe)
                    batch = stream.read_next_batch()
                except (StopIteration, OSError, pa.ArrowException):  # it has ended, or was killed
                    del streams[pipe]
                else:
                    yield from rows_of(batch, same)


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
    """Read the records that stdin names and write their rows to stdout; stop at a damaged one."""
    import pyarrow as pa

    gc.disable()  # no record is part of a reference cycle
    task = json.load(sys.stdin)
    rows: list[Row] = []
    with suppress(BrokenPipeError), pa.ipc.new_stream(sys.stdout.buffer, schema()) as stream:
        with suppress(BenchError):
            for name in task["names"]:
                rows.append(read_row(task["root"], name))
                if len(rows) == _ROWS:
                    stream.write_batch(batch_of(rows))
                    rows.clear()
        if rows:
            stream.write_batch(batch_of(rows))


if __name__ == "__main__":
    _work()
