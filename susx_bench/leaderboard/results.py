"""The table of a run: a leaderboard of that run's records, for a terminal or a notebook."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from rich.console import RenderableType

from susx_bench.console import counted, one_line, several_lines
from susx_bench.leaderboard.board import MARKS, Board
from susx_bench.leaderboard.formats.html import html_tables
from susx_bench.leaderboard.formats.notes import LEVEL, same_draws
from susx_bench.leaderboard.formats.terminal import repeated, tables
from susx_bench.leaderboard.make import arrange, by_metric
from susx_bench.leaderboard.metrics import ACCURACY, Metric
from susx_bench.leaderboard.order import best_first
from susx_bench.records.cells import current, data_of, dataset_names
from susx_bench.records.record import Record

_DEMO_ENCODER, _DEMO = "demo", ("digits", "susx-bench")
"""The package's own encoder, and the dataset and protocol for which alone it was made."""


def boards(
    records: Sequence[Record], order: Sequence[str] = (), metric: Metric = ACCURACY
) -> list[Board]:
    """A leaderboard for each dataset (and encoder, setting, split) of a run.

    Args:
        records: The records of the run; all of them count.
        order: Method names in the order for equal rows.
        metric: The metric of the leaderboards.

    Raises:
        OptionError: If no record has the metric.
    """
    return [board for board, _ in _boards(records, order, metric)]


def _boards(
    records: Sequence[Record], order: Sequence[str], metric: Metric
) -> list[tuple[Board, list[Record]]]:
    names = dataset_names(records)
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for r in records:
        name = names[r.dataset, data_of(r)]
        task = (name, r.encoder, r.setting, r.protocol, r.precision, data_of(r), *r.extra_words())
        groups[task].append(r)
    titled = []
    for data, group in [(key, part) for key in groups for part in _apart(groups[key])]:
        name, encoder, setting, *_ = data
        title = f"{name} · {encoder} · {setting}"
        by_place = {str(place): r for place, r in enumerate(group)}
        # Two datasets of the run may have the same name: give each its unique name.
        by_place = {key: r.model_copy(update={"dataset": name}) for key, r in by_place.items()}
        board = by_metric(arrange("", title, "", order, [name], by_place), by_place, metric)
        titled.append((best_first(board), group))
    return titled


def _apart(records: Sequence[Record]) -> list[list[Record]]:
    """Divide the records of one task into tables that can show all of them.

    Two bundles with the same test images but other texts, support or scale fill the same cells, so
    that in one table one number would replace the other.
    """
    distinct = {(r.input_sha256, r.predictions_sha256): r for r in records}
    remaining = {str(place): r for place, r in enumerate(distinct.values())}
    parts: list[list[Record]] = []
    while remaining:
        kept, _ = current(remaining)
        parts.insert(0, list(kept.values()))
        remaining = {key: r for key, r in remaining.items() if key not in kept}
    return parts


def terminal_table(
    records: Sequence[Record], order: Sequence[str] = (), metric: Metric = ACCURACY
) -> list[RenderableType]:
    """The tables of a run for a terminal: a heading, the numbers best first, and the marks.

    Args:
        records: The records of the run.
        order: Method names in the order for equal rows.
        metric: The metric of the tables.

    Raises:
        OptionError: If no record has the metric.
    """
    titled = _boards(records, order, metric)
    titles = Counter(board.title for board, _ in titled)
    hashes = [_hashes(group) if titles[board.title] > 1 else {} for board, group in titled]
    parts: list[RenderableType] = []
    for (board, group), own_hashes in zip(titled, hashes, strict=True):
        others = [h for (b, _), h in zip(titled, hashes, strict=True) if b.title == board.title]
        apart = [f"{k} {v}" for k, v in own_hashes.items() if any(h[k] != v for h in others)]
        parts += [_heading(board, group, apart), *tables(board)]
        parts.append(several_lines(["", *_below(board)]))
    return parts


def _hashes(records: Sequence[Record]) -> dict[str, str]:
    """First digits of the hashes that distinguish two tables with the same title."""
    inputs = {
        "data": {data_of(r) for r in records},
        "texts": {r.prompts_sha256 for r in records},
        "support": {r.support_sha256 for r in records if r.support_images},
    }
    shortened = {what: ", ".join(sorted(h[:6] for h in values)) for what, values in inputs.items()}
    scales = {r.logit_scale for r in records}
    return shortened | {"logit scale": ", ".join(f"{scale:g}" for scale in scales)}


def html_table(
    records: Sequence[Record], order: Sequence[str] = (), metric: Metric = ACCURACY
) -> str:
    """The tables of a run as HTML without a page; see `terminal_table`."""
    return "".join(html_tables(board, titled=True) for board in boards(records, order, metric))


