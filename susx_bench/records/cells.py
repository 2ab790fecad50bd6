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
    """Hash the data of a record: its images, their labels and the class names.

    Two folders with the same name have two hashes. One folder has one hash, whatever the path,
    seed, method or prompts under which it was used.
    """
    computed: str | None = vars(record).get("data")  # a light record has it
    return computed or _digest(record.split_sha256, tuple(map(itemgetter(0), record.classes)))


@cache
def _digest(split: str, classnames: tuple[str, ...]) -> str:
    return sha256_json([split, classnames])


def is_own(record: Record) -> bool:
    """Whether the data is the user's: a folder, a list, or a copy on the hub without facts."""
    return (record.dataset_given or record.dataset).startswith(OWN)


def shots_of(record: Record) -> int:
    """Support images per class; 0 where this number does not distinguish cells of a table.

    It is 0 for a support set that is made from class names and used whole, and for a method
    without support.
    """
    whole = record.setting == "name-only" and not record.draw
    return 0 if whole or not record.support_images else record.shots


def cell_of(record: Record) -> tuple[Hashable, ...]:
    """The key of a record's cell: all values by which a table distinguishes cells."""
    r = record
    return (
        *(r.method, r.official, r.tuned_on, r.regime, r.trained, r.batches),
        *(r.dataset, data_of(r), r.protocol, r.encoder, r.precision, r.setting, r.prompts),
        *(r.support, r.draw, r.views, shots_of(r)),
        *r.extras().items(),
    )


def draw_of(record: Record) -> tuple[Hashable, ...]:
    """The key of a run within its cell: two records share it if they drew the same images.

    ``few-val`` also draws val images, which the record does not list. Two such runs on one
    support set therefore count as the same only if their predictions are equal.
    """
    drawn_twice = record.predictions_sha256 if record.tuned_on == "few-val" else ""
    return record.support_sha256, record.order, drawn_twice


