"""Webdataset shards: tar files with members that are read in place."""

from __future__ import annotations

import re
import struct
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.sources.base import reason
from susx_bench.data.sources.rows import Table
from susx_bench.data.sources.splitcolumn import NAMES
from susx_bench.data.sources.tree import is_image
from susx_bench.records.kept import Arrays, as_array, file_state, from_array, kept

_BLOCK = 512  # bytes; a tar is made of such
_LEAST, _MOST = 8 << 10, 128 << 10  # bytes per read; more where headers are close to each other
_CLOSE = 8 << 10  # bytes from one header to the next, up to which all between them is read as well
_RUN = 2048  # headers that are examined together
_SHORT = 8  # files, from which on it pays to examine them together
_REGULAR, _EXTENDED = _FILES = b"0x"  # kinds of headers
_SLASH, _DOT, _LOW_LINE = b"/._"
_MEANT = frozenset({"path", "size", "hdrcharset"})  # keys of an extended header that change a file
_MEANT_HERE = (*(f"{word}=".encode() for word in sorted(_MEANT)), b"GNU.sparse")
_OCTAL = 8 ** np.arange(5, -1, -1)  # values of a checksum's digits
_size_and_kind = struct.Struct("124x 11s 21x B").unpack_from


class Files(NamedTuple):
    """Files that follow each other in a tar.

    Attributes:
        names: UTF-8, padded with zero bytes, one of them at least after each, ``(n, width)``.
        starts: Start of the content, ``(n,)``.
        sizes: Bytes, ``(n,)``.
    """

    names: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]


def members(shard: Path) -> Iterator[tuple[str, int, int]]:
    """The files in a tar, in its order: path, start of the content, and size in bytes.

    Hidden files are left out.

    Raises:
        OSError: If it is no complete tar; the message names it.
    """
    for names, starts, sizes in files(shard):
        paths = (_text(name.tobytes()) for name in names)
        yield from zip(paths, starts.tolist(), sizes.tolist(), strict=True)


def files(shard: Path) -> Iterator[Files]:
    """Like `members`, up to some thousands at a time.

    Headers of plain files are read here, in a small part of the time of
    `tarfile`, which reads all others: other kinds of members, long names, and damaged headers.
    """
    try:
        with tarfile.open(shard, "r:") as opened, shard.open("rb", buffering=0) as file:
            tar: Any = opened
            member = tar.next()  # `tarfile` has read it to recognise a tar
            at, most = 0, _RUN
            left, patience = 0, 1  # members that are left to `tarfile`
            while True:
                if not left and tar.pax_headers.keys().isdisjoint(_MEANT):
                    plain, at, more = _plain(file, at, most)
                    yield _visible(plain)
                    count = len(plain.starts)
                    most = min(2 * count + 2 * _SHORT, _RUN)
                    if more:
                        continue
                    # Ever more members, where the attempts find few files.
                    left = patience = 1 if count > _SHORT else min(2 * patience, 256)
                if at:
                    tar.offset = at
                    member = tar.next()
                if member is None:
                    break
                tar.members = []  # `tarfile` keeps every member, maybe millions
                if member.issparse():
                    raise tarfile.ReadError(f"{member.name} has holes")
                if tar.offset <= at:
                    raise tarfile.ReadError(f"{member.name} has a size below 0")
                at, left = tar.offset, max(left - 1, 0)
                if member.isreg():  # a link could name any file of this machine
                    yield _visible(_one(member))
            file.seek(at)
            if not (rest := file.read(128 * _BLOCK)) or any(rest):
                raise tarfile.ReadError("it does not end as a tar does: it is cut off, or joined")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise OSError(f"{shard} is no whole tar file: {reason(error)}".rstrip(".")) from error


def _one(member: tarfile.TarInfo) -> Files:
    name = member.name.encode("utf-8", "surrogateescape") + b"\0"
    start, size = np.array([[member.offset_data], [member.size]], np.int64)
    return Files(np.frombuffer(name, np.uint8)[None], start, size)


