"""List the cells of a request for one dataset or bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from susx_bench.errors import (
    DatasetError,
    OptionError,
    PluginError,
    PromptsError,
)
from susx_bench.events import Listener
from susx_bench.features.dataset_task import DatasetTask
from susx_bench.features.task import Task
from susx_bench.loading import is_registered, load_method
from susx_bench.methods.base import Method, fault
from susx_bench.options.batches import ALL, Batches
from susx_bench.options.run import ORDER, SEEDS, SHOTS
from susx_bench.program import edited
from susx_bench.prompts.base import Say
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.record import UNSAID
from susx_bench.registry import METHODS
from susx_bench.runner.cell import Cell
from susx_bench.runner.request import Request
from susx_bench.runner.tasks import FEW_SHOT, Opened, open_task
from susx_bench.support.build import Outstanding
from susx_bench.support.fewshot import read_shots, scarcest
from susx_bench.tuning.names import TUNES, Tune

WHOLE: list[tuple[int | None, int]] = [(None, 0)]
"""The shots and seeds for a support set that is used whole, or for a method without one."""


@dataclass(frozen=True)
class Asked:
    """A requested method: its class, the hash of its file, and its package."""

    method: type[Method]
    source: str
    plugins: dict[str, str]


def load_methods(request: Request) -> list[Asked]:
    """Load the methods of a request.

    Raises:
        PluginError: If a method cannot be used, or two have the same name.
    """
    loaded = []
    for name in request.method:
        method, source = load_method(name)
        _check_method(method, name)
        registered = name if isinstance(name, str) else method.name
        is_given_class = isinstance(name, type) and not is_registered(name)
        package = {} if is_given_class else METHODS.package(registered)
        loaded.append(Asked(method, source, package))
    taken = [asked.method.name for asked in loaded]
    if len(set(taken)) < len(taken):
        twice = next(name for name in taken if taken.count(name) > 1)
        raise PluginError(f"two of the methods asked for are called '{twice}'. Rename one.")
    return loaded


def cells_of(
    request: Request, listen: Listener, opened: Opened, builds: Sequence[Outstanding] = ()
) -> list[Cell]:
    """List the cells of a request for one dataset or bundle.

    Raises:
        Unbuilt: If its support set must be built first.
        BenchError: If a name is unknown or options do not fit.
    """
    methods = load_methods(request)
    task = open_task(request, opened, listen, builds)
    drawn_from = opened.draws_of(task)
    tunes = _tunes(request, task)
    chosen = None
    if request.shots_file:
        chosen = read_shots(request.shots_file, task.pool_keys, task.where)
    drawn = any("support" in asked.method.needs for asked in methods)
    for line in _remarks(request, task, methods):
        opened.say(listen, line)
    draws = _draws(request, task, opened, listen) if drawn else WHOLE
    texts = _Texts(request, task, lambda line: opened.say(listen, line))
    given_options, cells = request.given(), dict[str, Cell]()
    for asked in methods:
        method = asked.method
        own_task, no_prompts = texts.of(method)
        method_draws = draws if "support" in method.needs else WHOLE
        # If there is nothing to choose, one record serves all tunings.
        method_tunes = dict.fromkeys(t if _chooses(method, t, task) else "fixed" for t in tunes)
        for tune, (draw_shots, seed), (order, batches) in product(
            method_tunes, method_draws, _shown(method, request)
        ):
            cell = Cell(
                task=own_task,
                draws=drawn_from,
                method=method,
                method_source=asked.source,
                setting=request.setting,
                draw_shots=draw_shots,
                seed=seed,
                draw="file" if request.shots_file else request.draw,
                chosen=chosen,
                tune=tune,
                val_shots=request.val_shots,
                official=request.official,
                order=order,
                batches=batches,
                plugins=asked.plugins,
                no_prompts=no_prompts,
                extras=request.extras(),
                given=given_options,
            )
            cell.check()
            cells.setdefault(cell.input_sha256, cell)
    return list(cells.values())


def _remarks(request: Request, task: Task, methods: Sequence[Asked]) -> Iterator[str]:
    """What a user should know about a request that is carried out all the same."""
    if request.seed and not request.shots and (request.features or request.setting != FEW_SHOT):
        yield "--seed has no effect: without --shots the support set is used whole."
    takes_support = any("support" in asked.method.needs for asked in methods)
    if takes_support and request.setting != FEW_SHOT and task.support == UNSAID:
        yield (
            f"{task.dataset}: the bundle does not say what its support is. If it holds labelled "
            "images, numbers with it are not name-only, and tables mark them. Say it with the "
            "metadata support_from, such as sus-sd-photo or few-shot."
        )
    for asked in methods:
        for path in edited(asked.method) if asked.source else ():
            yield (
                f"{path} was edited after it was imported. What was imported is what runs: reload "
                "the module, or start Python again, to run the file as it is now."
            )


def _chooses(method: type[Method], tune: Tune, task: Task) -> bool:
    """Whether a tuning makes a difference; if not, one record serves all tunings."""
    instance = method()
    published = tune == "published" and instance.published(task.dataset) is not None
    return instance.tunable or "val" in method.needs or published


def _draws(
    request: Request, task: Task, opened: Opened, listen: Listener
) -> list[tuple[int | None, int]]:
    """The shots and seeds to draw; ``(None, 0)`` if the support set is used whole."""
    if request.shots is None and (request.features or request.setting != FEW_SHOT):
        return WHOLE
    if request.shots_file is not None or not len(task.pool_labels):
        return WHOLE
    all_shots = request.shots or _default_shots(request, task, opened, listen)
    return [(s, seed) for s in all_shots for seed in request.seed or SEEDS]


def _default_shots(request: Request, task: Task, opened: Opened, listen: Listener) -> Sequence[int]:
    """The default shots for which the task has images; a note names those left out."""
    if request.draw == "coop":  # a class with fewer images gives all its images
        return SHOTS
    label, count = scarcest(opened.draws_of(task).pool)
    more = [s for s in SHOTS if s > count]
    if not more or len(more) == len(SHOTS):  # if no draw is possible, drawing raises the error
        return SHOTS
    line = (
        f"{task.where}: class {label} ('{task.classnames[label]}') has {count} labelled images, "
        f"so S = {', '.join(map(str, more))} is left out."
    )
    opened.say(listen, line)
    return [s for s in SHOTS if s <= count]


class _Texts:
    """A task with the prompts for each method: the user's, or those that the method brings."""

    def __init__(self, request: Request, task: Task, say: Say) -> None:
        self._task = task
        self._folder = request.prompts_dir
        self._say = say
        self._known: dict[str, tuple[Task, str]] = {"": (task, ""), task.prompts: (task, "")}

    def of(self, method: type[Method]) -> tuple[Task, str]:
        """The task with a method's prompts and ``""``; or the task unchanged, and the reason."""
        kind = method.prompts
        if kind not in self._known:
            self._known[kind] = _worded(self._task, kind, self._folder, self._say)
        return self._known[kind]


