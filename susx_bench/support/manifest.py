"""The rows of a support set's manifest: its images, and candidates that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import Field
from torch import Tensor

from susx_bench.records.files import sha256_arrays
from susx_bench.support.recipe import Recipe, Strict

KEPT = "kept"

_SHOWN = 5  # names in a line


class Row(Strict):
    """One image of a support set, or one candidate that was left out.

    Attributes:
        class_id: Canonical class; -1 for a candidate of no class, such as an unreadable image of a
            pool.
        place: Place among the images of its class, from 0; -1 for a candidate that was left out.
        prompt: The prompt that it was generated or retrieved for.
        source: The model, a key of the pool, or a URL.
        fate: ``kept``, or the reason why it was left out.
        of: The original, for a copy.
        file: Path in the folder; empty if it was left out.
        sha256: Hash of the file.
        seed: Seed of its generator; None if it was not drawn.
        redrawn: Number of blank images drawn before it.
        score: Cosine (or the backend's similarity) with the prompt; None without one.
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


COLUMNS = pa.schema(
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


def fault(rows: Sequence[Row], recipe: Recipe, *, given: bool) -> str:
    """The fault of the rows of a manifest; empty for good ones.

    Args:
        rows: The rows, each of the right form.
        recipe: The recipe of the set.
        given: Whether the set has features instead of images.
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
    """Hash of one feature ``(D,)`` that replaces an image."""
    return sha256_arrays({"feature": feature.numpy()})


def without_images(recipe: Recipe, rows: Sequence[Row]) -> list[str]:
    """Names of the classes without an image, in the recipe's order."""
    present = {row.class_id for row in rows if row.fate == KEPT}
    return [name for label, name in enumerate(recipe.classnames) if label not in present]


def some(things: Sequence[str]) -> str:
    """The first few names, and the number of further ones."""
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(things[:_SHOWN]) + more
