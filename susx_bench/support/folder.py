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
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError
from susx_bench.records.files import (
    append_lines,
    canonical_json,
    sha256_arrays,
    sha256_bytes,
    sha256_file,
    sha256_json,
    whole_lines,
    write_atomic,
)
from susx_bench.records.paths import own_folder, read_bytes
from susx_bench.records.text import read_text

SCHEMA = 2
"""Of a recipe. Under 1, an image that several prompts found stood at its last place."""
ROOT_VARIABLE = "SUSX_BENCH_SUPPORT"
KEPT = "kept"
_SHOWN = 5  # names in a line
_RECIPE = "recipe.json"
_MANIFEST = "manifest.parquet"
_FEATURES = "features.safetensors"
_SUMS = "SHA256SUMS"
_SUMMED = (_RECIPE, _MANIFEST, _FEATURES)
_SUM = re.compile(f"[0-9a-f]{{64}}  ({'|'.join(map(re.escape, _SUMMED))})")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Generation(_Strict):
    """How SuS-SD's images are generated.

    Attributes:
        model: ``demo``, a folder, or a repository on the hub.
        revision: Commit of the repository; of a folder, the hash of its files.
        pipeline: Class of the pipeline.
        steps: Denoising steps.
        guidance: Weight of classifier-free guidance; at most 1 is none.
        precision: What the pipeline computes in.
        block: Images computed together, always.
        safety_checker: Whether the pipeline blanks images it takes for unsafe.
    """

    model: str
    revision: str
    pipeline: str
    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance: Annotated[float, Field(ge=0, le=1000)]
    precision: str
    block: Annotated[int, Field(ge=1, le=1000)]
    safety_checker: bool


class Retrieval(_Strict):
    """Where SuS-LC's images are retrieved from.

    Attributes:
        source: ``pool``, ``backend``, ``import`` or, without images, ``features``.
        place: Folder, ``hf:ORG/NAME@REVISION``, or address of the backend.
        content_sha256: Hash of what the place held; empty for a backend, whose answers the
            manifest keeps.
        encoder: Encoder of the pool or of the features; empty where there is none.
        weights_sha256: Hash of its weights.
        precision: What it computed in.
        search: ``exact`` or ``ivf``; the backend's index for a backend.
        test_sha256: Hash of the test images that copies were looked for of; empty where they
            were not looked for.
    """

    source: Literal["pool", "backend", "import", "features"]
    place: str
    content_sha256: str = ""
    encoder: str = ""
    weights_sha256: str = ""
    precision: str = ""
    search: str = ""
    test_sha256: str = ""


