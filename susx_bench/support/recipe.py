"""The recipe of a support set: everything needed to build it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from susx_bench.errors import SupportError
from susx_bench.records.text import read_text

SCHEMA = 2
"""Version of recipes. Under 1, an image that several prompts found had its last place."""


class Strict(BaseModel):
    """An immutable model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Generation(Strict):
    """How SuS-SD's images are generated.

    Attributes:
        model: ``demo``, a folder, or a repository on the hub.
        revision: Commit of the repository; of a folder, the hash of its files.
        pipeline: Class of the pipeline.
        steps: Denoising steps.
        guidance: Weight of classifier-free guidance; values up to 1 turn it off.
        precision: Precision of the pipeline.
        block: Images computed together.
        safety_checker: Whether the pipeline blanks images that it classifies as unsafe.
    """

    model: str
    revision: str
    pipeline: str
    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance: Annotated[float, Field(ge=0, le=1000)]
    precision: str
    block: Annotated[int, Field(ge=1, le=1000)]
    safety_checker: bool


class Retrieval(Strict):
    """Where SuS-LC's images are retrieved from.

    Attributes:
        source: ``pool``, ``backend``, ``import`` or, without images, ``features``.
        place: Folder, ``hf:ORG/NAME@REVISION``, or address of the backend.
        content_sha256: Hash of the content of the place; empty for a backend, whose answers are in
            the manifest.
        encoder: Encoder of the pool or of the features; empty without one.
        weights_sha256: Hash of its weights.
        precision: Its precision.
        search: ``exact`` or ``ivf``; the backend's index for a backend.
        test_sha256: Hash of the test images whose copies were left out; empty if copies were not
            searched for.
    """

    source: Literal["pool", "backend", "import", "features"]
    place: str
    content_sha256: str = ""
    encoder: str = ""
    weights_sha256: str = ""
    precision: str = ""
    search: str = ""
    test_sha256: str = ""


class Recipe(Strict):
    """The recipe of a support set.

    Attributes:
        schema_: `SCHEMA`.
        kind: ``sus-sd``, ``sus-lc``, or a kind of a plugin.
        dataset: Name of the dataset of its classes.
        classnames: Its canonical class names.
        prompts: Kind of prompts.
        texts: The prompts of each class, in the order of use.
        per_class: Images per class.
        seed: The user's seed.
        generation: Details of ``sus-sd``.
        retrieval: Details of ``sus-lc``.
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
        """Names of the fields in which two recipes differ."""
        mine, theirs = (_flat(r.model_dump(mode="json", by_alias=True)) for r in (self, other))
        return sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            SupportError: If it cannot be read or has another form.
        """
        try:
            content = read_text(path)
            if (schema := schema_of(content)) != SCHEMA:
                raise SupportError(
                    f"{path} is a recipe of schema {schema}, this version has {SCHEMA}. The same "
                    "`susx-bench support build` as before, without --recipe, builds the set again."
                )
            return cls.model_validate_json(content)
        except OSError as error:
            raise SupportError(f"{path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            # Report an unknown key rather than the missing one it may be meant for.
            first = min(error.errors(include_url=False), key=lambda e: "extra" not in e["type"])
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise SupportError(f"{path} is no recipe: {place}: {first['msg']}.") from error
        except ValueError as error:
            raise SupportError(f"{path} is no recipe: {error}.") from error


def schema_of(content: str | bytes) -> int:
    """The schema of a recipe; `SCHEMA` if it has none that can be read."""
    try:
        schema = json.loads(content)["schema"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return SCHEMA  # reading the whole recipe reports the fault
    return schema if isinstance(schema, int) else SCHEMA


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            flat |= _flat(part, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = part
    return flat
