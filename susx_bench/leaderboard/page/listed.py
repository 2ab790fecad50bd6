"""The list of a leaderboard's pictures: what each was drawn from, and its hash.

Another version of matplotlib draws the same picture with other bytes, so a check cannot draw it
anew and compare. It compares the file with this list, which was written when it was drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Final

from pydantic import RootModel, ValidationError

from susx_bench.leaderboard.figures.picture import Picture, drawn_from

PICTURES: Final = "pictures"

There = Callable[[str], bytes | None]
"""What lies at a path of the leaderboards' folder; None for nothing."""


class _List(RootModel[dict[str, dict[str, str]]]):
    """``drawn_from`` and ``sha256`` by path from the leaderboards' folder."""


def name_of(board: str) -> str:
    """The list's path from the leaderboards' folder."""
    return f"{board}.pictures.json"


def paths_of(picture: Picture) -> list[str]:
    """Where a picture lies, from the leaderboards' folder."""
    return [f"{PICTURES}/{picture.name}.{kind}" for kind in ("svg", "png")]


def _entry(digest: str, content: bytes) -> dict[str, str]:
    return {"drawn_from": digest, "sha256": hashlib.sha256(content).hexdigest()}


def _read(board: str, there: There) -> dict[str, dict[str, str]]:
    """The list as it lies there; empty where there is none that can be read."""
    try:
        return _List.model_validate_json(there(name_of(board)) or b"").root
    except ValidationError:
        return {}


def draw(board: str, pictures: Sequence[Picture], there: There) -> dict[str, bytes]:
    """The pictures of a leaderboard and their list, by path from the leaderboards' folder.

    Args:
        board: Its name.
        pictures: What it shows now.
        there: What lies in the folder. A picture that is whole and of the same data is kept as it
            is, and any other is drawn.
    """
    listed = _read(board, there)
    content_by_path: dict[str, bytes] = {}
    entries: dict[str, dict[str, str]] = {}
    for picture in pictures:
        paths = paths_of(picture)
        files = {path: there(path) or b"" for path in paths}
        if any(listed.get(path) != _entry(picture.digest, files[path]) for path in paths):
            drawn = picture.files()
            files = {path: drawn[path.removeprefix(f"{PICTURES}/")] for path in paths}
        content_by_path |= files
        entries |= {path: _entry(picture.digest, content) for path, content in files.items()}
    return content_by_path | {name_of(board): _text(entries)}


def _text(entries: dict[str, dict[str, str]]) -> bytes:
    return (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode()


def differences(board: str, pictures: Sequence[Picture], there: There) -> list[str]:
    """What is not as `draw` leaves it: a path and what is wrong with it, a line each."""
    name, listed = name_of(board), _read(board, there)
    if (text := there(name)) is None:
        return [f"{name} is missing"]
    if text != _text(listed):
        return [f"{name} is not as it was written"]
    wrong = []
    digests = {path: picture.digest for picture in pictures for path in paths_of(picture)}
    for path, digest in digests.items():
        entry = listed.get(path, {})
        if (content := there(path)) is None:
            wrong.append(f"{path} is missing")
        elif entry.get("drawn_from") != digest:
            wrong.append(f"{path} was not drawn from these records")
        elif entry != _entry(digest, content):
            wrong.append(f"{path} was changed after it was drawn")
    more = sorted(listed.keys() - digests.keys())
    return wrong + [f"{name} has {path}, which is drawn no more" for path in more]


def stale(
    board: str,
    pictures: Sequence[Picture],
    there: There,
    present: Collection[str],
    boards: Collection[str],
) -> list[str]:
    """Pictures that an earlier build drew and this one does not, nor that of another board.

    Args:
        board: Name of the leaderboard.
        pictures: What it shows now.
        there: What lies in the leaderboards' folder.
        present: Paths of its pictures' folder, from the leaderboards' folder.
        boards: Names of all leaderboards with records.
    """
    now = {path for picture in pictures for path in paths_of(picture)}
    return sorted(
        path
        for path in present
        if path not in now
        and _owner(path, {board, *boards}) in (board, "")
        and (path in _read(board, there) or drawn_from(there(path) or b""))
    )


def _owner(path: str, boards: Collection[str]) -> str:
    """The leaderboard whose name a picture's begins with, the longest; empty for none."""
    name = path.removeprefix(f"{PICTURES}/")
    return max((b for b in boards if name.startswith(f"{b}-")), key=len, default="")
