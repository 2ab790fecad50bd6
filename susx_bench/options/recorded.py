"""Options that decide a number and stand in a record only if they are set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, model_validator

from susx_bench.options import IMAGES, NAME
from susx_bench.options.declare import Option, convert, options_of

Setting = Literal["name-only", "few-shot"]
Tuning = Literal["fixed", "published", "support", "few-val", "val", "test"]
Draw = Literal["balanced", "coop", "file"]
Precision = Literal["fp32", "bf16", "fp16"]

NO_PROMPTS = "none"
"""The prompts of a record whose encoder reads no text."""


class Extras(BaseModel):
    """Options that a record and its input hash hold only if they differ from their default.

    A new option that decides a number belongs here. It becomes an option of ``run``, a field of the
    record and of the input hash, and part of the printed command and of every table. Records that
    were measured without it stay valid.
    """

    limit: Annotated[
        int | None,
        Option(
            type=IMAGES,
            help="Score only the first N test images of each class, for a quick look: tables say "
            "so, and no leaderboard takes the number.",
            group="Data",
            decides=True,
            data=True,
            words="only the first {} test images per class",
            quick=True,
        ),
    ] = None

    unknown: Annotated[
        str | None,
        Option(
            type=NAME,
            help="Classes that the method is not told of, with commas: by its confidence on their "
            "test images the record has AUROC and FPR95.",
            group="Data",
            decides=True,
            data=True,
            words="unknown: {}",
        ),
    ] = None

    @model_validator(mode="after")
    def _extras_in_range(self) -> Self:
        for _, option, value in self._extra_options():
            convert(option, value)
        return self

    def extras(self) -> dict[str, Any]:
        """The options that differ from their defaults, by name."""
        return {
            name: value
            for name, field in Extras.model_fields.items()
            if (value := getattr(self, name)) != field.default
        }

    def extra_words(self) -> list[str]:
        """The texts in a table about the options that differ from their defaults."""
        return [
            option.words.format(value) if option.words else f"{name.replace('_', ' ')} {value}"
            for name, option, value in self._extra_options()
        ]

    def quick_flags(self) -> list[str]:
        """The set options that make the number a quick look, as flags of the command line."""
        return [
            f"{option.spelling(name)} {value}"
            for name, option, value in self._extra_options()
            if option.quick
        ]

    def _extra_options(self) -> Iterator[tuple[str, Option, Any]]:
        declared = options_of(Extras)
        return ((name, declared[name], value) for name, value in self.extras().items())
