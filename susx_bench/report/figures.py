"""Pictures of a leaderboard, SVG and PNG: the same records give the same bytes on one machine.

Another version of matplotlib moves a pixel here and there. Every file therefore names the data it
was drawn from, see `Picture.digest`, and a check compares that and not the bytes.

Colours are Okabe and Ito's, which colour-blind eyes tell apart; markers and line styles say the
same once more, for print without colour.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from susx_bench.console import counted, printable
from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record
from susx_bench.records.store import folder_name
from susx_bench.report.board import Board, Cell, Row, Section, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWING: Final = 3
"""Part of every digest: raise it when a picture of the same data is to look otherwise."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, *Color universal design*, 2008, without the yellow, which white paper swallows."""

MARKERS: Final = "osD^vPX*"
LINES: Final = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
GREY: Final = "#595959"
UP, DOWN = COLOURS[0], COLOURS[1]

BANDS: Final = 4
"""Lines in one panel whose intervals are bands; those of more are bars."""

DPI: Final = 144
"""Of the PNG."""

SERIES: Final = 10
"""Rows in one picture of many lines; beyond that those of the best average rank stand in it."""

NAMED: Final = 14
"""Points whose names one picture holds; of more, those on the front and zero-shot have theirs."""

PANELS: Final = 6
"""Tasks whose classes are shown: those whose accuracy the baseline is furthest from."""

LINES_OF_GAIN: Final = 24
"""Datasets in one picture of gains; beyond that each encoder (or setting, ...) has its own."""

CLASSES: Final = 8
"""Classes at either end, and confused pairs, in one panel."""


@dataclass(frozen=True)
class Picture:
    """A picture not yet drawn.

    Attributes:
        name: File name without its ending.
        title: Heading, a few words.
        text: What is to be seen, for those who cannot see it, and how to read it.
        width: Inches.
        height: Inches.
        data: What is drawn, as plain JSON values.
    """

    name: str
    title: str
    text: str
    width: float
    height: float
    data: Any
    _draw: Callable[[Figure, Any], None]

    @property
    def digest(self) -> str:
        """Hash of what is drawn; every file carries it."""
        shape = [round(self.width, 3), round(self.height, 3)]
        return sha256_json([DRAWING, self.name, self.title, shape, _rounded(self.data)])

    def files(self) -> dict[str, bytes]:
        """Draw it: ``NAME.svg`` and ``NAME.png`` with their bytes."""
        with _style():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.backends.backend_svg import FigureCanvasSVG
            from matplotlib.figure import Figure

            figure = Figure((self.width, self.height), DPI, layout="constrained")
            agg: Any = FigureCanvasAgg(figure)
            self._draw(figure, self.data)
            if (engine := figure.get_layout_engine()) is not None:
                engine.execute(figure)
            figure.set_layout_engine("none")  # laid out once, and not once a format
            svg, png = io.BytesIO(), io.BytesIO()
            said = {"Description": f"drawn from {self.digest}"}
            # Neither dates nor versions: they would change without the picture. `savefig` would
            # draw everything once more for the layout.
            agg.print_png(png, metadata=said | {"Software": None})
            vectors: Any = FigureCanvasSVG(figure)
            vectors.print_svg(svg, metadata=said | {"Creator": None, "Date": None})
            return {f"{self.name}.svg": svg.getvalue(), f"{self.name}.png": png.getvalue()}


def _rounded(value: Any) -> Any:
    """Without the last digits of floats, which differ from machine to machine."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def drawn_from(content: bytes) -> str:
    """The `Picture.digest` that a file names; empty where it names none."""
    found = re.search(rb"drawn from ([0-9a-f]{64})", content)
    return found[1].decode() if found else ""


def pictures(board: Board, records: Mapping[str, Record]) -> list[Picture]:
    """All pictures that a board's records allow, in the order of a page.

    Args:
        board: The leaderboard.
        records: Its records by their paths, as in `Cell.records`.
    """
    names = _names(board)
    found: list[Picture] = []
    families = _families(board)
    section = _largest(board)
    for family in families:
        found += _over_shots(board, names, section, family)
    most = [_best_columns(board, family) for family in families]
    if sum(map(len, most)) <= LINES_OF_GAIN:
        found += _gain(board, names, section, families, "")
    else:
        for family in families:
            found += _gain(board, names, section, [family], family.slug)
    found += _ranks(board, names)
    found += _time(board, names, section, records)
    found += _classes(board, names, section, families, records)
    return found


def _largest(board: Board) -> Section:
    """The section that the pictures are of: the one with most ranked rows, the first of several.

    What is in different sections has not seen the same, so it is not drawn side by side.
    """
    return max(board.sections, key=lambda part: sum(_ranked(board.rows[i]) for i in part.rows))


def _beside(board: Board, section: Section) -> list[int]:
    """Rows of a section, and zero-shot, from which all start."""
    zero = _zero_shot(board)
    return sorted({*section.rows, *([zero] if zero is not None else [])})


def _of(board: Board, section: Section) -> str:
    """Which rows a picture is of, as a sentence; empty where it is of all."""
    return f" Rows: {section.label}." if len(board.sections) > 1 else ""


def _headed(heading: str, board: Board, section: Section) -> str:
    """A heading, and below it which rows the picture is of."""
    return f"{heading}\n{section.label}" if len(board.sections) > 1 else heading


# What is drawn: plain values, so that they can be hashed.


class _Family(NamedTuple):
    """Columns that differ in dataset and shots only."""

    whole: str
    label: str
    slug: str
    columns: list[int]


def _families(board: Board) -> list[_Family]:
    """Families of columns, each with what tells it from the others."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, column in enumerate(board.columns):
        groups[column.task[:7]].append(place)
    fields = Task._fields[:7]
    varying = [i for i in range(7) if len({key[i] for key in groups}) > 1]
    found: list[_Family] = []
    for key, places in groups.items():
        first = board.columns[places[0]].task
        label = " · ".join(_plain(f"{key[i]}", 32) for i in varying if key[i])
        whole = label or " · ".join(dict.fromkeys([_plain(first.encoder, 32), first.setting]))
        slug = "".join("-" + folder_name(f"{fields[i]}-{key[i]}") for i in varying if key[i])
        if any(slug == other.slug for other in found):  # names that differ where a file's cannot
            slug += f"-{sha256_json(key)[:8]}"
        found.append(_Family(whole, label, slug, places))
    return found


