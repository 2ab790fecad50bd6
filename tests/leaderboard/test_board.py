from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from susx_bench.errors import RecordError
from susx_bench.leaderboard.board import Board, Cell
from susx_bench.leaderboard.make import make
from susx_bench.leaderboard.published import Figure
from susx_bench.leaderboard.statistics import holm, paired
from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record, pack
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
            "support_sha256": sha256_json([changes.get("dataset"), changes.get("seed", 1)]),
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
    assert [ranks.rows for ranks in board.ranks] == [(0, 1)]
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
        ({"tuned_on": "fixed", "chosen_here": True}, "¶", False),
        ({"tuned_on": "test", "chosen_here": True}, "†¶", False),
        ({"regime": "streaming", "chosen_here": True}, "¶ˢ", False),
        ({"tuned_on": "val", "regime": "transductive"}, "ᵗ", True),
        ({"tuned_on": "val", "regime": "streaming"}, "ˢ", True),
    ],
)
def test_marks_and_who_is_ranked(changes: dict[str, Any], mark: str, ranked: bool) -> None:
    """Ranked among those of its own section, or not at all."""
    records = Records()
    records.add("tipx", 50, **changes)
    records.add("ape", 40, **changes)
    board = records.board()
    found = cell(board, 0, 0)

    assert board.rows[0].marks == found.marks == mark
    assert board.marks == tuple(mark)
    assert found.ranked == ranked
    assert (found.rank, found.place) == ((1, 1) if ranked else (None, 0))
    assert cell(board, 1, 0).place == (2 if ranked else 0)
    assert [ranks.rows for ranks in board.ranks] == ([(0, 1)] if ranked else [])


def test_what_was_chosen_with_an_eye_on_a_dataset_is_ranked_on_the_others() -> None:
    """Marked where it was, whatever its row does elsewhere; nobody is compared with it there."""
    records = Records()
    for dataset, here in (("a", True), ("b", False)):
        records.add("tip-adapter", 30, dataset=dataset, tuned_on="fixed", chosen_here=here)
        records.add("tipx", 40, dataset=dataset, tuned_on="fixed", chosen_here=here)
        records.add("ape", 35, dataset=dataset, tuned_on="fixed")
    board = records.board()
    (a,) = (i for i, column in enumerate(board.columns) if column.task.dataset == "a")
    found = {row.method: (row.cells[a], row.cells[1 - a]) for row in board.rows}

    said = {
        method: [(c.marks, c.rank, c.place, c.p is None) for c in cells if c]
        for method, cells in found.items()
    }
    assert said == {
        "tip-adapter": [("¶", None, 0, True), ("", 3, 0, True)],
        "tipx": [("¶", None, 0, True), ("", 1, 1, False)],
        "ape": [("", 1, 0, True), ("", 2, 2, False)],
    }
    assert board.marks == ("¶",)
    assert board.ranks == ()


OTHERS: list[dict[str, Any]] = [
    {"regime": "transductive"},
    {"regime": "transductive", "batches": "64:4"},
    {"regime": "streaming", "order": 1},
    {"tuned_on": "few-val"},
    {"tuned_on": "val"},
    {"tuned_on": "published"},
    {"tuned_on": "test"},
    {"regime": "transductive", "tuned_on": "val"},
]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_what_saw_more_outranks_nothing_that_saw_less(changes: dict[str, Any]) -> None:
    """Rank, place, gain and p of the inductive rows are those without the other row."""
    records = Records()
    for dataset in ("a", "b"):
        records.add("zero-shot", 20, dataset=dataset)
        for method, right in (("tip-adapter", 30), ("tipx", 40)):
            records.add(method, right, dataset=dataset, tuned_on="fixed")
    alone = records.board()
    for dataset in ("a", "b"):
        more = {"tuned_on": "fixed", **changes, "dataset": dataset}
        records.add("transclip-fs", 50, **more)
    board = records.board()

    assert [part.rows for part in board.sections] == [(0, 1, 2), (3,)]
    assert board.rows[:3] == alone.rows
    assert (board.ranks, cell(board, 3, 0).place) == (alone.ranks, 0)
    assert [row.baseline for row in board.rows] == [1, None, 1, None]
    assert (cell(board, 3, 0).p, cell(board, 3, 0).gain) == (None, None)


