"""Files that are none: pipes, sockets, devices and folders are told and not waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from susx_bench.errors import OptionError
from susx_bench.records.files import sha256_file, whole_lines, write_atomic
from susx_bench.records.paths import path_from, read_bytes
from susx_bench.records.text import read_json, read_text


@pytest.fixture(params=["pipe", "socket", "device", "link to a pipe"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "it"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        # The path of a socket is at most some hundred characters long.
        os.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    return path


READERS: list[Callable[[Path], object]] = [
    read_bytes,
    read_text,
    read_json,
    sha256_file,
    lambda path: list(whole_lines(path)),
]


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_not_read(reader: Callable[[Path], object], no_file: Path) -> None:
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        reader(no_file)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_is_not_read(reader: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        reader(tmp_path)


def test_a_path_in_the_environment_is_checked_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", "~/x")
    assert path_from("PLACE") == tmp_path / "x"
    for unset in ("", None):
        monkeypatch.setenv("PLACE", unset or "")
        assert path_from("PLACE") is None
    monkeypatch.setenv("PLACE", "~nosuchuser/x")
    with pytest.raises(OptionError, match=r"PLACE: ~nosuchuser/x: ~nosuchuser is nobody's home"):
        path_from("PLACE")


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)

    write_atomic(path, b"all of it")

    assert path.read_bytes() == b"all of it"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
