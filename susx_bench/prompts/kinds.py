"""What the text encoder reads for a class."""

from __future__ import annotations

import json
from pathlib import Path

from susx_bench.data.classes import match
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import PromptsError, UnknownNameError

# The seven ImageNet templates that CLIP's authors found best, which SuS-X uses for every dataset.
ENSEMBLE = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

KINDS: dict[str, str] = {
    "single": "the dataset's own template (CoOp, Tip-Adapter)",
    "photo": "the dataset's photo template (SuS-X)",
    "ensemble": "seven templates, their text features averaged (CLIP, SuS-X)",
    "cupl": "a language model's sentences about each class, from a file (CuPL)",
    "combined": "cupl and ensemble together (CuPL+e), what SuS-X uses",
}

FROM_FILE = frozenset({"cupl", "combined"})
"""Kinds that need `cupl_file`."""


def class_prompts(kind: str, spec: DatasetSpec, folder: Path | None = None) -> list[list[str]]:
    """Write the prompts of every class.

    Args:
        kind: One of `KINDS`.
        spec: The dataset's facts: class names, whose underscores become spaces, and templates
            with one ``{}``.
        folder: Where prompt files lie, see `read_cupl`.

    Returns:
        For each class its prompts.

    Raises:
        UnknownNameError: If there is no such kind.
        PromptsError: If the kind's file is missing or does not fit the dataset.
    """
    if kind not in KINDS:
        raise UnknownNameError("prompt kind", kind, KINDS)
    templates = {
        "single": (spec.template,),
        "photo": (spec.photo,),
        "ensemble": ENSEMBLE,
        "combined": ENSEMBLE,
    }.get(kind, ())
    names = [name.replace("_", " ") for name in spec.classnames]
    written = [[template.format(name) for template in templates] for name in names]
    if kind not in FROM_FILE:
        return written
    read = read_cupl(spec, folder)
    return [cupl + ours for cupl, ours in zip(read, written, strict=True)]


def read_cupl(spec: DatasetSpec, folder: Path | None) -> list[list[str]]:
    """Read ``CuPL_prompts_DATASET.json``: ``{class name: [sentence, ...]}``.

    Args:
        spec: The dataset's facts.
        folder: Folder of such files, as SuS-X publishes them in ``gpt3_prompts``.

    Returns:
        For each class its sentences, in canonical order.

    Raises:
        PromptsError: If the file is missing or of another form, or a class has no sentence.
        DatasetError: If its names are not the dataset's.
    """
    file = f"CuPL_prompts_{spec.name}.json"
    if folder is None:
        raise PromptsError(
            f"{spec.name}: prompts from a file need --prompts-dir (or SUSX_BENCH_PROMPTS), a "
            f"folder with {file}, as in SuS-X's gpt3_prompts."
        )
    path = folder / file
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PromptsError(f"{spec.name}: {path} cannot be read: {error}.") from error
    good = isinstance(table, dict) and all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in table.values()
    )
    if not good:
        raise PromptsError(f"{spec.name}: {path} is not of the form {{class name: [sentence]}}.")
    names = list(table)
    found: list[list[str]] = [[] for _ in spec.classnames]
    for name, label in zip(names, match(names, spec, str(path)), strict=True):
        if label is not None:
            found[label] = [text for text in table[name] if text.strip()]
    for label, texts in enumerate(found):
        if not texts:
            raise PromptsError(
                f"{spec.name}: {path} has no sentence for '{spec.classnames[label]}'."
            )
    return found
