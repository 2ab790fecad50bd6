"""What the text encoder reads for a class."""

from __future__ import annotations

from collections.abc import Sequence

from susx_bench.errors import UnknownNameError

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
    "single": "the dataset's own template",
    "ensemble": "seven templates, their text features averaged (CLIP, SuS-X)",
}


def class_prompts(kind: str, classnames: Sequence[str], template: str) -> list[list[str]]:
    """Write the prompts of every class.

    Args:
        kind: One of `KINDS`.
        classnames: The K class names; underscores become spaces.
        template: The dataset's own prompt, with one ``{}``.

    Returns:
        For each class its prompts.

    Raises:
        UnknownNameError: If there is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError("prompt kind", kind, KINDS)
    templates = ENSEMBLE if kind == "ensemble" else (template,)
    return [[t.format(name.replace("_", " ")) for t in templates] for name in classnames]
