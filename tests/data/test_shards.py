"""Tars that are read here hold what `tarfile` says, or are refused."""

from __future__ import annotations

import io
import random
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from susx_bench.data.sources import shards
from susx_bench.data.sources.shards import ShardTable, members

HOW = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
STEMS = ("a", "b/c", "./d", ".h", "__x", "x/.y/z", "x__y", "é", "d.d/e", "y" * 90, "q" * 110)
SIZES = (0, 1, 511, 512, 513, 9000)
KINDS = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.AREGTYPE)


def write(path: Path, how: int, time: float, kinds: Sequence[bytes], number: int = 300) -> None:
    """A tar of files with all sorts of names, and of members of other kinds among them."""
    rng = random.Random(0)
    with tarfile.open(path, "w", format=how) as tar:
        for place in range(number):
            stem = rng.choice(STEMS)
            if how == tarfile.USTAR_FORMAT and len(stem) > 90:
                stem = "s/" * 60  # of which a part is the prefix
            member = tarfile.TarInfo(f"{stem}{place}.jpg")
            member.mtime = time  # a fraction has an extended header
            if kinds and rng.random() < 0.2:
                member.type = rng.choice(kinds)
                member.linkname = "a" if member.islnk() or member.issym() else ""
            content = rng.randbytes(rng.choice(SIZES)) if member.isreg() else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__")) for part in parts if part != ".")


def by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path, "r:") as tar:
        return [
            (member.name, member.offset_data, member.size)
            for member in tar
            if member.isreg() and not is_hidden(member.name)
        ]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("time", [0.0, 1.5, 1e9])
@pytest.mark.parametrize("kinds", [(), KINDS])
def test_members_are_those_of_tarfile(
    tmp_path: Path, how: int, time: float, kinds: Sequence[bytes]
) -> None:
    path = tmp_path / "some.tar"
    write(path, how, time, kinds)

    assert list(members(path)) == by_tarfile(path)


