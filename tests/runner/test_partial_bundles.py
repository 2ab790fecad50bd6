"""Bundles without a support set or without test labels: what can be done with them is done."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from susx_bench.features.bundle import BundleTask
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
                image = Image.new("RGB", (16, 16), (grey, 90, 30 * i))
                image.putpixel((0, 0), (255, 255, 255))  # of one colour it would be refused
                image.save(folder / f"{i}.png")
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


def said(origin: str) -> dict[str, str]:
    return {"bundle": json.dumps({"dataset": "toy", "encoder": "x", "support_from": origin})}


def test_a_name_only_number_with_a_support_of_unknown_origin_is_marked(
    command: Command, bundle: Bundle
) -> None:
    """It may hold labelled images: it is told, marked on every surface, and not ranked."""
    bundle()
    suite = Path("mine.toml")
    suite.write_text(
        'name = "mine"\ntitle = "Mine"\n[[run]]\nmethod = ["tipx", "zero-shot", "tip-adapter"]\n'
        'setting = "name-only"\nfeatures = ["toy.safetensors"]\n'
    )
    words = ("--method", "tipx", "--setting", "name-only")

    done = command(*RUN, "toy.safetensors", *words)
    assert done.code == 0
    assert "toy: the bundle does not say what its support is" in " ".join(done.err.split())
    lines = [line for line in done.out.splitlines() if "‖" in line]
    assert {line.split()[0] for line in lines} == {"tipx", "tip-adapter", "‖"}
    assert command("run", "--suite", suite, "--out", "leaderboards/records/mine").code == 0
    assert command("leaderboard", "build", suite).code == 0
    for name in ("mine.md", "mine.csv", "index.html"):
        assert "‖" in Path("leaderboards", name).read_text(), name
    assert "parallel" in Path("leaderboards", "mine.tex").read_text()
    assert "**" not in Path("leaderboards", "mine.md").read_text().split("tipx")[1].split("\n")[0]


def test_what_a_support_is_decides_the_setting(command: Command, bundle: Bundle) -> None:
    made = bundle("made.safetensors", meta=said("sus-sd-photo"))
    drawn = bundle("drawn.safetensors", meta=said("few-shot"))
    method = ("--method", "tipx,zero-shot", "--setting")

    good = command(*RUN, made, *method, "name-only", "--json")
    assert [r["support"] for r in good.records] == ["sus-sd-photo", "none"]
    assert "does not say" not in good.err
    assert "‖" not in command(*RUN, made, *method, "name-only").out
    few = command(*RUN, drawn, *method, "few-shot", "--json")
    assert [r["support"] for r in few.records] == ["few-shot", "none"]

    for path, setting, why in (
        (made, "few-shot", "its support is sus-sd-photo: no labelled images"),
        (drawn, "name-only", "its support is few-shot: labelled images"),
    ):
        done = command(*RUN, path, *method, setting)
        assert done.code == 0
        assert f"left blank: tipx: toy says that {why}" in done.out
        assert [line for line in done.out.splitlines() if line.startswith("zero-shot ")]


def test_an_import_says_what_a_support_is(command: Command, tensors: dict[str, Tensor]) -> None:
    """By the name of its file, or by hand; what is exported says it again."""
    folder = Path("caches")
    folder.mkdir()
    for name, part in {
        "toy_zeroshot_text_weights_mRN50_ptphoto": tensors["text"].T,
        "sus_sd_photo_toy_f_mRN50": tensors["support"].T,
        "sus_sd_photo_toy_t_mRN50": tensors["support_labels"],
        "toy_f_test_mRN50": tensors["test"],
        "toy_t_test_mRN50": tensors["test_labels"],
    }.items():
        torch.save(part.clone(), folder / f"{name}.pt")

    for words, origin in (((), "sus-sd-photo"), (("--support-from", "sus-lc-cupl"), "sus-lc-cupl")):
        assert command("features", "import", folder, "--out", "a.safetensors", *words).code == 0
        assert BundleTask(Path("a.safetensors")).support == origin
        for to in ("back", "back.npz", "back.safetensors"):
            assert command("features", "export", "a.safetensors", "--to", to, "--force").code == 0
            done = command("features", "import", to, "--out", "b.safetensors", "--force")
            assert done.code == 0, done.err
            assert BundleTask(Path("b.safetensors")).support == origin
        Path("a.safetensors").unlink()
