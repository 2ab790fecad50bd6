"""Views of an image: itself as the encoder reads it, or seeded crops of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

AREA = (0.5, 1.0)
"""Share of the image's area that a crop shows (Tip-Adapter, SuS-X)."""
RATIO = (3 / 4, 4 / 3)
"""Width over height of a crop, torchvision's default."""
_TRIES = 10


def augmented(image: Image, seed: str, preprocess: Mapping[str, Any]) -> Tensor:
    """A random crop of an image, mirrored half of the time, scaled to the encoder's size.

    Args:
        image: RGB.
        seed: Determines the crop; no global generator is used.
        preprocess: ``size``, ``mean``, ``std`` and ``interpolation``, as open_clip has them.

    Returns:
        ``(3, H, W)``, normalised.

    Source:
        Zhang et al., *Tip-Adapter*, ECCV 2022, the public code: RandomResizedCrop(0.5 to 1),
        RandomHorizontalFlip, averaged over ten passes. SuS-X encodes its few-shot support so.
    """
    from PIL import Image as Pillow

    digest = hashlib.sha256(seed.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    box = _box(image.width, image.height, generator)
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    resample = Pillow.Resampling[str(preprocess.get("interpolation", "bicubic")).upper()]
    crop = image.crop(box).resize((width, height), resample)
    pixels = torch.from_numpy(np.asarray(crop, dtype=np.float32)).permute(2, 0, 1) / 255
    if float(torch.rand((), generator=generator)) < 0.5:
        pixels = pixels.flip(-1)
    mean, std = (torch.tensor(preprocess[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (pixels - mean) / std


def _box(width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of a random crop, the middle of the image if none fits."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    for _ in range(_TRIES):
        area = width * height * between(*AREA)
        ratio = math.exp(between(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(between(0, width - w + 1))
            top = int(between(0, height - h + 1))
            return left, top, left + w, top + h
    # The image is too long for any ratio: take its middle, at the nearest ratio.
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
