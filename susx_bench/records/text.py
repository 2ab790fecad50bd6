"""Text files that people write: one way to read them, with or without a byte order mark."""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from susx_bench.records.paths import read_bytes

_HALF = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MARK = "\ufeff"
_NUMBERED = re.compile(r"(\d{1,9})(?:\s*[,;:]\s*|\s+)\S")
"""A name with its number before it: ``0 cat``, ``1: dog``. ``001.cat`` is a name as it is."""
_OTHERS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16"} | {
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # UTF-32's mark begins with UTF-16's, so it is looked for first


def read_text(path: Path) -> str:
    r"""Read a UTF-8 file: without its byte order mark, every line ended by ``\n``.

    Raises:
        OSError: If it cannot be read; the message says why, and not again which file.
        ValueError: If it is not UTF-8; the message says what it is, or where it is broken.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise type(error)(error.strerror or str(error)) from error
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
    """Read the lines of a file, without what cannot be seen around each, see `trimmed`.

    A line keeps its place: the first is item 0. Empty lines at the end are none; an empty line
    before the last is an error, because what follows would have another number than it seems.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not UTF-8, or a line is empty.
    """
    # Editors and `cat` leave a mark at the start of a line, too.
    lines = [trimmed(line) for line in read_text(path).rstrip().split("\n")]
    if lines == [""]:
        return []
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} of {len(lines)} is empty")
    return lines


def trimmed(text: str) -> str:
    """A text without white space, byte order marks and other unseen characters around it."""
    seen = [
        place
        for place, one in enumerate(text)
        if not one.isspace() and unicodedata.category(one) not in ("Cc", "Cf")
    ]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def read_names(path: Path) -> list[str]:
    """Read names, one per line, in the order of their numbers. Two may be the same.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not UTF-8, has no line, or an empty line, or every line begins with its
            own number.
    """
    names = read_lines(path)
    if not names:
        raise ValueError("it has no line")
    numbers = [match and int(match[1]) for match in map(_NUMBERED.match, names)]
    for first in (0, 1):
        if len(names) > 1 and numbers == list(range(first, first + len(names))):
            raise ValueError(
                f"every line begins with its number, the first is '{names[0][:60]}': leave the "
                "numbers out, a line's place is its number"
            )
    return names


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not UTF-8, or what `parse_json` refuses.
    """
    try:
        return parse_json(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_json(text: str) -> Any:
    """Read JSON whose texts can be written again.

    Raises:
        ValueError: If it is not JSON, has an escape that is half a character, or has a name twice
            in one object, of which a parser would keep the last.
        RecursionError: If it is nested too deep.
    """
    value = json.loads(text, object_pairs_hook=_once)
    if _HALF.search(text):  # or a whole character in two escapes
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(str(error.object)[error.start])[1:-1]
            raise ValueError(f"it has {half}, which is half a character") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = ", ".join(f"'{name}'" for name, count in names.items() if count > 1)
        raise ValueError(f"an object in it has {twice[:200]} more than once; keep one of each")
    return value


def safetensors_note(content: bytes, key: str) -> Any:
    """The JSON under a key of a safetensors file's metadata.

    Raises:
        KeyError: If there is none.
        TypeError: As ValueError.
        ValueError: If it is no such file.
    """
    length = int.from_bytes(content[:8], "little")
    return parse_json(parse_json(content[8 : 8 + length].decode())["__metadata__"][key])
