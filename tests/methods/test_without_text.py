"""Contexts of encoders that read no text, and the methods that do without."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.methods.base import Context, Method
from susx_bench.methods.cache import cache_logits
from susx_bench.methods.gda import GDA, discriminant, single_images
from susx_bench.methods.proker import ProKeR
from susx_bench.methods.tag import TAG
from susx_bench.methods.ties import first_alike
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.registry import METHODS
from susx_bench.testing.task import make_context, unit
from susx_bench.tuning.choose import choose


def bare(context: Context) -> Context:
    return dataclasses.replace(context, text=context.text[:0], text_prompts=None)


def fitted(method: Method, context: Context) -> Method:
    method.fit(context)
    method.set(method.fixed(context))
    return method


IMAGES = unit(23, 16, seed=5)


def test_only_these_methods_do_without() -> None:
    without = {name for name in METHODS.names() if "text" not in METHODS.get(name).needs}

    assert without == {"gda", "linear-probe", "ncm", "proker", "tag", "tip-adapter"}


def test_a_context_says_how_many_classes_it_has() -> None:
    context = make_context()
    text = context.text

    assert bare(context).num_classes == 5
    assert not bare(context).has_text
    assert bare(context).to(torch.device("cpu")).num_classes == 5
    assert bare(context).part(torch.tensor([0])).num_classes == 5
    with pytest.raises(ValueError, match="5 rows for 4 classes"):
        dataclasses.replace(context, classes=4)
    with pytest.raises(ValueError, match="at least 2 classes"):
        Context(text[:0], context.support, context.support_labels)
    with pytest.raises(ValueError, match=r"\[0, 4\)|0 to 3|class"):
        Context(text[:0], context.support, context.support_labels, classes=4)


def test_a_method_that_needs_text_says_so() -> None:
    with pytest.raises(ValueError, match="zero-shot needs text features"):
        ZeroShot().fit(bare(make_context()))


def test_classes_without_images_are_alike() -> None:
    context = bare(make_context())
    some = context.part((context.support_labels == 1) | (context.support_labels == 3))

    assert first_alike(some, TAG.needs).tolist() == [0, 1, 0, 3, 0]


def test_gda_is_the_gaussians_alone() -> None:
    context = bare(make_context())
    method = fitted(GDA(), context)

    weights, bias = discriminant(*single_images(context), context.num_classes)

    torch.testing.assert_close(method.logits(IMAGES), IMAGES @ weights.T + bias)
    choice = choose(method, context, "val", context.val)
    assert (choice.tuned_on, choice.hparams) == ("fixed", {})


def test_tip_adapter_is_the_cache_alone() -> None:
    context = bare(make_context())
    method = fitted(TipAdapter(), context)
    assert isinstance(method, TipAdapter)
    values = F.one_hot(context.support_labels, 5).float()

    expected = method.alpha * cache_logits(IMAGES @ context.support.T, values, method.beta)

    torch.testing.assert_close(method.logits(IMAGES), expected)
    space = method.space(context)
    assert space is not None
    assert [axis.name for axis in space.axes] == ["beta"]


def test_proker_is_a_regression_to_the_labels() -> None:
    context = bare(make_context())
    method = fitted(ProKeR(), context)
    assert isinstance(method, ProKeR)

    def kernel(rows: Tensor, others: Tensor) -> Tensor:
        return torch.exp(-method.beta * (1 - rows.double() @ others.double().T))

    gram = kernel(context.support, context.support) / method.ridge + torch.eye(15)
    weights = torch.linalg.solve(gram, F.one_hot(context.support_labels, 5).double())

    expected = context.logit_scale * kernel(IMAGES, context.support) @ weights
    torch.testing.assert_close(method.logits(IMAGES).double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tune", ["fixed", "support", "val"])
def test_tag_without_text_is_tag_with_one_text_for_all(tune: str) -> None:
    """That tells no class from another. Four classes: their equal shares of 1 add up exactly."""
    context = make_context(classes=4)
    one = F.one_hot(torch.zeros(4, dtype=torch.int64), 16).float()
    same = dataclasses.replace(context, text=one, text_prompts=None)
    answers = []
    for given in (bare(context), same):
        method = TAG()
        method.fit(given)
        choose(method, given, tune, context.val if tune == "val" else None)  # type: ignore[arg-type]
        logits = method.logits(IMAGES)
        answers.append(logits - logits.mean(1, keepdim=True))

    torch.testing.assert_close(*answers, rtol=0, atol=1e-4)
