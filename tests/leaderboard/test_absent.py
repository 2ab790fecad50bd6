"""What a suite asks for and has no record of is said: by the run, the table and the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from susx_bench.leaderboard.absent import absent, unnamed
from susx_bench.runner.suite import Suite
from tests.conftest import Bundle, Command
from tests.records.example import make_record

FAILS = """
import susx_bench as sb
class Fails(sb.Method):
    name = "{name}"
    needs = {{"text"}}
    def fit(self, context):
        raise RuntimeError("boom")
    def logits(self, images):
        return images
"""


def suite_of(tmp_path: Path, *runs: str) -> Path:
    path = tmp_path / "mine.toml"
    text = "".join(f'[[run]]\nsetting = "few-shot"\n{run}\n' for run in runs)
    path.write_text(f'name = "mine"\ntitle = "Mine"\n{text}')
    return path


def test_failed_cells_and_lost_data_are_both_said(
    command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    bundle()
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(FAILS.format(name=name))
    suite = suite_of(
        tmp_path,
        'method = ["zero-shot", "./one.py:Fails", "./two.py:Fails"]\n'
        'features = ["toy.safetensors", "gone.safetensors", "lost.safetensors"]',
        'method = ["zero-shot"]\ndataset = ["digits", "dtd"]\nencoder = "demo"',
    )

    ran = command("run", "--suite", suite, "--out", "leaderboards/records/mine")

    assert ran.code == 3
    last = ran.err.strip().splitlines()[-1]
    assert "2 of 4 cells failed: one toy made:up few-shot fixed, two toy made:up" in last
    assert "cells of 3 datasets could not be listed: gone bundle, lost bundle, dtd demo" in last

    built = command("leaderboard", "build", suite)

    assert built.code == 0
    told = " ".join(built.out.split())
    line = "Not in the table for lack of records: dtd, 1 of the suite's 2 datasets."
    assert line in told
    assert "not measured: gone bundle: --features gone.safetensors: no such file" in told
    assert "not measured: one toy made:up few-shot fixed: RuntimeError: boom" in told
    for suffix in ("md", "tex"):
        assert line in (tmp_path / "leaderboards" / f"mine.{suffix}").read_text()
    assert "for lack of records: dtd" in (tmp_path / "leaderboards" / "index.html").read_text()
    assert command("leaderboard", "check", suite).code == 0


@pytest.mark.parametrize(
    ("asked", "dataset", "given"),
    [
        ("dtd", "dtd", "dtd"),
        ("./pets/images", "images", "./pets/images"),
        ("./pets/images", "images", "/elsewhere/images"),  # the same data under another path
        ("hf:org/pets", "org/pets", "hf:org/pets"),
    ],
)
def test_data_with_a_record_is_not_absent(
    asked: str, dataset: str, given: str, tmp_path: Path
) -> None:
    suite = Suite.read(suite_of(tmp_path, f'method = ["tag"]\ndataset = ["{asked}", "./food"]'))
    mine = make_record(dataset=dataset, dataset_given=given)

    assert "lack of records: ./food, 1 of the suite's 2 datasets" in absent(suite, [mine])
    assert absent(suite, [mine, make_record(dataset="food", dataset_given="./food")]) == ""


def test_bundles_are_told_by_their_names(tmp_path: Path) -> None:
    suite = Suite.read(
        suite_of(
            tmp_path,
            'method = ["tag"]\nfeatures = ["a/ucf101_rn50.safetensors", "dtd-keys.safetensors"]',
        )
    )
    ucf, other = (make_record(dataset=name, protocol="bundle") for name in ("ucf101", "birds"))

    assert unnamed(suite, {"1": ucf}) == ["dtd-keys.safetensors"]
    assert unnamed(suite, {"1": ucf, "2": make_record(dataset="dtd", protocol="bundle")}) == []
    assert unnamed(suite, {"1": ucf, "2": other}) == []  # birds may be of dtd-keys.safetensors
