"""What the contract of methods gives them, and what it reads from their answers."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from susx_bench.features.bundle import BundleTask
from susx_bench.features.launch import Launch
from susx_bench.methods.base import Context, Labelled, Method, Need
from susx_bench.records.record import Record
from susx_bench.registry import DATASETS
from susx_bench.runner.cell import Cell
from susx_bench.runner.draws import Draws
from susx_bench.runner.run import run
from susx_bench.testing.task import (
    clustered,
    in_full,
    make_context,
    unit,
    with_patches,
    write_bundle,
)

WIDTH = 16


def of_classes(*classes: int) -> Context:
    """A task in which only some classes have support images, eight each."""
    context = make_context(shots=8)
    return context.part(torch.isin(context.support_labels, torch.tensor(classes)))


def with_counts(*counts: int) -> Context:
    """A task with a given number of support images for each class."""
    context = make_context(shots=max(counts))
    places = torch.arange(len(context.support)) % max(counts)
    return context.part(places < torch.tensor(counts)[context.support_labels])


TASKS = {
    "few shots": make_context(),
    "one shot": make_context(shots=1),
    "two classes": make_context(classes=2),
    "more than 16 shots": make_context(shots=20),
    "one to 20 shots": with_counts(1, 20, 2, 17, 4),
    "none to 20 shots": with_counts(20, 0, 1, 17, 0),
    "uneven": make_context().part(torch.arange(3, 13)),  # none of the first class, one of the last
    "the first class alone": of_classes(0),
    "the last class alone": of_classes(4),
    "all classes but one": of_classes(0, 1, 3, 4),
    "one support image": make_context(shots=1).part(torch.tensor([2])),
}


SEARCHED = ("few shots", "the last class alone")
"""Tasks on which the grid is searched, too."""


IMAGES = {
    "random": unit(67, WIDTH, seed=9),
    "one": unit(1, WIDTH, seed=9),
    "two": unit(2, WIDTH, seed=9),
    "the same": unit(1, WIDTH, seed=9).repeat(30, 1),
    "a text": make_context().text[:1].repeat(30, 1),
    "one class": clustered(torch.zeros(40, dtype=torch.int64), make_context().text, seed=3),
}


def seen(method: type[Method], images: Tensor, other: str = "") -> Tensor:
    """Unit image features ``(B, D)`` as the runner shows them to a method.

    Args:
        method: Needs what it needs.
        images: The features.
        other: ``norms`` or ``spatial`` for others than usual.
    """
    rows = in_full(images, other=other == "norms") if "norms" in method.needs else images.clone()
    if "spatial" in method.needs:
        return with_patches(rows, other=other == "spatial")
    return rows


def shown(method: type[Method], context: Context, other: str = "", also: str = "") -> Context:
    """The context that the runner gives to a method: the text and its declared inputs.

    Args:
        method: The method, with its declared needs.
        context: The whole task.
        other: As in `seen`.
        also: A need that is met although it is not declared.
    """
    declared = method.needs | method.uses | {also}
    if "support" not in declared:
        context = context.part(torch.arange(0))
    text, support, val = context.text, context.support, context.val
    if "norms" in method.needs:
        text, support = (in_full(rows, other=other == "norms") for rows in (text, support))
    return dataclasses.replace(
        context,
        text=text,
        support=support,
        val=val and Labelled(seen(method, val.features, other), val.labels),
        support_views=context.support_views if "support-views" in declared else None,
        text_prompts=context.text_prompts if "text-prompts" in declared else None,
        in_full="norms" in method.needs,
    )


def with_other(need: Need, context: Context) -> Context:
    """The same task with one input replaced; `seen` replaces inputs of rows."""
    other = make_context(seed=4)
    changes: dict[Need, dict[str, Any]] = {
        "text": {"text": other.text, "text_prompts": other.text_prompts},
        "text-prompts": {"text_prompts": other.text_prompts},
        "support": {"support": other.support, "support_views": other.support_views},
        "support-views": {"support_views": other.support_views},
        "val": {"val": other.val},
    }
    return dataclasses.replace(context, **changes.get(need, {}))


def refit(method: Method, context: Context) -> Method:
    """Fit a method and set its fixed setting, in the order of the runner."""
    method.fit(context)
    method.set(method.fixed(context))
    return method


def fitted(method: type[Method], context: Context) -> Method:
    """A method fitted on the context that the runner gives it."""
    return refit(method(), shown(method, context))


def measured(method: type[Method], test_labels: Tensor, path: Path) -> Record:
    """Measure a method on a bundle with these test labels, written to `path`."""
    write_bundle(path, make_context(), test_labels)
    task = BundleTask(path)
    cell = Cell(
        task=task,
        draws=Draws(task),
        method=method,
        method_source="",
        setting="few-shot" if "few-shot" in method.settings else "name-only",
        draw_shots=None,
        seed=0,
        draw="balanced",
        chosen=None,
        tune="val" if "val" in method.needs else "fixed",
        val_shots=None,
        official=False,
    )
    outcome = run([cell], path.parent, Launch(accelerator="cpu", workers=0))[0]
    assert outcome.record is not None, outcome.reason
    return outcome.record


def close(actual: Tensor, expected: Tensor, wrong: str) -> None:
    """Assert that logits are equal but for rounding."""
    torch.testing.assert_close(
        actual, expected, rtol=1e-5, atol=1e-4, msg=lambda message: f"{wrong}: {message}"
    )


def tensors(context: Context) -> list[Tensor]:
    """All tensors of a context."""
    val = [context.val.features, context.val.labels] if context.val else []
    views = [] if context.support_views is None else [context.support_views]
    prompts = context.text_prompts or ()
    return [context.text, context.support, context.support_labels, *val, *views, *prompts]


def global_generators() -> tuple[object, ...]:
    """The states of all generators that a seed can be forgotten for."""
    numpy: Any = np.random.get_state()
    return torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2], random.getstate()


def settings(method: Method, context: Context) -> Iterator[dict[str, float]]:
    """Settings that tunings may choose: fixed, published constants, both ends of the grid."""
    yield method.fixed(context)
    for dataset in DATASETS.names():
        if constants := method.published(dataset):
            yield constants
    if space := method.space(context):
        for end in (0, -1):
            yield {axis.name: axis.values[end] for axis in space.axes}


class Elsewhere(TorchFunctionMode):
    """Puts new tensors without a ``device=`` on a device that cannot compute."""

    makers = frozenset(
        {torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.zeros}
    )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.makers and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


class Undeclared(Labelled):
    """Val images that raise an error if they are used."""

    def __post_init__(self) -> None:
        """Nothing is looked at here either, nor below."""

    def check(self, context: Context) -> None: ...

    def __getattribute__(self, name: str) -> Any:
        if name in ("features", "labels"):
            pytest.fail(f'it reads context.val.{name}; add "val" to its `needs`', pytrace=False)
        return super().__getattribute__(name)
