from __future__ import annotations

from susx_bench.leaderboard.order import best_first
from tests.leaderboard.test_board import Records


def test_rows_stand_best_first_within_their_section() -> None:
    """And baselines, sections and ranks still name the rows that they named."""
    records = Records()
    for dataset in ("dtd", "eurosat"):
        for method, right in (("zero-shot", 10), ("tip-adapter", 20), ("tipx", 50), ("gda", 40)):
            tuned = {"tuned_on": "fixed", "hparams": {}} if method == "zero-shot" else {}
            records.add(method, right, dataset=dataset, **tuned)
        records.add("transclip", 15, dataset=dataset, regime="transductive")
        records.add("ecalp", 25, dataset=dataset, regime="transductive")
    board = records.board()
    sorted_ = best_first(board)

    for section in sorted_.sections:
        means = [sum(c.mean for c in sorted_.rows[i].cells if c) for i in section.rows]
        assert means == sorted(means, reverse=True)
    assert [part.label for part in sorted_.sections] == [part.label for part in board.sections]
    for before in board.rows:
        after = next(row for row in sorted_.rows if row.label == before.label)
        assert after.cells == before.cells
        names = [
            None if row.baseline is None else made.rows[row.baseline].label
            for made, row in ((board, before), (sorted_, after))
        ]
        assert names[0] == names[1]
    for old, new in zip(board.ranks, sorted_.ranks, strict=True):
        assert [board.rows[i].label for i in old.rows] == [sorted_.rows[i].label for i in new.rows]


def test_rows_that_are_not_ranked_stand_last() -> None:
    records = Records()
    for dataset in ("dtd", "eurosat"):
        records.add("gda", 50, dataset=dataset, tuned_on="fixed", chosen_here=True)
        records.add("tipx", 30, dataset=dataset, tuned_on="fixed")
        records.add("ape", 40, dataset=dataset, tuned_on="fixed")

    assert [row.method for row in best_first(records.board()).rows] == ["ape", "tipx", "gda"]
