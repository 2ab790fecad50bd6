"""Keep features under the hash of their recipe, on disk or under any fsspec URL."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from susx_bench.errors import OutputError
from susx_bench.features.blocks import BLOCK
from susx_bench.records.files import (
    canonical_json,
    make_folder,
    sha256_arrays,
    sha256_json,
    write_atomic,
)
from susx_bench.records.kept import CACHE_VARIABLE
from susx_bench.records.kept import cache_url as cache_url
from susx_bench.records.paths import read_bytes
from susx_bench.records.shared import Lock
from susx_bench.records.text import safetensors_note

SHARD = 4 * BLOCK
"""Rows per file. A killed run loses the shard in progress, and a rank computes whole shards."""
PATIENCE = 20.0
"""Seconds in which a service must answer."""
_META = "features"


def rows_in(shards: Sequence[int], rows: int) -> int:
    """Number of rows in some shards of a list of `rows` rows."""
    return sum(min(SHARD, rows - shard * SHARD) for shard in shards)


class FeatureStore:
    """Lists of feature rows, in shards of `SHARD` rows.

    Every shard is written whole or not at all, and every process writes the same bytes, so any
    number of runs may fill one store. A shard is checked against its own hash when it is read.

    Args:
        url: Folder or fsspec URL, created by the first write. It must be the same place for every
            process of a run.

    Raises:
        OutputError: If no such service is known, or it does not answer.
    """

    def __init__(self, url: str) -> None:
        self._shown = re.sub(r"//[^/@]*@", "//", url)  # without a user and a password
        self._files, self._root = self._reach(url)
        self._local = self._files.protocol in ("file", ("file", "local"))

    def _reach(self, url: str) -> tuple[Any, str]:
        """Open the place that a URL names, if it answers within `PATIENCE` seconds."""
        if "://" not in url:  # not for fsspec: a folder's name may contain ::
            return fsspec.filesystem("file"), str(Path(url).absolute())
        opened: list[tuple[Any, str]] = []
        errors: list[BaseException] = []

        def open_() -> None:
            try:
                files, root = fsspec.url_to_fs(url)
                try:
                    files.info(root)
                except FileNotFoundError as error:
                    # fsspec reports an unreachable HTTP server so, with the reason as cause.
                    cause = error.__cause__
                    if cause is not None and not isinstance(cause, FileNotFoundError):
                        raise cause from error
                opened.append((files, root))
            except BaseException as error:  # each protocol's library has its own errors
                errors.append(error)

        # Not every library has a time limit, and none can be interrupted.
        thread = threading.Thread(target=open_, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if opened:
            return opened[0]
        why = f"no answer within {PATIENCE:.0f} s"
        if errors:
            message = " ".join(str(errors[0]).split()) or type(errors[0]).__name__
            why = message.replace(url, self._shown)
        raise OutputError(
            f"the feature cache {self._shown} cannot be opened: {why.rstrip('.')}. Set "
            f"{CACHE_VARIABLE} to a folder, or to a place that answers."
        )

    def path(self, recipe: dict[str, Any], shard: int) -> str:
        """Path of a shard of the rows that `recipe` describes."""
        return f"{self._root}/features/{sha256_json(recipe)}/{shard:06d}.safetensors"

    def get(self, recipe: dict[str, Any], shard: int) -> Tensor | None:
        """Read a shard back; None if it is missing or damaged.

        A truncated, changed or foreign file counts as damaged: the shard is made again.

        Raises:
            OutputError: If the service does not answer.
        """
        path = self.path(recipe, shard)
        try:
            content: bytes = self._read(path)
            meta = safetensors_note(content, _META)
            features = load(content)["features"]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return features if meta == self._meta(recipe, shard, features) else None

    def put(self, recipe: dict[str, Any], shard: int, features: Tensor) -> None:
        """Write a shard, whole or not at all.

        Raises:
            OutputError: If the place cannot be written.
        """
        features = features.contiguous()
        meta = self._meta(recipe, shard, features)
        content = save({"features": features}, metadata={_META: canonical_json(meta)})
        self._write(self.path(recipe, shard), content)

    def lock(self, recipe: dict[str, Any], shard: int) -> Lock:
        """Lock for the process that makes a shard; always free if the store is no local folder.

        It ends with the process that holds it, even if that is killed.

        Raises:
            OutputError: If the place cannot be written.
        """
        if not self._local:
            return Lock(None)
        path = Path(self.path(recipe, shard))
        try:
            make_folder(path.parent)
        except OutputError as error:
            raise self._unwritable(error) from error
        return Lock(path)

    def _write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        if self._local:
            try:
                write_atomic(Path(path), content)
            except OutputError as error:
                raise self._unwritable(error) from error
            return
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, content)  # object stores show an object when it is whole
        except Exception as error:  # as in `_reach`
            raise OutputError(
                f"{path} in the feature cache {self._shown} cannot be written: {error}."
            ) from error

    def _unwritable(self, error: OutputError) -> OutputError:
        cause = error.__cause__
        why = cause.strerror if isinstance(cause, OSError) else str(error)
        return OutputError(
            f"the feature cache {self._root} cannot be written: {why}. Set {CACHE_VARIABLE} to "
            "another folder, or make room; what was done is kept."
        )

    def _read(self, path: str) -> bytes:
        if self._local:
            return read_bytes(Path(path))
        try:
            content: bytes = self._files.cat_file(path)
            return content
        except (FileNotFoundError, IsADirectoryError):
            raise
        except Exception as error:  # as in `_reach`
            raise OutputError(
                f"{path} in the feature cache {self._shown} cannot be read: {error}."
            ) from error

    def note(self, key: str) -> Any:
        """The JSON value kept under a key; None if it is missing or damaged."""
        try:
            content = json.loads(self._files.cat_file(self._note_path(key)))
            return content["value"] if content["sha256"] == _seal(key, content["value"]) else None
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return None

    def keep_note(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key.

        Raises:
            OutputError: If the place cannot be written.
        """
        note = {"value": value, "sha256": _seal(key, value)}
        self._write(self._note_path(key), canonical_json(note).encode())

    def _note_path(self, key: str) -> str:
        return f"{self._root}/notes/{key}.json"

    def load(self, recipe: dict[str, Any], rows: int) -> list[Tensor | None]:
        """All shards of a list of `rows` rows, None for each missing one."""
        return [self.get(recipe, shard) for shard in range(-(-rows // SHARD))]

    def lacks(self, recipe: dict[str, Any], rows: int) -> list[int]:
        """Numbers of the missing shards of a list of `rows` rows; no shard stays in memory."""
        return [i for i in range(-(-rows // SHARD)) if self.get(recipe, i) is None]

    @staticmethod
    def _meta(recipe: dict[str, Any], shard: int, features: Tensor) -> dict[str, Any]:
        digest = sha256_arrays({"features": features.numpy()})
        return {"recipe": recipe, "shard": shard, "sha256": digest}


def _seal(key: str, value: Any) -> str:
    """Hash by which a changed note is noticed."""
    return sha256_json([key, value])


class StoredRows:
    """A list of rows in a store; only the shard that was read last is in memory.

    Args:
        store: The store, which has all shards of the list.
        recipe: Recipe of the list.
        rows: Number of rows.
    """

    def __init__(self, store: FeatureStore, recipe: dict[str, Any], rows: int) -> None:
        self._store = store
        self._recipe = recipe
        self._rows = rows
        self._shard = -1
        self._held: Tensor | None = None

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, position: int, /) -> Tensor:
        """The row at a position, as it was put.

        Raises:
            OutputError: If its shard is gone or damaged.
        """
        shard, place = divmod(position, SHARD)
        if shard != self._shard:
            self._held, self._shard = self._store.get(self._recipe, shard), shard
        if self._held is None:
            path = self._store.path(self._recipe, shard)
            raise OutputError(f"{path} is gone or damaged since this run began. Run it again.")
        return self._held[place]
