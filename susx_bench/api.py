"""`evaluate`: measure methods from a script or a notebook."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from susx_bench.errors import OptionError
from susx_bench.events import Event, Listener, Note, ignore
from susx_bench.features.arrays import Features
from susx_bench.methods.base import Method, Setting
from susx_bench.options import shown
from susx_bench.options.given import checked, several
from susx_bench.records.store import read_predictions
from susx_bench.results import Predicted, Results
from susx_bench.runner.execute import execute
from susx_bench.runner.outcome import Outcome
from susx_bench.runner.request import Request

Name = str | Path
MethodName = str | type[Method]


def evaluate(
    method: MethodName | Sequence[MethodName],
    *,
    dataset: Name | Sequence[Name] | None = None,
    encoder: str | None = None,
    setting: Setting = "few-shot",
    shots: int | Sequence[int] | None = None,
    seed: int | Sequence[int] | None = None,
    tune: str | Sequence[str] | None = None,
    prompts: str | None = None,
    support: Name | None = None,
    features: Name | Features | None = None,
    data_root: Name | None = None,
    out: Name | None = None,
    progress: bool = False,
    listen: Listener = ignore,
    **options: Any,
) -> Results:
    """Measure methods, as ``susx-bench run`` does: the same inputs give the same records.

    Nothing is printed. Features of images are kept in the cache, so that they are encoded once.

    Args:
        method: Names of methods, ``./file.py:Class``, or classes; one or several.
        dataset: Names of datasets, folders, or ``hf:ORG/NAME``; None for the embedded demo.
        encoder: Such as ``RN50:openai``.
        setting: ``few-shot``, or ``name-only`` for support sets made from class names.
        shots: Labelled images per class; None for 1, 2, 4, 8 and 16, or with `features` for all.
        seed: Seeds of the draws; None for 1, 2 and 3.
        tune: The labels that choose hyper-parameters, as ``--tune``; one or several.
        prompts: The prompts for the text encoder, as ``--prompts``.
        support: A support set in the name-only setting, by name or folder.
        features: A feature bundle, or `Features` in memory, in place of a dataset and an encoder.
        data_root: Folder of local data; None for ``SUSX_BENCH_DATA``.
        out: Folder of the records. A cell with a record is not measured again. None to keep no
            files.
        progress: Whether to show progress and notes on stderr.
        listen: Told of notes and progress, see `susx_bench.events`.
        options: Any other option of ``susx-bench run`` by its Python name, such as ``official``,
            ``val_shots`` or ``devices``.

    Returns:
        The records and their table. A cell that does not apply to its method is left out, and
        `Results.blank` says why. `Results.predictions` has the answer for every test image, also
        without test labels, when there are no records.

    Raises:
        BenchError: If a name is unknown, options do not fit, or data is missing. The message is
            one line with the fault, its place and the remedy.
    """
    given = {
        "dataset": None if dataset is None else tuple(map(_name, several(dataset))),
        "encoder": encoder,
        "shots": None if shots is None else several(shots),
        "seed": None if seed is None else several(seed),
        "tune": tune if tune is None or isinstance(tune, str) else several(tune),
        "prompts": prompts,
        "support": None if support is None else _name(support),
        "features": features,
        "data_root": data_root,
        "out": out,
        **options,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if features is not None and not isinstance(features, str | Path | Features):
        raise OptionError(f"features: {shown(features)} is no path and no Features.")
    if not callable(listen):
        raise OptionError(f"listen: {shown(listen)} is no function that takes an event.")
    progress = checked("progress", click.BOOL, progress)
    request = Request(method=_methods(method), setting=setting, **_variables(given), **given)
    notes: list[str] = []

    def heard(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        listen(event)
        if report is not None:
            report(event)

    report = _reporter() if progress and request.launch.is_main else None
    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="susx-bench-")))
        else:
            folder = request.out
        outcomes = execute([request], listen=heard, out=folder).outcomes
        # Rank 0 has written them, into its own temporary folder if `out` is None.
        predicted = [_predicted(o) for o in outcomes if not o.reason and request.launch.is_main]
    return Results(
        [outcome.record for outcome in outcomes if outcome.record is not None],
        list(dict.fromkeys(outcome.reason for outcome in outcomes if outcome.reason)),
        notes,
        predictions=predicted,
    )


def _predicted(outcome: Outcome) -> Predicted:
    """Read the answers of a cell from the file beside its record's path."""
    cell, answers = outcome.cell, read_predictions(outcome.path)
    return Predicted(
        method=cell.method.name,
        dataset=cell.task.dataset,
        encoder=cell.task.encoder,
        tune=cell.tune,
        shots=cell.shots if "support" in cell.method.needs else 0,
        seed=cell.seed,
        classnames=cell.task.classnames,
        top1=answers.top1,
        margin=answers.margin,
        confidence=answers.confidence,
        record=outcome.record,
    )


def _name(value: Any) -> Any:
    """A name, or a path as text. A `Path` stays a path even if a registered name looks alike."""
    if isinstance(value, Path) and not value.is_absolute() and value.parts[:1] not in (("..",), ()):
        return f"./{value}"
    return value


def _methods(method: MethodName | Sequence[MethodName]) -> tuple[MethodName, ...]:
    methods = several(method)
    if not methods:
        raise OptionError("method: the list is empty.")
    for entry in methods:
        if not isinstance(entry, str | type):
            raise OptionError(f"method: {shown(entry)} is neither a name nor a class.")
    return methods


def _variables(given: dict[str, Any]) -> dict[str, str]:
    """Values from environment variables for options that were not passed."""
    unread = {"prompts_dir"} if "features" in given else set()
    values = {
        name: os.environ.get(option.variable)
        for name, option in Request.declared().items()
        if option.variable and name not in given and name not in unread
    }
    return {name: value for name, value in values.items() if value}


def _reporter() -> Listener:
    from susx_bench.console import stderr
    from susx_bench.progress import Reporter

    return Reporter(stderr())
