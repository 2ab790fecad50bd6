"""Draw images from a task: each draw is made once, for all cells that share it."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from susx_bench.features.task import Task
from susx_bench.records.files import sha256_arrays, sha256_json
from susx_bench.support.fewshot import Pool, draw, draw_coop, draw_in_parts


class Draws:
    """Draws from the pool and the val split of a task, shared with tasks of other prompts.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._balanced: dict[tuple[int, int], Tensor] = {}
        self._parts_drawn: dict[tuple[int, int], list[Tensor]] = {}
        self._coop: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._few_val: dict[tuple[int, int], Tensor] = {}
        self._hashes: dict[str, str] = {}

    @cached_property
    def pool(self) -> Pool:
        """The images from which support is drawn."""
        task = self._task
        return Pool(task.pool_labels, task.classnames, task.where)

    @cached_property
    def whole(self) -> Tensor:
        """Positions of the whole pool, ``(P,)``."""
        return torch.arange(len(self._task.pool_labels))

    def _val(self, where: str) -> Pool | None:
        labels = self._task.val_labels
        return None if labels is None else Pool(labels, self._task.classnames, where)

    def balanced(self, shots: int, seed: int) -> Tensor:
        """The positions that `draw` gives."""
        key = shots, seed
        if key not in self._balanced:
            self._balanced[key] = draw(self.pool, shots, seed)
        return self._balanced[key]

    def draw_in_parts(self, shots: int, seed: int) -> list[Tensor]:
        """The positions that `susx_bench.support.fewshot.draw_in_parts` gives."""
        key = shots, seed
        if key not in self._parts_drawn:
            self._parts_drawn[key] = draw_in_parts(self.pool, shots, seed)
        return self._parts_drawn[key]

    def coop(self, shots: int, seed: int) -> tuple[Tensor, Tensor]:
        """CoOp's draw from the pool and, with the same stream, from the val split."""
        key = shots, seed
        if key not in self._coop:
            self._coop[key] = draw_coop(self.pool, shots, seed, self._val("val"))
        return self._coop[key]

    def few_val(self, shots: int, seed: int) -> Tensor:
        """Draw a number of images per class from the val split.

        Raises:
            ValueError: If the task has no val split.
        """
        key, pool = (shots, seed), self._val(f"{self._task.dataset} val")
        if pool is None:
            raise ValueError(f"{self._task.called} has no val split")
        if key not in self._few_val:
            self._few_val[key] = draw(pool, shots, seed, option="--val-shots")
        return self._few_val[key]

    def sha256(self, positions: Tensor) -> str:
        """Hash of a set of pool images: the pool, their positions and content, in any order."""
        positions = positions.sort().values
        places = sha256_arrays({"support": positions.numpy()})
        if places not in self._hashes:
            pool = self._task.hashes["pool_sha256"]
            self._hashes[places] = sha256_json([pool, places, self._task.content(positions)])
        return self._hashes[places]
