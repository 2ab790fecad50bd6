"""Lists of images in one text, and what is kept of long lists."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from susx_bench.data.sources.base import Sample, Samples, labels_of, pairs_of
from susx_bench.data.sources.shards import ShardTable
from susx_bench.data.sources.splits import read_split_file
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import DatasetError
from susx_bench.records import kept
from susx_bench.records.files import sha256_json, sha256_json_pairs

PAIRS = [("a/1.png", 0), ("ü/日本.jpg", 2), ("", 1), ("a/1 2.png", 0)]


@pytest.fixture(autouse=True)
def keep_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep short lists, too, at once, in a cache of their own."""
    monkeypatch.setenv(kept.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_LEAST", 0)
    monkeypatch.setattr(kept, "_FRESH", 0.0)


@pytest.mark.parametrize("pairs", [PAIRS, [], PAIRS * 6000])
def test_a_compact_list_is_the_list(pairs: list[tuple[str, int]]) -> None:
    plain = [Sample(*pair) for pair in pairs]
    compact = Samples.of(iter(pairs))

    assert compact == plain
    assert compact == Samples.of(pairs)
    assert len(compact) == len(plain)
    assert compact[1:3] == plain[1:3]
    assert [compact[i] for i in range(-len(plain), len(plain))] == [*plain, *plain]
    assert list(pairs_of(compact)) == pairs
    assert labels_of(compact).tolist() == labels_of(plain).tolist()
    assert Samples.unpacked(compact.packed("x"), "x") == compact
    assert sha256_json_pairs("n", pairs_of(compact)) == sha256_json(["n", [[*p] for p in pairs]])
    assert compact.take(range(len(plain))[::-1]) == plain[::-1]
    with pytest.raises(IndexError):
        compact[len(plain)]
    assert compact != [*plain, Sample("more", 0)]


@pytest.mark.parametrize("character", [chr(i) for i in (*range(128), 0x85, 0xA0, 0x2028, 0x1F600)])
def test_the_hash_of_a_list_is_that_of_its_json(character: str) -> None:
    pairs = [("plain", 3), (f"a{character}b", 0), ("", -1)]

    assert sha256_json_pairs("n", pairs) == sha256_json(["n", [[*pair] for pair in pairs]])


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 99, 101, 10_001, 100_001])
def test_rows_of_a_table_are_named_by_their_numbers(number: int) -> None:
    labels = [None if row % 7 == 3 else row % 5 for row in range(number)]

    assert Samples.numbered("é/", labels) == Samples.of(
        (f"é/{row}", label) for row, label in enumerate(labels) if label is not None
    )


SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    classnames=("cat", "dog"),
    sizes={},
    template="{}",
    licence="",
    protocol="custom",
    bibtex_key="",
)


def write_split(path: Path, rows: list[tuple[str, int, str]]) -> None:
    path.write_text(json.dumps({"train": rows[:1], "test": rows[1:]}))


def test_a_split_file_is_parsed_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "split.json"
    write_split(path, [("a/1.png", 1, "cat"), ("a/2.png", 0, "dog"), ("b/3.png", 1, "cat")])
    times = path.stat().st_mtime_ns
    said: list[str] = []
    first = read_split_file(path, SPEC, said.append)
    assert first == {"train": [("a/1.png", 0)], "test": [("a/2.png", 1), ("b/3.png", 0)]}

    write_split(path, [("a/1.png", 1, "cat"), ("a/9.png", 0, "dog"), ("b/3.png", 1, "cat")])
    os.utime(path, ns=(times, times))
    assert read_split_file(path, SPEC, said.append)["test"][0].key == "a/9.png"

    def parse(*_: object) -> None:
        raise AssertionError("it is parsed again")

    monkeypatch.setattr("susx_bench.data.sources.splits._parsed", parse)
    assert read_split_file(path, SPEC, said.append)["test"][0].key == "a/9.png"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("a/1.png", "twice, in train and in test"),
        ("a//1.png", "twice, in train and in test"),
        ("./a/1.png", "twice, in train and in test"),
        ("a/./1.png", "twice, in train and in test"),
        ("a/../b.png", "outside the images' folder"),
        ("../b.png", "outside the images' folder"),
        ("/b.png", "a path from the root"),
    ],
)
def test_paths_that_mean_one_file_or_none_are_refused(tmp_path: Path, key: str, said: str) -> None:
    path = tmp_path / "split.json"
    write_split(path, [("a/1.png", 1, "cat"), ("a/2.png", 0, "dog"), (key, 1, "cat")])
    for _ in range(2):  # also what is kept
        with pytest.raises(DatasetError, match=said):
            read_split_file(path, SPEC, lambda line: None)


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_the_index_of_shards_says_where_every_file_is(tmp_path: Path) -> None:
    one, two = tmp_path / "a.tar", tmp_path / "b.tar"
    write_shard(one, {"0.png": b"first", "0.cls": b" 3\n", "1.cls": b"4", "x/1.jpg": b"second"})
    write_shard(two, {"1.image": b"third", "1.jpg": b"other", "2.jpg": b"", "2.png": b"two"})
    for _ in range(2):
        table = ShardTable([one, two])
        assert set(table.columns) == {"png", "cls", "jpg", "image"}
        rows = range(len(table))
        assert [table.image("image", i) for i in rows] == [
            b"first",
            None,
            b"second",
            b"third",
            None,
        ]
        assert [table.image("png", i) for i in rows] == [b"first", None, None, None, b"two"]
        assert table.labels("cls") == [3, 4, None, None, None]
        assert table.texts("none") == [None] * 5

    times = one.stat().st_mtime_ns
    write_shard(one, {"0.png": b"First", "0.cls": b" 5\n", "1.cls": b"4", "x/1.jpg": b"second"})
    os.utime(one, ns=(times, times))
    assert ShardTable([one, two]).labels("cls")[0] == 5
    assert ShardTable([one, two]).image("image", 0) == b"First"


def test_a_file_twice_in_a_row_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"0.png": b"first", "0.PNG": b"second"})
    with pytest.raises(ValueError, match=r"has 0\.PNG twice"):
        ShardTable([tmp_path / "a.tar"])
