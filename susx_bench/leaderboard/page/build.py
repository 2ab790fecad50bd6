"""The page of all leaderboards: one file to open, pictures and large data beside it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures import pictures as pictures_of
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.page import listed
from susx_bench.leaderboard.page.data import board_json, index_json, records_json
from susx_bench.leaderboard.page.listed import FileReader
from susx_bench.records.record import Record
from susx_bench.webpage import assembled

INDEX: Final = "index.html"

DATA: Final = "data"
"""Folder of the data files beside the page. Each is a script, because a browser that has opened a
page from a file reads no other kind of file for it."""

BESIDE: Final = 256_000
"""Fewest bytes of JSON for which a board or its records are put beside the page."""

SCRIPTS: Final = ("page.js", "answer.js", "chart.js", "table.js", "details.js", "begin.js")
"""Parts of the page's script, in their order."""


class Shown(NamedTuple):
    """A leaderboard on the page.

    Attributes:
        board: The board to show.
        records: Its records by path relative to the leaderboards' folder.
        pictures: Its pictures, in the order of the page.
    """

    board: Board
    records: Mapping[str, Record]
    pictures: Sequence[Picture]

    @classmethod
    def of(cls, board: Board, records: Mapping[str, Record]) -> Shown:
        """A leaderboard with all pictures that its records allow."""
        return cls(board, records, pictures_of(board, records))


def nothing(path: str) -> bytes | None:
    """An empty folder: no path has content."""
    return None


def files(shown: Sequence[Shown], read_file: FileReader = nothing) -> dict[str, bytes]:
    """The page and the pictures of some leaderboards, by path relative to the folder.

    Each leaderboard can be built alone: the page keeps its other leaderboards unchanged as long as
    their records exist. They are in the order of their names, the demo's last.

    Args:
        shown: Leaderboards to write or rewrite.
        read_file: Reads existing files of the folder. A whole picture of the same data is kept, see
            `listed`.
    """
    content = _written(shown, read_file)
    for board, _, pictures in shown:
        content |= listed.draw(board.name, pictures, read_file)
    return content


def differences(
    shown: Sequence[Shown], read_file: FileReader, data: Collection[str] = ()
) -> list[str]:
    """Files that differ from those that `files` would write: one line per path, with the fault.

    The page is compared byte by byte, and a picture with the list that was written with it.

    Args:
        shown: Leaderboards to compare.
        read_file: Reads existing files of the leaderboards' folder.
        data: Paths of its data folder.
    """
    wrong = []
    written = _written(shown, read_file)
    for path, content in written.items():
        if (lies := read_file(path)) is None:
            wrong.append(f"{path} is missing")
        elif lies != content:
            wrong.append(f"{path} is not what the records give")
    wrong += [f"{path} is read no more" for path in sorted(data) if path not in written]
    for board, _, pictures in shown:
        wrong += listed.differences(board.name, pictures, read_file)
    return wrong


class _Data(NamedTuple):
    """A leaderboard in the form that the page holds: two texts of JSON."""

    board: str
    records: str


_ELEMENT: Final = '<script type="application/json" id="{}">{}</script>'
_CALL: Final = 'hold("{}",\n{});\n'


def _written(shown: Sequence[Shown], read_file: FileReader) -> dict[str, bytes]:
    """The page and the data files beside it, for all of its leaderboards, by path."""
    boards = _kept(read_file, {one.board.name for one in shown})
    for board, records, pictures in shown:
        boards[board.name] = _Data(
            board_json(board, records, pictures), records_json(board, records)
        )
    # Leaderboards of real data come first: the demo says nothing about CLIP.
    names = sorted(boards, key=lambda name: (name.startswith("demo"), name))
    titles = {name: json.loads(boards[name].board)["title"] for name in names}
    elements = [_ELEMENT.format("boards", index_json(titles))]
    beside = {}
    for name in names:
        texts = list(boards.pop(name))  # each of which goes as soon as its bytes are made
        for what in _Data._fields:
            content = texts.pop(0).encode()
            if len(content) < BESIDE:
                element = _ELEMENT.format(f"{what}-{html.escape(name)}", content.decode())
                elements.append(element)
            else:  # perhaps hundreds of megabytes, of which formatting would make two more copies
                head, tail = _CALL.format(f"{what}-{name}", "\0").encode().split(b"\0")
                beside[_path(what, name)] = b"".join([head, content, tail])
    page = assembled(
        "susx_bench.leaderboard.page", SCRIPTS, "\n".join(elements), beside=bool(beside)
    )
    return {INDEX: page, **beside}


def _path(what: str, name: str) -> str:
    return f"{DATA}/{what}-{name}.js"


def _kept(read_file: FileReader, anew: Collection[str]) -> dict[str, _Data]:
    """Leaderboards of the existing page, without those that have lost their records.

    Those that are written `anew` are not read.

    No text of JSON has a ``<`` in it, see `susx_bench.leaderboard.page.data`.
    """
    page = (read_file(INDEX) or b"").decode(errors="replace")
    elements = dict(re.findall(_ELEMENT.format("([a-z0-9-]+)", "([^<]*)"), page))
    kept = {}
    for name in re.findall(r'"name":"([a-z0-9-]+)"', elements.get("boards", "")):
        if name in anew:
            continue
        texts = [
            elements.get(f"{what}-{name}") or _beside(what, name, read_file)
            for what in _Data._fields
        ]
        path = re.search(r'"records":\[\n\["([^"]+)"', texts[1])
        if texts[0] and path and read_file(path[1]) is not None:
            kept[name] = _Data(*texts)
    return kept


def _beside(what: str, name: str, read_file: FileReader) -> str:
    """JSON in a file beside the page; empty without such a file."""
    text = (read_file(_path(what, name)) or b"").decode(errors="replace")
    head, tail = _CALL.format(f"{what}-{name}", "\0").split("\0")
    whole = text.startswith(head) and text.endswith(tail)
    return text[len(head) : -len(tail)] if whole else ""
