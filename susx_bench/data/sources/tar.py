"""The files in a tar: names, places and sizes, in a small part of the time of `tarfile`."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.sources.base import reason

SHORT = 64
"""Bytes of each file's content that are read together with its header."""

_BLOCK = 512  # bytes; a tar is made of such
_HEAD = _BLOCK + SHORT
_STEP = (_BLOCK, 1)  # from a header to the next, and from byte to byte
_LEAST, _MOST = 8 << 10, 2 << 20  # bytes per read; more where headers are close to each other
_CLOSE = 8 << 10  # bytes from one header to the next, up to which all between them is read as well
_MANY = 128 << 10  # bytes per read, from which on headers are looked for all at once
_RUN = 1024  # headers that are examined together
_FEW = 8  # files, from which on it pays to examine them together
_REGULAR, _EXTENDED = _FILES = b"0x"  # kinds of headers
_SLASH, _DOT, _LOW_LINE, _BLANK = b"/._ "
_MEANT = frozenset({"path", "size", "hdrcharset"})  # keys of an extended header that change a file
_MEANT_HERE = (*(f"{word}=".encode() for word in sorted(_MEANT)), b"GNU.sparse")
_MARK = int.from_bytes(b"usta", "little")
_EVEN = np.uint64(0x00FF_00FF_00FF_00FF)  # every second byte of eight
_size_and_kind = struct.Struct("124x 11s 21x B").unpack_from


class Files(NamedTuple):
    """Files that follow each other in a tar.

    Attributes:
        names: UTF-8, padded with zero bytes, one of them at least after each, ``(width, n)``: the
            first bytes of all names, then the second, and so on.
        starts: Start of the content, ``(n,)``.
        sizes: Bytes, ``(n,)``.
        begins: The first bytes of the content, followed by any others if it is shorter,
            ``(n, SHORT)``.
    """

    names: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    begins: NDArray[np.uint8]

    def name(self, place: int) -> str:
        """The name of one of the files."""
        return text_of(self.names[:, place].tobytes())


def text_of(padded: bytes) -> str:
    """A name without the zero bytes at its end."""
    return padded.rstrip(b"\0").decode("utf-8", "surrogateescape")


def members(shard: Path) -> Iterator[tuple[str, int, int]]:
    """The files in a tar, in its order: path, start of the content, and size in bytes.

    Hidden files are left out.

    Raises:
        OSError: If it is no complete tar; the message names it.
    """
    for some in files(shard):
        names = np.ascontiguousarray(some.names.T).view(f"S{len(some.names)}").ravel()
        paths = map(text_of, names.tolist())
        yield from zip(paths, some.starts.tolist(), some.sizes.tolist(), strict=True)


def files(shard: Path) -> Iterator[Files]:
    """Like `members`, up to some thousands at a time.

    Headers of plain files are read here; `tarfile` reads all others: other kinds of members, long
    names, and damaged headers.
    """
    try:
        with tarfile.open(shard, "r:") as opened, shard.open("rb", buffering=0) as file:
            tar: Any = opened
            member = tar.next()  # `tarfile` has read it to recognise a tar
            headers, most = _Headers(file), _RUN
            left, patience = 0, 1  # members that are left to `tarfile`
            count = 0  # of the files since then
            while True:
                if not left and tar.pax_headers.keys().isdisjoint(_MEANT):
                    plain, more = headers.plain(most)
                    yield _visible(plain)
                    count += len(plain.starts)
                    most = min(2 * count + 2 * _FEW, _RUN)
                    if more:
                        continue
                    # Ever more members, where the attempts find few files.
                    left = patience = 1 if count > _FEW else min(2 * patience, 256)
                    count = 0
                if headers.at:
                    tar.offset = headers.at
                    member = tar.next()
                if member is None:
                    break
                tar.members = []  # `tarfile` keeps every member, maybe millions
                if member.issparse():
                    raise tarfile.ReadError(f"{member.name} has holes")
                if tar.offset <= headers.at:
                    raise tarfile.ReadError(f"{member.name} has a size below 0")
                headers.at, left = tar.offset, max(left - 1, 0)
                if member.isreg():  # a link could name any file of this machine
                    yield _visible(_one(file, member))
            file.seek(headers.at)
            if not (rest := file.read(128 * _BLOCK)) or any(rest):
                raise tarfile.ReadError("it does not end as a tar does: it is cut off, or joined")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise OSError(f"{shard} is no whole tar file: {reason(error)}".rstrip(".")) from error


def _one(file: BinaryIO, member: tarfile.TarInfo) -> Files:
    name = member.name.encode("utf-8", "surrogateescape") + b"\0"
    start, size = np.array([[member.offset_data], [member.size]], np.int64)
    file.seek(member.offset_data)
    begin = file.read(SHORT).ljust(SHORT, b"\0")
    names, begins = np.frombuffer(name, np.uint8)[:, None], np.frombuffer(begin, np.uint8)[None]
    return Files(names, start, size, begins)


