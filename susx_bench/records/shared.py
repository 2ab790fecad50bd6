"""Work that several processes share: each makes those files that it holds the lock of."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, FileLock, Timeout

from susx_bench.records.files import UNFINISHED, make_folder

T = TypeVar("T")
_PAUSE = 0.2  # seconds between two looks at what others are making


class Lock:
    """The lock of whoever makes a file. It ends with the process that holds it, however that ends.

    It works between the processes of one machine, and of several that share a file system with
    locks. Where there are none everybody gets it: what is made twice is the same. The file that a
    killed process leaves is swept away as other unfinished ones are.

    Args:
        path: The file that is to be made; None for a lock that everybody gets.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock: BaseFileLock | None = None
        if path is not None:
            self._lock = FileLock(path.with_name(f".{path.name[:200]}.lock{UNFINISHED}"))

    def acquire(self) -> bool:
        """Take the lock if nobody has it.

        Raises:
            OutputError: If the folder cannot be written.
        """
        if self._lock is None:
            return True
        make_folder(Path(self._lock.lock_file).parent)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            self._lock = None
        return True

    def release(self) -> None:
        """Give the lock back, and remove its file."""
        if self._lock is not None:
            # Whoever has opened the file already looks again whether the work is done.
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()


def portions(
    items: Sequence[T],
    most: int,
    lock: Callable[[T], Lock],
    is_made: Callable[[T], bool],
    *,
    wait: bool = True,
) -> Generator[list[T]]:
    """Give the items that no other process makes, in portions.

    A portion must be made when the next one is asked for. Items that another process is making are
    waited for. Where it ends without them, its locks are free and this process makes them. Every
    item was given, or is made, when the portions end.

    Args:
        items: What is wanted.
        most: Items of a portion at most. It is what others wait for.
        lock: The lock of an item, not yet taken.
        is_made: Whether an item is made; asked while its lock is held.
        wait: Whether to wait for what others are making; else the portions end without it.
    """
    remaining = list(items)
    while remaining:
        with ExitStack() as held:
            portion: list[T] = []
            busy: list[T] = []
            for number, item in enumerate(remaining):
                if len(portion) == most:
                    busy += remaining[number:]
                    break
                its = lock(item)
                if not its.acquire():
                    busy.append(item)
                elif is_made(item):
                    its.release()
                else:
                    held.callback(its.release)
                    portion.append(item)
            remaining = busy
            if portion:
                yield portion
            elif remaining and not wait:
                return
            elif remaining:
                time.sleep(_PAUSE)
