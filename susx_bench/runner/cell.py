"""A cell: one number of a table before it is measured, and the hash of all its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from susx_bench.features.blocks import BLOCK
from susx_bench.features.task import Task
from susx_bench.methods.base import Method, Setting
from susx_bench.options.asked import FEW_VAL
from susx_bench.options.recorded import Extras
from susx_bench.options.run import RunOptions
from susx_bench.records.files import sha256_json
from susx_bench.records.record import SCHEMA, Record
from susx_bench.runner.draws import Draws
from susx_bench.support.fewshot import DrawRule
from susx_bench.tuning.names import Tune

_RECORDED = [
    name
    for name in RunOptions.declared()
    if name in Record.model_fields and name not in Extras.model_fields
]
"""The options that every record has a field for, under the option's name."""


@dataclass(frozen=True)
class Cell:
    """One number of a table, before it is measured.

    Attributes:
        task: The task to classify.
        draws: The draws from the task, shared by its cells.
        method: The method's class.
        method_source: sha256 of the file that the method was read from; empty for one of ours.
        setting: ``name-only`` or ``few-shot``.
        draw_shots: Support images per class to draw; None to use the support set whole.
        seed: Seed of the draw; 0 if nothing is drawn.
        draw: Kind of draw: ``balanced``, ``coop``, or ``file``.
        chosen: Positions in the pool that a file names; None without a file.
        tune: The labels that choose the hyper-parameters.
        val_shots: Images per class that ``few-val`` looks at; None for min(S, 4).
        official: Whether to reproduce the authors' public code.
        order: Seed of the order of the test images; 0 for the order of the split, or if the method
            does not depend on the order.
        batches: `Batches` in which the method gets the test set; empty for the whole test set, or
            if the method does not depend on them.
        plugins: Packages of a plugin's method, with their versions; empty for one of ours.
        no_prompts: Why the prompts that the method brings are missing; empty if it has them or
            brings none. If they are missing, the task falls back to the user's prompts.
        extras: `susx_bench.options.recorded.Extras` that are set. They are part of the input hash
            and of the record.
        given: `Record.given`.
    """

    task: Task
    draws: Draws
    method: type[Method]
    method_source: str
    setting: Setting
    draw_shots: int | None
    seed: int
    draw: DrawRule
    chosen: Tensor | None
    tune: Tune
    val_shots: int | None
    official: bool
    order: int = 0
    batches: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    no_prompts: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def support(self) -> Tensor:
        """Positions of the support images in the task's pool, ``(M,)``."""
        if "support" not in self.method.needs:
            return torch.zeros(0, dtype=torch.int64)
        if self.chosen is not None:
            return self.chosen
        if self.draw_shots is None:
            return self.draws.whole
        if self.draw == "coop":
            return self.draws.coop(self.draw_shots, self.seed)[0]
        return self.draws.balanced(self.draw_shots, self.seed)

    @cached_property
    def parts(self) -> list[Tensor]:
        """The lists of positions in the pool that cover `support`; each is encoded together."""
        if self.setting == "name-only" and len(self.support):
            return [self.draws.whole]  # a support set is small, and made to be used whole
        if self.draw == "balanced" and self.draw_shots is not None and len(self.support):
            return self.draws.draw_in_parts(self.draw_shots, self.seed)
        return [self.support] if len(self.support) else []

    @property
    def sees_val(self) -> bool:
        """Whether the method or its tuning looks at the val split."""
        return self.tune in ("val", "few-val")

    @property
    def shots(self) -> int:
        """Support images per class; 0 without support, or if the number differs by class."""
        if self.draw_shots is not None and len(self.support):
            return self.draw_shots
        counts = torch.bincount(
            self.task.pool_labels[self.support], minlength=len(self.task.classnames)
        )
        return int(counts[0]) if (counts == counts[0]).all() else 0

    @cached_property
    def few_val(self) -> Tensor:
        """Positions of the val images that ``few-val`` looks at, drawn with the support's seed."""
        if self.draw == "coop" and self.draw_shots is not None and self.val_shots is None:
            return self.draws.coop(self.draw_shots, self.seed)[1]
        shots = self.val_shots or min(self.shots or FEW_VAL, FEW_VAL)
        return self.draws.few_val(shots, self.seed)

    @property
    def patches(self) -> frozenset[str]:
        """The splits, of ``test`` and ``val``, for which the method reads patch features."""
        if "spatial" not in self.method.needs:
            return frozenset()
        return frozenset({"test", "val"} if self.sees_val else {"test"})

    @cached_property
    def support_sha256(self) -> str:
        """Hash of the set of support images, independent of their order.

        It covers their pool, their positions in it, and their content.
        """
        if "support" not in self.method.needs:
            return sha256_json(None)
        return self.draws.sha256(self.support)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All inputs on which the record's predictions and scores depend."""
        plugins = {**self.plugins, **self.task.plugins}
        inputs = {
            "schema": SCHEMA,
            **self.options,
            "method_version": self.method.version,
            "method_source": self.method_source,
            "classnames": list(self.task.classnames),
            "tune": self.tune,
            "few_val": self.few_val.tolist() if self.tune == "few-val" else None,
            "block": BLOCK,
            "protocol": self.task.protocol,
            **self.hashes,
            "plugins": plugins,
        }
        # These came later and are left out if they say nothing, so that older hashes still hold.
        later = {"order": self.order or self.batches, "batches": self.batches, "plugins": plugins}
        return {name: value for name, value in inputs.items() if later.get(name, True)}

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of a run that a record has a field for, with their values in this cell.

        An option's value is the attribute of that name, of the cell or else of its task.
        """
        names = {"method": self.method.name, "support": self.support_name, "draw": self.draw_name}
        values = {n: getattr(self if hasattr(self, n) else self.task, n) for n in _RECORDED}
        return {**values, **names, **self.extras}

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of the data, which the record has too."""
        of_task = ("split_sha256", "prompts_sha256", "weights_sha256")
        return {
            "support_sha256": self.support_sha256,
            **{name: self.task.hashes[name] for name in of_task},
        }

    def check(self) -> None:
        """Draw the support images.

        Raises:
            ShotsError: If the pool, or the val split, has too few.
        """
        _ = self.input_sha256

    @cached_property
    def input_sha256(self) -> str:
        """Hash of `inputs`."""
        return sha256_json(self.inputs)

    @property
    def views(self) -> int:
        """Number of augmented views averaged per support image; 0 without support."""
        return self.task.views if "support" in self.method.needs else 0

    @property
    def draw_name(self) -> str:
        """Kind of the support's draw; empty if the support set is used whole."""
        drawn = "support" in self.method.needs and (self.draw_shots or self.chosen is not None)
        return self.draw if drawn else ""

    @property
    def support_name(self) -> str:
        """The support set's name; ``none`` for a method without support."""
        return self.task.support if "support" in self.method.needs else "none"
