"""A picture of a leaderboard, SVG and PNG: the same records give the same bytes on one machine.

Another version of matplotlib may move a pixel. Every file therefore names the hash of its data, see
`Picture.digest`, and a check compares this hash and not the bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from susx_bench.leaderboard.figures.drawing import DPI, drawing_style
from susx_bench.records.files import sha256_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWING: Final = 5
"""Part of every digest: raise it when pictures of the same data are drawn differently."""


@dataclass(frozen=True)
class Picture:
    """A picture not yet drawn.

    Attributes:
        name: File name without its ending.
        title: Heading, a few words.
        text: Description of the picture, and how to read it.
        width: Inches.
        height: Inches.
        data: The drawn data, as plain JSON values.
    """

    name: str
    title: str
    text: str
    width: float
    height: float
    data: Any
    _draw: Callable[[Figure, Any], None]

    @property
    def digest(self) -> str:
        """Hash of the drawn data; every file carries it."""
        shape = [round(self.width, 3), round(self.height, 3)]
        return sha256_json([DRAWING, self.name, self.title, shape, _rounded(self.data)])

    def files(self) -> dict[str, bytes]:
        """Draw the picture: ``NAME.svg`` and ``NAME.png`` with their bytes."""
        with drawing_style():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.backends.backend_svg import FigureCanvasSVG
            from matplotlib.figure import Figure

            figure = Figure((self.width, self.height), DPI, layout="constrained")
            agg: Any = FigureCanvasAgg(figure)
            self._draw(figure, self.data)
            if (engine := figure.get_layout_engine()) is not None:
                engine.execute(figure)
            figure.set_layout_engine("none")  # laid out once for both formats
            svg, png = io.BytesIO(), io.BytesIO()
            metadata = {"Description": f"drawn from {self.digest}"}
            # No dates and no versions, which would change without the picture. `savefig` would draw
            # everything again for the layout.
            agg.print_png(png, metadata=metadata | {"Software": None})
            vectors: Any = FigureCanvasSVG(figure)
            vectors.print_svg(svg, metadata=metadata | {"Creator": None, "Date": None})
            return {f"{self.name}.svg": svg.getvalue(), f"{self.name}.png": png.getvalue()}


def _rounded(value: Any) -> Any:
    """Round floats: their last digits differ from machine to machine."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def drawn_from(content: bytes) -> str:
    """The `Picture.digest` that a file names; empty if it names none."""
    match = re.search(rb"drawn from ([0-9a-f]{64})", content)
    return match[1].decode() if match else ""
