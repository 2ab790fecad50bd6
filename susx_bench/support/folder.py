"""A support set on disk: images, a manifest that says what each is, a recipe that rebuilds them.

```
recipe.json          what was asked for, enough to build it again
manifest.parquet     a row an image, and a row each thing that was tried and left out
images/00003/0007.png   by class and place, for looking; labels are what the manifest says
features.safetensors    in place of images, where somebody published no more
SHA256SUMS           hashes of recipe, manifest and features, written last: without it a set is
                     not finished, and `sha256sum -c SHA256SUMS` checks it without us
progress-*.jsonl     rows of an unfinished build, a file each process that built
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
        # Never the file of a killed run: its last line may be torn, and stays the last.
        self._progress = path / f"progress-{uuid.uuid4().hex}.jsonl"

    @property
    def answers(self) -> Path:
        """What a backend answered in an unfinished build, in sealed lines."""
        return self.path / "progress.answers"

    @property
    def lock(self) -> Path:
        """The file that a process locks while it builds here; it is left, and empty."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def recipe(self) -> Recipe:
        """What it is built from.

        Raises:
            SupportError: If there is none, it cannot be read, or was changed since.
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
        """Whether the build has come to its end; what there is may have been changed since."""
        return (self.path / _SUMS).is_file()

    @property
    def outdated(self) -> bool:
        """Whether it was built by rules that are not those of `SCHEMA`."""
        if not self.exists:
            return False
        content = self._summed(RECIPE) if self.finished else read_bytes(self.path / RECIPE)
        return schema_of(content) != SCHEMA

    @property
    def blank(self) -> bool:
        """Whether no build has left anything here but its recipe."""
        made = ("progress*", "images/*/*", _MANIFEST, _FEATURES, _SUMS)
        return not any(any(self.path.glob(pattern)) for pattern in made)

    def _sums(self) -> dict[str, str]:
        """The hash of each file that `SHA256SUMS` names.

        Raises:
            SupportError: If it is not as it was written.
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
        """The content of a file of a finished set, believed because its hash was written last.

        Raises:
            SupportError: If the file is gone, or is not the one that was written.
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
        said = _SUMS if name in _SUMMED else _MANIFEST
        if (there := sha256_bytes(content)) != sha256:
            raise SupportError(
                f"{path} was changed: its sha256 is {there[:12]}, {said} has "
                f"{sha256[:12] or 'none'}. {self.again(name)}"
            )
        return content

    def again(self, name: str) -> str:
        """How to mend a set of which the file of this name is gone or changed."""
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
            SupportError: If it was changed, or holds what no manifest can hold.
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
            SupportError: If it is gone, or is not the one that was written.
        """
        return self._read(row.file, row.sha256)

    def intact(self, row: Row) -> bool:
        """Whether the image of a row is there and is the one that was written."""
        path = self.path / row.file
        return not row.file or (path.is_file() and sha256_file(path) == row.sha256)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe of a new build, which goes on from what is there."""
        self.reopen()
        text = json.dumps(recipe.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
        write_atomic(self.path / RECIPE, f"{text}\n".encode())

    def reopen(self) -> None:
        """Make an unfinished set of a finished one; what it holds is progress again."""
        if self.finished:
            self.note(self.rows())
            (self.path / _SUMS).unlink()

    def clear(self) -> None:
        """Forget everything but images, which are overwritten as they come."""
        for name in (_SUMS, _MANIFEST, _FEATURES):
            (self.path / name).unlink(missing_ok=True)
        self.drop_progress()

    def discard(self) -> None:
        """Remove a folder in which nothing but a recipe was written."""
        if self.exists and self.blank:
            (self.path / RECIPE).unlink()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def put(self, class_id: int, place: int, content: bytes, suffix: str) -> tuple[str, str]:
        """Write an image; whole, or not at all.

        Returns:
            Its path in the folder, and its hash.

        Raises:
            OutputError: If it cannot be written.
        """
        file = f"images/{class_id:05d}/{place:04d}{suffix}"
        write_atomic(self.path / file, content)
        return file, sha256_bytes(content)

    def put_features(self, features: Tensor) -> None:
        """Write features in place of images, a row for each kept row of the manifest."""
        write_atomic(self.path / _FEATURES, save({"features": features}))

    @property
    def features(self) -> Tensor | None:
        """Unit features in place of images, ``(M, D)``, a row for each kept row; or None.

        Raises:
            SupportError: If they were changed, or are no such features.
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
        if not unit or not bool(((norms - 1).abs() < 1e-3).all()):  # so for NaN
            raise SupportError(
                f"{path}: its rows are not all of length 1 in fp32. {self.again(_FEATURES)}"
            )
        # A record knows a set by the hashes in its manifest, so the rows must be theirs.
        told = [row.sha256 for row in self.rows() if row.fate == KEPT]
        there = [feature_sha256(row) for row in features]
        if told != there:
            raise SupportError(
                f"{path} has {len(there)} rows that are not the {len(told)} of the manifest. "
                f"{self.again(_FEATURES)}"
            )
        return features

    def note(self, rows: Sequence[Row]) -> None:
        """Keep the rows of what is done, so that a killed build goes on from there.

        Raises:
            OutputError: If they cannot be written.
        """
        append_sealed(self._progress, [row.model_dump(mode="json") for row in rows])

    def progress(self) -> list[Row]:
        """Rows of an unfinished build, in no order; a torn last line counts as none.

        Raises:
            SupportError: If a line was changed.
        """
        paths = sorted(self.path.glob("progress-*.jsonl"))
        return [Row.model_validate_json(text) for path in paths for text in sealed_lines(path)]

    def done(self) -> list[Row]:
        """Rows of what is there, of a finished set or of an unfinished one."""
        return [*(self.rows() if self.finished else ()), *self.progress()]

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the manifest, by class and place; drop the progress and images it does not name."""
        order = sorted(rows, key=lambda r: (r.class_id, r.place < 0, r.place, r.prompt, r.source))
        values = [row.model_dump() for row in order]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(values, COLUMNS), buffer)
        write_atomic(self.path / _MANIFEST, buffer.getvalue().to_pybytes())
        named = {self.path / row.file for row in rows if row.file}
        for path in set(self.path.glob("images/*/*")) - named:
            path.unlink(missing_ok=True)
        there = [name for name in _SUMMED if (self.path / name).is_file()]
        sums = {name: sha256_file(self.path / name) for name in there}
        write_atomic(self.path / _SUMS, _sums_file(sums).encode())
        self.drop_progress()

    def drop_progress(self) -> None:
        """Remove the notes of a build that has come to its end, also one killed right then."""
        for path in self.path.glob("progress*"):
            path.unlink(missing_ok=True)


def _sums_file(sums: Mapping[str, str]) -> str:
    """The content of `SHA256SUMS`, as ``sha256sum`` writes and reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def append_sealed(path: Path, values: Sequence[Any]) -> None:
    """Append JSON values to a file, a line each, with its hash before it.

    Raises:
        OutputError: If they cannot be written.
    """
    texts = [canonical_json(value) for value in values]
    append_lines(path, [f"{sha256_bytes(text.encode())} {text}" for text in texts])


def sealed_lines(path: Path) -> Iterator[str]:
    """The JSON texts that were appended to a file; a torn last one counts as none.

    Raises:
        SupportError: If a line was changed since.
    """
    try:
        for line in whole_lines(path):
            digest, _, text = line.partition(" ")
            if sha256_bytes(text.encode()) != digest:
                raise ValueError
            yield text
    except ValueError as error:  # so for bytes that are no UTF-8
        raise SupportError(
            f"{path} is damaged. Delete it and build again; what it told of is made again."
        ) from error


def default_root() -> Path:
    """``SUSX_BENCH_SUPPORT``, or the folder for what this user has made."""
    return own_folder(ROOT_VARIABLE, platformdirs.user_data_path("susx-bench") / "support")
