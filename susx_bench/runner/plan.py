"""What was asked for, as a list of cells."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from susx_bench.data.classes import same_names
from susx_bench.data.custom import open_dataset, own_encoder
from susx_bench.data.dataset import Dataset
from susx_bench.data.images import Images
from susx_bench.data.spec import DatasetSpec, Where
from susx_bench.encoders.base import Encoder
from susx_bench.encoders.named import encoder_name, open_encoder
from susx_bench.errors import (
    BenchError,
    BundleError,
    DatasetError,
    EncoderError,
    OptionError,
    PluginError,
    PromptsError,
    ShotsError,
    SupportError,
)
from susx_bench.features.bundle import BundleTask
from susx_bench.features.contents import Contents
from susx_bench.features.launch import Launch
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.features.task import DatasetTask, Task
from susx_bench.methods.base import Method, fault
from susx_bench.options.batches import ALL, Batches
from susx_bench.options.run import DEMO, ORDER, SEEDS, SHOTS, RunOptions
from susx_bench.prompts.kinds import Say, class_prompts
from susx_bench.records.files import sha256_json
from susx_bench.records.text import read_names
from susx_bench.registry import DATASETS, ENCODERS, METHODS, load_method
from susx_bench.runner.cell import Cell
from susx_bench.support.build import Request as Build
from susx_bench.support.build import build
from susx_bench.support.fewshot import DrawRule, Pool, read_shots, scarcest
from susx_bench.support.folder import BuiltSupport, default_root, find
from susx_bench.support.none import NoSupport
from susx_bench.support.places import BLOCK
from susx_bench.tuning.choose import TUNES, Tune

FEW_SHOT = "few-shot"


class Request(RunOptions):
    """The options of ``run``, and what they say of where to run and where images lie."""

    @property
    def launch(self) -> Launch:
        """Where to run."""
        return Launch(self.devices, self.num_nodes, self.accelerator, self.batch_size, self.workers)

    @property
    def where(self) -> Where:
        """Where the images are looked for."""
        return Where(
            self.data_root,
            self.source,
            self.split_file,
            self.on_bad_image == "skip",
            self.image_column,
            self.label_column,
            self.classnames,
            self.limit,
        )

    def given(self) -> dict[str, str]:
        """What a record keeps of where data lies and how to read it, as it was given."""
        values = {name: getattr(self, name) for name, o in self.declared().items() if o.given}
        return {name: as_given(str(value)) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Opened:
    """What the requests of a suite share: each encoder and each task is opened once.

    Attributes:
        encoders: By name and precision.
        tasks: By what `_data_of` leaves of a request.
        said: What was said about these.
    """

    encoders: dict[tuple[str, str], Encoder] = field(default_factory=dict)
    tasks: dict[Request, Task] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    def say(self, notes: Console, line: str) -> None:
        """Print a line once."""
        if line not in self.said:
            self.said.add(line)
            notes.print(line)


def plan(
    request: Request, baselines: Sequence[str], notes: Console, opened: Opened | None = None
) -> list[Cell]:
    """List the cells of a request: tasks, then methods, then shots, then seeds.

    Args:
        request: What was asked.
        baselines: Methods to put beside the ones asked for.
        notes: Console for notes.
        opened: What other requests have opened already.

    Raises:
        BenchError: If a name is unknown or options do not fit.
    """
    names = [*(b for b in baselines if b not in request.method), *request.method]
    methods = [load_method(name) for name in names]
    for (method, _), asked in zip(methods, names, strict=True):
        _check_method(method, asked)
    taken = [method.name for method, _ in methods]
    if len(set(taken)) < len(taken):
        twice = next(name for name in taken if taken.count(name) > 1)
        raise PluginError(f"two of the methods asked for are called '{twice}'. Rename one.")
    opened = opened or Opened()
    say = partial(opened.say, notes)
    tasks = _tasks(request, notes, opened)
    if request.shots is None and (request.features or request.setting != FEW_SHOT):
        if request.seed:
            notes.print("--seed has no effect: without --shots the support set is used whole.")
        whole = True
    else:
        whole = request.shots_file is not None
    drawn = not whole and any("support" in method.needs for method, _ in methods)
    given = request.given()
    cells = []
    for task in tasks:
        tune = _tune(request, task)
        draws: list[tuple[int | None, int]] = [(None, 0)]
        if drawn and len(task.pool_labels):
            each = request.shots or _shots_there_are(task, request.draw, notes)
            draws = [(s, seed) for s in each for seed in request.seed or SEEDS]
        worded: dict[str, tuple[Task, str]] = {"": (task, ""), task.prompts: (task, "")}
        chosen = None
        if request.shots_file:
            chosen = read_shots(request.shots_file, task.pool_keys, task.where)
        for (method, source), asked in zip(methods, names, strict=True):
            needs_support = "support" in method.needs
            # One record serves every tuning where there is nothing to choose.
            choice = (
                method().tunable
                or "val" in method.needs
                or (tune == "published" and method().published(task.dataset) is not None)
            )
            if method.prompts not in worded:
                worded[method.prompts] = _worded(task, method.prompts, request.prompts_dir, say)
            own, wordless = worded[method.prompts]
            own_draws = draws if needs_support else [(None, 0)]
            for (draw_shots, seed), (order, batches) in product(own_draws, _shown(method, request)):
                cell = Cell(
                    task=own,
                    method=method,
                    method_source=source,
                    setting=request.setting,
                    draw_shots=draw_shots,
                    seed=seed,
                    draw="file" if request.shots_file else request.draw,
                    chosen=chosen,
                    tune=tune if choice else "fixed",
                    val_shots=request.val_shots,
                    official=request.official,
                    order=order,
                    batches=batches,
                    plugins=METHODS.package(asked),
                    wordless=wordless,
                    extras=request.extras(),
                    given=given,
                )
                _ = cell.input_sha256  # draws the images, so that too many shots stop here
                cells.append(cell)
    return cells


@dataclass(frozen=True)
class Part:
    """Cells of a suite that look at the same data.

    Attributes:
        dataset: The data's name, as asked for.
        encoder: The encoder's.
        sha256: Hash of the options that say what data.
        error: Why the cells could not be listed; None where they were.
    """

    dataset: str
    encoder: str
    sha256: str
    error: BenchError | None = None


UNAVAILABLE = (BundleError, DatasetError, EncoderError, PromptsError, SupportError)
"""Errors that are about some data, and leave the rest of a suite as it is."""


def plan_suite(requests: Sequence[Request], notes: Console) -> tuple[list[Cell], list[Part]]:
    """List the cells of a suite, each once, and which of its data can be had.

    Data that cannot be had takes its own cells with it and no others. What is wrong with the
    suite itself, such as options that do not fit, is an error.

    Args:
        requests: What the suite asks for.
        notes: Console for notes.

    Raises:
        BenchError: If the suite is wrong, or no data can be had at all.
    """
    cells: dict[str, Cell] = {}
    parts: dict[Request, Part] = {}
    opened = Opened()
    asked = [
        request.changed(dataset=names)
        for request in requests
        for names in (
            [request.dataset] if request.features else [(n,) for n in request.dataset or (DEMO,)]
        )
    ]
    while asked:
        request = asked.pop(0)
        each = request.shots or SHOTS
        data = _data_of(request)
        keys = [data.changed(shots=(s,)) for s in each]
        if any(key in parts and parts[key].error for key in (data, *keys[:1])):
            continue  # told once; nothing is downloaded or read a second time
        try:
            for cell in plan(request, (), notes, opened):
                # A suite's runs may share cells, such as zero-shot's.
                cells.setdefault(cell.input_sha256, cell)
            for key in (data, *keys):
                parts.setdefault(key, _part(request, key))
        except ShotsError as error:
            if len(each) > 1:
                # Fewer images than the most shots ask for still serve the fewer shots.
                asked = [request.changed(shots=(s,)) for s in each] + asked
            else:
                parts[keys[0]] = _part(request, keys[0], error)
        except UNAVAILABLE as error:
            parts[data] = _part(request, data, error)
    failed = [part.error for part in parts.values() if part.error]
    if failed and not cells:
        raise failed[0]
    return list(cells.values()), list(parts.values())


def _part(request: Request, key: Request, error: BenchError | None = None) -> Part:
    if request.features:
        dataset, encoder = request.features.stem, request.encoder or "bundle"
        where = str(request.features)  # bundles of one name in two folders are two
    else:
        where = dataset = (request.dataset or ("",))[0]
        encoder = encoder_name(request.encoder, own_encoder(dataset), dataset)
    names = [name for name, option in Request.declared().items() if option.data]
    said = [where, encoder, *(str(getattr(key, name)) for name in (*names, "shots"))]
    return Part(dataset, encoder, sha256_json(said), error)


def _data_of(request: Request) -> Request:
    """The request without what decides a number and does not say which data it is about."""
    others = [
        n for n, o in Request.declared().items() if o.decides and not o.data and n != "method"
    ]
    return request.changed(method=(), **{name: Request.default(name) for name in others})


def _shown(method: type[Method], request: Request) -> list[tuple[int, str]]:
    """Orders and batches in which a method gets the test set; one record serves where it is alike.

    The order matters to a streaming method, and to a transductive one which batches it gets.
    """
    made = method()
    made.official = request.official
    orders = request.order or (ORDER,)
    if made.regime == "streaming":
        return [(order, "") for order in orders]
    if made.regime == "inductive":
        return [(0, "")]
    found: list[tuple[int, str]] = []
    for batches in request.batches or (ALL,):
        if batches == ALL:
            found.append((0, ""))
        else:
            found += [(order, str(Batches.read(batches))) for order in orders]
    return found


def _check_method(method: type[Any], asked: str) -> None:
    """Check that a class can be used as a method.

    Raises:
        PluginError: If it is no `Method`, has no name, or cannot be made without arguments.
    """
    if wrong := fault(method):
        raise PluginError(f"--method {asked}: {method.__name__} is not a method: {wrong}.")


def _worded(task: Task, kind: str, folder: Path | None, say: Say) -> tuple[Task, str]:
    """A task with a method's own kind of prompts, or itself and why it cannot have them."""
    if not isinstance(task, DatasetTask):
        return task, f"it brings prompts of its own, and {task.where} comes with one text"
    try:
        return task.worded(kind, class_prompts(kind, task.spec, folder, say)), ""
    except (PromptsError, DatasetError) as error:
        return task, str(error)


