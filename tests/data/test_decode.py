from __future__ import annotations

import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from susx_bench.data.decode import BadImageError, decode
from tests.data.made import deep_png, encoded, photo, plain, tiff, turned

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
    image = Image.fromarray(NOISE[..., :2].copy())

    assert np.array_equal(pixels(encoded(image)), grey(NOISE[..., 0]))


@pytest.mark.parametrize("transparency", [None, 2, bytes([0, 128, 255, 7])])
def test_a_palette_gives_its_colours(transparency: int | bytes | None) -> None:
    colours = NOISE[0, :4, :3]
    places = NOISE[..., 0] % 4
    image = Image.fromarray(places)
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


LEVELS = np.concatenate([[0, 255], np.random.default_rng(2).integers(0, 256, 115)])
SHADES = LEVELS.reshape(9, 13).astype(np.uint8)
"""A picture of all shades; every file below holds it, in numbers of some other kind."""


def packed_12(values: NDArray[Any]) -> bytes:
    """Rows of numbers of 12 bits, the high ones first, each row from a byte of its own."""
    rows = ["".join(f"{value:012b}" for value in row) for row in values.tolist()]
    padded = [row.ljust(-(-len(row) // 8) * 8, "0") for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in padded)


UNIT = SHADES / 255
DEEP = SHADES.astype(np.uint16) * 257
TWELVE = np.rint(UNIT * 4095).astype(np.uint16)
COLOUR = np.repeat(DEEP[..., None], 3, axis=2)
YCBCR = Image.fromarray(SHADES).convert("RGB").convert("YCbCr")

CLEAR = {
    "float": encoded(Image.fromarray(UNIT.astype(np.float32)), "tiff"),
    "float, packed": encoded(
        Image.fromarray(UNIT.astype(np.float32)), "tiff", compression="tiff_deflate"
    ),
    "float, big-endian": tiff(UNIT.astype(">f4")),
    "float, white is 0": tiff((1 - UNIT).astype("<f4"), photometric=0),
    "float, portable": b"Pf\n13 9\n-1.0\n" + UNIT[::-1].astype("<f4").tobytes(),
    "12 bits": tiff(TWELVE, bits=12, content=packed_12(TWELVE)),
    "16 bits, big-endian": tiff(DEEP.astype(">u2")),
    "16 bits, white is 0": tiff(65535 - DEEP, photometric=0),
    "8 bits, white is 0": tiff(255 - SHADES, photometric=0),
    "10 bits that say so": b"P5 13 9 1023\n" + np.rint(UNIT * 1023).astype(">u2").tobytes(),
    "16 bits, portable": b"P5 13 9 65535\n" + DEEP.astype(">u2").tobytes(),
    "16 bits, RGB": tiff(COLOUR, photometric=2),
    "16 bits, RGB, PNG": deep_png(COLOUR),
    "16 bits, RGBA, PNG": deep_png(np.dstack([COLOUR, DEEP[::-1]])),
    "16 bits, grey and alpha": deep_png(np.dstack([DEEP, DEEP[::-1]])),
    "16 bits, grey": deep_png(DEEP),
    "1 bit": encoded(Image.fromarray(SHADES > 127)),
    "YCbCr": encoded(YCBCR, "tiff", compression="tiff_lzw"),
}


@pytest.mark.parametrize("kind", CLEAR)
def test_a_picture_is_the_same_in_numbers_of_any_kind(kind: str) -> None:
    """To one level, for the kinds that round."""
    want = np.where(SHADES > 127, 255, 0) if kind == "1 bit" else SHADES

    assert np.abs(pixels(CLEAR[kind]).astype(int) - grey(want)).max() <= 1


def test_uncompressed_ycbcr_is_never_misread() -> None:
    """Bytes behind the pixels, such as a file's list of tags, would be taken for more of them."""
    whole = encoded(YCBCR, "tiff")
    same, half = (struct.pack("<HHIHH", 530, 3, 2, side, side) for side in (1, 2))
    assert same in whole

    with pytest.raises(BadImageError, match=r"uncompressed YCbCr, which Pillow [\d.]+ misreads"):
        decode(whole.replace(same, half) + bytes(500))
    if int(PIL.__version__.partition(".")[0]) >= 13:
        assert np.abs(pixels(whole + bytes(500)).astype(int) - grey(SHADES)).max() <= 1
    else:
        with pytest.raises(BadImageError, match="uncompressed YCbCr"):
            decode(whole + bytes(500))


MASK = Image.fromarray(np.where(SHADES > 127, 1, 0).astype(np.uint8))
MASK.putpalette([0] * 6)
BLACK = np.zeros((9, 13, 3), np.uint8)

HIDDEN = {
    "RGBA": encoded(Image.fromarray(np.dstack([BLACK, SHADES]))),
    "white RGBA": encoded(Image.fromarray(np.dstack([255 - BLACK, SHADES]))),
    "WebP": encoded(Image.fromarray(np.dstack([BLACK, SHADES])), "webp", exact=True),
    "LA": encoded(Image.fromarray(np.dstack([SHADES * 0, SHADES]))),
    "16 bits": deep_png(np.dstack([DEEP * 0, DEEP])),
    "P": encoded(MASK, transparency=0),
    "GIF": encoded(MASK, "gif", transparency=0),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_picture_in_the_transparency_is_refused(kind: str) -> None:
    with pytest.raises(BadImageError, match="its picture is in the transparency"):
        decode(HIDDEN[kind])


def test_one_colour_is_no_picture_in_the_transparency() -> None:
    clear = np.dstack([BLACK, BLACK[..., :1] + 40])

    assert not pixels(encoded(Image.fromarray(clear))).any()


UNCLEAR = {
    "float of 0 to 255": (tiff(SHADES.astype("<f4")), "mode F with values 0 to 255: floating"),
    "float around 0": (tiff((2 * UNIT - 1).astype("<f4")), "mode F with values -1 to 1: "),
    "float with NaN": (tiff(np.full((3, 4), np.nan, "<f4")), "mode F with values nan to nan: "),
    "float of 8 bits in 16": (tiff((SHADES / 65535).astype("<f4")), "0.00389105: nearly black"),
    "32 bits": (tiff(SHADES.astype("<u4")), "mode I with values 0 to 255: .* 32 bits is white"),
    "32 bits, full": (tiff(DEEP.astype("<u4") * 65537), "mode I with values .* 32 bits is white"),
    "signed, 32 bits": (tiff(SHADES.astype("<i4")), "they are signed"),
    "signed, 16 bits": (tiff(SHADES.astype("<i2")), "they are signed"),
    "signed, big-endian": (tiff(SHADES.astype(">i2")), "they are signed"),
    "signed, 8 bits": (tiff((SHADES // 2).astype("i1")), "they are signed"),
    "12 bits in 16": (deep_png(TWELVE), "0 to 4,095: nearly black for 16 bits per pixel"),
    "12 bits in 16, TIFF": (tiff(TWELVE), "0 to 4,095: nearly black for 16 bits per pixel"),
    "8 bits in 16": (tiff(SHADES.astype("<u2")), "0 to 255: nearly black for 16 bits per pixel"),
    "8 bits in 12": (
        tiff(SHADES.astype("<u2"), bits=12, content=packed_12(SHADES)),
        "0 to 255: nearly black for 12 bits per pixel",
    ),
    "12 bits in 16, RGB": (deep_png(COLOUR // 16), "0 to 15: nearly black for 16 bits per channel"),
    "12 bits in 16, RGB, TIFF": (tiff(COLOUR // 16, photometric=2), "per channel"),
    "12 bits in 16, alpha": (deep_png(np.dstack([TWELVE, DEEP])), "16 bits per channel"),
    "a mask": (
        encoded(Image.fromarray((SHADES > 9).astype(np.uint8))),
        "0 to 1: nearly black for 8 bits per channel",
    ),
    "a mask, RGB": (encoded(Image.fromarray((COLOUR // 65535).astype(np.uint8))), "0 to 1: "),
    "4 bits in 8": (encoded(Image.fromarray(SHADES // 16)), "0 to 15: nearly black for 8 bits"),
    "digits of 0 to 16": (encoded(Image.fromarray(SHADES // 16 + 1), "gif"), "1 to 16: nearly"),
    "64 bits": (tiff(UNIT.astype("<f8")), "of a kind of them that Pillow does not read"),
    "half": (tiff(UNIT.astype("<f2")), "of a kind of them that Pillow does not read"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_numbers_whose_brightness_is_a_guess_are_refused(kind: str) -> None:
    content, message = UNCLEAR[kind]

    with pytest.raises(BadImageError, match=message):
        decode(content)


@pytest.mark.parametrize("top", [4096, 9_000, 20_000, 65535])
def test_how_bright_a_number_is_does_not_hang_on_the_others(top: int) -> None:
    deep = np.linspace(0, top, 117).reshape(9, 13).astype(np.uint16)

    for content in (deep_png(deep), tiff(deep)):
        assert np.array_equal(pixels(content), grey((deep // 257).astype(np.uint8)))


def test_black_is_black_in_any_depth() -> None:
    for kind in (np.uint8, np.uint16, np.float32):
        content = encoded(Image.fromarray(np.zeros((4, 4), kind)), "tiff")
        assert not pixels(content).any()


def test_ink_becomes_light() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:] = 40, 0, 120, 60  # cyan, magenta, yellow, black
    light = (255 - ink[0, 0, :3].astype(float)) * (255 - 60) / 255

    for kind in ("tiff", "jpeg"):
        found = pixels(encoded(Image.frombytes("CMYK", (16, 16), ink.tobytes()), kind))
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
