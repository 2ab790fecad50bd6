"""Records on disk, predictions beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from susx_bench.errors import RecordError
from susx_bench.records.files import canonical_json, sha256_arrays, write_atomic
from susx_bench.records.paths import read_bytes
from susx_bench.records.record import Record

_META = "predictions"


@dataclass(frozen=True)
class Predictions:
    """What a method answered for every test image.

    Attributes:
        top1: Class of the highest logit, ``(N,)`` int64.
        margin: Highest minus second highest logit, ``(N,)`` float32, in units of CLIP's logits.
    """

    top1: NDArray[np.int64]
    margin: NDArray[np.float32]

    @property
    def sha256(self) -> str:
        """Hash over position and class; margins may differ in their last digits elsewhere."""
        position = np.arange(len(self.top1), dtype=np.int64)
        return sha256_arrays({"position": position, "top1": self.top1.astype(np.int64)})


def folder_name(name: str) -> str:
    """A name as a folder or file name: letters, digits, dot, dash and underscore stay."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "unnamed"


def record_path(out: Path, dataset: str, encoder: str, method: str, input_sha256: str) -> Path:
    """Where a cell's record lies: ``OUT/DATASET/ENCODER/METHOD-<input hash>.json``."""
    file = f"{folder_name(method)}-{input_sha256[:12]}.json"
    return out / folder_name(dataset) / folder_name(encoder) / file


def predictions_path(record: Path) -> Path:
    """Where the predictions of a record lie."""
    return record.with_suffix(".safetensors")


def search_path(record: Path) -> Path:
    """Where the accuracy of every searched setting lies, if it was kept."""
    return record.with_suffix(".search.safetensors")


def beside(record: Path) -> list[Path]:
    """All files that may lie beside a record: predictions, search, and its picture."""
    return [predictions_path(record), search_path(record), record.with_suffix(".png")]


def write_search(
    path: Path, accuracies: NDArray[np.float32], axes: Mapping[str, Sequence[float]]
) -> None:
    """Write the accuracy of every setting of a search beside its record.

    Args:
        path: The record.
        accuracies: Percent, one axis a hyper-parameter.
        axes: The values along each axis, by hyper-parameter, in the order of the array.
    """
    meta = canonical_json([[name, list(values)] for name, values in axes.items()])
    content = save({"accuracies": accuracies}, metadata={"axes": meta})
    write_atomic(search_path(path), content)


def write(path: Path, record: Record, predictions: Predictions) -> Record:
    """Write predictions, then the record that vouches for them.

    Returns:
        The record with its checksum.
    """
    sealed = record.sealed()
    write_predictions(path, predictions)
    write_atomic(path, sealed.to_json().encode())
    return sealed


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions beside the place of their record."""
    arrays: dict[str, NDArray[Any]] = {
        "position": np.arange(len(predictions.top1), dtype=np.int64),
        "top1": predictions.top1.astype(np.int64),
        "margin": predictions.margin.astype(np.float32),
    }
    meta = canonical_json({"record": path.name, "sha256": predictions.sha256})
    write_atomic(predictions_path(path), save(arrays, metadata={_META: meta}))


def read_predictions(path: Path) -> Predictions:
    """Read the predictions beside a record.

    Raises:
        RecordError: If they are missing or no whole file.
    """
    beside = predictions_path(path)
    try:
        arrays = load(read_bytes(beside))
        top1, margin = arrays["top1"], arrays["margin"]
    except (OSError, SafetensorError, KeyError) as error:
        raise RecordError(f"{beside} cannot be read: {error}.") from error
    if top1.dtype != np.int64 or margin.dtype != np.float32 or top1.shape != margin.shape:
        raise RecordError(f"{beside} does not hold a class and a margin for every image.")
    return Predictions(top1, margin)


def read(path: Path) -> Record:
    """Read a record and check the predictions beside it.

    Raises:
        RecordError: If either cannot be believed.
    """
    record = Record.read(path)
    if read_predictions(path).sha256 != record.predictions_sha256:
        raise RecordError(f"{predictions_path(path)} does not hold the predictions of {path.name}.")
    return record