def _shots_there_are(task: Task, rule: DrawRule, notes: Console) -> Sequence[int]:
    """The default shots that the task has images for; what is left out is said."""
    if rule == "coop":  # a class with fewer images gives all it has
        return SHOTS
    label, count = scarcest(Pool(task.pool_labels, task.classnames, task.where))
    more = [s for s in SHOTS if s > count]
    if not more or len(more) == len(SHOTS):  # where no draw is possible, drawing says so
        return SHOTS
    notes.print(
        f"{task.where}: class {label} ('{task.classnames[label]}') has {count} labelled images, "
        f"so S = {', '.join(map(str, more))} is left out.",
    )
    return [s for s in SHOTS if s <= count]


def _tune(request: Request, task: Task) -> Tune:
    has_val = task.val_labels is not None
    name = request.tune
    if name is None:
        name = ("val" if has_val else "support") if request.setting == FEW_SHOT else "fixed"
    tune: Tune = next(known for known in TUNES if known == name)
    if tune in ("val", "few-val") and task.val_is_test:
        raise OptionError(
            f"--tune {tune}: the published val split of {task.dataset} is its test set, so there "
            "is none to choose on. Use --tune support or --tune fixed, or --tune test "
            "--allow-test-tuning for the upper bound others report."
        )
    if tune in ("val", "few-val") and not has_val:
        raise OptionError(
            f"--tune {tune}: {task.where} comes without a val split ('val' and 'val_labels'). "
            "Use --tune support or --tune fixed."
        )
    if task.test_labels is None and (tune == "test" or request.batches):
        asked = "--tune test" if tune == "test" else "--batches"
        raise OptionError(f"{asked} looks at the test labels, which {task.dataset} has none of.")
    return tune