def test_what_has_nothing_to_choose_stands_with_most_and_serves_all_of_its_regime() -> None:
    records = Records()
    records.add("zero-shot", 20)
    records.add("tipx", 25, tuned_on="fixed")
    for method in ("tipx", "ape"):
        records.add(method, 30, tuned_on="val")
    records.add("transclip", 30, tuned_on="fixed", regime="transductive")
    board = records.board(baseline="zero-shot")

    assert [row.method for row in board.rows] == ["tipx", "zero-shot", "tipx", "ape", "transclip"]
    assert [part.rows for part in board.sections] == [(0,), (1, 2, 3), (4,)]
    assert [row.baseline for row in board.rows] == [1, None, 1, 1, None]


@pytest.mark.parametrize("tuned_on", ["val", "fixed"])
def test_what_is_trained_is_compared_with_what_is_trained(tuned_on: str) -> None:
    """Not with the baseline of the others either, which has nothing to choose."""
    records = Records()
    records.add("zero-shot", 20)
    records.add("tip-adapter", 30, tuned_on=tuned_on)
    records.add("tipx", 33, tuned_on=tuned_on)
    records.add("linear-probe", 50, tuned_on=tuned_on, trained=True)
    records.add("lp++", 45, tuned_on=tuned_on, trained=True)
    board = records.board()
    found = {row.method: row.cells[0] for row in board.rows}
    probe, tipx = found["linear-probe"], found["tipx"]

    assert probe is not None
    assert tipx is not None
    assert [[board.rows[i].method for i in part.rows] for part in board.sections] == [
        ["zero-shot", "tip-adapter", "tipx"],
        ["linear-probe", "lp++"],
    ]
    assert board.sections[1].label.startswith("trained, inductive; ")
    assert (probe.marks, probe.rank, probe.gain, probe.p) == ("ᵍ", 1, None, None)
    assert (tipx.marks, tipx.rank, tipx.place) == ("", 1, 1)
    assert "ᵍ" in board.marks


def test_fixed_and_support_see_the_same() -> None:
    records = Records()
    for tune, right in (("fixed", 30), ("support", 32)):
        records.add("tipx", right, tuned_on=tune)
    board = records.board()

    assert len(board.sections) == 1
    assert [cell(board, row, 0).rank for row in (0, 1)] == [2, 1]


def test_settings_are_ranked_apart() -> None:
    records = Records()
    for setting, order in (("few-shot", 1), ("name-only", -1)):
        for place, method in enumerate(("tipx", "ape")):
            right = 30 + order * place
            for dataset in ("a", "b"):
                records.add(method, right, dataset=dataset, setting=setting, tuned_on="fixed")
    board = records.board()

    assert [(ranks.label[-9:], ranks.ranking.ranks) for ranks in board.ranks] == [
        (" few-shot", (2, 1)),
        ("name-only", (1, 2)),
    ]
    assert [row.rank for row in board.rows] == [None, None]


def test_another_split_is_a_column_of_its_own_with_its_mark() -> None:
    records = Records()
    records.add("tipx", 50)
    records.add("tipx", 40, protocol="hub-official")
    board = records.board()

    assert [c.marks for c in board.columns] == ["§", ""]
    assert len(board.groups) == 2
    assert board.marks == ("§",)


