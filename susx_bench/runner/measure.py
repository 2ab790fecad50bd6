"""Measure one cell: turn its features into one record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import Tensor

from susx_bench.data.names import names_one_of
from susx_bench.errors import PluginError
from susx_bench.features.blocks import row_at
from susx_bench.features.launch import Launch
from susx_bench.features.task import TaskFeatures
from susx_bench.methods.base import Context, Labelled, Method
from susx_bench.options.batches import Batches
from susx_bench.records.record import Record, Search, Seconds
from susx_bench.records.store import Predictions
from susx_bench.registry import DATASETS
from susx_bench.runner.cell import Cell
from susx_bench.runner.provenance import device_name, git_commit, versions
from susx_bench.runner.scores import confidence, score_open
from susx_bench.runner.together import compose, in_order
from susx_bench.tuning.choose import Choice, choose

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from susx_bench.features.datamodules import BlockDataModule
    from susx_bench.features.predict import Predictor


@dataclass(frozen=True)
class Measured:
    """The result of measuring a cell.

    Attributes:
        record: Its record, not yet sealed; None without test labels.
        predictions: The predictions, to be written beside the record.
        choice: The chosen hyper-parameters.
    """

    record: Record | None
    predictions: Predictions
    choice: Choice


@dataclass(frozen=True)
class Fitted:
    """A fitted method, before it has seen a test image.

    Attributes:
        method: The method, fitted on `context`, its hyper-parameters not set yet.
        context: The context that it was fitted on.
        choice: The chosen hyper-parameters.
        seconds: Duration of fitting.
    """

    method: Method
    context: Context
    choice: Choice
    seconds: float


class Shared:
    """The means by which the cells of a task predict: one Trainer, and its test data.

    Args:
        launch: Where to predict.
    """

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._predictor: Predictor | None = None
        self._data: dict[bool, tuple[tuple[Any, ...], BlockDataModule]] = {}

    def predict(
        self, module: LightningModule, data: Callable[[], BlockDataModule], key: tuple[Any, ...]
    ) -> dict[str, Tensor]:
        """Run a module on the test images; their data is made once per `key`.

        Args:
            module: The module.
            data: Makes the data.
            key: Values that determine the data of a task; the first says whether images are scored
                alone.
        """
        # Lightning is imported only when something is predicted.
        from susx_bench.features.predict import Predictor

        if self._predictor is None:
            self._predictor = Predictor(self.launch)
        alone = bool(key[0])
        if alone not in self._data or self._data[alone][0] != key:
            self._data.pop(alone, None)  # to free its memory
            self._data[alone] = key, data()
        return self._predictor.predict(module, self._data[alone][1])


def measure(cell: Cell, features: TaskFeatures, shared: Shared, encode_seconds: float) -> Measured:
    """Fit, choose, predict, and only then look at the test labels.

    Args:
        cell: The cell.
        features: The task's features.
        shared: The Trainer and data that the task's cells share.
        encode_seconds: Duration of encoding in this run.

    Returns:
        The result, equal on all ranks but for the seconds.
    """
    started = datetime.now().astimezone().isoformat(timespec="milliseconds")
    if "norms" in cell.method.needs:
        features = features.in_full()
    fitted = fit(cell, features)

    from susx_bench.runner.classify import Classify

    module = Classify(fitted.method, fitted.context, fitted.choice.hparams)
    alone = fitted.method.regime == "inductive"
    together = () if alone else (cell.batches, cell.order)
    key = alone, cell.patches, "norms" in cell.method.needs, *together
    clock = time.perf_counter()
    answers = shared.predict(module, lambda: _data_of(cell, features, alone=alone), key)
    predict_seconds = time.perf_counter() - clock
    top1, logits, no_logits = answers["top1"], answers["logits"], fitted.method.no_logits
    predictions = Predictions(
        top1.numpy(),
        answers["margin"].numpy(),
        None if no_logits else confidence(logits, top1).float().numpy(),
    )
    if cell.task.test_labels is None:
        return Measured(None, predictions, fitted.choice)
    seconds = Seconds(
        encode=encode_seconds,
        fit=fitted.seconds,
        search=fitted.seconds + fitted.choice.seconds,
        predict=predict_seconds,
    )
    record = _recorded(
        fitted.method,
        **score_open(top1, logits, cell.task.test_labels, cell.task.classnames, no_logits),
        **_inputs(cell),
        method_version=fitted.method.version,
        regime=fitted.method.regime,
        trained=fitted.method.trained,
        **_choice(fitted.choice, cell.task.dataset),
        predictions_sha256=predictions.sha256,
        versions={**versions(), **cell.plugins, **cell.task.plugins},
        git=git_commit(),
        device=device_name(shared.launch),
        seconds=seconds,
        started=started,
    )
    return Measured(record, predictions, fitted.choice)


def _recorded(method: Method, /, **values: Any) -> Record:
    """Make a record from values, some of which a plugin's method has given.

    Raises:
        PluginError: If a record cannot hold a value, such as an infinite hyper-parameter.
    """
    try:
        return Record(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PluginError(
            f"method '{method.name}': no record takes its {place}: {first['msg']}."
        ) from error


def fit(cell: Cell, features: TaskFeatures) -> Fitted:
    """Fit a cell's method and choose its hyper-parameters.

    Args:
        cell: The cell.
        features: The task's features; `TaskFeatures.in_full` for a method that needs ``norms``.
    """
    labelled = tuning_images(cell, features)
    context = context_of(cell, features, labelled if cell.sees_val else None)
    method = cell.method()
    method.official = cell.official
    clock = time.perf_counter()
    method.fit(context)
    seconds = time.perf_counter() - clock
    with _unwritten(method, labelled):
        choice = choose(method, context, cell.tune, labelled)
    return Fitted(method, context, choice, seconds)


@contextmanager
def _unwritten(method: Method, labelled: Labelled | None) -> Iterator[None]:
    """Refuse a method that changes the images its hyper-parameters are chosen on."""
    before = labelled.features._version if labelled else 0
    try:
        yield
    except (ValueError, RuntimeError) as error:  # that the method raises on the guarded images
        if labelled and labelled.features._version != before:
            raise written(method) from error
        raise
    if labelled and labelled.features._version != before:
        raise written(method)


def written(method: Method) -> PluginError:
    """The error of a method that changes its images, which other methods look at too."""
    return PluginError(
        f"method '{method.name}' writes into the images that its logits are asked for. Let it work "
        "on a copy, as images * 2 does and images *= 2 does not."
    )


def _data_of(cell: Cell, features: TaskFeatures, *, alone: bool) -> BlockDataModule:
    """The test features in the form for prediction: image by image, or in groups."""
    from susx_bench.features.datamodules import FeatureDataModule, GroupDataModule

    patches = features.patches["test"] if cell.patches else None
    if alone:
        return FeatureDataModule(features.test, patches)
    return GroupDataModule(features.test, _together(cell), patches)


def context_of(cell: Cell, features: TaskFeatures, val: Labelled | None) -> Context:
    """Make the context of a cell's method. A change to it does not reach other cells.

    Args:
        cell: The cell.
        features: The task's features.
        val: Labelled validation images; None if the method may not see them.
    """
    task = cell.task
    wanted = (cell.method.needs | cell.method.uses) & task.gives
    views = prompts = None
    if "support-views" in wanted and cell.parts:
        views = features.support_views(cell.parts, cell.support)
    if "text-prompts" in wanted and features.prompts is not None:
        prompts = [rows.clone() for rows in features.prompts]
    return Context(
        text=features.text.clone(),
        support=features.support(cell.parts, cell.support) if cell.parts else features.text[:0],
        support_labels=task.pool_labels[cell.support],
        logit_scale=task.logit_scale,
        val=val,
        support_views=views,
        text_prompts=prompts,
        dataset=task.dataset,
        in_full="norms" in cell.method.needs,
        classes=len(task.classnames),
    )


def tuning_images(cell: Cell, features: TaskFeatures) -> Labelled | None:
    """The labelled images, besides the support, that a cell's tuning looks at."""
    test_labels = cell.task.test_labels
    if cell.tune == "test" and test_labels is not None:
        return _take(cell, features, "test", features.test, test_labels)
    if features.val is None or not cell.sees_val:
        return None
    val, few = features.val, cell.few_val if cell.tune == "few-val" else None
    return _take(cell, features, "val", val.features, val.labels, few)


