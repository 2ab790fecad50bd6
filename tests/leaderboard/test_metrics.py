"""Tables of other numbers than the accuracy."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

import pytest
from rich.console import Console, RenderableType

from susx_bench.cli.shared import _METRICS
from susx_bench.errors import OptionError
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats import as_csv, html_tables, latex, markdown, terminal
from susx_bench.leaderboard.make import by_metric, make
from susx_bench.leaderboard.metrics import METRICS
from susx_bench.leaderboard.order import best_first
from susx_bench.leaderboard.statistics import over_seeds, wilson
from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record
from susx_bench.results import Results
from tests.records.example import make_record

SCORES = "its scores are labels spread over a graph"


def printed(parts: list[RenderableType]) -> str:
    file = io.StringIO()
    console = Console(file=file, width=200)
    for part in parts:
        console.print(part)
    return file.getvalue()


def record(method: str, seed: int = 0, **changes: Any) -> Record:
    own: dict[str, Any] = {"hparams": {}, "tuned_on": "fixed"}
    if method == "zero-shot":
        own |= {"support": "none", "support_images": 0, "shots": 0, "draw": "", "views": 0}
    key = sha256_json([method, seed, sorted(map(str, changes.items()))])
    own |= {"support_sha256": sha256_json(seed), "input_sha256": key, "seed": seed}
    return make_record(method=method, **own | changes)


@pytest.fixture
def records() -> dict[str, Record]:
    whole: dict[str, Any] = {"macro_f1": 50.0, "top5": 200 / 3, "ece": 20.0, "nll": 1.5}
    runs = [
        record("zero-shot", **whole),
        *(
            record("tipx", seed, macro_f1=60.0 + seed, top5=100.0, ece=5.0 * seed, nll=0.5 + seed)
            for seed in (1, 2)
        ),
        record("tip-adapter", 1, macro_f1=40.0, top5=100.0, blank={"ece": SCORES, "nll": SCORES}),
    ]
    return {f"records/{i}.json": run for i, run in enumerate(runs)}


def board_of(records: dict[str, Record], metric: str) -> Board:
    board = make("toy", "Toy", "", [], [], records, baseline="zero-shot")
    return best_first(by_metric(board, records, METRICS[metric]))


def numbers(board: Board) -> dict[str, Any]:
    return {row.method: row.cells[0] for row in board.rows}


def test_each_metric_of_a_record_is_a_choice() -> None:
    assert tuple(METRICS) == _METRICS
    assert set(METRICS) <= set(Record.model_fields)


def test_means_and_intervals(records: dict[str, Record]) -> None:
    f1, top5 = numbers(board_of(records, "macro_f1")), numbers(board_of(records, "top5"))

    assert f1["tipx"].mean == 61.5
    assert f1["tipx"].spread == pytest.approx(math.sqrt(0.5))
    assert (f1["tipx"].low, f1["tipx"].high) == over_seeds([61.0, 62.0])
    assert (f1["zero-shot"].low, f1["zero-shot"].high) == (None, None)  # F1 is no share of images
    assert (top5["zero-shot"].low, top5["zero-shot"].high) == wilson(2, 3)
    assert f1["tipx"].gain == 11.5


def test_lower_is_better_where_it_is(records: dict[str, Record]) -> None:
    board = board_of(records, "ece")
    cells = numbers(board)

    assert [row.method for row in board.rows] == ["tipx", "zero-shot", "tip-adapter"]
    assert (cells["tipx"].place, cells["tipx"].rank) == (1, 1)
    assert (cells["zero-shot"].place, cells["zero-shot"].rank) == (2, 2)
    assert board_of(records, "macro_f1").rows[0].method == "tipx"


def test_tests_and_published_figures_are_of_the_accuracy(records: dict[str, Record]) -> None:
    assert numbers(make("toy", "Toy", "", [], [], records, baseline="zero-shot"))["tipx"].p
    for cell in filter(None, numbers(board_of(records, "nll")).values()):
        assert (cell.p, cell.p_holm, cell.published) == (None, None, ())


def test_every_format_shows_it_and_says_what_is_blank(records: dict[str, Record]) -> None:
    board = board_of(records, "nll")
    why = f"tip-adapter: 1 number of this kind is blank, because {SCORES}."
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))

    for text in (markdown(board), latex(board), printed(terminal(board))):
        plain = re.sub(r"\s+", " ", text.replace("\\", ""))
        assert "egative log-likelihood in nats, lower is better." in plain
        assert why in plain
        assert "2.000" in plain
    assert "2.000" in html_tables(board)
    by_method = {row["method"]: row for row in rows}
    assert by_method["tipx"]["nll"] == "2.0000"
    assert list(rows[0]).index("nll") < list(rows[0]).index("sd") < list(rows[0]).index("accuracy")
    assert by_method["tip-adapter"]["nll"] == ""


def test_the_table_of_accuracies_has_the_others_in_its_csv(records: dict[str, Record]) -> None:
    board = make("toy", "Toy", "", [], [], records)
    by_method = {row["method"]: row for row in csv.DictReader(io.StringIO(as_csv(board)))}

    assert by_method["tipx"]["ece"] == "7.5000"
    assert by_method["tip-adapter"]["ece"] == ""
    assert by_method["tip-adapter"]["macro_f1"] == "40.0000"


def test_records_of_before_say_so() -> None:
    old = {"records/0.json": record("zero-shot")}

    with pytest.raises(OptionError, match="measured before it was counted"):
        board_of(old, "ece")


def test_results_by_another_metric(records: dict[str, Record]) -> None:
    results = Results(list(records.values()))

    assert "top-1 accuracy in %" in repr(results)
    assert "macro F1 in %" in repr(results.by("macro_f1"))
    assert "61.5" in results.by("macro_f1")._repr_html_()
    with pytest.raises(OptionError, match="metric 'f1': not one of accuracy"):
        results.by("f1")
