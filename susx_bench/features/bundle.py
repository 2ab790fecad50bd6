"""Feature bundles: features somebody already has, as one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from susx_bench.data.dataset import first_of_each
from susx_bench.data.unknown import UNKNOWN, renumbered
from susx_bench.errors import BundleError
from susx_bench.features.arrays import Features, named
from susx_bench.features.bundle_file import (
    NORMS,
    PAIRS,
    PATCHES,
    PROMPTS,
    VIEWS,
    all_norms,
    check_pair,
    checked_labels,
    checked_names,
    checked_scale,
    checked_text,
    numbered,
    read_bundle,
    unit_groups,
    unit_patches,
    unit_rows,
)
from susx_bench.features.launch import Launch
from susx_bench.features.task import Advance, Need, Norms, Task, TaskFeatures, part_key
from susx_bench.methods.base import Labelled
from susx_bench.records.files import sha256_arrays
from susx_bench.records.record import UNSAID

_BESIDE = {"text": [PROMPTS], "support": [VIEWS]} | {part: [own] for part, own in PATCHES.items()}
"""Tensors with a row for each row of a part, besides its norms."""


class BundleTask(Task):
    """A task whose features come from a bundle, used as stored.

    Args:
        path: The file, or features in memory.
        dataset: Overrides the bundle's metadata, as do the next three.
        encoder: See above.
        logit_scale: See above; 100 if neither gives it.
        classnames: See above.
        limit: Score only the first `limit` test images of each class; None for all.
        unknown: Classes to leave out, whose test images get the label `UNKNOWN`; None for none.

    Attributes:
        unread: Tensors and metadata of the file that a bundle does not use.

    Raises:
        BundleError: If the file is missing, is no safetensors file, lacks a tensor, leaves
            the number of classes open (no text, class names or support), or holds shapes that
            do not fit, NaN, rows that are not unit, or labels out of range.
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
            tensors, metadata = path.tensors(), path.facts()
            if "test" not in tensors:
                raise BundleError(f"{path}: 'test' is None.")
        else:
            tensors, metadata, self.unread = read_bundle(path)
        self.where = f"{path} support"
        names = metadata.get("classnames") if classnames is None else classnames
        rows = _Rows(path, tensors, names)
        if unknown:
            names = rows.drop(unknown, names)
        if limit:
            rows.keep_first(limit)

        self.classnames = checked_names(path, names, rows.classes)
        self.dataset = checked_text(
            path, "dataset", dataset or metadata.get("dataset") or named(path)
        )
        self.encoder = checked_text(
            path, "encoder", encoder or metadata.get("encoder") or "unknown"
        )
        self.prompts = "bundle"
        self.protocol = "bundle"
        origin = checked_text(path, "support_from", metadata.get("support_from", UNSAID))
        self.support = origin if "support" in rows.features else "none"
        self.logit_scale = checked_scale(path, logit_scale or metadata.get("logit_scale", 100.0))
        self._take(rows)
        self.hashes = self._hashed(rows)

    def _take(self, rows: _Rows) -> None:
        """Keep the tensors of the bundle, and declare in `gives` what methods may use."""
        path, tensors, features = rows.path, rows.tensors, rows.features
        self.test_size = len(features["test"])
        self.pool_labels = rows.labels.get("support", torch.zeros(0, dtype=torch.int64))
        self.val_labels = rows.labels.get("val")
        self.test_labels = rows.labels.get("test")
        text = features["text"]
        self._features = features | {"support": features.get("support", text[:0])}
        self._views = self._prompts = None
        if not len(text):
            self.gives = self.gives - {"text"}
        if VIEWS in tensors:
            images = len(self.pool_labels)
            self._views = unit_groups(path, VIEWS, tensors[VIEWS], "support", images, rows.width)
            self.views = self._views.shape[1]
            self.gives |= {"support-views"}
        if PROMPTS in tensors:
            self._prompts = unit_groups(
                path, PROMPTS, tensors[PROMPTS], "text", rows.classes, rows.width
            )
            self.gives |= {"text-prompts"}
        self._patches = {
            name: unit_patches(path, tensor, tensors[tensor], name, len(features[name]), rows.width)
            for name, tensor in PATCHES.items()
            if name in features and tensor in tensors
        }
        self.patched = frozenset(self._patches)
        if "test" in self.patched:
            self.gives |= {"spatial"}
        self._norms = all_norms(path, tensors, {n: f for n, f in features.items() if len(f)})
        if self._norms is not None:
            self.gives |= {"norms"}

    def _hashed(self, rows: _Rows) -> dict[str, str]:
        """Hashes of the content; optional tensors change them only if the bundle has them."""
        features, labels = rows.features, rows.labels
        split: dict[str, NDArray[Any]] = {}
        split |= {n: features[n].numpy() for n in ("val", "test") if n in features}
        split |= {f"{n}_labels": labels[n].numpy() for n in ("val", "test") if n in labels}
        pool = {"features": self._features["support"].numpy(), "labels": self.pool_labels.numpy()}
        prompts = {"text": features["text"].numpy()} if len(features["text"]) else {}
        if self._views is not None:
            pool["views"] = self._views.numpy()
        if self._prompts is not None:
            prompts["prompts"] = self._prompts.numpy()
        split |= {PATCHES[name]: _array(patches) for name, patches in self._patches.items()}
        if self._norms is not None:
            split |= {NORMS[name]: norms.numpy() for name, norms in self._norms.items()}
        return {
            "split_sha256": sha256_arrays(split),
            "pool_sha256": sha256_arrays(pool),
            "prompts_sha256": sha256_arrays(prompts),
            "weights_sha256": "",
        }

    @property
    def images(self) -> Mapping[str, Tensor]:
        """Features of its support, val and test images, by part, each ``(rows, D)``."""
        return {name: self._features[name] for name in PAIRS if name in self._features}

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


