"""The exact search against plain loops: same winner, same counts, ties included."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from susx_bench.methods.base import Axis, Context, Labelled, LinearMethod, SearchSpace, Terms
from susx_bench.methods.ties import top1
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.tipx import TipX
from susx_bench.testing.task import clustered, make_context, unit
from susx_bench.tuning import exact
from susx_bench.tuning.exact import exact_search


def loops(method: LinearMethod, images: Labelled, space: SearchSpace) -> Tensor:
    """Every setting on its own, as the public code does: logits, accuracy, next."""
    counts = torch.zeros(space.shape, dtype=torch.int64)
    for index in itertools.product(*(range(n) for n in space.shape)):
        method.set(space.setting(index))
        counts[index] = (top1(method.logits(images.features)) == images.labels).sum()
    return counts


def check(method: LinearMethod, images: Labelled, space: SearchSpace) -> None:
    counts = loops(method, images, space)
    found = exact_search(method, images, space)

    assert found.correct == counts.max()
    assert found.index == tuple(
        int(i) for i in torch.unravel_index(counts.flatten().argmax(), counts.shape)
    )
    assert (found.lower <= counts).all()
    assert (counts <= found.upper).all()
    assert found.lower[found.index] == found.upper[found.index] == found.correct


WEIGHTS = st.lists(
    st.sampled_from([0.0, 0.1, 0.7, 1.0, 3.0, 9.0, 40.0]), min_size=1, max_size=5, unique=True
)
SHARPNESS = st.lists(
    st.sampled_from([0.1, 1.0, 2.5, 4.0, 5.5, 30.0]), min_size=1, max_size=4, unique=True
)


@settings(max_examples=150, deadline=None)
@given(
    alphas=WEIGHTS,
    betas=SHARPNESS,
    gammas=WEIGHTS,
    order=st.sampled_from([(0, 1, 2), (1, 0, 2), (0, 2, 1)]),
    classes=st.integers(2, 7),
    shots=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    balanced=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_winner_and_bounds_are_those_of_plain_loops(
    alphas: list[float],
    betas: list[float],
    gammas: list[float],
    order: tuple[int, int, int],
    classes: int,
    shots: int,
    dtype: torch.dtype,
    balanced: bool,
    seed: int,
) -> None:
    c = make_context(classes, shots, seed=seed)
    val = c.val
    assert val is not None
    rows = torch.arange(len(c.support) - (0 if balanced or shots == 1 else 1))
    c = Context(c.text.to(dtype), c.support[rows].to(dtype), c.support_labels[rows], 20.0)
    images = Labelled(val.features.to(dtype), val.labels)
    axes = (
        Axis("alpha", tuple(alphas), weight=True),
        Axis("beta", tuple(betas)),
        Axis("gamma", tuple(gammas), weight=True),
    )
    method = TipX()
    method.fit(c)
    check(method, images, SearchSpace(tuple(axes[i] for i in order), "test"))


@pytest.mark.parametrize("seed", range(3))
def test_an_even_grid_takes_the_running_product(seed: int, context: Context) -> None:
    assert context.val is not None
    method = TipAdapter()
    method.fit(make_context(seed=seed))
    axes = (Axis.even("beta", 0.1, 50, 90), Axis.even("alpha", 0.1, 5, 4, weight=True))

    check(method, context.val, SearchSpace(axes, "test"))


def test_parts_of_the_images_add_up(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert context.val is not None
    space = SearchSpace(
        (
            Axis("alpha", (0.0, 1.0, 8.0), weight=True),
            Axis("beta", (1.0, 9.0)),
            Axis("gamma", (0.5, 2.0, 4.0, 30.0), weight=True),
        ),
        "test",
    )
    method = TipX()
    method.fit(context)
    whole = exact_search(method, context.val, space)

    monkeypatch.setattr(exact, "LITERAL_ROWS", 16)
    monkeypatch.setattr(exact, "_SWEEP_ELEMENTS", {"cpu": 100})
    monkeypatch.setattr(exact, "_MARGINS", 10)
    parts = exact_search(method, context.val, space)

    assert parts.index == whole.index
    assert torch.equal(parts.lower, whole.lower)


@dataclasses.dataclass
class Toy(LinearMethod):
    """Three weights, and terms that all move with two non-linear hyper-parameters."""

    name = "toy"
    a: float = 1.0
    b: float = 1.0
    c: float = 1.0
    p: float = 1.0
    q: float = 1.0

    def fit(self, context: Context) -> None:
        self._text = context.text

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        cosine = prepared[0] @ self._text.T
        return Terms(
            self.q * cosine,
            {"a": cosine.abs() ** self.p, "b": torch.sin(9 * cosine * self.q), "c": cosine**2},
        )


def test_any_method_that_declares_its_terms_is_searched(context: Context) -> None:
    assert context.val is not None
    toy = Toy()
    toy.fit(context)
    space = SearchSpace(
        (
            Axis("q", (0.5, 2.0)),
            Axis("a", (0.0, 2.0, 1.0), weight=True),  # in no order
            Axis("p", (1.0, 3.0)),
            Axis("b", (0.1, 0.9, 0.3, 4.0), weight=True),
            Axis("c", (0.0, 5.0), weight=True),
        ),
        "test",
    )

    check(toy, context.val, space)


def test_equal_images_tie_to_the_last_bit() -> None:
    """Every image twice, every class text twice: margins of exactly 0, which the loops decide."""
    text = unit(3, 8, seed=1).repeat(2, 1)
    labels = torch.arange(6).repeat(4)
    features = clustered(labels, text, seed=2).repeat(2, 1)
    support_labels = torch.arange(6)
    c = Context(text, text.clone(), support_labels, 20.0)
    method = TipX()
    method.fit(c)
    space = SearchSpace(
        (
            Axis("alpha", (0.0, 1.0), weight=True),
            Axis("beta", (1.0, 2.0)),
            Axis("gamma", (0.0, 1.0, 2.0), weight=True),
        ),
        "test",
    )

    check(method, Labelled(features, labels.repeat(2)), space)
    assert exact_search(method, Labelled(features, labels.repeat(2)), space).recounted > 0


@pytest.mark.parametrize(
    "axes",
    [
        (Axis("beta", (1.0,)),),
        (Axis("alpha", (-1.0, 1.0), weight=True), Axis("beta", (1.0,))),
    ],
)
def test_grids_without_weights_or_with_negative_ones_are_refused(
    axes: Sequence[Axis], context: Context
) -> None:
    assert context.val is not None
    with pytest.raises(ValueError, match="no weights, or negative ones"):
        exact_search(TipAdapter(), context.val, SearchSpace(tuple(axes), "test"))


def test_terms_in_another_order_than_the_grid_are_refused(context: Context) -> None:
    assert context.val is not None
    method = TipX()
    method.fit(context)
    axes = (
        Axis("gamma", (1.0,), weight=True),
        Axis("beta", (1.0,)),
        Axis("alpha", (1.0,), weight=True),
    )
    with pytest.raises(ValueError, match="in this order"):
        exact_search(method, context.val, SearchSpace(axes, "test"))


def test_rows_a_little_longer_than_one_are_bounded_too() -> None:
    """Near-duplicates at norm 1.0009 have cosines above 1: a sharper cache is a higher one."""
    c = make_context(classes=4, shots=3, seed=1)
    rows = torch.arange(400) % 12
    noise = 1e-3 * unit(400, 16, seed=5)
    features = 1.0009 * torch.nn.functional.normalize(c.support[rows] + noise, dim=-1)
    c = dataclasses.replace(c, support=1.0009 * c.support)
    method = TipAdapter()
    method.fit(c)
    axes = (Axis.even("beta", 0.1, 7, 40), Axis("alpha", (1.0, 1.05, 1.1), weight=True))
    labels = c.support_labels[(rows + torch.arange(400) // 300) % 12]

    check(method, Labelled(features, labels), SearchSpace(axes, "test"))


@dataclasses.dataclass
class Zeros(LinearMethod):
    """Logits of exactly nothing at weight 0: a tie of all classes, which class 0 wins."""

    name = "zeros"
    a: float = 0.0

    def fit(self, context: Context) -> None:
        self._text = context.text

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        cosine = prepared[0] @ self._text.T
        return Terms(torch.zeros_like(cosine), {"a": -cosine})


def test_a_tie_of_zeros_is_a_tie() -> None:
    text = unit(4, 8, seed=1)
    labels = torch.zeros(30, dtype=torch.int64)
    method = Zeros()
    method.fit(Context(text, text[:0], labels[:0]))

    check(
        method,
        Labelled(clustered(labels, text, seed=3), labels),
        SearchSpace((Axis("a", (1.0, 0.0), weight=True),), "test"),
    )


class Broken(Zeros):
    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        terms = super().terms(prepared)
        terms.weighted["a"][3, 2] = torch.nan
        return terms


def test_logits_that_are_no_numbers_are_refused(context: Context) -> None:
    assert context.val is not None
    method = Broken()
    method.fit(context)

    with pytest.raises(ValueError, match="is not a number"):
        exact_search(
            method, context.val, SearchSpace((Axis("a", (0.0, 1.0), weight=True),), "test")
        )


@dataclasses.dataclass
class Hill(LinearMethod):
    """A term that falls for some steps and then rises, and says where it does what."""

    name = "hill"
    a: float = 1.0
    p: float = 1.0

    def fit(self, context: Context) -> None:
        self._text = context.text

    def prepare(self, images: Tensor) -> tuple[Tensor, ...]:
        cosine = (images @ self._text.T).abs()
        return -2 * cosine, cosine  # the base made once: only the term moves

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        base, cosine = prepared
        return Terms(base, {"a": cosine**self.p})

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        last = 0.0
        for setting in settings:
            self.set(setting)
            falling = frozenset({"a"} if setting["p"] >= last else ())
            rising = frozenset({"a"} if setting["p"] <= last else ())
            last = setting["p"]
            yield dataclasses.replace(self.terms(prepared), falling=falling, rising=rising)


@pytest.mark.parametrize(
    "powers",
    [(1.0, 2.0, 3.0, 0.2, 0.3, 4.0, 0.1), (3.0, 2.0, 1.0, 0.5, 0.2, 0.4, 2.0), (4.0, 0.1, 3.0)],
)
def test_a_term_that_turns_is_looked_at_afresh(context: Context, powers: tuple[float, ...]) -> None:
    assert context.val is not None
    method = Hill()
    method.fit(context)
    space = SearchSpace(
        (Axis("p", powers), Axis("a", (0.5, 3.0, 9.0), weight=True)),
        "test",
    )

    check(method, context.val, space)


@dataclasses.dataclass
class Cancel(Zeros):
    """Terms that cancel at weight 1 down to their rounding, which then decides."""

    name = "cancel"

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        cosine = 30 * prepared[0] @ self._text.T
        return Terms(cosine, {"a": (1 + 3e-7 * torch.sin(1e4 * cosine)) - cosine / 1.0})


def test_what_rounding_decides_is_left_to_the_literal_expression() -> None:
    text = unit(4, 8, seed=1)
    labels = torch.arange(400) % 4
    method = Cancel()
    method.fit(Context(text, text[:0], labels[:0]))
    images = Labelled(clustered(labels, text, seed=3, noise=2.0), labels)
    space = SearchSpace((Axis("a", (0.999999, 1.0, 1.0000001), weight=True),), "test")

    check(method, images, space)


def test_where_nearly_all_ties_settings_that_share_terms_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One text for all classes: 1,125 of 1,600 settings are open, along 40 values of beta."""
    c = make_context(classes=5, shots=2)
    labels = torch.arange(40) % 5
    val = Labelled(clustered(labels, c.text, seed=5, noise=1.0), labels)
    c = dataclasses.replace(c, text=c.text[:1].expand_as(c.text).clone())
    method = TipX()
    method.fit(c)
    space = method.space(c)
    axes = tuple(dataclasses.replace(axis, values=axis.values[::5]) for axis in space.axes)
    calls: list[float] = []
    terms = method.terms

    def counted(prepared: tuple[Tensor, ...]) -> Terms:
        calls.append(method.beta)
        return terms(prepared)

    monkeypatch.setattr(method, "terms", counted)

    found = exact_search(method, val, dataclasses.replace(space, axes=axes))

    assert found.recounted > 1000
    assert len(calls) < 3 * len(set(calls))
