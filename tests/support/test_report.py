"""What a person sees of a support set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from susx_bench.records.files import sha256_file
from tests.conftest import Command

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def imported(tmp_path: Path, command: Command) -> Path:
    for number, name in enumerate(WORDS):
        folder = tmp_path / "mine" / name
        folder.mkdir(parents=True)
        for i in range(1 if name == "six" else 3):
            side = np.random.default_rng(10 * number + i).integers(0, 256, (5, 5, 3), np.uint8)
            side[..., 0] = 20 * number  # the class shows in the red
            Image.fromarray(side).resize((40, 30), Image.Resampling.NEAREST).save(
                folder / f"{i}.png"
            )
    (tmp_path / "mine/six/broken.png").write_bytes(b"no image")
    said = command(
        *("support", "build", "--dataset", "digits", "--kind", "sus-lc"),
        *("--import", tmp_path / "mine", "--per-class", 3),
    )
    assert said.code == 0, said.err
    return tmp_path / "support/digits/sus-lc-photo"


def test_counts_provenance_and_what_was_left_out(tmp_path: Path, command: Command) -> None:
    folder = imported(tmp_path, command)

    said = command("support", "show", "sus-lc")

    assert said.code == 0, said.err
    lines = [line.split() for line in said.out.splitlines()]
    assert ["six", "1", "0", "–", "1"] in lines
    assert ["zero", "3", "0", "–", "–"] in lines
    for told in (
        "sus-lc for digits, prompts photo, seed 0",
        f"retrieved from {tmp_path / 'mine'}",
        "copies of test images are left out",
        "28 images of 10 classes",
        "left out: 1 unreadable",
        "fewer than 3 images: six 1",
        f"contact sheet: {folder / 'contact-sheet.png'}",
    ):
        assert told in said.out


def test_the_sheet_has_a_row_a_class(tmp_path: Path, command: Command) -> None:
    imported(tmp_path, command)

    assert command("support", "show", "sus-lc", "--sheet", tmp_path / "sheet.png").code == 0

    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[0] == 10 * 100 + 4
    for label in range(10):
        row = pixels[4 + 100 * label : 100 + 100 * label, 180:]
        tiles = [row[:, 100 * i : 100 * i + 96, 0] for i in range(3)]
        have = 1 if label == 6 else 3
        for tile in tiles[:have]:
            assert (tile == 20 * label).all()
        assert all((tile == 255).all() for tile in tiles[have:])


def test_an_image_that_is_gone_or_no_image_is_told(tmp_path: Path, command: Command) -> None:
    """PostScript among it, which Pillow would hand to Ghostscript."""
    path = imported(tmp_path, command) / "images/00003/0001.png"
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"", None):
        path.unlink() if content is None else path.write_bytes(content)

        said = command("support", "show", "sus-lc")

        assert said.code == 2
        assert f"{path} {'cannot be read' if content is None else 'was changed'}" in said.err
        assert said.err.count("\n") == 1


def test_a_class_may_be_called_anything(tmp_path: Path, command: Command) -> None:
    imported(tmp_path, command)
    path = tmp_path / "support/digits/sus-lc-photo/recipe.json"
    before = sha256_file(path)
    path.write_text(path.read_text().replace('"six"', '"[red]s[/i]x"'))
    sums = path.with_name("SHA256SUMS")
    sums.write_text(sums.read_text().replace(before, sha256_file(path)))

    assert "[red]s[/i]x" in command("support", "show", "sus-lc").out


def test_a_set_that_is_not_there_is_told(command: Command) -> None:
    said = command("support", "show", "sus-sd")

    assert said.code == 2
    assert "no such support set of digits" in said.err
