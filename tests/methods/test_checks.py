"""What a method is given is as described, or refused in one line that says what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from susx_bench.methods.base import Context, Follows, Labelled, Method, fault
from susx_bench.methods.clip_dn import ClipDN
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.tipx import TipX
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.registry import METHODS
from susx_bench.testing.probes import seen, shown
from susx_bench.testing.task import make_context, unit
from susx_bench.tuning.choose import choose

GOOD = make_context()
TEXT, SUPPORT, LABELS = GOOD.text, GOOD.support, GOOD.support_labels
NAN = TEXT.clone()
NAN[2, 3] = torch.nan
ZERO = SUPPORT.clone()
ZERO[4] = 0


def given(**changes: Any) -> Callable[[], Context]:
    return lambda: Context(
        **({"text": TEXT, "support": SUPPORT, "support_labels": LABELS} | changes)
    )


def val(features: Any = TEXT, labels: Any = None) -> Callable[[], Context]:
    own = torch.arange(5) if labels is None else labels
    return lambda: dataclasses.replace(GOOD, val=Labelled(features, own))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (given(text=TEXT.numpy()), TypeError, "text is a numpy.ndarray, .* torch.from_numpy"),
        (given(text=TEXT.tolist()), TypeError, "text is a list, not a torch.Tensor"),
        (given(support=None), TypeError, "support is a NoneType"),
        (given(support_labels=LABELS.numpy()), TypeError, "support_labels is a numpy.ndarray"),
        (given(text=(100 * TEXT).long()), TypeError, r"text is int64 \(5, 16\); features are"),
        (given(text=2 * TEXT), ValueError, "text: 5 of 5 rows have another length .* with 2. Give"),
        (given(support=1.01 * SUPPORT), ValueError, "support: 15 of 15 rows have another length"),
        (given(support=ZERO), ValueError, "1 of 15 rows .* row 4 with 0. Leave"),
        (given(text=NAN), ValueError, "text: 1 of 5 rows hold NaN or infinity, .* row 2"),
        (given(text=TEXT[0]), ValueError, r"text is float32 \(16,\); it has the shape \(K, D\)"),
        (given(text=TEXT[:1]), ValueError, "text has 1 rows; a task has at least 2 classes"),
        (given(support=unit(15, 8, 1)), ValueError, "support has width 8, the text has width 16"),
        (given(support=SUPPORT.double()), TypeError, "support is float64 .*, the text is"),
        (given(support_labels=LABELS.float()), TypeError, "labels are integers"),
        (given(support_labels=LABELS > 2), TypeError, "is bool .*; labels are integers"),
        (given(support_labels=LABELS[:-1]), ValueError, r"int64 \(14,\) for 15 rows of support"),
        (given(support_labels=F.one_hot(LABELS)), ValueError, r"int64 \(15, 5\) for 15 rows"),
        (given(support_labels=LABELS + 1), ValueError, "holds 5, the text has 5 rows: .* 0 to 4"),
        (given(support_labels=LABELS - 1), ValueError, "support_labels holds -1; classes count"),
        (given(support=SUPPORT.to("meta")), ValueError, "support is on meta, the text on cpu"),
        (given(support_labels=LABELS.to("meta")), ValueError, "support_labels is on meta"),
        (given(logit_scale=0.0), ValueError, "logit_scale is 0.0"),
        (given(logit_scale=float("nan")), ValueError, "logit_scale is nan"),
        (given(support_views=unit(8, 16, 1).view(2, 4, 16)), ValueError, "of 2 images, support"),
        (given(text_prompts=[TEXT]), ValueError, "prompts of 1 classes, text has 5"),
        (given(text_prompts=[2 * TEXT] * 5), ValueError, "text_prompts: 5 of 5 rows have another"),
        (given(in_full=True, text=0 * TEXT), ValueError, "another length than above 0"),
        (val(2 * TEXT), ValueError, "features: 5 of 5 rows have another length"),
        (val(TEXT.numpy()), TypeError, "features is a numpy.ndarray"),
        (val(labels=torch.full((5,), 5)), ValueError, "labels holds 5, the text has 5 rows"),
        (val(labels=torch.zeros(4).long()), ValueError, r"labels is int64 \(4,\) for 5 rows"),
        (val(unit(5, 8, 1)), ValueError, "features has width 8, the text has width 16"),
    ],
)  # fmt: skip
def test_a_context_is_as_described_or_refused(
    make: Callable[[], Context], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        make()

    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_labels_of_any_integer_type_are_taken(dtype: torch.dtype) -> None:
    short = given(support_labels=LABELS.to(dtype))()
    assert short.support_labels.dtype == torch.int64
    assert Labelled(TEXT, torch.arange(5).to(dtype)).labels.dtype == torch.int64
    for kind in (TipX, TipAdapter):
        logits = []
        for context in (short, given()()):
            method = kind()
            method.fit(context)
            logits.append(method.logits(SUPPORT))
        assert torch.equal(*logits)


IMAGES = unit(6, 16, seed=9)


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda rows: rows.numpy(), TypeError, "images is a numpy.ndarray"),
        (lambda rows: rows.double(), TypeError, "images is float64"),
        (lambda rows: rows.flatten(), ValueError, "images is float32 .*; it has the shape"),
        (lambda rows: rows[..., :8].contiguous(), ValueError, "images has width 8, the text has"),
        (lambda rows: rows[:0], ValueError, "images has no row"),
        (lambda rows: rows / 0, ValueError, "images: .* rows hold NaN or infinity"),
        (lambda rows: 0 * rows, ValueError, "images: .* rows have another length"),
        (lambda rows: 2 * rows, ValueError, "images: .* rows have another length than 1"),
    ],
)
def test_every_method_looks_at_the_images_it_is_given(
    name: str, change: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    kind = METHODS.get(name)
    method, images = kind(), seen(kind, IMAGES)
    with pytest.raises(ValueError, match=r"is not fitted. Call fit\(context\) first"):
        method.logits(images)
    method.fit(shown(kind, GOOD))
    assert method.logits(images).shape == (6, 5)
    if "than 1" in message and "norms" in kind.needs:
        return  # it takes rows of any length
    with pytest.raises(error, match=message):
        method.logits(change(images))


@pytest.mark.parametrize("name", METHODS.names())
def test_features_of_an_encoder_with_gradients_are_taken(name: str) -> None:
    kind = METHODS.get(name)
    context, images = shown(kind, GOOD), seen(kind, IMAGES)
    want = kind()
    want.fit(context)
    method = kind()
    live: dict[str, Any] = {
        field.name: value.clone().requires_grad_()
        for field in dataclasses.fields(context)
        if isinstance(value := getattr(context, field.name), torch.Tensor)
        and value.is_floating_point()
    }
    method.fit(dataclasses.replace(context, **live))
    logits = method.logits(images.clone().requires_grad_())
    assert torch.equal(logits, want.logits(images))
    assert not logits.requires_grad


def test_rows_have_the_length_that_the_method_takes() -> None:
    full = dataclasses.replace(GOOD, text=7 * TEXT, support=9 * SUPPORT, val=None, in_full=True)
    ClipDN().fit(full)
    with pytest.raises(ValueError, match=r"clip-dn takes rows as long as .* in_full=True"):
        ClipDN().fit(GOOD)
    with pytest.raises(ValueError, match="tipx takes rows of length 1"):
        TipX().fit(full)
    with pytest.raises(TypeError, match=r"zero-shot.fit takes a Context, not a Tensor"):
        ZeroShot().fit(TEXT)  # type: ignore[arg-type]


def test_what_a_tuning_looks_at_is_checked_too() -> None:
    method = TipX()
    method.fit(GOOD)
    for wrong, message in ((Labelled(2 * TEXT, LABELS[:5]), "another length"),):
        with pytest.raises(ValueError, match=message):
            choose(method, GOOD, "val", wrong)


def test_a_value_that_is_given_stays() -> None:
    context = make_context(shots=4)
    method = TipX(alpha=25.0)  # the same number as the default for one shot
    method.fit(context)

    assert method.hparams == {"alpha": 25.0, "beta": 16.0, "gamma": 4.0}
    assert TipX().hparams == {"alpha": 25.0, "beta": 16.0, "gamma": 8.0}
    method.set({"gamma": 3.0})
    method.fit(context)
    assert method.gamma == 3.0
    assert not isinstance(method.alpha, Follows)


def test_a_plugin_is_checked_like_ours() -> None:
    class Mine(Method):
        name = "mine"

        def fit(self, context: Context) -> None:
            self._text = context.text

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            return images @ self._text.T

    method = Mine()
    method.fit(GOOD)
    with pytest.raises(TypeError, match=r"images is a numpy\.ndarray"):
        method.logits(np.zeros((2, 16)))  # type: ignore[arg-type]


def test_trained_is_yes_or_no() -> None:
    """A word would be true, and move a method to another section of every table."""

    class Probe(ZeroShot):
        trained = "no"  # type: ignore[assignment]

    assert fault(Probe) == "its trained is 'no', not True or False"


@pytest.mark.parametrize(
    ("alpha", "error", "message"),
    [
        ("3", TypeError, "tipx: alpha is a str; it is a number"),
        (None, TypeError, "tipx: alpha is a NoneType"),
        (torch.tensor(3.0), TypeError, "tipx: alpha is a Tensor"),
        (float("nan"), ValueError, "tipx: alpha is nan; it is a finite number"),
        (float("inf"), ValueError, "tipx: alpha is inf"),
    ],
)
def test_a_hyper_parameter_is_a_finite_number(
    alpha: Any, error: type[Exception], message: str
) -> None:
    """Such a value was a KeyError when logits were asked for, or gave NaN for logits."""
    with pytest.raises(error, match=message):
        TipX(alpha=alpha).fit(make_context())
