"""Bytes to pixels, the way CLIP's users have always read them: first frame, RGB, never turned."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded. Pillow knows more, and runs Ghostscript for some of it."""

# Large images and odd EXIF blocks. A filter a call would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadImageError(ValueError):
    """Bytes that are no image, or not a whole one."""


def decode(content: bytes) -> Image.Image:
    """Decode an image of any kind into RGB.

    EXIF orientation is ignored, as in CLIP's, CoOp's and SuS-X's code. 16-bit grey is scaled to
    8 bits; transparency is dropped; of an animation the first frame is taken.

    Raises:
        BadImageError: If the bytes are no image, are cut off, or hold more pixels than Pillow
            thinks safe.
    """
    if not content:
        raise BadImageError("it is empty (0 bytes)")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
        if image.mode.startswith("I"):  # PIL would cut 16 bits off at 255
            grey = np.asarray(image).astype(np.int64)
            scale = 257 if grey.max(initial=0) > 255 else 1
            image = Image.fromarray((grey // scale).clip(0, 255).astype(np.uint8))
        if image.mode == "P":  # PIL warns of transparency that is lost on a shorter way
            image = image.convert("RGBA")
        return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise BadImageError(f"it is none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"it is too large: {error}") from error
    except Exception as error:  # nobody has written down what broken bytes do to a decoder
        raise BadImageError(str(error) or type(error).__name__) from error
