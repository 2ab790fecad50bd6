"""A support set on disk: images, a manifest that describes them, and a recipe to rebuild them.

```
recipe.json          everything needed to build it again
manifest.parquet     one row per image, and one per candidate that was left out
images/00003/0007.png   by class and place, for viewing; labels are in the manifest
features.safetensors    instead of images, if only features were published
SHA256SUMS           hashes of recipe, manifest and features, written last: a set without it is
                     not finished; `sha256sum -c SHA256SUMS` checks a set
progress-*.jsonl     rows of an unfinished build, one file per process
```
"""

from __future__ import annotations

import json
import re
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from susx_bench.errors import SupportError
from susx_bench.records.files import (
    append_lines,
    canonical_json,
    sha256_bytes,
    sha256_file,
    whole_lines,
    write_atomic,
)
from susx_bench.records.paths import own_folder, read_bytes
from susx_bench.support.manifest import COLUMNS, KEPT, Row, fault, feature_sha256
from susx_bench.support.recipe import SCHEMA, Recipe, schema_of

ROOT_VARIABLE = "SUSX_BENCH_SUPPORT"
RECIPE = "recipe.json"
_MANIFEST = "manifest.parquet"
_FEATURES = "features.safetensors"
_SUMS = "SHA256SUMS"
_SUMMED = (RECIPE, _MANIFEST, _FEATURES)
_SUM = re.compile(f"[0-9a-f]{{64}}  ({'|'.join(map(re.escape, _SUMMED))})")


