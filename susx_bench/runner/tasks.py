"""Open the data of a request once, and share it with all requests that look at it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from susx_bench.data.classes import same_names
from susx_bench.data.custom import open_dataset, own_encoder
from susx_bench.data.dataset import Dataset
from susx_bench.data.images import Images
from susx_bench.data.spec import DatasetSpec, Where
from susx_bench.data.unknown import open_set
from susx_bench.encoders.base import Encoder
from susx_bench.encoders.named import encoder_name, encoder_package, open_encoder
from susx_bench.errors import OptionError, SupportError
from susx_bench.events import Listener, Note
from susx_bench.features.bundle import BundleTask
from susx_bench.features.contents import Contents
from susx_bench.features.dataset_task import DatasetTask
from susx_bench.features.leaks import check_shared
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.features.task import Task
from susx_bench.options.run import DEMO, LAUNCH
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.text import read_names
from susx_bench.registry import DATASETS, PROMPTS
from susx_bench.runner.draws import Draws
from susx_bench.runner.request import Request, as_given
from susx_bench.support.build import Outstanding, outstanding
from susx_bench.support.folder import default_root
from susx_bench.support.home import find, home
from susx_bench.support.images import BuiltSupport
from susx_bench.support.none import NoSupport
from susx_bench.support.places import BLOCK
from susx_bench.support.request import Request as Build

FEW_SHOT = "few-shot"


class Unbuilt(Exception):
    """A request whose support set must be built first.

    Attributes:
        build: The support set to build.
    """

    def __init__(self, build: Outstanding) -> None:
        super().__init__(f"{build.folder} is to be built first")
        self.build = build


@dataclass(frozen=True)
class Opened:
    """Objects that several requests share: each is opened once, and its files are listed once.

    Attributes:
        encoders: Encoders by name and precision.
        datasets: Datasets by name and by where their images are searched for.
        tasks: Tasks by the part of a request that `data_of` keeps.
        draws: Draws of each task.
        said: Notes that were sent already.
    """

    encoders: dict[tuple[str, str], Encoder] = field(default_factory=dict)
    datasets: dict[tuple[str, Where], Dataset] = field(default_factory=dict)
    tasks: dict[Request, Task] = field(default_factory=dict)
    draws: dict[Task, Draws] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    def say(self, listen: Listener, line: str) -> None:
        """Send a note, unless it was sent before."""
        if line not in self.said:
            self.said.add(line)
            listen(Note(line))

    def draws_of(self, task: Task) -> Draws:
        """The draws of one of the tasks."""
        if task not in self.draws:
            self.draws[task] = Draws(task)
        return self.draws[task]

    def encoder(self, name: str, precision: str) -> Encoder:
        """An encoder by its name."""
        if (name, precision) not in self.encoders:
            self.encoders[name, precision] = open_encoder(name, precision)
        return self.encoders[name, precision]

    def dataset(self, name: str, where: Where) -> Dataset:
        """A dataset by its name; all that borrow the train images of another share its list."""
        if (name, where) not in self.datasets:
            self.datasets[name, where] = open_dataset(name, where, self.dataset)
        return self.datasets[name, where]


def data_of(request: Request) -> Request:
    """The request without the options that decide a number but do not select data."""
    declared = Request.declared().items()
    others = [n for n, o in declared if o.decides and not o.data and n != "method"]
    return request.changed(method=(), **{name: Request.default(name) for name in others})


def open_task(
    request: Request, opened: Opened, listen: Listener, builds: Sequence[Outstanding] = ()
) -> Task:
    """Open the task of a request for one dataset or bundle, or return it if it is open already.

    Args:
        request: The request.
        opened: Data that other requests have opened already.
        listen: Told of notes.
        builds: Support sets that must be built first.

    Raises:
        Unbuilt: If the support set that it names is one of these, or is the dataset's own and not
            built yet.
        BenchError: If data is not available.
    """
    key = data_of(request)
    if key not in opened.tasks:
        if request.features:
            opened.tasks[key] = _bundle(request, listen)
        else:
            opened.tasks[key] = _dataset_task(request, opened, listen, builds)
    task = opened.tasks[key]
    for line in same_names(enumerate(task.classnames)):
        opened.say(listen, f"{task.dataset}: {line}.")
    return task


def _bundle(request: Request, listen: Listener) -> Task:
    if request.features is None:
        raise OptionError("--features is missing.")
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
        unknown=request.unknown,
    )
    scored = task.test_labels is not None
    for line in check_shared(f"{request.features}", task.dataset, task.images, scored=scored):
        listen(Note(f"{line}.", "warning"))
    if task.unread:
        named = ", ".join(task.unread)
        listen(Note(f"{request.features}: no bundle has {named}: not read"))
    return task


def _dataset_task(
    request: Request, opened: Opened, listen: Listener, builds: Sequence[Outstanding]
) -> Task:
    (name,) = request.dataset or (DEMO,)
    named = encoder_name(request.encoder, own_encoder(name), f"--dataset {name}")
    encoder, store = opened.encoder(named, request.precision), FeatureStore(cache_url())
    dataset = opened.dataset(name, request.where)
    if request.unknown:
        dataset = open_set(dataset, request.unknown)
    spec = dataset.spec
    pool, support = _pool(request, name, encoder.name, dataset, builds)
    # Only labelled images of the task are augmented; a support set is encoded without views.
    views = (request.views or spec.views) if support == FEW_SHOT else 1
    say = partial(opened.say, listen)
    texts: Sequence[Sequence[str]] = ()
    if encoder.has_text:
        texts = class_prompts(request.prompts, spec, request.prompts_dir, say)
    elif request.prompts != Request.default("prompts"):
        say(f"--prompts has no effect: {encoder.name} reads no text.")
    contents = Contents(store, believe=not request.force)
    if isinstance(pool, BuiltSupport):
        remark = pool.check_copies(dataset.split("test"), contents)
        if remark:
            say(remark)
    task = DatasetTask(
        dataset, encoder, request.prompts, texts, pool, support, views, store, contents
    )
    for remark in task.remarks:
        listen(Note(f"{spec.name}: {remark}."))
    task.given = as_given(name)
    task.plugins = {
        **DATASETS.package(name),
        **encoder_package(encoder.name),
        **(PROMPTS.package(request.prompts) if encoder.has_text else {}),
    }
    return task


def _pool(
    request: Request,
    name: str,
    encoder: str,
    dataset: Dataset,
    builds: Sequence[Outstanding],
) -> tuple[Images, str]:
    """The images from which support is taken, and the name of the support set."""
    spec = dataset.spec
    if request.setting == FEW_SHOT:
        if "train" not in dataset.splits:
            lent = f", unless {spec.train_of}/train lies beside it" if spec.train_of else ""
            raise OptionError(
                f"{spec.name}: it has no train split, so there is no few-shot setting{lent}. Use "
                "--setting name-only."
            )
        return dataset.split("train"), FEW_SHOT
    if request.support is None and (spec.support is None or request.unknown):
        return NoSupport(spec.classnames), "none"
    if request.support is None:
        return _own_support(request, spec)
    for build in builds:
        if build.serves(home(dataset), request.support):
            raise Unbuilt(build)
    folder = find(request.support, dataset, default_root(), f"--dataset {shlex.quote(name)}")
    support = BuiltSupport(folder, spec)
    if support.features is not None and support.encoder != encoder:
        raise SupportError(
            f"{folder} holds features of {support.encoder} and no images, so it cannot be used "
            f"with {encoder}. Give --encoder {support.encoder}."
        )
    return support, folder.name


def _own_support(request: Request, spec: DatasetSpec) -> tuple[Images, str]:
    """The support set that a dataset has its own recipe for.

    Raises:
        Unbuilt: If it is not built yet.
    """
    if spec.support is None:
        raise SupportError(f"{spec.name} comes with no means for a support set.")
    launch = {name: getattr(request, name) for name in LAUNCH} | {"batch_size": BLOCK}
    build = Build(dataset=spec.name, kind=spec.support, **launch)
    state = outstanding(build)
    if state.images:
        raise Unbuilt(state)
    return BuiltSupport(state.folder, spec), state.folder.name