def _take(
    cell: Cell,
    features: TaskFeatures,
    split: str,
    rows: Tensor,
    labels: Tensor,
    places: Tensor | None = None,
) -> Labelled:
    """Copy some or all images of a split, with their patches if the cell reads them."""
    if places is None:
        places = torch.arange(len(labels))
    if split not in cell.patches:
        return Labelled(rows[places], labels[places])
    patches = features.patches[split]
    image_rows = [row_at(i, rows, patches) for i in places.tolist()]
    return Labelled(torch.stack(image_rows), labels[places])


def _together(cell: Cell) -> list[Tensor]:
    """Groups of test images that the method sees together, as positions in order."""
    labels = cell.task.test_labels
    if cell.batches and labels is not None:
        return compose(labels, Batches.read(cell.batches), cell.order)
    return [in_order(cell.task.test_size, cell.order)]


def _inputs(cell: Cell) -> dict[str, Any]:
    """The fields of a record that are known before its cell is measured."""
    task = cell.task
    return {
        **cell.options,
        "given": dict(cell.given),
        "method_source": cell.method_source,
        "dataset_given": task.given,
        "support_images": len(cell.support),
        "protocol": task.protocol,
        "skipped": list(task.skipped),
        "num_classes": len(task.classnames),
        "input_sha256": cell.input_sha256,
        **cell.hashes,
    }


def _choice(choice: Choice, dataset: str) -> dict[str, Any]:
    """The fields of a record about the chosen hyper-parameters."""
    return {
        "hparams": {name: float(choice.hparams[name]) for name in sorted(choice.hparams)},
        "tuned_on": choice.tuned_on,
        "search": search_of(choice),
        "chosen_here": names_one_of(dataset, choice.seen, DATASETS.names()),
    }


def search_of(choice: Choice) -> Search:
    """The part of a choice that the record keeps."""
    plateau = choice.plateau
    return Search(
        space=choice.space,
        settings=choice.settings,
        images=choice.images,
        score=choice.score,
        note=choice.note,
        ties=plateau.ties if plateau else 0,
        near=plateau.near if plateau else 0,
        ranges=plateau.ranges if plateau else {},
    )
