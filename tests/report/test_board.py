from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from susx_bench.errors import RecordError
from susx_bench.records.record import Record, pack
from susx_bench.report.board import Board, Cell, make
from susx_bench.report.published import Figure
from susx_bench.report.statistics import holm, paired
from tests.records.example import make_record

N = 60


class Records(dict[str, Record]):
    """Records of a table, added one by one."""

    def add(self, method: str, right: int, **changes: Any) -> None:
        """Add a run that has the first `right` of the test images right."""
        bits = np.arange(N) < right
        if method == "zero-shot":
            changes |= {
                "support": "none",
                "support_images": 0,
                "shots": 0,
                "seed": 0,
                "hparams": {},
            }
            changes |= {"tuned_on": "fixed", "views": 0, "draw": ""}
        changes = {
            "n_test": N,
            "correct": right,
            "accuracy": 100 * right / N,
            "right": pack(bits),
            "input_sha256": f"{len(self):064d}",
        } | changes
        self[f"records/{len(self):03d}.json"] = make_record(method=method, **changes)

    def board(self, figures: list[Figure] | None = None, baseline: str | None = None) -> Board:
        order = ["zero-shot", "tip-adapter", "tipx"]
        return make("x", "X", "", order, ["b", "a"], self, figures or [], baseline)


def cell(board: Board, row: int, column: int) -> Cell:
    found = board.rows[row].cells[column]
    assert found is not None
    return found


def rows(board: Board) -> list[tuple[str, str]]:
    return [(row.label, row.tuning) for row in board.rows]


@pytest.fixture
def full() -> Records:
    """Three methods on two datasets at two numbers of shots, three draws each."""
    records = Records()
    for d, dataset in enumerate(("a", "b")):
        records.add("zero-shot", 30 + d, dataset=dataset)
        for shots in (1, 4):
            for seed in (1, 2, 3):
                records.add("tip-adapter", 33 + d + seed, dataset=dataset, shots=shots, seed=seed)
                records.add("tipx", 40 + d + shots, dataset=dataset, shots=shots, seed=seed)
    return records


def test_columns_go_by_shots_and_then_in_the_suites_order(full: Records) -> None:
    board = full.board()

    assert [c.label for c in board.columns] == ["b, S = 1", "a, S = 1", "b, S = 4", "a, S = 4"]
    assert [(g.label, g.columns) for g in board.groups] == [("S = 1", (0, 1)), ("S = 4", (2, 3))]
    assert rows(board) == [("zero-shot", "–"), ("tip-adapter", "val"), ("tipx", "val")]
    assert dict(board.facts)["encoder"] == "RN50:openai"
    assert "shots" not in dict(board.facts)


def test_a_cell_is_mean_spread_and_students_interval(full: Records) -> None:
    found = cell(full.board(), 1, 0)
    accuracies = [100 * (34 + seed) / N for seed in (1, 2, 3)]
    low, high = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))

    assert found.mean == pytest.approx(np.mean(accuracies))
    assert found.spread == pytest.approx(np.std(accuracies, ddof=1))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.seeds == (1, 2, 3)
    assert [full[path].accuracy for path in found.records] == accuracies


def test_zero_shot_stands_in_every_column_of_its_dataset(full: Records) -> None:
    board = full.board()
    means = [cell(board, 0, column).mean for column in range(4)]

    assert means == pytest.approx([100 * 31 / N, 50, 100 * 31 / N, 50])
    assert cell(board, 0, 0).spread is None


def test_averages_go_over_the_datasets_of_a_group(full: Records) -> None:
    board = full.board()

    assert board.rows[2].averages == pytest.approx((100 * 41.5 / N, 100 * 44.5 / N))


def test_a_missing_cell_is_a_blank_without_average_and_rank(full: Records) -> None:
    for path in [p for p, r in full.items() if (r.method, r.dataset, r.shots) == ("tipx", "a", 4)]:
        del full[path]
    board = full.board()

    assert board.rows[2].cells[3] is None
    assert board.rows[2].averages[0] is not None
    assert board.rows[2].averages[1] is None
    assert board.rows[2].rank is None
    assert board.ranked == (0, 1)
    assert [row.rank for row in board.rows[:2]] == [2, 1]


