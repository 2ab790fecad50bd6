"""Our own families of encoders, ``FAMILY:PLACE``, besides what open_clip loads."""

from __future__ import annotations

from typing import Final

FAMILIES: Final[dict[str, str]] = {
    "transformers": "susx_bench.encoders.transformers:TransformersEncoder",
    "timm": "susx_bench.encoders.timm:TimmEncoder",
}
"""By the part of the name before the colon. They are imported when they are asked for."""
