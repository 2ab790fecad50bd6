"""Images to features, once: the Lightning module that encodes, and the shards it fills."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from susx_bench.encoders.base import Towers
from susx_bench.features.blocks import BLOCK
from susx_bench.features.datamodules import ImageDataModule
from susx_bench.features.launch import Launch
from susx_bench.features.predict import Predictor
from susx_bench.features.rows import ImageRows
from susx_bench.features.store import SHARD, FeatureStore, rows_in
from susx_bench.records.shared import portions

STEP = {"cpu": 16}
"""Rows of a block that a kind of device computes at once: a ResNet's activations stay in the CPU's
caches. Elsewhere the whole block."""

_MOST_WORKERS = 16
PORTIONS, LEAST, MOST = 8, 2, 16
"""Parts that a list is cut into where several processes may share it, and the least and most shards
of one. Other processes wait for a part, and make it again if its process is killed."""


class Encode(LightningModule):
    """Encodes blocks of images; no gradient, nothing to train.

    Args:
        towers: The loaded encoder.
        patches: Whether to encode the patches of the images.
    """

    def __init__(self, towers: Towers, *, patches: bool = False) -> None:
        super().__init__()
        self.towers = towers
        self.patches = patches
        self.model = towers.model  # registered, so that Lightning moves it to the device

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Encode each block ``(block, 3, H, W)`` of the batch on its own, in equal steps.

        Returns:
            ``position (B,)`` and ``features (B, D)`` as long as the encoder makes them, or those
            of patches ``(B, P, D)``, unit and in half precision; all without the padding.
        """
        features, positions = [], []
        step = STEP.get(self.device.type, BLOCK)
        for block, position in zip(*batch, strict=True):
            rows = int((position >= 0).sum())
            if rows:  # padding comes last
                steps = [
                    self._encode(block[first : first + step]) for first in range(0, rows, step)
                ]
                features.append(torch.cat(steps)[:rows])
                positions.append(position[:rows])
        if not features:
            return {}
        return {"position": torch.cat(positions), "features": torch.cat(features)}

    def _encode(self, pixels: Tensor) -> Tensor:
        if self.patches:
            return F.normalize(self.towers.spatial(pixels), dim=-1).half()
        return self.towers.image_features(pixels).float()


class _Writer(Callback):
    """Writes every shard as soon as this rank has all of its rows."""

    def __init__(
        self,
        rows: ImageDataModule,
        write: Callable[[int, Tensor], None],
        advance: Callable[[int], object],
    ) -> None:
        self._rows = len(rows)
        self._write = write
        self._advance = advance
        self._parts: dict[int, list[Tensor]] = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not outputs:
            return
        place, features = outputs["position"] // SHARD, outputs["features"].cpu()
        for number in place.unique().tolist():
            parts = self._parts.setdefault(number, [])
            parts.append(features[(place == number).cpu()])
            have = sum(len(part) for part in parts)
            if have == min(SHARD, self._rows - number * SHARD):
                self._write(number, torch.cat(self._parts.pop(number)))
        self._advance(len(place) * trainer.world_size)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.barrier()  # from here on every rank may read all shards


def _workers(launch: Launch, rows: int) -> int:
    """Processes that decode: the cores of this rank, at most `_MOST_WORKERS`; none for few rows.

    None either in one of several processes on CPUs: where one of torch's threads that join them
    starts in the moment of a fork, Python before 3.11.10 leaves the new process waiting for a lock
    for ever (python/cpython, issue 112275).
    """
    if launch.workers is not None:
        return launch.workers
    if rows <= SHARD or sys.platform != "linux":  # elsewhere there is no fork to rely on
        return 0
    if launch.processes > 1 and launch.on_cpu:
        return 0
    return min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) // launch.devices))


def fill(
    work: ImageRows,
    shards: Sequence[int],
    towers: Towers,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> None:
    """Encode some shards of a list into the store, which then has them for every rank.

    Several processes may do so at once: each encodes parts that no other one is encoding.

    Args:
        work: The images.
        shards: The shards to encode, the same on every rank; may be empty.
        towers: The encoder.
        store: Where shards are kept.
        launch: Where to run.
        advance: Called with the approximate number of rows just encoded, over all ranks.
    """
    if launch.processes > 1:  # its ranks make one list together, in one launch
        return _fill(work, shards, towers, store, launch, advance)

    def is_made(shard: int) -> bool:
        if store.get(work.recipe, shard) is None:
            return False
        advance(rows_in([shard], work.rows))  # by another process
        return True

    most = min(max(len(shards) // PORTIONS, LEAST), MOST)
    for mine in portions(shards, most, lambda shard: store.lock(work.recipe, shard), is_made):
        _fill(work, mine, towers, store, launch, advance)


def _fill(
    work: ImageRows,
    shards: Sequence[int],
    towers: Towers,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> None:
    if not shards:
        return
    rows = ImageDataModule(work.images, towers, work.views, shards)
    rows.workers = _workers(launch, len(rows))
    writer = _Writer(
        rows, lambda number, part: store.put(work.recipe, shards[number], part), advance
    )
    Predictor(launch).run(Encode(towers, patches=work.patches), rows, writer)