class _Rows:
    """The checked rows and labels of a bundle's parts.

    Attributes:
        path: The file, for messages.
        tensors: All tensors.
        classes: How many classes.
        width: Channels of a row.
        features: Rows by part, ``text`` first; zero rows of text if the bundle has none.
        labels: Labels by part.
    """

    def __init__(self, path: Path | Features, tensors: dict[str, Tensor], names: object) -> None:
        self.path = path
        self.tensors = tensors
        if "text" in tensors:
            text = unit_rows(path, "text", tensors["text"], width=None)
            self.classes, self.width = text.shape
        else:
            self.classes, self.width = self._without_text(names)
            text = torch.zeros(0, self.width)
        if self.classes < 2:
            shortage = "'text' has 1 row" if len(text) else f"it has {self.classes} class"
            raise BundleError(f"{path}: {shortage}, a task has at least 2 classes.")
        self.features = {"text": text}
        self.labels: dict[str, Tensor] = {}
        for name, labels_name in PAIRS.items():
            check_pair(path, tensors, name, labels_name)
            if name in tensors:
                self.features[name] = unit_rows(path, name, tensors[name], width=self.width)
            if labels_name in tensors:
                labels, rows = tensors[labels_name], len(self.features[name])
                self.labels[name] = checked_labels(path, labels_name, labels, rows, self.classes)

    def _without_text(self, names: object) -> tuple[int, int]:
        """Number of classes and width of features without text.

        Raises:
            BundleError: If the number of classes is open, or a tensor needs the missing text.
        """
        path, tensors = self.path, self.tensors
        if orphan := next((name for name in (PROMPTS, NORMS["text"]) if name in tensors), None):
            raise BundleError(f"{path}: has '{orphan}' but no 'text'.")
        width = tensors["test"].shape[-1] if tensors["test"].ndim else 0
        if isinstance(names, list):
            return len(names), width
        labels = tensors.get("support_labels")
        if labels is None or not labels.numel() or labels.is_floating_point():
            raise BundleError(
                f"{path}: it has no 'text', and neither class names nor 'support_labels' say how "
                "many classes there are. Give --classnames FILE with one name per line."
            )
        return int(labels.max()) + 1, width

    def drop(self, unknown: str, names: Any) -> list[str]:
        """Leave classes out of all parts; their test images stay, labelled `UNKNOWN`.

        Args:
            unknown: Names of the classes, as of `renumbered`.
            names: Names of all classes; None for numbers.

        Returns:
            The names that are left.
        """
        if names is None:
            names = numbered(self.classes)
        if "test" not in self.labels:
            raise BundleError(
                f"--unknown {unknown}: {self.path} has no test labels to know them by."
            )
        if not isinstance(names, list) or len(names) != self.classes:
            raise BundleError(
                f"--unknown {unknown}: {self.path} has no names for its {self.classes} classes. "
                "Give --classnames FILE with one name per line."
            )
        numbers = torch.tensor(renumbered(unknown, [str(name) for name in names]))
        is_known = numbers != UNKNOWN
        kept = {"text": is_known}
        for name, labels in self.labels.items():
            self.labels[name] = numbers[labels]
            if name != "test":
                kept[name] = self.labels[name] != UNKNOWN
                self.labels[name] = self.labels[name][kept[name]]
        for part, rows in kept.items():
            self._keep(part, rows)
        self.classes = int(is_known.sum())
        return [str(names[label]) for label in is_known.nonzero().flatten().tolist()]

    def keep_first(self, limit: int) -> None:
        """Keep the first test images of each class."""
        if "test" not in self.labels:
            raise BundleError(f"--limit {limit}: {self.path} has no test labels to count by.")
        kept = torch.zeros(len(self.labels["test"]), dtype=torch.bool)
        kept[first_of_each(self.labels["test"].tolist(), limit)] = True
        self.labels["test"] = self.labels["test"][kept]
        self._keep("test", kept)

    def _keep(self, part: str, kept: Tensor) -> None:
        """Keep the rows of a part that a mask ``(rows,)`` selects, and of the tensors beside it."""
        if not len(self.features[part]):
            return  # a bundle without text
        self.features[part] = self.features[part][kept]
        for companion in (*_BESIDE[part], NORMS[part]):
            # A tensor of another shape is refused later.
            if companion in self.tensors and self.tensors[companion].shape[:1] == kept.shape:
                self.tensors[companion] = self.tensors[companion][kept]


def _array(rows: Tensor) -> NDArray[Any]:
    """Rows to be hashed: their bytes if numpy lacks the type, as for bfloat16 and narrower."""
    has_numpy = rows.dtype in (torch.float16, torch.float32, torch.float64)
    return (rows if has_numpy else rows.contiguous().view(torch.uint8)).numpy()
