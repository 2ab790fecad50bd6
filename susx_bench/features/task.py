"""A classification task as a method meets it: names, hashes, and features when they are needed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.console import is_main_process
from susx_bench.data.base import BenchDataModule, ImageDataModule, Part
from susx_bench.data.spec import Split
from susx_bench.encoders.openclip import Encoder
from susx_bench.errors import OptionError
from susx_bench.features.encode import ImageList, encode, encoder_recipe
from susx_bench.features.predict import Launch
from susx_bench.features.store import SHARD, FeatureStore
from susx_bench.methods.base import Labelled
from susx_bench.records.files import sha256_arrays, sha256_json

Advance = Callable[[str, int], object]
"""Told what was just encoded, ``images`` or ``prompts``, and how many."""


@dataclass(frozen=True)
class Features:
    """All features of a task.

    Attributes:
        text: ``(K, D)``.
        parts: The images that support is taken from, by `part_key`, each ``(m, D)``.
        val: Labelled validation images, or None.
        test: ``(N, D)``.
        seconds: What encoding took in this run; 0 where everything was there.
    """

    text: Tensor
    parts: Mapping[str, Tensor]
    val: Labelled | None
    test: Tensor
    seconds: float

    def support(self, parts: Sequence[Tensor], positions: Tensor) -> Tensor:
        """Features of some images of the pool, ``(len(positions), D)``.

        Args:
            parts: The lists they were encoded in, as positions in the pool.
            positions: Which images, each in one of the lists.
        """
        rows = torch.cat([self.parts[part_key(part)] for part in parts])
        place = {position: row for row, position in enumerate(torch.cat(list(parts)).tolist())}
        return rows[[place[position] for position in positions.tolist()]]


@dataclass(frozen=True)
class Need:
    """Which features of a task are needed.

    Attributes:
        parts: Lists of positions in the pool, each to be encoded together.
        val: Whether the val split is looked at.
    """

    parts: Sequence[Tensor]
    val: bool = True


def part_key(positions: Tensor) -> str:
    """What a list of positions in the pool is called."""
    return sha256_arrays({"positions": positions.numpy()})


class Task(ABC):
    """What is known before anything is encoded, and the features once they are.

    Test labels are an attribute of the task alone: no `Context` holds them.

    Attributes:
        dataset: Name of the dataset.
        encoder: Name of the encoder.
        prompts: Kind of prompts.
        protocol: Whose split it is.
        support: Name of the support set that `pool_labels` belongs to.
        where: What the support is taken from, for messages.
        classnames: Canonical names.
        logit_scale: The encoder's factor on cosines.
        pool_labels: Labels of the images that support may be taken from, ``(P,)``.
        val_labels: ``(V,)``, or None where there is no val split.
        test_labels: ``(N,)``; for the record alone.
        val_is_test: Whether the published protocol validates on the test set.
        views: Augmented views each support image is averaged over, 1 for the image itself.
        skipped: Images that were left out because they cannot be decoded.
        hashes: ``split_sha256``, ``pool_sha256``, ``prompts_sha256``, ``weights_sha256``.
    """

    dataset: str
    encoder: str
    prompts: str
    protocol: str
    support: str
    where: str
    classnames: tuple[str, ...]
    logit_scale: float
    pool_labels: Tensor
    val_labels: Tensor | None
    test_labels: Tensor
    val_is_test: bool = False
    views: int = 1
    precision: str = "fp32"
    skipped: tuple[str, ...] = ()
    hashes: dict[str, str]

    @property
    def pool_keys(self) -> Sequence[str]:
        """What the images of the pool are called."""
        return [str(i) for i in range(len(self.pool_labels))]

    @abstractmethod
    def features(self, need: Need, launch: Launch, advance: Advance) -> Features:
        """Read or make the features. Every rank calls this, and gets the same.

        Args:
            need: Which ones.
            launch: Where to encode.
            advance: Told what was just encoded, ``images`` or ``prompts``, and about how many.
        """

    @abstractmethod
    def missing(self, need: Need) -> dict[str, int]:
        """How many ``images`` (views of them) and ``prompts`` are not encoded yet."""


class DatasetTask(Task):
    """A dataset and a support set, seen through an encoder and prompts.

    Args:
        dataset: Opens a split of the dataset.
        encoder: The encoder.
        prompts: Kind of prompts.
        texts: The prompts of every class.
        pool: Images that support is taken from.
        support: Name of that support set.
        views: Augmented views a support image is averaged over; 1 for the image itself.
        store: Where features are kept.
    """

    def __init__(
        self,
        dataset: Callable[[Split], BenchDataModule],
        encoder: Encoder,
        prompts: str,
        texts: Sequence[Sequence[str]],
        pool: ImageDataModule,
        support: str,
        views: int,
        store: FeatureStore,
    ) -> None:
        test = dataset("test")
        spec = test.spec
        self.dataset = spec.name
        self.encoder = encoder.name
        self.prompts = prompts
        self.precision = encoder.precision
        self.support = support
        self.where = f"{spec.name} {support}"
        self.classnames = spec.classnames
        self.logit_scale = encoder.logit_scale
        self.views = views
        self._encoder = encoder
        self._store = store
        self._prompts = [text for texts_ in texts for text in texts_]
        self._each = [len(texts_) for texts_ in texts]
        self._pool = pool
        self._splits: dict[str, BenchDataModule] = {"test": test}
        if "val" in test.splits:
            self._splits["val"] = dataset("val")
        if pool.classnames != spec.classnames:
            raise OptionError(f"{self.where}: its classes are not those of {spec.name}.")
        self.pool_labels = pool.labels
        self.test_labels = self._splits["test"].labels
        self.val_labels = self._splits["val"].labels if "val" in self._splits else None
        modules = [*self._splits.values(), *([pool] if isinstance(pool, BenchDataModule) else [])]
        self.skipped = tuple(f"{m.split}/{key}" for m in modules for key in m.skipped)
        self.protocol = test.protocol
        self.val_is_test = spec.val_is_test
        self.hashes = {
            "split_sha256": sha256_json(
                [self._splits[name].sha256 for name in ("val", "test") if name in self._splits]
            ),
            "pool_sha256": pool.sha256,
            "prompts_sha256": sha256_json([list(texts_) for texts_ in texts]),
            "weights_sha256": encoder.sha256,
        }
        self._found: dict[str, list[Tensor | None]] = {}
        self._given: dict[str, Tensor] = {}  # parts whose features came in place of images

    @property
    def pool_keys(self) -> Sequence[str]:
        return [sample.key for sample in self._pool.samples]

    @cached_property
    def _images(self) -> dict[str, ImageList]:
        """Lists of images by name; those of the pool are added when they are asked for."""
        encoder = encoder_recipe(self._encoder)
        return {name: ImageList(part, 1, encoder) for name, part in self._splits.items()}

    @cached_property
    def _text_recipe(self) -> dict[str, Any]:
        return encoder_recipe(self._encoder) | {"texts": sha256_json(self._prompts)}

    def _look(self, need: Need) -> list[str]:
        """Look once what the store has, before the first launch and on every rank alike."""
        names = [name for name in self._splits if need.val or name != "val"]
        for positions in need.parts:
            name = part_key(positions)
            if self._pool.features is not None:
                self._given[name] = self._pool.features[positions]
                continue
            names.append(name)
            if name not in self._images:
                part = Part(self._pool, positions.tolist())
                self._images[name] = ImageList(part, self.views, encoder_recipe(self._encoder))
        for name in names:
            if name not in self._found:
                work = self._images[name]
                self._found[name] = self._store.load(work.recipe, work.rows)
        if "text" not in self._found:
            self._found["text"] = self._store.load(self._text_recipe, len(self._prompts))
        return names

    def missing(self, need: Need) -> dict[str, int]:
        names = self._look(need)
        images = sum(self._rows(name, self._images[name].rows) for name in names)
        return {"images": images, "prompts": self._rows("text", len(self._prompts))}

    def _rows(self, name: str, rows: int) -> int:
        """Rows of a list's missing shards."""
        return sum(
            min(SHARD, rows - shard * SHARD)
            for shard, found in enumerate(self._found[name])
            if found is None
        )

    def features(self, need: Need, launch: Launch, advance: Advance) -> Features:
        started = time.perf_counter()
        names = self._look(need)
        everything = [*names, "text"]
        made = any(shard is None for name in everything for shard in self._found[name])
        done: dict[str, Tensor] = {}
        for name in names:
            work, found = self._images[name], self._found[name]
            if all(shard is not None for shard in found):
                rows = torch.cat([shard for shard in found if shard is not None])
            else:
                towers, told = self._encoder.towers, partial(advance, "images")
                rows = encode(work, found, towers, self._store, launch, told)
            self._found[name] = list(torch.split(rows, SHARD))
            done[name] = _mean_unit(torch.split(rows, work.views)) if work.views > 1 else rows
        text = _mean_unit(torch.split(self._texts(advance), self._each))
        val = None
        if "val" in done and self.val_labels is not None:
            val = Labelled(done["val"], self.val_labels)
        return Features(
            text=text,
            parts=self._given | {n: done[n] for n in names if n not in self._splits},
            val=val,
            test=done["test"],
            seconds=time.perf_counter() - started if made else 0.0,
        )

    def _texts(self, advance: Advance) -> Tensor:
        """Unit features of every single prompt, ``(T, D)``, made and kept a shard at a time."""
        found = self._found["text"]
        for shard, start in enumerate(range(0, len(self._prompts), SHARD)):
            if found[shard] is None:
                part = self._prompts[start : start + SHARD]
                found[shard] = rows = self._encoder.towers.text_prompts([part])[0]
                if is_main_process():
                    self._store.put(self._text_recipe, shard, rows)
                advance("prompts", len(part))
        return torch.cat([shard for shard in found if shard is not None])


def _mean_unit(groups: Sequence[Tensor]) -> Tensor:
    """The mean of each group's unit rows, scaled to length 1."""
    return F.normalize(torch.stack([rows.mean(0) for rows in groups]), dim=-1)