class Recipe(_Strict):
    """What a support set is built from.

    Attributes:
        schema_: `SCHEMA`.
        kind: ``sus-sd``, ``sus-lc``, or a kind of a plugin.
        dataset: Name of the dataset whose classes it has.
        classnames: Its canonical class names.
        prompts: Kind of prompts.
        texts: The prompts of each class, in the order in which they are used.
        per_class: Images a class.
        seed: The user's seed.
        generation: For ``sus-sd``.
        retrieval: For ``sus-lc``.
    """

    schema_: int = Field(default=SCHEMA, alias="schema")
    kind: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    dataset: str
    classnames: Annotated[tuple[str, ...], Field(min_length=1)]
    prompts: str
    texts: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...]
    per_class: Annotated[int, Field(ge=1, le=10_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    generation: Generation | None = None
    retrieval: Retrieval | None = None

    @model_validator(mode="after")
    def _each_class_has_texts(self) -> Recipe:
        if len(self.texts) != len(self.classnames):
            raise ValueError(f"{len(self.classnames)} classes, texts for {len(self.texts)}")
        return self

    def differs(self, other: Recipe) -> list[str]:
        """What two recipes differ in, by the names of their fields."""
        mine, theirs = (_flat(r.model_dump(mode="json", by_alias=True)) for r in (self, other))
        return sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            SupportError: If it cannot be read, or has another form.
        """
        try:
            content = read_text(path)
            if (schema := _schema_of(content)) != SCHEMA:
                raise SupportError(
                    f"{path} is a recipe of schema {schema}, this version has {SCHEMA}. The same "
                    "`susx-bench support build` as before, without --recipe, builds the set again."
                )
            return cls.model_validate_json(content)
        except OSError as error:
            raise SupportError(f"{path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            # An unknown key says more than the missing one it was meant to be.
            first = min(error.errors(include_url=False), key=lambda e: "extra" not in e["type"])
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise SupportError(f"{path} is no recipe: {place}: {first['msg']}.") from error
        except ValueError as error:
            raise SupportError(f"{path} is no recipe: {error}.") from error


def _schema_of(content: str | bytes) -> int:
    """The schema that a recipe says it has; `SCHEMA` where it says none that can be read."""
    try:
        schema = json.loads(content)["schema"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return SCHEMA  # what is wrong with it is told by whoever reads it whole
    return schema if isinstance(schema, int) else SCHEMA


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            found |= _flat(part, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = part
    return found


class Row(_Strict):
    """One image of a support set, or one thing that was tried and left out.

    Attributes:
        class_id: Canonical class; -1 for what was tried for no class, such as an unreadable
            image of a pool.
        place: Place among the images of its class, from 0; -1 for a candidate that was left out.
        prompt: What it was generated or retrieved for.
        source: The model, a key of the pool, or a URL.
        fate: ``kept``, or why it was left out.
        of: What a copy is a copy of.
        file: Path in the folder; empty for what was left out.
        sha256: Hash of the file.
        seed: Seed of its generator; None where nothing is drawn.
        redrawn: How often it was drawn again, the picture before being blank.
        score: Cosine (or the backend's similarity) with the prompt; None where there is none.
        model: Model that generated or scored it.
        revision: Its revision.
    """

    class_id: Annotated[int, Field(ge=-1)]
    place: Annotated[int, Field(ge=-1)]
    prompt: str
    source: str
    fate: str
    of: str = ""
    file: Annotated[str, Field(pattern=r"^(images/\d{5,9}/\d{4,9}\.[a-z0-9]{1,8})?$")] = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    seed: int | None = None
    redrawn: int = 0
    score: float | None = None
    model: str = ""
    revision: str = ""


_COLUMNS = pa.schema(
    [
        ("class_id", pa.int32()),
        ("place", pa.int32()),
        ("prompt", pa.string()),
        ("source", pa.string()),
        ("fate", pa.string()),
        ("of", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("seed", pa.int64()),
        ("redrawn", pa.int32()),
        ("score", pa.float64()),
        ("model", pa.string()),
        ("revision", pa.string()),
    ]
)


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
                f"{self.path} is no support set: it has no {_RECIPE}. `susx-bench support build "
                "--kind sus-lc --import FOLDER` makes one of a folder of images."
            )
        if self.finished:
            self._summed(_RECIPE)
        return Recipe.read(self.path / _RECIPE)

    @property
    def exists(self) -> bool:
        """Whether a build was begun here."""
        return (self.path / _RECIPE).is_file()

    @property
    def finished(self) -> bool:
        """Whether the build has come to its end; what there is may have been changed since."""
        return (self.path / _SUMS).is_file()

    @property
    def outdated(self) -> bool:
        """Whether it was built by rules that are not those of `SCHEMA`."""
        if not self.exists:
            return False
        content = self._summed(_RECIPE) if self.finished else read_bytes(self.path / _RECIPE)
        return _schema_of(content) != SCHEMA

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
        if not {_RECIPE, _MANIFEST} <= sums.keys() or text != _sums_file(sums):
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
        if name in (_RECIPE, _SUMS):
            return (
                "`susx-bench support build --force`, with the options that it was built with, "
                "builds it again."
            )
        root, place = self.path.parent.parent, shlex.quote(self.path.name)
        return (
            f"`susx-bench support build --recipe {shlex.quote(str(self.path / _RECIPE))} "
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
        if wrong := _fault(rows, recipe, given=_FEATURES in self._sums()):
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
        write_atomic(self.path / _RECIPE, f"{text}\n".encode())

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
            (self.path / _RECIPE).unlink()
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
        pq.write_table(pa.Table.from_pylist(values, _COLUMNS), buffer)
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


def _fault(rows: Sequence[Row], recipe: Recipe, *, given: bool) -> str:
    """What is wrong with the rows of a manifest; empty for good ones.

    Args:
        rows: The rows, each of the right form.
        recipe: The recipe of the set.
        given: Whether it has features in place of images.
    """
    classes = len(recipe.classnames)
    names: set[str] = set()
    for number, row in enumerate(rows):
        kept = row.fate == KEPT
        if not (0 if kept else -1) <= row.class_id < classes:
            return f"row {number} is of class {row.class_id}, the recipe has {classes} classes"
        if kept and (row.place < 0 or not row.sha256 or bool(row.file) == given):
            return f"row {number} has no image, or no place and hash of one"
        name = row.file or (row.source if kept else "")
        if name in names:
            return f"row {number} has the image of another row, {name}"
        if name:
            names.add(name)
    return ""


def feature_sha256(feature: Tensor) -> str:
    """Hash of one feature ``(D,)`` that is given in place of an image."""
    return sha256_arrays({"feature": feature.numpy()})


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


def without_images(recipe: Recipe, rows: Sequence[Row]) -> list[str]:
    """Names of the classes that a set has no image of, in the recipe's order."""
    there = {row.class_id for row in rows if row.fate == KEPT}
    return [name for label, name in enumerate(recipe.classnames) if label not in there]


def some(things: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(things[:_SHOWN]) + more


def unusable(folder: Path, empty: Sequence[str], classes: int) -> str:
    """Why a set cannot be used.

    Args:
        folder: The set's folder.
        empty: Names of the classes it has no image of, at least one.
        classes: Number of its classes.
    """
    return (
        f"{folder} cannot be used: it has no image of {len(empty)} of {classes} classes: "
        f"{some(empty)}. `susx-bench support show {folder}` tells what was tried; build it again "
        "with --force from another source."
    )


class BuiltSupport(Images):
    """The images of a finished support set, for a dataset with the same classes.

    Args:
        folder: The support set's folder.
        spec: The dataset's facts.

    Attributes:
        features: Features in place of images, ``(M, D)`` in the order of the samples, or None.
        encoder: The encoder that such features are from.

    Raises:
        SupportError: If it is not finished, its classes are not the dataset's, or a class has no
            image.
    """

    def __init__(self, folder: Path, spec: DatasetSpec) -> None:
        self._folder = SupportFolder(folder)
        recipe = self._folder.recipe
        if set(recipe.classnames) != set(spec.classnames):
            missing = sorted(set(spec.classnames) - set(recipe.classnames))
            other = sorted(set(recipe.classnames) - set(spec.classnames))
            first = f"it has no '{missing[0]}'" if missing else f"it has '{other[0]}' besides"
            raise SupportError(
                f"{folder} was built for {recipe.dataset} with {len(recipe.classnames)} classes, "
                f"{spec.name} has {len(spec.classnames)}: {first}."
            )
        if not self._folder.finished:
            raise SupportError(
                f"{folder} is not finished. `susx-bench support build --recipe "
                f"{folder / _RECIPE}` completes it."
            )
        self.name = f"support/{recipe.kind}"
        self.classnames = spec.classnames
        rows = [row for row in self._folder.rows() if row.fate == KEPT]
        label = {name: i for i, name in enumerate(spec.classnames)}
        self.features = self._folder.features
        self.encoder = recipe.retrieval.encoder if recipe.retrieval else ""
        keys = [row.file or row.source for row in rows]
        self._rows = dict(zip(keys, rows, strict=True))
        self._samples = [
            Sample(key, label[recipe.classnames[row.class_id]])
            for key, row in zip(keys, rows, strict=True)
        ]
        if empty := without_images(recipe, rows):
            raise SupportError(unusable(folder, empty, len(recipe.classnames)))

    @property
    def samples(self) -> Sequence[Sample]:
        return self._samples

    def image(self, sample: Sample) -> Image.Image:
        row = self._rows[sample.key]
        try:
            return decode(self._folder.read(row))
        except BadImageError as error:
            raise SupportError(
                f"{self._folder.path / row.file} cannot be read: {error}."
            ) from error

    @cached_property
    def sha256(self) -> str:
        """Hash of the images' content and labels: where the folder lies does not matter."""
        return sha256_json(
            [self.name, [[self._rows[key].sha256, label] for key, label in self._samples]]
        )

    @property
    def pinned(self) -> bool:
        return True

    def state(self, samples: Sequence[Sample]) -> Any:
        return [self._rows[sample.key].sha256 for sample in samples]


def default_root() -> Path:
    """``SUSX_BENCH_SUPPORT``, or the folder for what this user has made."""
    return own_folder(ROOT_VARIABLE, platformdirs.user_data_path("susx-bench") / "support")


def find(name: str, dataset: str, root: Path, asked: str) -> Path:
    """The folder that ``--support NAME|PATH`` means.

    Args:
        name: A path (with a slash), the name of a set built for the dataset, or a kind of which
            the dataset has one set.
        dataset: Name of the dataset, as its facts have it.
        root: Where sets are built.
        asked: What the user called the dataset, for the message.

    Raises:
        SupportError: If there is none, or several.
    """
    if "/" in name or name.startswith((".", "~")):
        return Path(name).expanduser()
    if (root / dataset / name).is_dir():
        return root / dataset / name
    there = sorted(path.name for path in (root / dataset).glob("*") if (path / _RECIPE).is_file())
    alike = [found for found in there if found.startswith(f"{name}-")]
    if len(alike) == 1:
        return root / dataset / alike[0]
    if alike:
        raise SupportError(
            f"--support {name}: {dataset} has {len(alike)} such sets: {', '.join(alike)}. Name one."
        )
    what = f"It has {', '.join(there)}. " if there else ""
    raise SupportError(
        f"--support {name}: there is no such support set of {dataset} in {root}. {what}"
        f"`susx-bench support build --dataset {asked} --kind sus-sd` builds one; a path to one "
        "has a slash."
    )
