"""Suggest encoders for a misspelt name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence

_MOST = 2  # names to offer


def nearest(name: str) -> list[str]:
    """Known names that are nearest to an unknown one, the nearest first.

    CLIP's models are written in many ways: ``ViT-B/32`` (OpenAI), ``ViT-B-32`` (open_clip),
    ``clip-vit-base-patch32`` (Hugging Face), ``vit_base_patch32_clip_224`` (timm). These names
    seldom include the weights: OpenAI's come first.
    """
    import open_clip

    tags_of: dict[str, list[str]] = {model: ["random"] for model in open_clip.list_models()}
    for model, tag in open_clip.list_pretrained():
        tags_of[model].insert(-1, tag)
    typed = _letters(name)
    models = {_letters(model): model for model in tags_of}
    heads = [letters for letters in models if typed.startswith(letters)]
    if heads:
        head = max(heads, key=len)
        model = models[head]
        tags = _nearest_tags(typed.removeprefix(head), tags_of[model])
        near = [f"{model}:{tag}" for tag in tags]
    else:
        every = {
            _letters(f"{model}:{tag}"): f"{model}:{tag}"
            for model, tags in tags_of.items()
            for tag in tags
        }
        matches = difflib.get_close_matches(typed, every, n=_MOST, cutoff=0.6)
        near = [every[letters] for letters in matches]
    if re.fullmatch(r"[\w.-]+/[A-Za-z][\w.-]*(@\S+)?", name):
        near.append(f"hf-hub:{name}")
    if name and os.path.isdir(os.path.expanduser(name)):  # noqa: PTH111, PTH112  never raise
        near.insert(0, f"local-dir:{name}")
    return near


def _nearest_tags(typed: str, tags: Sequence[str]) -> list[str]:
    """The tags of a model that are near the typed one; else its usual tags."""
    letters = {_letters(tag): tag for tag in tags}
    if typed in letters:
        return [letters[typed]]
    near = difflib.get_close_matches(typed, letters, n=_MOST, cutoff=0.6)
    inside = [spelling for spelling in letters if spelling in typed and spelling not in near]
    usual = sorted(tags, key=lambda tag: tag != "openai")  # random is the last of them
    matches = [letters[spelling] for spelling in near + inside]
    return matches[:_MOST] or (usual[:-1] or usual)[:_MOST]


def _letters(name: str) -> str:
    """A model's name as its letters and digits: ``vitb32`` for all of the spellings above."""
    name = re.sub(r"^(?:hf-hub:)?[\w.-]+/(?=[a-z])", "", name.casefold())  # the organisation
    name = re.sub(r"^(?:open[-_ ]?)?clip[-_ :/]+", "", name)
    name = re.sub(r"(?<=vit)([-_ ]?)(tiny|small|base|large|huge|giant)", lambda m: m[2][0], name)
    name = re.sub(r"resnet[-_ ]?(?=\d)", "rn", name)
    name = re.sub(r"patch|(?<=\d)px|[-_]?224(?=\b|_)", "", name)
    return re.sub(r"[^a-z0-9]", "", name)
