"""Encode photographs, labelled images and prompts once, and keep the features in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.images import Images
from susx_bench.encoders.base import Encoder
from susx_bench.events import Job, Listener, ignore
from susx_bench.features.contents import Contents
from susx_bench.features.launch import Launch, warn_of_slow_half
from susx_bench.features.rows import ImageRows, encode, encode_texts, encoder_recipe, text_recipe
from susx_bench.features.store import FeatureStore, rows_in
from susx_bench.photos.photographs import Photos


@dataclass(frozen=True)
class Studio:
    """Encodes images and prompts for one classification.

    Attributes:
        encoder: The encoder.
        store: Where features are kept.
        launch: Where to encode.
        listen: Receives progress.
    """

    encoder: Encoder
    store: FeatureStore
    launch: Launch
    listen: Listener

    def images(self, lists: Sequence[Images], what: str) -> Tensor:
        """Encode lists of images, ``(n, D)``, unit rows; NaN for an image that cannot be read.

        Stored features are reused, so a stopped run continues.
        """
        contents = Contents(self.store)
        recipe = encoder_recipe(self.encoder)
        work = [ImageRows(images, 1, recipe, contents.sha256(images)) for images in lists]
        stored = [self.store.load(image_rows.recipe, image_rows.rows) for image_rows in work]
        missing = sum(
            rows_in([i for i, shard in enumerate(shards) if shard is None], image_rows.rows)
            for image_rows, shards in zip(work, stored, strict=True)
        )
        if missing:
            warn_of_slow_half(self.encoder.precision, self.launch, self.listen)
        # No progress is reported if the store has everything.
        with Job(self.listen if missing else ignore, what, "images", missing) as job:
            rows = [
                encode(image_rows, shards, self.encoder, self.store, self.launch, job.advance)
                for image_rows, shards in zip(work, stored, strict=True)
            ]
        return F.normalize(torch.cat(rows), dim=-1)

    def photos(self, photos: Photos, what: str = "encoding") -> Tensor:
        """Encode photographs, see `images`."""
        return self.images(photos.groups(), what)

    def texts(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """Encode the prompts of every class: K tensors ``(T_k, D)`` of unit rows."""
        flat = [text for of_class in texts for text in of_class]
        stored = self.store.load(text_recipe(self.encoder, flat), len(flat))
        rows, _ = encode_texts(
            flat, stored, self.encoder, self.store, self.launch, lambda count: None
        )
        return list(torch.split(F.normalize(rows, dim=-1), [len(of_class) for of_class in texts]))
