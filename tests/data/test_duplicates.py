"""Copies of an image are told from other images, whatever was done to their bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from susx_bench.data.decode import decode
from susx_bench.data.duplicates import Seen, look


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue())


@pytest.mark.real
def test_real_photographs_and_their_copies(real: Path) -> None:
    """900 photographs: every shrunk or recompressed copy is found, and names its original."""
    files = sorted((real / "caltech101").glob("101_ObjectCategories/*/*.jpg"))
    images = [decode(file.read_bytes()) for file in files]
    assert len(images) == 900
    seen, twins = Seen(), []
    for file, image in zip(files, images, strict=True):
        if of := seen.copy_of(look(image)):
            twins.append((file.parent.name, Path(of).parent.name))
        seen.add(str(file), look(image))
    assert twins == [("octopus", "octopus")]  # the one pair that `data check` finds as well

    for side, quality in ((None, 50), (64, 30), (32, 50)):
        for file, image in zip(files[::3], images[::3], strict=True):
            size = (side, side) if side else (image.width // 2, image.height // 2)
            of = seen.copy_of(look(jpeg(image.resize(size), quality)))
            assert of is not None
            assert Path(of).parent.name == file.parent.name


def noise(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((90, 60), Image.Resampling.BICUBIC)


def test_many_other_images_are_no_copies() -> None:
    """More than the 64 places that are there at first."""
    seen = Seen()
    for seed in range(150):
        assert seen.copy_of(look(noise(seed))) is None
        seen.add(f"{seed}", look(noise(seed)))

    assert len(seen) == 150
    for seed in (0, 63, 64, 149):
        assert seen.copy_of(look(jpeg(noise(seed).resize((45, 45)), 60))) == f"{seed}"


def test_images_of_one_colour_are_copies_of_each_other_only() -> None:
    seen = Seen()
    assert seen.copy_of(look(noise(1))) is None
    seen.add("noise", look(noise(1)))
    assert seen.copy_of(look(Image.new("RGB", (9, 9), "white"))) is None
    seen.add("white", look(Image.new("RGB", (9, 9), "white")))

    assert seen.copy_of(look(Image.new("RGB", (50, 30), "black"))) == "white"
