"""A cell measured once more, and compared with its record bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from susx_bench.console import counted
from susx_bench.errors import BenchError, NotNamedError, OptionError, RecordError
from susx_bench.events import Listener, ignore
from susx_bench.features.task import TaskFeatures
from susx_bench.hub import downloads
from susx_bench.methods.base import Context, Method
from susx_bench.options.run import METHOD
from susx_bench.records.command import command, options
from susx_bench.records.record import Record, unpack
from susx_bench.records.store import predictions_path, read, read_predictions
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.cell import Cell
from susx_bench.runner.measure import Shared, context_of, measure, tuning_images
from susx_bench.runner.plan import plan
from susx_bench.runner.prepare import complete, encode
from susx_bench.runner.request import Request
from susx_bench.runner.run import unmet_need
from susx_bench.runner.tasks import Opened
from susx_bench.tuning.choose import TUNES


@dataclass(frozen=True)
class Verdict:
    """What measuring a record's cell again gave.

    Attributes:
        path: The record.
        images: Number of test images.
        differ: How many are predicted to be another class; 0 where the hashes are equal.
    """

    path: Path
    images: int
    differ: int


def records_in(paths: Sequence[Path]) -> list[Path]:
    """The records that are named, or lie in folders that are named.

    Raises:
        RecordError: If there is no such file or folder, or no record in it.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RecordError(f"{path}: no such file or folder.")
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise RecordError(f"{path} has no records.")
        found += inside
    return list(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class Named:
    """What the user names for records to be measured again: a record is data, and only names it.

    Nothing that a record alone names is imported, opened or fetched, but for what is registered
    in this environment. What several records need may be named for each; the hashes say whose
    is whose.

    Attributes:
        features: Feature bundles.
        method: Methods read from files, ``./FILE.py:CLASS``.
        dataset: Data of the user's own, folders and repositories.
        encoder: Encoders in folders, ``local-dir:FOLDER``.
        options: Other options of ``run`` that a record does not hold, such as where data lies;
            None where one is not given.
        fetch: Whether what a record names may be downloaded.
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
        named: What the user names.
        listen: Told of notes.
        opened: What was opened for other records.

    Raises:
        RecordError: If the record cannot be believed, its inputs cannot be found again, or it
            needs what was not named.
        BenchError: If what is named cannot be had.
    """
    record, cell, request, features = find(path, named, listen, opened)
    again = measure(cell, features, Shared(request.launch), 0.0)
    if again.record is None:  # the hashes of its inputs hold the test labels
        raise RecordError(f"{path}: the test images have no labels here.")
    if again.record.predictions_sha256 == record.predictions_sha256:
        return Verdict(path, record.n_test, 0)
    if predictions_path(path).exists():
        differ = int((read_predictions(path).top1 != again.predictions.top1).sum())
    else:  # which were right is all that is known of the old answers
        before, after = (unpack(r.right, r.n_test) for r in (record, again.record))
        differ = int(np.count_nonzero(before != after))
    return Verdict(path, record.n_test, max(differ, 1))


class Inputs(NamedTuple):
    """A record and all that it was measured with, found again and encoded."""

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
        named: What the user names.
        listen: Told of notes.
        opened: What was opened for other records.

    Raises:
        RecordError: If the record cannot be believed, its inputs cannot be found again, or it
            needs what was not named.
        BenchError: If what is named cannot be had.
    """
    record = read(path) if predictions_path(path).exists() else Record.read(path)
    with downloads(allowed=named.fetch):
        cell, request = _find(path, record, named, listen, opened or Opened())
        if reason := unmet_need(cell):
            raise RecordError(f"{path}: {reason}.")
        return Inputs(record, cell, request, encode(cell.task, [cell], request.launch))


class Refitted(NamedTuple):
    """A record's method, fitted again and found to answer as the record says.

    Attributes:
        inputs: What it was fitted on.
        method: Fitted, with its hyper-parameters set.
        context: What it has seen.
        top1: Its answers on the test images, ``(N,)``.
    """

    inputs: Inputs
    method: Method
    context: Context
    top1: Tensor


def refit(path: Path, named: Named, listen: Listener = ignore) -> Refitted:
    """Fit a record's method again, and compare every prediction with the record's.

    Raises:
        RecordError: As `find` does, or if an image has another answer now.
    """
    inputs = find(path, named, listen)
    cell, features = inputs.cell, inputs.features
    again = measure(cell, features, Shared(inputs.request.launch), 0.0)
    if again.predictions.sha256 != inputs.record.predictions_sha256:
        raise RecordError(
            f"{path}: measured again, {cell.method.name} does not answer as the record says. "
            "`susx-bench records verify` counts the images."
        )
    if "norms" in cell.method.needs:
        features = features.in_full()
    context = context_of(cell, features, tuning_images(cell, features) if cell.sees_val else None)
    method = cell.method()
    method.official = cell.official
    method.fit(context)
    method.set(again.choice.hparams)
    return Refitted(inputs, method, context, torch.as_tensor(again.predictions.top1).long())


def _find(
    path: Path, record: Record, named: Named, listen: Listener, opened: Opened
) -> tuple[Cell, Request]:
    """The cell that has the record's inputs."""
    given = {name: value for name, value in named.options.items() if value is not None}
    asked = options(record)
    _check_named(path, asked, given)
    elsewhere = {"support", "shots_file"} - set(asked)  # named for other records
    if "features" in asked:
        elsewhere |= {"split_file", "prompts_dir", "image_column", "label_column"}
    each = _candidates(path, record, asked, named)
    # What a record says of the user's files is opened only if the user names it too; data may have
    # come with the split that it says.
    files = {name for name, option in Request.declared().items() if option.file}
    asked = {name: value for name, value in asked.items() if name not in files}
    asked |= {name: value for name, value in given.items() if name not in elsewhere}
    nearest: tuple[str, ...] | None = None
    refused: OptionError | None = None
    for choice in product(*each.values()):
        # A method with nothing to choose on its support is on record as fixed, whoever was asked.
        tunes = (record.tuned_on, *TUNES) if record.tuned_on == "fixed" else (record.tuned_on,)
        for tune in dict.fromkeys(tunes):
            try:
                request = Request(
                    **asked
                    | dict(zip(each, choice, strict=True))
                    | {"tune": tune, "allow_test_tuning": True}
                )
                planned = plan(request, listen, opened=opened, fetch=named.fetch)
                cells = complete(planned, listen).cells
            except OptionError as error:
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
    known = options(record)
    unnamed = [name for name in known if name in files - {"features"} and name not in given]
    words = [f"{Request.declared()[name].spelling(name)} {known[name]}" for name in unnamed]
    hint = f" It was measured with {' and '.join(words)}: name it too." if words else ""
    raise RecordError(
        f"{path}: the inputs cannot be found again: {what} differs from the record. It was "
        f"measured by `{command(record)}`.{hint}"
    )


def _check_named(path: Path, asked: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that files of which a record holds only the hash are named, and paths that it names."""
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
    """For each option that may be named for several records, the values that can be meant."""
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
    """What of a cell's inputs is not as the record has it."""
    names = [name for name in cell.inputs if name in Record.model_fields]
    return tuple(name for name in names if getattr(record, name) != cell.inputs[name])


def fault_of(verdicts: Sequence[Verdict]) -> str:
    """What is wrong, in one line; empty where every record is as it was."""
    wrong = [verdict for verdict in verdicts if verdict.differ]
    if not wrong:
        return ""
    each = "; ".join(f"{v.path}: {v.differ} of {v.images} images differ" for v in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"{len(wrong)} of {len(verdicts)} records are not measured again: {each}{more}."


def unmeasured_of(errors: Sequence[BenchError], records: int) -> str:
    """Which records were not measured again, and what to name for them, in one line.

    Args:
        errors: Of each of these records, which were told already.
        records: Number of all.
    """
    if not errors:
        return ""
    needed = Counter(error.option for error in errors if isinstance(error, NotNamedError))
    told = "; ".join(f"{option} ({counted(n, 'record')})" for option, n in needed.most_common(6))
    others = len(errors) - needed.total()
    parts = [f"Name {told}{' and more' if len(needed) > 6 else ''}." if told else ""]
    parts += [f"The reasons of {counted(others, 'record')} stand above."] if others else []
    return f"{len(errors)} of {records} records were not measured again. {' '.join(parts).strip()}"