def dataset_names(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Name each dataset, as briefly as is unique.

    Datasets in folders with the same name are called by the last parts of their paths:
    ``pets/images`` and ``food/images``.

    Returns:
        The name by `Record.dataset` and `data_of`.
    """
    paths_by_dataset: dict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        paths_by_data = paths_by_dataset[record.dataset]
        paths = [paths_by_data[data]] if (data := data_of(record)) in paths_by_data else []
        # One folder may be asked for in several ways: the shortest is as good as any.
        shortest = min([record.dataset_given, *paths], key=lambda path: (len(path), path))
        paths_by_data[data] = shortest
    names: dict[tuple[str, str], str] = {}
    for dataset, by_data in paths_by_dataset.items():
        short = _suffixes(set(by_data.values()), dataset)
        names |= {(dataset, data): short[path] for data, path in by_data.items()}
    return names


def _suffixes(paths: set[str], name: str) -> dict[str, str]:
    """Shorten each path to its last parts, as few as are unique; one path alone becomes `name`."""
    if len(paths) == 1:
        return dict.fromkeys(paths, name)
    parts = {path: PurePosixPath(path.replace("\\", "/")).parts for path in paths}
    names = {}
    for path, own_parts in parts.items():
        others = [other for other in parts.values() if other != own_parts]
        length = next(
            (n for n in range(1, len(own_parts)) if all(own_parts[-n:] != o[-n:] for o in others)),
            len(own_parts),
        )
        names[path] = "/".join(own_parts[-length:]) or name
    return names


class Replaced(NamedTuple):
    """Records that newer ones have replaced, for one reason.

    Attributes:
        paths: Paths of their files.
        line: One sentence with their number, the reason, and the times of old and new.
    """

    paths: tuple[str, ...]
    line: str


class _Scope(NamedTuple):
    """A property that must have one value in all records of a group.

    Attributes:
        noun: The name of the property.
        group: Maps a record to its group; None for a record without this property.
        value: Maps a record to its value of the property.
        named: Whether the value can be shown by its hash; else it combines many properties.
    """

    noun: str
    group: Callable[[Record], tuple[Hashable, ...] | None]
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
    # Options that no table shows, and versions of a plugin's package.
    _Scope(
        "method",
        lambda r: (r.method, *cell_of(r), r.seed, r.order),
        lambda r: r.input_sha256,
        named=False,
    ),
)


def current(records: Mapping[str, Record]) -> tuple[dict[str, Record], list[Replaced]]:
    """Separate the records that tables show from the records that newer ones have replaced.

    Editing a method, rewriting a prompt file or rebuilding a support set gives records of the same
    cells with other inputs. Tables use the newest inputs only, so that no row mixes two versions
    of a method and no column mixes two prompt files.

    Args:
        records: Records by path.

    Returns:
        The records that count, in their order, and the replaced ones by reason.

    Raises:
        RecordError: If two records have the same inputs and other results.
    """
    kept, replaced = _without_copies(records)
    for scope in _SCOPES:
        shared: dict[tuple[Hashable, ...], dict[str, list[str]]] = defaultdict(dict)
        for path, record in kept.items():
            if (group := scope.group(record)) is not None:
                shared[group].setdefault(scope.value(record), []).append(path)
        lost: dict[tuple[str, str, str], _Change] = defaultdict(lambda: _Change([], []))
        for group, values in shared.items():
            if len(values) < 2:
                continue
            newest = max(values, key=lambda value: (_last(kept, values[value]), value))
            for value, paths in values.items():
                if value != newest:
                    key = str(group[0]), _short(scope, value), _short(scope, newest)
                    change = lost[key]
                    change.old.extend(paths)
                    change.new.extend(values[newest])
        if not lost:
            continue
        gone = {path for change in lost.values() for path in change.old}
        remaining = {path: record for path, record in kept.items() if path not in gone}
        filled = {cell_of(record) for record in remaining.values()}
        for (name, old, new), change in lost.items():
            if not scope.named:
                old, new = _differ(kept[change.old[0]], kept[change.new[0]])
            blank = len({cell_of(kept[path]) for path in change.old} - filled)
            days = (_day(kept, change.old), _day(kept, change.new))
            replaced.append(
                Replaced(
                    tuple(change.old),
                    _line(f"{scope.noun} {name}", len(change.old), old, new, *days, blank),
                )
            )
        kept = remaining
    return kept, replaced


class _Change(NamedTuple):
    old: list[str]
    new: list[str]


def _differ(old: Record, new: Record) -> tuple[str, str]:
    """Describe the first difference between two records of one cell, for a message."""
    for what, old_value, new_value in (
        ("logit scale", old.logit_scale, new.logit_scale),
        ("skipped images", len(old.skipped), len(new.skipped)),
        ("val images", old.search.images, new.search.images),
        *((name, old.versions.get(name), version) for name, version in new.versions.items()),
    ):
        if old_value != new_value:
            return f"{what} {old_value}", f"{what} {new_value}"
    return "those", "those"


def _short(scope: _Scope, value: str) -> str:
    """Shorten the hash in a value; empty if the value combines many properties."""
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
    """Drop copies: files with the same inputs and the same results."""
    kept: dict[str, Record] = {}
    first: dict[str, str] = {}
    copies = []
    for path, record in records.items():
        original = first.setdefault(record.input_sha256, path)
        if original == path:
            kept[path] = record
            continue
        for name in ("predictions_sha256", "right"):
            if getattr(record, name) != getattr(kept[original], name):
                raise RecordError(
                    f"{original} and {path} have the same inputs and other results: {name} "
                    "differs. `susx-bench records verify` tells which of them is measured again; "
                    "move the other away."
                )
        line = f"{path} is left out, because it is a copy of {original}."
        copies.append(Replaced((path,), line))
    return kept, copies


def _last(records: Mapping[str, Record], paths: Iterable[str]) -> datetime:
    return max(datetime.fromisoformat(records[path].started) for path in paths)


def _day(records: Mapping[str, Record], paths: Iterable[str]) -> str:
    return _last(records, paths).isoformat(sep=" ", timespec="minutes")
