"""Work beside this process, in a copy of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """Start some work in a copy of this process, and return what waits for its result.

    The copy has all that this process has; only the result is sent. Where there is one core, or
    no fork to rely on, the work is done here when its result is asked for, and so it is where the
    copy died.

    Args:
        work: What to do. What it raises, the returned function raises; what it changes stays in
            the copy.
    """
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return work
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is this process's to report
        receiver.close()  # so that sending fails where nobody is left to receive
        outcome: tuple[T | None, Exception | None]
        try:
            outcome = work(), None
        except Exception as error:
            outcome = None, error
        with suppress(BrokenPipeError):
            sender.send(outcome)

    copy = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    copy.start()
    sender.close()

    def result() -> T:
        try:
            value, error = receiver.recv()
        except EOFError:
            return work()
        finally:
            receiver.close()
            copy.join()
        if error is not None:
            raise error
        return cast(T, value)

    return result
