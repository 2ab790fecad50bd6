"""The page of all leaderboards: one file to open, pictures beside it, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
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
    found = {INDEX: _index(shown, drawn, there)}
    for (board, _), pictures in zip(shown, drawn, strict=True):
        found |= listed.draw(board.name, pictures, there)
    return found


def differences(shown: Sequence[Shown], there: There) -> list[str]:
    """What is not as `files` would write it: a path and what is wrong with it, a line each.

    The page is compared to the byte, and a picture with the list that was written with it.
    """
    drawn = [pictures_of(board, records) for board, records in shown]
    wrong = []
    if (page := there(INDEX)) is None:
        wrong.append(f"{INDEX} is missing")
    elif page != _index(shown, drawn, there):
        wrong.append(f"{INDEX} is not what the records give")
    for (board, _), pictures in zip(shown, drawn, strict=True):
        wrong += listed.differences(board.name, pictures, there)
    return wrong


class _Data(NamedTuple):
    """A leaderboard as the page holds it: two texts of JSON."""

    board: str
    records: str


_ELEMENT: Final = '<script type="application/json" id="{}">{}</script>'


def _index(shown: Sequence[Shown], drawn: Sequence[Sequence[Picture]], there: There) -> bytes:
    style, script = _asset("page.css"), _asset("page.js")
    boards = _kept(there)
    for (board, records), pictures in zip(shown, drawn, strict=True):
        boards[board.name] = _Data(board_json(board, pictures), records_json(board, records))
    # What measures real data comes first: the demo says nothing about CLIP.
    names = sorted(boards, key=lambda name: (name.startswith("demo"), name))
    titles = {name: json.loads(boards[name].board)["title"] for name in names}
    elements = [_ELEMENT.format("boards", index_json(titles))]
    for name in names:
        for what, text in zip(_Data._fields, boards[name], strict=True):
            elements.append(_ELEMENT.format(f"{what}-{html.escape(name)}", text))
    # Images lie beside the page, which `self` means over HTTP, and `file:` where it is opened.
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    # The data come last: what stands in them is not looked through for the places of others.
    head, tail = _asset("page.html").split("@DATA@")
    head = head.replace("@POLICY@", policy).replace("@STYLE@", style)
    return "".join([head, "\n".join(elements), tail.replace("@SCRIPT@", script)]).encode()


def _kept(there: There) -> dict[str, _Data]:
    """Leaderboards of the page that lies there, but for those whose records are gone.

    No text of JSON has a ``<`` in it, see `susx_bench.leaderboard.page.data`.
    """
    page = (there(INDEX) or b"").decode(errors="replace")
    found = dict(re.findall(_ELEMENT.format("([a-z0-9-]+)", "([^<]*)"), page))
    kept = {}
    for key, records in found.items():
        name = key.removeprefix("records-")
        if name == key or f"board-{name}" not in found:
            continue
        path = re.search(r'"records":\[\n\["([^"]+)"', records)
        if path and there(path[1]) is not None:
            kept[name] = _Data(found[f"board-{name}"], records)
    return kept


def _asset(name: str) -> str:
    return (package_files("susx_bench.leaderboard.page") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The one inline style or script that the policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
