"""Many files, and files that are huge or broken in their own ways."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from susx_bench.errors import DatasetError
from susx_bench.photos.photographs import open_photos
from tests.conftest import Command
from tests.data.made import encoded, photo


def png(width: int, height: int) -> bytes:
    """A PNG that says it has that many pixels, and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_work_per_file_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 files are listed in seconds only where each is looked at a fixed number of times."""
    import os

    calls = 0

    def counted(kind: str) -> None:
        real = getattr(os, kind)

        def call(*words: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            return real(*words, **more)

        monkeypatch.setattr(os, kind, call)

    for kind in ("stat", "scandir", "lstat", "listdir"):
        counted(kind)
    per_file = []
    for many in (200, 2000):
        folder = tmp_path / str(many)
        folder.mkdir()
        for i in range(many):
            (folder / f"{i}.jpg").touch()
        calls = 0
        photos = open_photos([str(folder)])
        assert len(photos.state(photos.samples)[1]) == many
        per_file.append(calls / many)

    assert per_file[1] <= per_file[0]
    assert per_file[1] < 3


def test_huge_broken_and_odd_files_are_skipped_with_their_reasons(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    whole = encoded(photo(1), "jpeg")
    made = {
        "bomb.png": png(200_000, 200_000),
        "line.png": png(60_000, 2),
        "cut.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "page.jpg": b"<html>",
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / "good.jpg").write_bytes(whole)
    (folder / "other.png").write_bytes(encoded(photo(2)))

    done = command(
        "classify", folder, "--classes", "cat,dog", "--encoder", "demo", "--out", "answers"
    )

    assert done.code == 0, done.err
    skipped = (tmp_path / "answers" / "skipped.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in skipped] == sorted([*made, "gone.jpg"])
    text = "\n".join(skipped)
    for said in ("40000000000 pixels", "60000 x 2 pixels", "0 bytes", "No such file"):
        assert said in text
    assert len((tmp_path / "answers" / "predictions.csv").read_text().splitlines()) == 3


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.jpg").touch()

    with pytest.raises(DatasetError, match="is not UTF-8"):
        open_photos([str(tmp_path)])
