"""Measure a cell again, and compare it with its record bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from susx_bench.console import counted
from susx_bench.errors import BenchError, NotNamedError, RecordError
from susx_bench.events import Listener, ignore
from susx_bench.features.task import TaskFeatures
from susx_bench.hub import downloads
from susx_bench.methods.base import Context, Method
from susx_bench.options.asked import METHOD
from susx_bench.records.command import command, options
from susx_bench.records.record import Record, unpack
from susx_bench.records.store import Predictions, predictions_path, read, read_predictions
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.cell import Cell
from susx_bench.runner.measure import Measured, Shared, context_of, measure, tuning_images
from susx_bench.runner.needs import unmet_need
from susx_bench.runner.plan import plan
from susx_bench.runner.prepare import complete, encode
from susx_bench.runner.request import Request
from susx_bench.runner.tasks import Opened
from susx_bench.tuning.choose import TUNES


@dataclass(frozen=True)
class Verdict:
    """The result of measuring a record's cell again.

    Attributes:
        path: The record.
        images: Number of test images.
        differ: Number of images with another predicted class; 0 if the hashes are equal.
    """

    path: Path
    images: int
    differ: int


def records_in(paths: Sequence[Path]) -> list[Path]:
    """List the given records, and the records in the given folders.

    Raises:
        RecordError: If a path does not exist, or a folder has no record.
    """
    records: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RecordError(f"{path}: no such file or folder.")
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise RecordError(f"{path} has no records.")
        records += inside
    return list(dict.fromkeys(records))


@dataclass(frozen=True, kw_only=True)
class Named:
    """Inputs that the user names, so that records can be measured again.

    A record is untrusted data. A file, folder or repository that only a record names is not
    imported, opened or fetched, unless it is registered in this environment. Several inputs of one
    kind may be named; the hashes in a record select the right one.

    Attributes:
        features: Feature bundles.
        method: Methods read from files, ``./FILE.py:CLASS``.
        dataset: Folders and repositories with the user's own data.
        encoder: Encoders in folders, ``local-dir:FOLDER``.
        options: Other options of ``run`` that a record does not hold, such as the folder of the
            data; None for one that is not given.
        fetch: Whether data that a record names may be downloaded.
    """

    features: Sequence[Path] = ()
    method: Sequence[str] = ()
    dataset: Sequence[str] = ()
    encoder: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    fetch: bool = False


def verify(
    path: Path, named: Named, listen: Listener = ignore, opened: Opened | None = None
) -> Verdict:
    """Measure a record's cell again. Nothing is written.

    Args:
        path: The record.
        named: Inputs that the user names.
        listen: Told of notes.
        opened: Data that was opened for other records.

    Raises:
        RecordError: If the record cannot be believed, its inputs cannot be found again, or it
            needs an input that was not named.
        BenchError: If a named input is not available.
    """
    record, cell, request, features = find(path, named, listen, opened)
    again = measure(cell, features, Shared(request.launch), 0.0)
    if again.record is None:  # the hashes of its inputs hold the test labels
        raise RecordError(f"{path}: the test images have no labels here.")
    if again.record.predictions_sha256 == record.predictions_sha256:
        return Verdict(path, record.n_test, 0)
    if predictions_path(path).exists():
        differ = int((read_predictions(path).top1 != again.predictions.top1).sum())
    else:  # without predictions, only which images were right is known
        before, after = (unpack(r.right, r.n_test) for r in (record, again.record))
        differ = int(np.count_nonzero(before != after))
    return Verdict(path, record.n_test, max(differ, 1))


class Inputs(NamedTuple):
    """A record with its cell and features: the inputs found again and encoded."""

    record: Record
    cell: Cell
    request: Request
    features: TaskFeatures


def find(
    path: Path, named: Named, listen: Listener = ignore, opened: Opened | None = None
) -> Inputs:
    """Find the inputs of a record again.

    Args:
        path: The record.
        named: Inputs that the user names.
        listen: Told of notes.
        opened: Data that was opened for other records.

    Raises:
        RecordError: If the record cannot be believed, its inputs cannot be found again, or it
            needs an input that was not named.
        BenchError: If a named input is not available.
    """
    record = read(path) if predictions_path(path).exists() else Record.read(path)
    with downloads(allowed=named.fetch):
        cell, request = _find(path, record, named, listen, opened or Opened())
        if reason := unmet_need(cell):
            raise RecordError(f"{path}: {reason}.")
        return Inputs(record, cell, request, encode(cell.task, [cell], request.launch))


class Refitted(NamedTuple):
    """A record's method, fitted again and checked to give the record's answers.

    Attributes:
        inputs: The inputs that it was fitted on.
        method: The fitted method, with its hyper-parameters set.
        context: The context that it was fitted on.
        predictions: Its answers on the test images.
    """

    inputs: Inputs
    method: Method
    context: Context
    predictions: Predictions


def remeasure(path: Path, named: Named, listen: Listener = ignore) -> tuple[Inputs, Measured]:
    """Measure a record's cell again, and compare every prediction with the record's.

    Raises:
        RecordError: As `find` does, or if an image has another answer now.
    """
    inputs = find(path, named, listen)
    again = measure(inputs.cell, inputs.features, Shared(inputs.request.launch), 0.0)
    if again.predictions.sha256 != inputs.record.predictions_sha256:
        raise RecordError(
            f"{path}: measured again, {inputs.cell.method.name} does not answer as the record "
            "says. `susx-bench records verify` counts the images."
        )
    return inputs, again


def refit(path: Path, named: Named, listen: Listener = ignore) -> Refitted:
    """Fit a record's method again; raises as `remeasure` does."""
    inputs, again = remeasure(path, named, listen)
    cell, features = inputs.cell, inputs.features
    if "norms" in cell.method.needs:
        features = features.in_full()
    context = context_of(cell, features, tuning_images(cell, features) if cell.sees_val else None)
    method = cell.method()
    method.official = cell.official
    method.fit(context)
    method.set(again.choice.hparams)
    return Refitted(inputs, method, context, again.predictions)


