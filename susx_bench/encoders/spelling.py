"""The encoders that somebody may mean who writes a name that nothing has."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence

_MOST = 2  # names to offer


def nearest(name: str) -> list[str]:
    """Names that can be given in place of one that nothing has, the nearest first.

    CLIP's models are written in many ways: ``ViT-B/32`` (OpenAI), ``ViT-B-32`` (open_clip),
    ``clip-vit-base-patch32`` (Hugging Face), ``vit_base_patch32_clip_224`` (timm). Which weights
    are meant is seldom said: OpenAI's come first.
    """
    import open_clip

    known: dict[str, list[str]] = {model: ["random"] for model in open_clip.list_models()}
    for model, tag in open_clip.list_pretrained():
        known[model].insert(-1, tag)
    asked = _letters(name)
    models = {_letters(model): model for model in known}
    heads = [letters for letters in models if asked.startswith(letters)]
    if heads:
        head = max(heads, key=len)
        model = models[head]
        tags = _nearest_tags(asked.removeprefix(head), known[model])
        near = [f"{model}:{tag}" for tag in tags]
    else:
        every = {
            _letters(f"{model}:{tag}"): f"{model}:{tag}" for model in known for tag in known[model]
        }
        found = difflib.get_close_matches(asked, every, n=_MOST, cutoff=0.6)
        near = [every[letters] for letters in found]
    if re.fullmatch(r"[\w.-]+/[A-Za-z][\w.-]*(@\S+)?", name):
        near.append(f"hf-hub:{name}")
    if name and os.path.isdir(os.path.expanduser(name)):  # noqa: PTH111, PTH112  never raise
        near.insert(0, f"local-dir:{name}")
    return near


def _nearest_tags(asked: str, tags: Sequence[str]) -> list[str]:
    """Those of a model's tags that are near what stands after the model; else its usual ones."""
    letters = {_letters(tag): tag for tag in tags}
    if asked in letters:
        return [letters[asked]]
    near = difflib.get_close_matches(asked, letters, n=_MOST, cutoff=0.6)
    inside = [each for each in letters if each in asked and each not in near]
    usual = sorted(tags, key=lambda tag: tag != "openai")  # random is the last of them
    return [letters[each] for each in near + inside][:_MOST] or (usual[:-1] or usual)[:_MOST]


def _letters(name: str) -> str:
    """A model's name as its letters and digits: ``vitb32`` for all of the spellings above."""
    name = re.sub(r"^(?:hf-hub:)?[\w.-]+/(?=[a-z])", "", name.casefold())  # whose it is
    name = re.sub(r"^(?:open[-_ ]?)?clip[-_ :/]+", "", name)
    name = re.sub(r"(?<=vit)([-_ ]?)(tiny|small|base|large|huge|giant)", lambda m: m[2][0], name)
    name = re.sub(r"resnet[-_ ]?(?=\d)", "rn", name)
    name = re.sub(r"patch|(?<=\d)px|[-_]?224(?=\b|_)", "", name)
    return re.sub(r"[^a-z0-9]", "", name)
