"""From what was asked for to a finished support set; what is there already is kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from susx_bench.console import is_main_process
from susx_bench.data.base import BenchDataModule, Where
from susx_bench.data.looks import Look, Seen, look
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import DatasetSpec, SupportKind
from susx_bench.data.yours import open_dataset
from susx_bench.encoders.openclip import Encoder
from susx_bench.errors import DatasetError, OptionError, SupportError, UnknownNameError
from susx_bench.features.predict import Launch
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import sha256_json
from susx_bench.support.backend import Backend
from susx_bench.support.download import Limits
from susx_bench.support.folder import (
    Generation,
    Recipe,
    Retrieval,
    Row,
    SupportFolder,
    default_root,
)
from susx_bench.support.generate import BLOCK, generate, missing_blocks, wanted
from susx_bench.support.generate import finish as finish_generated
from susx_bench.support.origins import (
    BackendOrigin,
    FolderOrigin,
    PoolOrigin,
    pool_features,
)
from susx_bench.support.pipelines import DEMO, PRESETS, Pipeline
from susx_bench.support.pool import open_pool
from susx_bench.support.retrieve import UNREADABLE, Origin, settle

CUPL_RETRIEVED = 10
"""Sentences of a class that images are retrieved for, drawn at random, as SuS-LC did."""

_PATIENCE = 60.0
"""Seconds to wait for a backend: the first question after its start loads an index."""

LIMITS = Limits()
"""What is spent on a URL at most."""

RETRIEVED = 16
"""Images of a class that are retrieved where nobody says how many."""


_SHARED = ("dataset", "kind", "prompts", "per_class", "seed")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``support build``, as they came; None where one was not given."""

    dataset: str
    kind: SupportKind
    prompts: str = "photo"
    prompts_dir: Path | None = None
    per_class: int | None = None
    seed: int = 0
    name: str | None = None
    root: Path = field(default_factory=default_root)
    preset: str | None = None
    model: str | None = None
    steps: int | None = None
    guidance: float | None = None
    precision: str = "fp32"
    pool: str | None = None
    backend: str | None = None
    index: str | None = None
    from_folder: Path | None = None
    encoder: str | None = None
    search: str = "exact"
    test_check: bool = True
    data_root: Path | None = None
    source: str = "auto"
    split_file: Path | None = None
    launch: Launch = field(default_factory=Launch)
    force: bool = False
    expected: Recipe | None = None

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
            option = {"pool": "pool", "backend": "backend", "import": "from_folder"}[where.source]
            asked |= {
                option: Path(where.place) if where.source == "import" else where.place,
                "index": where.search if where.source == "backend" else None,
                "encoder": where.encoder or None,
                "precision": where.precision or "fp32",
                "search": where.search if where.source == "pool" else "exact",
                "test_check": bool(where.test_sha256),
            }
        shared = {name: getattr(recipe, name) for name in _SHARED}
        return cls(**(shared | asked | {"expected": recipe} | changes))


@dataclass(frozen=True)
class Built:
    """A support set after the build.

    Attributes:
        folder: Where it lies.
        recipe: What it was built from.
        rows: Its manifest.
        fresh: Whether something was made just now.
        dataset: The dataset as it was asked for.
    """

    folder: Path
    recipe: Recipe
    rows: Sequence[Row]
    fresh: bool
    dataset: str


def build(request: Request, notes: Console) -> Built:
    """Build a support set, or complete it.

    Raises:
        BenchError: If a name is unknown, options do not fit, or a source fails.
    """
    return _generated(request, notes) if request.kind == "sus-sd" else _retrieved(request, notes)


def _texts(request: Request, spec: DatasetSpec) -> tuple[tuple[str, ...], ...]:
    """The prompts of each class, in an order of the seed's: files list them by question."""
    if request.expected:
        return request.expected.texts
    found = []
    texts = class_prompts(request.prompts, spec, request.prompts_dir)
    for name, each in zip(spec.classnames, texts, strict=True):
        order = list(each)
        random.Random(f"{request.seed}/{spec.name}/{name}").shuffle(order)
        found.append(tuple(order[:CUPL_RETRIEVED] if request.kind == "sus-lc" else order))
    return tuple(found)


