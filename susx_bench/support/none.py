"""No support set, for methods that use text only."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample


class NoSupport(Images):
    """An empty support set.

    Args:
        classnames: The dataset's.
    """

    def __init__(self, classnames: Sequence[str]) -> None:
        self.name = "none"
        self.classnames = tuple(classnames)

    @property
    def samples(self) -> Sequence[Sample]:
        return ()

    def image(self, sample: Sample) -> Image.Image:
        raise LookupError(f"there is no {sample.key}")
