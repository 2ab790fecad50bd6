"""The rows that a list of images becomes, and what they are kept under."""

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
        **({"versions": others} if (others := unlike(encoder.packages)) else {}),
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


def encode_texts(
    texts: Sequence[str],
    found: Sequence[Tensor | None],
    encoder: Encoder,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> tuple[Tensor, Tensor]:
    """Encode the single prompts that the store does not have, a shard at a time.

    Args:
        texts: The prompts, T of them.
        found: What the store has of each shard under `text_recipe`.
        encoder: The encoder, whose towers are loaded only where something is missing.
        store: Where shards are kept.
        launch: Of it only rank 0 writes.
        advance: Told how many prompts were just encoded.

    Returns:
        ``(T, D)``, as long as the encoder makes them, and by how many tokens prompts are longer
        than it reads, 0 for those that are not, of at most T.
    """
    recipe = text_recipe(encoder, texts)
    over_recipe = recipe | {"rows": "tokens that are not read"}
    rows, over = [], []
    for shard, start in enumerate(range(0, len(texts), SHARD)):
        part = found[shard]
        if part is None:
            some = texts[start : start + SHARD]
            part = encoder.towers.single_texts(some)
            excess = torch.tensor(encoder.towers.excess(some))[:, None]
            if launch.is_main:
                store.put(recipe, shard, part)
                if excess.any():
                    store.put(over_recipe, shard, excess)
            advance(len(some))
        else:
            kept = store.get(over_recipe, shard)
            excess = torch.zeros(0, 1, dtype=torch.int64) if kept is None else kept
        rows.append(part)
        over.append(excess[:, 0])
    return torch.cat(rows), torch.cat(over)


def text_recipe(encoder: Encoder, texts: Sequence[str]) -> dict[str, Any]:
    """What the features of single prompts are kept under."""
    return encoder_recipe(encoder) | {"texts": sha256_json(list(texts))}


def mean_unit(groups: Sequence[Tensor]) -> Tensor:
    """The mean of each group's unit rows, scaled to length 1, ``(K, D)``."""
    return F.normalize(torch.stack([rows.mean(0) for rows in groups]), dim=-1)
