"""Text files that people write: one way to read them, with or without a byte order mark."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from susx_bench.records.paths import read_bytes

_HALF = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MARK = "\ufeff"
_OTHERS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16"} | {
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # UTF-32's mark begins with UTF-16's, so it is looked for first


def read_text(path: Path) -> str:
    r"""Read a UTF-8 file: without its byte order mark, every line ended by ``\n``.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8; the message says what it is, or where it is broken.
    """
    content = read_bytes(path)
    for mark, name in _OTHERS.items():
        if content.startswith(mark):
            raise ValueError(f"it is {name}; save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"byte 0x{content[error.start]:02x} in line {line} is not UTF-8; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("it has NUL characters, which no text has; save it as UTF-8")
    return text.removeprefix(_MARK).replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """Read the lines of a file, without the white space around each.

    A line keeps its place: the first is item 0. Empty lines at the end are none; an empty line
    before the last is an error, because what follows would have another number than it seems.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not UTF-8, or a line is empty.
    """
    # Editors and `cat` leave a mark at the start of a line, too.
    lines = [line.strip().strip(_MARK).strip() for line in read_text(path).rstrip().split("\n")]
    if lines == [""]:
        return []
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} of {len(lines)} is empty")
    return lines


def read_names(path: Path) -> list[str]:
    """Read names, one a line, in the order of their numbers. Two may be the same.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not UTF-8, has no line, or an empty line.
    """
    names = read_lines(path)
    if not names:
        raise ValueError("it has no line")
    return names


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8, not JSON, or has escapes that are half a character.
    """
    try:
        return parse_json(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_json(text: str) -> Any:
    """Read JSON whose texts can be written again.

    Raises:
        ValueError: If it is not JSON, or has an escape that is half a character.
        RecursionError: If it is nested too deep.
    """
    value = json.loads(text)
    if _HALF.search(text):  # or a whole character in two escapes
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(str(error.object)[error.start])[1:-1]
            raise ValueError(f"it has {half}, which is half a character") from error
    return value
