"""Feature bundles: features somebody already has, as one safetensors file."""

from __future__ import annotations

import reprlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from susx_bench.data.dataset import first_of_each
from susx_bench.data.unknown import UNKNOWN, renumbered
from susx_bench.errors import BundleError
from susx_bench.features.arrays import Features, named
from susx_bench.features.launch import Launch
from susx_bench.features.task import Advance, Need, Norms, Task, TaskFeatures, part_key
from susx_bench.methods.base import Labelled
from susx_bench.methods.checks import UNIT_TOLERANCE
from susx_bench.records.files import sha256_arrays
from susx_bench.records.record import UNSAID
from susx_bench.records.text import parse_json

_META = "bundle"
_SAYS = {"dataset", "encoder", "logit_scale", "classnames", "support_from"}
_FORMAT = "format"  # what other programs write beside it: whose tensors a file holds
_PAIRS = {"support": "support_labels", "val": "val_labels", "test": "test_labels"}
_VIEWS, _PROMPTS = "support_views", "text_prompts"
_PATCHES = {"test": "spatial", "val": "val_spatial"}
_LONGEST = 1000  # characters of a name in a record
_TOGETHER = 256  # images whose patches are checked at once
_NORMS = {name: f"{name}_norms" for name in ("text", *_PAIRS)}


