"""The list of a leaderboard's pictures: for each the hash of its data, and of its file.

Another version of matplotlib draws the same picture with other bytes, so that a check cannot redraw
and compare it. It compares the file with this list, which was written when the picture was drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Final

from pydantic import RootModel, ValidationError

from susx_bench.leaderboard.figures.picture import Picture, drawn_from

PICTURES: Final = "pictures"

FileReader = Callable[[str], bytes | None]
"""Reads the file at a path of the leaderboards' folder; None if there is none."""


class _List(RootModel[dict[str, dict[str, str]]]):
    """``drawn_from`` and ``sha256`` by path relative to the leaderboards' folder."""


def name_of(board: str) -> str:
    """The list's path relative to the leaderboards' folder."""
    return f"{board}.pictures.json"


def paths_of(picture: Picture) -> list[str]:
    """The paths of a picture relative to the leaderboards' folder."""
    return [f"{PICTURES}/{picture.name}.{kind}" for kind in ("svg", "png")]


def _entry(digest: str, content: bytes) -> dict[str, str]:
    return {"drawn_from": digest, "sha256": hashlib.sha256(content).hexdigest()}


def _read(board: str, read_file: FileReader) -> dict[str, dict[str, str]]:
    """The existing list; empty if there is none that can be read."""
    try:
        return _List.model_validate_json(read_file(name_of(board)) or b"").root
    except ValidationError:
        return {}


def draw(board: str, pictures: Sequence[Picture], read_file: FileReader) -> dict[str, bytes]:
    """The pictures of a leaderboard and their list, by path relative to the folder.

    Args:
        board: Name of the leaderboard.
        pictures: Its pictures now.
        read_file: Reads existing files of the folder. A whole picture of the same data is kept, any
            other is drawn.
    """
    listed = _read(board, read_file)
    content_by_path: dict[str, bytes] = {}
    entries: dict[str, dict[str, str]] = {}
    for picture in pictures:
        paths = paths_of(picture)
        files = {path: read_file(path) or b"" for path in paths}
        if any(listed.get(path) != _entry(picture.digest, files[path]) for path in paths):
            drawn = picture.files()
            files = {path: drawn[path.removeprefix(f"{PICTURES}/")] for path in paths}
        content_by_path |= files
        entries |= {path: _entry(picture.digest, content) for path, content in files.items()}
    return content_by_path | {name_of(board): _text(entries)}


def _text(entries: dict[str, dict[str, str]]) -> bytes:
    return (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode()


def differences(board: str, pictures: Sequence[Picture], read_file: FileReader) -> list[str]:
    """Files that differ from those that `draw` leaves: one line per path, with the fault."""
    name, listed = name_of(board), _read(board, read_file)
    if (text := read_file(name)) is None:
        return [f"{name} is missing"]
    if text != _text(listed):
        return [f"{name} is not as it was written"]
    wrong = []
    digests = {path: picture.digest for picture in pictures for path in paths_of(picture)}
    for path, digest in digests.items():
        entry = listed.get(path, {})
        if (content := read_file(path)) is None:
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
    read_file: FileReader,
    present: Collection[str],
    boards: Collection[str],
) -> list[str]:
    """Pictures of an earlier build that neither this board nor another one has now.

    Args:
        board: Name of the leaderboard.
        pictures: Its pictures now.
        read_file: Reads existing files of the leaderboards' folder.
        present: Paths in the folder of pictures, relative to the leaderboards' folder.
        boards: Names of all leaderboards with records.
    """
    now = {path for picture in pictures for path in paths_of(picture)}
    return sorted(
        path
        for path in present
        if path not in now
        and _owner(path, {board, *boards}) in (board, "")
        and (path in _read(board, read_file) or drawn_from(read_file(path) or b""))
    )


def _owner(path: str, boards: Collection[str]) -> str:
    """The leaderboard with the longest name that begins a picture's name; empty for none."""
    name = path.removeprefix(f"{PICTURES}/")
    return max((b for b in boards if name.startswith(f"{b}-")), key=len, default="")
