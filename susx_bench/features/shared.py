"""Shards that several processes make together: each makes those that it holds the lock of."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any

from susx_bench.features.store import FeatureStore

MOST = 16
"""Shards that a process takes at once, at most. It is what others wait for, or make again where
the process is killed."""
_LEAST = 2
_PORTIONS = 8  # that a list is cut into, where it is long enough
_PAUSE = 0.2  # seconds between two looks at what others are making


def portions(
    store: FeatureStore,
    recipe: dict[str, Any],
    shards: Sequence[int],
    made_elsewhere: Callable[[int], object],
) -> Generator[list[int]]:
    """Give the shards that no other process makes, in portions.

    A portion must be in the store when the next one is asked for. Shards that another process is
    making are waited for. Where it ends without them, whatever ends it, its locks are free and this
    process makes them. Every shard is given, or is in the store, when the portions end.

    Args:
        store: Where shards are kept; where it has no locks, everything is given.
        recipe: What describes the list.
        shards: Which ones are wanted.
        made_elsewhere: Told of a shard that another process has made.
    """
    left = list(shards)
    most = min(max(len(left) // _PORTIONS, _LEAST), MOST)
    while left:
        with ExitStack() as held:
            mine: list[int] = []
            busy: list[int] = []
            for number, shard in enumerate(left):
                if len(mine) == most:
                    busy += left[number:]
                    break
                lock = store.lock(recipe, shard)
                if not lock.acquire():
                    busy.append(shard)
                elif store.get(recipe, shard) is not None:
                    lock.release()
                    made_elsewhere(shard)
                else:
                    held.callback(lock.release)
                    mine.append(shard)
            left = busy
            if mine:
                yield mine
            elif left:
                time.sleep(_PAUSE)
