"""Arrays in the cache: believed where nothing has changed, and made again everywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from susx_bench.records import kept as module
from susx_bench.records.kept import Arrays, as_array, file_state, from_array, kept


class Maker:
    """Makes arrays and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Arrays:
        self.times += 1
        return {"numbers": np.arange(5) + self.times, "said": as_array(["é", 1])}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, which keeps small arrays, too."""
    monkeypatch.setenv(module.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_LEAST", 0)
    return tmp_path / "cache"


def test_arrays_are_made_once_for_a_state(cache: Path) -> None:
    maker = Maker()
    first, again = (kept(("a", "b"), {"x": (1, 2)}, maker) for _ in range(2))
    assert maker.times == 1
    assert np.array_equal(first["numbers"], again["numbers"])
    assert from_array(again["said"]) == ["é", 1]

    kept(("a", "b"), {"x": (1, 3)}, maker)
    kept(("a", "c"), {"x": (1, 3)}, maker)
    assert maker.times == 3
    assert len(list(cache.glob("lists/*"))) == 2  # the latest of each name


def test_what_is_kept_is_not_believed_when_it_is_damaged(cache: Path) -> None:
    maker = Maker()
    kept(("a",), 1, maker)
    (path,) = cache.glob("lists/*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    for damaged in (bytes(content), bytes(content[:-3]), b"", b"\xff" * 8):
        path.write_bytes(damaged)
        before = maker.times
        assert kept(("a",), 1, maker)["numbers"][0] == before + 1


def test_little_and_what_may_still_change_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker()
    for _ in range(2):
        kept(("a",), None, maker)
    monkeypatch.setattr(module, "_LEAST", 1000)
    for _ in range(2):
        kept(("a",), 1, maker)
    monkeypatch.setenv(module.CACHE_VARIABLE, "memory://cache")
    kept(("a",), 1, maker)
    assert maker.times == 5
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    maker = Maker()
    assert kept(("a",), 1, maker)["numbers"][0] == 1


def test_a_file_that_was_changed_in_place_has_another_state(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    assert file_state(path) is None  # a second change now might not be seen
    long_ago = path.stat().st_mtime - 100
    os.utime(path, (long_ago, long_ago))
    assert file_state(path) is None  # when the times were set is recent, too


def test_the_state_of_a_settled_file_follows_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FRESH", 0.0)
    path = tmp_path / "file"
    path.write_text("one")
    times = path.stat().st_mtime
    before = file_state(path)
    assert before == file_state(path)
    path.write_text("two")
    os.utime(path, (times, times))
    assert before != file_state(path)
