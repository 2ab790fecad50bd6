"""The contract of methods, as tests to inherit."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
import pytest
import torch

from susx_bench.methods.base import Labelled, LinearMethod, Method, Need, UnfitError, fault
from susx_bench.methods.ties import top1
from susx_bench.testing.probes import (
    IMAGES,
    SEARCHED,
    TASKS,
    Elsewhere,
    Undeclared,
    close,
    fitted,
    global_generators,
    measured,
    refit,
    seen,
    settings,
    shown,
    tensors,
    with_other,
)
from susx_bench.testing.task import (
    make_context,
)
from susx_bench.tuning.choose import Tune, choose


class MethodContract:
    """Tests of one method.

    Attributes:
        method: The class under test; a subclass sets it, or overrides `candidate`.
    """

    method: ClassVar[type[Method]]

    @pytest.fixture
    def candidate(self) -> type[Method]:
        """The class under test; override it to test several."""
        return self.method

    def test_can_be_made(self, candidate: type[Method]) -> None:
        """It is a `Method` with a name, and needs no argument."""
        assert not fault(candidate)

    @pytest.mark.parametrize("task", TASKS)
    def test_scores_every_class(self, candidate: type[Method], task: str) -> None:
        """Logits are finite, float32 and (B, K), on odd tasks and odd test sets."""
        context = TASKS[task]
        try:
            method = fitted(candidate, context)
        except UnfitError as reason:
            if task == "few shots":
                raise
            pytest.skip(str(reason))
        for name, images in IMAGES.items():
            logits = method.logits(seen(candidate, images))

            assert logits.shape == (len(images), context.num_classes), name
            assert logits.dtype == torch.float32, name
            assert logits.isfinite().all(), name
            assert not logits.requires_grad, name

    def test_answers_the_same_twice(self, candidate: type[Method]) -> None:
        """Bit by bit: asked again, made again, and fitted again after another task."""
        context, images = make_context(), seen(candidate, IMAGES["random"])
        method = fitted(candidate, context)
        first = method.logits(images)

        assert torch.equal(method.logits(images), first), "asked again, it answers otherwise"
        assert torch.equal(fitted(candidate, context).logits(images), first), "made again"
        refitted = fitted(candidate, make_context(classes=7, seed=5))
        refitted.logits(images)
        refit(refitted, shown(candidate, context))
        assert torch.equal(refitted.logits(images), first), "`fit` keeps something of an earlier"

    def test_leaves_the_global_generators_alone(self, candidate: type[Method]) -> None:
        """Randomness comes from a `torch.Generator` with a seed, if any is needed."""
        # One step first: a method that seeds them may have left them in this very state before.
        torch.rand(1), np.random.random(), random.random()
        before = global_generators()
        fitted(candidate, make_context()).logits(seen(candidate, IMAGES["random"]))

        assert global_generators() == before, "it seeds or uses a generator that is not its own"

    def test_changes_nothing_it_is_given(self, candidate: type[Method]) -> None:
        """Context and images are as they were after `fit` and `logits`."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"])
        copies, before = [tensor.clone() for tensor in tensors(context)], images.clone()

        refit(candidate(), context).logits(images)

        assert all(map(torch.equal, tensors(context), copies)), "it writes into its context"
        assert torch.equal(images, before), "it writes into the images"

    def test_an_answer_depends_on_what_its_regime_allows(self, candidate: type[Method]) -> None:
        """Inductive: on that image; streaming: on earlier ones; transductive: not on the order."""
        images = seen(candidate, IMAGES["random"])
        method = fitted(candidate, make_context())
        whole = method.logits(images)

        if method.regime == "streaming":
            for until in (1, 7, 64):
                close(method.logits(images[:until]), whole[:until], "an image sees a later one")
            return
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
        close(method.logits(images[order]), whole[order], "the order of the images matters")
        if method.regime == "inductive":
            for size in (1, 7, 64):
                parts = torch.cat([method.logits(part) for part in torch.split(images, size)])
                close(parts, whole, f"an image sees the others of its batch of {size}")
                assert torch.equal(top1(parts), top1(whole))

    def test_an_answer_depends_on_what_its_regime_says(self, candidate: type[Method]) -> None:
        """Where other images change nothing a method is inductive, and should say so."""
        context = make_context()
        assert context.val is not None
        images = seen(candidate, context.val.features)
        method = fitted(candidate, context)
        if method.regime == "inductive":
            return
        alone, whole = method.logits(images[20:]), method.logits(images)[20:]

        assert not torch.allclose(alone, whole, rtol=0, atol=1e-3), (
            f"`regime` is {method.regime}, but no image sees another"
        )

    def test_renumbering_the_classes_renumbers_the_answer(self, candidate: type[Method]) -> None:
        """No class is special."""
        context, images = make_context(), seen(candidate, IMAGES["random"])
        order = torch.tensor([3, 0, 4, 1, 2])  # new class k is old class order[k]
        new_of_old = order.argsort()
        assert context.val is not None
        assert context.text_prompts is not None
        renumbered = dataclasses.replace(
            context,
            text=context.text[order],
            support_labels=new_of_old[context.support_labels],
            val=Labelled(context.val.features, new_of_old[context.val.labels]),
            text_prompts=[context.text_prompts[k] for k in order],
        )

        close(
            fitted(candidate, renumbered).logits(images),
            fitted(candidate, context).logits(images)[:, order],
            "the numbers of the classes matter",
        )

    def test_the_order_of_the_support_does_not_matter(self, candidate: type[Method]) -> None:
        """To rounding."""
        context, images = make_context(), seen(candidate, IMAGES["random"])
        order = torch.randperm(15, generator=torch.Generator().manual_seed(1))

        close(
            fitted(candidate, context.part(order)).logits(images),
            fitted(candidate, context).logits(images),
            "the order of the support matters",
        )

    @pytest.mark.parametrize("need", get_args(Need))
    def test_uses_what_it_declares(self, candidate: type[Method], need: Need) -> None:
        """The answer changes with an input exactly if the method declares that input."""
        declared = need in candidate.needs | candidate.uses
        if not declared and need in ("norms", "spatial"):
            return  # it meets no such rows
        context, images = make_context(), IMAGES["random"]
        answers = []
        for task, other in ((context, ""), (with_other(need, context), need)):
            shown_context = shown(candidate, task, other, also=need)
            answers.append(refit(candidate(), shown_context).logits(seen(candidate, images, other)))

        # A row made longer and then unit again is the same to rounding.
        slack = 1e-4 if need == "norms" else 0.0
        first, second = answers
        used = not torch.allclose(first, second, rtol=0, atol=slack)
        assert used == declared, (
            f"`needs` and `uses` name {sorted(candidate.needs | candidate.uses)}, but another "
            f"'{need}' gives {'other' if used else 'the same'} logits"
        )

    @pytest.mark.parametrize("task", TASKS)
    def test_runs_without_text_unless_it_needs_it(self, candidate: type[Method], task: str) -> None:
        """It runs on features of an encoder without text, under every tuning."""
        if "text" in candidate.needs:
            return
        whole, images = shown(candidate, TASKS[task]), seen(candidate, IMAGES["random"])
        context = dataclasses.replace(whole, text=whole.text[:0], text_prompts=None)
        tunes: tuple[Tune, ...] = ("fixed", "support")
        for tune in (*tunes, "val") if task in SEARCHED else tunes:
            method = candidate()
            try:
                method.fit(context)
                choose(method, context, tune, context.val if tune == "val" else None)
                logits = method.logits(images)
            except UnfitError as reason:
                pytest.skip(str(reason))
            except Exception as error:  # a plugin's method may raise anything
                why = f'without text, --tune {tune}: {error!r}; add "text" to its `needs`'
                pytest.fail(why, pytrace=False)
            assert logits.shape == (len(images), context.num_classes), f"without text, {tune}"
            assert logits.isfinite().all(), f"without text, {tune}"

    def test_reads_val_only_if_it_declares_it(self, candidate: type[Method]) -> None:
        """A method that chooses on val by itself declares it; the tuning's rules apply too."""
        if "val" in candidate.needs:
            return
        context = shown(candidate, make_context())
        assert context.val is not None
        val = Undeclared(context.val.features, context.val.labels)
        watched = dataclasses.replace(context, val=val)

        method = refit(candidate(), watched)
        method.space(watched)
        method.logits(seen(candidate, IMAGES["random"]))

    def test_hyper_parameters_count_from_when_they_are_set(self, candidate: type[Method]) -> None:
        """A tuning sets them after `fit`, so `fit` must not read them."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"][:20])
        for setting in settings(refit(candidate(), context), context):
            late = candidate()
            late.fit(context)
            late.set(setting)
            early = candidate()
            early.set(setting)
            early.fit(context)
            early.set(setting)

            assert torch.equal(late.logits(images), early.logits(images)), (
                f"`fit` reads one of {setting}"
            )

    @pytest.mark.parametrize("task", TASKS)
    def test_every_tuning_chooses(self, candidate: type[Method], task: str) -> None:
        """Also where classes have no support images, or all have but one class."""
        context = shown(candidate, TASKS[task])
        tunes: tuple[Tune, ...] = ("fixed", "support")
        for tune in (*tunes, "val") if task in SEARCHED else tunes:
            method = candidate()
            try:
                method.fit(context)
            except UnfitError as reason:
                pytest.skip(str(reason))
            try:
                choose(method, context, tune, context.val if tune == "val" else None)
            except Exception as error:  # a plugin's method may raise anything
                pytest.fail(f"--tune {tune} on '{task}': {error!r}", pytrace=False)
            logits = method.logits(seen(candidate, IMAGES["random"]))
            assert logits.isfinite().all(), f"--tune {tune} on '{task}': {method.hparams}"

    def test_its_defaults_are_its_fixed_setting(self, candidate: type[Method]) -> None:
        """The attributes after `fit` equal the setting of ``--tune fixed``, on any task."""
        method = candidate()
        for shots in (3, 4):
            context = shown(candidate, make_context(shots=shots))
            method.fit(context)
            fixed = method.fixed(context)
            assert {name: getattr(method, name) for name in fixed} == fixed, (
                "`fixed` gives another setting than the defaults; mark those it changes with "
                "`susx_bench.Follows`"
            )

    def test_every_searched_hyper_parameter_matters(self, candidate: type[Method]) -> None:
        """Over its axis of the grid, the others in the middle of theirs, the logits change."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"][:20])
        method = refit(candidate(), context)
        space = method.space(context)
        for axis in space.axes if space else ():
            assert space is not None
            middle = {a.name: a.values[len(a.values) // 2] for a in space.axes}
            answers = []
            for value in (axis.values[0], middle[axis.name], axis.values[-1]):
                method.set(middle | {axis.name: value})
                answers.append(method.logits(images))

            assert len(set(axis.values)) == 1 or not all(
                torch.equal(answer, answers[0]) for answer in answers
            ), f"'{axis.name}' changes nothing from {axis.values[0]} to {axis.values[-1]}"

    def test_a_sweep_gives_the_terms_of_each_setting(self, candidate: type[Method]) -> None:
        """The assumptions of the exact search: weights of the grid, slack, falling terms."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"])
        method, other = refit(candidate(), context), refit(candidate(), context)
        space = method.space(context)
        if not isinstance(method, LinearMethod) or space is None:
            return
        assert isinstance(other, LinearMethod)
        for axis in space.axes:
            if axis.weight:
                continue
            middle = {a.name: a.values[len(a.values) // 2] for a in space.axes}
            settings = [middle | {axis.name: value} for value in axis.values]
            before = None
            swept = method.sweep(method.prepare(images), settings)
            for setting, terms in zip(settings, swept, strict=True):
                other.set(setting)
                alone = other.terms(other.prepare(images))

                assert list(terms.weighted) == [a.name for a in space.weights]
                close(terms.base, alone.base, f"the base at {setting}")
                for name, term in terms.weighted.items():
                    slack = terms.slack.get(name, torch.zeros(len(term)))[:, None]
                    rounding = 1e-4 * (1 + alone.weighted[name].abs())
                    off = (term - alone.weighted[name]).abs()
                    assert (off <= slack + rounding).all(), f"'{name}' at {setting}"
                    if before is not None and name in terms.falling:
                        rises = term - before.weighted[name]
                        assert (rises <= slack + rounding).all(), f"'{name}' rises at {setting}"
                    if before is not None and name in terms.rising:
                        falls = before.weighted[name] - term
                        assert (falls <= slack + rounding).all(), f"'{name}' falls at {setting}"
                before = terms

    def test_a_run_looks_at_no_test_label(self, candidate: type[Method], tmp_path: Path) -> None:
        """From a bundle to a record: other test labels change the accuracy and no prediction."""
        records = []
        for seed in (0, 1):
            labels = torch.randint(5, (40,), generator=torch.Generator().manual_seed(seed))
            records.append(measured(candidate, labels, tmp_path / "bundle.safetensors"))

        assert records[0].right != records[1].right
        for field in ("predictions_sha256", "hparams"):
            first, second = (getattr(record, field) for record in records)
            assert first == second, f"the test labels change its {field}"

    def test_says_on_which_device(self, candidate: type[Method]) -> None:
        """Every tensor it makes says ``device=``, so that a run on a GPU finds all in one place."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"])
        expected = refit(candidate(), context).logits(images)
        try:
            with Elsewhere():
                logits = refit(candidate(), context).logits(images)
            assert logits.device == images.device
        except (AssertionError, RuntimeError) as error:  # as from two devices in one operation
            raise AssertionError(
                "it makes a tensor without `device=`, where the features may be on another"
            ) from error
        assert torch.equal(logits, expected)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
    def test_runs_on_cuda(self, candidate: type[Method]) -> None:
        """As on the CPU, to rounding, and fitted there before, as the runner does it."""
        context, images = shown(candidate, make_context()), seen(candidate, IMAGES["random"])
        method = refit(candidate(), context)
        on_cpu = method.logits(images)

        device = torch.device("cuda")
        refit(method, context.to(device))
        logits = method.logits(images.to(device))

        assert logits.device.type == "cuda"
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits.cpu(), on_cpu, rtol=1e-3, atol=1e-3)
