"""A classification task as a method meets it: names, hashes, and features when they are needed."""

from __future__ import annotations

import copy
import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.images import Images, Subset
from susx_bench.data.leaks import alike, as_text, lacking, linked_leaks
from susx_bench.data.spec import SPLITS, DatasetSpec
from susx_bench.encoders.base import Encoder
from susx_bench.errors import DatasetError, OptionError
from susx_bench.features.blocks import Rows
from susx_bench.features.contents import Contents
from susx_bench.features.launch import Launch
from susx_bench.features.rows import (
    ImageRows,
    encode,
    encode_texts,
    encoder_recipe,
    mean_unit,
    text_recipe,
)
from susx_bench.features.store import SHARD, FeatureStore, StoredRows, rows_in
from susx_bench.methods.base import Labelled
from susx_bench.methods.base import Need as MethodNeed
from susx_bench.records.files import sha256_arrays, sha256_json

Advance = Callable[[str, int], object]
"""Told what was just encoded, ``images`` or ``prompts``, and how many."""


@dataclass(frozen=True)
class Norms:
    """How long features were before they were L2-normalised.

    A row that is the mean of views or of prompts counts as long as these are on average.

    Attributes:
        text: ``(K,)``.
        parts: As in `Features`, each ``(m,)``.
        val: ``(V,)``, or None.
        test: ``(N,)``.
    """

    text: Tensor
    parts: Mapping[str, Tensor]
    val: Tensor | None
    test: Tensor


@dataclass(frozen=True)
class Features:
    """All features of a task.

    Attributes:
        text: ``(K, D)``.
        prompts: Each class's single prompts, ``(T_k, D)``, or None.
        parts: The images that support is taken from, by `part_key`, each ``(m, D)``.
        views: Views of the images in `parts`, each ``(m, A, D)``; empty where there are none.
        val: Labelled validation images, or None.
        test: ``(N, D)``.
        norms: How long these were before they were L2-normalised; None where nobody knows.
        patches: Features of the patches of each image of ``test`` and ``val``, ``(P, D)`` an image,
            where they are needed and the task has them.
        seconds: What encoding took in this run; 0 where everything was there.
    """

    text: Tensor
    prompts: Sequence[Tensor] | None
    parts: Mapping[str, Tensor]
    views: Mapping[str, Tensor]
    val: Labelled | None
    test: Tensor
    norms: Norms | None
    patches: Mapping[str, Rows]
    seconds: float

    def in_full(self) -> Features:
        """The same, but every row of text, support, val and test as long as it was encoded."""
        norms = self.norms
        assert norms is not None
        val = self.val
        if val is not None:
            assert norms.val is not None
            val = Labelled(val.features * norms.val[:, None], val.labels)
        return dataclasses.replace(
            self,
            text=self.text * norms.text[:, None],
            parts={name: rows * norms.parts[name][:, None] for name, rows in self.parts.items()},
            val=val,
            test=self.test * norms.test[:, None],
        )

    def support(self, parts: Sequence[Tensor], positions: Tensor) -> Tensor:
        """Features of some images of the pool, ``(len(positions), D)``.

        Args:
            parts: The lists they were encoded in, as positions in the pool.
            positions: Which images, each in one of the lists.
        """
        return _pick(self.parts, parts, positions)

    def support_views(self, parts: Sequence[Tensor], positions: Tensor) -> Tensor:
        """Their views, ``(len(positions), A, D)``; for a task that gives ``support-views``."""
        return _pick(self.views, parts, positions)


@dataclass(frozen=True)
class Need:
    """Which features of a task are needed.

    Attributes:
        parts: Lists of positions in the pool, each to be encoded together.
        val: Whether the val split is looked at.
        patches: Of which of ``test`` and ``val`` the patches are looked at.
    """

    parts: Sequence[Tensor]
    val: bool = True
    patches: frozenset[str] = frozenset()


def part_key(positions: Tensor) -> str:
    """What a list of positions in the pool is called."""
    return sha256_arrays({"positions": positions.numpy()})