def _find(
    path: Path, record: Record, named: Named, listen: Listener, opened: Opened
) -> tuple[Cell, Request]:
    """Find the cell with the record's inputs, and the request for it."""
    named_options = {name: value for name, value in named.options.items() if value is not None}
    requested = options(record)
    _check_named(path, requested, named_options)
    elsewhere = {"support", "shots_file"} - set(requested)  # named for other records
    if "features" in requested:
        elsewhere |= {"split_file", "prompts_dir", "image_column", "label_column"}
    alternatives = _candidates(path, record, requested, named)
    # A file that a record names is opened only if the user names it too. The user's data may come
    # with the split that the record names.
    files = {name for name, option in Request.declared().items() if option.file}
    requested = {name: value for name, value in requested.items() if name not in files}
    requested |= {name: value for name, value in named_options.items() if name not in elsewhere}
    nearest: tuple[str, ...] | None = None
    refused: BenchError | None = None
    for choice in product(*alternatives.values()):
        # A method with nothing to choose on its support is recorded as fixed, whatever the tune.
        tunes = (record.tuned_on, *TUNES) if record.tuned_on == "fixed" else (record.tuned_on,)
        for tune in dict.fromkeys(tunes):
            try:
                request = Request(
                    **requested
                    | dict(zip(alternatives, choice, strict=True))
                    | {"tune": tune, "allow_test_tuning": True}
                )
                planned = plan(request, listen, opened=opened, fetch=named.fetch)
                cells = complete(planned, listen).cells
            except BenchError as error:  # of what is named for another record, perhaps
                refused = refused or error
                continue
            for cell in cells:
                if cell.input_sha256 == record.input_sha256:
                    return cell, request
                wrong = _differences(record, cell)
                if tune == record.tuned_on and (nearest is None or len(wrong) < len(nearest)):
                    nearest = wrong
    if nearest is None and refused is not None:
        raise refused
    what = ", ".join(nearest or ()) or "its inputs"
    recorded = options(record)
    unnamed = [n for n in recorded if n in files - {"features"} and n not in named_options]
    words = [f"{Request.declared()[name].spelling(name)} {recorded[name]}" for name in unnamed]
    hint = f" It was measured with {' and '.join(words)}: name it too." if words else ""
    raise RecordError(
        f"{path}: the inputs cannot be found again: {what} differs from the record. It was "
        f"measured by `{command(record)}`.{hint}"
    )


