from __future__ import annotations

from pathlib import Path

import pytest
import torch

from susx_bench.features.store import FeatureStore
from tests.conftest import unit

RECIPE = {"encoder": "abc", "images": "def"}


def test_gives_back_what_was_put(tmp_path: Path) -> None:
    store, features = FeatureStore(tmp_path), unit(5, 4, seed=1)

    assert store.get(RECIPE) is None
    store.put(RECIPE, features)
    found = store.get(RECIPE)

    assert found is not None
    assert torch.equal(found, features)
    assert store.get(RECIPE | {"images": "other"}) is None


def test_the_same_features_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        FeatureStore(tmp_path / name).put(RECIPE, unit(5, 4, seed=1))

    one, two = (FeatureStore(tmp_path / name).path(RECIPE).read_bytes() for name in ("a", "b"))
    assert one == two


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_file_is_never_believed(tmp_path: Path, damage: str) -> None:
    store = FeatureStore(tmp_path)
    store.put(RECIPE, unit(5, 4, seed=1))
    path = store.path(RECIPE)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-8]
    elif damage == "flip":
        content[-3] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        store.put(RECIPE | {"images": "other"}, unit(5, 4, seed=2))
        content = bytearray(store.path(RECIPE | {"images": "other"}).read_bytes())
    path.write_bytes(content)

    assert store.get(RECIPE) is None
