"""Nothing that was changed is believed: one flipped bit of any file that decides a number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from susx_bench.errors import RecordError
from susx_bench.features.store import FeatureStore
from susx_bench.records.record import Record
from susx_bench.records.store import (
    Predictions,
    Searched,
    predictions_path,
    read,
    read_predictions,
    read_search,
    search_path,
    write,
    write_search,
)
from tests.records.example import make_record

RECIPE = {"encoder": "demo", "images": "ab" * 32}
ATTACK = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8 % len(content)] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    predictions = Predictions(np.array([1, 0, 2]), np.array([0.5, 1.5, 0.1], dtype=np.float32))
    path = tmp_path / "toy" / "tipx-1.json"
    write(path, make_record(predictions_sha256=predictions.sha256), predictions)
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_search(path, Searched(grid, {"alpha": [0.5, 1.0], "beta": [1.0, 2.0, 3.0]}))
    return path


def attack(path: Path, bit: int, read_back: Callable[[], Any]) -> None:
    """Reading gives what was written, or a refusal."""
    content, before = path.read_bytes(), repr(read_back())
    path.write_bytes(flipped(content, bit))
    said = ""
    try:
        after = repr(read_back())
    except RecordError as error:
        said, after = str(error), before
    finally:
        path.write_bytes(content)
    assert after == before
    assert "\n" not in said
    assert not said or str(path.parent) in said


@ATTACK
@given(bit=st.integers(0, 10**6))
def test_a_record(record: Path, bit: int) -> None:
    attack(record, bit, lambda: Record.read(record).as_dict())


@ATTACK
@given(bit=st.integers(0, 10**6))
def test_its_predictions(record: Path, bit: int) -> None:
    attack(predictions_path(record), bit, lambda: read_predictions(record))


@ATTACK
@given(bit=st.integers(0, 10**6))
def test_its_search(record: Path, bit: int) -> None:
    attack(search_path(record), bit, lambda: read_search(record))


@ATTACK
@given(bit=st.integers(0, 10**6))
def test_a_shard_of_features(tmp_path: Path, bit: int) -> None:
    """A damaged shard counts as none, and is made again."""
    store = FeatureStore(str(tmp_path))
    rows = torch.linspace(-1, 1, 12).reshape(4, 3)
    store.put(RECIPE, 0, rows)
    path = Path(store.path(RECIPE, 0))
    path.write_bytes(flipped(path.read_bytes(), bit))

    back = store.get(RECIPE, 0)
    assert back is None or torch.equal(back, rows)


@ATTACK
@given(bit=st.integers(0, 10**6))
def test_a_note_of_a_hash(tmp_path: Path, bit: int) -> None:
    store = FeatureStore(str(tmp_path))
    store.keep_note("ab", "cd" * 32)
    path = next((tmp_path / "notes").iterdir())
    path.write_bytes(flipped(path.read_bytes(), bit))

    assert store.note("ab") in (None, "cd" * 32)


@pytest.mark.parametrize("beside", [predictions_path, search_path])
def test_files_of_another_record_are_not_believed(record: Path, beside: Any) -> None:
    other = record.with_name("tipx-2.json")
    other.write_bytes(record.read_bytes())
    beside(other).write_bytes(beside(record).read_bytes())

    with pytest.raises(RecordError, match="or is another record's"):
        read(other) if beside is predictions_path else read_search(other)
