"""How a test set is cut into batches, as text: light to import, as suites are read everywhere."""

from __future__ import annotations

import re
from typing import NamedTuple

from susx_bench.errors import OptionError

ALL = "all"
"""What stands for the whole test set, among batches."""


class Batches(NamedTuple):
    """How a test set is cut into batches, written ``SIZE:CLASSES``.

    Attributes:
        size: Most images a batch.
        classes: Most classes they are from.
    """

    size: int
    classes: int

    @classmethod
    def read(cls, text: str) -> Batches:
        """Read ``64:4``.

        Raises:
            OptionError: If it is not two numbers, each at least 1.
        """
        found = re.fullmatch(r"0*([1-9]\d{0,8}):0*([1-9]\d{0,8})", text)
        if not found:
            raise OptionError(
                f"batches '{text}': not SIZE:CLASSES as in 64:4, up to 64 images of up to 4 "
                f"classes, nor '{ALL}', the whole test set."
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.size}:{self.classes}"
