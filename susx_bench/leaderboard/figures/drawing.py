"""The style of pictures: colours, markers, headings and panels.

Colours are Okabe and Ito's, which colour-blind readers can distinguish. Markers and line styles
repeat the distinction for print without colour.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from susx_bench.console import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, *Color universal design*, 2008, without the yellow, which white paper swallows."""

MARKERS: Final = "osD^vPX*"

LINES: Final = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))

GREY: Final = "#595959"

UP, DOWN = COLOURS[0], COLOURS[1]

DPI: Final = 144
"""Of the PNG."""


class Look(NamedTuple):
    """Colour and marker for the method, line style for its tuning, hollow if not ranked."""

    colour: str
    marker: str
    line: Any
    hollow: bool


def shortened(name: str, width: int) -> str:
    """Make a name one line of characters that every format allows, and cut out its middle."""
    clean = printable(name)
    tail = width // 3
    return clean if len(clean) <= width else f"{clean[: width - 1 - tail]}…{clean[-tail:]}"


@contextmanager
def drawing_style() -> Iterator[None]:
    """Use Matplotlib's defaults and ours, and ignore the user's matplotlibrc."""
    import matplotlib

    ours: dict[str, Any] = {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.formatter.use_mathtext": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#444444",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.handlelength": 2.8,
        "figure.titlesize": 11,
        "figure.titleweight": "bold",
        "figure.constrained_layout.hspace": 0.06,
        "svg.fonttype": "path",  # looks alike wherever it is opened
        "svg.hashsalt": "susx-bench",
        "text.parse_math": False,  # a dollar in a name is a dollar
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast(Any, ours))
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def draw_heading(figure: Figure, text: str, **place: float) -> None:
    """Write a heading, folded if it is wider than its figure."""
    width = int(8 * figure.get_figwidth())
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, width)]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", **place)


def draw_panels(figure: Figure, count: int, across: int, **margins: float) -> list[Axes]:
    """Make a grid of axes, `across` in a row, without unused ones."""
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False, gridspec_kw=margins)
    axes = grid.ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return list(axes[:count])


def marker_style(look: Look, size: float = 5) -> dict[str, Any]:
    """A look as keyword arguments of matplotlib."""
    return {
        "color": look.colour,
        "marker": look.marker or "None",
        "markersize": size,
        "markerfacecolor": "white" if look.hollow else look.colour,
        "markeredgecolor": look.colour,
    }


def draw_legend(
    figure: Figure, handles: Mapping[str, Any], order: Iterable[str], columns: int, **more: Any
) -> None:
    """Write a legend below the panels, in the order of `order`."""
    names = [name for name in order if name in handles]
    figure.legend(
        [handles[n] for n in names], names, loc="outside lower left", ncols=columns, **more
    )
