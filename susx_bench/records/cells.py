"""Which data a record is of, which cell of a table it fills, and which records it replaces."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from functools import cache
from operator import itemgetter
from pathlib import PurePosixPath
from typing import NamedTuple

from susx_bench.console import counted
from susx_bench.errors import RecordError
from susx_bench.options.shared import OWN
from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record


def data_of(record: Record) -> str:
    """Hash of the data a record was measured on: its images and labels, and the class names.

    Two folders of one name have two, the same folder under several paths, seeds, methods and
    prompts has one.
    """
    known: str | None = vars(record).get("data")  # of a light record
    return known or _digest(record.split_sha256, tuple(map(itemgetter(0), record.classes)))


@cache
def _digest(split: str, classnames: tuple[str, ...]) -> str:
    return sha256_json([split, classnames])


def is_own(record: Record) -> bool:
    """Whether the data is the user's: a folder, a list, or a copy on the hub without facts."""
    return (record.dataset_given or record.dataset).startswith(OWN)


def shots_of(record: Record) -> int:
    """Images per class, where they tell one number of a table from another.

    A support set made from class names and used whole is the same set whatever its size, and a
    method without support looks at no images.
    """
    whole = record.setting == "name-only" and not record.draw
    return 0 if whole or not record.support_images else record.shots


def cell_of(record: Record) -> tuple[Hashable, ...]:
    """What two records share if they are runs of one cell: all that a table tells apart."""
    r = record
    return (
        *(r.method, r.official, r.tuned_on, r.regime, r.trained, r.batches),
        *(r.dataset, data_of(r), r.protocol, r.encoder, r.precision, r.setting, r.prompts),
        *(r.support, r.draw, r.views, shots_of(r)),
        *r.extras().items(),
    )


def draw_of(record: Record) -> tuple[Hashable, ...]:
    """What two runs of a cell share if they are one: the same images were drawn.

    ``few-val`` draws val images too. Which ones is not on record, so that runs on one support set
    are the same only where they predict the same.
    """
    drawn_twice = record.predictions_sha256 if record.tuned_on == "few-val" else ""
    return record.support_sha256, record.order, drawn_twice


