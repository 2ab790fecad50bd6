"""Options that decide a number and that a record holds where they are set: both read this."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

Setting = Literal["name-only", "few-shot"]
Tuning = Literal["fixed", "published", "support", "few-val", "val", "test"]
Draw = Literal["balanced", "coop", "file"]
Precision = Literal["fp32", "bf16", "fp16"]


class Extras(BaseModel):
    """Options that a record and its input hash hold only where they are not at their default.

    A new option that decides a number belongs here: it is then an option of ``run``, a field of
    the record and of the input hash, and stands in the printed command and in every table, and
    what was measured without it stays what it was.
    """

    def extras(self) -> dict[str, Any]:
        """Those that are not at their default, by name."""
        return {
            name: value
            for name, field in Extras.model_fields.items()
            if (value := getattr(self, name)) != field.default
        }
