"""The data of the page: boards and their records as JSON, small enough for thousands of cells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final

from susx_bench.console import printable_lines
from susx_bench.errors import OptionError, PluginError
from susx_bench.leaderboard.answers import Answer, Standing, answers
from susx_bench.leaderboard.board import TOLD, Board, Cell, Row
from susx_bench.leaderboard.cite import references
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.formats.csv import SMALLEST_P
from susx_bench.leaderboard.formats.notes import facts, notes, same_draw
from susx_bench.leaderboard.make import by_metric
from susx_bench.leaderboard.metrics import METRICS, Metric
from susx_bench.leaderboard.order import order_of
from susx_bench.leaderboard.robustness import drops
from susx_bench.leaderboard.statistics import wilson
from susx_bench.records.command import command
from susx_bench.records.record import Record
from susx_bench.registry import METHODS

FIELDS: Final = (
    *("path", "seed", "order", "accuracy", "low", "high", "correct", "n_test", "mean_per_class"),
    *("encode", "fit", "search", "predict", "hparams", "settings", "images", "score", "space"),
    *("note", "ties", "near", "method_version", "input_sha256", "split_sha256", "support_sha256"),
    *("prompts_sha256", "weights_sha256", "predictions_sha256", "checksum", "started", "device"),
    *("git", "versions", "protocol", "logit_scale", "skipped", "command"),
)
"""Values of one record, in this order; `versions` is a place in the list of versions."""


def index_json(titles: Mapping[str, str]) -> str:
    """Name and title of each board."""
    return _compact([{"name": name, "title": title} for name, title in titles.items()])


def board_json(board: Board, records: Mapping[str, Record], pictures: Sequence[Picture]) -> str:
    """A board and its answers, without its records, as one line of JSON.

    Means are exact and other numbers have nine decimals, so that they round as in the tables and
    do not depend on the machine.
    """
    places = _places(board)
    sections = {i: part.label for part in board.sections for i in part.rows}
    methods = sorted({row.method for row in board.rows})
    value = {
        "name": board.name,
        "title": board.title,
        "text": board.text,
        "facts": facts(board),
        "notes": notes(board),
        "baseline": board.baseline,
        "columns": [
            {
                "label": column.label,
                "marks": column.marks,
                **{key: getattr(column.task, key) for key in _OF_TASK},
            }
            for column in board.columns
        ],
        "sections": [
            dict(zip(("label", "group", "seen"), (s.label, *s.label.split("; ", 1)), strict=True))
            for s in board.sections
        ],
        "zeroShot": board.zero_shot,
        "papers": {name: paper for name in methods if (paper := _paper(name))},
        "groups": [{"label": g.label, "columns": list(g.columns)} for g in board.groups],
        "rows": [_row(i, row, places, sections) for i, row in enumerate(board.rows)],
        "metrics": [
            *filter(None, (_metric(board, records, metric) for metric in METRICS.values())),
            *_robustness(board),
        ],
        "answers": [_answer(answer) for answer in answers(board, records)],
        "pictures": [
            {
                "name": p.name,
                "title": p.title,
                "text": p.text,
                "width": round(p.width * 96),
                "height": round(p.height * 96),
            }
            for p in pictures
        ],
        "records": board.records,
    }
    return _compact(value)


_OF_TASK = ("dataset", "encoder", "setting", "support", "prompts", "shots", "protocol", "n_test")


def records_json(board: Board, records: Mapping[str, Record]) -> str:
    """The records of a board, one per line, so that a new record is one new line."""
    versions: list[dict[str, str]] = []
    lines = []
    for path in _places(board):
        r = records[path]
        if r.versions not in versions:
            versions.append(r.versions)
        lines.append(_compact(_record(path, r, versions.index(r.versions))))
    parts = [
        f'{{"fields":{_compact(FIELDS)},',
        f'"versions":{_compact(versions)},',
        '"records":[',
        ",\n".join(lines),
        "]}",
    ]
    return "\n".join(parts)


def _places(board: Board) -> dict[str, int]:
    """Paths of a board's records, in the order of their first cell."""
    places: dict[str, int] = {}
    for row in board.rows:
        for cell in row.cells:
            for path in cell.records if cell else ():
                places.setdefault(path, len(places))
    return places


def _row(
    place: int, row: Row, places: Mapping[str, int], sections: Mapping[int, str]
) -> dict[str, Any]:
    return {
        "label": row.label,
        "method": row.method,
        "section": sections[place],
        "tuning": row.tuning,
        "tunable": row.tunable,
        "told": TOLD.get(row.tuning, ""),
        "own": row.own,
        "regime": row.regime,
        "saw": row.saw,
        "marks": row.marks,
        "baseline": row.baseline,
        "rank": _round(row.rank),
        "averages": list(row.averages),
        "cells": [None if cell is None else _cell(cell, row, places) for cell in row.cells],
    }


