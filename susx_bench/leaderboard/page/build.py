"""The page of all leaderboards: one file to open, pictures and large data beside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files as package_files
from typing import Final, NamedTuple

from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures import pictures as pictures_of
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.page import listed
from susx_bench.leaderboard.page.data import board_json, index_json, records_json
from susx_bench.leaderboard.page.listed import There
from susx_bench.records.record import Record

INDEX: Final = "index.html"

DATA: Final = "data"
"""Folder of the data that lie beside the page, a script each: a browser reads no other file from
a page that it has from a file."""

BESIDE: Final = 256_000
"""Bytes of JSON from which a board or its records lie beside the page."""

SCRIPTS: Final = ("page.js", "answer.js", "chart.js", "table.js", "details.js", "begin.js")
"""Parts of the page's script, in their order."""


class Shown(NamedTuple):
    """A leaderboard on the page.

    Attributes:
        board: What to show.
        records: Its records by path from the leaderboards' folder.
    """

    board: Board
    records: Mapping[str, Record]


def nothing(path: str) -> bytes | None:
    """A folder in which nothing lies."""
    return None


def files(shown: Sequence[Shown], there: There = nothing) -> dict[str, bytes]:
    """The page and the pictures of some leaderboards, by path from the leaderboards' folder.

    The page's other leaderboards stay on it as they are, as long as their records are there, so
    that each is built alone. They stand in the order of their names, the demo's last.

    Args:
        shown: Leaderboards to write or to write anew.
        there: What lies in the folder already. A whole picture of the same data is kept, see
            `listed`.
    """
    drawn = [pictures_of(board, records) for board, records in shown]
    content = _written(shown, drawn, there)
    for (board, _), pictures in zip(shown, drawn, strict=True):
        content |= listed.draw(board.name, pictures, there)
    return content


def differences(shown: Sequence[Shown], there: There, data: Collection[str] = ()) -> list[str]:
    """What is not as `files` would write it: a path and what is wrong with it, a line each.

    The page is compared to the byte, and a picture with the list that was written with it.

    Args:
        shown: Leaderboards to compare.
        there: What lies in the leaderboards' folder.
        data: Paths of its data folder.
    """
    drawn = [pictures_of(board, records) for board, records in shown]
    wrong = []
    written = _written(shown, drawn, there)
    for path, content in written.items():
        if (lies := there(path)) is None:
            wrong.append(f"{path} is missing")
        elif lies != content:
            wrong.append(f"{path} is not what the records give")
    wrong += [f"{path} is read no more" for path in sorted(data) if path not in written]
    for (board, _), pictures in zip(shown, drawn, strict=True):
        wrong += listed.differences(board.name, pictures, there)
    return wrong


class _Data(NamedTuple):
    """A leaderboard as the page holds it: two texts of JSON."""

    board: str
    records: str


_ELEMENT: Final = '<script type="application/json" id="{}">{}</script>'
_CALL: Final = 'hold("{}",\n{});\n'


def _written(
    shown: Sequence[Shown], drawn: Sequence[Sequence[Picture]], there: There
) -> dict[str, bytes]:
    """The page and the data beside it of all of its leaderboards, by path."""
    boards = _kept(there, {board.name for board, _ in shown})
    for (board, records), pictures in zip(shown, drawn, strict=True):
        boards[board.name] = _Data(
            board_json(board, records, pictures), records_json(board, records)
        )
    # What measures real data comes first: the demo says nothing about CLIP.
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
            else:  # hundreds of megabytes, perhaps: formatted as text they would be held twice more
                head, tail = _CALL.format(f"{what}-{name}", "\0").encode().split(b"\0")
                beside[_path(what, name)] = b"".join([head, content, tail])
    return {INDEX: _page(elements, bool(beside)), **beside}


def _path(what: str, name: str) -> str:
    return f"{DATA}/{what}-{name}.js"


def _page(elements: Sequence[str], beside: bool) -> bytes:
    style, script = _asset("page.css"), "\n".join(map(_asset, SCRIPTS))
    # Images and data lie beside the page, which `self` means over HTTP, and `file:` where it is
    # opened.
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}" + (" 'self' file:" if beside else ""),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    # The data come last: what stands in them is not looked through for the places of others.
    head, tail = _asset("page.html").split("@DATA@")
    head = head.replace("@POLICY@", policy).replace("@STYLE@", style)
    return "".join([head, "\n".join(elements), tail.replace("@SCRIPT@", script)]).encode()


def _kept(there: There, anew: Collection[str]) -> dict[str, _Data]:
    """Leaderboards of the page that lies there, but for those whose records are gone.

    Those that are written `anew` are not read.

    No text of JSON has a ``<`` in it, see `susx_bench.leaderboard.page.data`.
    """
    page = (there(INDEX) or b"").decode(errors="replace")
    elements = dict(re.findall(_ELEMENT.format("([a-z0-9-]+)", "([^<]*)"), page))
    kept = {}
    for name in re.findall(r'"name":"([a-z0-9-]+)"', elements.get("boards", "")):
        if name in anew:
            continue
        texts = [
            elements.get(f"{what}-{name}") or _beside(what, name, there) for what in _Data._fields
        ]
        path = re.search(r'"records":\[\n\["([^"]+)"', texts[1])
        if texts[0] and path and there(path[1]) is not None:
            kept[name] = _Data(*texts)
    return kept


def _beside(what: str, name: str, there: There) -> str:
    """JSON that lies beside the page; empty for none."""
    text = (there(_path(what, name)) or b"").decode(errors="replace")
    head, tail = _CALL.format(f"{what}-{name}", "\0").split("\0")
    whole = text.startswith(head) and text.endswith(tail)
    return text[len(head) : -len(tail)] if whole else ""


def _asset(name: str) -> str:
    return (package_files("susx_bench.leaderboard.page") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The one inline style or script that the policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
