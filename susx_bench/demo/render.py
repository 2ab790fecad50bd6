"""Draw digits from pen strokes: the demo's only training images and its rendered support set.

A glyph is a few curves; a sample bends, slants, scales and thickens them, fills a 32 x 32 bitmap
and counts the ink in 4 x 4 blocks, as the scanner behind the UCI handwritten digits did
(Kaynak, 1995). No handwritten digit is looked at anywhere in this file. NumPy alone, so that the
same seed draws the same images wherever NumPy's generator does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from susx_bench.data.facts.digits import SPEC

CLASSNAMES = SPEC.classnames

Floats = NDArray[np.float64]

_CANVAS = 32  # pixels a side before the ink is counted
_CELL = 4  # pixels a side of one counted block
_POINTS = 160  # samples along the strokes of one glyph


@dataclass(frozen=True)
class Sketch:
    """A drawn digit and the words that describe it.

    Attributes:
        image: Ink, ``(8, 8)`` uint8, 0 (paper) to 255 (full).
        label: 0-9, the place in `CLASSNAMES`.
        stroke: ``"thin"``, ``"bold"`` or empty for the widths between.
        slant: ``"slanted"``, ``"leaning"`` (to the left) or empty for upright.
    """

    image: NDArray[np.uint8]
    label: int
    stroke: str
    slant: str


def _line(*points: tuple[float, float]) -> Floats:
    """Sample straight segments through `points`, ``(n, 2)``, in a unit box with y downwards."""
    parts = [np.linspace(a, b, 24, endpoint=False) for a, b in itertools.pairwise(points)]
    return np.concatenate([*parts, np.asarray(points[-1:], dtype=np.float64)])


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> Floats:
    """Sample an elliptic arc, ``(n, 2)``; degrees run clockwise on the page, 0 is to the right."""
    t = np.radians(np.linspace(start, stop, 48))
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=-1)


# Each digit in the ways people commonly write it: a list of strokes a variant.
_GLYPHS: dict[int, list[list[Floats]]] = {
    0: [[_arc(0.5, 0.5, 0.30, 0.45, -90, 270)]],
    1: [
        [_line((0.5, 0.05), (0.5, 0.95))],
        [_line((0.28, 0.28), (0.52, 0.05), (0.52, 0.95))],
        [_line((0.28, 0.28), (0.52, 0.05), (0.52, 0.95)), _line((0.25, 0.95), (0.78, 0.95))],
    ],
    2: [
        [
            _arc(0.48, 0.30, 0.28, 0.25, 190, 400),
            _line((0.69, 0.46), (0.2, 0.93), (0.82, 0.93)),
        ],
    ],
    3: [
        [_arc(0.45, 0.28, 0.27, 0.23, 200, 450), _arc(0.45, 0.72, 0.30, 0.22, 270, 510)],
    ],
    4: [
        [_line((0.3, 0.05), (0.2, 0.55), (0.82, 0.55)), _line((0.64, 0.25), (0.62, 0.95))],
        [_line((0.6, 0.05), (0.16, 0.62), (0.86, 0.62)), _line((0.6, 0.05), (0.6, 0.95))],
    ],
    5: [
        [
            _line((0.76, 0.06), (0.3, 0.06), (0.27, 0.45)),
            _arc(0.47, 0.67, 0.29, 0.27, 230, 510),
        ],
    ],
    6: [
        [_arc(0.78, 0.62, 0.54, 0.57, 262, 180), _arc(0.50, 0.70, 0.26, 0.24, 180, 540)],
    ],
    7: [
        [_line((0.2, 0.08), (0.8, 0.08), (0.4, 0.95))],
        [_line((0.2, 0.08), (0.8, 0.08), (0.4, 0.95)), _line((0.3, 0.52), (0.74, 0.52))],
    ],
    8: [[_arc(0.5, 0.27, 0.22, 0.22, -90, 270), _arc(0.5, 0.72, 0.27, 0.23, -90, 270)]],
    9: [
        [_arc(0.48, 0.30, 0.25, 0.25, 0, 360), _line((0.73, 0.28), (0.66, 0.95))],
        [_arc(0.48, 0.30, 0.25, 0.25, 0, 360), _arc(0.30, 0.42, 0.43, 0.52, -15, 85)],
    ],
}


@cache
def _glyph(label: int, variant: int) -> Floats:
    """Points along one variant of a digit, ``(_POINTS, 2)``, evenly thinned to a fixed count."""
    points = np.concatenate(_GLYPHS[label][variant])
    kept: Floats = points[np.linspace(0, len(points) - 1, _POINTS).round().astype(int)]
    return kept


def _bend(points: Floats, rng: np.random.Generator, strength: float) -> Floats:
    """Move points by a smooth random field (two low sine waves an axis)."""
    amplitude = rng.normal(0.0, strength, (2, 2, 1))
    frequency = rng.uniform(0.5, 1.5, (2, 2, 1))
    phase = rng.uniform(0, 2 * np.pi, (2, 2, 1))
    across = points.T[::-1, None]  # x moves with y, and y with x
    waves = amplitude * np.sin(2 * np.pi * frequency * across + phase)  # (axis, wave, point)
    moved: Floats = points + waves.sum(1).T
    return moved


def draw(label: int, rng: np.random.Generator) -> Sketch:
    """Draw one digit.

    Args:
        label: 0-9.
        rng: Source of every random choice; its state advances.

    Returns:
        The drawing and its descriptive words.
    """
    points = _glyph(label, int(rng.integers(len(_GLYPHS[label])))) - 0.5
    points = _bend(points, rng, strength=0.035)
    slant = rng.normal(0.12, 0.22)
    turn = rng.normal(0.0, 0.10)
    width = rng.uniform(0.65, 1.1)
    shear = np.array([[width, -slant], [0.0, 1.0]])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = points @ (rotation @ shear).T

    # The scanner cut every digit to its bounding box: fill the height, keep the sides in the frame.
    low, high = points.min(0), points.max(0)
    thickness = rng.uniform(2.2, 5.2)  # pen diameter in pixels of the canvas
    room = _CANVAS - thickness - 1
    scale = min(room / (high[1] - low[1]), room / max(high[0] - low[0], 1e-6)) * rng.uniform(
        0.92, 1
    )
    points = (points - (low + high) / 2) * scale + _CANVAS / 2 + rng.normal(0, 0.5, 2)

    centre = np.arange(_CANVAS) + 0.5
    dx = (centre[None, :] - points[:, :1]) ** 2  # (P, 32)
    dy = (centre[None, :] - points[:, 1:]) ** 2  # (P, 32)
    distance = (dy[:, :, None] + dx[:, None, :]).min(0)
    ink = distance <= (thickness / 2) ** 2
    blocks = _CANVAS // _CELL
    count = ink.reshape(blocks, _CELL, blocks, _CELL).sum((1, 3))
    return Sketch(
        image=(count * (255 / _CELL**2)).round().astype(np.uint8),
        label=label,
        stroke="thin" if thickness < 3.2 else "bold" if thickness > 4.2 else "",
        slant="slanted" if slant > 0.3 else "leaning" if slant < -0.06 else "",
    )
