"""From what was asked for to a finished support set; what is there already is kept."""

from __future__ import annotations

import os
import random
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import Dataset
from susx_bench.data.named import names_alone, read_classes
from susx_bench.data.spec import DatasetSpec, Where
from susx_bench.errors import OptionError, SupportError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.features.launch import Launch
from susx_bench.options.support import SupportOptions
from susx_bench.prompts.base import Say
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import make_folder
from susx_bench.registry import DATASETS, SUPPORT
from susx_bench.support.folder import SupportFolder, default_root
from susx_bench.support.home import home, place
from susx_bench.support.manifest import Row
from susx_bench.support.pipelines import DEMO
from susx_bench.support.recipe import Recipe

CUPL_RETRIEVED = 10
"""Sentences of a class that images are retrieved for, drawn at random, as SuS-LC did."""


_GLANCE = 0.2
"""Seconds between two looks at what another rank builds."""

_SHARED = ("dataset", "kind", "prompts", "per_class", "seed")


class Request(SupportOptions):
    """The options of ``support build``, and what they say of where to run and where images lie.

    Attributes:
        expected: Recipe that the set must have again; None for whatever comes out.
    """

    expected: Recipe | None = None

    @property
    def launch(self) -> Launch:
        """Where to run."""
        return Launch(self.devices, self.num_nodes, self.accelerator, self.batch_size, self.workers)

    @property
    def opened(self) -> Dataset:
        """The dataset whose classes the set has; one without images where only names were given.

        Raises:
            BenchError: If there is none, or the names are none.
        """
        if self.dataset is None:
            names = self.expected.classnames if self.expected else read_classes(self.classes or "")
            return names_alone(names)
        return open_dataset(self.dataset, self.where)

    @property
    def whose(self) -> str:
        """The option that says whose classes the set has, as on the command line."""
        if self.dataset is None:
            return f"--classes {shlex.quote(self.classes or '')}"
        return f"--dataset {shlex.quote(self.dataset)}"

    @property
    def looks_for_copies(self) -> bool:
        """Whether copies of test images are left out; class names alone have no test images."""
        return self.test_check and self.dataset is not None

    @property
    def where(self) -> Where:
        """Where the dataset's images are looked for."""
        return Where(
            root=self.data_root,
            source=self.source,
            split_file=self.split_file,
            image_column=self.image_column,
            label_column=self.label_column,
            classnames=self.classnames,
        )

    @staticmethod
    def is_own(recipe: Recipe) -> bool:
        """Whether a recipe is of data of the user's, of which it has the name and not the place."""
        known = recipe.dataset == names_alone(recipe.classnames).spec.name
        return not known and recipe.dataset not in DATASETS.names()

    @classmethod
    def of(cls, recipe: Recipe, **changes: Any) -> Request:
        """What was asked for when a recipe was written, to ask for it again."""
        how, where = recipe.generation, recipe.retrieval
        asked: dict[str, Any] = {}
        if how:
            hub = not how.model.startswith((".", "/", "~")) and how.model != DEMO
            asked |= {
                "model": f"{how.model}@{how.revision}" if hub else how.model,
                "steps": how.steps,
                "guidance": how.guidance,
                "precision": how.precision,
            }
        if where:
            option = where.source if where.source in ("pool", "backend") else "from_folder"
            asked |= {
                option: Path(where.place) if option == "from_folder" else where.place,
                "index": where.search if where.source == "backend" else None,
                "encoder": where.encoder or None,
                "precision": where.precision or "fp32",
                "search": where.search if where.source == "pool" else "exact",
                "test_check": bool(where.test_sha256),
            }
        shared = {name: getattr(recipe, name) for name in _SHARED}
        if recipe.dataset == names_alone(recipe.classnames).spec.name:
            shared = shared | {"dataset": None, "classes": ",".join(recipe.classnames)}
        return cls(**(shared | asked | {"expected": recipe} | changes))


@dataclass(frozen=True)
class Built:
    """A support set after the build.

    Attributes:
        folder: Where it lies.
        recipe: What it was built from.
        rows: Its manifest.
        fresh: Whether something was made just now.
        whose: The option that said whose classes it has, see `Request.whose`.
    """

    folder: Path
    recipe: Recipe
    rows: Sequence[Row]
    fresh: bool
    whose: str


