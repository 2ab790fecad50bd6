"""List the cells of requests. Planning builds nothing, and downloads only with permission.

Cells of a support set that is not built yet cannot be listed, because their input hashes cover its
images. Such a request waits, and `susx_bench.runner.prepare` completes the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from susx_bench.data.custom import own_encoder
from susx_bench.encoders.named import encoder_name
from susx_bench.errors import (
    BenchError,
    BundleError,
    DatasetError,
    EncoderError,
    OptionError,
    PromptsError,
    ShotsError,
    SupportError,
)
from susx_bench.events import Listener, Note, ignore
from susx_bench.features.arrays import named
from susx_bench.hub import downloads
from susx_bench.options.run import DEMO, SHOTS
from susx_bench.records.failures import reason_of
from susx_bench.records.files import sha256_json
from susx_bench.runner.cell import Cell
from susx_bench.runner.cells import cells_of, load_methods
from susx_bench.runner.request import Request as Request
from susx_bench.runner.tasks import Opened, Unbuilt, data_of
from susx_bench.support.build import Outstanding, outstanding
from susx_bench.support.request import Request as Build

UNAVAILABLE = (BundleError, DatasetError, EncoderError, PromptsError, SupportError)
"""Errors of some data, which leave the rest of a suite intact."""


PURE = "planning downloads nothing, the run does"


@dataclass(frozen=True)
class Part:
    """Cells of a suite that look at the same data.

    Attributes:
        dataset: Name of the dataset, as requested.
        encoder: Name of the encoder.
        sha256: Hash of the options that select the data.
        shots: Images per class, if only this number of them is not available; else 0.
        error: Why the cells could not be listed; None if they were listed.
    """

    dataset: str
    encoder: str
    sha256: str
    shots: int = 0
    error: BenchError | None = None

    def __str__(self) -> str:
        """The data, and the shots if only these are not available."""
        return f"{self.dataset} {self.encoder}" + (f" S = {self.shots}" if self.shots else "")

    @property
    def lost(self) -> str:
        """Why its cells could not be listed, in one line; empty if they were listed."""
        return f"{self}: {reason_of(self.error)}" if self.error else ""


def lost_lines(parts: Iterable[Part]) -> list[str]:
    """Why cells could not be listed: one line per reason, with all data to which it applies."""
    reasons: dict[str, dict[str, None]] = {}
    for part in parts:
        if part.error:
            reasons.setdefault(reason_of(part.error), {})[str(part)] = None
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


@dataclass(frozen=True)
class Waiting:
    """A request for one dataset, whose cells are known once its support set is built.

    Attributes:
        request: The request.
        build: The support set to build first.
    """

    request: Request
    build: Outstanding


@dataclass(frozen=True)
class Plan:
    """The cells to measure, and the support sets to build before.

    Attributes:
        requests: The requests.
        cells: The cells whose inputs are known, each once.
        waiting: The requests whose cells are not known yet.
        builds: The support sets that a suite names, or that a request waits for.
        parts: The data of a suite, each available or with an error.
        is_suite: Whether missing data affects its own cells only, instead of being an error.
        opened: The data that was opened.
    """

    requests: Sequence[Request]
    cells: Sequence[Cell]
    waiting: Sequence[Waiting] = ()
    builds: Sequence[Outstanding] = ()
    parts: Sequence[Part] = ()
    is_suite: bool = False
    opened: Opened = field(default_factory=Opened)


def plan(
    request: Request,
    listen: Listener = ignore,
    *,
    opened: Opened | None = None,
    fetch: bool = False,
) -> Plan:
    """List the cells of a request: datasets, then methods, then shots, then seeds.

    Args:
        request: The request.
        listen: Told of notes.
        opened: Data that other requests have opened already.
        fetch: Whether data may be downloaded.

    Raises:
        BenchError: If a name is unknown or options do not fit.
    """
    opened = opened or Opened()
    cells: list[Cell] = []
    waiting: list[Waiting] = []
    with downloads(allowed=fetch, why=PURE):
        load_methods(request)  # a faulty method is reported before data is looked for
        for single in by_dataset(request):
            try:
                cells += cells_of(single, listen, opened)
            except Unbuilt as first:
                waiting.append(Waiting(single, first.build))
    builds = _each_once(wait.build for wait in waiting)
    return Plan((request,), cells, waiting, builds, opened=opened)


def plan_suite(
    requests: Sequence[Request],
    supports: Sequence[Build] = (),
    listen: Listener = ignore,
    *,
    opened: Opened | None = None,
    fetch: bool = False,
) -> Plan:
    """List the cells of a suite, each once, and its available and missing data.

    Missing data removes its own cells and no others. A fault of the suite itself, such as options
    that do not fit, is an error.

    Args:
        requests: The requests of the suite.
        supports: The support sets that it names.
        listen: Told of notes.
        opened: Data that other requests have opened already.
        fetch: Whether data may be downloaded.

    Raises:
        BenchError: If the suite is faulty, or no data is available at all.
    """
    opened = opened or Opened()
    suite = _SuitePlan(listen, opened)
    with downloads(allowed=fetch, why=PURE):
        builds = _look(supports, listen)
        for request in requests:
            for single in by_dataset(request):
                suite.add(single, [build for build in builds if build.images])
    failed = [part.error for part in suite.parts.values() if part.error]
    # Data that the run would download is no reason to refuse: its cells are not known yet.
    for_good = not any(PURE in str(error) for error in failed)
    if failed and for_good and not suite.cells and not suite.waiting:
        raise failed[0]
    builds = _each_once([*builds, *(wait.build for wait in suite.waiting)])
    cells, parts = list(suite.cells.values()), list(suite.parts.values())
    return Plan(requests, cells, suite.waiting, builds, parts, is_suite=True, opened=opened)


def _each_once(builds: Sequence[Outstanding] | Iterator[Outstanding]) -> list[Outstanding]:
    """The builds, one per folder."""
    return list({build.folder: build for build in builds}.values())


def _look(supports: Sequence[Build], listen: Listener) -> list[Outstanding]:
    """The outstanding builds of a suite; a support set that cannot be checked is left out."""
    builds = []
    for support in supports:
        try:
            builds.append(outstanding(support))
        except OptionError:
            raise
        except BenchError as error:  # only cells with this support set are lost
            listen(Note(f"{support.whose}: {error}", "warning"))
    return builds


class _SuitePlan:
    """Collects the cells of a suite.

    Args:
        listen: Told of notes.
        opened: Data that was opened.

    Attributes:
        cells: Cells by input hash: runs of a suite may share cells, such as zero-shot's.
        waiting: Requests whose cells are not known yet.
        parts: Data by the options that select it, see `data_of`.
    """

    def __init__(self, listen: Listener, opened: Opened) -> None:
        self.cells: dict[str, Cell] = {}
        self.waiting: list[Waiting] = []
        self.parts: dict[Request, Part] = {}
        self._listen = listen
        self._opened = opened

    def add(self, request: Request, builds: Sequence[Outstanding]) -> None:
        """Add the cells of a request for one dataset."""
        all_shots = request.shots or SHOTS
        data = data_of(request)
        keys = [data.changed(shots=(s,)) for s in all_shots]
        if any(key in self.parts and self.parts[key].error for key in (data, *keys[:1])):
            return  # reported already; nothing is downloaded or read a second time
        try:
            for cell in cells_of(request, self._listen, self._opened, builds):
                self.cells.setdefault(cell.input_sha256, cell)
            for key in (data, *keys):
                self.parts.setdefault(key, _part(request, key))
        except Unbuilt as first:
            self.waiting.append(Waiting(request, first.build))
        except ShotsError as error:
            if len(all_shots) > 1:
                # Too few images for the most shots may still be enough for fewer shots.
                for s in all_shots:
                    self.add(request.changed(shots=(s,)), builds)
            else:
                self.parts[keys[0]] = _part(request, keys[0], error, shots=all_shots[0])
        except UNAVAILABLE as error:
            self.parts[data] = _part(request, data, error)


def by_dataset(request: Request) -> list[Request]:
    """Split a request into requests for one dataset each."""
    if request.features:
        return [request]
    names = request.dataset or (DEMO,)
    for name in names:  # a faulty name is reported before data is looked for
        encoder_name(request.encoder, own_encoder(name), f"--dataset {name}")
    return [request.changed(dataset=(name,)) for name in names]


def _part(request: Request, key: Request, error: BenchError | None = None, shots: int = 0) -> Part:
    if request.features:
        dataset, encoder = named(request.features), request.encoder or "bundle"
        where = str(request.features)  # bundles of one name in two folders are two
    else:
        where = dataset = (request.dataset or ("",))[0]
        encoder = encoder_name(request.encoder, own_encoder(dataset), f"--dataset {dataset}")
    names = [name for name, option in Request.declared().items() if option.data]
    identity = [where, encoder, *(str(getattr(key, name)) for name in (*names, "shots"))]
    return Part(dataset, encoder, sha256_json(identity), shots, error)
