"""The provenance of a record: the versions, the commit and the device behind its numbers."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

from susx_bench.features.launch import Launch
from susx_bench.options.asked import PACKAGES


@cache
def versions() -> dict[str, str]:
    """Versions of the packages on which the numbers depend, and of Python."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return installed | {"python": platform.python_version()}


@cache
def git_commit() -> str:
    """Commit of this package's own checkout (with ``-dirty``), or ``installed``."""
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return "installed"
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                str(home),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed"
    return done.stdout.strip()


@cache
def device_name(launch: Launch) -> str:
    """The name of the device that computes the numbers."""
    if launch.accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu {platform.machine()}"