def _shown(method: type[Method], request: Request) -> list[tuple[int, str]]:
    """The orders and batches in which a method gets the test set.

    A streaming method depends on the order, and a transductive one on the batches. Other methods
    get one pair, so that one record serves all.
    """
    instance = method()
    instance.official = request.official
    orders = request.order or (ORDER,)
    if instance.regime == "streaming":
        return [(order, "") for order in orders]
    if instance.regime == "inductive":
        return [(0, "")]
    orders_and_batches: list[tuple[int, str]] = []
    for batches in request.batches or (ALL,):
        if batches == ALL:
            orders_and_batches.append((0, ""))
        else:
            orders_and_batches += [(order, str(Batches.read(batches))) for order in orders]
    return orders_and_batches


def _check_method(method: type[Any], asked: str | type) -> None:
    """Check that a class can be used as a method.

    Raises:
        PluginError: If it is no `Method`, has no name, or its constructor needs arguments.
    """
    if wrong := fault(method):
        name = asked if isinstance(asked, str) else asked.__name__
        raise PluginError(f"--method {name}: {method.__name__} is not a method: {wrong}.")


def _worded(task: Task, kind: str, folder: Path | None, say: Say) -> tuple[Task, str]:
    """A task with a method's own kind of prompts; or the task unchanged, and the reason."""
    if "text" not in task.gives:
        return task, ""  # the task can have no other prompts either
    if not isinstance(task, DatasetTask):
        return task, f"it brings prompts of its own, and {task.where} comes with one text"
    try:
        return task.with_prompts(kind, class_prompts(kind, task.spec, folder, say)), ""
    except (PromptsError, DatasetError) as error:
        return task, str(error)


def _tunes(request: Request, task: Task) -> list[Tune]:
    """The requested tunings, or the default tuning of the task."""
    has_val = task.val_labels is not None
    usual = ("val" if has_val else "support") if request.setting == FEW_SHOT else "fixed"
    return [_tune(request, task, name) for name in request.tune or (usual,)]


def _tune(request: Request, task: Task, name: str) -> Tune:
    """A tuning by its name; the task must have the labels that it looks at.

    Raises:
        OptionError: If the task lacks these labels.
    """
    has_val = task.val_labels is not None
    tune: Tune = next(valid for valid in TUNES if valid == name)
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
        option = "--tune test" if tune == "test" else "--batches"
        raise OptionError(f"{option} looks at the test labels, which {task.dataset} has none of.")
    return tune
