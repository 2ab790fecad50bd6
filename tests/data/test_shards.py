"""Rows and columns of webdataset shards are those that plain loops find."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from susx_bench.data.sources import shards
from susx_bench.data.sources.shards import ShardTable
from tests.data.tars import by_tarfile, read_narrowly

TEXTS = (" é ", "cat", "7", "", "x" * 64, "cat\0", "x" * 65, "w" * 5000)


@pytest.fixture(params=["wide", "steps", "jumps"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    read_narrowly(monkeypatch, request.param)


def rows(path: Path) -> tuple[list[dict[str, tuple[int, int]]], list[str]]:
    """The files of each row by their ending, and the endings, in plain loops."""
    found: list[dict[str, tuple[int, int]]] = []
    last = None
    for name, start, size in by_tarfile(path):
        folder, slash, file = name.rpartition("/")
        stem, _, ending = file.partition(".")
        if folder + slash + stem != last:
            found.append({})
            last = folder + slash + stem
        found[-1][ending.lower()] = start, size
    return found, list(dict.fromkeys(ending for row in found for ending in row))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("seed", range(12))
def test_files_of_one_name_up_to_its_dot_are_a_row(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "some.tar"
    endings = rng.sample(("jpg", "JSON", "cls", "seg.png", "Txt", "", "a.b.c"), rng.randint(1, 6))
    pools = {ending: TEXTS[: rng.randint(3, len(TEXTS))] for ending in endings}
    with tarfile.open(path, "w") as tar:
        for place in range(rng.choice((1, 3, 100))):
            stem = rng.choice(("a", "x.y/z", "é", "k/", "n" * 90)) + "1" * (place % 5 + 1)
            for ending in endings:
                if rng.random() < 0.9:
                    member = tarfile.TarInfo(f"{stem}.{ending}" if ending else stem)
                    content = rng.choice(pools[ending]).encode()
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    expected, columns = rows(path)
    table = ShardTable([path, path])

    assert len(table) == 2 * len(expected)
    assert table.columns[: len(columns)] == tuple(columns)
    whole = path.read_bytes()
    for column in columns:
        assert table.texts(column) == 2 * [
            whole[row[column][0] :][: row[column][1]].decode().strip() if column in row else None
            for row in expected
        ]


@pytest.mark.parametrize(
    ("row", "image"),
    [
        (("jpg", "cls"), "jpg"),
        (("png", "jpg"), ""),
        (("seg.png", "jpg"), "jpg"),
        (("seg.png", "png", "jpg"), ""),
        (("seg.png", "cls"), "seg.png"),
        (("seg.png", "depth.png"), ""),
        (("image", "jpg"), "image"),
        (("image", "png", "jpg"), "image"),
        (("cls",), ""),
    ],
)
def test_the_image_of_a_row_is_its_only_one(
    tmp_path: Path, row: tuple[str, ...], image: str
) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("0.jpg", *(f"1.{ending}" for ending in row), "2.webp"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    table = ShardTable([path])

    images = [table.image("image", place) for place in range(3)]
    assert images == [b"0.jpg", f"1.{image}".encode() if image else None, b"2.webp"]


@pytest.mark.parametrize("between", [0, 1, 3000])
def test_a_file_that_a_row_has_twice_is_named(tmp_path: Path, between: int) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        for place in range(between):
            tar.addfile(tarfile.TarInfo(f"{place}.jpg"))
        for name in ("é/x.jpg", "é/x.cls", "é/x.JPG", "y.jpg"):
            tar.addfile(tarfile.TarInfo(name))

    with pytest.raises(ValueError, match=r"some\.tar has é/x\.JPG twice"):
        ShardTable([path])


def tar_of(path: Path, contents: Sequence[bytes]) -> Path:
    """A tar with a picture and a class in each row."""
    with tarfile.open(path, "w") as tar:
        for place, content in enumerate(contents):
            for ending, held in (("jpg", bytes(700)), ("cls", content)):
                member = tarfile.TarInfo(f"{place}.{ending}")
                member.size = len(held)
                tar.addfile(member, io.BytesIO(held))
    return path


def test_short_texts_are_read_with_their_headers(tmp_path: Path) -> None:
    words = [f" word {place % 7}\n" for place in range(300)]
    shard = tar_of(tmp_path / "some.tar", [word.encode() for word in words])
    table = ShardTable([shard, shard])
    shard.unlink()

    assert table.texts("cls") == 2 * [word.strip() for word in words]


@pytest.mark.parametrize("other", [b"y" * 100, b"y\0"])
def test_texts_are_the_same_where_another_shard_has_long_ones(tmp_path: Path, other: bytes) -> None:
    short = tar_of(tmp_path / "a.tar", [b"cat", b"dog"])
    long = tar_of(tmp_path / "b.tar", [b"dog", other])
    table = ShardTable([short, long, short])

    assert table.texts("cls") == ["cat", "dog", "dog", other.decode(), "cat", "dog"]


def test_more_different_texts_than_classes_are_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_MANY", 10)
    words = [f"word {place}" for place in range(50)]
    shard = tar_of(tmp_path / "some.tar", [word.encode() for word in words])

    assert ShardTable([shard]).texts("cls") == words


def test_short_files_that_are_no_texts_are_told_of_as_labels(tmp_path: Path) -> None:
    table = ShardTable([tar_of(tmp_path / "some.tar", [b"cat", b"\xff"])])

    with pytest.raises(ValueError, match="it holds bytes"):
        table.labels("cls")
