"""Names of the tunings, importable without torch, which takes seconds to import."""

from __future__ import annotations

from typing import Literal

Tune = Literal["fixed", "published", "support", "few-val", "val", "test"]

TUNES: dict[Tune, str] = {
    "fixed": "one documented setting of the method for everything",
    "published": "the constants a paper gives for this dataset",
    "support": "cross-validation on the support set alone",
    "few-val": "the published grid on min(S, 4) images per class of the val split",
    "val": "the published grid on the whole val split",
    "test": "the published grid on the test split: an upper bound, marked with a dagger",
}
