"""Photographs, labelled images and prompts as features, made once and kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.images import Images
from susx_bench.encoders.base import Encoder
from susx_bench.features.contents import Contents
from susx_bench.features.launch import Launch
from susx_bench.features.rows import ImageRows, encode, encode_texts, encoder_recipe, text_recipe
from susx_bench.features.store import FeatureStore, rows_in
from susx_bench.photos.photographs import Photos


class Watch:
    """Told how far a classification is. This one is silent; a subclass shows it."""

    def note(self, line: str) -> None:
        """Take note of something to tell, in a line."""

    def count(self, what: str, total: int, unit: str) -> Callable[[int], object]:
        """Begin to count something; what is returned is told how many were just done."""
        return lambda _: None


@dataclass(frozen=True)
class Studio:
    """What features are made with.

    Attributes:
        encoder: The encoder.
        store: Where features are kept.
        launch: Where to encode.
        watch: Told how far it is.
    """

    encoder: Encoder
    store: FeatureStore
    launch: Launch
    watch: Watch

    def images(self, lists: Sequence[Images], what: str) -> Tensor:
        """Encode lists of images, ``(n, D)``, unit rows; NaN for an image that cannot be read.

        What the store has is read; a run that was stopped goes on where it was.
        """
        contents = Contents(self.store)
        recipe = encoder_recipe(self.encoder)
        work = [ImageRows(images, 1, recipe, contents.sha256(images)) for images in lists]
        found = [self.store.load(each.recipe, each.rows) for each in work]
        missing = sum(
            rows_in([i for i, shard in enumerate(shards) if shard is None], each.rows)
            for each, shards in zip(work, found, strict=True)
        )
        advance = self.watch.count(what, missing, "images") if missing else lambda _: None
        rows = [
            encode(each, shards, self.encoder, self.store, self.launch, advance)
            for each, shards in zip(work, found, strict=True)
        ]
        return F.normalize(torch.cat(rows), dim=-1)

    def photos(self, photos: Photos, what: str = "encoding") -> Tensor:
        """Encode photographs, see `images`."""
        return self.images(photos.groups(), what)

    def texts(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """Encode the prompts of every class: K tensors ``(T_k, D)`` of unit rows."""
        flat = [text for each in texts for text in each]
        found = self.store.load(text_recipe(self.encoder, flat), len(flat))
        rows, _ = encode_texts(
            flat, found, self.encoder, self.store, self.launch, lambda count: None
        )
        return list(torch.split(F.normalize(rows, dim=-1), [len(each) for each in texts]))
