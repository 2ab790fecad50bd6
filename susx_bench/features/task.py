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
"""Called with the unit just encoded, ``images`` or ``prompts``, and how many."""


@dataclass(frozen=True)
class Norms:
    """Lengths of features before they were L2-normalised.

    The length of a mean of views or prompts is the mean of their lengths.

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
        norms: Their lengths before they were L2-normalised; None if unknown.
        patches: Features of the patches of each image of ``test`` and ``val``, ``(P, D)`` per
            image, if they are needed and the task has them.
        seconds: Time that encoding took in this run; 0 if the store had everything.
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
        """The same features with their original lengths, of text, support, val and test."""
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
            parts: The lists in which they were encoded, as positions in the pool.
            positions: The images, each in one of the lists.
        """
        return _pick(self.parts, parts, positions)

    def support_views(self, parts: Sequence[Tensor], positions: Tensor) -> Tensor:
        """Views of some images of the pool, ``(len(positions), A, D)``, see `support`.

        Only for a task that gives ``support-views``.
        """
        return _pick(self.views, parts, positions)


@dataclass(frozen=True)
class Need:
    """Which features of a task are needed.

    Attributes:
        parts: Lists of positions in the pool, each to be encoded together.
        val: Whether the val split is needed.
        patches: The splits, ``test`` or ``val``, of which patches are needed.
    """

    parts: Sequence[Tensor]
    val: bool = True
    patches: frozenset[str] = frozenset()


def part_key(positions: Tensor) -> str:
    """The key of a list of positions in the pool."""
    return sha256_arrays({"positions": positions.numpy()})


class Task(ABC):
    """Names, labels and hashes of a task, known before encoding, and then its features.

    Test labels are an attribute of the task alone: no `Context` holds them.

    Attributes:
        dataset: Name of the dataset.
        given: The name or path by which the user gave the dataset; empty for a bundle.
        encoder: Name of the encoder.
        prompts: Kind of prompts.
        protocol: The published split that is used, by its source.
        support: Name of the support set that `pool_labels` belongs to.
        where: The source of the support images, for messages.
        classnames: Canonical names.
        logit_scale: The encoder's factor on cosines.
        pool_labels: Labels of the images that support may be taken from, ``(P,)``.
        val_labels: ``(V,)``, or None without a val split.
        test_size: Number of test images N.
        test_labels: ``(N,)``; for the record alone. None for unlabelled images, which are
            predicted and not scored.
        val_is_test: Whether the published protocol validates on the test set.
        views: Augmented views each support image is averaged over, 1 for the image itself.
        width: Width D of a feature; None while unknown.
        gives: The inputs it has, of ``text``, ``support-views``, ``text-prompts``, ``spatial`` and
            ``norms``.
        patched: The splits, of ``test`` and ``val``, whose patches it has.
        skipped: Images that were left out because they cannot be decoded.
        cut: How many prompts are longer than the encoder reads, in words; set by encoding.
        plugins: Versions of the other packages that dataset and encoder come from.
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
        """The dataset under the name that the user gave."""
        return self.given or self.dataset

    @property
    def pool_keys(self) -> Sequence[str]:
        """Keys of the images of the pool."""
        return [str(i) for i in range(len(self.pool_labels))]

    def content(self, positions: Tensor) -> str:
        """Hash of the content of images of the pool; empty if `hashes` cover it."""
        return ""

    @abstractmethod
    def features(self, need: Need, launch: Launch, advance: Advance) -> TaskFeatures:
        """Read or make the features. Every rank calls this, and gets the same.

        Args:
            need: The features that are needed.
            launch: Where to encode.
            advance: Called with the unit just encoded, ``images`` or ``prompts``, and about how
                many.
        """

    @abstractmethod
    def lacking(self, need: Need) -> dict[tuple[str, str], int]:
        """Count the rows that are not encoded yet, for each list of rows in the store.

        Returns:
            The number of missing rows of each incomplete list. Its key is ``images`` (or views of
            them) or ``prompts``, and a hash: tasks that share a list have one key for it.
        """

    def agree(  # noqa: B027 - a task of stored features has nothing to agree on
        self, need: Need, launch: Launch
    ) -> None:
        """Take the rows that rank 0 lacks as those to encode; every rank calls this.

        Another run may have made some of them between the looks of two ranks.

        Args:
            need: The features that are needed.
            launch: Where they are to be encoded.
        """

    def is_encoded(self, need: Need) -> bool:
        """Whether no row is missing. Nothing stays in memory, unlike after `lacking`."""
        return not self.lacking(need)

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
