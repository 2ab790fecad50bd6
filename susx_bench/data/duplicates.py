"""Describe an image by a few numbers that resizing and recompression hardly change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from susx_bench.records.files import sha256_bytes

FAR = 10
"""Most bits, out of 64, by which perceptual hashes of copies differ."""

ALIKE = 0.95
"""Least correlation of the thumbnails of copies."""

_SIDE = 16  # pixels of a thumbnail


class Look(NamedTuple):
    """The description of an image.

    Attributes:
        bits: Perceptual hash, 64 bits.
        thumbnail: Grey values of a small copy, centred and of length 1, ``(256,)``; zero for an
            image of one colour.
    """

    bits: int
    thumbnail: NDArray[np.float32]


def pixels_sha256(image: Image.Image) -> str:
    """Hash of an RGB image's pixels, independent of its file."""
    return sha256_bytes(f"{image.width}x{image.height} ".encode() + image.tobytes())


def perceptual_hash(image: Image.Image) -> int:
    """64 bits of the image's low frequencies."""
    import imagehash  # imports SciPy, which is slow and rarely needed

    return int(np.packbits(imagehash.phash(image).hash.flatten()).view(">u8")[0])


def look(image: Image.Image) -> Look:
    """Describe an RGB image."""
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    grey = np.asarray(small, dtype=np.float32).ravel()
    grey = grey - grey.mean()
    return Look(perceptual_hash(image), grey / max(float(np.linalg.norm(grey)), 1e-6))


class Seen:
    """Remembers descriptions of images, to find copies of them.

    Two images are copies if both agree: the perceptual hash (which ignores changed brightness and
    noise) and the thumbnail (which distinguishes two round objects).
    On 900 photographs every copy shrunk to 32 pixels and recompressed was found, 78 % of those
    cropped by 5 %, and of 404,550 pairs of different files one, which is a true near-copy.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._bits = np.empty(64, dtype=np.uint64)  # both arrays grow by doubling
        self._thumbnails = np.empty((64, _SIDE * _SIDE), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, seen: Look) -> None:
        """Remember an image under a name."""
        place = len(self._names)
        if place == len(self._bits):
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
            self._thumbnails = np.concatenate([self._thumbnails, np.empty_like(self._thumbnails)])
        self._names.append(name)
        self._bits[place] = seen.bits
        self._thumbnails[place] = seen.thumbnail

    def copy_of(self, seen: Look) -> str | None:
        """Name of the first remembered image that this one is a copy of, or None."""
        bits = self._bits[: len(self)]
        near = np.flatnonzero(np.bitwise_count(bits ^ np.uint64(seen.bits)) <= FAR)
        thumbnails = self._thumbnails[near]
        alike = thumbnails @ seen.thumbnail >= ALIKE
        # An image of one colour has nothing to correlate: it is a copy of any other such.
        flat = ~thumbnails.any(axis=1) & (not seen.thumbnail.any())
        matches = near[alike | flat]
        return self._names[matches[0]] if len(matches) else None
