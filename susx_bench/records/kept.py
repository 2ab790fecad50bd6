"""Cache arrays that took long to make, and use them while their source has not changed."""

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
_LEAST = 1 << 20  # bytes; smaller arrays are made as quickly as they are read
_FRESH = 2.0  # seconds within which a second change may leave a file's times unchanged
_META = "kept"


def cache_url() -> str:
    """``SUSX_BENCH_CACHE``, a folder or an fsspec URL, or the user's own cache folder.

    Raises:
        OptionError: If the path is impossible on this machine, or the user has no home folder.
    """
    setting = os.environ.get(CACHE_VARIABLE, "")
    if "://" in setting:
        return setting
    return str(own_folder(CACHE_VARIABLE, platformdirs.user_cache_path("susx-bench")))


def file_state(path: Path) -> list[int] | None:
    """The state of a file or a folder, which changes when it changes.

    It is None for `_FRESH` seconds after a change, in which another change may go unseen.

    Raises:
        OSError: If the path does not exist.
    """
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < _FRESH:
        return None
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def kept(name: Sequence[str], state: Any, make: Callable[[], Arrays]) -> Arrays:
    """Read arrays from the cache, or make and keep them.

    The latest arrays of a name are kept, if they are large and the cache is a local folder.

    Args:
        name: Name of the arrays: their kind and their source.
        state: JSON that changes when the source does, see `file_state`; None to keep nothing.
        make: Makes the arrays.
    """
    if state is None or "://" in (url := cache_url()):
        return make()
    path = Path(url) / "lists" / f"{sha256_json(list(name))}.safetensors"
    state = json.loads(canonical_json(state))
    arrays = _read(path, state)
    if arrays is None:
        arrays = make()
        if sum(array.nbytes for array in arrays.values()) >= _LEAST:
            meta = canonical_json({"state": state, "sha256": sha256_arrays(arrays)})
            try:
                write_atomic(path, save(arrays, metadata={_META: meta}))
            except OutputError:  # the next run makes them again
                return arrays
    return arrays


def _read(path: Path, state: Any) -> Arrays | None:
    """Read arrays that were kept in this state; None if there are none that can be believed."""
    try:
        content = read_bytes(path)
        meta = safetensors_note(content, _META)
        if meta["state"] != state:
            return None
        arrays: Arrays = load(content)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return arrays if meta["sha256"] == sha256_arrays(arrays) else None


def as_array(value: Any) -> NDArray[np.uint8]:
    """A JSON value as an array, to be kept beside others."""
    return np.frombuffer(canonical_json(value).encode(), np.uint8)


def from_array(array: NDArray[np.uint8]) -> Any:
    """The JSON value of `as_array`."""
    return json.loads(array.tobytes())