class BundleTask(Task):
    """A task whose features come from a bundle, used as stored.

    Args:
        path: The file, or features in memory.
        dataset: Overrides the bundle's own word, as do the next three.
        encoder: See above.
        logit_scale: See above; 100 where neither says.
        classnames: See above.
        limit: Test images per class to look at, the first ones; None for all.
        unknown: Classes to leave out, whose test images get the label `UNKNOWN`; None for none.

    Attributes:
        unread: What is in the file that a bundle has no place for: tensors, and words of the
            metadata.

    Raises:
        BundleError: If the file is missing, is no safetensors file, lacks a tensor, does not say
            how many classes there are (by text, class names or support), or holds
            shapes that do not fit, NaN, rows that are not unit, or labels out of range.
    """

    def __init__(
        self,
        path: Path | Features,
        *,
        dataset: str | None = None,
        encoder: str | None = None,
        logit_scale: float | None = None,
        classnames: Sequence[str] | None = None,
        limit: int | None = None,
        unknown: str | None = None,
    ) -> None:
        self.unread: tuple[str, ...] = ()
        if isinstance(path, Features):
            tensors, meta = path.tensors(), path.facts()
            if "test" not in tensors:
                raise BundleError(f"{path}: 'test' is None.")
        else:
            tensors, meta, self.unread = _read(path)
        self.where = f"{path} support"
        names = meta.get("classnames") if classnames is None else classnames
        features: dict[str, Tensor] = {}
        if "text" in tensors:
            text = _unit_rows(path, "text", tensors["text"], width=None)
            classes, width = text.shape
        else:
            classes, width = _without_text(path, tensors, names)
            text = torch.zeros(0, width)
            self.gives = self.gives - {"text"}
        if classes < 2:
            what = "'text' has 1 row" if len(text) else f"it has {classes} class"
            raise BundleError(f"{path}: {what}, a task has at least 2 classes.")
        features["text"] = text
        labels: dict[str, Tensor] = {}
        for name, labels_name in _PAIRS.items():
            _check_pair(path, tensors, name, labels_name)
            if name in tensors:
                features[name] = _unit_rows(path, name, tensors[name], width=width)
            if labels_name in tensors:
                given, rows = tensors[labels_name], len(features[name])
                labels[name] = _labels(path, labels_name, given, rows, classes)
        if unknown:
            if names is None:
                names = [f"class {i}" for i in range(classes)]
            names, classes = _drop(path, unknown, names, classes, features, labels, tensors)
            text = features["text"]
        if limit:
            if "test" not in labels:
                raise BundleError(f"--limit {limit}: {path} has no test labels to count by.")
            kept = first_of_each(labels["test"].tolist(), limit)
            whole = features["test"].shape[:1]
            features["test"], labels["test"] = features["test"][kept], labels["test"][kept]
            for own in (_PATCHES["test"], _NORMS["test"]):
                if own in tensors and tensors[own].shape[:1] == whole:  # else it is refused below
                    tensors[own] = tensors[own][kept]

        self.dataset = _text(path, "dataset", dataset or meta.get("dataset") or named(path))
        self.encoder = _text(path, "encoder", encoder or meta.get("encoder") or "unknown")
        self.prompts = "bundle"
        self.protocol = "bundle"
        origin = _text(path, "support_from", meta.get("support_from", UNSAID))
        self.support = origin if "support" in features else "none"
        self.logit_scale = _scale(path, logit_scale or meta.get("logit_scale", 100.0))
        if names is None:
            names = [f"class {i}" for i in range(classes)]
        if not isinstance(names, list):
            raise BundleError(f"{path}: metadata 'classnames' is not a list.")
        if len(names) != classes:
            raise BundleError(
                f"{path}: {len(names)} class names for {classes} rows of 'text'. "
                "Give --classnames FILE with one name a line."
            )
        for i, name in enumerate(names):
            if isinstance(name, bool) or not isinstance(name, str | int):
                told = reprlib.repr(name)
                raise BundleError(f"{path}: metadata 'classnames' has {told} at {i}, not a text.")
            if not str(name).strip():
                raise BundleError(f"{path}: metadata 'classnames' has an empty name at {i}.")
        self.classnames = tuple(str(name) for name in names)

        self.test_size = len(features["test"])
        self.pool_labels = labels.get("support", torch.zeros(0, dtype=torch.int64))
        self.val_labels = labels.get("val")
        self.test_labels = labels.get("test")
        self._features = features | {"support": features.get("support", text[:0])}
        self._views = self._prompts = None
        if _VIEWS in tensors:
            self._views = _unit_groups(
                path, _VIEWS, tensors[_VIEWS], "support", len(self.pool_labels), width
            )
            self.views = self._views.shape[1]
            self.gives |= {"support-views"}
        if _PROMPTS in tensors:
            self._prompts = _unit_groups(path, _PROMPTS, tensors[_PROMPTS], "text", classes, width)
            self.gives |= {"text-prompts"}
        self._patches = {
            name: _all_patches(path, own, tensors[own], name, len(features[name]), width)
            for name, own in _PATCHES.items()
            if name in features and own in tensors
        }
        self.patched = frozenset(self._patches)
        if "test" in self.patched:
            self.gives |= {"spatial"}
        self._norms = _all_norms(
            path, tensors, {n: rows for n, rows in features.items() if len(rows)}
        )
        if self._norms is not None:
            self.gives |= {"norms"}
        split = {name: features[name].numpy() for name in ("val", "test") if name in features} | {
            f"{name}_labels": labels[name].numpy() for name in ("val", "test") if name in labels
        }
        pool = {
            "features": self._features["support"].numpy(),
            "labels": self.pool_labels.numpy(),
        }
        prompts = {"text": text.numpy()} if len(text) else {}
        # Only where they are there: records of bundles without them are found by the same hashes.
        if self._views is not None:
            pool["views"] = self._views.numpy()
        if self._prompts is not None:
            prompts["prompts"] = self._prompts.numpy()
        split |= {_PATCHES[name]: _array(rows) for name, rows in self._patches.items()}
        if self._norms is not None:
            split |= {_NORMS[n]: norms.numpy() for n, norms in self._norms.items()}
        self.hashes = {
            "split_sha256": sha256_arrays(split),
            "pool_sha256": sha256_arrays(pool),
            "prompts_sha256": sha256_arrays(prompts),
            "weights_sha256": "",
        }

    @property
    def images(self) -> Mapping[str, Tensor]:
        """Features of its support, val and test images, by part, each ``(rows, D)``."""
        return {name: self._features[name] for name in _PAIRS if name in self._features}

    def features(self, need: Need, launch: Launch, advance: Advance) -> TaskFeatures:
        pool, views = self._features["support"], self._views
        norms = val = None
        if self.val_labels is not None:
            val = Labelled(self._features["val"], self.val_labels)
        if self._norms is not None:
            of_pool = self._norms.get("support", pool[:, 0])
            norms = Norms(
                text=self._norms.get("text", torch.zeros(0)),
                parts={part_key(positions): of_pool[positions] for positions in need.parts},
                val=self._norms.get("val"),
                test=self._norms["test"],
            )
        return TaskFeatures(
            text=self._features["text"],
            prompts=None if self._prompts is None else self._prompts.unbind(),
            parts={part_key(positions): pool[positions] for positions in need.parts},
            views={}
            if views is None
            else {part_key(positions): views[positions] for positions in need.parts},
            val=val,
            test=self._features["test"],
            norms=norms,
            patches=self._patches,
            seconds=0.0,
        )

    def lacking(self, need: Need) -> dict[tuple[str, str], int]:
        return {}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]:
    """Tensors and metadata of a bundle, and what is in the file that it has no place for."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "no such file"
        raise BundleError(f"--features {path}: {what}.")
    known = {*_PAIRS, *_PAIRS.values(), "text", _VIEWS, _PROMPTS}
    known |= {*_PATCHES.values(), *_NORMS.values()}
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            meta = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in names & known}
    except (SafetensorError, OSError) as error:
        if convert := _how_to_convert(path):
            raise BundleError(f"{path} is {convert}") from error
        raise BundleError(f"{path} is not a whole safetensors file: {error}.") from error
    if "test" not in names:
        raise BundleError(f"{path}: no tensor 'test'. It has: {', '.join(sorted(names))}.")
    said = _read_meta(path, meta)
    unread = [f"a tensor {name}" for name in sorted(names - known)]
    unread += [f"metadata '{name}'" for name in sorted(set(said) - _SAYS)]
    return tensors, said, tuple(unread)


def _read_meta(path: Path, meta: dict[str, str]) -> dict[str, Any]:
    """What a bundle says of itself; empty where it says nothing."""
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


def _without_text(
    path: Path | Features, tensors: Mapping[str, Tensor], names: object
) -> tuple[int, int]:
    """Number of classes and width of features without text.

    Raises:
        BundleError: If nothing says how many classes there are, or something belongs to a text.
    """
    if own := next((name for name in (_PROMPTS, _NORMS["text"]) if name in tensors), None):
        raise BundleError(f"{path}: has '{own}' but no 'text'.")
    width = tensors["test"].shape[-1] if tensors["test"].ndim else 0
    if isinstance(names, list):
        return len(names), width
    labels = tensors.get("support_labels")
    if labels is None or not labels.numel() or labels.is_floating_point():
        raise BundleError(
            f"{path}: it has no 'text', and neither class names nor 'support_labels' say how many "
            "classes there are. Give --classnames FILE with one name a line."
        )
    return int(labels.max()) + 1, width


def _how_to_convert(path: Path) -> str:
    """What a file of torch, numpy or Parquet is, and how it becomes a bundle; empty for others."""
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY" or (start[:2] == b"PK" and path.suffix == ".npz"):
        what = "numpy's"
    elif start[:2] == b"PK" or start[:1] == b"\x80":
        what = "torch's"
    elif start[:4] == b"PAR1":
        what = "Parquet's"
    else:
        return ""
    new = path.with_suffix(".safetensors")
    if new == path:
        new = path.with_name(f"{path.stem}-imported.safetensors")  # never over what it is made from
    quoted = shlex.join(["susx-bench", "features", "import", str(path), "--out", str(new)])
    return (
        f"a file of {what} and no feature bundle; it is not opened here. Make a bundle of it: "
        f"{quoted}"
    )


def _check_pair(
    path: Path | Features, tensors: Mapping[str, Tensor], name: str, labels_name: str
) -> None:
    """Check that features have labels, but for a test set that nobody labelled."""
    named = [
        other
        for other in (labels_name, f"{name}_views", f"{name}_norms", _PATCHES.get(name, ""))
        if other in tensors
    ]
    if name not in tensors and named:
        raise BundleError(f"{path}: has '{named[0]}' but no '{name}'.")
    if name in tensors and labels_name not in tensors and name != "test":
        raise BundleError(f"{path}: has '{name}' but no '{labels_name}'.")


def _unit_rows(path: Path | Features, name: str, rows: Tensor, width: int | None) -> Tensor:
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
    rows = rows.float()
    finite = rows.isfinite().all(-1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise BundleError(
            f"{path}: '{name}' has NaN or infinity in {int((~finite).sum())} of {len(rows)} rows, "
            f"first in row {first}."
        )
    norms = rows.double().norm(dim=-1)
    wrong = ((norms - 1).abs() >= UNIT_TOLERANCE).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        raise BundleError(
            f"{path}: {len(wrong)} of {len(rows)} rows of '{name}' are not unit, row {first} has "
            f"norm {norms[first]:.4f}. Divide each row by its norm, in float32."
        )
    return rows.contiguous()


def _unit_groups(
    path: Path | Features, name: str, groups: Tensor, of: str, rows: int, width: int
) -> Tensor:
    """Check several unit rows for each row of another tensor, ``(rows, n, width)``."""
    _check_groups(path, name, groups, of, rows, width)
    return _unit_rows(path, name, groups.flatten(0, 1), width).view(groups.shape)


def _all_patches(
    path: Path | Features, name: str, groups: Tensor, of: str, rows: int, width: int
) -> Tensor:
    """The same of patches, which may be many: they stay in the precision they have."""
    _check_groups(path, name, groups, of, rows, width)
    for some in torch.split(groups, _TOGETHER):
        _unit_rows(path, name, some.flatten(0, 1), width)
    return groups


def _array(rows: Tensor) -> NDArray[Any]:
    """Rows to be hashed: numpy has no bfloat16, nor what is narrower, so that it gets the bytes."""
    known = rows.dtype in (torch.float16, torch.float32, torch.float64)
    return (rows if known else rows.contiguous().view(torch.uint8)).numpy()


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


def _all_norms(
    path: Path | Features, tensors: dict[str, Tensor], features: dict[str, Tensor]
) -> dict[str, Tensor] | None:
    """Check how long each row of the features was, ``(rows,)``: given for all of them, or none."""
    asked = [_NORMS[name] for name in features]
    given = [name for name in asked if name in tensors]
    if not given:
        return None
    found = {}
    for name, rows in features.items():
        own = _NORMS[name]
        if own not in tensors:
            raise BundleError(f"{path}: has '{given[0]}' but no '{own}'.")
        norms = tensors[own]
        if norms.shape != rows.shape[:1] or not norms.is_floating_point():
            raise BundleError(
                f"{path}: '{own}' is {norms.dtype} {tuple(norms.shape)}, it holds the length that "
                f"each of the {len(rows)} rows of '{name}' had: ({len(rows)},) floats."
            )
        norms = norms.float()
        if not (norms.isfinite() & (norms > 0)).all():
            raise BundleError(f"{path}: '{own}' has a length that is not a number above 0.")
        found[name] = norms
    return found


def _labels(path: Path | Features, name: str, labels: Tensor, rows: int, classes: int) -> Tensor:
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


def _drop(
    path: Path | Features,
    unknown: str,
    names: Any,
    classes: int,
    features: dict[str, Tensor],
    labels: dict[str, Tensor],
    tensors: dict[str, Tensor],
) -> tuple[list[str], int]:
    """Leave classes out of a bundle's parts; their test images stay, labelled `UNKNOWN`.

    Args:
        path: The file, for messages.
        unknown: Names of the classes, as of `renumbered`.
        names: Names of all classes.
        classes: How many there are.
        features: Checked rows by part; changed, as are the next two.
        labels: Checked labels by part.
        tensors: All tensors; those that belong to the rows above lose the same rows.

    Returns:
        The names that are left, and how many.
    """
    if "test" not in labels:
        raise BundleError(f"--unknown {unknown}: {path} has no test labels to know them by.")
    if not isinstance(names, list) or len(names) != classes:
        raise BundleError(
            f"--unknown {unknown}: {path} has no names for its {classes} classes. Give "
            "--classnames FILE with one name a line."
        )
    numbers = torch.tensor(renumbered(unknown, [str(name) for name in names]))
    known = numbers != UNKNOWN
    kept = {"text": known}
    for name, own in labels.items():
        labels[name] = numbers[own]
        if name != "test":
            kept[name] = labels[name] != UNKNOWN
            labels[name] = labels[name][kept[name]]
    beside = {"text": [_PROMPTS], "support": [_VIEWS], "val": [_PATCHES["val"]]}
    for part, rows in kept.items():
        if not len(features[part]):
            continue  # a bundle without text
        features[part] = features[part][rows]
        for extra in (*beside[part], _NORMS[part]):
            if extra in tensors and tensors[extra].shape[:1] == rows.shape:  # else refused below
                tensors[extra] = tensors[extra][rows]
    left = [str(names[label]) for label in known.nonzero().flatten().tolist()]
    return left, len(left)


def _text(path: Path | Features, name: str, value: object) -> str:
    if not isinstance(value, str):
        told = reprlib.repr(value)
        raise BundleError(f"{path}: metadata '{name}' is {told}, not a text.")
    if not value.isprintable():
        raise BundleError(f"{path}: metadata '{name}' has characters that cannot be printed.")
    if not value.strip() or len(value) > _LONGEST:
        raise BundleError(
            f"{path}: metadata '{name}' has {len(value)} characters, a name has 1 to {_LONGEST}."
        )
    return value


def _scale(path: Path | Features, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6:
        told = reprlib.repr(value)
        raise BundleError(f"{path}: logit_scale is {told}, not a number from 0 to 1e6.")
    return float(value)