def _recipe(request: Request, spec: DatasetSpec, per_class: int, **how: Any) -> Recipe:
    """What is to be built.

    Raises:
        SupportError: If a recipe was given, and what it was made with is not what is here.
    """
    recipe = Recipe(
        kind=request.kind,
        dataset=spec.name,
        classnames=spec.classnames,
        prompts=request.prompts,
        texts=_texts(request, spec),
        per_class=request.per_class or per_class,
        seed=request.seed,
        **how,
    )
    if request.expected and (differs := request.expected.differs(recipe)):
        raise SupportError(
            f"the recipe cannot be rebuilt here: {', '.join(differs)} would differ. Build without "
            "--recipe to take what is here."
        )
    return recipe


def _begin(request: Request, recipe: Recipe) -> SupportFolder:
    """Make a folder the recipe's, unless it is another set's.

    Raises:
        SupportError: If it holds a set of another recipe.
    """
    name = request.name or f"{recipe.kind}-{recipe.prompts}"
    folder = SupportFolder(request.root / recipe.dataset / name)
    if folder.exists and not request.force:
        differs = folder.recipe.differs(recipe)
        if recipe.kind == "sus-sd" and differs == ["per_class"]:
            differs = []  # more images a class are more of the same list
        if differs:
            raise SupportError(
                f"{folder.path} holds a set that differs in {', '.join(differs)}. Give another "
                "--name, or --force to build this one in its place."
            )
    if is_main_process():
        if request.force:
            folder.clear()
        if request.force or not folder.exists or folder.recipe != recipe:
            folder.begin(recipe)
    return folder


@contextmanager
def _progress(notes: Console, what: str, total: float) -> Iterator[Callable[[float], None]]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[speed]}"),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    ) as progress:
        bar = progress.add_task(what, total=total, speed="")

        def advance(count: float) -> None:
            progress.advance(bar, count)
            speed = progress.tasks[0].speed
            progress.update(bar, speed=f"{speed:,.2f} images/s" if speed else "")

        yield advance


def _refuse(request: Request, options: Sequence[str], kind: SupportKind) -> None:
    for option in options:
        if getattr(request, option) is not None:
            flag = {"from_folder": "import"}.get(option, option)
            raise OptionError(f"--{flag} goes with --kind {kind}.")


def _generated(request: Request, notes: Console) -> Built:
    _refuse(request, ("pool", "backend", "index", "from_folder", "encoder"), "sus-lc")
    spec = open_dataset(request.dataset).spec
    preset = request.preset or (DEMO if spec.support else "published")
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    how = PRESETS[preset]
    pipeline = Pipeline(request.model or how.model, request.precision)
    recipe = _recipe(
        request,
        spec,
        how.per_class,
        generation=Generation(
            model=pipeline.repository,
            revision=pipeline.revision,
            pipeline=pipeline.kind,
            steps=how.steps if request.steps is None else request.steps,
            guidance=how.guidance if request.guidance is None else request.guidance,
            precision=request.precision,
            block=BLOCK,
            safety_checker=pipeline.safety_checker,
        ),
    )
    folder = _begin(request, recipe)
    blocks = missing_blocks(folder, recipe)
    total = wanted(recipe)
    if blocks:
        with _progress(notes, f"generating {spec.name}", total) as advance:
            advance(total - min(total, len(blocks) * BLOCK))
            generate(folder, recipe, blocks, pipeline, request.launch, advance)
    elif not folder.finished:
        finish_generated(folder, recipe)
    return Built(folder.path, recipe, folder.rows(), bool(blocks), request.dataset)


class _Place(Protocol):
    """Where images are retrieved from.

    Attributes:
        facts: What the recipe says of it.
    """

    facts: dict[str, str]

    def __init__(self, request: Request) -> None: ...

    def origin(self, recipe: Recipe, folder: SupportFolder, notes: Console) -> Origin:
        """Get ready to retrieve."""


class _Pool(_Place):
    """Retrieval from a pool that is here."""

    def __init__(self, request: Request) -> None:
        assert request.pool is not None
        self._pool = open_pool(request.pool)
        self._encoder = Encoder(request.encoder or "demo", request.precision)
        self._launch = request.launch
        self.facts = {
            "place": self._pool.where,
            "content_sha256": sha256_json(self._pool.fingerprint),
            "encoder": self._encoder.name,
            "weights_sha256": self._encoder.sha256,
            "precision": request.precision,
            "search": request.search,
        }

    def origin(self, recipe: Recipe, folder: SupportFolder, notes: Console) -> Origin:
        store = FeatureStore(cache_url())
        with _progress(notes, "encoding the pool", len(self._pool)) as advance:
            features = pool_features(self._pool, self._encoder, store, self._launch, advance)
        queries = self._encoder.towers.text_prompts(recipe.texts)
        return PoolOrigin(recipe, self._pool, features, queries)