def test_every_test_is_mcnemars_with_holm_over_the_table(full: Records) -> None:
    board = full.board()
    p, adjusted = [], []
    for row in (0, 2):
        for column in range(4):
            ours, theirs = (cell(board, r, column) for r in (row, 1))
            bits = [
                np.array([np.arange(N) < full[path].correct for path in found.records])
                for found in (ours, theirs)
            ]
            p.append(paired(*bits))
            assert ours.p is not None
            assert ours.gain == pytest.approx(ours.mean - theirs.mean)
            adjusted.append(ours.p_holm)
            assert ours.p == p[-1]

    assert board.baseline == "tip-adapter"
    assert adjusted == holm(p)
    assert cell(board, 1, 0).p is None


def test_the_best_is_first_and_ties_as_printed_share_it() -> None:
    records = Records()
    for method, right in (("tip-adapter", 5000), ("tipx", 5003), ("zz", 4980)):
        changes = {"n_test": 10_000, "accuracy": right / 100, "correct": right}
        records.add(method, 0, **changes)
    board = records.board()

    assert [cell(board, row, 0).place for row in range(3)] == [1, 1, 2]
    assert [cell(board, row, 0).rank for row in range(3)] == [2, 1, 3]


@pytest.mark.parametrize(
    ("changes", "mark", "ranked"),
    [
        ({"tuned_on": "test"}, "†", False),
        ({"tuned_on": "test", "setting": "name-only"}, "†", False),
        ({"tuned_on": "val", "setting": "name-only"}, "‡", False),
        ({"tuned_on": "few-val", "setting": "name-only"}, "‡", False),
        ({"tuned_on": "val"}, "", True),
        ({"tuned_on": "fixed", "setting": "name-only"}, "", True),
        ({"tuned_on": "val", "regime": "transductive"}, "ᵗ", True),
        ({"tuned_on": "val", "regime": "streaming"}, "ˢ", True),
    ],
)
def test_marks_and_who_is_ranked(changes: dict[str, Any], mark: str, ranked: bool) -> None:
    records = Records()
    records.add("tipx", 50, **changes)
    same = {name: changes[name] for name in ("setting",) if name in changes}
    records.add("tip-adapter", 40, **{"tuned_on": "fixed", **same})
    board = records.board()
    found = cell(board, 1, 0)

    assert board.rows[1].marks == found.marks == mark
    assert board.marks == ((mark,) if mark else ())
    assert found.ranked == ranked
    assert (found.rank, found.place) == ((1, 1) if ranked else (None, 0))
    assert cell(board, 0, 0).place == (2 if ranked else 1)
    assert board.ranked == ((0, 1) if ranked else ())


def test_another_split_is_a_column_of_its_own_with_its_mark() -> None:
    records = Records()
    records.add("tipx", 50)
    records.add("tipx", 40, protocol="hub-official")
    board = records.board()

    assert [c.marks for c in board.columns] == ["§", ""]
    assert len(board.groups) == 2
    assert board.marks == ("§",)


def test_a_method_is_compared_under_its_own_tuning() -> None:
    records = Records()
    for tune in ("fixed", "val"):
        records.add("tip-adapter", 30 if tune == "fixed" else 40, tuned_on=tune)
    for tune in ("val", "support"):
        records.add("tipx", 45, tuned_on=tune)
    board = records.board()

    assert rows(board)[2:] == [("tipx", "support"), ("tipx", "val")]
    assert [row.baseline for row in board.rows] == [None, None, 0, 1]
    assert [cell(board, row, 0).gain for row in (2, 3)] == pytest.approx([25, 25 / 3])


def test_only_the_same_draws_are_compared_image_by_image() -> None:
    records = Records()
    for seed, right in ((1, 30), (2, 45)):
        records.add("tip-adapter", right, seed=seed)
    records.add("tipx", 45, seed=2)
    board = records.board()

    assert cell(board, 1, 0).p == 1.0


def test_official_code_and_batches_are_rows_of_their_own() -> None:
    records = Records()
    records.add("tipx", 45)
    records.add("tipx", 44, official=True)
    records.add("tda", 44, batches="64:4", regime="transductive")

    assert [label for label, _ in rows(records.board())] == [
        "tipx",
        "tipx (official code)",
        "tda, batches 64:4",
    ]


def test_columns_of_one_dataset_count_once_in_the_ranking(full: Records) -> None:
    ranks = full.board().ranking

    assert ranks is not None
    assert ranks.datasets == 2
    assert ranks.ranks == (3, 2, 1)


