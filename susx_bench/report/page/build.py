"""The page of all leaderboards: one file to open, pictures beside it, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files as package_files
from typing import Final, NamedTuple

from susx_bench.records.record import Record
from susx_bench.report.board import Board
from susx_bench.report.figures import Picture, drawn_from
from susx_bench.report.figures import pictures as pictures_of
from susx_bench.report.page.data import board_json, index_json, records_json

INDEX: Final = "index.html"
PICTURES: Final = "pictures"

There = Callable[[str], bytes | None]
"""What lies at a path of the leaderboards' folder; None for nothing."""


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
    """The page and its pictures, by path from the leaderboards' folder.

    Args:
        shown: The leaderboards, in the order of the page.
        there: What lies in the folder already. A picture drawn from the same data is kept: another
            version of matplotlib would draw it a little otherwise.
    """
    drawn = [pictures_of(board, records) for board, records in shown]
    found = {INDEX: _index(shown, drawn)}
    for picture in (picture for pictures in drawn for picture in pictures):
        old = {f"{PICTURES}/{picture.name}.{kind}": b"" for kind in ("svg", "png")}
        old = {path: there(path) or b"" for path in old}
        if all(drawn_from(content) == picture.digest for content in old.values()):
            found |= old
        else:
            found |= {f"{PICTURES}/{name}": data for name, data in picture.files().items()}
    return found


def differences(shown: Sequence[Shown], there: There) -> list[str]:
    """What is not as `files` would write it: a path and what is wrong with it, a line each.

    The page is compared to the byte. A picture is compared by the data it says it was drawn from,
    and not drawn: its bytes hang on the version of matplotlib.
    """
    drawn = [pictures_of(board, records) for board, records in shown]
    wrong = []
    if (page := there(INDEX)) is None:
        wrong.append(f"{INDEX} is missing")
    elif page != _index(shown, drawn):
        wrong.append(f"{INDEX} is not what the records give")
    for picture in (picture for pictures in drawn for picture in pictures):
        for kind in ("svg", "png"):
            path = f"{PICTURES}/{picture.name}.{kind}"
            if (content := there(path)) is None:
                wrong.append(f"{path} is missing")
            elif drawn_from(content) != picture.digest:
                wrong.append(f"{path} was not drawn from these records")
    return wrong


def _index(shown: Sequence[Shown], drawn: Sequence[Sequence[Picture]]) -> bytes:
    style, script = _asset("page.css"), _asset("page.js")
    data = {"boards": index_json([board for board, _ in shown])}
    for (board, records), pictures in zip(shown, drawn, strict=True):
        data[f"board-{board.name}"] = board_json(board, pictures)
        data[f"records-{board.name}"] = records_json(board, records)
    elements = [
        f'<script type="application/json" id="{html.escape(name)}">{text}</script>'
        for name, text in data.items()
    ]
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


def _asset(name: str) -> str:
    return (package_files("susx_bench.report.page") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The one inline style or script that the policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
