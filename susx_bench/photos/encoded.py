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
from susx_bench.features.rows import ImageRows, encode, encoder_recipe
from susx_bench.features.store import SHARD, FeatureStore
from susx_bench.photos.photographs import Photos
from susx_bench.records.files import sha256_json


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
            min(SHARD, each.rows - SHARD * shard)
            for each, shards in zip(work, found, strict=True)
            for shard, rows in enumerate(shards)
            if rows is None
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
        recipe = encoder_recipe(self.encoder) | {"texts": sha256_json(flat)}
        shards = []
        for shard, start in enumerate(range(0, len(flat), SHARD)):
            rows = self.store.get(recipe, shard)
            if rows is None:
                rows = self.encoder.towers.single_texts(flat[start : start + SHARD])
                if self.launch.is_main:
                    self.store.put(recipe, shard, rows)
            shards.append(rows)
        return list(torch.split(F.normalize(torch.cat(shards), dim=-1), [len(e) for e in texts]))


def mean_unit(groups: Sequence[Tensor]) -> Tensor:
    """The mean of each group's unit rows, scaled to length 1, ``(K, D)``."""
    return F.normalize(torch.stack([rows.mean(0) for rows in groups]), dim=-1)
