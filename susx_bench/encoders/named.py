"""Encoders by name: registered ones, and all that open_clip loads."""

from __future__ import annotations

from susx_bench.encoders.base import Encoder
from susx_bench.encoders.openclip import OpenClip
from susx_bench.registry import ENCODERS


def open_encoder(name: str, precision: str = "fp32") -> Encoder:
    """The encoder of a name: a registered one, or one of `susx_bench.encoders.openclip`.

    Raises:
        UnknownNameError: If there is no such name or precision.
        PluginError: If several packages registered the name, or it cannot be loaded.
        EncoderError: If it is not complete, or its parts do not fit together.
    """
    if name in ENCODERS.names():
        return ENCODERS.get(name)(precision)
    return OpenClip(name, precision)
