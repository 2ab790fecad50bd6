"""Features kept on disk under the hash of everything that made them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import platformdirs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from susx_bench.records.files import canonical_json, sha256_arrays, sha256_json, write_atomic

CACHE_VARIABLE = "SUSX_BENCH_CACHE"
_META = "features"


def cache_folder() -> Path:
    """``SUSX_BENCH_CACHE``, or the user's own cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("susx-bench")


class FeatureStore:
    """One file an encoded list of images or prompts.

    Args:
        folder: Where the files lie; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, recipe: dict[str, Any]) -> Path:
        """The file for what `recipe` describes."""
        return self.folder / "features" / f"{sha256_json(recipe)}.safetensors"

    def get(self, recipe: dict[str, Any]) -> Tensor | None:
        """Read features back, or None where there are none that can be believed.

        A truncated, changed or foreign file counts as none: it is made again.
        """
        path = self.path(recipe)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                meta = json.loads(file.metadata()[_META])
                features: Tensor = file.get_tensor("features")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None
        if meta != {"recipe": recipe, "sha256": sha256_arrays({"features": features.numpy()})}:
            return None
        return features

    def put(self, recipe: dict[str, Any], features: Tensor) -> None:
        """Write features, whole or not at all."""
        features = features.contiguous()
        meta = {"recipe": recipe, "sha256": sha256_arrays({"features": features.numpy()})}
        content = save({"features": features}, metadata={_META: canonical_json(meta)})
        write_atomic(self.path(recipe), content)
