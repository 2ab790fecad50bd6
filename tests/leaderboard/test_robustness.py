"""Accuracy on a robustness set, and how far below the clean test set of the same classes it is."""

from __future__ import annotations

import json

import pytest

from susx_bench.data.facts import imagenet
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.formats.csv import as_csv
from susx_bench.leaderboard.formats.markdown import markdown
from susx_bench.leaderboard.formats.sheet import sheets
from susx_bench.leaderboard.formats.terminal import terminal
from susx_bench.leaderboard.make import make
from susx_bench.leaderboard.page.data import board_json
from susx_bench.leaderboard.robustness import drops
from susx_bench.records.record import Record
from susx_bench.registry import DATASETS
from tests.leaderboard.synthetic import synthetic
from tests.leaderboard.test_metrics import printed

NAMES = ("imagenet", "imagenet-v2", "imagenet-a-clean", "imagenet-a", "dtd")
METHODS = ("zero-shot", "tipx", "tip-adapter")


def board_of(records: dict[str, Record]) -> Board:
    return make("robust", "Robust", "", METHODS, NAMES, records)


def mean(records: dict[str, Record], method: str, dataset: str) -> float:
    found = [r.accuracy for r in records.values() if (r.method, r.dataset) == (method, dataset)]
    return sum(found) / len(found)


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return synthetic("robust", METHODS, NAMES, (4,), (1, 2))


def test_drops_are_the_clean_mean_less_the_own_one(records: dict[str, Record]) -> None:
    board = board_of(records)
    table = drops(board)
    columns = [column.task.dataset for column in board.columns]

    assert {c: columns[column.clean] for c, column in zip(columns, board.columns, strict=True)
            if column.clean is not None} == {
        "imagenet-v2": "imagenet",
        "imagenet-a": "imagenet-a-clean",
    }  # fmt: skip
    for i, row in enumerate(board.rows):
        for c, dataset in enumerate(columns):
            clean = {"imagenet-v2": "imagenet", "imagenet-a": "imagenet-a-clean"}.get(dataset)
            if clean is None:
                assert table[i][c] is None
            else:
                lost = mean(records, row.method, clean) - mean(records, row.method, dataset)
                assert table[i][c] == pytest.approx(lost, abs=1e-9)


def test_a_number_without_its_clean_one_has_no_drop(records: dict[str, Record]) -> None:
    kept = {path: r for path, r in records.items() if (r.method, r.dataset) != ("tipx", "imagenet")}
    board = board_of(kept)
    (sheet,) = (each for each in sheets(board) if each.title == "Robustness")
    tipx = next(row for _, rows in sheet.sections for row in rows if row[0].text == "tipx")

    assert sheet.head[2:] == [
        *("imagenet-v2", "below imagenet"),
        *("imagenet-a", "below imagenet-a-clean"),
    ]
    assert tipx[2].text
    assert tipx[3].text == ""
    assert tipx[5].text != ""


def test_nothing_is_said_without_a_clean_test_set(records: dict[str, Record]) -> None:
    kept = {path: r for path, r in records.items() if r.dataset in ("imagenet-v2", "dtd")}
    board = board_of(kept)

    assert drops(board) == []
    assert "Robustness" not in markdown(board)
    assert '"drop"' not in board_json(board, kept, [])


def test_other_encoders_and_data_of_ones_own_are_no_clean_test_set(
    records: dict[str, Record],
) -> None:
    other = {
        path: r.model_copy(update={"encoder": "RN101:openai"}) if r.dataset == "imagenet" else r
        for path, r in records.items()
        if r.dataset in ("imagenet", "imagenet-v2")
    }
    own = {
        path: r.model_copy(update={"dataset_given": "./imagenet"}) if r.dataset == "imagenet" else r
        for path, r in records.items()
        if r.dataset in ("imagenet", "imagenet-v2")
    }

    assert drops(board_of(other)) == drops(board_of(own)) == []


def test_every_format_shows_them(records: dict[str, Record]) -> None:
    board = board_of(records)
    lost = mean(records, "tipx", "imagenet-a-clean") - mean(records, "tipx", "imagenet-a")
    shown = printed(terminal(board))

    for text in (markdown(board), shown):
        assert "Robustness" in text
        assert "below imagenet-a-clean" in " ".join(text.split())
        line = next(line for line in text[text.index("below") :].splitlines() if "tipx" in line)
        assert f"{lost:.1f}" in line
    assert as_csv(board).count("\n") == 1 + len(METHODS) * len(NAMES)
    (drop,) = (
        metric
        for metric in json.loads(board_json(board, records, []))["metrics"]
        if metric["name"] == "drop"
    )
    place = [row.method for row in board.rows].index("tipx")
    column = [c.task.dataset for c in board.columns].index("imagenet-a")
    assert drop["rows"][place][2][column][0] == pytest.approx(lost, abs=1e-8)


@pytest.mark.parametrize("name", ["imagenet-a", "imagenet-r", "objectnet"])
def test_a_clean_test_set_is_imagenets_images_of_the_same_classes(name: str) -> None:
    spec, clean = DATASETS.get(name), DATASETS.get(DATASETS.get(name).clean)
    codes = {code for code, *_ in imagenet.ALIASES.values()}
    mine = {alias for aliases in spec.aliases.values() for alias in aliases} & codes

    assert clean.classnames == spec.classnames
    assert clean.template == spec.template
    assert clean.sizes == {"test": 50 * len(mine)}
    assert set(clean.dropped) == codes - mine
    assert len(mine) == {"imagenet-a": 200, "imagenet-r": 200, "objectnet": 125}[name]
