"""The request for a run: its options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from susx_bench.data.spec import Where
from susx_bench.features.placed import Placed
from susx_bench.options.run import RunOptions


class Request(Placed, RunOptions):
    """The options of ``run``, with the devices and the data folder that they select."""

    @property
    def where(self) -> Where:
        """Where the images of a dataset are searched for, and which of them are left out."""
        return replace(super().where, skip_bad=self.on_bad_image == "skip", limit=self.limit)

    def given(self) -> dict[str, str]:
        """The options about the place and format of data, as given, for the record."""
        values = {name: getattr(self, name) for name, o in self.declared().items() if o.given}
        return {
            name: as_given(str(value))
            for name, value in values.items()
            if value != self.default(name)
        }

    def beside(self, others: Sequence[str]) -> Request:
        """The same request with further methods before the requested ones."""
        first = [name for name in others if name not in self.method]
        return self.changed(method=(*first, *self.method))


def as_given(name: str) -> str:
    """A dataset as it was requested, without the path of the user's home."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - a user may have none
    if Path(name).is_absolute() and Path(name).is_relative_to(home) and home.name:
        return f"~/{Path(name).relative_to(home).as_posix()}"
    return name
