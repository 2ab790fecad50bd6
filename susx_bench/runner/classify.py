"""The Lightning module that asks a method for predictions."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from susx_bench.errors import PluginError
from susx_bench.methods.base import Context, Method
from susx_bench.methods.ties import first_alike, top1
from susx_bench.runner.measure import written

SPOTS = 4
"""Number of images of a rank's first block that are scored three times, see `Classify`."""

_SAME = 1e-4  # most that rounding may change an image's logits, relative to its largest


class Classify(LightningModule):
    """Scores blocks of features with a fitted method; no gradient, nothing to train.

    Labels never come here: predictions are compared with them after the ranks are joined. For an
    inductive method a few images are scored three times: in their block; among other rows, by a
    copy that has seen no image before; and after all other images. See `_spot_check`.

    Args:
        method: The method, fitted on `context`, its hyper-parameters chosen.
        context: Its context. On a device other than the CPU the method is fitted on it again.
        hparams: The chosen hyper-parameters. Rank 0's are used on every rank.
    """

    def __init__(self, method: Method, context: Context, hparams: Mapping[str, float]) -> None:
        super().__init__()
        self.method = method
        self._context = context
        self._hparams = dict(hparams)
        self._failure: BaseException | None = None
        self._first_block: tuple[Tensor, Tensor, Tensor] | None = None

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

        A method that looks at the other images of a block does not get the padding.

        Returns:
            ``position (B,)``, -1 for padding; ``top1 (B,)``, the class, see `ties.top1`;
            ``margin (B,)``, the highest minus the second highest logit, in CLIP's units;
            ``logits (B, K)``, fp32.
        """
        blocks, position = batch
        classes, margin, scores = [], [], []
        for block, place in zip(blocks, position, strict=True):
            if (place < 0).all():  # this rank's share is shorter: nothing to score
                classes.append(torch.zeros_like(place))
                margin.append(block.new_zeros(len(place)))
                scores.append(block.new_zeros(len(place), self._context.num_classes))
                continue
            rows = block if self.method.regime == "inductive" else block[place >= 0]
            try:
                winner, lead, logits = self._answer(rows, place)
            except (Exception, SystemExit) as error:
                self._hold(error)
                winner, lead, logits = self._answer(rows, place)
            padding = (0, len(block) - len(rows))
            classes.append(F.pad(winner, padding))
            margin.append(F.pad(lead, padding))
            scores.append(F.pad(logits, (0, 0, *padding)))
        return {
            "position": position.flatten(),
            "top1": torch.cat(classes),
            "margin": torch.cat(margin),
            "logits": torch.cat(scores),
        }

    def on_predict_epoch_end(self) -> None:
        """Raise on every rank if the method failed on one, after the ranks are joined."""
        if self._first_block is not None and self._failure is None:
            block, place, before = self._first_block
            try:
                spots = _spots(place)
                after = self._logits(self.method, block).float()[spots]
                self._compare(spots, place, before, after, "after other images")
            except (Exception, SystemExit) as error:
                self._hold(error)
        world = self.trainer.world_size
        if world == 1:
            return
        failures: list[Any] = [None] * world
        own_failure: Any = self._failure and f"{type(self._failure).__name__}: {self._failure}"
        torch.distributed.all_gather_object(failures, own_failure)
        if self._failure is not None:
            raise self._failure
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise RuntimeError(f"method '{self.method.name}' failed on rank {rank}: {failure}")

    def _hold(self, error: BaseException) -> None:
        """Keep an error until the ranks are joined, since the others wait for this one's rows."""
        if self.trainer.world_size == 1:
            raise error
        self._failure = self._failure or error

    def _answer(self, block: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score a block: the class of each image, its margin, and the logits."""
        if self._failure is not None:  # a method that failed is not called again
            nothing = block.new_zeros(len(block), self._context.num_classes)
            return nothing[:, 0].long(), nothing[:, 0], nothing
        if self.method.regime == "inductive" and self._first_block is None:
            untouched = _copied(self.method)
            logits = self._logits(self.method, block).float()
            self._spot_check(untouched, block, place, logits)
            self._first_block = block, place, logits[_spots(place)].clone()
        else:
            logits = self._logits(self.method, block).float()
        highest = logits.topk(2, dim=-1).values
        return top1(logits, self._first), highest[:, 0] - highest[:, 1], logits

    def _spot_check(self, method: Method, block: Tensor, place: Tensor, logits: Tensor) -> None:
        """Refuse an inductive method if its answer for an image depends on other rows.

        The images are moved to other places of a block of the same size, so that products round
        alike. All other rows are the first image with its dimensions reversed: it has the same
        length, and neither an image nor the method's data equals it.

        Args:
            method: A copy from before the first block, so that it has kept nothing of that block.
            block: The first block of this rank.
            place: Positions of its images, -1 for padding.
            logits: The method's own logits of the block.
        """
        size, spots = len(block), _spots(place)
        moved = (spots + size // 2) % size
        changed_block = block[:1].flip(-1).expand_as(block).clone()
        changed_block[moved] = block[spots]
        after = self._logits(method, changed_block).float()[moved]
        self._compare(spots, place, logits[spots], after, "among other rows of their block")

    def _compare(
        self, spots: Tensor, place: Tensor, before: Tensor, after: Tensor, when: str
    ) -> None:
        """Refuse a method that gives the same images different logits.

        Raises:
            PluginError: If they differ by more than rounding.
        """
        finite = before.isfinite()
        largest = before.masked_fill(~finite, 0).abs().amax(-1)
        change = (after - before).masked_fill(before == after, 0).abs().amax(-1)
        wrong = (change > _SAME * largest).nonzero().flatten().tolist()
        if wrong:
            worst = wrong[int(change[wrong].argmax())]
            raise PluginError(
                f"method '{self.method.name}' says that it is inductive, but {len(wrong)} of "
                f"{len(spots)} images get other logits {when}: image "
                f"{int(place[spots[worst]])} by {float(change[worst]):.3g}, its largest is "
                f"{float(largest[worst]):.3g}. Take in `fit` what it needs to know of images, draw "
                'nothing at random, or say regime = "transductive" or "streaming".'
            )

    def _logits(self, method: Method, block: Tensor) -> Tensor:
        """Call a method, and check that it gives a valid score for every image and class."""
        images = block.clone()  # other methods get the block itself
        logits = method.logits(images)
        if not torch.equal(images, block):
            raise written(self.method)
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


def _spots(place: Tensor) -> Tensor:
    """Places of some images in a block, spread over it."""
    real = int((place >= 0).sum())
    return torch.arange(0, real, math.ceil(real / SPOTS), device=place.device)


def _copied(method: Method) -> Method:
    """Copy a method and its state; return the method itself if it cannot be copied."""
    try:
        return copy.deepcopy(method)
    except Exception:  # a plugin's method may keep objects of any kind
        return method
