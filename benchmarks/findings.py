"""Write docs/findings.md and its pictures from the committed records.

    python -m benchmarks.findings

No number of the page is typed. A sentence that the records do not bear out stops the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from susx_bench.leaderboard import files
from susx_bench.leaderboard.board import Board, Cell, saw
from susx_bench.leaderboard.figures.drawing import COLOURS, LINES, MARKERS
from susx_bench.leaderboard.figures.picture import Picture, drawn_from
from susx_bench.leaderboard.statistics import Estimate, mean_over_columns
from susx_bench.records.files import write_atomic
from susx_bench.records.record import Record, unpack
from susx_bench.registry import METHODS
from susx_bench.runner.suite import Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = "docs/findings.md"
PICTURES: Final = "docs/pictures"
AGAIN: Final = "python -m benchmarks.findings"

BATCHES: Final = ("all", "64:10", "64:4")
UNSUPERVISED: Final = ("stata", "ecalp", "transclip", "zlap", "tag-u")
SUPERVISED: Final = ("ecalp-fs", "transclip-fs", "tag-u-fs")
STREAMING: Final = ("tda", "dota", "dmn", "tag-u-stream", "dmn-fs")
TUNED: Final = ("tip-adapter", "tipx", "ape", "gda", "timo", "timo-s", "tag")


class Cells(NamedTuple):
    """A row of the board: method, what chose its settings, and how it got the test set."""

    method: str
    tuned_on: str = "fixed"
    batches: str = ""


class Evidence:
    """A leaderboard and its records, asked for cells and for paired differences."""

    def __init__(self, suite: str) -> None:
        self._suite = Suite.read(ROOT / "benchmarks" / "suites" / f"{suite}.toml")
        self.records: Mapping[str, Record] = files.read(self._suite, ROOT / "leaderboards")

    @cached_property
    def board(self) -> Board:
        return files.make_board(self._suite, dict(self.records))

    def row(self, of: Cells) -> int:
        """Place of a row; what is not tunable has one whatever chose its settings."""
        batches = "" if of.batches == "all" else of.batches
        return next(
            i
            for i, row in enumerate(self.board.rows)
            if (row.method, row.batches) == (of.method, batches)
            and not row.official
            and (row.tuned_on == of.tuned_on or not row.tunable)
        )

    def cells(self, of: Cells) -> tuple[Cell | None, ...]:
        return self.board.rows[self.row(of)].cells

    def common(self, rows: Iterable[Cells], among: Iterable[int] | None = None) -> list[int]:
        """Columns on which all of some rows have a number."""
        cells = [self.cells(of) for of in rows]
        columns = range(len(self.board.columns)) if among is None else among
        return [k for k in columns if all(each[k] for each in cells)]

    def scores(self, of: Cells, column: int) -> NDArray[np.float64]:
        cell = self.cells(of)[column]
        runs = [self.records[path] for path in cell.records] if cell else []
        return np.asarray(100 * np.mean([unpack(r.right, r.n_test) for r in runs], axis=0))

    def more(self, of: Cells, than: Cells | None, columns: Sequence[int]) -> Estimate:
        """Mean over columns of a row, or of how many points it is ahead of another."""
        lead = [self.scores(of, k) - (self.scores(than, k) if than else 0.0) for k in columns]
        return mean_over_columns(lead, [self.board.columns[k].task.data for k in columns])

    def column(self, dataset: str, shots: int) -> int:
        return next(
            k
            for k, column in enumerate(self.board.columns)
            if (column.task.dataset, column.task.shots) == (dataset, shots)
        )

    def record(self, of: Cells, column: int) -> str:
        """A record's path below leaderboards/, its input hash in its name."""
        cell = self.cells(of)[column]
        assert cell
        return f"`{cell.records[0]}`"


