"""Types of the options: a value is checked before anything starts, by one rule for each type.

Every option of the command line has one of these types. The values of a suite pass through them
too, so that a file cannot ask for what an option refuses.
"""

from __future__ import annotations

import math
import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex

import click
from click.shell_completion import CompletionItem

from susx_bench.errors import BenchError
from susx_bench.options.completion import offered
from susx_bench.records.paths import check_text, checked_path

if TYPE_CHECKING:
    Type = click.ParamType
else:

    class Type(click.ParamType):
        """A type of click's, with a type argument also before click 8.5."""

        def __class_getitem__(cls, _: Any) -> type:
            return cls


_SHOWN = 60
_HUB = ("hf:", "hf-hub:")
"""Prefixes of names on the hub, which are no paths."""
_SCHEME = re.compile(r"^[a-z][a-z0-9-]*:(?!//)")
"""A prefix before a path in a name, as in ``local-dir:FOLDER``."""


def shortened(value: Any) -> str:
    """A value as text, shortened if it is long."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def shown(value: Any) -> str:
    """Describe a value of a Python call for a message: numbers and texts whole, others by type.

    A value may be large, and its ``repr`` may fail.
    """
    if value is None or isinstance(value, float | str) or _is_small(value):
        return shortened(repr(value))
    return f"a value of type {type(value).__name__}"


def _is_small(value: Any) -> bool:
    """Whether a value is a whole number that Python can print."""
    return isinstance(value, int) and value.bit_length() < 1000


class Text(Type[str]):
    """A text that is not empty and holds no control character.

    Args:
        most: Largest number of characters.
        lines: Whether line breaks and tabs are allowed.
    """

    name = "text"

    def __init__(self, most: int = 1000, *, lines: bool = False) -> None:
        self.most = most
        self.lines = lines

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that the option takes."""
        return offered(param.name, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the words."""
        if not isinstance(value, str | PathLike):
            self.fail(f"{shown(value)} is no {self.name}.", param, ctx)
        text = str(value)
        try:
            check_text(re.sub(r"[\n\r\t]", " ", text) if self.lines else text)
        except BenchError as error:
            self.fail(f"{error}", param, ctx)
        if len(text) > self.most:
            self.fail(
                f"'{shortened(text)}' has {len(text)} characters, at most {self.most} are taken.",
                param,
                ctx,
            )
        return text


class Name(Text):
    """A name, or a path in place of a name; it is kept as it was written."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name; a path must be possible on this machine."""
        text = super().convert(value, param, ctx)
        if text.startswith(_HUB):
            return text  # names on the hub are checked when the hub is asked
        try:
            checked_path(_SCHEME.sub("", text) or ".")
        except BenchError as error:
            self.fail(f"{error}", param, ctx)
        return text


class Place(Type[Path]):
    """A path; ``~`` is expanded.

    Args:
        wants: The kind that an existing path must have.
    """

    name = "path"

    def __init__(self, wants: Literal["file", "folder", "either"]) -> None:
        self.wants = wants

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that the option takes besides paths, and paths."""
        kind = "dir" if self.wants == "folder" else "file"
        return [*offered(param.name, incomplete), CompletionItem(incomplete, type=kind)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check and expand the path."""
        try:
            path = checked_path(value)
        except BenchError as error:
            self.fail(f"{error}", param, ctx)
        if self.wants != "either" and path.exists():
            if self.wants == "folder" and not path.is_dir():
                self.fail(f"{path} is no folder, and a folder is wanted.", param, ctx)
            if self.wants == "file" and path.is_dir():
                self.fail(f"{path} is a folder, and a file is wanted.", param, ctx)
            if self.wants == "file" and not path.is_file():
                self.fail(
                    f"{path} is a pipe, a socket or a device, and a file is wanted.", param, ctx
                )
        return path


def _quoted(value: Any) -> str:
    return f"'{shortened(value)}'" if isinstance(value, str) else shown(value)


def _number(value: Any) -> Any:
    """Check that a value may be read as a number: no bool, and no array of several values.

    Raises:
        TypeError: If it is a bool or such an array.
    """
    single = isinstance(value, str | SupportsIndex | SupportsFloat)
    truth = isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
    if truth or not single or getattr(value, "ndim", False):
        raise TypeError("it is no number")
    return value


class Bundle(Place):
    """The path of a feature bundle; a Python call may pass `susx_bench.Features` instead."""

    def __init__(self) -> None:
        super().__init__("file")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check and expand a path; features stay as they are."""
        in_memory = all(callable(getattr(value, name, None)) for name in ("tensors", "facts"))
        return value if in_memory else super().convert(value, param, ctx)


class Count(click.IntRange):
    """A whole number in a range. The upper end is larger than any useful value."""

    name = "count"

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Check the number."""
        try:
            number = int(_number(value))
        except (ValueError, OverflowError, TypeError):
            self.fail(f"{_quoted(value)} is not a valid integer.", param, ctx)
        if not isinstance(value, str) and value != number:
            self.fail(f"{_quoted(value)} is not a valid integer.", param, ctx)
        if not self.least <= number <= self.most:
            shown = shortened(value)
            self.fail(f"{shown} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Number(click.FloatRange):
    """A finite number in a range."""

    name = "number"

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)
        self.least, self.most = least, most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Check the number."""
        try:
            number = float(_number(value))
        except (ValueError, OverflowError, TypeError):
            self.fail(f"{_quoted(value)} is not a valid number.", param, ctx)
        if not (math.isfinite(number) and self.least <= number <= self.most):
            shown = shortened(value)
            self.fail(f"{shown} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Url(Text):
    """The address of a service, ``http://`` or ``https://``."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that the address has a host and a valid port."""
        from urllib.parse import urlsplit

        text = super().convert(value, param, ctx)
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port above 65535, half an IPv6 address
            good = False
        if not good or " " in text:
            # The address is not shown: it may hold a user and a password.
            self.fail("it is no address as in http://localhost:8080.", param, ctx)
        return text


class CommaList(Type[tuple[Any, ...]]):
    """``a,b,c``, each item of one type and none twice."""

    def __init__(self, item: click.ParamType[Any]) -> None:
        self.item = item
        self.name = f"{item.name},..."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that the option takes, for the last item."""
        return offered(param.name, incomplete, several=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split, convert and drop repeats, in the order given."""
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",")]
        else:
            parts = list(value) if isinstance(value, list | tuple) else [value]
        if not parts:
            self.fail("the list is empty.", param, ctx)
        if any(isinstance(part, str) and not part for part in parts):
            self.fail(f"'{shortened(value)}' has an empty item.", param, ctx)
        return tuple(dict.fromkeys(self.item.convert(part, param, ctx) for part in parts))


