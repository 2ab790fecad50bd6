"""Read a feature bundle and check its tensors and metadata."""

from __future__ import annotations

import reprlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.arrays import Features
from susx_bench.methods.checks import UNIT_TOLERANCE
from susx_bench.records.text import parse_json

PAIRS = {"support": "support_labels", "val": "val_labels", "test": "test_labels"}
VIEWS, PROMPTS = "support_views", "text_prompts"
PATCHES = {"test": "spatial", "val": "val_spatial"}
NORMS = {name: f"{name}_norms" for name in ("text", *PAIRS)}

_META = "bundle"
_SAYS = {"dataset", "encoder", "logit_scale", "classnames", "support_from"}
_FORMAT = "format"  # metadata of other programs: the library whose tensors a file holds
_LONGEST = 1000  # characters of a name in a record
_ROUNDED = 2**-8  # how far the length of a unit row may be from 1 once its numbers are bfloat16
_TOGETHER = 256  # images whose patches are checked at once


def read_bundle(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]:
    """Tensors and metadata of a bundle, and the names in the file that a bundle does not use."""
    if not path.is_file():
        problem = "is not a file" if path.exists() else "no such file"
        raise BundleError(f"--features {path}: {problem}.")
    expected = {*PAIRS, *PAIRS.values(), "text", VIEWS, PROMPTS}
    expected |= {*PATCHES.values(), *NORMS.values()}
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            meta = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in names & expected}
    except (SafetensorError, OSError) as error:
        if convert := _how_to_convert(path):
            raise BundleError(f"{path} is {convert}") from error
        raise BundleError(f"{path} is not a whole safetensors file: {error}.") from error
    if "test" not in names:
        raise BundleError(f"{path}: no tensor 'test'. It has: {', '.join(sorted(names))}.")
    metadata = _read_meta(path, meta)
    unread = [f"a tensor {name}" for name in sorted(names - expected)]
    unread += [f"metadata '{name}'" for name in sorted(set(metadata) - _SAYS)]
    return tensors, metadata, tuple(unread)


def _read_meta(path: Path, meta: dict[str, str]) -> dict[str, Any]:
    """Metadata of a bundle; empty if the file has none."""
    if others := sorted(set(meta) - {_META, _FORMAT}):
        raise BundleError(
            f"{path}: the metadata keys {', '.join(others)} say nothing to a bundle, which has "
            f"one, '{_META}', that holds JSON. Put what they say there, or leave them out."
        )
    if _META not in meta:
        return {}
    try:
        values = parse_json(meta[_META])
    except RecursionError as error:
        brackets = sum(meta[_META].count(bracket) for bracket in "[{")
        raise BundleError(
            f"{path}: the metadata '{_META}' is nested too deep: it opens {brackets} brackets, "
            "and an object of names with one list needs 2."
        ) from error
    except ValueError as error:
        raise BundleError(f"{path}: the metadata '{_META}' is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: the metadata '{_META}' is not a JSON object.")
    return values


def _how_to_convert(path: Path) -> str:
    """How to import a file of torch, numpy or Parquet; empty for other files."""
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY" or (start[:2] == b"PK" and path.suffix == ".npz"):
        owner = "numpy's"
    elif start[:2] == b"PK" or start[:1] == b"\x80":
        owner = "torch's"
    elif start[:4] == b"PAR1":
        owner = "Parquet's"
    else:
        return ""
    new = path.with_suffix(".safetensors")
    if new == path:
        new = path.with_name(f"{path.stem}-imported.safetensors")  # never over its source
    quoted = shlex.join(["susx-bench", "features", "import", str(path), "--out", str(new)])
    return (
        f"a file of {owner} and no feature bundle; it is not opened here. Make a bundle of it: "
        f"{quoted}"
    )


def check_pair(
    path: Path | Features, tensors: Mapping[str, Tensor], name: str, labels_name: str
) -> None:
    """Check that features come with labels, except for an unlabelled test set."""
    named = [
        other
        for other in (labels_name, f"{name}_views", f"{name}_norms", PATCHES.get(name, ""))
        if other in tensors
    ]
    if name not in tensors and named:
        raise BundleError(f"{path}: has '{named[0]}' but no '{name}'.")
    if name in tensors and labels_name not in tensors and name != "test":
        raise BundleError(f"{path}: has '{name}' but no '{labels_name}'.")


