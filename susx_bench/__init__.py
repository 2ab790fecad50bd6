"""susx-bench: training-free adaptation of CLIP, measured under one rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from susx_bench.methods.base import (
        Axis,
        Context,
        Follows,
        Labelled,
        LinearMethod,
        Method,
        Need,
        Regime,
        SearchSpace,
        Setting,
        Terms,
        UnfitError,
    )

__all__ = [
    "Axis",
    "Context",
    "Follows",
    "Labelled",
    "LinearMethod",
    "Method",
    "Need",
    "Regime",
    "SearchSpace",
    "Setting",
    "Terms",
    "UnfitError",
]


def __getattr__(name: str) -> Any:  # torch is imported when a method is, not with the package
    if name in __all__:
        from susx_bench.methods import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
