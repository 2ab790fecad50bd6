"""Headers of tars that are read here say what `tarfile` says."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from susx_bench.data.sources.shards import members

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


def by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path, "r:") as tar:
        return [
            (member.name, member.offset_data, member.size)
            for member in tar
            if member.isreg()
            and not any(
                part.startswith((".", "__"))
                for part in PurePosixPath(member.name).parts
                if part != "."
            )
        ]


@pytest.mark.parametrize("how", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
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