def _bundle(request: Request, notes: Console) -> Task:
    assert request.features is not None
    names = None
    if request.classnames:
        try:
            names = read_names(request.classnames)
        except (OSError, ValueError) as error:
            raise OptionError(f"--classnames {request.classnames}: {error}.") from error
    task = BundleTask(
        request.features,
        dataset=request.dataset[0] if request.dataset else None,
        encoder=request.encoder,
        logit_scale=request.logit_scale,
        classnames=names,
        limit=request.limit,
    )
    if task.unread:
        named = ", ".join(task.unread)
        notes.print(f"{request.features}: no bundle has {named}: not read")
    return task


def _tasks(request: Request, notes: Console, opened: Opened) -> list[Task]:
    """The tasks of a request; one that was opened before is the same one again."""
    if request.features:
        keys = [_data_of(request)]
    else:
        check_encoders([request])
        names = request.dataset or (DEMO,)
        keys = [_data_of(request).changed(dataset=(name,)) for name in names]
    for key in keys:
        if key in opened.tasks:
            continue
        if request.features:
            opened.tasks[key] = _bundle(request, notes)
        else:
            assert key.dataset
            (dataset,) = key.dataset
            named = (
                encoder_name(request.encoder, own_encoder(dataset), dataset),
                request.precision,
            )
            if named not in opened.encoders:
                opened.encoders[named] = open_encoder(*named)
            encoder, store = opened.encoders[named], FeatureStore(cache_url())
            opened.tasks[key] = _task(request, dataset, encoder, store, notes, opened)
        task = opened.tasks[key]
        for line in same_names(enumerate(task.classnames)):
            opened.say(notes, f"{task.dataset}: {line}.")
    return [opened.tasks[key] for key in keys]


