"""A record's test images as a page: the right ones, the wrong ones, and the surest mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from susx_bench.errors import RecordError
from susx_bench.features.dataset_task import DatasetTask
from susx_bench.photos.output import begin
from susx_bench.photos.page.build import Gallery, Item, write_page
from susx_bench.records.record import Record
from susx_bench.runner.verify import Named, remeasure


def show(path: Path, named: Named, folder: Path) -> Path:
    """Write a page of a record's test images with their predicted classes.

    The cell is measured again, and every answer is compared with the record's.

    Args:
        path: The record.
        named: Inputs that the user names.
        folder: The folder of the page.

    Returns:
        The page.

    Raises:
        RecordError: See `susx_bench.runner.verify.remeasure`; also if the record has features only.
        OptionError: If the folder holds something else.
    """
    inputs, again = remeasure(path, named)
    record, task = inputs.record, inputs.cell.task
    if not isinstance(task, DatasetTask) or task.test_labels is None:
        raise RecordError(f"{path} was measured on features, and there is no image to look at.")
    images = task.test_images
    said, no_logits = again.predictions, inputs.cell.method.no_logits
    nothing = [None] * len(images)
    sure, lead = (
        (nothing, said.margin.tolist())
        if said.confidence is None
        else (said.confidence.tolist(), nothing)
    )
    items = [
        Item(
            name=sample.key,
            label=label,
            probability=p,
            margin=margin,
            truth=sample.label,
            path=images.dataset.source.path(sample),
        )
        for sample, label, p, margin in zip(
            images.samples, said.top1.tolist(), sure, lead, strict=True
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
            f"No percentages: {no_logits}. An answer is surer the more its score leads."
            if no_logits
            else "Percentages are the softmax of the logits and are not calibrated.",
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