class Task(ABC):
    """What is known before anything is encoded, and the features once they are.

    Test labels are an attribute of the task alone: no `Context` holds them.

    Attributes:
        dataset: Name of the dataset.
        given: The dataset as it was asked for; empty for a bundle.
        encoder: Name of the encoder.
        prompts: Kind of prompts.
        protocol: Whose split it is.
        support: Name of the support set that `pool_labels` belongs to.
        where: What the support is taken from, for messages.
        classnames: Canonical names.
        logit_scale: The encoder's factor on cosines.
        pool_labels: Labels of the images that support may be taken from, ``(P,)``.
        val_labels: ``(V,)``, or None where there is no val split.
        test_size: Number of test images N.
        test_labels: ``(N,)``; for the record alone. None where nobody labelled the images: they
            are predicted, and not scored.
        val_is_test: Whether the published protocol validates on the test set.
        views: Augmented views each support image is averaged over, 1 for the image itself.
        width: Numbers in a feature; None where nobody knows yet.
        gives: Which of ``support-views``, ``text-prompts``, ``spatial`` and ``norms`` it has.
        patched: Which of ``test`` and ``val`` it has the patches of.
        skipped: Images that were left out because they cannot be decoded.
        cut: How many prompts are longer than the encoder reads, told once they are encoded.
        plugins: Packages that dataset and encoder come from, where they are not ours, and their
            versions.
        hashes: ``split_sha256``, ``pool_sha256``, ``prompts_sha256``, ``weights_sha256``.
    """

    dataset: str
    given: str = ""
    encoder: str
    prompts: str
    protocol: str
    support: str
    where: str
    classnames: tuple[str, ...]
    logit_scale: float
    pool_labels: Tensor
    val_labels: Tensor | None
    test_size: int
    test_labels: Tensor | None
    val_is_test: bool = False
    views: int = 1
    precision: str = "fp32"
    width: int | None = None
    gives: frozenset[MethodNeed] = frozenset()
    patched: frozenset[str] = frozenset()
    skipped: tuple[str, ...] = ()
    cut: str = ""
    plugins: Mapping[str, str] = MappingProxyType({})
    hashes: dict[str, str]

    @property
    def called(self) -> str:
        """The dataset as whoever asked for it calls it."""
        return self.given or self.dataset

    @property
    def pool_keys(self) -> Sequence[str]:
        """What the images of the pool are called."""
        return [str(i) for i in range(len(self.pool_labels))]

    def content(self, positions: Tensor) -> str:
        """Hash of the content of images of the pool; empty where `hashes` say it all."""
        return ""

    @abstractmethod
    def features(self, need: Need, launch: Launch, advance: Advance) -> Features:
        """Read or make the features. Every rank calls this, and gets the same.

        Args:
            need: Which ones.
            launch: Where to encode.
            advance: Told what was just encoded, ``images`` or ``prompts``, and about how many.
        """

    @abstractmethod
    def lacking(self, need: Need) -> dict[tuple[str, str], int]:
        """Count what is not encoded yet, for each list of rows that the store knows.

        Returns:
            How many rows each list lacks, if any. Its key is ``images`` (views of them) or
            ``prompts``, and a hash: tasks that share a list have one key for it.
        """

    def missing(self, need: Need) -> dict[str, int]:
        """How many ``images`` (views of them) and ``prompts`` are not encoded yet."""
        counts = {"images": 0, "prompts": 0}
        for (unit, _), rows in self.lacking(need).items():
            counts[unit] += rows
        return counts


