"""Features in memory: what a feature bundle holds, as arrays or tensors."""

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
    is one too. Rows have length 1 and are used as they are. What does not fit is refused when the
    features are used, as of a feature bundle, which holds the same: their numbers are found under
    the same hash.

    Attributes:
        text: One a class, ``(K, D)``; None for an encoder that reads no text.
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
        support_from: What the support images are: ``few-shot`` for labelled ones, or what made
            them from names, such as ``sus-sd-photo``. None where nobody says it: name-only numbers
            with them are marked.
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
        """What is given, by name, on the CPU.

        Raises:
            BundleError: If something is no array of numbers.
        """
        names = [field.name for field in fields(self) if field.name not in _FACTS]
        given = {name: getattr(self, name) for name in names}
        return {name: _tensor(name, rows) for name, rows in given.items() if rows is not None}

    def facts(self) -> dict[str, Any]:
        """What they say of themselves: dataset, encoder, logit scale, and what else is given."""
        facts = {name: getattr(self, name) for name in _FACTS}
        if self.classnames is not None:
            facts["classnames"] = list(self.classnames)
        return {name: value for name, value in facts.items() if value is not None}

    def save(self, path: str | Path) -> Path:
        """Write them as a feature bundle, which ``--features`` takes.

        Returns:
            The file.

        Raises:
            BundleError: If something is no array of numbers.
            OptionError: If there can be no such path.
            OutputError: If the file cannot be written.
        """
        file: Path = checked("path", FILE_PATH, path)
        # Copies: two of them may be one tensor, as where val is the test set.
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
        return torch.from_numpy(np.array(rows))  # a copy: nobody changes it later
    except Exception as error:  # whatever an object raises that is asked for its numbers
        told = " ".join(f"{error}".split()).rstrip(".")
        raise BundleError(f"Features: '{name}' is no array of numbers: {told}.") from error


def named(features: Path | Features) -> str:
    """What features are called, where they do not say it: a bundle by its file."""
    return features.stem if isinstance(features, Path) else features.dataset