def points(of: Estimate, sign: bool = True) -> str:
    """A mean and its interval."""
    form = "+.1f" if sign else ".1f"
    mean, low, high = (f"{value:{form}}".replace("-", "−") for value in of)
    return f"{mean} [{low}, {high}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def wrapped(text: str) -> str:
    """The text with its paragraphs filled; tables, headings and pictures are lines of their own."""
    parts = text.strip().split("\n\n")
    return "\n\n".join(
        part
        if part[0] in "|#!"
        else fill(" ".join(part.split()), 105, break_long_words=False, break_on_hyphens=False)
        for part in parts
    )


def claim(true: bool, sentence: str) -> str:
    """A sentence that the records must bear out."""
    if not true:
        raise SystemExit(f"the records no longer say: {sentence}")
    return sentence


def _val(of: Evidence) -> tuple[str, list[tuple[str, Estimate]]]:
    rows, drawn = [], []
    for method in TUNED:
        support, val = Cells(method, "support"), Cells(method, "val")
        columns = of.common([support, val])
        found = of.more(support, val, columns)
        seen = " ¶" if "¶" in of.board.rows[of.row(support)].marks else ""
        rows.append([method + seen, str(len(columns)), points(found)])
        drawn.append((method + seen, found))
    alone = [estimate for _, estimate in drawn]
    worse = [name for name, estimate in drawn if estimate.high < 0]
    better = [name for name, estimate in drawn if estimate.low > 0]
    even = [name for name, estimate in drawn if estimate.low <= 0 <= estimate.high]
    said = claim(
        max(abs(e.mean) for e in alone) < 1.5 and len(even) + len(better) > len(worse),
        f"No method loses more than {max(-e.mean for e in alone):.1f} points on average when it is "
        "tuned on its own support images and no val label is read.",
    )
    parts = [f"within chance: {', '.join(even)}"] if even else []
    parts += [f"better without val: {', '.join(better)}"] if better else []
    parts += [f"worse without val: {', '.join(worse)}"] if worse else []
    images = max(r.search.images for r in of.records.values() if r.tuned_on == "val")
    text = f"""## Val labels are not needed

{said} Most papers tune on the whole val split, which has up to
{images:,} labelled images here, against at most 16 per class in the support.
By method, {"; ".join(parts)}.

{table(("method", "columns", "tuned on the support minus tuned on val, points"), rows)}

Rows `support` and `val` of the board `real-features`. A support of one image per class leaves
nothing to hold out, and `support` is the fixed setting there.

![Points that a method has more when tuned on its support than on val](pictures/findings-val.png)
"""
    return text, drawn


def _test(of: Evidence) -> str:
    rows, gains = [], []
    for method in TUNED:
        test, val = Cells(method, "test"), Cells(method, "val")
        columns = of.common([test, val])
        found = of.more(test, val, columns)
        largest = max(columns, key=lambda k: of.more(test, val, [k]).mean)
        most = of.more(test, val, [largest])
        gains.append(found.mean)
        rows.append(
            [
                method,
                str(len(columns)),
                points(found),
                f"{most.mean:+.1f} on {of.board.columns[largest].task.dataset}",
                of.record(test, largest),
            ]
        )
    said = claim(
        min(gains) > 0,
        f"A grid that is searched on the test labels is worth {min(gains):.1f} to {max(gains):.1f} "
        "points on average over the same grid on val.",
    )
    columns = of.common([Cells("tipx", "val"), Cells("tip-adapter", "val")])
    ahead = of.more(Cells("tipx", "val"), Cells("tip-adapter", "val"), columns)
    head = ("method", "columns", "tuned on test minus tuned on val, points", "the most", "record")
    return f"""## What tuning on test is worth

{said} For comparison, TIP-X is
{points(ahead)} points ahead of Tip-Adapter, both tuned on val over {len(columns)} columns: choosing
on test is worth about as much as a new method.

{table(head, rows)}

Rows `test †` and `val` of the board `real-features`. Rows with a dagger are upper bounds, and are
ranked nowhere.
"""


