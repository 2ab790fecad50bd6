"""The task of a dataset, a support set and an encoder; it encodes the images."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.images import Images, Subset
from susx_bench.data.leaks import (
    Place,
    alike,
    appearances,
    as_text,
    contradictions,
    lacking,
    leaks,
    linked_leaks,
    unseen,
)
from susx_bench.data.spec import SPLITS, DatasetSpec
from susx_bench.encoders.base import Encoder
from susx_bench.errors import DatasetError, OptionError
from susx_bench.features.contents import Contents
from susx_bench.features.first import from_first
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
from susx_bench.features.task import Advance, Need, Norms, Task, TaskFeatures, part_key
from susx_bench.methods.base import Labelled
from susx_bench.options.recorded import NO_PROMPTS
from susx_bench.records.files import sha256_json


class DatasetTask(Task):
    """A dataset and a support set, seen through an encoder and prompts.

    Attributes:
        remarks: Remarks on the splits that are used, one line each.

    Args:
        dataset: The dataset.
        encoder: The encoder.
        prompts: Kind of prompts.
        texts: The prompts of every class; none for an encoder that reads no text.
        pool: Images that support is taken from.
        support: Name of that support set.
        views: Augmented views a support image is averaged over; 1 for the image itself.
        store: Where features are kept.
        contents: Hashes the content of images.
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
        self.gives = frozenset({"support-views"})
        if encoder.has_text:
            self.gives |= {"text", "text-prompts"}
        if pool.features is None:  # features that came in place of images are unit rows
            self.gives |= {"norms"}
        if encoder.has_patches:
            self.gives |= {"spatial"}
            self.patched = frozenset(self._splits)
        # Lists of images by name, added on demand. They and their stored shards are shared with
        # the copies that `with_prompts` makes.
        self._images: dict[str, ImageRows] = {}
        self._shards: dict[str, list[Tensor | None]] = {}
        self._encoded: dict[str, _Encoded] = {}
        self._given: dict[str, Tensor] = {}  # parts whose features came in place of images
        self._patches: dict[str, ImageRows] = {}
        self._lacking: dict[str, list[int]] = {}  # missing shards of `_patches`
        self._say(prompts, texts)

    def with_prompts(self, prompts: str, texts: Sequence[Sequence[str]]) -> DatasetTask:
        """The same task with other prompts; images are encoded once for both.

        Args:
            prompts: Kind of prompts.
            texts: The prompts of every class.
        """
        other = copy.copy(self)
        other._say(prompts, texts)
        return other

    def _say(self, prompts: str, texts: Sequence[Sequence[str]]) -> None:
        self.prompts = prompts if self._encoder.has_text else NO_PROMPTS
        self.hashes = self.hashes | {
            "prompts_sha256": sha256_json([list(of_class) for of_class in texts])
        }
        self._prompts = [text for of_class in texts for text in of_class]
        self._counts = [len(of_class) for of_class in texts]
        self._text_recipe = text_recipe(self._encoder, self._prompts)
        self._text_shards: list[Tensor | None] | None = None
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

    def _list(self, need: Need) -> list[str]:
        """Make the lists of images, and look for their patches in the store."""
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
        for name in need.patches - self._lacking.keys():
            self._patches[name] = work = self._rows(name, patches=True)
            self._lacking[name] = self._store.lacks(work.recipe, work.rows)
        return names

    def is_encoded(self, need: Need) -> bool:
        lists = [(self._images[name].recipe, self._images[name].rows) for name in self._list(need)]
        lists.append((self._text_recipe, len(self._prompts)))
        patches = any(self._lacking[name] for name in need.patches)
        return not patches and not any(self._store.lacks(*rows) for rows in lists)

    def _look(self, need: Need) -> list[str]:
        """Load the shards that the store has, once, before the first launch and on every rank."""
        names = self._list(need)
        for name in names:
            if name not in self._shards:
                work = self._images[name]
                self._shards[name] = self._store.load(work.recipe, work.rows)
        if self._text_shards is None:
            self._text_shards = self._store.load(self._text_recipe, len(self._prompts))
        return names

    def lacking(self, need: Need) -> dict[tuple[str, str], int]:
        names = self._look(need)
        rows = {
            ("images", sha256_json(self._images[name].recipe)): rows_in(
                _none(self._shards[name]), self._images[name].rows
            )
            for name in names
            if name not in self._encoded
        }
        for name in need.patches:
            work = self._patches[name]
            rows["images", sha256_json(work.recipe)] = rows_in(self._lacking[name], work.rows)
        absent = _none(self._text_shards or [])
        rows["prompts", sha256_json(self._text_recipe)] = rows_in(absent, len(self._prompts))
        return {key: count for key, count in rows.items() if count}

    def agree(self, need: Need, launch: Launch) -> None:
        patches = sorted(need.patches)

        def lacking() -> str:
            absent = [_none(self._shards[name]) for name in self._look(need)]
            return json.dumps([absent, [self._lacking[name] for name in patches]])

        absent, unpatched = json.loads(from_first(launch, f"rows of {self.called}", lacking))
        for name, missing in zip(self._look(need), absent, strict=True):
            recipe = self._images[name].recipe
            for i, shard in enumerate(self._shards[name]):
                if i in missing:
                    self._shards[name][i] = None
                elif shard is None:  # rank 0 has found it since
                    self._shards[name][i] = self._store.get(recipe, i)
        self._lacking.update(zip(patches, unpatched, strict=True))

    def features(self, need: Need, launch: Launch, advance: Advance) -> TaskFeatures:
        started = time.perf_counter()
        names = self._look(need)
        is_encoding = any(self.missing(need).values())
        count = partial(advance, "images")
        for name in names:
            if name in self._encoded:
                continue
            work, shards = self._images[name], self._shards[name]
            rows = encode(work, shards, self._encoder, self._store, launch, count)
            self._encoded[name] = _Encoded.of(rows, work.views)
            self._shards[name] = []
        for name in sorted(need.patches):
            if lacking := self._lacking[name]:
                from susx_bench.features.encode import fill

                towers = self._encoder.towers
                fill(self._patches[name], lacking, towers, self._store, launch, count)
                self._lacking[name] = []
        done = {name: self._encoded[name] for name in names}
        width = done["test"].rows.shape[1]
        texts = self._texts(launch, advance) if self._prompts else torch.zeros(0, width)
        prompts = torch.split(F.normalize(texts, dim=-1), self._counts) if self._prompts else None
        val = val_norms = None
        if "val" in done and self.val_labels is not None:
            val, val_norms = Labelled(done["val"].rows, self.val_labels), done["val"].norms
        pool = {name: part for name, part in done.items() if name not in self._splits}
        norms = None
        if "norms" in self.gives:
            norms = Norms(
                text=torch.tensor(
                    [float(e.mean()) for e in texts.norm(dim=-1).split(self._counts)]
                ),
                parts={name: part.norms for name, part in pool.items()},
                val=val_norms,
                test=done["test"].norms,
            )
        return TaskFeatures(
            text=texts if prompts is None else mean_unit(prompts),
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
            seconds=time.perf_counter() - started if is_encoding else 0.0,
        )

    def _texts(self, launch: Launch, advance: Advance) -> Tensor:
        """Features of every single prompt, ``(T, D)``, made and kept a shard at a time."""
        rows, longest = encode_texts(
            self._prompts,
            self._text_shards or [],
            self._encoder,
            self._store,
            launch,
            partial(advance, "prompts"),
        )
        shards = -(-len(rows) // SHARD)
        self._text_shards = [rows[i * SHARD : (i + 1) * SHARD] for i in range(shards)]
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
        """From the rows of the store, `views` rows per image."""
        unit, norms = F.normalize(stored, dim=-1), stored.norm(dim=-1)
        rows = mean_unit(torch.split(unit, views)) if views > 1 else unit
        return cls(rows, norms.view(-1, views).mean(1), unit.view(len(rows), views, -1))


def _listing(splits: Sequence[DatasetSplit], contents: Contents) -> list[str]:
    """Remarks on the splits that are used.

    Raises:
        DatasetError: If two splits share an image, an image has several classes, or no image of a
            split shows anything.
    """
    dataset = splits[0].dataset
    remarks = [*dataset.remarks, *alike(dataset.spec.classnames)]
    for split in splits:
        remarks += lacking(split.split, split.samples, split.classnames)
    name = dataset.spec.name
    for split in splits:
        if wrong := unseen(split.split, appearances(split)):
            raise DatasetError(f"{name}: {dataset.origin}: {wrong[0]}.")
    if dataset.is_published:
        return remarks  # duplicates across published splits belong to the published protocol
    if groups := linked_leaks(splits):
        raise DatasetError(
            f"{name}: {dataset.origin} has one file in several splits, by a link: "
            f"{as_text(groups)}. Take it out of one of them."
        )
    same = contents.copies(splits)
    if groups := leaks(same):
        raise DatasetError(
            f"{name}: {dataset.origin} has the same image, pixel for pixel, in several splits, "
            f"{len(groups)} in all, so that accuracies would be too high: {as_text(groups)}. "
            "Remove them from one split, or give a --split-file; `susx-bench data check` lists "
            "them."
        )
    names = {
        Place(split.split, sample.key): ("unknown", *split.classnames)[sample.label + 1]
        for split in splits
        for sample in split.samples
    }
    if groups := contradictions(same, names):
        raise DatasetError(
            f"{name}: {dataset.origin} has the same image, pixel for pixel, under several labels, "
            f"{len(groups)} in all, of which one at most is right: {as_text(groups)}. Leave each "
            "image in one class; `susx-bench data check` lists them."
        )
    return remarks


def _none(shards: Sequence[Tensor | None]) -> list[int]:
    """Positions of the shards that the store does not have."""
    return [i for i, shard in enumerate(shards) if shard is None]
