from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from susx_bench.errors import OutputError
from susx_bench.features.store import SHARD, FeatureStore, StoredRows
from susx_bench.testing.task import unit

RECIPE = {"encoder": "abc", "images": "def"}


def test_gives_back_what_was_put(tmp_path: Path) -> None:
    store, features = FeatureStore(str(tmp_path)), unit(5, 4, seed=1)

    assert store.get(RECIPE, 0) is None
    store.put(RECIPE, 0, features)
    found = store.get(RECIPE, 0)

    assert found is not None
    assert torch.equal(found, features)
    assert store.get(RECIPE | {"images": "other"}, 0) is None


def test_the_same_features_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        FeatureStore(str(tmp_path / name)).put(RECIPE, 0, unit(5, 4, seed=1))

    one, two = (
        Path(FeatureStore(str(tmp_path / name)).path(RECIPE, 0)).read_bytes() for name in ("a", "b")
    )
    assert one == two


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "shard", "folder", "deep"])
def test_a_damaged_file_is_never_believed(tmp_path: Path, damage: str) -> None:
    store = FeatureStore(str(tmp_path))
    store.put(RECIPE, 0, unit(5, 4, seed=1))
    path = Path(store.path(RECIPE, 0))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-8]
    elif damage == "flip":
        content[-3] ^= 1
    elif damage == "empty":
        content = bytearray()
    elif damage == "deep":
        content = bytearray(
            save({"features": unit(5, 4, seed=1)}, metadata={"features": "[" * 10**6})
        )
    elif damage == "shard":
        store.put(RECIPE, 1, unit(5, 4, seed=2))
        content = bytearray(Path(store.path(RECIPE, 1)).read_bytes())
    else:
        store.put(RECIPE | {"images": "other"}, 0, unit(5, 4, seed=2))
        content = bytearray(Path(store.path(RECIPE | {"images": "other"}, 0)).read_bytes())
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)

    assert store.get(RECIPE, 0) is None


def test_any_fsspec_url_will_do() -> None:
    store, features = FeatureStore("memory://features"), unit(5, 4, seed=1)
    store.put(RECIPE, 3, features)

    found = FeatureStore("memory://features").get(RECIPE, 3)

    assert found is not None
    assert torch.equal(found, features)


def test_a_list_is_loaded_shard_by_shard(tmp_path: Path) -> None:
    store = FeatureStore(str(tmp_path))
    store.put(RECIPE, 1, unit(SHARD, 4, seed=1))

    found = store.load(RECIPE, 2 * SHARD + 1)

    assert [shard is None for shard in found] == [True, False, True]
    assert store.lacks(RECIPE, 2 * SHARD + 1) == [0, 2]


def test_rows_are_read_a_shard_at_a_time(tmp_path: Path) -> None:
    store, features = FeatureStore(str(tmp_path)), unit(SHARD + 3, 4, seed=1)
    store.put(RECIPE, 0, features[:SHARD])
    store.put(RECIPE, 1, features[SHARD:])

    rows = StoredRows(store, RECIPE, SHARD + 3)

    assert len(rows) == SHARD + 3
    assert torch.equal(torch.stack([rows[i] for i in (SHARD + 2, 0, SHARD)]), features[[-1, 0, -3]])
    Path(store.path(RECIPE, 0)).write_bytes(b"half")
    with pytest.raises(OutputError, match=r"000000\.safetensors is gone or damaged"):
        rows[1]
    assert torch.equal(rows[SHARD + 1], features[SHARD + 1])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://x", "Protocol not known: nosuch"),
        ("simplecache::nosuch://x", "Protocol not known: nosuch"),
        ("ftp://me:secret@localhost/x", "ftp://localhost/x cannot be opened"),
        ("http://me:secret@localhost:9/x", "http://localhost:9/x cannot be opened"),
        ("lakefs://x/y/z", "lakefs://x/y/z cannot be opened: "),  # whose library is not installed
    ],
)
def test_a_service_that_is_not_there_is_one_line(url: str, message: str) -> None:
    with pytest.raises(OutputError) as told:
        FeatureStore(url)

    assert message in str(told.value)
    assert "SUSX_BENCH_CACHE" in str(told.value)
    assert "secret" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_service_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("susx_bench.features.store.PATIENCE", 0.05)
    monkeypatch.setattr("fsspec.url_to_fs", lambda url: never.wait())

    with pytest.raises(OutputError, match=r"memory://x cannot be opened: no answer within"):
        FeatureStore("memory://x")
    never.set()


def test_a_service_that_fails_later_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class LibraryError(Exception):
        pass

    def fails(*args: object, **options: object) -> None:
        raise LibraryError("no credentials")

    store = FeatureStore("memory://x")
    for name in ("cat_file", "pipe_file"):
        monkeypatch.setattr(store._files, name, fails)

    with pytest.raises(OutputError, match=r"cannot be read: no credentials"):
        store.get(RECIPE, 0)
    with pytest.raises(OutputError, match=r"cannot be written: no credentials"):
        store.put(RECIPE, 0, unit(5, 4, seed=1))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FeatureStore(str(tmp_path / "file/cache"))

    with pytest.raises(OutputError) as caught:
        store.put(RECIPE, 0, unit(5, 4, seed=1))
    assert str(caught.value) == (
        f"the feature cache {tmp_path / 'file/cache'} cannot be written: Not a directory. Set "
        "SUSX_BENCH_CACHE to another folder, or make room; what was done is kept."
    )