@pytest.mark.parametrize("time", [0.0, 1.5])
def test_plain_files_are_not_left_to_tarfile(
    tmp_path: Path, time: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        for place in range(50):
            member = tarfile.TarInfo(f"{place}.jpg")
            member.mtime, member.size = time, 700
            tar.addfile(member, io.BytesIO(bytes(700)))
    calls = []
    real = tarfile.TarFile.next

    def counted(self: tarfile.TarFile) -> Any:
        calls.append(self)
        return real(self)

    monkeypatch.setattr(tarfile.TarFile, "next", counted)

    assert len(list(members(path))) == 50
    assert len(calls) < 5  # at its beginning and its end


def test_names_and_sizes_for_all_that_follow_are_heeded(tmp_path: Path) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w", pax_headers={"path": "one.jpg"}) as tar:
        for name in ("a.jpg", "b.jpg"):
            tar.addfile(tarfile.TarInfo(name))

    assert list(members(path)) == by_tarfile(path)
    assert [name for name, _, _ in members(path)] == ["one.jpg", "one.jpg"]


@pytest.mark.parametrize("place", [0, 100, 124, 148, 156, 257])
def test_a_damaged_header_is_told_of(tmp_path: Path, place: int) -> None:
    path = tmp_path / "some.tar"
    write(path, tarfile.USTAR_FORMAT, 0.0, (), 9)
    *_, (_, start, _) = by_tarfile(path)
    content = bytearray(path.read_bytes())
    content[start - 512 + place] ^= 1
    path.write_bytes(content)

    with pytest.raises(OSError, match="no whole tar file"):
        list(members(path))


@pytest.mark.parametrize("cut", [1, 512, 1024, 11_000])
def test_a_tar_that_is_cut_off_is_told_of(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a.jpg")
        member.size = 3000
        tar.addfile(member, io.BytesIO(bytes(3000)))
    end = 512 + 3072
    path.write_bytes(path.read_bytes()[: end - cut if cut < 3000 else 300])

    with pytest.raises(OSError, match="no whole tar file"):
        list(members(path))


def outcome(path: Path) -> list[tuple[str, int, int]] | None:
    """The files by `tarfile` alone; None for a tar that it cannot read to the end."""
    files, at = [], 0
    try:
        with tarfile.open(path, "r:") as opened:
            tar: Any = opened
            while member := tar.next():
                if member.issparse() or tar.offset <= at:
                    return None
                at = tar.offset
                if member.isreg() and not is_hidden(member.name):
                    files.append((member.name, member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError):
        return None
    rest = path.read_bytes()[at : at + 512]
    return files if rest and not any(rest) else None


def ours(path: Path) -> list[tuple[str, int, int]] | None:
    try:
        return list(members(path))
    except OSError as error:
        return (
            None
            if re.fullmatch(f"{re.escape(str(path))} is no whole tar file: .+", f"{error}")
            else []
        )


def some_tar(path: Path, how: int, seed: int) -> None:
    """A tar of files with any names and sizes, in runs of one kind, and of other members."""
    rng = random.Random(seed)
    with tarfile.open(path, "w", format=how) as tar:
        for place in range(rng.choice((0, 1, 2, 40))):
            if place % 10 == 0:
                stem = rng.choice(("a", "é/ü", "n" * 93, "n" * 95, "n" * 96, "s/" * 60, "q" * 120))
                time, odd = rng.choice((0.0, 1.5)), rng.choice((0.0, 0.0, 0.2, 0.8))
            if how == tarfile.USTAR_FORMAT and "/" not in stem:
                stem = stem[:94]
            member = tarfile.TarInfo(f"{stem}{place // 2}.{'cls' if place % 2 else 'jpg'}")
            member.mtime = time
            member.mode = 0
            if rng.random() < odd:
                member.type = rng.choice(KINDS)
                member.linkname = "a" if member.islnk() or member.issym() else ""
            content = rng.randbytes(rng.choice((*SIZES, 70_000))) if member.isreg() else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture(params=[False, True])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few headers be read and examined together, so that their borders are everywhere."""
    if request.param:
        monkeypatch.setattr(shards, "_LEAST", 1024)
        monkeypatch.setattr(shards, "_MOST", 4096)
        monkeypatch.setattr(shards, "_RUN", 7)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("how", HOW)
def test_any_tar_holds_what_tarfile_says(tmp_path: Path, how: int, seed: int) -> None:
    path = tmp_path / "some.tar"
    some_tar(path, how, seed)

    assert ours(path) == outcome(path)
    assert ours(path) is not None


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("how", HOW)
def test_a_tar_that_ends_anywhere_is_refused_unless_tarfile_reads_it_all(
    tmp_path: Path, how: int
) -> None:
    path, part = tmp_path / "some.tar", tmp_path / "part.tar"
    write(path, how, 1.5, KINDS, number=6)
    content = path.read_bytes()
    refused = 0
    for block in range(0, len(content) + 1, 512):
        for cut in (block - 1, block, block + 1, block + 300):
            part.write_bytes(content[: max(cut, 0)])
            assert ours(part) == outcome(part), cut
            refused += ours(part) is None
    assert refused


@pytest.mark.parametrize("how", HOW)
def test_a_changed_byte_of_a_header_is_noticed_as_tarfile_notices_it(
    tmp_path: Path, how: int
) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w", format=how) as tar:
        for place in range(9):
            member = tarfile.TarInfo(f"{place}.jpg")
            member.size = 600
            tar.addfile(member, io.BytesIO(bytes(600)))
    content = path.read_bytes()
    rng = random.Random(0)
    for place in (*range(0, 512, 3), *rng.sample(range(512, 9 * 1536), 60)):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)

        assert ours(path) == outcome(path), place


def test_an_extended_header_of_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.jpg", "b.jpg"):
            member = tarfile.TarInfo(name)
            member.mtime = 1.5
            tar.addfile(member)
    content = path.read_bytes()
    path.write_bytes(content[: 5 * 512] + bytes(2048))  # without the last header

    assert outcome(path) is None
    assert ours(path) is None


@pytest.mark.parametrize(
    "size", [b"-0000002000", b"-0000000001", b"77777777777", b"\x80" + bytes(10)]
)
def test_no_size_leads_back_or_nowhere(tmp_path: Path, size: bytes) -> None:
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    content = bytearray(path.read_bytes())
    content[1024 + 124 : 1024 + 135] = size
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 155] = b"%06o\0" % sum(content[1024:1536])
    path.write_bytes(content)

    assert ours(path) == outcome(path)


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
@pytest.mark.parametrize("seed", range(8))
def test_files_of_one_name_up_to_its_dot_are_a_row(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "some.tar"
    endings = rng.sample(("jpg", "JSON", "cls", "seg.png", "Txt", "", "a.b.c"), rng.randint(1, 6))
    texts = []
    with tarfile.open(path, "w") as tar:
        for place in range(rng.choice((1, 3, 100))):
            stem = rng.choice(("a", "x.y/z", "é", "k/", "n" * 90)) + "1" * (place % 5 + 1)
            for ending in endings:
                if rng.random() < 0.9:
                    member = tarfile.TarInfo(f"{stem}.{ending}" if ending else stem)
                    texts.append(rng.choice((" é ", "cat", "7", "", "w" * 5000)))
                    content = texts[-1].encode()
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
