"""Weights and bias of methods that are linear in the image's feature, and why others are not."""

from __future__ import annotations

import pytest
import torch

from susx_bench.methods.base import Context
from susx_bench.methods.linear import STEP, NotLinearError, linear_head
from susx_bench.methods.tag import TAG
from susx_bench.methods.ties import first_alike, top1
from susx_bench.registry import METHODS
from susx_bench.testing.task import make_context, unit

LINEAR = {
    *("zero-shot", "cupl", "cupl-e", "visdesc", "waffle", "ncm", "gda", "timo", "timo-s"),
    *("ss-text", "ss-text-plus", "linear-probe", "lp++"),
}


def fitted(name: str, context: Context) -> Context:
    """The part of a context that a method looks at."""
    if "support" in METHODS.get(name).needs:
        return context
    return Context(context.text, context.support[:0], context.support_labels[:0], 100.0,
                   text_prompts=context.text_prompts)  # fmt: skip


@pytest.mark.parametrize("name", sorted(METHODS.names()))
def test_a_head_answers_as_its_method_does_or_says_why_there_is_none(name: str) -> None:
    plain = make_context()
    prompts = [row[None].expand(3, -1) for row in plain.text]
    context = fitted(
        name,
        Context(plain.text, plain.support, plain.support_labels, 100.0, text_prompts=prompts),
    )
    method = METHODS.get(name)()
    readable = not {"spatial", "norms", "val"} & method.needs
    if readable:
        method.fit(context)
    if name not in LINEAR:
        with pytest.raises(NotLinearError, match=f"^{name} (is|reads) ") as caught:
            linear_head(method, context)
        assert "\n" not in str(caught.value)
        return
    head = linear_head(method, context)
    images = unit(200, context.text.shape[1], seed=3)

    assert head.weights.shape == context.text.shape
    torch.testing.assert_close(
        head.logits(images).softmax(-1), method.logits(images).softmax(-1), atol=1e-4, rtol=1e-3
    )
    wanted = top1(method.logits(images), first_alike(context, method.needs))
    assert torch.equal(head.logits(images).argmax(-1), wanted)


def test_the_formula_of_zero_shot() -> None:
    context = fitted("zero-shot", make_context())
    method = METHODS.get("zero-shot")()
    method.fit(context)

    head = linear_head(method, context)

    torch.testing.assert_close(head.weights, 100 * context.text)
    assert not head.bias.any()


def test_tag_is_linear_without_its_regression() -> None:
    context, method = make_context(), TAG()
    method.fit(context)
    method.set({"gamma": 10.0, "alpha": 1.0})
    with pytest.raises(NotLinearError, match="its kernel regression bends"):
        linear_head(method, context)

    method.set({"gamma": 0.0})
    images = unit(200, context.text.shape[1], seed=3)
    head = linear_head(method, context)
    assert torch.equal(head.logits(images).argmax(-1), top1(method.logits(images)))


def test_of_classes_with_one_text_the_first_wins() -> None:
    context = fitted("zero-shot", make_context())
    twins = Context(context.text[[0, 1, 1, 2]], context.support, context.support_labels, 100.0)
    method = METHODS.get("zero-shot")()
    method.fit(twins)

    head = linear_head(method, twins)

    assert head.bias.tolist() == pytest.approx([0, 0, -STEP, 0])
    assert not (head.logits(unit(500, context.text.shape[1], seed=3)).argmax(-1) == 2).any()