@dataclass(frozen=True)
class Outstanding:
    """What a build would make.

    Attributes:
        request: What is to be built.
        home: Name of the folder of the dataset's sets, see `susx_bench.support.home`.
        folder: Where the set lies, or is to lie.
        images: How many images are to be made; 0 where the set is there and whole.
    """

    request: Request
    home: str
    folder: Path
    images: int

    def serves(self, home: str, support: str) -> bool:
        """Whether ``--support`` means this set, or may mean it, for the dataset of a home."""
        name = self.folder.name
        return home == self.home and (name == support or name.startswith(f"{support}-"))


def outstanding(request: Request) -> Outstanding:
    """Look what a build would make. Nothing is built, downloaded or written.

    Raises:
        BenchError: If a name is unknown or options do not fit.
    """
    dataset, per_class = request.opened, request.per_class
    spec = dataset.spec
    if per_class is None:
        per_class = SUPPORT.get(request.kind)().usual(request, spec)
    folder = _folder(request, dataset)
    total = len(spec.classnames) * per_class
    missing = _missing(request, spec, folder, total)
    return Outstanding(request, home(dataset), folder.path, missing)


def _missing(request: Request, spec: DatasetSpec, folder: SupportFolder, total: int) -> int:
    """How many images of a set are not there, or are not what was written."""
    try:
        if request.force or folder.outdated or not folder.exists:
            return total
        if not folder.finished:
            done = {(row.class_id, row.place) for row in folder.progress() if row.place >= 0}
            return max(total - len(done), 1)
        if lost := _lost(folder):
            return lost
        there, classes = folder.recipe, len(spec.classnames)
        asked = {"dataset": spec.name}  # or it is not asked for by its name
        differs = [n for n in _SHARED if getattr(there, n) != asked.get(n, getattr(request, n))]
        if recipe := SUPPORT.get(request.kind)().foretold(request, spec):
            differs = [name for name in there.differs(recipe) if name != "per_class"]
    except SupportError:
        return total  # building tells what is wrong
    more = total - classes * there.per_class
    return total if set(differs) - {"per_class"} else max(more, 0)


def build(request: Request, listen: Listener = ignore) -> Built:
    """Build a support set, or complete it.

    Args:
        request: What to build.
        listen: Told of notes and progress.

    Raises:
        BenchError: If a name is unknown, options do not fit, or a source fails.
    """
    return SUPPORT.get(request.kind)().build(request, listen)


def _texts(request: Request, spec: DatasetSpec, say: Say) -> tuple[tuple[str, ...], ...]:
    """The prompts of each class, in an order of the seed's: files list them by question."""
    if request.expected:
        return request.expected.texts
    found = []
    texts = class_prompts(request.prompts, spec, request.prompts_dir, say)
    for name, each in zip(spec.classnames, texts, strict=True):
        order = list(each)
        random.Random(f"{request.seed}/{spec.name}/{name}").shuffle(order)
        found.append(tuple(order[:CUPL_RETRIEVED] if request.kind == "sus-lc" else order))
    return tuple(found)


def recipe_of(
    request: Request, spec: DatasetSpec, per_class: int, listen: Listener, **how: Any
) -> Recipe:
    """What is to be built.

    Raises:
        SupportError: If a recipe was given, and what it was made with is not what is here.
    """
    recipe = valid(
        Recipe,
        kind=request.kind,
        dataset=spec.name,
        classnames=spec.classnames,
        prompts=request.prompts,
        texts=_texts(request, spec, lambda line: listen(Note(line))),
        per_class=per_class if request.per_class is None else request.per_class,
        seed=request.seed,
        **how,
    )
    if request.expected and (differs := request.expected.differs(recipe)):
        raise SupportError(
            f"the recipe cannot be rebuilt here: {', '.join(differs)} would differ. Build without "
            "--recipe to take what is here."
        )
    return recipe


def _folder(request: Request, dataset: Dataset) -> SupportFolder:
    name = request.name or f"{request.kind}-{request.prompts}"
    if Path(name).name != name or name == "..":
        raise OptionError(f"--name {name}: it is a name, not a path; --root says where sets lie.")
    root = request.root or default_root()
    return SupportFolder(place(name, dataset, root, force=request.force))


def _anew(request: Request, folder: SupportFolder, recipe: Recipe) -> bool:
    """Whether what a folder holds is to be forgotten.

    Raises:
        SupportError: If it holds a set of another recipe, or one that was changed.
    """
    if request.force or folder.outdated:
        return True
    if not folder.exists:
        return False
    there = folder.recipe
    differs = there.differs(recipe)
    more = recipe.per_class > there.per_class
    if recipe.kind == "sus-sd" and differs == ["per_class"] and more:
        differs = []  # more images a class are more of the same list
    if differs and not folder.blank:
        raise SupportError(
            f"{folder.path} holds a set of {there.per_class} images a class that differs in "
            f"{', '.join(differs)}. Use it as it is with --support {folder.path}, give another "
            "--name, or --force to build this one in its place."
        )
    return bool(differs)


