"""Encoders by name: registered ones, and all that open_clip loads."""

from __future__ import annotations

from typing import Any

from susx_bench.encoders.base import Encoder
from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import OptionError, PluginError
from susx_bench.registry import ENCODERS, FAMILIES


def encoder_name(requested: str | None, of_dataset: str | None, option: str) -> str:
    """The name of the encoder for a dataset.

    Args:
        requested: The encoder that the user gives.
        of_dataset: The encoder that comes with the dataset.
        option: The option that names the dataset, for the message.

    Raises:
        OptionError: If both are None.
    """
    if name := requested or of_dataset:
        return name
    raise OptionError(
        f"{option}: give --encoder, as in --encoder ViT-B-32:openai; `susx-bench list "
        "encoders` has them all. The embedded one, demo, has seen nothing but drawn digits."
    )


def open_encoder(name: str, precision: str = "fp32") -> Encoder:
    """Open an encoder by name: a registered one, or one of `susx_bench.encoders.openclip`.

    Raises:
        UnknownNameError: If there is no such name or precision.
        PluginError: If several packages registered the name, or it cannot be loaded.
        EncoderError: If it is not complete, or its parts do not fit together.
    """
    if name in ENCODERS.names():
        return ENCODERS.get(name)(precision)
    family, colon, place = name.partition(":")
    if colon and family in FAMILIES.names():
        make: Any = FAMILIES.get(family)  # takes a place, too
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
