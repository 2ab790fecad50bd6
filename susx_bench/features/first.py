"""What rank 0 decides or makes alone, for all ranks."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import susx_bench.errors as errors
from susx_bench.errors import BenchError, MetByFirstError
from susx_bench.features.launch import Launch
from susx_bench.ranks import starts_others

early: dict[str, str] = {}
"""Texts by name, made before rank 0 has started the others. They get them when they meet it."""

_asked: Counter[str] = Counter()
"""How often each name was asked for, the same on every rank."""


def from_first(launch: Launch, name: str, make: Callable[[], str]) -> str:
    """A text that rank 0 makes alone, on every rank.

    The others wait for it, for as long as it takes and without using a core. Rank 0 starts no
    process for it, and waits for none that it starts itself. A single process makes it.

    Args:
        launch: The launch of all processes.
        name: Name of the text. Every rank asks for the texts of a name in the same order.
        make: Makes the text, on rank 0.

    Raises:
        BenchError: The one that `make` raised, on every rank.
        RuntimeError: On the other ranks, if `make` raised any other error, or rank 0 has ended.
    """
    if launch.processes == 1:
        return make()
    _asked[name] += 1
    name = f"{name} {_asked[name]}"
    if not launch.is_main:
        return _told(launch, name)
    try:
        text = make()
    except Exception as error:
        _tell(launch, name, {"error": _kind(error), "message": _line(error)})
        raise
    _tell(launch, name, {"text": text})
    return text


def _tell(launch: Launch, name: str, content: dict[str, str]) -> None:
    text = json.dumps(content)
    if starts_others(launch.devices, launch.num_nodes):
        early[name] = text
    else:
        from susx_bench.features.predict import met

        met(launch).set(name, text)


def _told(launch: Launch, name: str) -> str:
    """Wait for a text of rank 0, in steps, so that a signal still stops this process."""
    from torch.distributed import DistError

    from susx_bench.features.predict import met

    store, gone = met(launch), MetByFirstError("rank 0 has ended")
    try:
        while not store.check([name]):
            time.sleep(0.1)
        content = json.loads(store.get(name))
    except DistError:
        raise RuntimeError(str(gone)) from gone
    if "text" in content:
        text: str = content["text"]
        return text
    cause, message = MetByFirstError("rank 0 has met it"), content["message"]
    kind = getattr(errors, content["error"], None)
    if kind is None:
        raise RuntimeError(f"rank 0: {message}") from cause
    error = kind.__new__(kind)
    BenchError.__init__(error, message)
    raise error from cause


def _kind(error: Exception) -> str:
    """The nearest class of `susx_bench.errors` that an error is one of; empty if none."""
    mine = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return next(mine, "")


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