class _Backend(_Place):
    """Retrieval through a clip-retrieval backend."""

    def __init__(self, request: Request) -> None:
        assert request.backend is not None
        if request.index is None:
            raise OptionError("--backend needs --index, the name of one of its indices.")
        self.facts = {"place": request.backend, "search": request.index}

    def origin(self, recipe: Recipe, folder: SupportFolder, notes: Console) -> Origin:
        backend = Backend(self.facts["place"], self.facts["search"], timeout=_PATIENCE)
        total = sum(len(texts) for texts in recipe.texts)
        with _progress(notes, "asking the backend", total) as advance:
            return BackendOrigin(recipe, backend, folder.answers, LIMITS, lambda: advance(1))


class _Import(_Place):
    """Images somebody has already."""

    def __init__(self, request: Request) -> None:
        assert request.from_folder is not None
        spec = open_dataset(request.dataset).spec
        self._origin = FolderOrigin(request.from_folder, spec)
        self.facts = {
            "place": str(request.from_folder),
            "content_sha256": sha256_json(self._origin.fingerprint),
        }

    def origin(self, recipe: Recipe, folder: SupportFolder, notes: Console) -> Origin:
        return self._origin


_PLACES: dict[str, type[_Place]] = {"pool": _Pool, "backend": _Backend, "from_folder": _Import}


def _retrieved(request: Request, notes: Console) -> Built:
    _refuse(request, ("preset", "model", "steps", "guidance"), "sus-sd")
    given = [name for name in _PLACES if getattr(request, name) is not None]
    if len(given) != 1:
        raise OptionError(
            "--kind sus-lc retrieves from one place: --pool FOLDER or hf:ORG/NAME, --backend URL "
            f"with --index NAME, or --import FOLDER; {len(given)} were given."
        )
    place = _PLACES[given[0]](request)
    dataset = open_dataset(request.dataset)
    test = _test_split(request, dataset) if request.test_check else None
    recipe = _recipe(
        request,
        dataset.spec,
        RETRIEVED,
        retrieval=Retrieval(
            source=given[0].replace("from_folder", "import"),
            test_sha256=test.sha256 if test else "",
            **place.facts,
        ),
    )
    folder = _begin(request, recipe)
    if folder.finished and all(folder.has(row) for row in folder.rows()):
        return Built(folder.path, recipe, folder.rows(), False, request.dataset)
    origin = place.origin(recipe, folder, notes)
    rows: list[Row] = []
    if is_main_process():
        seen = _looked_at(test, notes) if test else Seen()
        with _progress(notes, "collecting images", wanted(recipe)) as advance:
            rows = settle(folder, recipe, origin, seen, advance)
        rows += [
            Row(class_id=-1, place=-1, prompt="", source=key, fate=UNREADABLE)
            for key in origin.unreadable
        ]
        folder.finish(rows)
    return Built(folder.path, recipe, rows, True, request.dataset)


def _test_split(request: Request, dataset: type[BenchDataModule]) -> BenchDataModule:
    """The test images, that copies of them may be left out.

    Raises:
        SupportError: If they are not here.
    """
    where = Where(request.data_root, request.source, request.split_file)
    try:
        test = dataset("test", where)
        assert test.sha256
    except DatasetError as error:
        raise SupportError(
            f"copies of test images must be kept out of the support set, but {error} With "
            "--no-test-check they are not looked for, and the recipe says so."
        ) from error
    return test


def _looked_at(test: BenchDataModule, notes: Console) -> Seen:
    """What every test image looks like."""
    seen = Seen()
    with _progress(notes, "looking at test images", len(test)) as advance:

        def read(sample: Sample) -> Look:
            found = look(test.image(sample))
            advance(1)
            return found

        with ThreadPoolExecutor() as threads:  # Pillow decodes outside the interpreter's lock
            for sample, one in zip(test.samples, threads.map(read, test.samples), strict=True):
                seen.add(f"test/{sample.key}", one)
    return seen
