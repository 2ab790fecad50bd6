"""A classification task as a method meets it: names, hashes, and features when they are needed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from susx_bench.console import is_main_process
from susx_bench.data.base import BLOCK, BenchDataModule, ImageDataModule
from susx_bench.encoders.openclip import Encoder
from susx_bench.errors import OptionError
from susx_bench.features.encode import Encode
from susx_bench.features.predict import Launch, predict
from susx_bench.features.store import FeatureStore
from susx_bench.methods.base import Labelled
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import sha256_json


@dataclass(frozen=True)
class Features:
    """All features of a task.

    Attributes:
        text: ``(K, D)``.
        pool: Images that support is taken from, ``(P, D)``.
        val: Labelled validation images, or None.
        test: ``(N, D)``.
        seconds: What encoding took in this run; 0 where everything was there.
    """

    text: Tensor
    pool: Tensor
    val: Labelled | None
    test: Tensor
    seconds: float


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
    hashes: dict[str, str]

    @abstractmethod
    def features(self, launch: Launch, advance: Callable[[int], object]) -> Features:
        """Read or make the features. Every rank calls this, and gets the same.

        Args:
            launch: Where to encode.
            advance: Told how many images were just encoded on this rank.
        """

    @abstractmethod
    def missing(self) -> int:
        """Number of images that must be encoded before the first prediction."""


class DatasetTask(Task):
    """A dataset and a support set, seen through an encoder and prompts.

    Args:
        dataset: The dataset's class.
        encoder: The encoder.
        prompts: Kind of prompts.
        pool: Images that support is taken from.
        support: Name of that support set.
        store: Where features are kept.
    """

    def __init__(
        self,
        dataset: type[BenchDataModule],
        encoder: Encoder,
        prompts: str,
        pool: ImageDataModule,
        support: str,
        store: FeatureStore,
    ) -> None:
        spec = dataset.spec
        self.dataset = spec.name
        self.encoder = encoder.name
        self.prompts = prompts
        self.protocol = spec.protocol
        self.support = support
        self.where = f"{spec.name} {support}"
        self.classnames = spec.classnames
        self.logit_scale = encoder.logit_scale
        self._encoder = encoder
        self._store = store
        self._texts = class_prompts(prompts, spec.classnames, spec.template)
        self._parts: dict[str, ImageDataModule] = {"pool": pool, "test": dataset("test")}
        if "val" in spec.sizes:
            self._parts["val"] = dataset("val")
        if pool.classnames != spec.classnames:
            raise OptionError(f"{self.where}: its classes are not those of {spec.name}.")
        self.pool_labels = pool.labels
        self.test_labels = self._parts["test"].labels
        self.val_labels = self._parts["val"].labels if "val" in self._parts else None
        self.hashes = {
            "split_sha256": sha256_json(
                [self._parts[name].sha256 for name in ("val", "test") if name in self._parts]
            ),
            "pool_sha256": pool.sha256,
            "prompts_sha256": sha256_json(self._texts),
            "weights_sha256": encoder.sha256,
        }

    def _recipe(self, images: str) -> dict[str, str | int]:
        return {
            "encoder": self._encoder.sha256,
            "images": images,
            "precision": "fp32",
            "block": BLOCK,
        }

    @cached_property
    def _found(self) -> dict[str, Tensor | None]:
        """What the store has, looked up once and before the first launch, on every rank alike."""
        found = {
            name: self._store.get(self._recipe(part.sha256)) for name, part in self._parts.items()
        }
        found["text"] = self._store.get(self._recipe(self.hashes["prompts_sha256"]))
        return found

    def missing(self) -> int:
        return sum(len(part) for name, part in self._parts.items() if self._found[name] is None)

    def features(self, launch: Launch, advance: Callable[[int], object]) -> Features:
        started = time.perf_counter()
        done: dict[str, Tensor] = {}
        for name, features in self._found.items():
            if features is not None:
                done[name] = features
                continue
            towers = self._encoder.towers
            if name == "text":
                done[name] = towers.texts(self._texts)
                recipe = self._recipe(self.hashes["prompts_sha256"])
            else:
                part = self._parts[name]
                part.transform = towers.transform
                done[name] = predict(Encode(towers), part, launch, advance)["features"]
                recipe = self._recipe(part.sha256)
            if is_main_process():
                self._store.put(recipe, done[name])
        val = None
        if self.val_labels is not None:
            val = Labelled(done["val"], self.val_labels)
        nothing_made = all(features is not None for features in self._found.values())
        return Features(
            text=done["text"],
            pool=done["pool"],
            val=val,
            test=done["test"],
            seconds=0.0 if nothing_made else time.perf_counter() - started,
        )
