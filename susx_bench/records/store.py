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
from susx_bench.records.files import canonical_json, sha256_arrays, sha256_json, write_atomic
from susx_bench.records.paths import read_bytes
from susx_bench.records.record import Record
from susx_bench.records.text import safetensors_note

_META = "predictions"
_SEARCH = "search"


@dataclass(frozen=True)
class Predictions:
    """What a method answered for every test image, in the order of the split.

    A file of them takes 6 bytes per image, or 8 where there are more than 32,768 classes.

    Attributes:
        top1: Class of the highest logit, ``(N,)`` int64; in a file int16, or int32.
        margin: Highest minus second highest logit, ``(N,)`` float32, in units of CLIP's logits; in
            a file float16, where what is larger than 65,504 is that.
        confidence: Probability of the answer under the softmax of the logits, ``(N,)`` float32; in
            a file float16. None for a method whose scores are no logits.
    """

    top1: NDArray[np.int64]
    margin: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None

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


@dataclass(frozen=True)
class Searched:
    """The accuracy of every setting of a search.

    Attributes:
        accuracies: Percent, one axis per hyper-parameter, float32.
        axes: The values along each axis, by hyper-parameter, in the order of the array.
    """

    accuracies: NDArray[np.float32]
    axes: Mapping[str, Sequence[float]]

    def sha256(self, record: str) -> str:
        """Hash over all of it and the record's name."""
        axes = [[name, list(values)] for name, values in self.axes.items()]
        return sha256_json([record, axes, sha256_arrays({"accuracies": self.accuracies})])


def write_search(path: Path, search: Searched) -> None:
    """Write a search beside its record, whose path is given."""
    axes = [[name, list(values)] for name, values in search.axes.items()]
    meta = canonical_json({"axes": axes, "sha256": search.sha256(path.name)})
    content = save({"accuracies": search.accuracies}, metadata={_SEARCH: meta})
    write_atomic(search_path(path), content)


def read_search(path: Path) -> Searched:
    """Read the search beside a record, whose path is given.

    Raises:
        RecordError: If it is missing, cut off or changed, or is another record's.
    """
    beside = search_path(path)
    try:
        content = read_bytes(beside)
        meta = safetensors_note(content, _SEARCH)
        axes = {str(name): [float(value) for value in values] for name, values in meta["axes"]}
        search = Searched(load(content)["accuracies"], axes)
        whole = meta["sha256"] == search.sha256(path.name)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"{beside} cannot be read: {error}.") from error
    if not whole:
        raise RecordError(
            f"{beside} does not hold the search of {path.name}: it was changed, or is another "
            "record's."
        )
    return search


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
    top1, confidence = predictions.top1, predictions.confidence
    small = np.int16 if top1.max(initial=0) <= np.iinfo(np.int16).max else np.int32
    largest = np.finfo(np.float16).max
    arrays: dict[str, NDArray[Any]] = {
        "top1": top1.astype(small),
        "margin": predictions.margin.clip(max=largest).astype(np.float16),
    }
    if confidence is not None:
        arrays["confidence"] = confidence.astype(np.float16)
    meta = canonical_json({"record": path.name, "sha256": _seal(path, arrays)})
    write_atomic(predictions_path(path), save(arrays, metadata={_META: meta}))


def _seal(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash over all that a file of predictions holds, and the name of its record."""
    return sha256_json([path.name, sha256_arrays(arrays)])


def read_predictions(path: Path) -> Predictions:
    """Read the predictions beside a record.

    Raises:
        RecordError: If they are missing, cut off or changed, or are another record's.
    """
    beside = predictions_path(path)
    try:
        content = read_bytes(beside)
        arrays, meta = load(content), safetensors_note(content, _META)
        top1, margin, confidence = arrays["top1"], arrays["margin"], arrays.get("confidence")
        whole = meta == {"record": path.name, "sha256": _seal(path, arrays)}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"{beside} cannot be read: {error}.") from error
    if not whole:
        raise RecordError(
            f"{beside} does not hold the predictions of {path.name}: it was changed, or is another "
            "record's."
        )
    halves = [margin] if confidence is None else [margin, confidence]
    if top1.dtype not in (np.int16, np.int32) or any(
        half.dtype != np.float16 or half.shape != top1.shape for half in halves
    ):
        raise RecordError(f"{beside} does not hold a class and a margin for every image.")
    return Predictions(top1.astype(np.int64), *(half.astype(np.float32) for half in halves))


def read(path: Path) -> Record:
    """Read a record and check the predictions beside it.

    Raises:
        RecordError: If either cannot be believed.
    """
    record = Record.read(path)
    if read_predictions(path).sha256 != record.predictions_sha256:
        raise RecordError(f"{predictions_path(path)} does not hold the predictions of {path.name}.")
    return record
