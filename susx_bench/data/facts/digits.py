"""The embedded demo dataset: real handwritten digits that ship with scikit-learn.

UCI optical recognition of handwritten digits, 1797 images of 8 x 8 pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from susx_bench.data.sources.base import Sample, Source
from susx_bench.data.spec import DatasetSpec, Split, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

# Row number modulo 7 chooses the split. 7 shares no factor with 10, the period in which the digits
# were written down, so every split has every class about equally often.
_SPLIT_OF_REMAINDER: dict[Split, tuple[int, ...]] = {
    "train": (0, 1, 2),
    "val": (3,),
    "test": (4, 5, 6),
}
_SIDE = 8  # pixels


class Digits(Source):
    """The table of pixels in scikit-learn.

    Args:
        spec: The facts below, or those of a dataset made from the same images.
        where: Not used: the images are in a package.
    """

    def __init__(self, spec: DatasetSpec, where: Where) -> None:
        self.where = "the package"
        self.protocol = spec.protocol
        self.sizes = spec.sizes
        self.classnames = spec.classnames
        self.remarks = []

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        import numpy as np

        # As sklearn.datasets.load_digits reads it, which takes longer to import than all the rest.
        package = importlib.util.find_spec("sklearn")
        assert package is not None
        assert package.origin is not None
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        table = np.loadtxt(path, delimiter=",")
        return table[:, :-1].reshape(-1, _SIDE, _SIDE), table[:, -1].astype(np.int64)

    def splits(self) -> tuple[Split, ...]:
        return tuple(_SPLIT_OF_REMAINDER)

    def index(self, split: Split) -> list[Sample]:
        labels = self._table[1]
        return [
            Sample(f"{row:04d}", int(label))
            for row, label in enumerate(labels)
            if row % 7 in _SPLIT_OF_REMAINDER[split]
        ]

    def read(self, sample: Sample) -> bytes:
        """The pixels of an image, RGB, row by row."""
        ink = self._table[0][int(sample.key)]  # 0 to 16
        grey = (ink * (255 / 16)).round().astype("uint8")
        return bytes(grey.repeat(3))

    def decode(self, content: bytes) -> Image.Image:
        from PIL import Image

        return Image.frombytes("RGB", (_SIDE, _SIDE), content)

    def state(self, samples: Sequence[Sample]) -> Any:
        return None


SPEC = DatasetSpec(
    name="digits",
    title="Handwritten digits (the demo)",
    classnames=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    sizes={"train": 771, "val": 257, "test": 769},
    template="a photo of the number {}.",
    licence="CC BY 4.0",
    protocol="susx-bench",
    photo="a photo of the number {}.",
    bibtex_key="alpaydin1998optical",
    citation="""@misc{alpaydin1998optical,
  title = {Optical Recognition of Handwritten Digits},
  author = {Alpaydin, Ethem and Kaynak, Cenk},
  howpublished = {UCI Machine Learning Repository},
  year = {1998},
  doi = {10.24432/C50P49}
}""",
    views=1,  # cut or mirrored, a digit may be another one
    support="sus-sd",
    encoder="demo",
    source=Digits,
)
