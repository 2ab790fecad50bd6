"""What the doctor sees, and what it never shows."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import torch

from tests.conftest import Command


def test_versions_devices_folders_and_data_are_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data" / "dtd").mkdir(parents=True)

    done = command("doctor", "--data-root", tmp_path / "data")

    assert done.code == 0, done.err
    rows = dict(line.split(maxsplit=1) for line in done.out.splitlines() if " " in line.strip())
    assert rows["torch"].strip() == importlib.metadata.version("torch")
    assert rows["features"].startswith(str(tmp_path / "cache"))
    assert str(tmp_path / "support") in done.out
    gpus = [line for line in done.out.splitlines() if line.startswith("gpu")]
    assert len(gpus) == max(1, torch.cuda.device_count())
    here = next(line for line in done.out.splitlines() if line.startswith("datasets here"))
    assert here.split()[2:] == ["digits,", "dtd"] or "digits" in here
    assert "imagenet-sketch" in done.out


def test_no_secret_is_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "very-secret")

    done = command("doctor")

    assert "very-secret" not in done.out + done.err
    assert sum(line.split()[1:] == ["set"] for line in done.out.splitlines()) == 3


def test_what_keeps_a_run_from_working_is_exit_3(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUSX_BENCH_CACHE", str(tmp_path / "file" / "cache"))

    done = command("doctor")

    assert done.code == 3
    assert "features: " in done.err
    assert "cannot be written" in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["SUSX_BENCH_DATA", "SUSX_BENCH_PROMPTS"])
def test_a_folder_that_is_not_there_is_wrong(
    name: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "nowhere"))

    done = command("doctor")

    assert done.code == 3
    assert f"{name} is {tmp_path / 'nowhere'}, and there is no such folder" in done.err


def test_a_missing_package_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "tenacity":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)

    done = command("doctor")

    assert done.code == 3
    assert "tenacity is not installed: pip install 'tenacity>=9.1'" in done.err


@pytest.mark.parametrize("url", ["nfs://there/x", "simplecache::nosuch://there"])
def test_a_cache_that_nothing_here_speaks_to(
    command: Command, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SUSX_BENCH_CACHE", url)

    said = command("doctor")

    assert said.code == 3
    assert "Protocol not known" in said.err