@contextmanager
def begun(
    request: Request,
    dataset: Dataset,
    recipe: Recipe,
    listen: Listener,
    ready: Callable[[], object],
) -> Iterator[tuple[SupportFolder, bool]]:
    """Make a folder the recipe's, and keep other processes out of it meanwhile.

    Rank 0 alone does so. A first build that fails before it has made anything leaves nothing.

    Args:
        request: What was asked for.
        dataset: Whose classes the set has.
        recipe: What is to be built.
        listen: Told of notes.
        ready: Raises if nothing can be built; called before anything is written or forgotten.

    Yields:
        The folder, and whether what it holds is built anew.

    Raises:
        SupportError: If it holds a set of another recipe, or one that was changed.
    """
    folder = _folder(request, dataset)
    anew = _anew(request, folder, recipe)
    if not request.launch.is_main:
        yield folder, anew
        return
    if anew or not folder.finished or folder.recipe != recipe:
        ready()
    with _alone(folder, listen):
        anew = _anew(request, folder, recipe)  # another process may have built it meanwhile
        if folder.finished:
            folder.drop_progress()
        if folder.outdated:
            told = f"{folder.path} is of an earlier version of susx-bench; it is built again"
            warn(listen, told)
        elif not anew and folder.finished and (lost := _lost(folder)):
            ready()
            warn(listen, f"{folder.path}: {lost} images are gone or were changed; made again")
            folder.reopen()
        try:
            if anew:
                folder.clear()
            if anew or not folder.exists or folder.recipe != recipe:
                folder.begin(recipe)
            yield folder, anew
        except BaseException:
            folder.discard()
            raise


def _lost(folder: SupportFolder) -> int:
    """How many images of a finished set are gone, or are not what was written."""
    with ThreadPoolExecutor() as threads:  # hashing is outside the interpreter's lock
        return sum(not whole for whole in threads.map(folder.intact, folder.rows()))


def warn(listen: Listener, what: str) -> None:
    """Tell something that the user should look at."""
    listen(Note(what, "warning"))


@contextmanager
def _alone(folder: SupportFolder, listen: Listener) -> Iterator[None]:
    """Hold the lock of a set. Whoever holds it and dies gives it back to the next one."""
    make_folder(folder.lock.parent)
    lock = FileLock(folder.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        warn(listen, f"{folder.path}: another process builds it; this one waits")
        lock.acquire(poll_interval=_GLANCE)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def progress(
    listen: Listener, what: str, total: float, unit: str = "images", done: float = 0
) -> Iterator[Callable[[float], None]]:
    """Show how far a build is; gives what to tell of each step."""
    with Job(listen, what, unit, total, done) as job:
        yield job.advance


def refuse(request: Request, options: Sequence[str], kind: str) -> None:
    """Refuse options that are for another kind.

    Raises:
        OptionError: If one of them was given.
    """
    for option in options:
        if getattr(request, option) is not None:
            flag = {"from_folder": "import"}.get(option, option)
            raise OptionError(f"--{flag} goes with --kind {kind}.")


Form = TypeVar("Form", bound=BaseModel)


def valid(form: type[Form], **facts: Any) -> Form:
    """A part of a recipe.

    Raises:
        OptionError: If a value cannot be.
    """
    try:
        return form(**facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "recipe"
        raise OptionError(f"--{option} {first['input']}: {first['msg']}.") from error


def built_elsewhere(request: Request, folder: SupportFolder, recipe: Recipe, parent: int) -> Built:
    """What rank 0 builds, for another rank, once it is there.

    Collecting may take longer than a collective would wait.

    Args:
        request: What was asked for.
        folder: Where rank 0 builds.
        recipe: What it builds.
        parent: The process that started this one; without it nobody ends the wait.

    Raises:
        SupportError: If that process is gone.
    """
    while not (folder.finished and folder.recipe == recipe):
        if os.getppid() != parent:
            raise SupportError(f"{folder.path}: the process that was building it has stopped.")
        time.sleep(_GLANCE)
    return Built(folder.path, recipe, folder.rows(), False, request.whose)