def check_encoders(requests: Sequence[Request]) -> None:
    """Check, before anything is built, that each dataset has an encoder.

    Raises:
        OptionError: If none was asked for, and a dataset comes with none.
    """
    for request in requests:
        if not request.features:
            for name in request.dataset or ():
                encoder_name(request.encoder, own_encoder(name), name)


def _task(
    request: Request,
    name: str,
    encoder: Encoder,
    store: FeatureStore,
    notes: Console,
    opened: Opened,
) -> Task:
    dataset = open_dataset(name, request.where)
    spec = dataset.spec
    pool, support = _pool(request, name, encoder.name, dataset, notes)
    # Only labelled images of the task are augmented; a support set is encoded as it is.
    views = (request.views or spec.views) if support == FEW_SHOT else 1
    texts = class_prompts(request.prompts, spec, request.prompts_dir, partial(opened.say, notes))
    contents = Contents(store, believe=not request.force)
    task = DatasetTask(
        dataset, encoder, request.prompts, texts, pool, support, views, store, contents
    )
    for remark in task.remarks:
        notes.print(f"{spec.name}: {remark}.")
    task.given = as_given(name)
    task.plugins = {**DATASETS.package(name), **ENCODERS.package(encoder.name)}
    return task


def as_given(name: str) -> str:
    """A dataset as it was asked for, without the path of somebody's home."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - a user may have none
    if Path(name).is_absolute() and Path(name).is_relative_to(home) and home.name:
        return f"~/{Path(name).relative_to(home).as_posix()}"
    return name


def _pool(
    request: Request,
    name: str,
    encoder: str,
    dataset: Dataset,
    notes: Console,
) -> tuple[Images, str]:
    spec = dataset.spec
    if request.setting == FEW_SHOT:
        if "train" not in dataset.splits:
            raise OptionError(
                f"{spec.name}: it has no train split, so there is no few-shot setting. Use "
                "--setting name-only."
            )
        return dataset.split("train"), FEW_SHOT
    if request.support is None:
        if spec.support is None:
            return NoSupport(spec.classnames), "none"
        return _embedded(request, spec, notes)
    folder = find(request.support, spec.name, default_root(), name)
    support = BuiltSupport(folder, spec)
    if support.features is not None and support.encoder != encoder:
        raise SupportError(
            f"{folder} holds features of {support.encoder} and no images, so it cannot be used "
            f"with {encoder}. Give --encoder {support.encoder}."
        )
    return support, folder.name


def _embedded(request: Request, spec: DatasetSpec, notes: Console) -> tuple[Images, str]:
    """The support set that a dataset comes with the means for: built, unless it is there."""
    assert spec.support is not None
    launch = replace(request.launch, batch_size=BLOCK)
    built = build(Build(dataset=spec.name, kind=spec.support, launch=launch), notes)
    return BuiltSupport(built.folder, spec), built.folder.name
