"""What was asked for, as a list of cells. Planning builds nothing and, unless it may, fetches none.

What can be known of a cell before its support set is built is little: its input hash covers the
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
from susx_bench.support.build import Request as Build

UNAVAILABLE = (BundleError, DatasetError, EncoderError, PromptsError, SupportError)
"""Errors that are about some data, and leave the rest of a suite as it is."""


PURE = "planning downloads nothing, the run does"


@dataclass(frozen=True)
class Part:
    """Cells of a suite that look at the same data.

    Attributes:
        dataset: The data's name, as asked for.
        encoder: The encoder's.
        sha256: Hash of the options that say what data.
        shots: Images per class, where they alone are what cannot be had; else 0.
        error: Why the cells could not be listed; None where they were.
    """

    dataset: str
    encoder: str
    sha256: str
    shots: int = 0
    error: BenchError | None = None

    def __str__(self) -> str:
        """The data, and the shots where only these cannot be had."""
        return f"{self.dataset} {self.encoder}" + (f" S = {self.shots}" if self.shots else "")

    @property
    def lost(self) -> str:
        """Why its cells could not be listed, in one line; empty where they were."""
        return f"{self}: {reason_of(self.error)}" if self.error else ""


def lost_lines(parts: Iterable[Part]) -> list[str]:
    """Why cells could not be listed, a line for each reason with all the data that it is of."""
    reasons: dict[str, dict[str, None]] = {}
    for part in parts:
        if part.error:
            reasons.setdefault(reason_of(part.error), {})[str(part)] = None
    return [f"{', '.join(whose)}: {reason}" for reason, whose in reasons.items()]


@dataclass(frozen=True)
class Waiting:
    """A request for one dataset, whose cells are known once its support set is built.

    Attributes:
        request: The request.
        build: What is to be built first.
    """

    request: Request
    build: Outstanding


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and what must be there before.

    Attributes:
        requests: What was asked.
        cells: The cells whose inputs are known, each once.
        waiting: The requests whose cells are not known yet.
        builds: The support sets that a suite names, or that a request waits for.
        parts: Which data can be had, of a suite.
        is_suite: Whether data that cannot be had leaves the other cells as they are.
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
        request: What was asked.
        listen: Told of notes.
        opened: What other requests have opened already.
        fetch: Whether what is named may be downloaded.

    Raises:
        BenchError: If a name is unknown or options do not fit.
    """
    opened = opened or Opened()
    cells: list[Cell] = []
    waiting: list[Waiting] = []
    with downloads(allowed=fetch, why=PURE):
        load_methods(request)  # what is wrong with one is told before data is looked for
        for each in by_dataset(request):
            try:
                cells += cells_of(each, listen, opened)
            except Unbuilt as first:
                waiting.append(Waiting(each, first.build))
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
    """List the cells of a suite, each once, and which of its data can be had.

    Data that cannot be had takes its own cells with it and no others. What is wrong with the
    suite itself, such as options that do not fit, is an error.

    Args:
        requests: What the suite asks for.
        supports: The support sets that it names.
        listen: Told of notes.
        opened: What other requests have opened already.
        fetch: Whether what is named may be downloaded.

    Raises:
        BenchError: If the suite is wrong, or no data can be had at all.
    """
    opened = opened or Opened()
    suite = _SuitePlan(listen, opened)
    with downloads(allowed=fetch, why=PURE):
        builds = _look(supports, listen)
        for request in requests:
            for each in by_dataset(request):
                suite.add(each, [build for build in builds if build.images])
    failed = [part.error for part in suite.parts.values() if part.error]
    # What the run would download is no reason to refuse: nobody knows of its cells yet.
    for_good = not any(PURE in str(error) for error in failed)
    if failed and for_good and not suite.cells and not suite.waiting:
        raise failed[0]
    builds = _each_once([*builds, *(wait.build for wait in suite.waiting)])
    cells, parts = list(suite.cells.values()), list(suite.parts.values())
    return Plan(requests, cells, suite.waiting, builds, parts, is_suite=True, opened=opened)


def _each_once(builds: Sequence[Outstanding] | Iterator[Outstanding]) -> list[Outstanding]:
    """Builds, one a folder."""
    return list({build.folder: build for build in builds}.values())


def _look(supports: Sequence[Build], listen: Listener) -> list[Outstanding]:
    """What of a suite's support sets is to be built; a set of which nobody can tell is left out."""
    found = []
    for support in supports:
        try:
            found.append(outstanding(support))
        except OptionError:
            raise
        except BenchError as error:  # only the cells that look at it are lost
            listen(Note(f"{support.whose}: {error}", "warning"))
    return found


class _SuitePlan:
    """The cells of a suite so far.

    Args:
        listen: Told of notes.
        opened: What was opened.

    Attributes:
        cells: By input hash: a suite's runs may share cells, such as zero-shot's.
        waiting: Requests whose cells are not known yet.
        parts: By what the requests leave of their data.
    """

    def __init__(self, listen: Listener, opened: Opened) -> None:
        self.cells: dict[str, Cell] = {}
        self.waiting: list[Waiting] = []
        self.parts: dict[Request, Part] = {}
        self._listen = listen
        self._opened = opened

    def add(self, request: Request, builds: Sequence[Outstanding]) -> None:
        """Add the cells of a request for one dataset."""
        each = request.shots or SHOTS
        data = data_of(request)
        keys = [data.changed(shots=(s,)) for s in each]
        if any(key in self.parts and self.parts[key].error for key in (data, *keys[:1])):
            return  # told once; nothing is downloaded or read a second time
        try:
            for cell in cells_of(request, self._listen, self._opened, builds):
                self.cells.setdefault(cell.input_sha256, cell)
            for key in (data, *keys):
                self.parts.setdefault(key, _part(request, key))
        except Unbuilt as first:
            self.waiting.append(Waiting(request, first.build))
        except ShotsError as error:
            if len(each) > 1:
                # Fewer images than the most shots ask for still serve the fewer shots.
                for s in each:
                    self.add(request.changed(shots=(s,)), builds)
            else:
                self.parts[keys[0]] = _part(request, keys[0], error, shots=each[0])
        except UNAVAILABLE as error:
            self.parts[data] = _part(request, data, error)


def by_dataset(request: Request) -> list[Request]:
    """A request as several, one for each dataset."""
    if request.features:
        return [request]
    names = request.dataset or (DEMO,)
    for name in names:  # what is wrong with one is told before data is looked for
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
    said = [where, encoder, *(str(getattr(key, name)) for name in (*names, "shots"))]
    return Part(dataset, encoder, sha256_json(said), shots, error)
