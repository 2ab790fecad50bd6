"""A support set drawn from the demo's class names by the generator its encoder learned from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from susx_bench.data.base import ImageDataModule
from susx_bench.data.sources.base import Sample
from susx_bench.demo.render import CLASSNAMES, draw
from susx_bench.errors import OptionError


class RenderedSupport(ImageDataModule):
    """Drawn digits, a stand-in for generated images that needs no weights.

    Args:
        classnames: Must be the ten words ``zero`` to ``nine``: nothing else can be drawn.
        per_class: Images a class.
        seed: Which drawings; every image has a generator of its own, seeded by its place.

    Raises:
        OptionError: If the class names are others.
    """

    def __init__(self, classnames: Sequence[str], per_class: int = 16, seed: int = 0) -> None:
        super().__init__()
        if tuple(classnames) != CLASSNAMES:
            raise OptionError(
                "--support rendered draws the digits zero to nine; this dataset has the classes "
                f"{', '.join(classnames[:3])} ..."
            )
        self.source = "rendered"
        self.classnames = CLASSNAMES
        self.per_class = per_class
        self.seed = seed

    @cached_property
    def samples(self) -> Sequence[Sample]:
        return [
            Sample(f"rendered/{self.seed}/{label}/{i}", label)
            for label in range(len(CLASSNAMES))
            for i in range(self.per_class)
        ]

    def image(self, sample: Sample) -> Image.Image:
        seed = [int(part) for part in sample.key.split("/")[1:]]
        sketch = draw(sample.label, np.random.default_rng(seed))
        return Image.fromarray(sketch.image).convert("RGB")
