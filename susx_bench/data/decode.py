"""Bytes to pixels, the way CLIP's users have always read them: first frame, RGB, never turned."""

from __future__ import annotations

import io
import warnings
from functools import cache
from typing import Any

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError, features

_HAS_AVIF = "avif" in features.modules and features.check_module("avif")  # from Pillow 11.3 on
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP", *["AVIF"] * _HAS_AVIF)
"""Formats that are decoded. Pillow has more, and runs Ghostscript for some."""

DECODING = 2
"""Version of `decode`; features are kept under it. Version 1 guessed the depth of grey from the
numbers of an image."""

PIXELS = 100_000_000
"""Most pixels that are decoded: a few bytes may claim any number, and each takes memory."""
RATIO = 100
"""Largest ratio of the longer to the shorter side. Encoders scale up the shorter side, so the
longer one of a line of pixels would become huge."""

_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # tags of a TIFF or EXIF
_SAMPLE_FORMAT, _SUBSAMPLING = 339, 530
_YCBCR = 6  # a value of _PHOTOMETRIC
_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")  # which put a 1 into what was black
_DARK = 16  # no number above this part of the range: it may have 4 bits less than its file
_TOO_DARK = "nearly black for {}, so the numbers may be of fewer bits"

FAINT = 16
"""Largest range of levels, out of 255, of an image that shows nothing."""

DIM = 63
"""Highest value, out of 255, of an image in the lowest quarter of its range, such as 14-bit numbers
in a 16-bit file. A single one may be a night scene; a whole split is a fault."""

# Large images and odd EXIF blocks. A filter a call would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def endings() -> frozenset[str]:
    """Endings of file names that Pillow knows for `FORMATS`, in lower case: ``.jpg``."""
    formats = Image.registered_extensions()
    return frozenset(ending for ending, kind in formats.items() if kind in FORMATS)


class BadImageError(ValueError):
    """Bytes that are no image, or not a whole one."""


