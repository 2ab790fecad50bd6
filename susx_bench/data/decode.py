"""Bytes to pixels, the way CLIP's users have always read them: first frame, RGB, never turned."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 200_000_000
"""Largest image that is decoded; the largest of the 19 datasets is a quarter of it."""


class BadImageError(ValueError):
    """Bytes that are no image, or not a whole one."""


def decode(content: bytes) -> Image.Image:
    """Decode an image of any kind into RGB.

    EXIF orientation is ignored, as in CLIP's, CoOp's and SuS-X's code. 16-bit grey is scaled to
    8 bits; transparency is dropped; of an animation the first frame is taken.

    Raises:
        BadImageError: If the bytes are no image, are cut off, or hold more than `MOST_PIXELS`.
    """
    if not content:
        raise BadImageError("it is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images, odd EXIF blocks, palettes with alpha
            image: Image.Image = Image.open(io.BytesIO(content))
            if image.width * image.height > MOST_PIXELS:
                raise BadImageError(
                    f"it has {image.width} x {image.height} pixels, at most "
                    f"{MOST_PIXELS:,} are decoded"
                )
            image.load()
            if image.mode.startswith("I"):  # PIL would cut 16 bits off at 255
                grey = np.asarray(image).astype(np.int64)
                scale = 257 if grey.max(initial=0) > 255 else 1
                image = Image.fromarray((grey // scale).clip(0, 255).astype(np.uint8))
            return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise BadImageError(f"it is too large: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, BadImageError):
            raise
        reason = "no image format that is known" if not str(error) else str(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "it is in no image format that is known"
        raise BadImageError(reason) from error