@pytest.mark.parametrize("given", ["./mine", "/data/mine", "~/mine.csv", "hf:org/mine"])
@pytest.mark.parametrize("protocol", ["custom", "susx-bench 50/20/30", "hub-official"])
def test_data_of_ones_own_has_no_published_split_to_differ_from(given: str, protocol: str) -> None:
    records = Records()
    records.add("tipx", 50, dataset_given=given, protocol=protocol)
    board = records.board()

    assert (board.columns[0].marks, board.marks) == ("", ())


def test_a_method_is_compared_under_its_own_tuning() -> None:
    records = Records()
    for tune in ("fixed", "val"):
        records.add("tip-adapter", 30 if tune == "fixed" else 40, tuned_on=tune)
    for tune in ("val", "support"):
        records.add("tipx", 45, tuned_on=tune)
    board = records.board()

    assert rows(board) == [
        ("tip-adapter", "fixed"),
        ("tipx", "support"),
        ("tip-adapter", "val"),
        ("tipx", "val"),
    ]
    assert [row.baseline for row in board.rows] == [None, 0, None, 2]
    assert [cell(board, row, 0).gain for row in (1, 3)] == pytest.approx([25, 25 / 3])


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
        "tda, sees 64 test images of 4 classes",
    ]


def test_columns_of_one_dataset_count_once_in_the_ranking(full: Records) -> None:
    (ranks,) = full.board().ranks

    assert ranks.ranking.datasets == 2
    assert ranks.ranking.ranks == (3, 2, 1)


def test_several_prompts_and_supports_are_rows_of_one_table() -> None:
    """The name-only main table: what a method reads and looks at is its own affair."""
    records = Records()
    for dataset, size in (("a", 100), ("b", 16)):
        changes = {"setting": "name-only", "dataset": dataset, "seed": 0, "draw": ""}
        records.add("zero-shot", 20, **changes, prompts="ensemble")
        records.add(
            "cupl",
            22,
            **changes,
            **{"prompts": "cupl", "support": "none", "support_images": 0, "shots": 0},
            **{"hparams": {}, "tuned_on": "fixed"},
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
        "cupl",
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

    assert [column.label for column in records.board().columns] == ["S = 1", "S = 4"]


def test_orders_of_a_stream_are_runs() -> None:
    records = Records()
    for order in (1, 2):
        records.add("tda", 40 + order, order=order, seed=0, regime="streaming")

    assert len(cell(records.board(), 0, 0).records) == 2


@pytest.mark.parametrize(("orders", "worst"), [(9, None), (10, 1), (25, 3)])
def test_the_worst_tenth_of_orders_has_a_mean_of_its_own(orders: int, worst: int | None) -> None:
    records = Records()
    for order in range(1, orders + 1):
        records.add("oga", 20 + order, order=order, seed=0, regime="streaming")
    found = cell(records.board(), 0, 0)

    if worst is None:
        assert found.tail is None
    else:
        expected = sum(100 * (20 + order) / N for order in range(1, worst + 1)) / worst
        assert found.tail == pytest.approx(expected)


def two(
    first: dict[str, Any], second: dict[str, Any], seeds: tuple[int, ...] = (1, 2, 3)
) -> Records:
    """A method measured on two days, with other inputs, and another one that was not."""
    records = Records()
    for day, changes in ((1, first), (2, second)):
        for seed in seeds:
            at = f"2026-01-0{day}T10:00:00+00:00"
            records.add("tipx", 30 + 10 * day, seed=seed, **{"started": at, **changes})
    records.add("zero-shot", 20)
    return records


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({}, {"method_version": "2"}, "version 1 of 2026-01-01 10:00+00:00, replaced by version 2"),
        (
            {"method_source": "a" * 64},
            {"method_source": "b" * 64},
            "version 1, source aaaaaaaaaaaa of 2026-01-01 10:00+00:00, replaced by version 1, "
            "source bbbbbbbbbbbb of 2026-01-02 10:00+00:00",
        ),
        (
            {"logit_scale": 50.0},
            {"logit_scale": 100.0},
            "3 records of method tipx are left out, because newer ones replace them: logit "
            "scale 50.0 of 2026-01-01 10:00+00:00, replaced by logit scale 100.0 of 2026-01-02",
        ),
        ({}, {"support_sha256": "9" * 64}, "replaced by support 999999999999 of 2026-01-02"),
    ],
)
def test_the_newest_inputs_count_and_the_others_are_named(
    first: dict[str, Any], second: dict[str, Any], told: str
) -> None:
    records = two(first, second, seeds=(1,) if "support_sha256" in second else (1, 2, 3))
    board = records.board()

    assert [row.method for row in board.rows] == ["zero-shot", "tipx"]
    assert cell(board, 1, 0).mean == pytest.approx(100 * 50 / N)
    assert board.records + sum(int(line.split()[0]) for line in board.left_out) == len(records)
    assert any(told in line for line in board.left_out)


