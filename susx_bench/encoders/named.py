"""Encoders by name: registered ones, and all that open_clip loads."""

from __future__ import annotations

from typing import Any

from susx_bench.encoders.base import Encoder
from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import OptionError, PluginError
from susx_bench.registry import ENCODERS, FAMILIES


def encoder_name(asked: str | None, own: str | None, whose: str) -> str:
    """The encoder that is meant for a dataset.

    Args:
        asked: The one that was asked for.
        own: The one that the dataset comes with.
        whose: The option that names the dataset, for the message.

    Raises:
        OptionError: If there is neither.
    """
    if name := asked or own:
        return name
    raise OptionError(
        f"{whose}: give --encoder, as in --encoder ViT-B-32:openai; `susx-bench list "
        "encoders` has them all. The embedded one, demo, has seen nothing but drawn digits."
    )


def open_encoder(name: str, precision: str = "fp32") -> Encoder:
    """The encoder of a name: a registered one, or one of `susx_bench.encoders.openclip`.

    Raises:
        UnknownNameError: If there is no such name or precision.
        PluginError: If several packages registered the name, or it cannot be loaded.
        EncoderError: If it is not complete, or its parts do not fit together.
    """
    if name in ENCODERS.names():
        return ENCODERS.get(name)(precision)
    family, colon, place = name.partition(":")
    if colon and family in FAMILIES.names():
        make: Any = FAMILIES.get(family)  # made with a place, too
        encoder: Encoder = make(place, precision)
        if encoder.name != name:
            raise PluginError(
                f"encoder family '{family}' of {FAMILIES.origins(family)[0]} calls {name} "
                f"'{encoder.name}': its name must be what --encoder says."
            )
        return encoder
    return OpenClip(name, precision)


def encoder_package(name: str) -> dict[str, str]:
    """The plugin's package behind an encoder, with its version; empty for one of ours."""
    return ENCODERS.package(name) or FAMILIES.package(name.partition(":")[0])
