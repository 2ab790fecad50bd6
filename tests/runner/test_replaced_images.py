"""A record is of the images it saw: others under the same names are measured again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from susx_bench.records.record import Record
from tests.conftest import Command
from tests.data.made import encoded, photo, write


def folder(root: Path) -> Path:
    """Two classes with 4 images in train, and 3 in test."""
    for split, count in (("train", 4), ("test", 3)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                image = photo(100 * label + 10 * count + i)
                write(root / split / name / f"{i}.png", encoded(image))
    return root


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Any:
    """Measure Tip-Adapter at 2 shots; give what was printed to stdout and the record."""

    def call(data: Path, *more: str) -> tuple[str, Record]:
        done = command(
            *("run", "--method", "tip-adapter", "--setting", "few-shot", "--dataset", data),
            *("--shots", 2, "--seed", 1, "--tune", "fixed", "--views", 1, "--encoder", "demo"),
            *("--out", tmp_path / "out", *more),
        )
        assert done.code == 0, done.err
        paths = sorted(
            (tmp_path / "out").rglob("tip-adapter-*.json"), key=lambda p: p.stat().st_mtime
        )
        return done.out, Record.read(paths[-1])

    return call


def replaced(path: Path, seed: int = 7) -> None:
    """Put another image under the same name."""
    write(path, encoded(photo(seed)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_replaced_images_are_measured_again(run: Any, tmp_path: Path, split: str) -> None:
    data = folder(tmp_path / "pets")
    out, before = run(data)
    assert "wrote" in out
    out, same = run(data)
    assert "nothing to do" in out
    assert same == before

    for place, path in enumerate(sorted((data / split).rglob("*.png"))):
        replaced(path, seed=place + 50)
    out, after = run(data)
    assert "wrote" in out
    assert (after.split_sha256 != before.split_sha256) is (split == "test")
    assert (after.support_sha256 != before.support_sha256) is (split == "train")
    assert after.input_sha256 != before.input_sha256


def test_a_copy_of_the_images_has_the_same_record_and_features(run: Any, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets")
    _, before = run(data)
    shards = sorted((tmp_path / "cache" / "features").rglob("*.safetensors"))

    shutil.move(data, tmp_path / "old")
    shutil.copytree(tmp_path / "old", data, copy_function=shutil.copyfile)
    for path in data.rglob("*.png"):
        os.utime(path, (1, 1))
    out, after = run(data)
    assert "nothing to do" in out
    assert after == before
    assert sorted((tmp_path / "cache" / "features").rglob("*.safetensors")) == shards


def test_force_reads_images_whose_files_look_the_same(run: Any, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets")
    path = data / "test" / "cat" / "0.png"
    write(path, path.read_bytes() + bytes(5000))
    _, before = run(data)

    state = path.stat()
    content = encoded(photo(77))
    write(path, content + bytes(state.st_size - len(content)))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    out, kept = run(data)
    assert "nothing to do" in out  # size and time are all that is looked at
    assert kept == before
    out, forced = run(data, "--force")
    assert "wrote" in out
    assert forced.split_sha256 != before.split_sha256


def test_a_changed_note_of_a_hash_is_not_believed(run: Any, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets")
    _, before = run(data)
    notes = sorted((tmp_path / "cache" / "notes").rglob("*.json"))
    assert notes
    for path in notes:
        content = bytearray(path.read_bytes())
        place = content.index(b'"value":') + 9
        content[place] = ord("0") if content[place] != ord("0") else ord("1")
        path.write_bytes(bytes(content))
    out, after = run(data)
    assert "nothing to do" in out
    assert after == before