def _visible(some: Files) -> Files:
    """The files of whose path no part begins with a dot or two low lines."""
    names = some.names
    begins = np.ones(names.shape, bool)
    begins[:, 1:] = names[:, :-1] == _SLASH
    doubtful = (begins & ((names == _DOT) | (names == _LOW_LINE))).any(axis=1)
    if not doubtful.any():
        return some
    kept = np.ones(len(names), bool)
    for i in np.flatnonzero(doubtful).tolist():
        parts = _text(names[i].tobytes()).split("/")
        kept[i] = not any(part.startswith((".", "__")) for part in parts if part != ".")
    return Files(names[kept], some.starts[kept], some.sizes[kept])


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _plain(file: BinaryIO, at: int, most: int) -> tuple[Files, int, bool]:
    """Read the headers of plain files, from a place in a tar to the first header that is not plain.

    A header is plain if it is a regular file's, its checksum is right, and its numbers are octal
    digits up to a blank or a zero byte. An extended header before it is skipped if it does not
    change the file, as with times.

    Args:
        file: The tar, unbuffered.
        at: Place of a header.
        most: About how many headers to read.

    Returns:
        The files; the place of the first header that is left; and whether it may be plain too.
    """
    heads, places, sizes, contents, after, more = _follow(file, at, most)
    kinds = heads[:, 156]
    extended = kinds == _EXTENDED
    plain = (heads[:, 257:262] == np.frombuffer(b"ustar", np.uint8)).all(axis=1)
    for end in (135, 154):  # of the size and of the checksum
        plain &= (heads[:, end] == 0) | (heads[:, end] == ord(" "))
    # A checksum is the sum of a header's bytes, with blanks instead of the checksum.
    digits = heads[:, 148:154].astype(np.int64) - ord("0")
    words = heads.view(np.uint64)  # of which most are empty in all headers
    used = np.flatnonzero(np.bitwise_or.reduce(words, axis=0))
    sums = words.take(used, axis=1).view(np.uint8).sum(axis=1, dtype=np.uint32)
    sums -= heads[:, 148:156].sum(axis=1, dtype=np.uint32)
    plain &= ((digits >= 0) & (digits < 8)).all(axis=1) & (digits @ _OCTAL == sums + 8 * 32)
    width = 100 if heads[:, 96:100].any() else 8 * int(used[used < 12].max(initial=0)) + 9
    names = heads[:, :width]
    padding = names == 0
    named = ~padding[:, 0] & padding[:, -1] & (padding[:, 1:] >= padding[:, :-1]).all(axis=1)
    plain &= extended | (named & (heads[:, 345] == 0))  # else a name has a first part there
    if any(word in b"".join(contents) for word in _MEANT_HERE):
        for i, content in zip(np.flatnonzero(extended).tolist(), contents, strict=True):
            plain[i] &= not any(word in content for word in _MEANT_HERE)
    plain[:-1] &= ~extended[:-1] | (kinds[1:] == _REGULAR)
    count = len(plain) if plain.all() else int(plain.argmin())
    if count and extended[count - 1]:  # of a file that is not plain, or not among these
        count -= 1
    if count < len(places):
        after, more = int(places[count]), more and count == len(places) - 1 > 0
    own = np.flatnonzero(~extended[:count])
    return Files(names[own], places[own] + _BLOCK, sizes[own]), after, more


