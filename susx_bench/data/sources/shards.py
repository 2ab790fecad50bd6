"""Webdataset shards: tar files with members that are read in place."""

from __future__ import annotations

import re
import tarfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.sources.base import Samples, pairs_of, reason
from susx_bench.data.sources.rows import Table
from susx_bench.data.sources.splitcolumn import NAMES
from susx_bench.data.sources.tree import is_image
from susx_bench.records.kept import Arrays, as_array, file_state, from_array, kept

_BLOCK = 512  # bytes; a tar is made of such
_AHEAD = 16 * _BLOCK  # bytes per read
_NEEDED = 4 * _BLOCK  # bytes for one file: an extended header, its content, and the header
_REGULAR, _EXTENDED = b"0x"  # kinds of headers
_ADLER = 65_521  # modulus of Adler's checksum
_MEANT = frozenset({"path", "size", "hdrcharset"})  # keys of an extended header that change a file
_MEANT_HERE = (*(f"{word}=".encode() for word in sorted(_MEANT)), b"GNU.sparse")


def members(shard: Path) -> Iterator[tuple[str, int, int]]:
    """The files in a tar, in its order: path, start of the content, and size in bytes.

    Hidden files are left out. Headers of plain files are read here, in a tenth of the time of
    `tarfile`, which reads all others: other kinds of members, long names, and damaged headers.

    Raises:
        OSError: If it is no complete tar; the message names it.
    """
    try:
        with tarfile.open(shard, "r:") as opened, shard.open("rb", buffering=0) as file:
            tar: Any = opened
            member = tar.next()  # `tarfile` has read it to recognise a tar
            at = begin = 0
            buffer = b""  # bytes of the file from `begin`: headers of small files follow closely
            while True:
                if (first := at - begin) + _NEEDED > len(buffer):
                    file.seek(at)
                    buffer, begin, first = file.read(_AHEAD), at, 0
                plain = _plain(buffer, first)
                if plain is not None and tar.pax_headers.keys().isdisjoint(_MEANT):
                    name, skipped, size = plain
                    start = at + skipped
                    at = start + size + -size % _BLOCK
                else:
                    if at:
                        tar.offset = at
                        member = tar.next()
                    if member is None:
                        break
                    tar.members = []  # `tarfile` keeps every member, maybe millions
                    at = tar.offset
                    name, start, size = member.name, member.offset_data, member.size
                    if member.issparse():
                        raise tarfile.ReadError(f"{name} has holes")
                    if not member.isreg():  # a link could name any file of this machine
                        continue
                if not (name[:1] == "." or "/." in name or "__" in name) or not _is_hidden(name):
                    yield name, start, size
            file.seek(at)
            if not (rest := file.read(128 * _BLOCK)) or any(rest):
                raise tarfile.ReadError("it does not end as a tar does: it is cut off, or joined")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise OSError(f"{shard} is no whole tar file: {reason(error)}".rstrip(".")) from error


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in PurePosixPath(name).parts if part != ".")


