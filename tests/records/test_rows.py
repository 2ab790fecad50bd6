"""Records as columns of Arrow: every value and its type comes back."""

from __future__ import annotations

from typing import Any

import pytest

from susx_bench.records.record import Record, Search
from susx_bench.records.rows import HEAVY, PARTS, PLAIN, Row, State, batch_of, rows_of, schema
from tests.records.example import make_record

RECORDS = [
    make_record(),
    make_record(
        search=Search(ranges={"beta": (1.0, 2.5)}, settings=9, images=3, score=70.0, near=2),
        hparams={"alpha": 1e-5, "beta": 1e12},
        given={"split_file": "café.json"},
        blank={"nll": "its scores are sums"},
        skipped=["test/a.png"],
        seed=2**63 - 1,
        limit=3,
        top5=80.0,
        dataset='a "toy"\n',
    ),
]
ROWS = [
    Row.of("toy/a.json", State(1, 2**62, 3, 2**63 - 1), RECORDS[0]),
    Row.of("toy/b.json", None, RECORDS[1]),
]


def test_rows_come_back() -> None:
    rows = list(rows_of(batch_of(ROWS), {}))

    assert rows == ROWS
    kinds = [[type(value) for value in row.values] for row in rows]
    assert kinds == [[type(value) for value in row.values] for row in ROWS]


def test_equal_texts_and_objects_of_several_batches_are_one() -> None:
    """So that thousands of records take little memory."""
    same: dict[Any, Any] = {}
    rows = [row for _ in range(2) for row in rows_of(batch_of([ROWS[1]] * 2), same)]

    for name in ("encoder", "hparams", "versions", "skipped"):
        assert len({id(row.values[PLAIN.index(name)]) for row in rows}) == 1
    assert len({id(row.data) for row in rows}) == 1


@pytest.mark.parametrize("name", Record.model_fields)
def test_every_field_of_a_record_has_its_columns(name: str) -> None:
    parts = [f"{name}.{part}" for part in PARTS[name].model_fields] if name in PARTS else [name]

    assert (name in HEAVY) == (not set(parts) <= set(schema().names))
