"""Classes that a method is not told of: AUROC and FPR95 of its confidence on their images."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from susx_bench.data.unknown import UNKNOWN, renumbered
from susx_bench.errors import OptionError
from susx_bench.leaderboard.formats.csv import as_csv
from susx_bench.leaderboard.make import make
from susx_bench.records.command import command as command_of
from susx_bench.records.record import Record, unpack
from susx_bench.records.store import read_predictions
from susx_bench.runner.scores import open_set
from tests.conftest import Bundle, Command

RUN = ("run", "--setting", "few-shot", "--method", "zero-shot,tip-adapter", "--tune", "fixed")


def plain(confidence: Tensor, known: Tensor) -> tuple[float, float]:
    """Both numbers in plain loops, percent."""
    sure = [float(x) for x, k in zip(confidence, known, strict=True) if k]
    unsure = [float(x) for x, k in zip(confidence, known, strict=True) if not k]
    wins = sum((a > b) + 0.5 * (a == b) for a in sure for b in unsure)
    threshold = next(
        t
        for t in sorted({*sure, *unsure}, reverse=True)
        if sum(a >= t for a in sure) >= 0.95 * len(sure)
    )
    passed = sum(b >= threshold for b in unsure)
    return 100 * wins / (len(sure) * len(unsure)), 100 * passed / len(unsure)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 12])  # with ties and without
def test_both_numbers_are_those_of_plain_loops(seed: int, digits: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = torch.rand(90, generator=generator) < 0.7
    confidence = torch.rand(90, generator=generator, dtype=torch.float64) * (0.6 + 0.4 * known)
    confidence = (confidence * 10**digits).round() / 10**digits

    found = open_set(confidence, known)

    auroc, fpr = plain(confidence, known)
    assert found["auroc"] == pytest.approx(auroc, abs=1e-9)
    assert found["fpr95"] == pytest.approx(fpr, abs=1e-9)
    theirs = float(binary_auroc(confidence, known.long()))
    assert found["auroc"] / 100 == pytest.approx(theirs, abs=1e-5)


def test_known_classes_are_numbered_anew() -> None:
    assert renumbered("dog, Cow", ["cat", "dog", "cow", "pig"]) == [0, UNKNOWN, UNKNOWN, 1]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("dag", "no class is called 'dag'; the classes are 'cat', 'dog', 'cow'"),
        ("cat,dog", "1 of 3 classes are known then; at least 2 are"),
        (",", "3 of 3 classes are known then"),
    ],
)
def test_what_leaves_nothing_to_tell_apart_is_refused(asked: str, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        renumbered(asked, ["cat", "dog", "cow"])


def test_a_bundle_is_measured_as_one_without_these_classes(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    """The known images get the answers that a bundle without the class gives them."""
    path = bundle()
    whole = load_file(path)
    count = len(whole["text"])
    names = tmp_path / "names.txt"
    names.write_text("".join(f"c{i}\n" for i in range(count)))
    done = command(*RUN, "--features", path, "--classnames", names, "--unknown", "c1", "--json")

    left = [i for i in range(count) if i != 1]
    number = torch.tensor([left.index(i) if i in left else -1 for i in range(count)])
    parts: dict[str, Tensor] = {"text": whole["text"][left]}
    for part in ("support", "val", "test"):
        kept = whole[f"{part}_labels"] != 1
        parts[part] = whole[part][kept]
        parts[f"{part}_labels"] = number[whole[f"{part}_labels"][kept].long()]
    other = tmp_path / "left.txt"
    other.write_text("".join(f"c{i}\n" for i in left))
    alone = command(
        *RUN, "--features", bundle(**parts), "--classnames", other, "--json", "--out", "without"
    )

    is_known = (whole["test_labels"] != 1).numpy()
    assert done.code == alone.code == 0
    for mine, theirs in zip(done.records, alone.records, strict=True):
        record, without = (Record.read(Path(each["record"])) for each in (mine, theirs))
        answers = read_predictions(Path(mine["record"]))
        assert np.array_equal(answers.top1[is_known], read_predictions(Path(theirs["record"])).top1)
        assert (record.accuracy, record.n_test) == (without.accuracy, without.n_test)
        assert record.right == without.right
        assert record.n_unknown == int((~is_known).sum())
        assert len(unpack(record.right, record.n_test)) == is_known.sum()
        if record.method == "zero-shot":
            logits = record.logit_scale * whole["test"] @ whole["text"][left].T
            sure = logits.double().softmax(-1).max(-1).values
            auroc, fpr = plain(sure, torch.from_numpy(is_known))
            assert record.auroc == pytest.approx(auroc, abs=0.2)  # to rounding of the logits
            assert record.fpr95 == pytest.approx(fpr, abs=4)
        assert without.auroc is None
        assert record.input_sha256 != without.input_sha256
        assert "auroc" not in json.loads(Path(theirs["record"]).read_text())


def test_images_are_measured_again_by_the_printed_command(command: Command) -> None:
    asked = ("--shots", 2, "--seed", 1, "--unknown", "three,eight", "--dataset", "digits")
    done = command(*RUN, *asked)
    records = [Record.read(path) for path in sorted(Path("results").rglob("*.json"))]
    metric = command(*RUN, *asked, "--metric", "auroc")

    assert "unknown: three,eight" in done.out
    assert {(r.num_classes, r.unknown) for r in records} == {(8, "three,eight")}
    assert all(name not in ("three", "eight") for r in records for name, *_ in r.classes)
    assert all(r.auroc and r.fpr95 is not None and 50 < r.auroc < 100 for r in records)
    assert "AUROC of known against unknown images in %" in " ".join(metric.out.split())
    first = next(r for r in records if r.method == "tip-adapter")
    line = command_of(first)
    assert "--unknown three,eight" in line
    board = make("open", "Open", "", [], [], {f"{i}.json": r for i, r in enumerate(records)})
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(as_csv(board)))}
    assert rows["tip-adapter"]["auroc"] == f"{first.auroc:.4f}"
    assert rows["tip-adapter"]["also"] == "unknown: three,eight"
    (again,) = command(*shlex.split(line)[1:], "--out", "again", "--json").records
    assert again["predictions_sha256"] == first.predictions_sha256
    assert command("records", "verify", "results").code == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--tune", "test", "--allow-test-tuning"), "--tune test does not go with --unknown"),
        (("--batches", "16:2"), "--batches does not go with --unknown"),
        (("--setting", "name-only", "--support", "sus-sd"), "--support does not go with --unknown"),
    ],
)
def test_what_looks_at_labels_that_unknown_images_lack_is_refused(
    more: tuple[str, ...], told: str, command: Command
) -> None:
    setting = () if "--setting" in more else ("--setting", "few-shot")
    done = command("run", "--method", "zero-shot", "--unknown", "three", *setting, *more)

    assert done.code == 2
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1
