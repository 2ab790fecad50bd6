"""The Lightning module that turns images into features."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from susx_bench.encoders.openclip import Towers


class Encode(LightningModule):
    """Encodes blocks of images; no gradient, nothing to train.

    Args:
        towers: The loaded encoder.
    """

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers
        self.model = towers.model  # registered, so that Lightning moves it to the device

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Encode each block ``(block, 3, H, W)`` of the batch on its own.

        Returns:
            ``position (B,)``, -1 for padding, and unit ``features (B, D)``.
        """
        blocks, position = batch
        features = torch.cat([self.towers.images(block) for block in blocks])
        return {"position": position.flatten(), "features": features}