def decode(content: bytes) -> Image.Image:
    """Decode an image of any kind into RGB.

    EXIF orientation is ignored, as in CLIP's, CoOp's and SuS-X's code. Grey of more than 8 bits is
    scaled by the range of its file's numbers, never by the numbers themselves; transparency is
    dropped; of an animation the first frame is taken.

    Raises:
        BadImageError: If the bytes are no image, are cut off, have more than `PIXELS` pixels, are
            more than `RATIO` times as long as wide, hold numbers of unknown range, are visible
            only through their transparency, or are of a kind that Pillow misreads.
    """
    if not content:
        raise BadImageError("it is empty (0 bytes)")
    try:
        image: Any = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_size(*image.size)
        kind = image.format
        deep = ";16" in str(image.tile)  # Pillow then keeps the high byte of each channel
        if _is_misread(image):
            raise BadImageError(
                f"it is a TIFF of uncompressed YCbCr, which Pillow {PIL.__version__} misreads. "
                "Save it as RGB"
            )
        image.load()
        if 2 in _tag(image, _SAMPLE_FORMAT):
            raise _unclear(image, "the file says they are signed, so none is known to be black")
        if image.mode == "F" or image.mode.startswith("I"):
            return _grey(image).convert("RGB")
        if image.mode == "P":  # PIL warns of transparency that is lost on a shorter way
            image = image.convert("RGBA")
        rgb: Image.Image = image.convert("RGB")
        high = max(high for _, high in _extrema(rgb))
        if deep and 0 < high < 256 // _DARK:
            raise _unclear(rgb, _TOO_DARK.format("16 bits per channel"))
        if is_plain(rgb) and "A" in image.getbands() and not is_plain(image.getchannel("A")):
            raise BadImageError(
                "its picture is in the transparency, which is not read, and all else is of one "
                "colour. Put it on a background and save it without transparency"
            )
        even = all(low == high for low, high in _extrema(rgb))
        if high <= FAINT and not even and kind not in _LOSSY:
            raise _unclear(rgb, _TOO_DARK.format("8 bits per channel"))
        return rgb
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(
            f"it is none of {', '.join(FORMATS)}, or of a kind of them that Pillow does not read"
        ) from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"it is too large: {error}") from error
    except Exception as error:  # decoders raise undocumented errors on broken bytes
        raise BadImageError(str(error) or type(error).__name__) from error


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns an image upright, by EXIF orientation; none for 1."""


def decode_upright(content: bytes) -> Image.Image:
    """Decode a photograph as `decode` does, and turn it by its EXIF orientation.

    A benchmark's images are never turned; a camera's photographs are meant to be.

    Raises:
        BadImageError: As `decode`.
    """
    image = decode(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as raw:
            # Pillow turns a TIFF by itself.
            turn = None if raw.format == "TIFF" else _TURNS.get(raw.getexif().get(_ORIENTATION, 1))
    except Exception:  # ignore broken EXIF; the picture is intact
        turn = None
    return image if turn is None else image.transpose(turn)


def is_plain(image: Image.Image) -> bool:
    """Whether an image of 8 bits per channel has one colour, or nearly so."""
    return all(high - low <= FAINT for low, high in _extrema(image))


def is_dim(image: Image.Image) -> bool:
    """Whether no value of an image of 8 bits per channel is above `DIM`."""
    return max(high for _, high in _extrema(image)) <= DIM


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """The lowest and the highest value of each channel."""
    extrema: Any = image.getextrema()  # not a list for one channel
    return [extrema] if len(image.getbands()) == 1 else list(extrema)


def _is_misread(image: Any) -> bool:
    """Whether the file is a TIFF of uncompressed YCbCr that Pillow takes for something else.

    Before version 13 Pillow takes each for RGB of four bytes per pixel; since then it takes each
    for one without subsampling. The specification's default is to subsample.
    """
    if _YCBCR not in _tag(image, _PHOTOMETRIC) or "'raw'" not in str(image.tile):
        return False
    return image.mode != "YCbCr" or _tag(image, _SUBSAMPLING) != (1, 1)


def _check_size(width: int, height: int) -> None:
    """Refuse an image before it takes memory.

    Raises:
        BadImageError: If it is too large, or too long for its width.
    """
    if width * height > PIXELS:
        raise BadImageError(
            f"it has {width} x {height} pixels, {width * height:,} in all; at most {PIXELS:,} are "
            "read. Scale it down"
        )
    if max(width, height) > RATIO * min(width, height):
        raise BadImageError(
            f"it has {width} x {height} pixels; at most {RATIO} times as long as wide is read. "
            "Cut it into pieces"
        )


def _grey(image: Image.Image) -> Image.Image:
    """Convert deeper grey to 8 bits, by the range of its type.

    Floating point has 0 to 1; whole numbers of n bits have 0 to 2^n - 1, n at most 16.

    Raises:
        BadImageError: If the values are outside that range or all in its lowest 16th, or are whole
            numbers of 32 bits, the full range of which is never used.
    """
    values = np.asarray(image)
    high = values.max()
    bits = _tag(image, _BITS)[0] if _tag(image, _BITS) else 16  # Pillow fills 16 elsewhere
    if image.mode == "F":
        if not (values.min() >= 0 and high <= 1):  # so for NaN
            raise _unclear(image, "floating point is read from 0 for black to 1 for white")
        top, grey = 1.0, np.rint(values * 255.0)
    elif bits > 16:
        raise _unclear(image, f"which of the numbers of {bits} bits is white is not known")
    else:
        top = 2**bits - 1
        grey = values.astype(np.int64) * 255 // top
    if 0 < high <= top / _DARK:
        raise _unclear(image, _TOO_DARK.format(f"{bits} bits per pixel"))
    if 0 in _tag(image, _PHOTOMETRIC):  # white is 0; of 8 bits Pillow turns it itself
        grey = 255 - grey
    return Image.fromarray(grey.astype(np.uint8))


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """A tag of a TIFF; empty if the image is no TIFF or lacks the tag."""
    value = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)


def _unclear(image: Image.Image, why: str) -> BadImageError:
    """The error for values of unknown range."""
    pixels = np.asarray(image)
    return BadImageError(
        f"mode {image.mode} with values {pixels.min():,.6g} to {pixels.max():,.6g}: {why}. Scale "
        "them to 0 to 255 and save them with 8 bits per channel"
    )
