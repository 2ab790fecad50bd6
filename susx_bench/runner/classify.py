"""The Lightning module that asks a method for predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from susx_bench.errors import PluginError
from susx_bench.methods.base import Context, Method
from susx_bench.methods.ties import first_alike, top1


class Classify(LightningModule):
    """Scores blocks of features with a fitted method; no gradient, nothing to train.

    Labels never come here: predictions meet them in the record, after the ranks are joined.

    Args:
        method: Fitted on `context`, its hyper-parameters chosen.
        context: What it was fitted on; fitted again where the device is not the CPU.
        hparams: The chosen hyper-parameters. Rank 0's are used on every rank.
    """

    def __init__(self, method: Method, context: Context, hparams: Mapping[str, float]) -> None:
        super().__init__()
        self.method = method
        self._context = context
        self._hparams = dict(hparams)
        self._failure: BaseException | None = None

    def on_predict_start(self) -> None:
        if self.device.type != "cpu":
            try:
                self.method.fit(self._context.to(self.device))
            except (Exception, SystemExit) as error:
                self._hold(error)
        self.method.set(self.trainer.strategy.broadcast(self._hparams))
        self._first = first_alike(self._context, self.method.needs).to(self.device)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Score each block ``(block, D)`` of the batch on its own.

        A method that looks at the other images of a block is not shown the padding in it.

        Returns:
            ``position (B,)``, -1 for padding; ``top1 (B,)``, the class, see `ties.top1`;
            ``margin (B,)``, the highest minus the second highest logit, in CLIP's units.
        """
        blocks, position = batch
        classes, margin = [], []
        for block, place in zip(blocks, position, strict=True):
            if (place < 0).all():  # this rank's share is shorter: nothing to score
                classes.append(torch.zeros_like(place))
                margin.append(block.new_zeros(len(place)))
                continue
            rows = block if self.method.regime == "inductive" else block[place >= 0]
            try:
                winner, lead = self._answer(rows)
            except (Exception, SystemExit) as error:
                self._hold(error)
                winner, lead = self._answer(rows)
            padding = (0, len(block) - len(rows))
            classes.append(F.pad(winner, padding))
            margin.append(F.pad(lead, padding))
        return {
            "position": position.flatten(),
            "top1": torch.cat(classes),
            "margin": torch.cat(margin),
        }

    def on_predict_epoch_end(self) -> None:
        """Fail on every rank where the method failed on one: after the ranks are joined."""
        world = self.trainer.world_size
        if world == 1:
            return
        told: list[Any] = [None] * world
        mine: Any = self._failure and f"{type(self._failure).__name__}: {self._failure}"
        torch.distributed.all_gather_object(told, mine)
        if self._failure is not None:
            raise self._failure
        for rank, failure in enumerate(told):
            if failure is not None:
                raise RuntimeError(f"method '{self.method.name}' failed on rank {rank}: {failure}")

    def _hold(self, error: BaseException) -> None:
        """Keep an error until all ranks are there, since the others wait for this one's rows."""
        if self.trainer.world_size == 1:
            raise error
        self._failure = self._failure or error

    def _answer(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """The class of every image, and by how much the highest logit leads the second."""
        if self._failure is not None:  # nothing more is asked of a method that failed
            return torch.zeros(len(block), dtype=torch.int64), block.new_zeros(len(block))
        logits = self._logits(block).float()
        highest = logits.topk(2, dim=-1).values
        return top1(logits, self._first), highest[:, 0] - highest[:, 1]

    def _logits(self, block: Tensor) -> Tensor:
        """Ask the method, and believe only scores for every image and class."""
        logits = self.method.logits(block)
        want, name = (len(block), self._context.num_classes), self.method.name
        if not isinstance(logits, Tensor) or tuple(logits.shape) != want:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise PluginError(f"method '{name}': its logits are {got}, not {want}.")
        wrong = int((logits.isnan() | logits.isposinf()).any(-1).sum())
        if wrong:
            raise PluginError(
                f"method '{name}': its logits are NaN or infinite for {wrong} of {len(block)} "
                "images."
            )
        return logits
