"""The option for batches of the test set. It is cheap to import, since every suite needs it."""

from __future__ import annotations

import re
from typing import NamedTuple

from susx_bench.errors import OptionError

ALL = "all"
"""The value for the whole test set in place of batches."""


class Batches(NamedTuple):
    """The size of batches of the test set, written ``SIZE:CLASSES``.

    Attributes:
        size: Most images per batch.
        classes: Most classes per batch.
    """

    size: int
    classes: int

    @classmethod
    def read(cls, text: str) -> Batches:
        """Read ``64:4``.

        Raises:
            OptionError: If it is not two numbers, each at least 1.
        """
        match = re.fullmatch(r"0*([1-9]\d{0,8}):0*([1-9]\d{0,8})", text)
        if not match:
            raise OptionError(
                f"batches '{text}': not SIZE:CLASSES as in 64:4, up to 64 images of up to 4 "
                f"classes, nor '{ALL}', the whole test set."
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.size}:{self.classes}"