def _metric(board: Board, records: Mapping[str, Record], metric: Metric) -> dict[str, Any] | None:
    """A metric for the page's table, and its numbers; None if no record has it.

    The rows of the page hold the accuracy. For another metric the numbers are, in the order of the
    rows: rank, averages, and for each cell its mean, interval, spread, rank and place.
    """
    value: dict[str, Any] = {
        "name": metric.name,
        "heading": metric.heading,
        "digits": metric.digits,
        "lower": not metric.higher,
    }
    if metric is board.metric:
        return value
    try:
        board_of_metric = by_metric(board, records, metric)
    except OptionError:
        return None
    rows = [
        [
            _round(row.rank),
            [_round(average) for average in row.averages],
            [cell and [_round(getattr(cell, name)) for name in _OF_METRIC] for cell in row.cells],
        ]
        for row in board_of_metric.rows
    ]
    unmeasured = list(board_of_metric.unmeasured)
    return value | {"order": order_of(board_of_metric), "blank": unmeasured, "rows": rows}


_OF_METRIC = ("mean", "low", "high", "spread", "rank", "place")


def _robustness(board: Board) -> list[dict[str, Any]]:
    """The drops from the clean test sets as one more metric; none without such drops."""
    table = drops(board)
    value = {
        "name": "drop",
        "heading": "drop below the clean test set of the same classes in points, lower is better",
        "digits": board.metric.digits,
        "lower": True,
        "order": [*range(len(board.rows))],
        "blank": [],
        "rows": [
            [
                None,
                [None] * len(board.groups),
                [None if one is None else [_round(one), None, None, None, None, 0] for one in row],
            ]
            for row in table
        ],
    }
    return [value] if table else []


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "section": answer.section,
        **answer.level._asdict(),
        "columns": list(answer.columns),
        "of": answer.of,
        "device": answer.device,
        "rows": [_standing(row) for row in answer.rows],
        "leftOut": list(answer.left_out),
    }


def _standing(row: Standing) -> dict[str, Any]:
    estimates = {
        "accuracy": row.accuracy,
        "overZeroShot": row.over_zero_shot,
        "behind": row.behind,
    }
    value = {"row": row.row, "ranked": row.ranked, "seconds": _figures(row.seconds)} | {
        key: [round(end, 4) for end in estimate]
        for key, estimate in estimates.items()
        if estimate is not None
    }
    return {key: item for key, item in value.items() if item is not None}


def _figures(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")


@cache
def _paper(method: str) -> str:
    """Address of the paper of a registered method; empty if it is unknown."""
    if method not in METHODS.names():
        return ""
    try:
        entry = references().get(METHODS.stated(method, "reference"), "")
    except PluginError:
        return ""
    if match := re.search(r"eprint = \{([^}]+)\}", entry):
        return f"https://arxiv.org/abs/{match[1]}"
    if match := re.search(r"doi = \{([^}]+)\}", entry):
        return f"https://doi.org/{match[1]}"
    return match[1] if (match := re.search(r"url = \{([^}]+)\}", entry)) else ""


def _cell(cell: Cell, row: Row, places: Mapping[str, int]) -> dict[str, Any]:
    value = {
        "mean": cell.mean,
        "low": _round(cell.low),
        "high": _round(cell.high),
        "perClass": _round(cell.numbers["mean_per_class"]),
        "records": [places[path] for path in cell.records],
        "alike": [same_draw(seeds, []) for seeds in cell.alike],
        "spread": _round(cell.spread),
        "tail": _round(cell.tail),
        "rank": _round(cell.rank),
        "place": cell.place or None,
        "marks": "".join(mark for mark in cell.marks if mark not in row.marks),
        "gain": _round(cell.gain),
        "p": _p(cell.p),
        "pHolm": _p(cell.p_holm),
        "published": [
            {
                "accuracy": c.figure.accuracy,
                "source": c.figure.source,
                "primary": c.figure.primary,
                "note": c.figure.note,
                "difference": _round(c.difference),
                "inside": c.inside,
            }
            for c in cell.published
        ],
    }
    # A zero is a value; None, empty values and missing places are left out.
    return {key: item for key, item in value.items() if item is not None and item not in ("", [])}


def _record(path: str, r: Record, versions: int) -> list[Any]:
    low, high = wilson(r.correct, r.n_test)
    value = vars(r) | vars(r.seconds) | {
        "path": path,
        "low": low,
        "high": high,
        "versions": versions,
        "command": command(r),
        **{key: getattr(r.search, key) for key in ("settings", "images", "score", "space")},
        **{key: getattr(r.search, key) for key in ("note", "ties", "near")},
    }  # fmt: skip
    return [round(field, 9) if isinstance(field, float) else field for field in _fields(value)]


_fields = itemgetter(*FIELDS)


def _round(value: Any) -> Any:
    # Six digits: versions of scipy differ in the tenth.
    return round(value, 6) if isinstance(value, float) else value


def _p(p: float | None) -> float | None:
    return None if p is None else float(f"{max(p, SMALLEST_P):.3g}")


def _shown(value: Any) -> Any:
    """A JSON value with every text escaped, so that characters without a glyph are visible."""
    if isinstance(value, str):
        return value if value.isprintable() else printable_lines(value)
    if isinstance(value, dict):
        return {_shown(key): _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


_dumped = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _compact(value: Any) -> str:
    """JSON that is safe in a script element: without characters special to HTML or JavaScript."""
    text = _dumped(value)
    # Without a backslash no text in it was escaped, and all texts are as a reader sees them. Even
    # in hundreds of megabytes hardly any text needs more than this look at the whole.
    if "\\" in text or not text.isprintable():
        text = _dumped(_shown(value))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