def _visible(some: Files) -> Files:
    """The files of whose path no part begins with a dot or two low lines."""
    names = some.names
    doubtful = (names == _DOT) | (names == _LOW_LINE)
    doubtful[1:] &= names[:-1] == _SLASH  # the begin of a part
    if not doubtful.any():
        return some
    kept = np.ones(names.shape[1], bool)
    for i in np.flatnonzero(doubtful.any(axis=0)).tolist():
        parts = some.name(i).split("/")
        kept[i] = not any(part.startswith((".", "__")) for part in parts if part != ".")
    return Files(names[:, kept], some.starts[kept], some.sizes[kept], some.begins[kept])


class _Run(NamedTuple):
    """Headers of files, each of which leads to the next; they are not checked.

    Attributes:
        heads: Headers of regular files and extended headers with what follows them, ``(n, _HEAD)``.
        places: Their places, ``(n,)``.
        sizes: The sizes in them, ``(n,)``.
        contents: The content of each extended header.
        more: Whether the next header may be a file's too.
    """

    heads: NDArray[np.uint8]
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    contents: Sequence[bytes]
    more: bool


class _Headers:
    """The headers of a tar, from one to the next.

    Args:
        file: The tar, unbuffered.

    Attributes:
        at: Place of the next header.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.at = 0
        self._file = file
        self._ahead = _LEAST
        self._memory = memoryview(bytearray(_MOST))  # new memory for each read takes as long again

    def plain(self, most: int) -> tuple[Files, bool]:
        """Read the headers of plain files up to the first that is not plain.

        A header is plain if it is a regular file's, its checksum is right, and its numbers are
        octal digits up to a blank or a zero byte. An extended header before it is skipped if it
        does not change the file, as with times.

        Args:
            most: About how many headers to read.

        Returns:
            The files; and whether the next header may be plain too.
        """
        run = self._jumps() if self._ahead >= _MANY else None
        if run is None or not len(run.heads):
            run = self._steps(most)
        heads, places, sizes, contents, more = run
        fields = np.ascontiguousarray(heads[:, 124:157].T)  # from the size to the kind
        extended = fields[32] == _EXTENDED
        plain, names = _fits(heads, fields, extended)
        joined = b"".join(contents)
        if any(word in joined for word in _MEANT_HERE):
            for i, content in zip(np.flatnonzero(extended).tolist(), contents, strict=True):
                plain[i] &= not any(word in content for word in _MEANT_HERE)
        plain[:-1] &= ~extended[:-1] | (fields[32, 1:] == _REGULAR)
        count = len(plain) if plain.all() else int(plain.argmin())
        if count and extended[count - 1]:  # of a file that is not plain, or not among these
            count -= 1
        if count < len(places):
            self.at, more = int(places[count]), more and count == len(places) - 1 > 0
        if count < len(places) - 1:  # the rest was read for nothing
            self._ahead = _LEAST
        own: Any = np.flatnonzero(~extended[:count]) if contents else slice(count)
        return Files(names[:, own], places[own] + _BLOCK, sizes[own], heads[own, _BLOCK:]), more

    def _steps(self, most: int) -> _Run:
        """Follow the headers of files one by one, as far as they are not close to each other."""
        heads: list[bytes] = []
        places: list[int] = []
        sizes: list[int] = []
        contents: list[bytes] = []
        more = True
        while more:
            self._file.seek(self.at)
            buffer = self._file.read(self._ahead)
            first, count, last = 0, len(sizes), len(buffer) - _HEAD
            try:
                while first <= last:
                    field, kind = _size_and_kind(buffer, first)
                    size = int(field, 8)
                    if kind not in _FILES or size < 0:
                        more = False
                        break
                    if kind == _EXTENDED:
                        content = buffer[first + _BLOCK : first + _BLOCK + size]
                        if len(content) < size:
                            break
                        contents.append(content)
                    heads.append(buffer[first : first + _HEAD])
                    places.append(self.at + first)
                    sizes.append(size)
                    first += _BLOCK + (size + _BLOCK - 1 & -_BLOCK)
            except ValueError:
                more = False
            self.at += first
            more &= len(sizes) > count
            self._look_ahead(first, len(sizes) - count, len(buffer))
            if len(sizes) >= most or self._ahead >= _MANY:
                break
        joined = np.frombuffer(b"".join(heads), np.uint8).reshape(-1, _HEAD)
        return _Run(joined, np.array(places, np.int64), np.array(sizes, np.int64), contents, more)

    def _jumps(self) -> _Run:
        """Follow the headers of files that are close to each other, many at once.

        Every block that looks like a header is taken for one, as long as each leads to the next.
        What only looks like one, inside a file, ends the run, as no header leads there.
        """
        self._file.seek(self.at)
        length: int = self._file.readinto(self._memory[: self._ahead])  # type: ignore[attr-defined]
        buffer = self._memory[:length]
        blocks = np.ndarray((max(length - SHORT, 0) // _BLOCK, _HEAD), np.uint8, buffer, 0, _STEP)
        rows = np.flatnonzero(_marked(blocks))
        fields = np.ascontiguousarray(blocks[rows, 124:157].T)
        sizes, usable = _octal(fields[:11])
        ends = rows * _BLOCK + _BLOCK + sizes
        extended = fields[32] == _EXTENDED
        usable &= (fields[32] == _REGULAR) | extended & (ends <= length)
        before = np.concatenate([[0], (ends + _BLOCK - 1) // _BLOCK])
        usable &= before[:-1] == rows
        count = len(rows) if usable.all() else int(usable.argmin())
        starts = rows[:count] * _BLOCK
        contents = [
            bytes(buffer[start + _BLOCK : end])
            for start, end in zip(
                starts[extended[:count]].tolist(),
                ends[:count][extended[:count]].tolist(),
                strict=True,
            )
        ]
        after = int(before[count]) * _BLOCK
        more = after >= len(blocks) * _BLOCK or buffer[after + 156] in _FILES
        run = _Run(blocks[rows[:count]], starts + self.at, sizes[:count], contents, more)
        self.at += after
        self._look_ahead(after, count, length)
        return run

    def _look_ahead(self, after: int, count: int, length: int) -> None:
        """Choose how much to read next: more while headers are close to each other."""
        close = after < _CLOSE * count and 2 * after >= length
        self._ahead = min(2 * self._ahead, _MOST) if close else _LEAST


def _fits(
    heads: NDArray[np.uint8], fields: NDArray[np.uint8], extended: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Examine headers of regular files and extended headers.

    Args:
        heads: The headers, ``(n, _HEAD)``.
        fields: Their bytes 124 to 156, from the size to the kind, ``(33, n)``.
        extended: Where they are extended headers, ``(n,)``.

    Returns:
        Where they are plain by themselves, ``(n,)``; and the names, see `Files`.
    """
    plain = _marked(heads) & (heads[:, 261] == ord("r"))
    for end in (fields[11], fields[30]):  # of the size and of the checksum
        plain &= (end == 0) | (end == _BLANK)
    # A checksum is the sum of a header's bytes, with blanks instead of the checksum.
    checksums, octal = _octal(fields[24:30])
    words = heads.view(np.uint64)[:, : _BLOCK // 8]
    used = np.flatnonzero(np.bitwise_or.reduce(words, axis=0))  # most are empty in all headers
    own = fields[24:32].sum(axis=0, dtype=np.int64)
    plain &= octal & (checksums == _sums(words, used) - own + 8 * _BLANK)
    width = 100 if heads[:, 96:100].any() else 8 * int(used[used < 12].max(initial=0)) + 9
    names = np.ascontiguousarray(heads[:, :width].T)
    padding = names == 0
    named = ~padding[0] & padding[-1] & (padding[1:] >= padding[:-1]).all(axis=0)
    plain &= extended | (named & (heads[:, 345] == 0))  # else a name has a first part there
    return plain, names


def _marked(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where rows of bytes have the first four bytes of a header's mark, ``ustar``, ``(n,)``."""
    marks: NDArray[np.bool_] = heads[:, 257:261].copy().view("<u4")[:, 0] == _MARK
    return marks


def _octal(digits: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read octal numbers.

    Args:
        digits: The first digits of all numbers, then the second, and so on, ``(k, n)``.

    Returns:
        The numbers; and where all their digits are octal, ``(n,)``.
    """
    values = digits - np.uint8(ord("0"))  # others are beyond 7, as bytes have no sign
    numbers: NDArray[np.int64] = np.zeros(digits.shape[1], np.int64)
    for value in values:
        numbers = numbers * 8 + value
    return numbers, np.less(values, 8).all(axis=0)


def _sums(words: NDArray[np.uint64], used: NDArray[np.intp]) -> NDArray[np.int64]:
    """The sum of all bytes of each row of words, of which some columns are used, ``(n,)``."""
    columns = np.ascontiguousarray(words[:, used].T)
    # Four sums of 16 bits in each word: of a header's 512 bytes none is beyond 128 * 255.
    fours = ((columns & _EVEN) + (columns >> np.uint64(8) & _EVEN)).sum(axis=0, dtype=np.uint64)
    sums: NDArray[np.int64] = fours.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64)
    return sums


def read_member(shard: Path, start: int, size: int) -> bytes:
    """Read a file in a shard.

    Raises:
        OSError: If it cannot be read.
    """
    with shard.open("rb") as file:
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise OSError(f"{shard} is cut off")
    return content


def contents(file: BinaryIO, spans: NDArray[np.int64]) -> Iterator[bytes | None]:
    """Read small files of a tar; those close to each other are read together.

    Args:
        file: The tar, unbuffered.
        spans: Start and size of each, ``(n, 2)``; -1 for none.

    Yields:
        The content of each; None for none.

    Raises:
        OSError: If one cannot be read.
    """
    buffer, begin, count, ahead = b"", 0, 0, _LEAST
    for start, size in spans.tolist():
        if start < 0:
            yield None
            continue
        first = start - begin
        if not 0 <= first <= len(buffer) - size:
            ahead = min(2 * ahead, _MANY) if 0 <= first < _CLOSE * count else _LEAST
            file.seek(start)
            buffer, begin, first, count = file.read(max(ahead, size)), start, 0, 0
            if len(buffer) < size:
                raise OSError(f"{file.name} is cut off")
        count += 1
        yield buffer[first : first + size]
