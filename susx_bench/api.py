"""`evaluate`: a run as a call, from a script or a notebook."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from susx_bench.errors import OptionError
from susx_bench.events import Event, Listener, Note, ignore
from susx_bench.features.arrays import Features
from susx_bench.methods.base import Method, Setting
from susx_bench.results import Results
from susx_bench.runner.execute import execute
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
        shots: Labelled images per class; None for 1, 2, 4, 8 and 16, of features for all.
        seed: Which draws; None for 1, 2 and 3.
        tune: Which labels choose hyper-parameters, as ``--tune``; one or several.
        prompts: What the text encoder reads, as ``--prompts``.
        support: A support set in the name-only setting, by name or folder.
        features: A feature bundle, or `Features` in memory, in place of a dataset and an encoder.
        data_root: Folder of local data; None for ``SUSX_BENCH_DATA``.
        out: Folder of the records: what is there is not measured again. None for none: nothing is
            left.
        progress: Whether to show progress and notes on stderr.
        listen: Told of notes and progress, see `susx_bench.events`.
        options: Any other option of ``susx-bench run`` by its Python name, such as ``official``,
            ``val_shots`` or ``devices``.

    Returns:
        The records and their table. A cell that a method has no use for is left out, and
        `Results.blank` says why.

    Raises:
        BenchError: If a name is unknown, options do not fit, or something cannot be had: in one
            line what, where, and what to do.
    """
    given = {
        "dataset": _each(dataset, _name),
        "encoder": encoder,
        "shots": _each(shots),
        "seed": _each(seed),
        "tune": tune if tune is None or isinstance(tune, str) else tuple(tune),
        "prompts": prompts,
        "support": None if support is None else _name(support),
        "features": features,
        "data_root": data_root,
        **options,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if features is not None and not isinstance(features, str | Path | Features):
        raise OptionError(f"features: '{features}' is no path and no Features.")
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
            folder = request.changed(out=Path(out).expanduser()).out
        outcomes = execute([request], listen=heard, out=folder).outcomes
    return Results(
        [outcome.record for outcome in outcomes if outcome.record is not None],
        list(dict.fromkeys(outcome.reason for outcome in outcomes if outcome.reason)),
        notes,
    )


def _each(value: Any, one: Any = None) -> tuple[Any, ...] | None:
    """One value or several, as a tuple; None where there is none."""
    if value is None:
        return None
    several = [value] if isinstance(value, str | Path | int) else list(value)
    return tuple(several if one is None else map(one, several))


def _name(value: Name) -> str:
    """A name, or a path in the place of one: a `Path` is one also where a name looks alike."""
    if isinstance(value, Path) and not value.is_absolute() and value.parts[:1] not in (("..",), ()):
        return f"./{value}"
    return str(value)


def _methods(method: MethodName | Sequence[MethodName]) -> tuple[MethodName, ...]:
    several = [method] if isinstance(method, str | type) else list(method)
    if not several:
        raise OptionError("method: the list is empty.")
    return tuple(several)


def _variables(given: dict[str, Any]) -> dict[str, str]:
    """What environment variables say of options that are not given."""
    unread = {"prompts_dir"} if "features" in given else set()
    said = {
        name: os.environ.get(option.variable)
        for name, option in Request.declared().items()
        if option.variable and name not in given and name not in unread
    }
    return {name: value for name, value in said.items() if value}


def _reporter() -> Listener:
    from susx_bench.console import stderr
    from susx_bench.progress import Reporter

    return Reporter(stderr())
