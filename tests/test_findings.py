"""docs/findings.md says what the committed records say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.findings import AGAIN, PAGE, ROOT, UNSUPERVISED, claim, findings, stale
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.records.record import Record

Found = tuple[str, list[Picture]]


@pytest.fixture(scope="module")
def found() -> Found:
    return findings()


def test_the_page_and_its_pictures_are_what_the_records_give(found: Found) -> None:
    assert stale(*found) == [], f"run `{AGAIN}` and read what changed"


def test_what_is_stale_is_named(found: Found, tmp_path: Path) -> None:
    text, pictures = found
    (tmp_path / PAGE).parent.mkdir()
    (tmp_path / PAGE).write_text(text.replace("61.9", "62.9"), encoding="utf-8")
    other = [replace(picture, data=[]) for picture in pictures]

    assert stale(text, [], tmp_path) == [PAGE]
    assert len(stale(text, other)) == len(pictures) == 2


def test_a_sentence_that_is_no_longer_true_stops_the_command() -> None:
    with pytest.raises(SystemExit, match="no longer say: The moon is round"):
        claim(False, "The moon is round.")


@pytest.mark.parametrize("method", UNSUPERVISED)
def test_the_collapse_is_that_of_the_records_read_one_by_one(method: str, found: Found) -> None:
    """The table's means, from the accuracies in the files."""
    folder = ROOT / "leaderboards" / "records" / "real-features"
    every = [Record.read(path) for path in sorted(folder.rglob("*.json"))]
    zero = {(r.dataset, r.encoder): r.accuracy for r in every if r.method == "zero-shot"}
    line = next(line for line in found[0].splitlines() if line.startswith(f"| {method}"))
    shots = {"caltech101-named": 3, "stanfordcars": 2, "imagenet": 0}  # columns of one accuracy

    for place, batches in enumerate(("", "64:10", "64:4")):
        gains: list[float] = []
        for r in every:
            if (r.method, r.batches, r.tuned_on) == (method, batches, "fixed"):
                gain = r.accuracy - zero[r.dataset, r.encoder]
                gains += [gain] * shots.get(r.dataset, 1)
        told = line.split("|")[2 + place].split()[0].replace("−", "-")
        assert float(told) == pytest.approx(np.mean(gains), abs=0.051)
