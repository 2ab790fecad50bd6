"""Arrays that took a while to make: kept in the cache, and believed where nothing has changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from susx_bench.errors import OutputError
from susx_bench.records.files import canonical_json, sha256_arrays, sha256_json, write_atomic
from susx_bench.records.paths import own_folder, read_bytes
from susx_bench.records.text import safetensors_note

Arrays = dict[str, NDArray[Any]]

CACHE_VARIABLE = "SUSX_BENCH_CACHE"
_LEAST = 1 << 20  # bytes; less is made again as quickly as it is read
_FRESH = 2.0  # seconds in which a second change may leave a file's times as they are
_META = "kept"


def cache_url() -> str:
    """``SUSX_BENCH_CACHE``, a folder or an fsspec URL, or the user's own cache folder.

    Raises:
        OptionError: If it is a path that there cannot be, or the user has no home folder.
    """
    given = os.environ.get(CACHE_VARIABLE, "")
    if "://" in given:
        return given
    return str(own_folder(CACHE_VARIABLE, platformdirs.user_cache_path("susx-bench")))


def file_state(path: Path) -> list[int] | None:
    """What changes where a file or a folder does; None while that may change once more unseen.

    Raises:
        OSError: If it is not there.
    """
    found = path.stat()
    if time.time() - max(found.st_mtime, found.st_ctime) < _FRESH:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def kept(name: Sequence[str], state: Any, make: Callable[[], Arrays]) -> Arrays:
    """Read arrays from the cache, or make and keep them.

    The latest ones of a name are kept, if they are large and the cache is a folder here.

    Args:
        name: What they are called: their kind and what they are of.
        state: JSON that changes where they do, see `file_state`; None for what is not kept.
        make: Makes them.
    """
    if state is None or "://" in (url := cache_url()):
        return make()
    path = Path(url) / "lists" / f"{sha256_json(list(name))}.safetensors"
    state = json.loads(canonical_json(state))
    found = _read(path, state)
    if found is None:
        found = make()
        if sum(array.nbytes for array in found.values()) >= _LEAST:
            meta = canonical_json({"state": state, "sha256": sha256_arrays(found)})
            try:
                write_atomic(path, save(found, metadata={_META: meta}))
            except OutputError:  # the next run makes them again
                return found
    return found


def _read(path: Path, state: Any) -> Arrays | None:
    """Arrays that were kept in this state; None where there are none that can be believed."""
    try:
        content = read_bytes(path)
        meta = safetensors_note(content, _META)
        if meta["state"] != state:
            return None
        found: Arrays = load(content)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return found if meta["sha256"] == sha256_arrays(found) else None


def as_array(value: Any) -> NDArray[np.uint8]:
    """A JSON value as an array, to be kept beside others."""
    return np.frombuffer(canonical_json(value).encode(), np.uint8)


def from_array(array: NDArray[np.uint8]) -> Any:
    """The JSON value of `as_array`."""
    return json.loads(array.tobytes())
