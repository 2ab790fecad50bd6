"""A record's test images as a page: the right ones, the wrong ones, and the surest mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from susx_bench.errors import RecordError
from susx_bench.features.dataset_task import DatasetTask
from susx_bench.photos.classifier import Classifier, answers
from susx_bench.photos.output import begin
from susx_bench.photos.page.build import Gallery, Item, write_page
from susx_bench.records.record import Record
from susx_bench.runner.verify import Named, Refitted, refit


def show(path: Path, named: Named, folder: Path) -> Path:
    """Write a page of a record's test images with their predicted classes.

    The method is fitted again, and every answer is compared with the record's.

    Args:
        path: The record.
        named: Inputs that the user names.
        folder: The folder of the page.

    Returns:
        The page.

    Raises:
        RecordError: See `susx_bench.runner.verify.refit`; also if the record has features only.
        OptionError: If the folder holds something else.
    """
    refitted = refit(path, named)
    record, cell = refitted.inputs.record, refitted.inputs.cell
    task = cell.task
    if not isinstance(task, DatasetTask) or task.test_labels is None:
        raise RecordError(f"{path} was measured on features, and there is no image to look at.")
    images = task.test_images
    plain = not (cell.order or cell.batches or {"spatial", "norms"} & cell.method.needs)
    sure, second, other = (
        _probabilities(refitted)
        if plain
        else ([None] * len(images), [-1] * len(images), [None] * len(images))
    )
    items = [
        Item(
            name=sample.key,
            label=label,
            probability=p,
            second=next_,
            second_probability=q,
            truth=sample.label,
            path=images.dataset.source.path(sample),
        )
        for sample, label, p, next_, q in zip(
            images.samples, refitted.top1.tolist(), sure, second, other, strict=True
        )
    ]
    begin(folder)
    gallery = Gallery(
        title=f"{record.method} on {record.dataset}: {record.accuracy:.1f} % right",
        facts=(
            f"{record.setting}, support {record.support}, shots {record.shots}, seed "
            f"{record.seed}, tuned on {record.tuned_on} · {record.encoder} · prompts "
            f"{record.prompts}",
            f"{len(items):,} test images; the record is {path.name}",
            *_open_set(record),
            "Percentages are the softmax of the logits and are not calibrated." * plain,
        ),
        classnames=task.classnames,
        items=items,
    )
    return write_page(gallery, images, images.samples, folder)


def _open_set(record: Record) -> Iterator[str]:
    """Lines on images of unknown classes, and how well confidence tells them from the others."""
    if not record.n_unknown:
        return
    yield (
        f"{record.n_unknown:,} of them are of classes that the method was not told of: "
        f"{record.unknown}. Of the other {record.n_test:,} {record.accuracy:.1f} % are right."
    )
    if record.auroc is None or record.fpr95 is None:
        yield f"No AUROC and no FPR95: {record.blank['auroc']}."
    else:
        yield (
            "Telling them from the others by the confidence in the answer: "
            f"AUROC {record.auroc:.1f} %, FPR95 {record.fpr95:.1f} %."
        )


def _probabilities(
    refitted: Refitted,
) -> tuple[list[float | None], list[int], list[float | None]]:
    """The probability of each answer, the second class, and its probability."""
    record, cell, _, features = refitted.inputs
    classifier = Classifier(
        cell.task.classnames, refitted.method, refitted.context, record.hparams, "fixed",
        record.method, record.encoder,
    )  # fmt: skip
    best = answers(classifier.logits(features.test), 1.0, classifier.first_alike)
    return best.probability.tolist(), best.second.tolist(), best.second_probability.tolist()