class SupportFolder:
    """The folder of a support set, finished or not.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # A new file per process: the last line of a killed run may be torn, and must stay last.
        self._progress = path / f"progress-{uuid.uuid4().hex}.jsonl"

    @property
    def answers(self) -> Path:
        """Answers of a backend in an unfinished build, in sealed lines."""
        return self.path / "progress.answers"

    @property
    def lock(self) -> Path:
        """The file that a building process locks; it is empty and never removed."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def recipe(self) -> Recipe:
        """The recipe of the set.

        Raises:
            SupportError: If it is missing, cannot be read, or was changed.
        """
        if not self.exists:
            raise SupportError(
                f"{self.path} is no support set: it has no {RECIPE}. `susx-bench support build "
                "--kind sus-lc --import FOLDER` makes one of a folder of images."
            )
        if self.finished:
            self._summed(RECIPE)
        return Recipe.read(self.path / RECIPE)

    @property
    def exists(self) -> bool:
        """Whether a build was begun here."""
        return (self.path / RECIPE).is_file()

    @property
    def finished(self) -> bool:
        """Whether the build is finished; the content may have been changed since."""
        return (self.path / _SUMS).is_file()

    @property
    def outdated(self) -> bool:
        """Whether it was built under another schema than `SCHEMA`."""
        if not self.exists:
            return False
        content = self._summed(RECIPE) if self.finished else read_bytes(self.path / RECIPE)
        return schema_of(content) != SCHEMA

    @property
    def blank(self) -> bool:
        """Whether the folder contains nothing but a recipe."""
        patterns = ("progress*", "images/*/*", _MANIFEST, _FEATURES, _SUMS)
        return not any(any(self.path.glob(pattern)) for pattern in patterns)

    def _sums(self) -> dict[str, str]:
        """The hash of each file that `SHA256SUMS` names.

        Raises:
            SupportError: If it was changed.
        """
        path = self.path / _SUMS
        try:
            text = read_bytes(path).decode("ascii")
            sums = {line[66:]: line[:64] for line in text.split("\n")[:-1] if _SUM.fullmatch(line)}
        except (OSError, ValueError):
            text, sums = "", {}
        if not {RECIPE, _MANIFEST} <= sums.keys() or text != _sums_file(sums):
            raise SupportError(f"{path} is damaged. {self.again(_SUMS)}")
        return sums

    def _summed(self, name: str) -> bytes:
        """The content of a file of a finished set, checked against its hash.

        Raises:
            SupportError: If the file is gone or was changed.
        """
        return self._read(name, self._sums().get(name, ""))

    def _read(self, name: str, sha256: str) -> bytes:
        path = self.path / name
        try:
            content = read_bytes(path)
        except OSError as error:
            raise SupportError(
                f"{path} cannot be read: {error.strerror or error}. {self.again(name)}"
            ) from error
        listing = _SUMS if name in _SUMMED else _MANIFEST
        if (actual := sha256_bytes(content)) != sha256:
            raise SupportError(
                f"{path} was changed: its sha256 is {actual[:12]}, {listing} has "
                f"{sha256[:12] or 'none'}. {self.again(name)}"
            )
        return content

    def again(self, name: str) -> str:
        """How to repair a set with a missing or changed file of this name."""
        if name in (RECIPE, _SUMS):
            return (
                "`susx-bench support build --force`, with the options that it was built with, "
                "builds it again."
            )
        root, place = self.path.parent.parent, shlex.quote(self.path.name)
        return (
            f"`susx-bench support build --recipe {shlex.quote(str(self.path / RECIPE))} "
            f"--root {shlex.quote(str(root))} --name {place}"
            + (" --force`" if name in _SUMMED else "`")
            + " builds it again."
        )

    def rows(self) -> list[Row]:
        """The rows of the manifest, in its order.

        Raises:
            SupportError: If it was changed, or has an impossible row.
        """
        path, recipe = self.path / _MANIFEST, self.recipe
        content = self._summed(_MANIFEST)
        try:
            table = pq.read_table(pa.BufferReader(content))
            rows = [Row.model_validate(row) for row in table.to_pylist()]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise SupportError(
                f"{path}: {first['loc'][0]} {first['input']}: {first['msg']}. "
                f"{self.again(_MANIFEST)}"
            ) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SupportError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error
        if wrong := fault(rows, recipe, given=_FEATURES in self._sums()):
            raise SupportError(f"{path}: {wrong}. {self.again(_MANIFEST)}")
        return rows

    def read(self, row: Row) -> bytes:
        """The image file of a row.

        Raises:
            SupportError: If it is gone or was changed.
        """
        return self._read(row.file, row.sha256)

    def intact(self, row: Row) -> bool:
        """Whether the image of a row exists unchanged."""
        path = self.path / row.file
        return not row.file or (path.is_file() and sha256_file(path) == row.sha256)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe of a new build, which continues from the existing images."""
        self.reopen()
        text = json.dumps(recipe.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
        write_atomic(self.path / RECIPE, f"{text}\n".encode())

    def reopen(self) -> None:
        """Turn a finished set into an unfinished one, with its images as progress."""
        if self.finished:
            self.note(self.rows())
            (self.path / _SUMS).unlink()

    def clear(self) -> None:
        """Remove everything except images, which the build overwrites."""
        for name in (_SUMS, _MANIFEST, _FEATURES):
            (self.path / name).unlink(missing_ok=True)
        self.drop_progress()

    def discard(self) -> None:
        """Remove a folder that contains nothing but a recipe."""
        if self.exists and self.blank:
            (self.path / RECIPE).unlink()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def put(self, class_id: int, place: int, content: bytes, suffix: str) -> tuple[str, str]:
        """Write an image, whole or not at all.

        Returns:
            Its path in the folder, and its hash.

        Raises:
            OutputError: If it cannot be written.
        """
        file = f"images/{class_id:05d}/{place:04d}{suffix}"
        write_atomic(self.path / file, content)
        return file, sha256_bytes(content)

    def put_features(self, features: Tensor) -> None:
        """Write features instead of images, one row per kept row of the manifest."""
        write_atomic(self.path / _FEATURES, save({"features": features}))

    @property
    def features(self) -> Tensor | None:
        """Unit features instead of images, ``(M, D)``, one row per kept row; or None.

        Raises:
            SupportError: If they were changed, or have another form.
        """
        if _FEATURES not in self._sums():
            return None
        path = self.path / _FEATURES
        try:
            features = load(self._summed(_FEATURES))["features"]
        except (SafetensorError, KeyError, ValueError) as error:
            raise SupportError(f"{path} cannot be read: {error}.") from error
        norms = features.float().norm(dim=-1)
        unit = features.dtype == torch.float32 and features.ndim == 2
        if not unit or not bool(((norms - 1).abs() < 1e-3).all()):  # also true for NaN
            raise SupportError(
                f"{path}: its rows are not all of length 1 in fp32. {self.again(_FEATURES)}"
            )
        # Records identify a set by the hashes in its manifest, so the rows must match them.
        expected = [row.sha256 for row in self.rows() if row.fate == KEPT]
        hashes = [feature_sha256(row) for row in features]
        if expected != hashes:
            raise SupportError(
                f"{path} has {len(hashes)} rows that are not the {len(expected)} of the manifest. "
                f"{self.again(_FEATURES)}"
            )
        return features

    def note(self, rows: Sequence[Row]) -> None:
        """Save finished rows, so that a killed build can continue.

        Raises:
            OutputError: If they cannot be written.
        """
        append_sealed(self._progress, [row.model_dump(mode="json") for row in rows])

    def progress(self) -> list[Row]:
        """Rows of an unfinished build, unordered; a torn last line is ignored.

        Raises:
            SupportError: If a line was changed.
        """
        paths = sorted(self.path.glob("progress-*.jsonl"))
        return [Row.model_validate_json(text) for path in paths for text in sealed_lines(path)]

    def done(self) -> list[Row]:
        """Rows of a finished or an unfinished set."""
        return [*(self.rows() if self.finished else ()), *self.progress()]

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the manifest, by class and place; remove the progress and unlisted images."""
        order = sorted(rows, key=lambda r: (r.class_id, r.place < 0, r.place, r.prompt, r.source))
        values = [row.model_dump() for row in order]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(values, COLUMNS), buffer)
        write_atomic(self.path / _MANIFEST, buffer.getvalue().to_pybytes())
        named = {self.path / row.file for row in rows if row.file}
        for path in set(self.path.glob("images/*/*")) - named:
            path.unlink(missing_ok=True)
        existing = [name for name in _SUMMED if (self.path / name).is_file()]
        sums = {name: sha256_file(self.path / name) for name in existing}
        write_atomic(self.path / _SUMS, _sums_file(sums).encode())
        self.drop_progress()

    def drop_progress(self) -> None:
        """Remove the progress of a finished build, also if it was killed at its end."""
        for path in self.path.glob("progress*"):
            path.unlink(missing_ok=True)


def _sums_file(sums: Mapping[str, str]) -> str:
    """The content of `SHA256SUMS`, as ``sha256sum`` writes and reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def append_sealed(path: Path, values: Sequence[Any]) -> None:
    """Append JSON values to a file, one per line, each after its hash.

    Raises:
        OutputError: If they cannot be written.
    """
    texts = [canonical_json(value) for value in values]
    append_lines(path, [f"{sha256_bytes(text.encode())} {text}" for text in texts])


def sealed_lines(path: Path) -> Iterator[str]:
    """The JSON texts that were appended to a file; a torn last line is ignored.

    Raises:
        SupportError: If a line was changed.
    """
    try:
        for line in whole_lines(path):
            digest, _, text = line.partition(" ")
            if sha256_bytes(text.encode()) != digest:
                raise ValueError
            yield text
    except ValueError as error:  # also for bytes that are not UTF-8
        raise SupportError(
            f"{path} is damaged. Delete it and build again; what it told of is made again."
        ) from error


def default_root() -> Path:
    """``SUSX_BENCH_SUPPORT``, or a folder in the user's data folder."""
    return own_folder(ROOT_VARIABLE, platformdirs.user_data_path("susx-bench") / "support")