def _marked(method: str) -> str:
    """A method, with the mark that tables give to constants chosen on these datasets."""
    return f"{method} ¶" if METHODS.get(method).seen_always else method


def _transductive(of: Evidence) -> tuple[str, dict[str, list[Estimate]]]:
    zero = Cells("zero-shot")
    methods = (*UNSUPERVISED, *SUPERVISED)
    columns = of.common([zero, *(Cells(m, batches=b) for m in methods for b in BATCHES)])
    drawn = {
        method: [of.more(Cells(method, batches=b), zero, columns) for b in BATCHES]
        for method in methods
    }
    rows = [[_marked(m), *(points(e) for e in found)] for m, found in drawn.items()]
    collapsed = [m for m, found in drawn.items() if found[2].high < 0]
    whole = claim(
        all(drawn[m][0].low > 0 for m in ("ecalp", "transclip", "stata")),
        "With the whole test set at once, ECALP, TransCLIP and StatA gain over zero-shot without a "
        "label.",
    )
    poor = claim(
        {"ecalp", "transclip", "zlap"} <= set(collapsed),
        f"In batches of up to 64 images of up to 4 classes, {', '.join(collapsed)} fall below "
        "zero-shot, on the same images.",
    )
    worst = min(
        ((m, k) for m in methods for k in range(len(of.board.columns))
         if of.cells(Cells(m, batches="64:4"))[k]),
        key=lambda mk: of.more(Cells(mk[0], batches="64:4"), zero, [mk[1]]).mean,
    )  # fmt: skip
    cell = of.cells(Cells(worst[0], batches="64:4"))[worst[1]]
    assert cell
    start = of.more(zero, None, [worst[1]]).mean
    least = claim(
        cell.mean < start - 30,
        f"The worst is {worst[0]} on {of.board.columns[worst[1]].task.dataset}, with "
        f"{cell.mean:.1f} % where zero-shot has {start:.1f} %",
    )
    held = sorted(UNSUPERVISED, key=lambda m: -drawn[m][2].mean)[:2]
    hold = claim(
        set(held) == {"stata", "tag-u"},
        "StatA, which anchors its statistics to the text, and TAG-U, which weighs how many classes "
        "a batch has, hold best of those without labels.",
    )
    labels = claim(
        all(each.low > 9 for each in drawn["tag-u-fs"]),
        "TAG-U with labelled images beside them gains as much in such batches as from all at once.",
    )
    head = ("method", *(saw("transductive", "" if b == "all" else b) for b in BATCHES))
    text = f"""## Transductive methods collapse in class-poor batches

{whole} {poor}
They expect every class in what they see, and a batch of few classes breaks that. {least}
({of.record(Cells(worst[0], batches="64:4"), worst[1])}). {hold} {labels}

{table(head, rows)}

Points over zero-shot, mean over {len(columns)} columns: {_names(of, columns)}. Rows of the board
`real-features`; ¶: constants chosen with an eye on these datasets.

![Points over zero-shot, all at once and in batches](pictures/findings-batches.png)
"""
    return text, drawn


def _streaming(of: Evidence) -> str:
    zero = Cells("zero-shot")
    columns = of.common([zero, *(Cells(m) for m in STREAMING)])
    found = {m: of.more(Cells(m), zero, columns) for m in STREAMING}
    free = {m: e for m, e in found.items() if m != "dmn-fs"}
    said = claim(
        max(e.mean for e in free.values()) < found["dmn-fs"].mean,
        f"A stream of test images without labels is worth {min(e.mean for e in free.values()):.1f} "
        f"to {max(e.mean for e in free.values()):.1f} points.",
    )
    rows = [[_marked(m), points(e)] for m, e in found.items()]
    return f"""## A stream is worth less than labels

{said} DMN with labelled images beside
the stream has {points(found["dmn-fs"])}.

{table(("method", "points over zero-shot"), rows)}

Mean over {len(columns)} columns: {_names(of, columns)}. One order of the test images; rows
`streaming` of the board `real-features`.
"""


