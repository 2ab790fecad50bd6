"""Declare each option once, as one field of a model. All code about the option reads this field.

A field of an `Options` model is annotated with an `Option`. From it follow the click option, the
key of a suite, the argument of a Python call, the value in the input hash and in the record, the
flag in the command that a record prints, and the text in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import click
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from susx_bench.errors import OptionError
from susx_bench.options import NameList
from susx_bench.options.commands import Grouped
from susx_bench.options.given import checked

if TYPE_CHECKING:
    from susx_bench.records.record import Record


@dataclass(frozen=True, kw_only=True, eq=False)
class Option:
    """The facts about an option, beside its name, its Python type and its default.

    Attributes:
        type: Checks and converts a value: of the command line, of a suite or of a Python call.
        help: One or two sentences for ``--help``.
        group: Heading under which ``--help`` lists it, one of
            `susx_bench.options.commands.GROUPS`.
        flag: The flag on the command line, if it is not ``--`` and the name.
        variable: Environment variable that sets it if the command line does not.
        required: Whether the command line must set it, unless a file does.
        decides: Whether numbers depend on it. Next to ``--suite`` such an option is refused.
        data: Whether it selects the images, texts and features that a method gets.
        suite: How a suite may set it: ``one`` value for a run, or ``each`` of a list for one run
            with each value. Empty if a suite may not set it.
        below: Whether the data folder is the base of a relative path in a suite.
        given: Whether it gives the place or the format of the user's data. If it was given, the
            record keeps it in `Record.given` unchanged; the hashes of the data say which was read.
        file: Whether it names a file that ``records verify`` opens only if the user names it too.
        asked: Maps a record to the value that requests its cell; None if the option is not needed.
            Without it the value is the record's field of that name, if it is not the default.
        words: The text of a value in a table, with ``{}`` in its place.
        quick: Whether a number measured with it is a quick look, which no leaderboard takes.
    """

    type: click.ParamType[Any]
    help: str
    group: str
    flag: str = ""
    variable: str = ""
    required: bool = False
    decides: bool = False
    data: bool = False
    suite: Literal["", "one", "each"] = ""
    below: bool = False
    given: bool = False
    file: bool = False
    asked: Callable[[Record], Any] | None = None
    words: str = ""
    quick: bool = False

    def spelling(self, name: str) -> str:
        """The option's flag on the command line, without the second half of ``--on/--off``."""
        return (self.flag or f"--{name.replace('_', '-')}").partition("/")[0]


class Options(BaseModel):
    """The options of a command: every field has an `Option`.

    It is built from keywords, without click. The options' types check the values, and the model's
    validators check the rules between options.

    Raises:
        OptionError: If a value is refused, or two options do not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            option = self.declared().get(name)
            place = f"{option.spelling(name)}: " if option else f"{name}: " if name else ""
            raise OptionError(f"{place}{first['msg'].rstrip('.')}.") from error

    @field_validator("*", mode="before")
    @classmethod
    def _converted(cls, value: Any, info: ValidationInfo) -> Any:
        option = cls.declared().get(str(info.field_name))
        return value if option is None or value is None else convert(option, value)

    @classmethod
    def declared(cls) -> Mapping[str, Option]:
        """The options by name, in the order in which they are declared."""
        return options_of(cls)

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of an option."""
        field = cls.model_fields[name]
        return None if field.is_required() else field.get_default(call_default_factory=True)

    def changed(self, **values: Any) -> Self:
        """The same options with some values replaced, without checking the new values."""
        return self.model_copy(update=values)

    @classmethod
    def click_options(cls, *names: str, **changes: Any) -> Callable[[Any], Any]:
        """A decorator that adds these options to a click command; all if none is named.

        Args:
            names: Names of the options, in the order of ``--help``.
            changes: Arguments of `click.Option` that replace declared ones.
        """
        params = [_param(cls, name, changes) for name in names or cls.declared()]

        def add(command: Any) -> Any:
            for param in reversed(params):
                command = param(command)
            return command

        return add

    @classmethod
    def asked(cls, record: Record) -> dict[str, Any]:
        """The options that request a record's cell, by name."""
        values = {}
        for name, value_of in _askers(cls, type(record)):
            if (value := value_of(record)) is not None:
                values[name] = value
        return values


@cache
def options_of(model: type[BaseModel]) -> Mapping[str, Option]:
    """The options that the fields of a model declare, the model's own fields first."""
    declared = {}
    inherited = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", ())}
    for name in sorted(model.model_fields, key=inherited.__contains__):
        metadata = model.model_fields[name].metadata
        if option := next((item for item in metadata if isinstance(item, Option)), None):
            declared[name] = option
    return declared


@cache  # thousands of records are asked
def _askers(
    model: type[Options], record: type[Record]
) -> Sequence[tuple[str, Callable[[Record], Any]]]:
    """For each option that can request a cell, what gives its value for a record; None for none."""
    return [
        (name, option.asked or _asker(name, option, model.default(name)))
        for name, option in model.declared().items()
        if option.asked or option.given or name in record.model_fields
    ]


def _asker(name: str, option: Option, default: Any) -> Callable[[Record], Any]:
    if option.given:
        return lambda record: record.given.get(name)
    return lambda record: None if (value := getattr(record, name)) == default else value


def convert(option: Option, value: Any) -> Any:
    """Convert a value by the option's type.

    Raises:
        PydanticCustomError: If the type refuses it; a validator turns the error into one line.
    """
    try:
        return checked("", option.type, value)
    except OptionError as error:
        # Braces would be read as fields of the message.
        line = str(error).removeprefix(": ")
        raise PydanticCustomError("option", "{line}", {"line": line}) from error


def _param(model: type[Options], name: str, changes: dict[str, Any]) -> Callable[[Any], Any]:
    option, default = model.declared()[name], model.default(name)
    flag = option.flag or option.spelling(name)
    how: dict[str, Any] = {"type": option.type, "help": option.help, "group": option.group}
    if isinstance(default, bool):
        how |= {"is_flag": True, "default": default, "show_default": "/" in flag}
    elif default is not None and not option.required:
        how |= {"default": default, "show_default": True}
    if isinstance(option.type, NameList):
        how |= {"multiple": True, "callback": option.type.join}
    if option.variable:
        how |= {"envvar": option.variable, "show_envvar": True}
    return click.option(flag, name, cls=Grouped, **how | changes)


def suite_fields(model: type[Options]) -> dict[str, Any]:
    """The options of a command that a suite may set, as fields for `pydantic.create_model`."""
    fields: dict[str, Any] = {}
    for name, option in model.declared().items():
        if option.suite:
            kind = Annotated[Any, BeforeValidator(partial(_from_suite, option))]
            fields[name] = (kind, ... if model.model_fields[name].is_required() else None)
    return fields


def _from_suite(option: Option, value: Any) -> Any:
    if option.suite == "one":
        return convert(option, value)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise PydanticCustomError("option", "the list is empty")
    return tuple(convert(option, item) for item in values)
