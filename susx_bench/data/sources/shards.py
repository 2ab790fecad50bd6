"""Webdataset shards: rows of files in tars, which are read in place."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.sources.rows import Table
from susx_bench.data.sources.splitcolumn import NAMES
from susx_bench.data.sources.tar import SHORT, Files, contents, files, members, read_member, text_of
from susx_bench.data.sources.tree import is_image
from susx_bench.records.kept import Arrays, as_array, file_state, from_array, kept

_MANY = 1 << 16  # different texts; a column of classes has fewer
_KIND = "rows of shards"  # an index of another form needs another name


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
        index = kept((_KIND, *self._place), self._state, lambda: _index(shards))
        self._shard = index["shard"]
        self._spans = index["spans"]
        texts = zip(from_array(index["words"]), index["numbers"], strict=True)
        self._short = {column: (words, numbers) for (column, words), numbers in texts}
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
        if column in self._short:
            words, numbers = self._short[column]
        else:
            name = ("words of shards", column, *self._place)
            index = kept(name, self._state, lambda: self._texts(column))
            words, numbers = from_array(index["words"]), index["numbers"]
        return list(map([*words, None].__getitem__, numbers.tolist()))

    def _texts(self, column: str) -> Arrays:
        """The different texts, ``words``, and the number of each row's, ``(n,)``; -1 for none."""
        spans = self._spans[self.columns.index(column)]
        known: dict[bytes, int] = {}  # a million labels have about a thousand different ones
        numbers = array("i")
        for number, shard in enumerate(self._shards):
            with shard.open("rb", buffering=0) as file:
                for content in contents(file, spans[self._shard == number]):
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
        has none; the ``columns``; and of those with short texts alone the different texts,
        ``words``, and the number of each row's, ``numbers (k, n)``, -1 for none.
    """
    known: dict[str, _Words] = {}
    parts = [_rows(shard, known) for shard in shards]
    rows = [part.shape[1] for part in parts]
    columns = list(known)
    spans = np.full((len(columns), sum(rows), 2), -1, np.int64)
    numbers = np.full((len(columns), sum(rows)), -1, np.int32)
    for part, end in zip(parts, accumulate(rows), strict=True):
        own = slice(end - part.shape[1], end)
        spans[: len(part), own] = part[:, :, :2]
        numbers[: len(part), own] = part[:, :, 2]
    words = {column: texts for column in columns if (texts := known[column].texts()) is not None}
    numbers = numbers[[columns.index(column) for column in words]]
    images, renamed = _images(columns, spans)
    if renamed:
        at = columns.index("image") if "image" in columns else len(columns)
        spans = np.concatenate([spans[:at], images[None], spans[at + 1 :]])
        columns[at : at + 1] = ["image"]
        if "image" in words:
            numbers = np.delete(numbers, list(words).index("image"), axis=0)
            del words["image"]
    shard_numbers = np.repeat(np.arange(len(shards), dtype=np.int32), rows)
    return {
        "shard": shard_numbers,
        "spans": spans,
        "columns": as_array(columns),
        "words": as_array(list(words.items())),
        "numbers": numbers,
    }


class _Words:
    """The different texts of a column's files, as long as all are short."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] | None = {}

    def numbers(self, files: Files, places: NDArray[np.intp]) -> Sequence[int] | int:
        """Numbers of the texts of some files; -1 if there is a long text, or there are too many."""
        sizes = files.sizes[places]
        longest = int(sizes.max())
        if self._known is None or longest > SHORT:
            self._known = None
            return -1
        width = max(longest, 1)
        inside = np.arange(width, dtype=np.uint8) < sizes.astype(np.uint8)[:, None]
        begins = files.begins[places, :width] * inside
        texts = begins.view(f"S{width}").ravel().tolist()
        for text in dict.fromkeys(texts):
            self._known.setdefault(text, len(self._known))
        if len(self._known) > _MANY or ((begins == 0) & inside).any():  # else cut off at its end
            self._known = None
            return -1
        return [*map(self._known.__getitem__, texts)]

    def texts(self) -> list[str] | None:
        """The texts by their numbers; None if a file holds anything else."""
        if self._known is None:
            return None
        try:
            return [text.decode("utf-8").strip() for text in self._known]
        except UnicodeDecodeError:  # reported where the column is asked for
            return None


def _rows(shard: Path, known: dict[str, _Words]) -> NDArray[np.int64]:
    """Index the files of every row of a shard.

    Args:
        shard: The shard.
        known: The known columns, with their texts; new ones are added.

    Returns:
        Start, size and number of the text of each file, ``(c, n, 3)``, see `_index`, for the
        columns that are known so far.
    """
    found = [np.zeros((5, 0), np.int64)]  # column, row, start, size and text of each file
    rows, last = 0, None
    place = {column: number for number, column in enumerate(known)}
    for some in files(shard):
        names = some.names
        if not names.shape[1]:
            continue
        ends, endings = _split(names)
        same = names[:, 1:] == names[:, :-1]
        same |= np.arange(len(names), dtype=ends.dtype)[:, None] >= ends[1:]
        begins = np.ones(len(ends), bool)  # a row
        begins[0] = names[: ends[0], 0].tobytes() != last
        begins[1:] = (ends[1:] != ends[:-1]) | ~same.all(axis=0)
        row = rows - 1 + np.cumsum(begins)
        rows, last = int(row[-1]) + 1, names[: ends[-1], -1].tobytes()
        own, texts = np.full((2, len(ends)), -1)
        while (left := own < 0).any():
            ending = endings[left.argmax()]
            theirs = np.flatnonzero(endings == ending)
            column = text_of(ending).lower()
            own[theirs] = place.setdefault(column, len(place))
            texts[theirs] = known.setdefault(column, _Words()).numbers(some, theirs)
        found.append(np.stack([own, row, some.starts, some.sizes, texts]))
    column_of, row_of, *values = np.concatenate(found, axis=1)
    parts = np.full((len(known), rows, 3), -1, np.int64)
    parts[column_of, row_of] = np.stack(values, axis=1)
    if np.count_nonzero(parts[:, :, 0] >= 0) < len(row_of):
        _, first = np.unique(column_of * rows + row_of, return_index=True)
        twice = int(np.setdiff1d(np.arange(len(row_of)), first)[0])
        name, _, _ = next(islice(members(shard), twice, None))
        raise ValueError(f"{shard} has {name} twice")
    return parts


def _split(names: NDArray[np.uint8]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.bytes_]]:
    """Split the names of files at their first dot, folders aside.

    Args:
        names: As of `Files`.

    Returns:
        For each name the place of the dot, or its end; and what follows the dot.
    """
    width, count = names.shape
    number: Any = np.min_scalar_type(width)  # of few bytes, as there is one for each letter
    place = np.arange(width, dtype=number)[:, None]
    padding = names == 0
    marks = (names == ord(".")) | padding
    if (slashes := names == ord("/")).any():
        marks &= place >= np.where(slashes, place + 1, number.type(0)).max(axis=0)
    ends = np.where(marks, place, number.type(width)).min(axis=0)
    lengths = np.where(padding, place, number.type(width)).min(axis=0)
    longest = max(int((lengths - ends).max()), 1)
    padded = np.concatenate([names, np.zeros((longest + 1, count), np.uint8)])
    follow = padded[ends[:, None] + np.arange(1, longest + 1), np.arange(count)[:, None]]
    return ends, follow.view(f"S{longest}").ravel()


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