def _names(board: Board) -> list[str]:
    """A label for every row: method, tuning where there are several, and marks."""
    several = len({row.tuning for row in board.rows if row.tunable}) > 1
    names: list[str] = []
    seen: Counter[str] = Counter()
    for row in board.rows:
        name = (
            _plain(row.label, 36)
            + (f" · {row.tuning}" if several and row.tunable else "")
            + (f" {row.marks}" if row.marks else "")
        )
        seen[name] += 1
        names.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
    return names


def _plain(name: str, width: int) -> str:
    """A name as one line of characters that every format allows, cut in its middle."""
    clean = printable(name)
    tail = width // 3
    return clean if len(clean) <= width else f"{clean[: width - 1 - tail]}…{clean[-tail:]}"


class _Look(NamedTuple):
    """Colour and marker say the method, the line its tuning; what is not ranked is hollow."""

    colour: str
    marker: str
    line: Any
    hollow: bool


def _look(board: Board, row: Row) -> _Look:
    if row.method == "zero-shot":
        return _Look(GREY, "", (0, (2, 1.5)), False)
    methods = list(dict.fromkeys(r.label for r in board.rows if r.method != "zero-shot"))
    tunings = list(dict.fromkeys(r.tuning for r in board.rows if r.method != "zero-shot"))
    place = methods.index(row.label)
    line = LINES[tunings.index(row.tuning) % len(LINES)]
    return _Look(
        COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], line, not _ranked(row)
    )


def _ranked(row: Row) -> bool:
    return all(cell.ranked for cell in row.cells if cell)


def _chosen(board: Board, section: Section, places: Sequence[int]) -> tuple[list[int], str]:
    """Rows of a section to draw, and zero-shot: at most `SERIES`, those of the best average rank.

    Returns:
        Their places, and a note on which rows they are of how many.
    """
    note = _of(board, section)
    rows = [i for i in _beside(board, section) if any(board.rows[i].cells[c] for c in places)]
    if len(rows) <= SERIES:
        return rows, note + _hollow([board.rows[i] for i in rows])
    kept = [i for i in rows if board.rows[i].method == "zero-shot"][:1]

    def merit(i: int) -> float:
        ranks = [c.rank for c in (board.rows[i].cells[p] for p in places) if c and c.rank]
        return math.fsum(ranks) / len(ranks) if ranks else math.inf

    best = sorted((i for i in rows if i not in kept), key=lambda i: (merit(i), i))
    kept += best[: SERIES - len(kept)]
    note += f" The best {len(kept)} of {len(rows)} rows by average rank."
    return sorted(kept), note + _hollow([board.rows[i] for i in kept])


def _hollow(rows: Iterable[Row]) -> str:
    """What hollow markers mean, as a sentence; empty where there are none."""
    return "" if all(map(_ranked, rows)) else " Hollow: some or all of its numbers are not ranked."


def _full(cells: Iterable[Cell | None]) -> list[Cell]:
    return [cell for cell in cells if cell is not None]