class NameList(CommaList):
    """Names and paths with commas between them; an existing path may contain commas itself.

    An option of this type may be repeated: its lists add up.
    """

    def __init__(self) -> None:
        super().__init__(Name())

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split, unless the whole value is an existing path, or has a file before ``:CLASS``."""
        if isinstance(value, str):
            paths = (value, value.rpartition(":")[0])
            if any("," in path and _is_there(path) for path in paths):
                value = (value,)
        return super().convert(value, param, ctx)

    @staticmethod
    def join(
        ctx: click.Context, param: click.Parameter, lists: tuple[tuple[str, ...], ...]
    ) -> tuple[str, ...] | None:
        """All items of all lists, none twice; None if the option is not given."""
        return tuple(dict.fromkeys(item for names in lists for item in names)) or None


class MethodList(NameList):
    """Names and files of methods; a Python call may give classes too."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split and check the names; a class stays as it is."""
        several = value if isinstance(value, list | tuple) else (value,)
        if not any(isinstance(method, type) for method in several):
            return super().convert(value, param, ctx)
        items = (e if isinstance(e, type) else self.item.convert(e, param, ctx) for e in several)
        return tuple(dict.fromkeys(items))


def _is_there(path: str) -> bool:
    try:
        return bool(path) and checked_path(path).exists()
    except BenchError:  # no path at all
        return False


class Shard(Type[tuple[int, int]]):
    """``i/n``, one of n parts, counted from 1."""

    name = "i/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Split, convert and check."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value))
        part, parts = map(int, match.groups()) if match else (0, 0)
        if not 1 <= part <= parts:
            self.fail(f"'{shortened(value)}' is not one of n parts, as in 1/4 to 4/4.", param, ctx)
        return part, parts


FILE_PATH = Place("file")
FOLDER_PATH = Place("folder")
ANY_PATH = Place("either")
BUNDLE_PATH = Bundle()
TEXT = Text()
NAME = Name()
NAMES = NameList()
METHODS = MethodList()
WORDS = CommaList(NAME)
PROMPTS = Text(10_000)
"""A kind of prompts, or templates."""
SEED = Count(0, 2**63 - 1)  # the seeds that a generator accepts
SEED_LIST = CommaList(Count(1, 2**63 - 1))
ORDER_LIST = CommaList(SEED)
IMAGES = Count(1, 1_000_000)
"""Images of one class."""
SHOT_LIST = CommaList(IMAGES)
TRAVEL = Count(1, 65_536)
"""Images in one batch."""
SHARD = Shard()
SCALE = Number(1e-3, 1e6)
"""A factor on cosines."""
PRICE = Number(0, 1e6)
