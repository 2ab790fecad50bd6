"""Versions of packages that may change features, and those known to make equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

ALIKE: Mapping[str, frozenset[str]] = {
    "open_clip_torch": frozenset({"3.3"}),
    "pillow": frozenset({"13.0"}),
    "torchvision": frozenset({"0.29"}),
}
"""Of each package, the versions (major.minor) that make the same features, to the last bit.

Features of these share a key. Any other version has keys of its own, so that no table mixes
features of two versions. Add a version here when the hashes in
``tests/encoders/test_versions.py`` are the same with it.
"""


def unlike(packages: Iterable[str]) -> dict[str, str]:
    """The installed versions of packages, except those in `ALIKE`."""
    versions = {name: _version(name) for name in packages}
    return {n: short for n, short in versions.items() if short and short not in ALIKE.get(n, ())}


@cache
def _version(package: str) -> str:
    """Major and minor of an installed package; empty if it is not installed."""
    try:
        return ".".join(version(package).split(".")[:2])
    except PackageNotFoundError:
        return ""
