from __future__ import annotations

import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from susx_bench.data.decode import BadImageError, decode
from tests.data.made import encoded, photo, plain, turned

NOISE = np.random.default_rng(0).integers(0, 256, (9, 13, 4), np.uint8)


def pixels(content: bytes) -> NDArray[np.uint8]:
    image = decode(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["bmp", "png", "ppm", "tiff"])
def test_colour_stays_as_it_is(kind: str) -> None:
    rgb = NOISE[..., :3]

    assert np.array_equal(pixels(encoded(Image.fromarray(rgb), kind)), rgb)


def test_lossless_webp_stays_as_it_is() -> None:
    rgb = NOISE[..., :3]

    assert np.array_equal(pixels(encoded(Image.fromarray(rgb), "webp", lossless=True)), rgb)


def test_transparency_is_dropped() -> None:
    assert np.array_equal(pixels(encoded(Image.fromarray(NOISE))), NOISE[..., :3])


def test_grey_with_transparency_is_grey() -> None:
    image = Image.fromarray(NOISE[..., :2].copy(), "LA")

    assert np.array_equal(pixels(encoded(image)), grey(NOISE[..., 0]))


@pytest.mark.parametrize("transparency", [None, 2, bytes([0, 128, 255, 7])])
def test_a_palette_gives_its_colours(transparency: int | bytes | None) -> None:
    colours = NOISE[0, :4, :3]
    places = NOISE[..., 0] % 4
    image = Image.fromarray(places, "P")
    image.putpalette(colours.tobytes())
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}

    assert np.array_equal(pixels(encoded(image, **options)), colours[places])


def test_one_bit_is_black_and_white() -> None:
    bits = NOISE[..., 0] > 127

    assert np.array_equal(
        pixels(encoded(Image.fromarray(bits))), grey((255 * bits).astype(np.uint8))
    )


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bits_are_scaled_and_not_clipped(kind: str) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (16, 16), np.uint16)
    deep[0, :2] = 0, 65535

    found = pixels(encoded(Image.fromarray(deep), kind))

    assert np.array_equal(found, grey((deep // 257).astype(np.uint8)))
    assert len(np.unique(found)) > 100


def test_8_bits_in_a_wider_file_stay_as_they_are() -> None:
    wide = NOISE[..., 0].astype(np.int32)

    assert np.array_equal(pixels(encoded(Image.fromarray(wide), "tiff")), grey(NOISE[..., 0]))


def test_ink_becomes_light() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:] = 40, 0, 120, 60  # cyan, magenta, yellow, black
    light = (255 - ink[0, 0, :3].astype(float)) * (255 - 60) / 255

    for kind in ("tiff", "jpeg"):
        found = pixels(encoded(Image.fromarray(ink, "CMYK"), kind))
        assert np.abs(found - light).max() <= 3


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    content = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])

    assert np.array_equal(pixels(content), np.full((8, 8, 3), (255, 0, 0)))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_exif_turns_nothing(kind: str) -> None:
    found = pixels(turned(kind))

    assert found.shape == (8, 16, 3)
    assert found[:, :6].min() > 200
    assert found[:, 10:].max() < 50


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp"])
def test_a_file_that_is_cut_off_is_bad(kind: str, part: float) -> None:
    content = encoded(photo(0), kind)

    with pytest.raises(BadImageError, match=r"\w"):
        decode(content[: int(part * len(content))])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"<html>404 Not Found</html>", "none of BMP, GIF, JPEG"),
        # Pillow would run Ghostscript on it.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "none of BMP"),
    ],
)
def test_what_is_no_image_is_bad(content: bytes, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        decode(content)


def test_an_image_that_would_fill_the_memory_is_bad() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))

    with pytest.raises(BadImageError, match=r"too large: .*3600000000 pixels"):
        decode(content)


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpeg", "png", "ppm", "webp"])
def test_broken_bytes_give_an_image_or_are_bad(kind: str) -> None:
    chance = random.Random(0)
    content = encoded(photo(1).resize((20, 20)), kind)
    bad = 0
    for _ in range(200):
        broken = bytearray(content)
        for _ in range(chance.choice([1, 3, 20])):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            assert decode(bytes(broken)).mode == "RGB"
        except BadImageError:
            bad += 1
    assert bad > 0


def test_threads_leave_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [plain(i) for i in range(256)] * 4))

    assert list(warnings.filters) == before