def _text(of: Evidence) -> str:
    zero = Cells("zero-shot")
    dtd, whu = of.column("dtd-keys", 4), of.column("whurs19", 16)
    probe, gda = Cells("linear-probe"), Cells("gda")
    low, high = of.more(probe, zero, [dtd]), of.more(probe, gda, [whu])
    behind = of.more(probe, gda, [dtd])
    four = claim(
        low.low < 0 < low.high and behind.high < 0,
        f"With 4 images per class, a linear probe that never reads a text is {points(low)} points "
        f"from zero-shot on DTD ({of.record(probe, dtd)}), and {points(behind)} from GDA, which "
        f"adds the text ({of.record(gda, dtd)}).",
    )
    sixteen = claim(
        high.low < 0 < high.high,
        f"With 16 per class on WHU-RS19 it is {points(high)} from GDA ({of.record(probe, whu)}): "
        "the images know by then what the text said.",
    )
    proker = Cells("proker")
    shots = [(s, of.column("caltech101-named", s)) for s in (1, 4, 16)]
    gains = [of.more(proker, zero, [k]) for _, k in shots]
    caltech = claim(
        gains[0].low < 0 < gains[0].high and gains[2].low > 0,
        "Where names say nearly all, images add little: on Caltech101 zero-shot has "
        f"{of.more(zero, None, [shots[0][1]]).mean:.1f} %, and ProKeR adds "
        + ", ".join(f"{points(g)} with {s}" for g, (s, _) in zip(gains, shots, strict=True))
        + " images per class.",
    )
    weak = of.more(proker, zero, [whu])
    sensing = claim(
        weak.low > 15,
        f"Where names say little, they add much: {points(weak)} on WHU-RS19 with 16 "
        f"({of.record(proker, whu)}).",
    )
    one = of.column("imagenet", 2)
    plus = Cells("ss-text-plus")
    cell = of.cells(plus)[one]
    assert cell
    flipped = claim(
        cell.mean == 0,
        "A weight of text against images that does not follow the number of classes can turn a "
        f"classifier over. SS-Text+, as its authors' code writes it, has {cell.mean:.0f} of 2,000 "
        f"images right on 1,000 classes ({of.record(plus, one)}), where SS-Text has "
        f"{of.more(Cells('ss-text'), None, [one]).mean:.1f} %.",
    )
    return f"""## How far text is to be trusted, and when

{four} {sixteen}

{caltech} {sensing}

{flipped}
"""


def _tipx(of: Evidence, demo: Evidence) -> str:
    zero = Cells("zero-shot")
    columns = range(len(of.board.columns))
    fixed = Cells("tipx")
    gains = {k: of.more(fixed, zero, [k]) for k in of.common([fixed, zero], columns)}
    best, least = (pick(gains, key=lambda k: gains[k].mean) for pick in (max, min))
    (k,) = range(len(demo.board.columns))
    drawn = demo.more(fixed, zero, [k])
    below = claim(
        drawn.mean < 0,
        "At one fixed setting, with images that a diffusion pipeline drew from the names, it has "
        f"{points(drawn)} points over zero-shot on the demo ({demo.record(fixed, k)}).",
    )
    above = claim(
        gains[least].mean > 0,
        f"With real labelled images the same fixed setting gains everywhere, from "
        f"{gains[least].mean:+.1f} on {of.board.columns[least].label} to {gains[best].mean:+.1f} "
        f"on {of.board.columns[best].label}.",
    )
    common = of.common([Cells("tipx", "val"), Cells("tip-adapter", "val")])
    ahead = of.more(Cells("tipx", "val"), Cells("tip-adapter", "val"), common)
    return f"""## TIP-X needs tuning or real images to gain

TIP-X publishes no constants: its figures come from a search on labels, which a name-only task
does not have. {below} The constants of that setting are ours, chosen with an eye on this task too,
and still it is not above zero-shot. {above}

Tuned on val, TIP-X is {points(ahead)} points ahead of Tip-Adapter over {len(common)} columns. Rows
`tipx` of the boards `demo-name-only` and `real-features`.
"""


