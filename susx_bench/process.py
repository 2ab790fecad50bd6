"""The process of the command line: its streams, stop signals and exit codes."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

import click

from susx_bench.console import own_rank, print_error
from susx_bench.errors import BenchError, MetByFirstError, OutputError

children: list[subprocess.Popen[bytes]] = []
"""Child processes that would wait for this one. They are ended if it fails."""

STOPPED, READER_GONE = 130, 141
"""Exit codes after Ctrl-C and after the output was closed: 128 plus the signal."""

_ENVIRONMENT = {
    errno.EACCES, errno.EDQUOT, errno.EIO, errno.ELOOP, errno.EMFILE, errno.ENAMETOOLONG,
    errno.ENFILE, errno.ENOSPC, errno.EPERM, errno.EROFS, errno.ESTALE,
}  # fmt: skip
"""System errors that come from the machine's state and not from a mistake of ours."""
_ADVICE = {
    errno.EMFILE: "Raise the limit (`ulimit -n`) and give the same command again.",
    errno.ENFILE: "Close other programs and give the same command again.",
}

_NO_ARGUMENTS: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""The exception of click 8.2 and later after it has printed the help itself."""


def run(command: Callable[[], object]) -> None:
    """Run a command and end the process with the exit codes of `susx_bench.errors`.

    Args:
        command: A click command that raises its errors.
    """
    _open_streams()
    with _heed_signals() as stopped_by:
        try:
            _check_folder()
            code = command()
            sys.stdout.flush()
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except (click.Abort, KeyboardInterrupt):
            code = 128 + stopped_by[0] if stopped_by else STOPPED
            _fail("stopped; the next run continues from here.", code)
        except _NO_ARGUMENTS as error:
            click.echo(error.ctx.get_help(), err=True)
            sys.exit(2)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except BenchError as error:
            if isinstance(error.__cause__, MetByFirstError):
                sys.exit(error.exit_code)
            _fail(str(error), error.exit_code)
        except _ReaderGoneError:
            _end_children()
            sys.exit(READER_GONE)
        except OSError as error:
            if error.errno not in _ENVIRONMENT:
                _end_children()
                raise
            what = error.filename or "this machine"
            advice = _ADVICE.get(error.errno, "What was done is kept.")
            _fail(f"{what}: {error.strerror}. {advice}", 2)
        except BaseException as error:
            _end_children()
            if isinstance(error.__cause__, MetByFirstError):
                sys.exit(1)
            raise
    if isinstance(code, int) and code:  # --help and --version end with a code of 0
        sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    """Print one line, end the other processes, and exit."""
    _end_children()
    line = " ".join(message.split())
    if len(line) > 2000:
        line = f"{line[:1000]} ... {line[-900:]}"
    rank = f"rank {own_rank()}: " if own_rank() else ""
    print_error(f"susx-bench: {rank}{line}")
    with suppress(OSError, BenchError):
        sys.stdout.flush()  # earlier output comes first
        sys.exit(code)
    _drop_output()
    sys.exit(code)


def _end_children() -> None:
    for child in children:
        child.kill()
    for child in children:
        child.wait()
    children.clear()


def _check_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - what fails is asking
    except OSError as error:
        raise OutputError("the working directory is gone. Change to one that is there.") from error


# Streams

_opened: list[int] = []
"""The handles (1 for stdout, 2 for stderr) that `_open_streams` has replaced."""


class _ReaderGoneError(BaseException):
    """The reader of the output has closed it; no error, as for any program in a pipe."""


class _Output(io.FileIO):
    """Stdout: a failed write becomes an error for the user, whichever code was printing."""

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(content)
        except BrokenPipeError as error:
            _drop_output()
            raise _ReaderGoneError from error
        except OSError as error:
            _drop_output()  # buffered text would fail again when Python ends
            raise OutputError(
                f"the output cannot be written: {error.strerror}. What was done is kept; give the "
                "same command again with room for its output."
            ) from error


class _Notes(io.FileIO):
    """Stderr: text that cannot be written is lost, without an error."""

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        try:
            return super().write(content)
        except OSError:
            return len(content)


def _open_streams() -> None:
    """Reopen the standard streams so that write errors are reported and all texts are printable.

    Streams that are not the process's own, as in tests, stay unchanged.
    """
    for handle in range(3):  # a closed one would be the next file that is opened
        try:
            os.fstat(handle)
        except OSError:
            # Stdout then stays unwritable, as the user asked.
            os.open(os.devnull, os.O_WRONLY if handle == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_Output(1, "w", closefd=False), sys.stdout)
        _opened.append(1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_Notes(2, "w", closefd=False), sys.stderr)
        _opened.append(2)


def _stream(raw: io.FileIO, before: io.TextIOBase | None) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="replace",  # rather than an error after all the work
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


def _drop_output() -> None:
    """Discard all further output, if `_open_streams` has replaced stdout."""
    if 1 in _opened:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)


# Signals


@contextmanager
def _heed_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP stop the process as Ctrl-C does.

    Yields:
        The list of signals that have stopped it: empty, or one.
    """
    stopped_by: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    names = ("SIGTERM", "SIGHUP") if main else ()
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped_by:
            return  # on the way out already
        stopped_by.append(number)
        # The current handler of Ctrl-C, such as an event loop's, handles this too.
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        if before[number] is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        yield stopped_by
    finally:
        for number in signals:
            if before[number] is not None:
                signal.signal(number, before[number])
