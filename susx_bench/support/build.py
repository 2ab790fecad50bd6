"""Build a support set from a request, or complete an unfinished one."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from susx_bench.data.dataset import Dataset
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import OptionError, SupportError
from susx_bench.events import Job, Listener, Note, ignore
from susx_bench.prompts.base import Say
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import make_folder
from susx_bench.registry import SUPPORT
from susx_bench.support.folder import SupportFolder, default_root
from susx_bench.support.home import home, place
from susx_bench.support.manifest import Row
from susx_bench.support.recipe import Recipe
from susx_bench.support.request import SHARED, Request

CUPL_RETRIEVED = 10
"""Number of sentences per class, drawn at random, to retrieve images for, as in SuS-LC."""


_GLANCE = 0.2
"""Seconds between two checks of another rank's build."""


@dataclass(frozen=True)
class Built:
    """A support set after the build.

    Attributes:
        folder: Its folder.
        recipe: Its recipe.
        rows: The rows of its manifest.
        fresh: Whether this build made anything.
        whose: The option that gives its classes, see `Request.whose`.
    """

    folder: Path
    recipe: Recipe
    rows: Sequence[Row]
    fresh: bool
    whose: str


@dataclass(frozen=True)
class Outstanding:
    """The outstanding work of a build.

    Attributes:
        request: The request.
        home: Name of the folder of the dataset's sets, see `susx_bench.support.home`.
        folder: Folder of the set, which may not exist yet.
        images: Number of images to make; 0 for a complete set.
    """

    request: Request
    home: str
    folder: Path
    images: int

    def serves(self, home: str, support: str) -> bool:
        """Whether a value of ``--support`` means or may mean this set, for the data of `home`."""
        name = self.folder.name
        return home == self.home and (name == support or name.startswith(f"{support}-"))


def outstanding(request: Request) -> Outstanding:
    """Determine the outstanding work. Nothing is built, downloaded or written.

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
    """Number of images of a set that are missing or damaged."""
    try:
        if request.force or folder.outdated or not folder.exists:
            return total
        if not folder.finished:
            done = {(row.class_id, row.place) for row in folder.progress() if row.place >= 0}
            return max(total - len(done), 1)
        if lost := _lost(folder):
            return lost
        existing, classes = folder.recipe, len(spec.classnames)
        expected = {"dataset": spec.name}  # the request may give it by another name
        differs = [
            n for n in SHARED if getattr(existing, n) != expected.get(n, getattr(request, n))
        ]
        if recipe := SUPPORT.get(request.kind)().foretold(request, spec):
            differs = [name for name in existing.differs(recipe) if name != "per_class"]
    except SupportError:
        return total  # the build reports the fault
    more = total - classes * existing.per_class
    return total if set(differs) - {"per_class"} else max(more, 0)


def build(request: Request, listen: Listener = ignore) -> Built:
    """Build a support set, or complete it.

    Args:
        request: The request.
        listen: Receives notes and progress.

    Raises:
        BenchError: If a name is unknown, options do not fit, or a source fails.
    """
    return SUPPORT.get(request.kind)().build(request, listen)


def _texts(request: Request, spec: DatasetSpec, say: Say) -> tuple[tuple[str, ...], ...]:
    """The prompts of each class, shuffled by the seed, because files list them by question."""
    if request.expected:
        return request.expected.texts
    ordered = []
    texts = class_prompts(request.prompts, spec, request.prompts_dir, say)
    for name, of_class in zip(spec.classnames, texts, strict=True):
        order = list(of_class)
        random.Random(f"{request.seed}/{spec.name}/{name}").shuffle(order)
        ordered.append(tuple(order[:CUPL_RETRIEVED] if request.kind == "sus-lc" else order))
    return tuple(ordered)


def recipe_of(
    request: Request, spec: DatasetSpec, per_class: int, listen: Listener, **how: Any
) -> Recipe:
    """The recipe of a set to build.

    Raises:
        SupportError: If the request has a recipe with other inputs than those found here.
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
    """Whether to discard the content of a folder.

    Raises:
        SupportError: If it holds a set with another recipe, or a changed one.
    """
    if request.force or folder.outdated:
        return True
    if not folder.exists:
        return False
    existing = folder.recipe
    differs = existing.differs(recipe)
    more = recipe.per_class > existing.per_class
    if recipe.kind == "sus-sd" and differs == ["per_class"] and more:
        differs = []  # more images per class extend the same list
    if differs and not folder.blank:
        raise SupportError(
            f"{folder.path} holds a set of {existing.per_class} images per class that differs in "
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
    """Write the recipe into its folder, and lock the folder during the build.

    Only rank 0 does so. A first build that fails before it makes an image leaves nothing behind.

    Args:
        request: The request.
        dataset: The dataset of the set's classes.
        recipe: The recipe.
        listen: Receives notes.
        ready: Raises if nothing can be built; called before anything is written or discarded.

    Yields:
        The folder, and whether its content is built anew.

    Raises:
        SupportError: If it holds a set with another recipe, or a changed one.
    """
    folder = _folder(request, dataset)
    anew = _anew(request, folder, recipe)
    if not request.launch.is_main:
        yield folder, anew
        return
    if anew or not folder.finished or folder.recipe != recipe:
        ready()
    with _alone(folder, listen):
        anew = _anew(request, folder, recipe)  # another process may have built it in the meantime
        if folder.finished:
            folder.drop_progress()
        if folder.outdated:
            line = f"{folder.path} is of an earlier version of susx-bench; it is built again"
            warn(listen, line)
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
    """Number of images of a finished set that are missing or damaged."""
    with ThreadPoolExecutor() as threads:  # hashing releases the interpreter's lock
        return sum(not whole for whole in threads.map(folder.intact, folder.rows()))


def warn(listen: Listener, line: str) -> None:
    """Send a warning to the listener."""
    listen(Note(line, "warning"))


@contextmanager
def _alone(folder: SupportFolder, listen: Listener) -> Iterator[None]:
    """Hold the lock of a set. A process that dies releases it."""
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
    listen: Listener, title: str, total: float, unit: str = "images", done: float = 0
) -> Iterator[Callable[[float], None]]:
    """Report the progress of a build; yields the function to call after each step."""
    with Job(listen, title, unit, total, done) as job:
        yield job.advance


def refuse(request: Request, options: Sequence[str], kind: str) -> None:
    """Refuse options of another kind.

    Raises:
        OptionError: If one of them was given.
    """
    for option in options:
        if getattr(request, option) is not None:
            flag = {"from_folder": "import"}.get(option, option)
            raise OptionError(f"--{flag} goes with --kind {kind}.")


Form = TypeVar("Form", bound=BaseModel)


def valid(form: type[Form], **facts: Any) -> Form:
    """Make a part of a recipe.

    Raises:
        OptionError: If a value is not valid.
    """
    try:
        return form(**facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "recipe"
        raise OptionError(f"--{option} {first['input']}: {first['msg']}.") from error


def built_elsewhere(request: Request, folder: SupportFolder, recipe: Recipe, parent: int) -> Built:
    """Wait, on another rank, for the set that rank 0 builds.

    A build may take longer than the timeout of a collective operation.

    Args:
        request: The request.
        folder: The folder in which rank 0 builds.
        recipe: Its recipe.
        parent: The process that started this one; the wait ends if it dies.

    Raises:
        SupportError: If that process is gone.
    """
    while not (folder.finished and folder.recipe == recipe):
        if os.getppid() != parent:
            raise SupportError(f"{folder.path}: the process that was building it has stopped.")
        time.sleep(_GLANCE)
    return Built(folder.path, recipe, folder.rows(), False, request.whose)
