"""Bundles without a support set or without test labels: what can be done with them is done."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from susx_bench.records.store import read_predictions
from tests.conftest import Bundle, Command

RUN = ("run", "--features")
NO_SUPPORT: dict[str, Tensor | None] = {"support": None, "support_labels": None}


def test_what_needs_no_support_runs_without_one(command: Command, bundle: Bundle) -> None:
    methods = "zero-shot,transclip,tda,tipx"
    for setting in (("name-only",), ("few-shot",), ("few-shot", "--shots", "1,2")):
        words = ("--method", methods, "--setting", *setting)
        whole = command(*RUN, bundle("whole.safetensors"), *words, "--json", "--out", "a")
        done = command(*RUN, bundle(**NO_SUPPORT), *words, "--json", "--out", "b")

        assert done.code == 0, done.err
        assert [r["method"] for r in done.records] == ["zero-shot", "transclip", "tda"]
        assert {r["method"]: r["predictions_sha256"] for r in done.records}.items() <= {
            r["method"]: r["predictions_sha256"] for r in whole.records
        }.items()
    table = command(*RUN, bundle(**NO_SUPPORT), "--method", methods, "--setting", "few-shot")
    assert table.code == 0
    assert "left blank: tipx needs support, which toy lacks" in table.out


def test_without_test_labels_there_are_predictions_and_no_record(
    command: Command, bundle: Bundle
) -> None:
    words = ("--method", "tipx,transclip", "--setting", "few-shot")
    scored = command(*RUN, bundle("whole.safetensors"), *words, "--json").records
    path = bundle(test_labels=None)
    done = command(*RUN, path, *words, "--out", "b")

    assert done.code == 0, done.err
    assert "tipx on toy: predicted and not scored, since there are no test labels" in done.err
    assert "wrote" not in done.out
    files = {file.name.split("-")[0]: file for file in Path("b").rglob("*.safetensors")}
    assert set(files) == {"zero", "tip", "tipx", "transclip"}
    assert not list(Path("b").rglob("*.json"))
    hashes = {record["method"]: record["predictions_sha256"] for record in scored}
    assert read_predictions(files["tipx"].with_suffix(".json")).sha256 == hashes["tipx"]
    assert read_predictions(files["transclip"].with_suffix(".json")).sha256 == hashes["transclip"]

    before = files["tipx"].stat().st_mtime_ns
    again = command(*RUN, path, *words, "--out", "b", "--json")
    assert (again.code, again.out) == (0, "")
    assert "predicted before and not scored" in again.err
    assert files["tipx"].stat().st_mtime_ns == before


def test_what_looks_at_test_labels_is_refused_without_them(
    command: Command, bundle: Bundle
) -> None:
    path = bundle(test_labels=None)
    for words in (("--tune", "test", "--allow-test-tuning"), ("--batches", "8:2")):
        done = command(*RUN, path, "--method", "transclip", "--setting", "few-shot", *words)

        assert done.code == 2
        assert "looks at the test labels, which toy has none of" in done.err


def test_shots_that_nobody_asked_for_are_left_out_where_images_are_few(
    command: Command, tmp_path: Path
) -> None:
    for split, each in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(each + label):
                grey = 40 * i + 100 * label + (7 if split == "test" else 0)
                Image.new("RGB", (16, 16), (grey, 90, 30 * i)).save(folder / f"{i}.png")
    words = (
        *("run", "--dataset", tmp_path / "pets", "--encoder", "demo", "--views", 1),
        *("--method", "tip-adapter", "--setting", "few-shot", "--json", "--seed", 1),
    )

    done = command(*words)
    assert done.code == 0, done.err
    assert [record["shots"] for record in done.records] == [1, 2]
    said = "class 0 ('cat') has 3 labelled images, so S = 4, 8, 16 is left out"
    assert said in done.err.replace("\n", " ")

    asked = command(*words, "--shots", "2,4")
    assert asked.code == 2
    assert "has 3 labelled images, --shots asks for 4" in asked.err