def test_the_order_of_the_files_does_not_say_what_is_newest() -> None:
    records = two({"method_source": "a" * 64}, {"method_source": "b" * 64})
    backwards = Records(reversed(records.items()))
    zones = two(
        {"method_source": "a" * 64, "started": "2026-01-01T23:30:00-05:00"},
        {"method_source": "b" * 64, "started": "2026-01-02T01:00:00+00:00"},
    )

    assert cell(backwards.board(), 1, 0).mean == cell(records.board(), 1, 0).mean
    assert cell(zones.board(), 1, 0).mean == pytest.approx(100 * 40 / N)  # 04:30 is later


def test_a_row_is_of_one_source_and_what_only_an_older_one_has_is_blank() -> None:
    records = Records()
    for dataset in ("a", "b"):
        at = "2026-01-01T10:00:00+00:00"
        records.add("tipx", 30, dataset=dataset, method_source="a" * 64, started=at)
    at = "2026-01-02T10:00:00+00:00"
    records.add("tipx", 40, dataset="a", method_source="b" * 64, started=at)
    board = records.board()

    assert [column.task.dataset for column in board.columns] == ["a"]
    assert "1 cell is blank until measured again" in board.left_out[0]


def test_a_new_prompt_file_replaces_what_read_the_old_one_in_all_rows() -> None:
    records = Records()
    for method, prompts, day in (("tipx", "3", 1), ("ape", "3", 1), ("ape", "4", 2)):
        at = f"2026-01-0{day}T10:00:00+00:00"
        records.add(method, 30 + day, prompts_sha256=prompts * 64, started=at)
    board = records.board()

    assert [row.method for row in board.rows] == ["ape"]
    assert board.left_out == (
        "2 records of prompts single are left out, because newer ones replace them: prompts "
        "333333333333 of 2026-01-01 10:00+00:00, replaced by prompts 444444444444 of 2026-01-02 "
        "10:00+00:00. 1 cell is blank until measured again.",
    )


def test_a_copy_counts_once_and_a_contradiction_is_refused() -> None:
    records = Records()
    records.add("tipx", 40)
    same = records["records/000.json"]
    records["records/copy.json"] = same
    board = records.board()

    assert board.left_out == (
        "records/copy.json is left out, because it is a copy of records/000.json.",
    )
    records["records/copy.json"] = same.model_copy(update={"predictions_sha256": "9" * 64})
    with pytest.raises(RecordError, match=r"000.json and records/copy.json have the same inputs"):
        records.board()