class DatasetTask(Task):
    """A dataset and a support set, seen through an encoder and prompts.

    Attributes:
        remarks: What to tell of the splits that are used, a line each.

    Args:
        dataset: The dataset.
        encoder: The encoder.
        prompts: Kind of prompts.
        texts: The prompts of every class.
        pool: Images that support is taken from.
        support: Name of that support set.
        views: Augmented views a support image is averaged over; 1 for the image itself.
        store: Where features are kept.
        contents: Hashes what the images hold.
    """

    spec: DatasetSpec
    remarks: Sequence[str]

    def __init__(
        self,
        dataset: Dataset,
        encoder: Encoder,
        prompts: str,
        texts: Sequence[Sequence[str]],
        pool: Images,
        support: str,
        views: int,
        store: FeatureStore,
        contents: Contents,
    ) -> None:
        spec, test = dataset.spec, dataset.split("test")
        self.dataset = spec.name
        self.spec = spec
        self.encoder = encoder.name
        self.precision = encoder.precision
        self.width = encoder.width
        self.support = support
        self.where = f"{spec.name} {support}"
        self.classnames = spec.classnames
        self.logit_scale = encoder.logit_scale
        self.views = views
        self._encoder = encoder
        self._store = store
        self._contents = contents
        self._pool = pool
        self._splits: dict[str, DatasetSplit] = {"test": test}
        if "val" in dataset.splits:
            self._splits["val"] = dataset.split("val")
        if pool.classnames != spec.classnames:
            raise OptionError(f"{self.where}: its classes are not those of {spec.name}.")
        self.pool_labels = torch.from_numpy(pool.labels)
        self.test_labels = torch.from_numpy(test.labels)
        self.test_size = len(test)
        self.val_labels = None
        if "val" in self._splits:
            self.val_labels = torch.from_numpy(self._splits["val"].labels)
        splits = [*self._splits.values(), *([pool] if isinstance(pool, DatasetSplit) else [])]
        self.remarks = _listing(
            sorted(splits, key=lambda split: SPLITS.index(split.split)), contents
        )
        self.skipped = tuple(f"{s.split}/{key}" for s in splits for key in s.skipped)
        self.protocol = dataset.protocol
        self.val_is_test = spec.val_is_test
        self._content: dict[str, str] = {
            name: contents.sha256(self._splits[name])
            for name in ("val", "test")
            if name in self._splits
        }
        self.hashes = {
            "split_sha256": sha256_json(list(self._content.values())),
            "pool_sha256": pool.sha256,
            "weights_sha256": encoder.sha256,
        }
        self.gives = frozenset({"support-views", "text-prompts"})
        if pool.features is None:  # those that came in place of images are unit rows
            self.gives |= {"norms"}
        if encoder.has_patches:
            self.gives |= {"spatial"}
            self.patched = frozenset(self._splits)
        # Lists of images by name, added when they are asked for. They and what is found of them
        # are shared with the same task in other words.
        self._images: dict[str, ImageRows] = {}
        self._found: dict[str, list[Tensor | None]] = {}
        self._encoded: dict[str, _Encoded] = {}
        self._given: dict[str, Tensor] = {}  # parts whose features came in place of images
        self._patches: dict[str, ImageRows] = {}
        self._lacking: dict[str, list[int]] = {}  # shards of these
        self._say(prompts, texts)

    def worded(self, prompts: str, texts: Sequence[Sequence[str]]) -> DatasetTask:
        """The same task with other prompts; images are encoded once for both.

        Args:
            prompts: Kind of prompts.
            texts: The prompts of every class.
        """
        other = copy.copy(self)
        other._say(prompts, texts)
        return other

    def _say(self, prompts: str, texts: Sequence[Sequence[str]]) -> None:
        self.prompts = prompts
        self.hashes = self.hashes | {"prompts_sha256": sha256_json([list(each) for each in texts])}
        self._prompts = [text for each in texts for text in each]
        self._each = [len(each) for each in texts]
        self._text_recipe = text_recipe(self._encoder, self._prompts)
        self._texts_found: list[Tensor | None] | None = None
        self.cut = ""

    @property
    def test_images(self) -> DatasetSplit:
        """The test images themselves, to look at."""
        return self._splits["test"]

    @property
    def pool_keys(self) -> Sequence[str]:
        return [sample.key for sample in self._pool.samples]

    def content(self, positions: Tensor) -> str:
        return self._contents.sha256(Subset(self._pool, positions.tolist()))

    def _rows(self, name: str, *, patches: bool = False) -> ImageRows:
        """The rows of the images of a split."""
        split, recipe = self._splits[name], encoder_recipe(self._encoder)
        return ImageRows(split, 1, recipe, self._content[name], patches=patches)

    def _support_rows(self, positions: Tensor) -> ImageRows:
        """The rows of some images of the pool, seen in `views` views each."""
        images = Subset(self._pool, positions.tolist())
        recipe = encoder_recipe(self._encoder)
        return ImageRows(images, self.views, recipe, self._contents.sha256(images))

    def _look(self, need: Need) -> list[str]:
        """Look once what the store has, before the first launch and on every rank alike."""
        names = [name for name in self._splits if need.val or name != "val"]
        for name in names:
            if name not in self._images:
                self._images[name] = self._rows(name)
        for positions in need.parts:
            name = part_key(positions)
            if self._pool.features is not None:
                self._given[name] = self._pool.features[positions]
                continue
            names.append(name)
            if name not in self._images:
                self._images[name] = self._support_rows(positions)
        for name in names:
            if name not in self._found:
                work = self._images[name]
                self._found[name] = self._store.load(work.recipe, work.rows)
        for name in need.patches - self._lacking.keys():
            self._patches[name] = work = self._rows(name, patches=True)
            self._lacking[name] = self._store.lacks(work.recipe, work.rows)
        if self._texts_found is None:
            self._texts_found = self._store.load(self._text_recipe, len(self._prompts))
        return names

    def lacking(self, need: Need) -> dict[tuple[str, str], int]:
        names = self._look(need)
        rows = {
            ("images", sha256_json(self._images[name].recipe)): rows_in(
                _none(self._found[name]), self._images[name].rows
            )
            for name in names
            if name not in self._encoded
        }
        for name in need.patches:
            work = self._patches[name]
            rows["images", sha256_json(work.recipe)] = rows_in(self._lacking[name], work.rows)
        absent = _none(self._texts_found or [])
        rows["prompts", sha256_json(self._text_recipe)] = rows_in(absent, len(self._prompts))
        return {key: count for key, count in rows.items() if count}

    def features(self, need: Need, launch: Launch, advance: Advance) -> Features:
        started = time.perf_counter()
        names = self._look(need)
        made = any(self.missing(need).values())
        told = partial(advance, "images")
        for name in names:
            if name in self._encoded:
                continue
            work, found = self._images[name], self._found[name]
            rows = encode(work, found, self._encoder, self._store, launch, told)
            self._encoded[name] = _Encoded.of(rows, work.views)
            self._found[name] = []
        for name in sorted(need.patches):
            if lacking := self._lacking[name]:
                from susx_bench.features.encode import fill

                towers = self._encoder.towers
                fill(self._patches[name], lacking, towers, self._store, launch, told)
                self._lacking[name] = []
        done = {name: self._encoded[name] for name in names}
        texts = self._texts(launch, advance)
        prompts = torch.split(F.normalize(texts, dim=-1), self._each)
        val = val_norms = None
        if "val" in done and self.val_labels is not None:
            val, val_norms = Labelled(done["val"].rows, self.val_labels), done["val"].norms
        pool = {name: part for name, part in done.items() if name not in self._splits}
        norms = None
        if "norms" in self.gives:
            norms = Norms(
                text=torch.stack([each.mean() for each in texts.norm(dim=-1).split(self._each)]),
                parts={name: part.norms for name, part in pool.items()},
                val=val_norms,
                test=done["test"].norms,
            )
        return Features(
            text=mean_unit(prompts),
            prompts=prompts,
            parts=self._given | {name: part.rows for name, part in pool.items()},
            views={name: rows[:, None] for name, rows in self._given.items()}
            | {name: part.views for name, part in pool.items()},
            val=val,
            test=done["test"].rows,
            norms=norms,
            patches={
                name: StoredRows(self._store, self._patches[name].recipe, self._patches[name].rows)
                for name in need.patches
            },
            seconds=time.perf_counter() - started if made else 0.0,
        )

    def _texts(self, launch: Launch, advance: Advance) -> Tensor:
        """Features of every single prompt, ``(T, D)``, made and kept a shard at a time."""
        rows, longest = encode_texts(
            self._prompts,
            self._texts_found or [],
            self._encoder,
            self._store,
            launch,
            partial(advance, "prompts"),
        )
        shards = -(-len(rows) // SHARD)
        self._texts_found = [rows[i * SHARD : (i + 1) * SHARD] for i in range(shards)]
        if count := int((longest > 0).sum()):
            self.cut = (
                f"{count} of {len(self._prompts)} prompts of {self.prompts} are longer than "
                f"{self.encoder} reads, the longest by {int(longest.max())} tokens; their ends are "
                "cut off"
            )
        return rows


@dataclass(frozen=True)
class _Encoded:
    """A list of images: unit rows, how long they were, and the unit rows of their views."""

    rows: Tensor  # (n, D)
    norms: Tensor  # (n,)
    views: Tensor  # (n, A, D)

    @classmethod
    def of(cls, stored: Tensor, views: int) -> _Encoded:
        """From the rows of the store, `views` of them an image."""
        unit, norms = F.normalize(stored, dim=-1), stored.norm(dim=-1)
        rows = mean_unit(torch.split(unit, views)) if views > 1 else unit
        return cls(rows, norms.view(-1, views).mean(1), unit.view(len(rows), views, -1))


def _listing(splits: Sequence[DatasetSplit], contents: Contents) -> list[str]:
    """What to tell of the splits that are used.

    Raises:
        DatasetError: If two of them share an image.
    """
    dataset = splits[0].dataset
    remarks = [*dataset.remarks, *alike(dataset.spec.classnames)]
    for split in splits:
        remarks += lacking(split.split, split.samples, split.classnames)
    name = dataset.spec.name
    if bool(dataset.spec.sizes) and dataset.protocol == dataset.spec.protocol:
        return remarks  # what a published split has in several splits is part of it
    if groups := linked_leaks(splits):
        raise DatasetError(
            f"{name}: {dataset.origin} has one file in several splits, by a link: "
            f"{as_text(groups)}. Take it out of one of them."
        )
    if groups := contents.copies(splits):
        raise DatasetError(
            f"{name}: {dataset.origin} has the same image, byte for byte, in several splits, "
            f"{len(groups)} in all, so that accuracies would be too high: {as_text(groups)}. "
            "Remove them from one split, or give a --split-file; `susx-bench data check` lists "
            "them."
        )
    return remarks


def _none(found: Sequence[Tensor | None]) -> list[int]:
    """Positions of the shards that the store does not have."""
    return [i for i, shard in enumerate(found) if shard is None]


def _pick(rows: Mapping[str, Tensor], parts: Sequence[Tensor], positions: Tensor) -> Tensor:
    """Rows of some images of the pool, from the rows of the lists they are in."""
    together = torch.cat([rows[part_key(part)] for part in parts])
    place = {position: row for row, position in enumerate(torch.cat(list(parts)).tolist())}
    return together[[place[position] for position in positions.tolist()]]
