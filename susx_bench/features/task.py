"""A classification task as a method meets it: names, hashes, and features when they are needed."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from susx_bench.features.blocks import Rows
from susx_bench.features.launch import Launch
from susx_bench.methods.base import Labelled
from susx_bench.methods.base import Need as MethodNeed
from susx_bench.records.files import sha256_arrays

Advance = Callable[[str, int], object]
"""Told what was just encoded, ``images`` or ``prompts``, and how many."""


@dataclass(frozen=True)
class Norms:
    """How long features were before they were L2-normalised.

    A row that is the mean of views or of prompts counts as long as these are on average.

    Attributes:
        text: ``(K,)``; ``(0,)`` where the encoder reads no text.
        parts: As in `TaskFeatures`, each ``(m,)``.
        val: ``(V,)``, or None.
        test: ``(N,)``.
    """

    text: Tensor
    parts: Mapping[str, Tensor]
    val: Tensor | None
    test: Tensor


@dataclass(frozen=True)
class TaskFeatures:
    """All features of a task.

    Attributes:
        text: ``(K, D)``; ``(0, D)`` where the encoder reads no text.
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

    def in_full(self) -> TaskFeatures:
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
        gives: Which of ``text``, ``support-views``, ``text-prompts``, ``spatial`` and ``norms`` it
            has.
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
    gives: frozenset[MethodNeed] = frozenset({"text"})
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
    def features(self, need: Need, launch: Launch, advance: Advance) -> TaskFeatures:
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


def _pick(rows: Mapping[str, Tensor], parts: Sequence[Tensor], positions: Tensor) -> Tensor:
    """Rows of some images of the pool, from the rows of the lists they are in."""
    together = torch.cat([rows[part_key(part)] for part in parts])
    place = {position: row for row, position in enumerate(torch.cat(list(parts)).tolist())}
    return together[[place[position] for position in positions.tolist()]]
