from __future__ import annotations

import dataclasses

import pytest
import torch

from susx_bench.methods.base import Context
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.tipx import TipX
from susx_bench.testing.task import make_context
from susx_bench.tuning.choose import choose
from susx_bench.tuning.support import cross_validate, deal, lean, too_few


def test_folds_are_balanced_within_every_class() -> None:
    labels = torch.arange(5).repeat(9)
    fold = deal(labels, 5, folds=4, seed=0)

    for label in range(5):
        assert sorted(torch.bincount(fold[labels == label], minlength=4).tolist()) == [2, 2, 2, 3]
    assert torch.equal(fold, deal(labels, 5, folds=4, seed=0))
    assert not torch.equal(fold, deal(labels, 5, folds=4, seed=1))


def hits(*rows: str) -> torch.Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


def test_a_clear_winner_is_taken_however_far() -> None:
    table = hits("xx........", "xxxxxxxxxx", "x.........")

    assert lean(table, torch.tensor([0, 5, 1])) == 1


def test_within_one_standard_error_the_centre_is_kept() -> None:
    # one more right than the centre, of three that differ: (2 - 1)^2 <= 2 + 1
    table = hits("xxxxxx.x..", "xxxxxxx.x.")

    assert lean(table, torch.tensor([0, 3])) == 0


def test_ties_go_to_fewest_steps_then_most_hits_then_the_first() -> None:
    table = hits("xxxx", "xxxx", "xxxx", "xxx.")

    assert lean(table, torch.tensor([2, 1, 1, 1])) == 1


def test_only_the_support_is_looked_at(context: Context) -> None:
    c = make_context(classes=4, shots=6)
    method = TipX()
    method.fit(c)
    space = method.space(c)

    with_val = cross_validate(method, c, space)
    without = cross_validate(method, dataclasses.replace(c, val=None), space)

    assert with_val == without
    assert with_val.images == 24
    assert with_val.settings == 8 * 7 * 8


def test_the_score_is_that_of_plain_folds() -> None:
    """The winner's held-out hits, recomputed with nothing but the method's own logits."""
    c = make_context(classes=4, shots=8, seed=3)
    method = TipAdapter()
    method.fit(c)
    chosen = cross_validate(method, c, method.space(c))
    fixed = method.fixed(c)
    beta = chosen.hparams["beta"] / fixed["beta"]
    height = chosen.hparams["alpha"] / method.scaled(c, {"beta": beta})["alpha"]
    fold = deal(c.support_labels, 4, folds=4, seed=0)
    right = 0
    for number in range(4):
        out = fold == number
        part = c.part(~out)
        fresh = TipAdapter()
        fresh.fit(part)
        fresh.set(fresh.scaled(part, {"beta": beta, "alpha": height}))
        right += int((fresh.logits(c.support[out]).argmax(-1) == c.support_labels[out]).sum())

    assert chosen.hits == right


@pytest.mark.parametrize("shots", [1, 3])
def test_with_too_few_shots_the_fixed_setting_is_used_and_said(shots: int) -> None:
    c = make_context(shots=shots)
    method = TipX()
    method.fit(c)

    choice = choose(method, c, "support")

    assert choice.hparams == method.fixed(c)
    assert choice.note == too_few(c) != ""
    assert f"{shots} support image" in choice.note
    assert choice.score is None