def _plain(buffer: bytes, at: int) -> tuple[str, int, int] | None:
    """Read the header of a regular file, if it is a plain one and complete in the buffer.

    An extended header before it is skipped if it does not change the file, as with times. Numbers
    are octal digits up to a blank or a zero byte.

    Args:
        buffer: Bytes of a tar.
        at: Start of a header in the buffer.

    Returns:
        The file's name, the distance of its content from the start, and its size in bytes.
    """
    header = buffer[at : at + _BLOCK]
    skipped = _BLOCK
    try:
        if header[156] == _EXTENDED:
            size = int(header[124:135], 8)
            content = buffer[at + _BLOCK : at + _BLOCK + size]
            if any(word in content for word in _MEANT_HERE):
                return None
            skipped += _BLOCK + size + -size % _BLOCK
            header = buffer[at + skipped - _BLOCK : at + skipped]
        if header[156] != _REGULAR or header[345] or header[257:262] != b"ustar":
            return None
        if header[135] not in b"\0 " or header[154] not in b"\0 ":
            return None
        # A header's checksum is the sum of its bytes, with blanks instead of the checksum.
        # The low half of Adler's checksum is such a sum plus one.
        checksum = zlib.adler32(header[156:], zlib.adler32(header[:148])) & 0xFFFF
        if (checksum - 1 + 8 * 32 - int(header[148:154], 8)) % _ADLER:
            return None
        name = header[: header.index(b"\0", 1, 101)].decode()
        return name, skipped, int(header[124:135], 8)
    except (IndexError, ValueError):
        return None


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
        name = ("texts of shards", column, *self._place)
        texts = Samples.unpacked(kept(name, self._state, lambda: self._texts(column)), "texts")
        once: dict[str, str] = {}  # a million labels have about a thousand different ones
        return [
            once.setdefault(text, text) if has_text else None for text, has_text in pairs_of(texts)
        ]

    def _texts(self, column: str) -> Arrays:
        """One text per row, with label 1, or 0 for a row without one."""
        spans = self._spans[self.columns.index(column)]

        def read() -> Iterator[tuple[str, int]]:
            for number, shard in enumerate(self._shards):
                with shard.open("rb", buffering=0) as file:  # the member is an image
                    for start, size in spans[self._shard == number].tolist():
                        if start < 0:
                            yield "", 0
                            continue
                        file.seek(start)
                        content = file.read(size)
                        if len(content) < size:
                            raise OSError(f"{shard} is cut off")
                        yield content.decode("utf-8").strip(), 1

        return Samples.of(read()).packed("texts")

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
    shard_of = array("i")
    spans: dict[str, array[int]] = {}
    for number, shard in enumerate(shards):
        last = None
        for name, start, size in members(shard):
            dot = name.find(".", name.rfind("/") + 1)
            base, ending = (name[:dot], name[dot + 1 :].lower()) if dot >= 0 else (name, "")
            if last != base:
                shard_of.append(number)
                last = base
            if (span := spans.get(ending)) is None:
                span = spans[ending] = array("q")
            lacking = len(shard_of) - 1 - len(span) // 2
            if lacking < 0:
                raise ValueError(f"{shard} has {name} twice")
            if lacking:
                span.extend((-1, -1) * lacking)
            span.append(start)
            span.append(size)
    rows, columns = len(shard_of), list(spans)
    for span in spans.values():
        span.extend((-1, -1) * (rows - len(span) // 2))
    positions = np.array([*spans.values()], np.int64).reshape(len(columns), rows, 2)
    images, renamed = _images(columns, positions)
    if renamed:
        at = columns.index("image") if "image" in columns else len(columns)
        positions = np.concatenate([positions[:at], images[None], positions[at + 1 :]])
        columns[at : at + 1] = ["image"]
    shard_numbers = np.array(shard_of, np.int32)
    return {"shard": shard_numbers, "spans": positions, "columns": as_array(columns)}


def _images(columns: Sequence[str], spans: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """The image file of each row, and whether a row has one without the ending ``image``.

    Args:
        columns: Endings.
        spans: See `_index`.
    """
    exists = spans[:, :, 0] >= 0
    images, renamed = np.full(spans.shape[1:], -1, np.int64), False
    kinds, kind = np.unique(exists, axis=1, return_inverse=True)
    for number, has in enumerate(kinds.T):
        endings = [column for column, one in zip(columns, has, strict=True) if one]
        is_plain = "image" in endings
        if ending := "image" if is_plain else _only_image(endings):
            rows = kind.ravel() == number
            images[rows] = spans[columns.index(ending), rows]
            renamed = renamed or not is_plain
    return images, renamed


def _only_image(row: Iterable[str]) -> str:
    """The ending of the only image among the files of a row; empty if it is not unique."""
    images = [ending for ending in row if is_image(f"image.{ending}")]
    plain = [ending for ending in images if "." not in ending]
    matches = plain or images
    return matches[0] if len(matches) == 1 else ""