def _heading(board: Board, records: Sequence[Record], apart: Sequence[str]) -> RenderableType:
    first = records[0]
    several = [cell for row in board.rows for cell in row.cells if cell and cell.spread is not None]
    over = [
        f"{what} {', '.join(map(str, sorted(values)))}"
        for what, values in (
            ("seeds", {seed for cell in several for seed in cell.seeds}),
            ("orders", {order for cell in several for order in cell.orders}),
        )
        if len(values) > 1
    ]
    spread = f", mean ± sd over {' and '.join(over)}" if over else ", [95 % interval]"
    if not over and all(cell.low is None for row in board.rows for cell in row.cells if cell):
        spread = ""
    prompts = sorted({r.prompts for r in records})
    common = {column.task.prompts for column in board.columns}
    of_own = sorted({row.method for row in board.rows if row.prompts})
    supports = sorted({r.support for r in records} - {"none"})
    facts = [
        f"test n = {first.n_test}",
        f"{first.num_classes} classes",
        *(f"prompts {name}" for name in (sorted(common - {""}) or prompts)),
        *([f"prompts of their own: {', '.join(of_own)}"] if of_own and common != {""} else []),
        *(f"support {name}" for name in supports if name != first.setting),
        f"split {first.protocol}",
        *(f"drawn by {rule}" for rule in sorted({r.draw for r in records} - {"", "balanced"})),
        *(f"{n} views" for n in sorted({r.views for r in records} - {0, 1})),
        *([first.precision] if first.precision != "fp32" else []),
        *first.extra_words(),
        *apart,
    ]
    if first.skipped:
        facts.append(f"{len(first.skipped)} of the images unreadable and left out")
    lines = [
        one_line((board.title, "bold")),
        one_line(f"{board.metric.heading}{spread}"),
        one_line(" · ".join(facts)),
    ]
    if warning := encoder_warning(first):
        lines.append(one_line((warning, "bold yellow")))
    return several_lines(lines)


def encoder_warning(record: Record) -> str:
    """A warning that the demo's encoder was used on other data than its own; else empty."""
    if record.encoder != _DEMO_ENCODER or (record.dataset, record.protocol) == _DEMO:
        return ""
    return f"encoder {_DEMO_ENCODER} knows only drawn digits: these numbers say nothing of CLIP"


def _below(board: Board) -> list[str]:
    """The meaning of a table's marks, and the intervals that it leaves out to be narrow."""
    lines = [" · ".join(repeated(board))] if repeated(board) else []
    lines += same_draws(board)
    if any(cell.p is not None for row in board.rows for cell in row.cells if cell):
        lines.append(
            f"▲ ▼ better or worse than {board.baseline} in the same section "
            f"(McNemar's test, Holm's correction, p < {LEVEL})"
        )
    lines += board.unmeasured
    return lines + [f"{mark} {MARKS[mark]}" for mark in board.marks]


_METHODS = 12  # most lines of choices
_WHOLE = 4  # most lines that describe their search too


def choices(records: Sequence[Record], fresh: Collection[str]) -> list[str]:
    """Describe the chosen hyper-parameters and their search: one line per method and tuning.

    Args:
        records: The records of the table.
        fresh: Input hashes of the records that this run measured. The duration of a search is
            given only for these.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in records:
        if r.hparams:
            groups[r.method + (" (official code)" if r.official else ""), r.tuned_on].append(r)
    whole = len(groups) <= _WHOLE
    lines = [_chosen(name, group, whole=whole) for (name, _), group in groups.items()]
    if len(lines) > _METHODS:
        lines = []
    searched = [r for r in records if r.search.settings and r.input_sha256 in fresh]
    if searched:
        settings = sum(r.search.settings for r in searched)
        seconds = sum(r.seconds.search for r in searched)
        cells = counted(len(searched), "cell")
        lines.append(
            f"searched {counted(settings, 'setting')} for {cells} in {seconds:.1f} s "
            f"({settings / seconds:,.0f} a second)"
        )
    return lines + _instead(records)


def _chosen(name: str, records: Sequence[Record], *, whole: bool) -> str:
    """The hyper-parameters of one method under one tuning, each as a value or a range."""
    images = sorted({r.search.images for r in records} - {0})
    on = f" ({images[0]:,}{f' to {images[-1]:,}' if len(images) > 1 else ''})" if images else ""
    values = []
    for key in records[0].hparams:
        numbers = [r.hparams[key] for r in records if key in r.hparams]
        low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
        values.append(f"{key} {low}" if low == high else f"{key} {low} to {high}")
    line = f"{name}, {records[0].tuned_on}{on}: {', '.join(values)}"
    if len(records) > 1 or not records[0].search.settings or not whole:
        return line
    search = records[0].search
    line += f"; {search.score:.2f} there, best of {search.settings:,} settings ({search.space})"
    return line + (f"; {search.ties:,} tie, {search.near:,} within 0.5 points" * bool(search.near))


def _instead(records: Sequence[Record]) -> list[str]:
    """Reasons why a tuning did something other than its name says, one line each."""
    where: dict[str, tuple[dict[str, None], set[int]]] = {}
    for r in records:
        if r.search.note:
            methods, shots = where.setdefault(r.search.note, ({}, set()))
            methods[r.method] = None
            shots.add(r.shots)
    return [
        f"{', '.join(methods)}"
        + (f" at S = {', '.join(map(str, sorted(shots)))}" if any(shots) else "")
        + (
            f" {'are' if len(methods) > 1 else 'is'} {note}"
            if note.startswith("fixed")
            else f": {note}"
        )
        for note, (methods, shots) in where.items()
    ]
