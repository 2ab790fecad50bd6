"""The rows that a list of images becomes, and what they are kept under."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from susx_bench.data.decode import DECODING
from susx_bench.data.images import Images
from susx_bench.encoders.base import Encoder
from susx_bench.features.blocks import BLOCK
from susx_bench.features.launch import Launch
from susx_bench.features.store import FeatureStore
from susx_bench.records.files import sha256_json


class ImageRows:
    """A list of images to encode, each as one row or as several augmented views.

    Args:
        images: The images.
        views: 1 for the image as the encoder reads it, more for so many augmented views, rows
            beside each other.
        encoder: What `recipe` says of the encoder, see `encoder_recipe`.
        content: Hash of the images' content, see `Contents`; without one the state of their files
            stands for it.
        patches: Whether a row holds the features of the image's patches, and not its own.
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
    """What features are kept under, of an encoder; they are kept at their own length."""
    return {
        "encoder": encoder.sha256,
        "precision": encoder.precision,
        "block": BLOCK,
        "rows": "as encoded",
    }


def encode(
    work: ImageRows,
    found: Sequence[Tensor | None],
    encoder: Encoder,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> Tensor:
    """Encode what the store does not have, and give the whole list.

    Args:
        work: The images.
        found: What the store has of each shard, the same on every rank.
        encoder: The encoder, whose towers are loaded only where something is missing.
        store: Where shards are kept.
        launch: Where to run.
        advance: Told about how many rows were just encoded, over all ranks.

    Returns:
        ``(rows, D)``, as long as the encoder makes them, the same on every rank.
    """
    if missing := [i for i, shard in enumerate(found) if shard is None]:
        from susx_bench.features.encode import fill  # Lightning, where something is encoded

        fill(work, missing, encoder.towers, store, launch, advance)
    whole = [store.get(work.recipe, i) if s is None else s for i, s in enumerate(found)]
    lost = [i for i, shard in enumerate(whole) if shard is None]
    if lost:
        raise RuntimeError(f"{store.path(work.recipe, lost[0])} is gone after it was written")
    return torch.cat([shard for shard in whole if shard is not None])
