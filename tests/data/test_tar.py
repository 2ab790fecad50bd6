"""Tars that are read here hold what `tarfile` says, or are refused."""

from __future__ import annotations

import io
import random
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from susx_bench.data.sources.tar import members
from tests.data.tars import by_tarfile, is_hidden, read_narrowly

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
    rest = path.read_bytes()[at : at + 128 * 512]
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


@pytest.fixture(params=["wide", "steps", "jumps"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    read_narrowly(monkeypatch, request.param)


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


def tar_of(contents: Sequence[bytes], how: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=how) as tar:
        for place, content in enumerate(contents):
            member = tarfile.TarInfo(f"{place // 2}.{'cls' if place % 2 else 'jpg'}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("how", HOW)
def test_headers_inside_a_file_are_none_of_the_tar(tmp_path: Path, how: int) -> None:
    """Files that are tars themselves, or look like a part of one."""
    path = tmp_path / "some.tar"
    inner = tar_of([bytes(700)] * 5, how)
    rng = random.Random(0)
    contents = [
        rng.choice((b"n01440764", bytes(600), inner, inner[512 * 3 :], inner[: 512 * 4 + 100]))
        for _ in range(600)
    ]
    path.write_bytes(tar_of(contents, how))

    found = list(members(path))
    assert found == by_tarfile(path)
    assert [size for _, _, size in found] == [len(content) for content in contents]


def checked(header: bytes | bytearray, field: slice, value: bytes) -> bytes:
    """A header with another value in a field, and the checksum that goes with it."""
    changed = bytearray(header)
    changed[field] = value
    changed[148:156] = b" " * 8
    changed[148:155] = b"%06o\0" % sum(changed)
    return bytes(changed)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change", ["cut", "more", "zeros", "byte", "blanks", "base-256", "signless", "link"]
)
def test_a_changed_tar_of_many_files_holds_what_tarfile_says(
    tmp_path: Path, change: str, seed: int
) -> None:
    path = tmp_path / "some.tar"
    rng = random.Random(seed)
    contents = [rng.randbytes(rng.choice((0, 9, 9, 511, 600, 1024))) for _ in range(300)]
    whole = bytearray(tar_of(contents, rng.choice(HOW)))
    path.write_bytes(whole)
    starts = [start for _, start, _ in by_tarfile(path)]
    for start in rng.sample(starts, rng.choice((1, 1, 5, 100))):
        head = slice(start - 512, start)
        size = int(whole[head][124:135], 8)
        if change == "blanks":
            whole[head] = checked(whole[head], slice(124, 136), b"%11o " % size)
        elif change == "base-256":
            whole[head] = checked(whole[head], slice(124, 136), b"\x80" + size.to_bytes(11, "big"))
        elif change == "signless":
            whole[head] = checked(whole[head], slice(257, 265), bytes(8))
        elif change == "link":
            whole[head] = checked(whole[head], slice(156, 157), rng.choice(KINDS))
        elif change == "byte":
            whole[start - rng.randint(1, 512)] ^= 1 << rng.randrange(8)
            break
    if change == "cut":
        del whole[rng.randrange(len(whole)) :]
    elif change == "more":
        whole += rng.randbytes(rng.choice((1, 512, 2000)))
    elif change == "zeros":
        place = rng.choice(starts) - 512
        whole[place:place] = bytes(1024)
    path.write_bytes(whole)

    assert ours(path) == outcome(path)