def folders(*given: str, **changes: Any) -> Records:
    """A method on data of one name, each asked for as `given` says."""
    records = Records()
    for place, path in enumerate(given):
        for seed in (1, 2, 3):
            records.add(
                "tipx",
                20 + 10 * place + seed,
                seed=seed,
                dataset="images",
                dataset_given=path,
                protocol="custom",
                split_sha256=f"{place}" * 64,
                support_sha256=f"{place}{seed}" * 32,
                **changes,
            )
    return records


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("./pets/images", "./food/images"), ["pets/images", "food/images"]),
        (("~/a/x/images", "~/b/x/images"), ["a/x/images", "b/x/images"]),
        (("./images", "../images"), ["images", "../images"]),
        (("hf:a/images", "hf:b/images"), ["hf:a/images", "hf:b/images"]),
        (("hf:a/images@1", "hf:a/images@2"), ["images@1", "images@2"]),
    ],
)
def test_folders_of_one_name_are_columns_of_their_own(
    given: tuple[str, ...], names: list[str]
) -> None:
    board = folders(*given).board()

    assert sorted(column.task.dataset for column in board.columns) == sorted(names)
    assert len({column.label for column in board.columns}) == 2
    means = [c.mean for c in board.rows[0].cells if c]
    assert sorted(means) == pytest.approx([100 * 22 / N, 100 * 32 / N])


def test_folders_stand_in_the_suites_order() -> None:
    records = folders("./a/images", "./b/images")
    for order in (["./b/images", "./a/images"], ["./a/images", "./b/images"]):
        board = make("x", "X", "", [], order, records)

        assert [f"./{column.task.dataset}" for column in board.columns] == order


def test_one_folder_asked_for_in_two_ways_is_one_column() -> None:
    records = folders("./pets/images")
    for path, record in list(records.items())[:2]:
        records[path] = record.model_copy(update={"dataset_given": "~/pets/images"})
    board = records.board()

    assert [column.label for column in board.columns] == ["images, S = 4"]
    assert cell(board, 0, 0).seeds == (1, 2, 3)


def test_a_folder_that_changed_is_another_column_and_never_averaged() -> None:
    board = folders("./images", "./images").board()

    assert [column.label for column in board.columns] == [
        f"images, data {column.task.data[:6]}" for column in board.columns
    ]
    assert [len(group.columns) for group in board.groups] == [1, 1]
    assert board.ranks == ()


def test_other_class_names_are_other_data() -> None:
    records = folders("./images")
    for path, record in list(records.items()):
        renamed = [(f"{name}!", *rest) for name, *rest in record.classes]
        changes = {"classes": renamed, "input_sha256": f"new{record.input_sha256[3:]}"}
        records[path.replace("records", "renamed")] = record.model_copy(update=changes)

    assert len(records.board().columns) == 2


def test_seeds_that_draw_the_same_images_are_one_run_with_its_interval() -> None:
    records = Records()
    for seed in (1, 2, 3):
        records.add("tipx", 45, seed=seed, support_sha256="9" * 64)
    one = Records()
    one.add("tipx", 45)
    board = records.board()
    found, alone = cell(board, 0, 0), cell(one.board(), 0, 0)

    assert (found.spread, found.low, found.high) == (None, alone.low, alone.high)
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low > 20
    assert found.seeds == (1,)
    assert found.alike == ((1, 2, 3),)


def test_other_images_with_the_same_accuracy_are_several_runs() -> None:
    records = Records()
    for seed in (1, 2, 3):
        records.add("tipx", 45, seed=seed)

    assert cell(records.board(), 0, 0).spread == 0
    assert cell(records.board(), 0, 0).alike == ()


def test_few_val_draws_twice() -> None:
    records = Records()
    for seed, predicted in ((1, "a"), (2, "b"), (3, "b")):
        same = {"support_sha256": "9" * 64, "predictions_sha256": predicted * 64}
        records.add("tipx", 45, seed=seed, tuned_on="few-val", **same)

    assert cell(records.board(), 0, 0).seeds == (1, 2)
    assert cell(records.board(), 0, 0).alike == ((2, 3),)


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


def test_a_changed_cell_is_what_dataclasses_replaces(full: Records) -> None:
    first = cell(full.board(), 1, 0)

    assert first.changed(rank=3.0, gain=None) == dataclasses.replace(first, rank=3.0, gain=None)
    assert first.changed() == first
