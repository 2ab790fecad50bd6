"""Encode lists of images and prompts to rows, and describe them for the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.decode import DECODING
from susx_bench.data.images import Images
from susx_bench.encoders.base import Encoder
from susx_bench.encoders.versions import unlike
from susx_bench.features.blocks import BLOCK
from susx_bench.features.launch import Launch
from susx_bench.features.store import SHARD, FeatureStore
from susx_bench.records.files import sha256_json


class ImageRows:
    """A list of images to encode, each as one row or as several augmented views.

    Args:
        images: The images.
        views: 1 for the image as the encoder reads it; more for as many augmented views, in
            consecutive rows.
        encoder: The encoder's part of `recipe`, see `encoder_recipe`.
        content: Hash of the images' content, see `Contents`; None for the state of their files.
        patches: Whether a row holds the features of the image's patches instead of its own.
    """

    def __init__(
        self,
        images: Images,
        views: int,
        encoder: dict[str, Any],
        content: str | None = None,
        *,
        patches: bool = False,
    ) -> None:
        self.images = images
        self.views = views
        self.patches = patches
        self.rows = len(images) * views
        if content is None:
            content = sha256_json([images.sha256, images.state(images.samples)])
        self.recipe = encoder | {
            "images": content,
            "decoding": DECODING,
            "views": views,
        }
        if patches:
            self.recipe["rows"] = "patches, unit, half"


def encoder_recipe(encoder: Encoder) -> dict[str, Any]:
    """The encoder's part of a recipe under which the store keeps features, unnormalised."""
    return {
        "encoder": encoder.sha256,
        "precision": encoder.precision,
        "block": BLOCK,
        "rows": "as encoded",
        **({"versions": others} if (others := unlike(encoder.packages)) else {}),
    }


def encode(
    work: ImageRows,
    shards: Sequence[Tensor | None],
    encoder: Encoder,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> Tensor:
    """Encode the shards that the store lacks, and return all rows.

    Args:
        work: The images.
        shards: The shards that the store has, else None, the same on every rank.
        encoder: The encoder; its towers are loaded only if a shard is missing.
        store: Where shards are kept.
        launch: Where to run.
        advance: Called with the approximate number of rows just encoded, over all ranks.

    Returns:
        ``(rows, D)``, not normalised, the same on every rank.
    """
    if missing := [i for i, shard in enumerate(shards) if shard is None]:
        from susx_bench.features.encode import fill  # imports Lightning, which only encoding needs

        fill(work, missing, encoder.towers, store, launch, advance)
    whole = [store.get(work.recipe, i) if s is None else s for i, s in enumerate(shards)]
    lost = [i for i, shard in enumerate(whole) if shard is None]
    if lost:
        raise RuntimeError(f"{store.path(work.recipe, lost[0])} is gone after it was written")
    return torch.cat([shard for shard in whole if shard is not None])


def encode_texts(
    texts: Sequence[str],
    shards: Sequence[Tensor | None],
    encoder: Encoder,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> tuple[Tensor, Tensor]:
    """Encode the single prompts that the store does not have, a shard at a time.

    Args:
        texts: The prompts, T of them.
        shards: The shards that the store has under `text_recipe`, else None.
        encoder: The encoder; its towers are loaded only if a shard is missing.
        store: Where shards are kept.
        launch: Where to run; only rank 0 writes.
        advance: Called with the number of prompts just encoded.

    Returns:
        Features ``(T, D)``, not normalised, and the number of tokens by which each prompt is too
        long for the encoder, ``(T,)`` or shorter: prompts of stored shards without one are left
        out.
    """
    recipe = text_recipe(encoder, texts)
    over_recipe = recipe | {"rows": "tokens that are not read"}
    rows, over = [], []
    for shard, start in enumerate(range(0, len(texts), SHARD)):
        part = shards[shard]
        if part is None:
            chunk = texts[start : start + SHARD]
            part = encoder.towers.single_texts(chunk)
            excess = torch.tensor(encoder.towers.excess(chunk))[:, None]
            if launch.is_main:
                store.put(recipe, shard, part)
                if excess.any():
                    store.put(over_recipe, shard, excess)
            advance(len(chunk))
        else:
            kept = store.get(over_recipe, shard)
            excess = torch.zeros(0, 1, dtype=torch.int64) if kept is None else kept
        rows.append(part)
        over.append(excess[:, 0])
    return torch.cat(rows), torch.cat(over)


def text_recipe(encoder: Encoder, texts: Sequence[str]) -> dict[str, Any]:
    """The recipe under which the store keeps features of single prompts."""
    return encoder_recipe(encoder) | {"texts": sha256_json(list(texts))}


def mean_unit(groups: Sequence[Tensor]) -> Tensor:
    """The mean of each group's unit rows, scaled to length 1, ``(K, D)``."""
    return F.normalize(torch.stack([rows.mean(0) for rows in groups]), dim=-1)
