"""A pipe in the place of a file that an encoder's folder should have: one line, and no waiting."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from susx_bench.encoders.layout import EMBEDDED
from tests.conftest import Command
from tests.data.made import encoded, photo, write

CLASSIFY = ("classify", ".", "--encoder", "demo", "--out", "out")


@pytest.mark.parametrize(
    "file", ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]
)
def test_a_pipe_in_an_encoders_folder_is_one_line(
    file: str, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(EMBEDDED["demo"], folder)
    (folder / file).unlink()
    os.mkfifo(folder / file)
    words = ("run", "--method", "zero-shot", "--setting", "few-shot", "--dataset", "digits")

    done = command(*words, "--encoder", f"local-dir:{folder}")

    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("test.parquet", ("data", "check", ".")),
        ("test-000.tar", ("data", "check", ".")),
        ("cat/9.png", ("data", "check", ".")),
        ("split.json", ("data", "check", ".", "--split-file", "split.json")),
        ("names.txt", ("data", "check", ".", "--classnames", "names.txt")),
        ("names.txt", (*CLASSIFY, "--classes", "names.txt")),
        (
            "labels.csv",
            (*CLASSIFY, "--classes", "a,b", "--labelled", "labels.csv"),
        ),
        ("mine.safetensors", ("classify", "--features", "mine.safetensors", "--out", "out")),
        ("keys_1shots.pt", ("features", "import", ".", "--out", "o.safetensors")),
        ("suite.toml", ("run", "--suite", "suite.toml")),
        ("record.json", ("export", "record.json", "--to", "head.safetensors")),
        ("record.json", ("records", "verify", "record.json")),
    ],
)
def test_a_pipe_in_a_files_place_is_one_line(
    place: str,
    words: tuple[str, ...],
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    if Path(place).suffix not in (".parquet", ".tar"):
        for number, name in enumerate(("cat/1.png", "dog/1.png")):
            write(folder / name, encoded(photo(number)))
    os.mkfifo(folder / place)
    monkeypatch.chdir(folder)

    done = command(*words)

    assert done.code == 2, done.out
    assert len(done.err.strip().splitlines()) == 1
    assert Path(place).name in done.err
