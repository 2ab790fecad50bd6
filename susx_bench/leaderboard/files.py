"""Leaderboards: files that are a function of a suite's records, and of nothing else."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from susx_bench.errors import CheckError, DriftError, RecordError, SuiteError
from susx_bench.leaderboard.absent import absent
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.kinds import KINDS
from susx_bench.leaderboard.make import by_metric, make
from susx_bench.leaderboard.metrics import ACCURACY, Metric
from susx_bench.leaderboard.order import best_first
from susx_bench.leaderboard.page import listed
from susx_bench.leaderboard.page.build import DATA, Shown
from susx_bench.leaderboard.page.build import differences as page_differences
from susx_bench.leaderboard.page.build import files as page_files
from susx_bench.leaderboard.page.listed import FileReader
from susx_bench.leaderboard.published import read as read_published
from susx_bench.records.files import write_atomic
from susx_bench.records.index import read_records
from susx_bench.records.paths import read_bytes
from susx_bench.records.record import Record
from susx_bench.registry import DATASETS, FORMATS
from susx_bench.runner.suite import Suite


class Leaderboard(NamedTuple):
    """A leaderboard and its files, in memory.

    Attributes:
        board: The board in the files.
        records: Its records, by path relative to the leaderboards' folder.
        files: Text of each file, by name in that folder.
        paged: Whether it is a board of the page. A table of another metric than the accuracy is a
            separate file, since the page shows all metrics.
    """

    board: Board
    records: dict[str, Record]
    files: dict[str, str]
    paged: bool


def read(suite: Suite, folder: Path, *, index: bool = True) -> dict[str, Record]:
    """Read a suite's records, in the order of their paths.

    Args:
        suite: The suite.
        folder: The leaderboards' folder.
        index: Whether records that have not changed are read from the index beside them.

    Returns:
        The records by path relative to `folder`, with ``/`` on every system.

    Raises:
        RecordError: If there are none, or a record cannot be believed.
    """
    root = folder / "records" / suite.name
    by_name = read_records(root, index=index)
    if not by_name:
        raise RecordError(
            f"no records in {root}. Run `susx-bench run --suite FILE --out {root}` first."
        )
    start = root.relative_to(folder).as_posix()
    records = {f"{start}/{name}": record for name, record in by_name.items()}
    for path, record in records.items():
        if flags := record.quick_flags():
            raise RecordError(
                f"{folder / path} was measured with {' '.join(flags)}: a quick look, and no number "
                "of a leaderboard. Move it away, and measure its cell without."
            )
    return records


def make_board(suite: Suite, records: dict[str, Record], baseline: str | None = None) -> Board:
    """The board of a suite, the best rows first.

    Args:
        suite: The suite, which gives the titles and the order of datasets and of equal rows.
        records: Its records, by path.
        baseline: Method to compare with; None for the first of `board.BASELINES` with records.
    """
    order = dict.fromkeys(method for run in suite.run for method in run.method)
    datasets = dict.fromkeys(dataset for run in suite.run for dataset in run.dataset or ())
    board = make(
        suite.name,
        suite.title,
        suite.text,
        list(order),
        list(datasets),
        records,
        read_published(),
        baseline,
    )
    classnames = _classnames(suite, records.values())
    return best_first(replace(board, absent=absent(suite, records.values()), classnames=classnames))


def _classnames(suite: Suite, records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """The class names that a suite gives to bundles without names, by the records' dataset.

    Raises:
        SuiteError: If a bundle has another number of classes.
    """
    names = {name: DATASETS.get(dataset).classnames for name, dataset in suite.classnames.items()}
    for record in records:
        if (classnames := names.get(record.dataset)) and len(classnames) != record.num_classes:
            raise SuiteError(
                f"suite {suite.name}: classnames.{record.dataset}: "
                f"{suite.classnames[record.dataset]} has {len(classnames)} classes, its records "
                f"have {record.num_classes}."
            )
    return names


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would scan the millions of objects of many records."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # into the oldest generation, which is not scanned at once
        if enabled:
            gc.enable()


def build(
    suite: Suite,
    folder: Path,
    baseline: str | None = None,
    others: Sequence[str] = (),
    metric: Metric = ACCURACY,
    *,
    index: bool = True,
) -> Leaderboard:
    """Build a leaderboard in memory.

    Args:
        suite: The suite.
        folder: The leaderboards' folder.
        baseline: See `make_board`.
        others: Table formats of plugins to write besides ours.
        metric: Metric of the tables. Tables of another metric than the accuracy get own files.
        index: As in `read`.

    Raises:
        RecordError: If there are no records, one cannot be believed, or two contradict.
        OptionError: If the baseline has no record, or no record has the metric.
    """
    records = read(suite, folder, index=index)
    board = make_board(suite, records, baseline)
    name = suite.name
    if metric is not ACCURACY:
        board = best_first(by_metric(board, records, metric))
        name = f"{name}.{metric.name.replace('_', '-')}"
    kinds = [*KINDS.values(), *(FORMATS.get(name) for name in others if name not in KINDS)]
    files = {f"{name}{kind.suffix}": kind.write(board) for kind in kinds}
    return Leaderboard(board, records, files, metric is ACCURACY)


def write(built: Leaderboard, folder: Path) -> list[Path]:
    """Write a leaderboard's files, and its part of the page.

    Old pictures and data files that are no longer used are removed.

    Returns:
        The paths of the written files.

    Raises:
        OutputError: If the folder cannot be written.
    """
    content = {name: text.encode() for name, text in built.files.items()}
    if not built.paged:
        for name, data in content.items():
            write_atomic(folder / name, data)
        return [folder / name for name in content]
    shown = Shown.of(built.board, built.records)
    content |= page_files([shown], _reader(folder))
    stale = _stale(shown, folder)  # from the old list, before it is rewritten
    stale += [path for path in _data(folder) if path not in content]
    for name, data in content.items():
        write_atomic(folder / name, data)
    for name in stale:
        (folder / name).unlink()
    return [folder / name for name in content]


def check(
    suite: Suite, folder: Path, baseline: str | None = None, metric: Metric = ACCURACY
) -> Leaderboard:
    """Compare the committed files of a leaderboard with those that its records give now.

    Raises:
        RecordError: If there are no records, or one is damaged.
        CheckError: If a file is missing or differs, with the first line that does; or if a record
            was changed, or is of another schema.
    """
    try:
        built = build(suite, folder, baseline, metric=metric, index=False)
    except DriftError as error:
        raise CheckError(str(error)) from error
    wrong = [
        (folder / name, line)
        for name, text in built.files.items()
        if (line := _difference(folder / name, text))
    ]
    if wrong:
        path, line = wrong[0]
        others = ", ".join(str(path) for path, _ in wrong[1:])
        raise CheckError(
            f"{path} is not what its records give: {line}"
            + (f" Nor are {others}." if others else "")
            + " Run `susx-bench leaderboard build` and look at the difference."
        )
    if not built.paged:
        return built
    shown = Shown.of(built.board, built.records)
    off = page_differences([shown], _reader(folder), _data(folder))
    off += [f"{name} is drawn no more" for name in _stale(shown, folder)]
    if off:
        raise CheckError(
            f"{folder}: {'; '.join(off)}. Run `susx-bench leaderboard build` and look at the "
            "difference."
        )
    return built


def _stale(shown: Shown, folder: Path) -> list[str]:
    """Pictures of an earlier build, by path relative to the leaderboards' folder."""
    return listed.stale(
        shown.board.name,
        shown.pictures,
        _reader(folder),
        [f"{listed.PICTURES}/{path.name}" for path in (folder / listed.PICTURES).glob("*.*")],
        [path.name for path in (folder / "records").iterdir()],
    )


def _data(folder: Path) -> list[str]:
    """Data files beside the page, by path relative to the leaderboards' folder."""
    return [f"{DATA}/{path.name}" for path in (folder / DATA).glob("*.js")]


def _reader(folder: Path) -> FileReader:
    """A function that reads existing files of the leaderboards' folder, for the page."""

    def content(name: str) -> bytes | None:
        path = folder / name
        return read_bytes(path) if path.is_file() else None

    return content


def _difference(path: Path, text: str) -> str:
    """The first line in which a file differs from its expected text; empty if equal."""
    try:
        committed = read_bytes(path).decode()
    except FileNotFoundError:
        return "it is missing."
    except (OSError, UnicodeDecodeError) as error:
        return f"it cannot be read, {error}."
    if committed == text:
        return ""
    lines = itertools.zip_longest(committed.split("\n"), text.split("\n"))
    place, (committed_line, made_line) = next(
        (place, pair) for place, pair in enumerate(lines, start=1) if pair[0] != pair[1]
    )
    return f"line {place} is {_short(committed_line)} and should be {_short(made_line)}."


def _short(line: str | None) -> str:
    if line is None:
        return "not there"
    return f"'{line}'" if len(line) < 200 else f"'{line[:200]}…'"
