"""Features in memory: the content of a feature bundle, as arrays or tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.options import FILE_PATH, SCALE, TEXT, shown
from susx_bench.options.given import checked, several
from susx_bench.records.files import canonical_json, write_atomic

_FACTS = ("dataset", "encoder", "logit_scale", "classnames", "support_from")


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features that somebody has, in place of a dataset and an encoder.

    Each is an array or a tensor of any kind of float, or of integers for labels; a list of numbers
    is one too. Rows have length 1 and are used as they are. They are checked like a feature bundle
    when they are used, and have the same hash as a bundle with the same numbers.

    Attributes:
        text: One row per class, ``(K, D)``; None for an encoder that reads no text.
        test: ``(N, D)``.
        test_labels: ``(N,)``; None if they are unknown: the images are predicted, not scored.
        support: ``(M, D)``, for methods that look at labelled images.
        support_labels: ``(M,)``.
        val: ``(V, D)``, to choose hyper-parameters on.
        val_labels: ``(V,)``.
        text_prompts: Features of each class's single prompts, ``(K, T, D)``.
        support_views: Features of views of each support image, ``(M, A, D)``.
        spatial: Features of the patches of each test image, ``(N, P, D)``.
        val_spatial: Likewise, ``(V, P, D)``.
        text_norms: Lengths of the rows before they were L2-normalised, ``(K,)``. Give them for all
            of text, support, val and test, or for none.
        support_norms: Likewise, ``(M,)``.
        val_norms: Likewise, ``(V,)``.
        test_norms: Likewise, ``(N,)``.
        classnames: K names; None for numbers.
        dataset: Name of the data in tables and records.
        encoder: Name of the encoder in them.
        logit_scale: The encoder's factor on cosines.
        support_from: Source of the support images: ``few-shot`` for labelled ones, or the recipe
            that made them from class names, such as ``sus-sd-photo``. If it is None, tables mark
            name-only numbers that use them.
    """

    test: Any
    text: Any = None
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
    support_from: str | None = None

    def __post_init__(self) -> None:
        for name in ("dataset", "encoder", "support_from"):
            if name != "support_from" or self.support_from is not None:
                checked(f"Features: {name}", TEXT, getattr(self, name), BundleError)
        checked("Features: logit_scale", SCALE, self.logit_scale, BundleError)
        if (names := self.classnames) is not None:
            listed = isinstance(names, Iterable) and not isinstance(names, str | bytes)
            if not listed or not all(isinstance(name, str | int) for name in several(names)):
                raise BundleError(f"Features: classnames: {shown(names)} is no list of names.")

    def tensors(self) -> dict[str, Tensor]:
        """The arrays that are not None, by name, as tensors on the CPU.

        Raises:
            BundleError: If one of them is no array of numbers.
        """
        names = [field.name for field in fields(self) if field.name not in _FACTS]
        values = {name: getattr(self, name) for name in names}
        return {name: _tensor(name, rows) for name, rows in values.items() if rows is not None}

    def facts(self) -> dict[str, Any]:
        """Metadata of a bundle: dataset, encoder, logit scale; class names and source if given."""
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.classnames is not None:
            facts["classnames"] = list(self.classnames)
        return {name: value for name, value in facts.items() if value is not None}

    def save(self, path: str | Path) -> Path:
        """Write them as a feature bundle, which ``--features`` takes.

        Returns:
            The file.

        Raises:
            BundleError: If one of them is no array of numbers.
            OptionError: If the path is not valid.
            OutputError: If the file cannot be written.
        """
        file: Path = checked("path", FILE_PATH, path)
        # Copies: two names may hold one tensor, for example if val is the test set.
        tensors = {name: rows.contiguous().clone() for name, rows in self.tensors().items()}
        write_atomic(file, save(tensors, metadata={"bundle": canonical_json(self.facts())}))
        return file

    def __str__(self) -> str:
        return "Features"

    def __repr__(self) -> str:
        try:
            shapes = [f"{name} {tuple(rows.shape)}" for name, rows in self.tensors().items()]
        except BundleError as error:
            shapes = [f"<{error}>"]
        return f"Features({', '.join(shapes)}, dataset={self.dataset!r})"


def _tensor(name: str, rows: Any) -> Tensor:
    """An array or tensor as a plain tensor on the CPU."""
    if isinstance(rows, Tensor):
        if rows.is_nested or rows.is_quantized or rows.layout != torch.strided or rows.is_meta:
            kind = "nested" if rows.is_nested else f"{rows.device} {rows.layout} {rows.dtype}"
            raise BundleError(
                f"Features: '{name}' is a {kind} tensor, and a dense one with its numbers is "
                "wanted."
            )
        return rows.detach().cpu()
    if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
        raise BundleError(f"Features: '{name}' has masked numbers. Leave such rows out.")
    try:
        return torch.from_numpy(
            np.array(rows)
        )  # a copy, so that later changes to the array have no effect
    except Exception as error:  # an object may raise anything when it is converted
        reason = " ".join(f"{error}".split()).rstrip(".")
        raise BundleError(f"Features: '{name}' is no array of numbers: {reason}.") from error


def named(features: Path | Features) -> str:
    """The default name of a dataset of features: of a bundle its file name."""
    return features.stem if isinstance(features, Path) else features.dataset
