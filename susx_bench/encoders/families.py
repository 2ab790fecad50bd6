"""Our own families of encoders, ``FAMILY:PLACE``, besides what open_clip loads."""

from __future__ import annotations

from susx_bench.encoders.base import Encoder
from susx_bench.encoders.timm import TimmEncoder
from susx_bench.encoders.transformers import TransformersEncoder

FAMILIES: dict[str, type[Encoder]] = {
    family.family: family for family in (TransformersEncoder, TimmEncoder)
}
"""By the part of the name before the colon."""
