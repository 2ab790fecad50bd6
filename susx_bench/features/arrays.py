"""Features in memory: what a feature bundle holds, as arrays or tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.records.files import canonical_json, write_atomic

_FACTS = ("dataset", "encoder", "logit_scale", "classnames")


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features that somebody has, in place of a dataset and an encoder.

    Each is an array or a tensor of any kind of float, or of integers for labels; a list of numbers
    is one too. Rows have length 1 and are used as they are. What does not fit is refused when the
    features are used, as of a feature bundle, which holds the same: their numbers are found under
    the same hash.

    Attributes:
        text: One a class, ``(K, D)``.
        test: ``(N, D)``.
        test_labels: ``(N,)``; None where nobody knows them: the images are predicted, not scored.
        support: ``(M, D)``, for methods that look at labelled images.
        support_labels: ``(M,)``.
        val: ``(V, D)``, to choose hyper-parameters on.
        val_labels: ``(V,)``.
        text_prompts: Those of each class's single prompts, ``(K, T, D)``.
        support_views: Those of views of each support image, ``(M, A, D)``.
        spatial: Those of the patches of each test image, ``(N, P, D)``.
        val_spatial: Likewise, ``(V, P, D)``.
        text_norms: How long the rows were before they were L2-normalised, ``(K,)``. They are given
            for all of text, support, val and test, or for none.
        support_norms: Likewise, ``(M,)``.
        val_norms: Likewise, ``(V,)``.
        test_norms: Likewise, ``(N,)``.
        classnames: K names; None for numbers.
        dataset: What the data is called in tables and records.
        encoder: What the encoder is called there.
        logit_scale: The encoder's factor on cosines.
    """

    text: Any
    test: Any
    test_labels: Any = None
    support: Any = None
    support_labels: Any = None
    val: Any = None
    val_labels: Any = None
    text_prompts: Any = None
    support_views: Any = None
    spatial: Any = None
    val_spatial: Any = None
    text_norms: Any = None
    support_norms: Any = None
    val_norms: Any = None
    test_norms: Any = None
    classnames: Sequence[str] | None = None
    dataset: str = "features"
    encoder: str = "unknown"
    logit_scale: float = 100.0

    def tensors(self) -> dict[str, Tensor]:
        """What is given, by name, on the CPU.

        Raises:
            BundleError: If something is no array of numbers.
        """
        names = [field.name for field in fields(self) if field.name not in _FACTS]
        given = {name: getattr(self, name) for name in names}
        return {name: _tensor(name, rows) for name, rows in given.items() if rows is not None}

    def facts(self) -> dict[str, Any]:
        """What they say of themselves: dataset, encoder, logit scale and class names."""
        names = None if self.classnames is None else list(self.classnames)
        facts = {"dataset": self.dataset, "encoder": self.encoder, "logit_scale": self.logit_scale}
        return facts if names is None else facts | {"classnames": names}

    def save(self, path: str | Path) -> Path:
        """Write them as a feature bundle, which ``--features`` takes.

        Returns:
            The file.

        Raises:
            BundleError: If something is no array of numbers.
            OutputError: If the file cannot be written.
        """
        file = Path(path).expanduser()
        # Copies: two of them may be one tensor, as where val is the test set.
        tensors = {name: rows.contiguous().clone() for name, rows in self.tensors().items()}
        write_atomic(file, save(tensors, metadata={"bundle": canonical_json(self.facts())}))
        return file

    def __str__(self) -> str:
        return "Features"

    def __repr__(self) -> str:
        shapes = (f"{name} {tuple(rows.shape)}" for name, rows in self.tensors().items())
        return f"Features({', '.join(shapes)}, dataset={self.dataset!r})"


def _tensor(name: str, rows: Any) -> Tensor:
    if isinstance(rows, Tensor):
        return rows.detach().cpu()
    try:
        return torch.from_numpy(np.array(rows))  # a copy: nobody changes it later
    except (TypeError, ValueError) as error:
        raise BundleError(f"Features: '{name}' is no array of numbers: {error}.") from error


def named(features: Path | Features) -> str:
    """What features are called, where they do not say it: a bundle by its file."""
    return features.stem if isinstance(features, Path) else features.dataset
