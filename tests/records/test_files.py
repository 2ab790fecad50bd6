"""Files that are whole or not there, and what killed writers leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from susx_bench.records.files import sweep, write_atomic

KILLED = """
import os, signal
from pathlib import Path
from susx_bench.records.files import write_atomic
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path("record.json"), b"content")
"""


def killed(folder: Path) -> Path:
    """The file that a writer killed in the middle of a write left in a folder."""
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=folder, env=os.environ, check=False)
    assert done.returncode == -9
    (left,) = folder.iterdir()
    return left


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = killed(tmp_path)
    old = time.time() - 7200
    os.utime(left, (old, old))

    sweep.cache_clear()
    write_atomic(tmp_path / "other.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    left = killed(tmp_path)

    sweep.cache_clear()
    write_atomic(tmp_path / "other.json", b"new")
    assert left.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_left_alone(tmp_path: Path) -> None:
    left = killed(tmp_path)
    os.utime(left, (1, 1))
    os.chown(left, 12345, -1)

    sweep.cache_clear()
    write_atomic(tmp_path / "other.json", b"new")
    assert left.exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_rights_that_the_umask_gives(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "record.json", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == mode