def dataset_names(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """A name for each dataset, as short as tells it from the others.

    Datasets in folders of one name are called by the last parts of their paths:
    ``pets/images`` and ``food/images``.

    Returns:
        The name by `Record.dataset` and `data_of`.
    """
    given: dict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        mine = given[record.dataset]
        paths = [mine[data]] if (data := data_of(record)) in mine else []
        # One folder may be asked for in several ways: the shortest is as good as any.
        mine[data] = min([record.dataset_given, *paths], key=lambda path: (len(path), path))
    names: dict[tuple[str, str], str] = {}
    for dataset, by_data in given.items():
        short = _suffixes(set(by_data.values()), dataset)
        names |= {(dataset, data): short[path] for data, path in by_data.items()}
    return names


def _suffixes(paths: set[str], name: str) -> dict[str, str]:
    """The fewest last parts of each path that no other ends in; `name` where there is one path."""
    if len(paths) == 1:
        return dict.fromkeys(paths, name)
    parts = {path: PurePosixPath(path.replace("\\", "/")).parts for path in paths}
    found = {}
    for path, mine in parts.items():
        others = [other for other in parts.values() if other != mine]
        length = next(
            (n for n in range(1, len(mine)) if all(mine[-n:] != o[-n:] for o in others)), len(mine)
        )
        found[path] = "/".join(mine[-length:]) or name
    return found


class Replaced(NamedTuple):
    """Records that newer ones have replaced, for one reason.

    Attributes:
        paths: Where they lie.
        line: How many, what of, what replaced what and when, as one sentence.
    """

    paths: tuple[str, ...]
    line: str


class _Scope(NamedTuple):
    """What must be one thing throughout some records.

    Attributes:
        what: The thing.
        whose: Which records share it; None for one that has none.
        value: What it is in a record.
        named: Whether a reader knows that by its hash; else it is many things at once.
    """

    what: str
    whose: Callable[[Record], tuple[Hashable, ...] | None]
    value: Callable[[Record], str]
    named: bool = True


def _source(record: Record) -> str:
    source = f", source {record.method_source}" if record.method_source else ""
    return f"version {record.method_version}{source}"


_SCOPES = (
    # A row of two sources would be an average over two methods.
    _Scope("method", lambda r: (r.method,), _source),
    # The numbers of a column are compared, so they read one encoder, one text and one support.
    _Scope(
        "encoder",
        lambda r: (r.encoder, r.precision, r.protocol == "bundle"),
        lambda r: f"weights {r.weights_sha256}",
    ),
    _Scope(
        "prompts",
        lambda r: (r.prompts, r.dataset, data_of(r), r.encoder),
        lambda r: f"prompts {r.prompts_sha256}",
    ),
    _Scope(
        "support",
        lambda r: (
            (r.support, r.dataset, data_of(r), r.encoder, r.setting, r.draw, shots_of(r), r.seed)
            if r.support_images
            else None
        ),
        lambda r: f"support {r.support_sha256}",
    ),
    # Other options that no table tells apart, or other versions of a plugin's package.
    _Scope(
        "method",
        lambda r: (r.method, *cell_of(r), r.seed, r.order),
        lambda r: r.input_sha256,
        named=False,
    ),
)


def current(records: Mapping[str, Record]) -> tuple[dict[str, Record], list[Replaced]]:
    """Part the records that tables show from those that newer ones have replaced.

    A method that was edited, a prompt file that was written anew or a support set that was built
    again gives records of the same cells with other inputs. The newest inputs count, for all
    records that share them: no row is of two sources, and no column of two prompt files.

    Args:
        records: Records by path.

    Returns:
        Those that count, in their order, and the others by why they do not.

    Raises:
        RecordError: If two have the same inputs and other results.
    """
    kept, found = _without_copies(records)
    for scope in _SCOPES:
        shared: dict[tuple[Hashable, ...], dict[str, list[str]]] = defaultdict(dict)
        for path, record in kept.items():
            if (whose := scope.whose(record)) is not None:
                shared[whose].setdefault(scope.value(record), []).append(path)
        lost: dict[tuple[str, str, str], _Change] = defaultdict(lambda: _Change([], []))
        for whose, values in shared.items():
            if len(values) < 2:
                continue
            newest = max(values, key=lambda value: (_last(kept, values[value]), value))
            for value, paths in values.items():
                if value != newest:
                    key = str(whose[0]), _short(scope, value), _short(scope, newest)
                    change = lost[key]
                    change.old.extend(paths)
                    change.new.extend(values[newest])
        if not lost:
            continue
        gone = {path for change in lost.values() for path in change.old}
        left = {path: record for path, record in kept.items() if path not in gone}
        there = {cell_of(record) for record in left.values()}
        for (name, old, new), change in lost.items():
            if not scope.named:
                old, new = _differ(kept[change.old[0]], kept[change.new[0]])
            blank = len({cell_of(kept[path]) for path in change.old} - there)
            days = (_day(kept, change.old), _day(kept, change.new))
            found.append(
                Replaced(
                    tuple(change.old),
                    _line(f"{scope.what} {name}", len(change.old), old, new, *days, blank),
                )
            )
        kept = left
    return kept, found


class _Change(NamedTuple):
    old: list[str]
    new: list[str]


def _differ(old: Record, new: Record) -> tuple[str, str]:
    """The first thing in which two records of one cell differ, for people."""
    for what, mine, theirs in (
        ("logit scale", old.logit_scale, new.logit_scale),
        ("skipped images", len(old.skipped), len(new.skipped)),
        ("val images", old.search.images, new.search.images),
        *((name, old.versions.get(name), version) for name, version in new.versions.items()),
    ):
        if mine != theirs:
            return f"{what} {mine}", f"{what} {theirs}"
    return "those", "those"


def _short(scope: _Scope, value: str) -> str:
    """What a value is called: a hash by its first letters, and what is many things by none."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", value) if scope.named else ""


def _line(what: str, count: int, old: str, new: str, then: str, now: str, blank: int) -> str:
    are, them = ("is", "it") if count == 1 else ("are", "them")
    line = (
        f"{counted(count, 'record')} of {what} {are} left out, because newer ones replace {them}: "
        f"{old} of {then}, replaced by {new} of {now}."
    )
    if blank:
        cells = f"{counted(blank, 'cell')} {'is' if blank == 1 else 'are'}"
        line += f" {cells} blank until measured again."
    return line


def _without_copies(records: Mapping[str, Record]) -> tuple[dict[str, Record], list[Replaced]]:
    """The records, each once: files of the same inputs and the same results are copies."""
    kept: dict[str, Record] = {}
    first: dict[str, str] = {}
    found = []
    for path, record in records.items():
        other = first.setdefault(record.input_sha256, path)
        if other == path:
            kept[path] = record
            continue
        for name in ("predictions_sha256", "right"):
            if getattr(record, name) != getattr(kept[other], name):
                raise RecordError(
                    f"{other} and {path} have the same inputs and other results: {name} differs. "
                    "`susx-bench records verify` tells which of them is measured again; move the "
                    "other away."
                )
        line = f"{path} is left out, because it is a copy of {other}."
        found.append(Replaced((path,), line))
    return kept, found


def _last(records: Mapping[str, Record], paths: Iterable[str]) -> datetime:
    return max(datetime.fromisoformat(records[path].started) for path in paths)


def _day(records: Mapping[str, Record], paths: Iterable[str]) -> str:
    return _last(records, paths).isoformat(sep=" ", timespec="minutes")