def _check_named(path: Path, asked: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that the user names all files and folders that the record needs."""
    if "shots_file" in asked and "shots_file" not in given:
        message = f"{path}: it was measured with a --shots-file. Name it."
        raise NotNamedError(message, "--shots-file FILE")
    support = asked.get("support", "")
    if "support" not in given and ("/" in support or support.startswith((".", "~"))):
        raise NotNamedError(
            f"{path}: its support set is the folder {support}. Name it, --support {support}.",
            f"--support {support}",
        )


def _candidates(
    path: Path, record: Record, asked: Mapping[str, Any], named: Named
) -> dict[str, Sequence[Any]]:
    """The possible values of each option that may be named for several records."""
    bundle = "features" in asked
    method, dataset, encoder = asked["method"], asked["dataset"], asked["encoder"]
    methods: Sequence[str] = named.method
    if record.method in METHODS.names():
        # A registered method, or one in a file by the same name.
        methods = [*(named.method if method == METHOD else ()), record.method]
    elif not named.method:
        raise NotNamedError(
            f"{path}: '{record.method}' was read from a file. Name it, --method FILE.py:CLASS.",
            f"--method FILE.py:CLASS of '{record.method}'",
        )
    datasets: Sequence[str] = [dataset]
    if not bundle and dataset not in DATASETS.names():
        datasets = named.dataset
        if not datasets:
            raise NotNamedError(
                f"{path}: it was measured on images in {dataset}. Name the place, "
                f"--dataset {dataset}.",
                f"--dataset {dataset}",
            )
    encoders: Sequence[str] = [encoder]
    if not bundle and encoder.startswith("local-dir:"):
        encoders = named.encoder
        if not encoders:
            raise NotNamedError(
                f"{path}: its encoder lies in a folder. Name it, --encoder {encoder}.",
                f"--encoder {encoder}",
            )
    if bundle and not named.features:
        message = f"{path}: it was measured on a feature bundle. Name it, --features."
        raise NotNamedError(message, f"--features FILE of {record.dataset}")
    return {
        "method": [(name,) for name in methods],
        "dataset": [(name,) for name in datasets],
        "encoder": encoders,
        "features": named.features if bundle else [None],
    }


def _differences(record: Record, cell: Cell) -> tuple[str, ...]:
    """The inputs in which a cell differs from the record."""
    names = [name for name in cell.inputs if name in Record.model_fields]
    return tuple(name for name in names if getattr(record, name) != cell.inputs[name])


def fault_of(verdicts: Sequence[Verdict]) -> str:
    """Describe the records with other predictions in one line; empty if all are the same."""
    wrong = [verdict for verdict in verdicts if verdict.differ]
    if not wrong:
        return ""
    examples = "; ".join(f"{v.path}: {v.differ} of {v.images} images differ" for v in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"{len(wrong)} of {len(verdicts)} records are not measured again: {examples}{more}."


def unmeasured_of(errors: Sequence[BenchError], records: int) -> str:
    """Count the records that were not measured again, and list the options to name for them.

    Args:
        errors: The error of each of these records, reported already.
        records: Number of all records.
    """
    if not errors:
        return ""
    needed = Counter(error.option for error in errors if isinstance(error, NotNamedError))
    named = "; ".join(f"{option} ({counted(n, 'record')})" for option, n in needed.most_common(6))
    others = len(errors) - needed.total()
    parts = [f"Name {named}{' and more' if len(needed) > 6 else ''}." if named else ""]
    parts += [f"The reasons of {counted(others, 'record')} stand above."] if others else []
    return f"{len(errors)} of {records} records were not measured again. {' '.join(parts).strip()}"
