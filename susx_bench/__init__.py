"""susx-bench: training-free adaptation of CLIP, measured under one rule."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from susx_bench.api import evaluate
    from susx_bench.features.arrays import Features
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
    from susx_bench.photos.classified import Classified
    from susx_bench.photos.classifier import Classifier
    from susx_bench.photos.classify import classify
    from susx_bench.photos.head import export
    from susx_bench.records.frame import load_records
    from susx_bench.results import Results

__all__ = [
    "Axis",
    "Classified",
    "Classifier",
    "Context",
    "Features",
    "Follows",
    "Labelled",
    "LinearMethod",
    "Method",
    "Need",
    "Regime",
    "Results",
    "SearchSpace",
    "Setting",
    "Terms",
    "UnfitError",
    "classify",
    "evaluate",
    "export",
    "load_records",
]

_ELSEWHERE = {
    "Classified": "susx_bench.photos.classified",
    "Features": "susx_bench.features.arrays",
    "Results": "susx_bench.results",
    "evaluate": "susx_bench.api",
    "Classifier": "susx_bench.photos.classifier",
    "classify": "susx_bench.photos.classify",
    "export": "susx_bench.photos.head",
    "load_records": "susx_bench.records.frame",
}
"""Where the names are that `susx_bench.methods.base` does not have."""


def __getattr__(name: str) -> Any:  # torch is imported when a method is, not with the package
    if name in __all__:
        return getattr(import_module(_ELSEWHERE.get(name, "susx_bench.methods.base")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
