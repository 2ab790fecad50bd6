"""The same pictures in numbers of other kinds: the same accuracy, or a refusal, never a third."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from susx_bench.data.facts.digits import SPEC
from tests.conftest import Command
from tests.data import made
from tests.data.made import deep_png, encoded, tiff, write

Kind = Callable[[NDArray[np.uint8]], bytes]
RUN = ("run", "--setting", "name-only", "--method", "zero-shot", "--encoder", "demo", "--json")

ALIKE: dict[str, Kind] = {
    "16 bits": lambda grey: deep_png(grey.astype(np.uint16) * 257),
    "16 bits, RGB": lambda grey: deep_png(np.dstack([grey.astype(np.uint16) * 257] * 3)),
    "float": lambda grey: tiff((grey / 255).astype("<f4")),
    "white is 0": lambda grey: tiff(65535 - grey.astype("<u2") * 257, photometric=0),
}
REFUSED: dict[str, Kind] = {
    "12 bits in 16": lambda grey: deep_png(grey.astype(np.uint16) * 16),
    "float of 255": lambda grey: tiff(grey.astype("<f4")),
    "32 bits": lambda grey: tiff(grey.astype("<u4")),
    "0 and 1": lambda grey: encoded(Image.fromarray((grey > 127).astype(np.uint8))),
}


def digits(folder: Path, kind: Kind) -> Path:
    """Six test images of each digit, as files of a kind."""
    data = made.digits("test")
    for label, name in enumerate(SPEC.classnames):
        mine = [sample for sample in data.samples if sample.label == label][:6]
        for sample in mine:
            grey = np.asarray(data.image(sample).convert("L"))
            write(folder / "test" / name / f"{sample.key}.img", kind(grey))
    for file in folder.rglob("*.img"):
        suffix = ".png" if file.read_bytes()[1:4] == b"PNG" else ".tif"
        file.rename(file.with_suffix(suffix))
    return folder


def test_depth_changes_no_answer(tmp_path: Path, command: Command) -> None:
    plain = digits(tmp_path / "plain", lambda grey: encoded(Image.fromarray(grey)))
    want = command(*RUN, "--dataset", plain).records[0]
    assert want["accuracy"] > 40  # chance is 10

    for name, kind in ALIKE.items():
        folder = digits(tmp_path / name.replace(",", ""), kind)
        done = command(*RUN, "--dataset", folder)
        assert done.code == 0, done.err
        assert done.records[0]["accuracy"] == want["accuracy"], name
        assert command("data", "check", folder).code == 0


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_as_black_is_refused(
    name: str, tmp_path: Path, command: Command
) -> None:
    folder = digits(tmp_path / "photos", REFUSED[name])

    ran = command(*RUN, "--dataset", folder)
    checked = command("data", "check", folder)

    assert ran.code == 2
    assert "cannot be read: mode " in ran.err
    assert "save them with 8 bits per channel" in ran.err
    assert ran.err.count("\n") == 1
    assert checked.code == 3
    assert "cannot be read" in checked.err