def _names(of: Evidence, columns: Iterable[int]) -> str:
    return "; ".join(of.board.columns[k].label.replace(":openai", "") for k in columns)


def _draw_val(figure: Figure, data: Any) -> None:
    ax = figure.subplots()
    for place, (_, (mean, low, high)) in enumerate(data):
        ax.plot([low, high], [place, place], color="#0072b2", lw=1.5)
        ax.plot([mean], [place], "o", color="#0072b2", ms=5)
    ax.axvline(0, color="#888888", lw=0.8)
    ax.set_yticks(range(len(data)), [name for name, _ in data])
    ax.invert_yaxis()
    ax.set_xlabel(
        "points more with no val label than with all of val; 95 % interval over test images"
    )


def _draw_batches(figure: Figure, data: Any) -> None:
    ax = figure.subplots()
    ax.axhline(0, color="#888888", lw=0.8)
    for place, (name, estimates) in enumerate(data.items()):
        means = [mean for mean, _, _ in estimates]
        ax.errorbar(
            range(len(means)), means,
            [[m - low for m, low, _ in estimates], [high - m for m, _, high in estimates]],
            color=COLOURS[place % len(COLOURS)], ls=LINES[place // len(COLOURS)],
            marker=MARKERS[place], ms=4.5, lw=1.4, elinewidth=0.8, label=name,
        )  # fmt: skip
    ax.set_xticks(range(3), ["all test images", "64 of 10 classes", "64 of 4 classes"])
    ax.set_ylabel("points over zero-shot")
    ax.legend(fontsize=7, ncols=2)


def findings() -> tuple[str, list[Picture]]:
    """The page, and its pictures not yet drawn."""
    real, demo = Evidence("real-features"), Evidence("demo-name-only")
    val, val_data = _val(real)
    batches, batch_data = _transductive(real)
    text = wrapped(
        "\n".join(
            [
                f"""# What this suite has found so far

Every number below is computed from records in `leaderboards/records/` by `{AGAIN}`, which stops
at a sentence that the records no longer bear out; a test compares this page with them. A path
names a record, with the hash of its inputs in its name; `records verify` measures it again.
Brackets are 95 % intervals over test images, of paired differences. They say nothing about other
datasets: the board has ten bundles of six datasets, and some test sets are parts of the published
ones.
""",
                _tipx(real, demo),
                val,
                _test(real),
                batches,
                _streaming(real),
                _text(real),
            ]
        )
    )
    text += "\n"
    told = "see docs/findings.md"
    pictures = [
        Picture("findings-val", "Tuned without val labels", told, 7.0, 2.8, val_data, _draw_val),
        Picture("findings-batches", "Batches", told, 7.0, 3.6, batch_data, _draw_batches),
    ]
    return text, pictures


def stale(text: str, pictures: Sequence[Picture], root: Path = ROOT) -> list[str]:
    """Which committed files are not what the records give."""
    wrong = [] if (root / PAGE).read_text(encoding="utf-8") == text else [PAGE]
    for picture in pictures:
        path = root / PICTURES / f"{picture.name}.png"
        if not path.is_file() or drawn_from(path.read_bytes()) != picture.digest:
            wrong.append(path.relative_to(root).as_posix())
    return wrong


def main() -> None:
    """Write what is stale."""
    text, pictures = findings()
    wrong = stale(text, pictures) if (ROOT / PAGE).is_file() else [PAGE]
    write_atomic(ROOT / PAGE, text.encode())
    for picture in pictures:
        path = ROOT / PICTURES / f"{picture.name}.png"
        if path.relative_to(ROOT).as_posix() in wrong or not path.is_file():
            write_atomic(path, picture.files()[path.name])


if __name__ == "__main__":
    main()
