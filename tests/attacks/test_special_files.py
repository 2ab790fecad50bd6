"""A pipe in the place of a file that an encoder's folder should have: one line, and no waiting."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from susx_bench.encoders.openclip import EMBEDDED
from tests.conftest import Command


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
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--dataset", "digits")

    done = command(*words, "--encoder", f"local-dir:{folder}")

    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