def test_several_prompts_and_supports_are_rows_of_one_table() -> None:
    """The name-only main table: what a method reads and looks at is its own affair."""
    records = Records()
    for dataset, size in (("a", 100), ("b", 16)):
        changes = {"setting": "name-only", "dataset": dataset, "seed": 0, "draw": ""}
        records.add("zero-shot", 20, **changes, prompts="ensemble")
        records.add(
            "cupl", 22, **changes, prompts="cupl", support="none", support_images=0, shots=0
        )
        for support, right in (("sus-sd", 30), ("sus-lc", 33)):
            more = {"support": support, "shots": size, "tuned_on": "fixed", "prompts": "combined"}
            records.add("tipx", right, **changes, **more)
            records.add("tip-adapter", right - 2, **changes, **more)
    board = records.board()

    assert [column.label for column in board.columns] == ["b", "a"]
    assert len(board.groups) == 1
    assert [row.label for row in board.rows] == [
        "zero-shot, prompts ensemble",
        "tip-adapter, sus-lc",
        "tip-adapter, sus-sd",
        "tipx, sus-lc",
        "tipx, sus-sd",
        "cupl, prompts cupl",
    ]
    assert ("prompts", "combined") in board.facts
    assert [row.baseline for row in board.rows] == [1, None, None, 1, 2, 1]
    assert all(average is not None for row in board.rows for average in row.averages)


def test_rows_say_their_prompts_where_a_method_has_several() -> None:
    records = Records()
    for prompts in ("photo", "cupl"):
        records.add("tipx", 30, prompts=prompts)
    records.add("zero-shot", 20, prompts="photo", support="none", support_images=0, shots=0)
    board = records.board()

    assert [row.label for row in board.rows] == [
        "zero-shot, prompts photo",
        "tipx, prompts cupl",
        "tipx, prompts photo",
    ]
    assert "prompts" not in dict(board.facts)


def test_drawn_parts_of_a_made_support_set_are_columns() -> None:
    records = Records()
    for shots in (1, 4):
        records.add("tipx", 30 + shots, setting="name-only", support="sus-sd", shots=shots)

    assert [column.label for column in records.board().columns] == ["toy, S = 1", "toy, S = 4"]


def test_orders_of_a_stream_are_runs() -> None:
    records = Records()
    for order in (1, 2):
        records.add("tda", 40 + order, order=order, seed=0, regime="streaming")

    assert len(cell(records.board(), 0, 0).records) == 2


def test_two_records_of_one_cell_are_refused_with_both_named() -> None:
    records = Records()
    records.add("tipx", 40)
    records.add("tipx", 41, weights_sha256="9" * 64)

    with pytest.raises(
        RecordError, match=r"000.json and records/001.json .* differ in weights_sha256"
    ):
        records.board()


def figure(**changes: Any) -> Figure:
    values: dict[str, Any] = {
        "method": "tipx",
        "dataset": "toy",
        "encoder": "RN50:openai",
        "setting": "few-shot",
        "shots": 4,
        "prompts": None,
        "tuned_on": "val",
        "accuracy": 60.0,
        "source": "somewhere",
        "primary": True,
        "note": "",
    }
    return Figure(**(values | changes))


@pytest.mark.parametrize(
    ("record", "published", "fits"),
    [
        ({}, {}, True),
        ({}, {"method": "tip-adapter"}, False),
        ({}, {"dataset": "dtd"}, False),
        ({}, {"encoder": "ViT-B-16:openai"}, False),
        ({}, {"setting": "name-only", "shots": None}, False),
        ({}, {"shots": 8}, False),
        ({}, {"tuned_on": "test"}, False),
        ({}, {"prompts": "cupl"}, False),
        ({}, {"prompts": "single"}, True),
        ({"protocol": "hub-official"}, {}, False),
        ({"protocol": "bundle"}, {}, False),
        ({"skipped": ["test/1"]}, {}, False),
    ],
)
def test_a_published_figure_stands_beside_what_it_fits(
    record: dict[str, Any], published: dict[str, Any], fits: bool
) -> None:
    records = Records()
    records.add("tipx", 37, **record)

    found = cell(records.board([figure(**published)]), 0, 0).published

    assert len(found) == fits
    if fits:
        assert found[0].difference == pytest.approx(100 * 37 / N - 60)
        assert found[0].inside


def test_a_zero_shot_figure_fits_in_any_setting() -> None:
    records = Records()
    records.add("zero-shot", 10)
    zero = figure(
        method="zero-shot", setting="name-only", shots=None, tuned_on="fixed", accuracy=60.0
    )
    found = cell(records.board([zero]), 0, 0).published

    assert [compared.inside for compared in found] == [False]
    assert math.isclose(found[0].difference, 100 * 10 / N - 60)
