"""Little files that want much memory are refused before they take it."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image

from susx_bench.data.decode import BadImageError, decode


def png(width: int, height: int, bits: int = 8) -> bytes:
    """A grey PNG that claims a size, with no more than a row of pixels in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + width * bits // 8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(width: int, height: int, kind: str, mode: str = "L") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (width, height)).save(content, kind)
    return content.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        (png(60_000, 1), ("60000 x 1", "100 times")),
        (png(1, 60_000), ("1 x 60000", "100 times")),
        (png(13_300, 13_300, 16), ("13300 x 13300", "176,890,000", "100,000,000")),
        (png(2_000_000, 2_000_000), ("4000000000000 pixels", "178956970")),  # Pillow's own limit
        (png(2**31 - 1, 1), ("2147483647 pixels", "178956970")),
        (saved(40_000, 3, "BMP"), ("40000 x 3",)),
        (saved(16_000, 100, "WEBP", "RGB"), ("16000 x 100",)),
        (saved(65_000, 20, "JPEG"), ("65000 x 20",)),
        (saved(30_000, 2, "TIFF"), ("30000 x 2",)),
        (saved(30_000, 2, "GIF"), ("30000 x 2",)),
    ],
)
def test_an_image_of_too_many_or_too_long_pixels(content: bytes, numbers: tuple[str, ...]) -> None:
    decode(saved(8, 8, "PNG", "RGB"))  # Pillow imports its formats once
    tracemalloc.start()
    try:
        with pytest.raises(BadImageError) as caught:
            decode(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for number in numbers:
        assert number in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 5_000_000


def test_a_large_photograph_is_read() -> None:
    assert decode(saved(9_000, 6_000, "PNG")).size == (9_000, 6_000)
    assert decode(saved(100, 1, "PNG")).size == (100, 1)