def unit_rows(path: Path | Features, name: str, rows: Tensor, width: int | None) -> Tensor:
    """Rows of one encoder in float32, ``(rows, width)``: finite and of length 1.

    Those kept in bfloat16 were of length 1 before they were rounded, and are again.
    """
    if rows.ndim != 2 or not rows.is_floating_point():
        raise BundleError(
            f"{path}: '{name}' is {rows.dtype} {tuple(rows.shape)}, "
            "features are (rows, width) floats."
        )
    if not len(rows):
        raise BundleError(f"{path}: '{name}' has no rows.")
    if width is not None and rows.shape[1] != width:
        raise BundleError(
            f"{path}: '{name}' has width {rows.shape[1]}, the others have width {width}. "
            "All must come from one encoder."
        )
    rounded = rows.dtype == torch.bfloat16
    rows = rows.float()
    finite = rows.isfinite().all(-1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise BundleError(
            f"{path}: '{name}' has NaN or infinity in {int((~finite).sum())} of {len(rows)} rows, "
            f"first in row {first}."
        )
    norms = rows.double().norm(dim=-1)
    tolerance = _ROUNDED if rounded else UNIT_TOLERANCE
    wrong = ((norms - 1).abs() >= tolerance).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        raise BundleError(
            f"{path}: {len(wrong)} of {len(rows)} rows of '{name}' are not unit, row {first} has "
            f"norm {norms[first]:.4f}. Divide each row by its norm, in float32."
        )
    return (F.normalize(rows, dim=-1) if rounded else rows).contiguous()


def unit_groups(
    path: Path | Features, name: str, groups: Tensor, of: str, rows: int, width: int
) -> Tensor:
    """Check several unit rows for each row of another tensor, ``(rows, n, width)``."""
    _check_groups(path, name, groups, of, rows, width)
    return unit_rows(path, name, groups.flatten(0, 1), width).view(groups.shape)


def unit_patches(
    path: Path | Features, name: str, groups: Tensor, of: str, rows: int, width: int
) -> Tensor:
    """Check patches like `unit_groups`, but keep their precision, as they may be large."""
    _check_groups(path, name, groups, of, rows, width)
    for chunk in torch.split(groups, _TOGETHER):
        unit_rows(path, name, chunk.flatten(0, 1), width)
    return groups


def _check_groups(
    path: Path | Features, name: str, groups: Tensor, of: str, rows: int, width: int
) -> None:
    if groups.ndim != 3 or not groups.shape[1]:
        raise BundleError(
            f"{path}: '{name}' has shape {tuple(groups.shape)}, it holds rows for each row of "
            f"'{of}': ({rows}, at least 1, {width})."
        )
    if len(groups) != rows:
        raise BundleError(
            f"{path}: '{name}' is for {len(groups)} rows of '{of}', which has {rows}."
        )


def all_norms(
    path: Path | Features, tensors: dict[str, Tensor], features: dict[str, Tensor]
) -> dict[str, Tensor] | None:
    """Check the original length of each row, ``(rows,)``: given for all features, or for none."""
    expected = [NORMS[name] for name in features]
    present = [name for name in expected if name in tensors]
    if not present:
        return None
    checked = {}
    for name, rows in features.items():
        tensor = NORMS[name]
        if tensor not in tensors:
            raise BundleError(f"{path}: has '{present[0]}' but no '{tensor}'.")
        norms = tensors[tensor]
        if norms.shape != rows.shape[:1] or not norms.is_floating_point():
            raise BundleError(
                f"{path}: '{tensor}' is {norms.dtype} {tuple(norms.shape)}, it holds the length "
                f"that each of the {len(rows)} rows of '{name}' had: ({len(rows)},) floats."
            )
        norms = norms.float()
        if not (norms.isfinite() & (norms > 0)).all():
            raise BundleError(f"{path}: '{tensor}' has a length that is not a number above 0.")
        checked[name] = norms
    return checked


def checked_labels(
    path: Path | Features, name: str, labels: Tensor, rows: int, classes: int
) -> Tensor:
    """Labels as int64, ``(rows,)``: one per row, each a class."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise BundleError(f"{path}: '{name}' is {labels.dtype}, labels are integers.")
    if labels.shape != (rows,):
        raise BundleError(
            f"{path}: '{name}' has shape {tuple(labels.shape)} for {rows} rows of features."
        )
    labels = labels.long()
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        raise BundleError(
            f"{path}: '{name}' has {int(labels[first])} in row {first}, and there are {classes} "
            f"classes, so labels are 0 to {classes - 1}."
        )
    return labels


def numbered(classes: int) -> list[str]:
    """Names of classes that have none: their numbers."""
    return [f"class {i}" for i in range(classes)]


def checked_names(path: Path | Features, names: Any, classes: int) -> tuple[str, ...]:
    """Names of all classes; None for numbers."""
    if names is None:
        names = numbered(classes)
    if not isinstance(names, list):
        raise BundleError(f"{path}: metadata 'classnames' is not a list.")
    if len(names) != classes:
        raise BundleError(
            f"{path}: {len(names)} class names for {classes} rows of 'text'. "
            "Give --classnames FILE with one name per line."
        )
    for i, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int):
            shown = reprlib.repr(name)
            raise BundleError(f"{path}: metadata 'classnames' has {shown} at {i}, not a text.")
        if not str(name).strip():
            raise BundleError(f"{path}: metadata 'classnames' has an empty name at {i}.")
    return tuple(str(name) for name in names)


def checked_text(path: Path | Features, name: str, value: object) -> str:
    """Check a name in the metadata, so that a record can hold it."""
    if not isinstance(value, str):
        shown = reprlib.repr(value)
        raise BundleError(f"{path}: metadata '{name}' is {shown}, not a text.")
    if not value.isprintable():
        raise BundleError(f"{path}: metadata '{name}' has characters that cannot be printed.")
    if not value.strip() or len(value) > _LONGEST:
        raise BundleError(
            f"{path}: metadata '{name}' has {len(value)} characters, a name has 1 to {_LONGEST}."
        )
    return value


def checked_scale(path: Path | Features, value: object) -> float:
    """The factor on cosines: above 0, and a million at most."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6:
        shown = reprlib.repr(value)
        raise BundleError(f"{path}: logit_scale is {shown}, not a number from 0 to 1e6.")
    return float(value)