def _follow(
    file: BinaryIO, at: int, most: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], list[bytes], int, bool]:
    """Follow the sizes in the headers of a tar, each to the next, which are not checked.

    Args:
        file: The tar, unbuffered.
        at: Place of a header.
        most: About how many headers to read.

    Returns:
        Headers of regular files and extended headers, ``(n, 512)``; their places and sizes,
        ``(n,)``; the content of each extended header; the place of the next header; and whether
        that may be one of these too.
    """
    heads, places = [np.zeros((0, _BLOCK), np.uint8)], [np.zeros(0, np.int64)]
    sizes: list[int] = []
    contents: list[bytes] = []
    ahead, more = _LEAST, True
    while more and len(sizes) < most:
        file.seek(at)
        buffer = file.read(ahead)
        first, rows = 0, []
        last = len(buffer) - _BLOCK
        try:
            while first <= last:
                field, kind = _size_and_kind(buffer, first)
                if kind not in _FILES:
                    more = False
                    break
                size = int(field, 8)
                if size < 0:
                    more = False
                    break
                if kind == _EXTENDED:
                    content = buffer[first + _BLOCK : first + _BLOCK + size]
                    if len(content) < size:
                        break
                    contents.append(content)
                rows.append(first)
                sizes.append(size)
                first += _BLOCK + (size + _BLOCK - 1 & -_BLOCK)
        except ValueError:
            more = False
        if not rows:
            more = False
            break
        starts = np.array(rows, np.int64)
        blocks = np.frombuffer(buffer, np.uint8, len(buffer) // _BLOCK * _BLOCK)
        heads.append(blocks.reshape(-1, _BLOCK)[starts // _BLOCK])
        places.append(starts + at)
        at += first
        ahead = min(2 * ahead, _MOST) if first < _CLOSE * len(rows) else _LEAST
    joined = np.concatenate(heads), np.concatenate(places)
    return *joined, np.array(sizes, np.int64), contents, at, more


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


def _contents(file: BinaryIO, spans: NDArray[np.int64]) -> Iterator[bytes | None]:
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
            ahead = min(2 * ahead, _MOST) if 0 <= first < _CLOSE * count else _LEAST
            file.seek(start)
            buffer, begin, first, count = file.read(max(ahead, size)), start, 0, 0
            if len(buffer) < size:
                raise OSError(f"{file.name} is cut off")
        count += 1
        yield buffer[first : first + size]


class ShardTable(Table):
    """Webdataset shards: files with one name up to its first dot are a row.

    The rest of the name is the column. The additional column ``image`` holds the image of every row
    that has one, with any ending.

    Args:
        shards: At least one.

    Raises:
        OSError: If one is no complete tar; the message names it.
        ValueError: If a row has two files of one ending.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self._shards = shards
        states = [file_state(shard) for shard in shards]
        self._state = None if None in states else states
        self._place = [str(shard.absolute()) for shard in shards]
        index = kept(("shards", *self._place), self._state, lambda: _index(shards))
        self._shard = index["shard"]
        self._spans = index["spans"]
        self.columns = tuple(from_array(index["columns"]))

    def __len__(self) -> int:
        return len(self._shard)

    def image(self, column: str, row: int) -> bytes | None:
        if column not in self.columns:
            return None
        start, size = self._spans[self.columns.index(column), row].tolist()
        return None if start < 0 else read_member(self._shards[self._shard[row]], start, size)

    def texts(self, column: str) -> list[str | None]:
        if column not in self.columns:
            return [None] * len(self)
        name = ("words of shards", column, *self._place)
        index = kept(name, self._state, lambda: self._texts(column))
        words = [*from_array(index["words"]), None]
        return [words[number] for number in index["numbers"].tolist()]

    def _texts(self, column: str) -> Arrays:
        """The different texts, ``words``, and the number of each row's, ``(n,)``; -1 for none."""
        spans = self._spans[self.columns.index(column)]
        known: dict[bytes, int] = {}  # a million labels have about a thousand different ones
        numbers = array("i")
        for number, shard in enumerate(self._shards):
            with shard.open("rb", buffering=0) as file:
                for content in _contents(file, spans[self._shard == number]):
                    numbers.append(-1 if content is None else known.setdefault(content, len(known)))
        words = as_array([content.decode("utf-8").strip() for content in known])
        return {"words": words, "numbers": np.array(numbers, np.int32)}

    def split_columns(self) -> list[str]:
        return [column for column in self.columns if column in NAMES]  # other columns may be large

    def labels(self, column: str) -> list[int | str | None]:
        try:
            texts = self.texts(column)
        except UnicodeDecodeError as error:
            raise ValueError("it holds bytes, and a class is a whole number or a name") from error
        if all(text is None or re.fullmatch(r"-?\d{1,9}", text) for text in set(texts)):
            return [None if text is None else int(text) for text in texts]
        return list(texts)


def _index(shards: Sequence[Path]) -> Arrays:
    """Index the files of every row.

    Returns:
        ``shard (n,)``; ``spans (c, n, 2)``, start and size of the file of each column, -1 if a row
        has none; and the ``columns``.
    """
    numbers: dict[str, int] = {}  # of the columns
    parts = [_spans(shard, numbers) for shard in shards]
    rows = [part.shape[1] for part in parts]
    columns = list(numbers)
    spans = np.full((len(columns), sum(rows), 2), -1, np.int64)
    for part, end in zip(parts, accumulate(rows), strict=True):
        spans[: len(part), end - part.shape[1] : end] = part
    images, renamed = _images(columns, spans)
    if renamed:
        at = columns.index("image") if "image" in columns else len(columns)
        spans = np.concatenate([spans[:at], images[None], spans[at + 1 :]])
        columns[at : at + 1] = ["image"]
    shard_numbers = np.repeat(np.arange(len(shards), dtype=np.int32), rows)
    return {"shard": shard_numbers, "spans": spans, "columns": as_array(columns)}


def _spans(shard: Path, numbers: dict[str, int]) -> NDArray[np.int64]:
    """Index the files of every row of a shard.

    Args:
        shard: The shard.
        numbers: The known columns, with their numbers; new ones are added.

    Returns:
        As of `_index`, for the columns that are known so far.
    """
    found = [np.zeros((4, 0), np.int64)]  # column, row, start and size of each file
    rows, last = 0, None
    for names, starts, sizes in files(shard):
        if not len(names):
            continue
        ends, endings = _split(names)
        same = (names[1:] == names[:-1]) | (np.arange(names.shape[1]) >= ends[1:, None])
        begins = np.ones(len(names), bool)  # a row
        begins[0] = names[0, : ends[0]].tobytes() != last
        begins[1:] = (ends[1:] != ends[:-1]) | ~same.all(axis=1)
        row = rows - 1 + np.cumsum(begins)
        rows, last = int(row[-1]) + 1, names[-1, : ends[-1]].tobytes()
        number = {
            ending: numbers.setdefault(_text(ending).lower(), len(numbers))
            for ending in dict.fromkeys(endings)
        }
        found.append(np.stack([[*map(number.__getitem__, endings)], row, starts, sizes]))
    column, row, *span = np.concatenate(found, axis=1)
    spans = np.full((len(numbers), rows, 2), -1, np.int64)
    spans[column, row] = np.stack(span, axis=1)
    if np.count_nonzero(spans[:, :, 0] >= 0) < len(row):
        _, first = np.unique(column * rows + row, return_index=True)
        twice = int(np.setdiff1d(np.arange(len(row)), first)[0])
        name, _, _ = next(islice(members(shard), twice, None))
        raise ValueError(f"{shard} has {name} twice")
    return spans


def _split(names: NDArray[np.uint8]) -> tuple[NDArray[np.intp], list[bytes]]:
    """Split the names of files at their first dot, folders aside.

    Args:
        names: As of `Files`.

    Returns:
        For each name the place of the dot, or its end; and what follows the dot.
    """
    count, width = names.shape
    place = np.arange(width)
    marks = (names == _DOT) | (names == 0)
    if (slashes := names == _SLASH).any():
        marks &= place > np.where(slashes, place, -1).max(axis=1)[:, None]
    ends = marks.argmax(axis=1)
    longest = max(width - int(ends.min()), 1)
    padded = np.concatenate([names, np.zeros((count, longest), np.uint8)], axis=1)
    follow = padded[np.arange(count)[:, None], ends[:, None] + 1 + np.arange(longest)]
    return ends, follow.view(f"S{longest}").ravel().tolist()


def _images(columns: Sequence[str], spans: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """The image file of each row, and whether a row has one without the ending ``image``.

    It is the row's only file with an image's ending; of several the only one without another dot.

    Args:
        columns: Endings.
        spans: See `_index`.
    """
    images, renamed = np.full(spans.shape[1:], -1, np.int64), np.zeros(spans.shape[1], bool)
    endings = [ending for ending in columns if is_image(f"image.{ending}")]
    dotted = [ending for ending in endings if "." in ending]
    plain = [ending for ending in endings if "." not in ending]
    for group in (dotted, plain, ["image"]):  # the later replaces the earlier
        theirs = spans[[place for place, column in enumerate(columns) if column in group]]
        count = np.count_nonzero(theirs[:, :, 0] >= 0, axis=0)
        images[count > 1] = -1
        images[count == 1] = theirs[:, count == 1].max(axis=0, initial=-1)
        renamed[count > 0] = group != ["image"]
    return images, bool((renamed & (images[:, 0] >= 0)).any())
