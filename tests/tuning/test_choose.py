from __future__ import annotations

import pytest
import torch

from susx_bench.methods.base import Axis, Context, Method, SearchSpace
from susx_bench.methods.tipx import TipX
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import make_context
from susx_bench.tuning.choose import TUNES, Tune, choose


class Threshold(Method):
    """No linear terms: the tunings fall back to its logits."""

    name = "threshold"
    power: float = 1.0

    def fit(self, context: Context) -> None:
        self._text = context.text

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return (images @ self._text.T - 0.3).abs() ** self.power

    @property
    def hparams(self) -> dict[str, float]:
        return {"power": self.power}

    def space(self, context: Context) -> SearchSpace:
        return SearchSpace((Axis("power", (1.0, 2.0, -3.0)),), "test")


@pytest.mark.parametrize("tune", ["val", "few-val", "test"])
def test_a_searched_choice_is_set_scored_and_has_a_plateau(tune: Tune, context: Context) -> None:
    assert context.val is not None
    method = TipX()
    method.fit(context)

    choice = choose(method, context, tune, context.val)

    assert method.hparams == choice.hparams
    right = method.logits(context.val.features).argmax(-1) == context.val.labels
    assert choice.score == 100 * int(right.sum()) / 40
    assert (choice.settings, choice.images) == (200_000, 40)
    assert choice.plateau is not None
    assert 1 <= choice.plateau.ties <= choice.plateau.near <= 200_000
    for name, (low, high) in choice.plateau.ranges.items():
        assert low <= choice.hparams[name] <= high


@pytest.mark.parametrize("tune", ["support", "val", "test"])
def test_a_method_without_linear_terms_is_tuned_too(tune: Tune) -> None:
    c = make_context(shots=6)
    method = Threshold()
    method.fit(c)

    choice = choose(method, c, tune, c.val)

    assert choice.settings == (7 if tune == "support" else 3)
    assert method.power == choice.hparams["power"]


@pytest.mark.parametrize("tune", TUNES)
def test_a_method_without_hyper_parameters_has_nothing_to_choose(
    tune: Tune, context: Context
) -> None:
    method = ZeroShot()
    method.fit(context)

    choice = choose(method, context, tune, context.val)

    assert choice.hparams == {}
    assert choice.settings == 0


class Seen(Threshold):
    """A method some constants of which were chosen on a dataset."""

    name = "seen"
    seen = frozenset({"toy"})

    def published(self, dataset: str) -> dict[str, float] | None:
        return {"power": 2.0}


class SeenAlways(Seen):
    name = "seen-always"
    seen_always = True


@pytest.mark.parametrize("kind", [Threshold, Seen, SeenAlways])
@pytest.mark.parametrize("tune", TUNES)
def test_a_choice_says_on_which_datasets_its_constants_were_chosen(
    tune: Tune, kind: type[Method]
) -> None:
    c = make_context(shots=6)
    method = kind()
    if tune == "published" and kind is Threshold:
        return
    method.fit(c)
    rules = {"ucf101", "caltech101", "digits"} if tune == "support" else set()
    own = kind is SeenAlways or (kind is Seen and tune in ("fixed", "support"))
    expected = {c.dataset} if tune == "published" else rules | ({"toy"} if own else set())

    assert choose(method, c, tune, c.val).seen == expected


def test_too_few_to_cross_validate_is_fixed_and_what_fixed_has_seen() -> None:
    c = make_context(shots=2)
    method = Seen()
    method.fit(c)

    assert choose(method, c, "support").seen == {"toy"}


def test_published_constants_are_never_invented(context: Context) -> None:
    method = TipX()
    method.fit(context)

    with pytest.raises(ValueError, match="no published constants"):
        choose(method, context, "published")


@pytest.mark.parametrize(("shots", "alpha"), [(1, 25.0), (4, 12.5), (16, 6.25)])
def test_fixed_weights_fall_with_the_root_of_the_shots(shots: int, alpha: float) -> None:
    c = make_context(shots=shots)
    method = TipX(alpha=999.0)  # what a tuning left behind is not the fixed setting
    method.fit(c)

    choice = choose(method, c, "fixed")

    assert choice.hparams == {"alpha": alpha, "beta": 16.0, "gamma": alpha * 8 / 25}