def _over_shots(
    board: Board, names: Sequence[str], section: Section, family: _Family
) -> list[Picture]:
    by_task: dict[tuple[object, ...], dict[int, int]] = defaultdict(dict)  # shots -> column
    for column in family.columns:
        task = board.columns[column].task
        if task.shots:
            by_task[task[8:]][task.shots] = column
    by_task = {key: shots for key, shots in by_task.items() if len(shots) > 1}
    if not by_task:
        return []
    columns = [c for shots in by_task.values() for c in shots.values()]
    rows, note = _chosen(board, section, columns)
    panels: list[tuple[str, dict[int, list[Any]]]] = []
    common = set.intersection(*(set(shots) for shots in by_task.values()))
    if len(by_task) > 1 and len(common) > 1:
        lines: dict[int, Any] = {}
        for i in rows:
            points = []
            for s in sorted(common):
                cells = [board.rows[i].cells[shots[s]] for shots in by_task.values()]
                if len(full := _full(cells)) == len(cells):
                    points.append([s, math.fsum(c.mean for c in full) / len(full), None, None])
            lines[i] = points
        panels.append((f"mean of {len(by_task)} datasets", lines))
    for key, shots in by_task.items():
        lines = {}
        for i in rows:
            here = [(s, board.rows[i].cells[shots[s]]) for s in sorted(shots)]
            lines[i] = [[s, c.mean, c.low, c.high] for s, c in here if c]
        panels.append((_plain(str(key[0]), 30), lines))
    panels = [panel for panel in panels if any(panel[1].values())]
    across = min(len(panels), 4 if len(panels) > 6 else 3)
    down = math.ceil(len(panels) / across)
    width = 7.2 if len(panels) == 1 else 3.3 * across + (0.6 if across < 3 else 0)
    wide = max(1, int(width // (0.068 * max(len(names[i]) for i in rows) + 0.7)))
    legend = 0.22 * math.ceil(len(rows) / wide) + 0.75
    height = (4.0 if len(panels) == 1 else 2.5 * down) + legend
    height += 0.2 * (len(board.sections) > 1)  # a second line of heading
    data = {
        "heading": _headed(f"Accuracy over shots · {family.whole}", board, section),
        "across": across,
        "panels": [
            [title, {names[i]: points for i, points in lines.items()}] for title, lines in panels
        ],
        "looks": {names[i]: _look(board, board.rows[i]) for i in rows},
        "columns": wide,
    }
    text = (
        "Top-1 accuracy in % over labelled images a class; bands and bars are 95 % intervals."
        f"{note}"
    )
    return [
        Picture(
            f"{board.name}-shots{family.slug}",
            str(data["heading"]).partition("\n")[0], text, width, height, data, _draw_over_shots,
        )
    ]  # fmt: skip


def _best_columns(board: Board, family: _Family) -> list[int]:
    """For each dataset of a family the column of the most shots."""
    best: dict[tuple[object, ...], int] = {}
    for column in family.columns:
        task = board.columns[column].task
        other = best.get(task[8:])
        if other is None or task.shots > board.columns[other].task.shots:
            best[task[8:]] = column
    return list(best.values())


def _zero_shot(board: Board) -> int | None:
    return next((i for i, row in enumerate(board.rows) if row.method == "zero-shot"), None)


def _title(task: Task, family: _Family, shots: bool = True) -> str:
    """A dataset, and what else is needed to know the column."""
    drawn = f"S = {task.shots}" if task.shots and shots else ""
    parts = [_plain(task.dataset, 30), family.label, drawn]
    return ", ".join(part for part in parts if part)


def _gain(
    board: Board,
    names: Sequence[str],
    section: Section,
    families: Sequence[_Family],
    slug: str,
) -> list[Picture]:
    base = _zero_shot(board)
    if base is None:
        return []
    zero = board.rows[base].cells
    columns = [(c, family) for family in families for c in _best_columns(board, family) if zero[c]]
    rows, note = _chosen(board, section, [c for c, _ in columns])
    rows = [i for i in rows if i != base]
    entries: list[tuple[str, float, dict[str, float]]] = []
    shots = {board.columns[c].task.shots for c, _ in columns}
    for c, family in columns:
        start = zero[c]
        gains = {
            names[i]: cell.mean - start.mean
            for i in rows
            if start and (cell := board.rows[i].cells[c])
        }
        if start and gains:
            title = _title(board.columns[c].task, family, len(shots) > 1)
            entries.append((title, start.mean, gains))
    if not entries:
        return []
    entries.sort(key=lambda entry: (max(entry[2].values()), entry[0]))
    few = len(entries) <= 3
    legend = 0.2 * math.ceil(len(rows) / 3) + 0.35
    lines = len(entries) * (len(rows) + 2.4) * 0.21 + 0.5
    heading = ["Gain over zero-shot", *([families[0].whole] if len(families) == 1 else [])]
    heading += [f"S = {s}" for s in shots if s and len(shots) == 1]
    data = {
        "heading": _headed(" · ".join(heading), board, section),
        "entries": entries,
        "looks": {names[i]: _look(board, board.rows[i]) for i in rows},
    }
    text = (
        "Points of top-1 accuracy over zero-shot CLIP at the most shots, the dataset with the "
        f"largest gain on top; zero-shot's own accuracy stands beside it.{note}"
    )
    return [
        Picture(
            name=f"{board.name}-gain{slug}",
            title=str(data["heading"]).partition("\n")[0],
            text=text,
            width=7.2,
            height=lines if few else 0.3 * len(entries) + legend + 0.9,
            data=data,
            _draw=_draw_gain_of_few if few else _draw_gain,
        )
    ]


def _ranks(board: Board, names: Sequence[str]) -> list[Picture]:
    """One for each section whose ranks mean something: see `statistics.Ranking.difference`."""
    found = []
    for number, ranked in enumerate(board.ranks, start=1):
        ranking = ranked.ranking
        if ranking.difference is None:
            continue
        order = sorted(zip(ranking.ranks, (names[i] for i in ranked.rows), strict=True))
        n = len(order)
        whose = f" · {ranked.label}" if len(board.ranks) > 1 else ""
        data = {
            "heading": f"Average ranks over {ranking.datasets} datasets{whose}",
            "ranks": order,
            "difference": ranking.difference,
            "p": ranking.p,
            "ticks": [
                t for t in range(1, n + 1) if n <= 20 or t in (1, n) or t % 5 == 0 < n - t - 2
            ],
        }
        p = "" if ranking.p is None else f" Friedman's p = {ranking.p:.2g}."
        text = (
            "Average rank of every complete row, 1 the best. Rows joined by a bar differ by less "
            f"than the critical difference of {ranking.difference:.2f} (Nemenyi, 5 %).{p}"
        )
        name = f"{board.name}-ranks" + (f"-{number}" if len(board.ranks) > 1 else "")
        height = 1.35 + 0.23 * math.ceil(n / 2)
        found.append(
            Picture(
                name, str(data["heading"]).partition("\n")[0], text, 8.4, height, data, _draw_ranks
            )
        )
    return found


def _time(
    board: Board, names: Sequence[str], section: Section, records: Mapping[str, Record]
) -> list[Picture]:
    """Seconds are compared on one device only, and rows only where they have every number."""
    points: list[tuple[str, float, float, _Look]] = []
    devices: set[str] = set()
    rows: list[Row] = []
    for i in _beside(board, section):
        row = board.rows[i]
        cells = _full(row.cells)
        if len(cells) < len(row.cells):
            continue
        runs = [records[path] for path in sorted({path for c in cells for path in c.records})]
        devices |= {r.device for r in runs}
        seconds = math.fsum(r.seconds.search + r.seconds.predict for r in runs) / len(runs)
        if seconds > 0:
            mean = math.fsum(c.mean for c in cells) / len(cells)
            points.append((names[i], seconds, mean, _look(board, row)))
            rows.append(row)
    if len(points) < 3 or len(devices) != 1 or all(look.hollow for *_, look in points):
        return []
    front: list[str] = []
    best = -math.inf
    for name, _, mean, look in sorted(points, key=lambda point: (point[1], -point[2])):
        if mean > best and not look.hollow:
            front.append(name)
            best = mean
    named = [point[0] for point in points]
    if len(points) > NAMED:
        named = [
            *front,
            *(names[i] for i, row in enumerate(board.rows) if row.method == "zero-shot"),
        ]
    # What is far below the rest would press it together.
    means = sorted(point[2] for point in points)
    lowest = min([*(p[2] for p in points if p[0] in named), means[len(means) // 4]])
    shown = [point for point in points if point[2] >= lowest]
    below = f" {len(points) - len(shown)} rows lie below." if len(shown) < len(points) else ""
    device = _plain(devices.pop(), 44)
    columns = len(board.columns)
    data = {
        "heading": _headed(f"Time against accuracy · {device}", board, section),
        "points": shown,
        "front": front,
        "named": named,
        "ylabel": "top-1 accuracy in %" + (f", mean of {columns} columns" if columns > 1 else ""),
    }
    text = (
        f"Seconds a cell takes from features in memory to all predictions, search included, on "
        f"{device}, against mean accuracy. Nothing ranked is both faster and better than the rows "
        f"on the line: {', '.join(front)}.{below}{_of(board, section)}{_hollow(rows)}"
    )
    return [
        Picture(
            f"{board.name}-time",
            str(data["heading"]).partition("\n")[0],
            text,
            7.2,
            4.4,
            data,
            _draw_time,
        )
    ]


def _classes(
    board: Board,
    names: Sequence[str],
    section: Section,
    families: Sequence[_Family],
    records: Mapping[str, Record],
) -> list[Picture]:
    """What the best row of a section changed for each class, and what it still confuses."""
    base = _zero_shot(board)
    if base is None:
        return []
    found = []
    columns = [(c, family) for family in families for c in _best_columns(board, family)]
    for c, family in columns:
        zero = board.rows[base].cells[c]
        others = [
            (cell.mean, -i, i, cell)
            for i in section.rows
            if (cell := board.rows[i].cells[c]) and i != base and cell.ranked
        ]
        if zero is None or not others:
            continue
        _, _, i, cell = max(others, key=lambda other: other[:2])
        found.append((-abs(cell.mean - zero.mean), c, i, cell, zero, family))
    found.sort(key=lambda entry: entry[:2])
    note = f" The {PANELS} of {len(found)} datasets with the largest change."
    note = (note if len(found) > PANELS else "") + _of(board, section)
    changes, pairs = [], []
    for _, c, i, cell, zero, family in found[:PANELS]:
        title = _title(board.columns[c].task, family)
        shares, before = ([_shares(records[p] for p in x.records)] for x in (cell, zero))
        after, start = shares[0], before[0]
        moved = [
            (_plain(name, 26), 100 * (after[name] - start[name])) for name in start if name in after
        ]
        moved.sort(key=lambda entry: entry[1])  # stable: ties stay in the order of the classes
        up, down = sum(m[1] > 0 for m in moved), sum(m[1] < 0 for m in moved)
        subtitle = f"{counted(up, 'class')} gain, {down} lose, {len(moved) - up - down} stay"
        # A class that stays has no bar.
        moved = [m for m in moved if m[1] < 0][:CLASSES] + [m for m in moved if m[1] > 0][-CLASSES:]
        if moved:
            changes.append([title, f"{names[i]} against zero-shot", subtitle, moved])
        pairs.append(_pairs(title, names[i], records[cell.records[0]], records[zero.records[0]]))
    found_pictures = []
    if changes:
        found_pictures.append(
            _of_panels(
                f"{board.name}-classes",
                _headed("Change of each class", board, section),
                "Points by which the accuracy of a class changes from zero-shot to the best row of "
                f"the column: the {CLASSES} largest gains and losses.{note}",
                changes,
                0.19,
                _draw_classes,
            )
        )
    if pairs := [pair for pair in pairs if pair[-1]]:
        found_pictures.append(
            _of_panels(
                f"{board.name}-confusions",
                _headed("What is still confused", board, section),
                f"The {CLASSES} most frequent wrong answers of the best row, as class → answer, in "
                "test images of one run; a ring is zero-shot's count where it is among its 20 most "
                f"frequent.{note}",
                pairs,
                0.24,
                _draw_confusions,
            )
        )
    return found_pictures


def _of_panels(
    name: str,
    heading: str,
    text: str,
    panels: Sequence[Sequence[Any]],
    line: float,
    draw: Callable[[Figure, Any], None],
) -> Picture:
    """A picture of panels whose last item are their lines, each `line` inches high."""
    across = min(2, len(panels))
    lines = max(len(panel[-1]) for panel in panels)
    return Picture(
        name=name,
        title=heading.partition("\n")[0],
        text=text,
        width=5.6 * across if across > 1 else 6.8,
        height=math.ceil(len(panels) / across) * (line * lines + 1.0) + 0.7,
        data={"heading": heading, "across": across, "panels": panels},
        _draw=draw,
    )


def _shares(runs: Iterable[Record]) -> dict[str, float]:
    """Share of each class's test images that were right, over all runs; empty classes left out."""
    right: dict[str, int] = defaultdict(int)
    images: dict[str, int] = defaultdict(int)
    for run in runs:
        for name, good, n in run.classes:
            right[name] += good
            images[name] += n
    return {name: right[name] / n for name, n in images.items() if n}


def _pairs(title: str, name: str, after: Record, before: Record) -> list[Any]:
    known = {(true, answer): count for true, answer, count in before.confusions}
    sizes = {true: n for true, _, n in after.classes}
    seed = f", seed {after.seed}" if after.seed else ""
    return [
        title,
        name + seed,
        [
            [
                f"{_plain(true, 20)} → {_plain(answer, 20)}",
                count,
                known.get((true, answer)),
                sizes[true],
            ]
            for true, answer, count in after.confusions[:CLASSES]
        ],
    ]


# How it is drawn.


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever a user's matplotlibrc says."""
    import matplotlib

    ours: dict[str, Any] = {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.formatter.use_mathtext": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#444444",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.handlelength": 2.8,
        "figure.titlesize": 11,
        "figure.titleweight": "bold",
        "figure.constrained_layout.hspace": 0.06,
        "svg.fonttype": "path",  # looks alike wherever it is opened
        "svg.hashsalt": "susx-bench",
        "text.parse_math": False,  # a dollar in a name is a dollar
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast(Any, ours))
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def _heading(figure: Figure, text: str, **place: float) -> None:
    """A heading, each line of it no wider than its figure."""
    lines = [_plain(line, int(8 * figure.get_figwidth())) for line in text.split("\n")]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", **place)


def _panels(figure: Figure, count: int, across: int, **margins: float) -> list[Axes]:
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False, gridspec_kw=margins)
    axes = grid.ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return list(axes[:count])


def _marks(look: _Look, size: float = 5) -> dict[str, Any]:
    return {
        "color": look.colour,
        "marker": look.marker or "None",
        "markersize": size,
        "markerfacecolor": "white" if look.hollow else look.colour,
        "markeredgecolor": look.colour,
    }


def _draw_over_shots(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    width, height = figure.get_size_inches()
    # The constrained layout measures every label of every panel twice, which takes as long as to
    # draw them. Here all are known.
    figure.set_layout_engine("none")
    _heading(figure, data["heading"], y=1 - 0.07 / height)
    axes = _panels(figure, len(data["panels"]), data["across"], **_margins(width, height, data))
    handles, shots = {}, []
    for ax, (title, lines) in zip(axes, data["panels"], strict=True):
        drawn = [name for name, points in lines.items() if points]
        bars: list[tuple[float, float, float, str]] = []
        for place, name in enumerate(drawn):
            points, look = lines[name], data["looks"][name]
            x, y = [point[0] for point in points], [point[1] for point in points]
            style = {"linestyle": look.line, "lw": 1.5, **_marks(look, 4.5)}
            if points[0][2] is None:
                (handles[name],) = ax.plot(x, y, **style)
                continue
            low, high = [p[2] for p in points], [p[3] for p in points]
            if len(drawn) <= BANDS or not look.marker:  # zero-shot is a flat band
                (handles[name],) = ax.plot(x, y, **style)
                ax.fill_between(x, low, high, color=look.colour, alpha=0.13, lw=0)
                continue
            # Many bands are mud: bars, side by side.
            x = [s * 2 ** (0.24 * (place / (len(drawn) - 1) - 0.5)) for s in x]
            (handles[name],) = ax.plot(x, y, **style)
            bars += zip(x, low, high, [look.colour] * len(x), strict=True)
        if bars:
            ax.vlines(*zip(*bars, strict=True), lw=0.8, alpha=0.6)
        shots.append(sorted({point[0] for points in lines.values() for point in points}))
        ax.set_xscale("log", base=2)
        ax.set_xlim(shots[-1][0] / 1.25, shots[-1][-1] * 1.25)
        ax.xaxis.set_major_locator(FixedLocator(shots[-1]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set_title(title, y=1)  # a place that need not be looked for
    lowest = axes[-data["across"] :]
    for ax in axes:
        if ax in lowest:
            ax.set_xlabel("labelled images a class")
        elif shots.count(shots[0]) == len(shots):
            ax.tick_params(labelbottom=False)
    figure.supylabel("top-1 accuracy in %", x=0.08 / width, ha="left", fontsize=9)
    _legend(figure, handles, data["looks"], data["columns"])


def _margins(width: float, height: float, data: Any) -> dict[str, float]:
    """Margins of equal panels above a legend, for `_panels`; all given in inches here."""
    across, down = data["across"], math.ceil(len(data["panels"]) / data["across"])
    left, right, top, gap, beneath = 0.62, 0.1, 0.58, 0.42, 0.52
    top += 0.2 * data["heading"].count("\n")
    bottom = 0.22 * math.ceil(len(data["looks"]) / data["columns"]) + 0.56
    return {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "wspace": gap * across / (width - left - right - gap * (across - 1)),
        "hspace": beneath * down / (height - top - bottom - beneath * (down - 1)),
    }


def _legend(
    figure: Figure, handles: Mapping[str, Any], order: Iterable[str], columns: int, **more: Any
) -> None:
    names = [name for name in order if name in handles]
    figure.legend(
        [handles[n] for n in names], names, loc="outside lower left", ncols=columns, **more
    )


def _draw_gain(figure: Figure, data: Any) -> None:
    _heading(figure, data["heading"])
    ax = figure.subplots()
    handles = {}
    names = list(data["looks"])
    for y, (_, _, gains) in enumerate(data["entries"]):
        ax.plot([min(0, *gains.values()), max(0, *gains.values())], [y, y], color="#c9c9c9", lw=1.2)
        for name, gain in gains.items():
            look = data["looks"][name]
            # A small shift by the row keeps equal gains apart.
            shift = (
                0.3 * (names.index(name) / max(1, len(names) - 1) - 0.5) if len(names) > 1 else 0
            )
            (handles[name],) = ax.plot(gain, y - shift, linestyle="None", **_marks(look, 6))
    ax.axvline(0, color=GREY, lw=1)
    ax.set_yticks(range(len(data["entries"])), [entry[0] for entry in data["entries"]])
    ax.set_ylim(-0.6, len(data["entries"]) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("points over zero-shot")
    for y, (_, start, _) in enumerate(data["entries"]):
        ax.text(
            1.01, y, f"{start:.1f}", transform=ax.get_yaxis_transform(), va="center", color=GREY
        )
    ax.set_title("zero-shot, %", loc="right", fontsize=8, color=GREY)
    _legend(figure, handles, names, 3, handlelength=1)


def _draw_gain_of_few(figure: Figure, data: Any) -> None:
    """With two or three datasets each has a panel, and each row a line."""
    _heading(figure, data["heading"])
    entries = data["entries"][::-1]
    axes = _panels(figure, len(entries), 1)
    reach = [gain for _, _, gains in entries for gain in gains.values()]
    span = max(0, *reach) - min(0, *reach) or 1.0
    for ax, (label, start, gains) in zip(axes, entries, strict=True):
        for y, (name, gain) in enumerate(gains.items()):
            look = data["looks"][name]
            ax.plot([0, gain], [y, y], color=look.colour, lw=1.6, linestyle=look.line)
            ax.plot(gain, y, linestyle="None", **_marks(look, 6))
            ax.annotate(
                f"{gain:+.1f}", (gain, y), xytext=(7 if gain >= 0 else -7, 0),
                textcoords="offset points", va="center", ha="left" if gain >= 0 else "right",
                fontsize=8,
            )  # fmt: skip
        ax.axvline(0, color=GREY, lw=1)
        ax.set_yticks(range(len(gains)), list(gains))
        ax.set_ylim(len(gains) - 0.4, -0.6)
        ax.set_xlim(min(0, *reach) - 0.12 * span, max(0, *reach) + 0.12 * span)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.set_title(f"{label}: zero-shot {start:.1f} %")
    axes[-1].set_xlabel("points over zero-shot")


def _cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Longest runs of sorted ranks within the difference, at least two each."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(len(ranks)) if ranks[i] - ranks[first] <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _draw_ranks(figure: Figure, data: Any) -> None:
    _heading(figure, data["heading"])
    ax = figure.subplots()
    ax.set_axis_off()
    ranks, names = zip(*data["ranks"], strict=True)
    n = len(ranks)
    cliques = _cliques(ranks, data["difference"])
    left = math.ceil(n / 2)
    top = 0.55 + 0.34 * len(cliques)  # the names begin below the bars
    span = max(n - 1, 1)
    ax.plot([1, n], [0, 0], color="black", lw=1.2)
    for tick in range(1, n + 1):
        told = tick in data["ticks"]
        ax.plot([tick, tick], [0, -0.16 if told else -0.08], color="black", lw=1.2)
        if told:
            ax.text(tick, -0.28, f"{tick}", ha="center", va="bottom")
    ax.plot([1, 1 + data["difference"]], [-1.35, -1.35], color=UP, lw=2.4, solid_capstyle="butt")
    label = f"critical difference {data['difference']:.2f}"
    ax.text(1, -1.5, label, color=UP, ha="left", va="bottom")
    for i, (rank, name) in enumerate(zip(ranks, names, strict=True)):
        on_left = i < left
        y = top + 0.62 * (i if on_left else n - 1 - i)
        x = 1 - 0.04 * span if on_left else n + 0.04 * span
        ax.plot([rank, rank, x], [0, y, y], color="#777777", lw=0.9)
        ax.plot(rank, 0, "o", color="black", ms=4)
        text = f"{name}  {rank:.2f} " if on_left else f" {rank:.2f}  {name}"
        ax.text(x, y, text, ha="right" if on_left else "left", va="center")
    for level, (first, last) in enumerate(cliques):
        y = 0.3 + 0.34 * level
        margin = 0.012 * span
        ax.plot(
            [ranks[first] - margin, ranks[last] + margin], [y, y],
            color=DOWN, lw=4, solid_capstyle="round",
        )  # fmt: skip
    ax.set_xlim(1 - 0.62 * span, n + 0.62 * span)
    ax.set_ylim(top + 0.62 * (left - 1) + 0.5, -2.3)


def _draw_time(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _heading(figure, data["heading"])
    ax = figure.subplots()
    points = data["points"]
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    ax.set_xscale("log")
    right = max(xs) * 1.5
    pad = 0.08 * (max(ys) - min(ys)) or 1.0
    ax.set(xlim=(min(xs) / 1.5, right), ylim=(min(ys) - pad, max(ys) + pad))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    at = {p[0]: p for p in points}
    front = [at[name] for name in data["front"]]
    ax.plot(
        [*(p[1] for p in front), right], [*(p[2] for p in front), front[-1][2]],
        drawstyle="steps-post", color="#9a9a9a", lw=1.2, zorder=1,
    )  # fmt: skip
    named = [point for point in points if point[0] in data["named"]]
    for point in points:
        _, x, y, look = point
        marks = _marks(look, 7.5)
        if point not in named:
            marks = _marks(_Look("#b4b4b4", "o", "-", False), 4.5)
        elif not look.marker:
            marks |= {"marker": "o", "markerfacecolor": "white"}
        ax.plot(x, y, linestyle="None", zorder=3, **marks)
    ax.set_xlabel("seconds a cell, from features in memory (logarithmic)")
    ax.set_ylabel(data["ylabel"])
    # Names keep off the line as well.
    steps = [((a[1], a[2]), (b[1], a[2])) for a, b in pairwise(front)]
    steps += [((b[1], a[2]), (b[1], b[2])) for a, b in pairwise(front)]
    steps.append(((front[-1][1], front[-1][2]), (right, front[-1][2])))
    _name_points(figure, ax, named, set(data["front"]), [(p[1], p[2]) for p in points], steps)


def _name_points(
    figure: Figure,
    ax: Axes,
    points: Sequence[Any],
    bold: Collection[str],
    obstacles: Sequence[tuple[float, float]],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> None:
    """Write names beside points where they cover no point, no line and no other name.

    Places around a point are tried from near to far, and the least covered one is taken.
    """
    from matplotlib.transforms import Bbox

    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # places are known after the layout only
    canvas: Any = figure.canvas
    renderer, scale = canvas.get_renderer(), figure.dpi / 72
    pixels = [ax.transData.transform((x, y)) for _, x, y, _ in points]
    others = ax.transData.transform(obstacles)
    taken = [Bbox([[x - 6, y - 6], [x + 6, y + 6]]) for x, y in others]
    for ends in lines:
        (ax0, ay0), (ax1, ay1) = ax.transData.transform(ends)
        taken.append(
            Bbox([[min(ax0, ax1) - 2, min(ay0, ay1) - 2], [max(ax0, ax1) + 2, max(ay0, ay1) + 2]])
        )
    inside = ax.get_window_extent(renderer)

    def covered(box: Bbox) -> float:
        shared = [Bbox.intersection(box, other) for other in taken]
        area = sum(s.width * s.height for s in shared if s is not None)
        whole = Bbox.intersection(box, inside)
        return float(area + box.width * box.height - (whole.width * whole.height if whole else 0))

    for (name, x, y, look), (px, py) in zip(points, pixels, strict=True):
        text = ax.annotate(
            name, (x, y), xytext=(0, 0), textcoords="offset points", va="center", ha="center",
            color=look.colour, fontsize=8.5, fontweight="bold" if name in bold else "normal",
            arrowprops={"arrowstyle": "-", "color": look.colour, "lw": 0.6, "alpha": 0.6,
                        "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        size = text.get_window_extent(renderer)
        w, h = size.width / scale, size.height / scale
        places = []
        for far in (0, 12, 24, 36, 50, 66):
            across, up = w / 2 + 8 + far, h / 2 + 5 + far
            places += [(across, 0), (0, up), (0, -up), (-across, 0)]
            places += [(sx * across, sy * up) for sx in (1, -1) for sy in (1, -1)]

        def box(place: tuple[float, float], px: float = px, py: float = py, w: float = w,
                h: float = h) -> Bbox:  # fmt: skip
            cx, cy = px + place[0] * scale, py + place[1] * scale
            return Bbox([[cx - w * scale / 2, cy - h * scale / 2 - 1],
                         [cx + w * scale / 2, cy + h * scale / 2 + 1]])  # fmt: skip

        best = min(places, key=lambda place: (round(covered(box(place))), places.index(place)))
        text.set_position(best)
        if places.index(best) < 8 and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)
        taken.append(box(best))


def _draw_classes(figure: Figure, data: Any) -> None:
    _heading(figure, data["heading"])
    axes = _panels(figure, len(data["panels"]), data["across"])
    for ax, (title, who, subtitle, moved) in zip(axes, data["panels"], strict=True):
        values = [m[1] for m in moved]
        ax.barh(
            range(len(moved)), values,
            color=[UP if v > 0 else DOWN for v in values],
            hatch=["" if v >= 0 else "////" for v in values], edgecolor="white", lw=0,
        )  # fmt: skip
        ax.axvline(0, color=GREY, lw=1)
        ax.set_yticks(range(len(moved)), [m[0] for m in moved], fontsize=8)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        if len(moved) == 2 * CLASSES:
            ax.axhline(CLASSES - 0.5, color="#9a9a9a", lw=0.8, ls=":")
        reach = max(1.0, *(abs(v) for v in values))
        ax.set_xlim(min(0, *values) - 0.18 * reach, max(0, *values) + 0.18 * reach)
        for y, v in enumerate(values):
            ax.annotate(
                f"{v:+.1f}" if v else "0", (v, y), xytext=(3 if v >= 0 else -3, 0),
                textcoords="offset points", va="center", ha="left" if v >= 0 else "right",
                fontsize=7.5, color="#333333",
            )  # fmt: skip
        ax.set_title(f"{_plain(f'{title}: {who}', 74)}\n{subtitle}")
        ax.set_xlabel("points")


def _draw_confusions(figure: Figure, data: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    _heading(figure, data["heading"])
    axes = _panels(figure, len(data["panels"]), data["across"])
    handles: dict[str, Any] = {}
    for ax, (title, who, pairs) in zip(axes, data["panels"], strict=True):
        places = range(len(pairs))
        counts = [pair[1] for pair in pairs]
        handles["best row"] = ax.barh(places, counts, color=COLOURS[5], height=0.66)
        known = [(y, pair[2]) for y, pair in enumerate(pairs) if pair[2] is not None]
        (handles["zero-shot"],) = ax.plot(
            [count for _, count in known], [y for y, _ in known],
            "o", mfc="none", mec="black", mew=1.4, ms=7,
        )  # fmt: skip
        ax.set_yticks(places, [pair[0] for pair in pairs], fontsize=8)
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        for y, (_, count, _, n) in enumerate(pairs):
            ax.annotate(
                f"{count} of {n}", (0, y), xytext=(3, 0), textcoords="offset points",
                va="center", fontsize=7.5,
            )  # fmt: skip
        most = max([*counts, *(count for _, count in known)])
        ax.set_xlim(0, 1.08 * most)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(_plain(f"{title}: {who}", 74))
        ax.set_xlabel("test images of the class")
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower left", ncols=2, handlelength=1.2
    )
