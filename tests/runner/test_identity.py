"""Whose data a record is of: the images, and not the last part of a path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from susx_bench.records.cells import data_of
from susx_bench.records.record import Record
from tests.conftest import Bundle, Command, Finished


def folder(root: Path, classes: tuple[str, ...], seed: int, images: int = 4) -> Path:
    """Class folders of noise in train and test; every set has the same file names and sizes."""
    generator = np.random.default_rng(seed)
    for split in ("train", "test"):
        for name in classes:
            for i in range(images):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    return root


def run(command: Command, *words: object) -> Finished:
    shown = ("--method", "tip-adapter", "--setting", "few-shot", "--encoder", "demo")
    done = command("run", *shown, "--shots", "1", "--seed", "1,2", "--views", "1", *words)
    assert done.code == 0, done.err
    return done


def records(done: Finished) -> list[Record]:
    return [
        Record.model_validate_json(json.dumps({k: v for k, v in r.items() if k != "record"}))
        for r in done.records
    ]


def test_folders_of_one_name_are_two_tables(command: Command, tmp_path: Path) -> None:
    folder(tmp_path / "pets/images", ("cat", "dog"), 1)
    folder(tmp_path / "food/images", ("pizza", "soup", "cake", "rice", "fish"), 2)

    done = run(command, "--dataset", "./pets/images,./food/images")
    rows = [line.split() for line in done.out.splitlines() if line.startswith("tip-adapter  ")]

    assert "pets/images · demo · few-shot" in done.out
    assert "food/images · demo · few-shot" in done.out
    assert len(rows) == 2
    assert "2 classes" in done.out
    assert "5 classes" in done.out


def test_a_support_set_with_test_images_of_another_folder_of_the_name_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built for a/images, whose test images it lacks; b/images has the same classes and files."""
    monkeypatch.setenv("SUSX_BENCH_SUPPORT", str(tmp_path / "support"))
    for place, seed in (("a", 1), ("b", 2)):
        folder(tmp_path / place / "images", ("cat", "dog"), seed)
    pool = folder(tmp_path / "pool", ("cat", "dog"), 3) / "train"
    taken = Image.open(tmp_path / "b/images/test/cat/2.png")
    taken.save(pool / "cat" / "other.bmp")  # the same pixels in another file
    words = ("--kind", "sus-lc", "--import", str(pool), "--dataset", "./a/images")
    assert command("support", "build", *words).code == 0
    shown = [*("--method", "tip-adapter", "--setting", "name-only"), "--encoder", "demo"]
    (of_a,) = (tmp_path / "support").glob("*/sus-lc-photo")
    shown += ["--support", str(of_a)]

    fits = command("run", *shown, "--dataset", "./a/images", "--out", "out")
    leaks = command("run", *shown, "--dataset", "./b/images", "--out", "out")
    looked = command("run", *shown, "--dataset", "./b/images", "--dry-run")

    assert fits.code == 0, fits.err
    assert leaks.code == looked.code == 2
    for done in (leaks, looked):
        assert "holds 1 of the 8 test images of images, pixel for pixel" in done.err

    unlooked = (*words[:-1], "./b/images", "--name", "unlooked", "--no-test-check")
    built = command("support", "build", *unlooked)
    assert built.code == 0, built.err
    told = command("run", *shown[:-1], "unlooked", "--dataset", "./b/images", "--out", "out")
    assert told.code == 0, told.err
    assert "Accuracies are too high. It was built with --no-test-check" in " ".join(
        told.err.split()
    )


def test_the_same_names_with_other_images_are_other_data(command: Command, tmp_path: Path) -> None:
    """File names, class names and file sizes are the same: the content is not."""
    for place, seed in (("a", 1), ("b", 2)):
        folder(tmp_path / place / "images", ("cat", "dog"), seed)
    sizes = {path.stat().st_size for path in tmp_path.rglob("*.png")}

    first = records(run(command, "--dataset", "./a/images", "--json"))
    second = records(run(command, "--dataset", "./b/images", "--json"))
    again = run(command, "--dataset", f"./b/../a/images,{tmp_path / 'b/images'}")

    assert len(sizes) == 1
    assert {data_of(r) for r in first}.isdisjoint({data_of(r) for r in second})
    assert {r.input_sha256 for r in first}.isdisjoint({r.input_sha256 for r in second})
    assert [r.dataset_given for r in (*first, *second)] == ["./a/images"] * 2 + ["./b/images"] * 2
    assert "all 6 records exist" in again.out or "4 were there already" in again.out


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_that_was_exchanged_is_measured_again(
    command: Command, tmp_path: Path, split: str
) -> None:
    data = folder(tmp_path / "images", ("cat", "dog"), 1, images=1)
    words = ("--dataset", "./images", "--json", "--tune", "fixed")
    before = records(run(command, *words))
    Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(data / split / "cat" / "0.png")
    after = records(run(command, *words))

    field = "support_sha256" if split == "train" else "split_sha256"
    assert getattr(before[0], field) != getattr(after[0], field)
    assert before[0].input_sha256 != after[0].input_sha256


def test_a_copy_elsewhere_is_the_same_data(command: Command, tmp_path: Path) -> None:
    """Another path and other dates: the records of one machine are found on the other."""
    data = folder(tmp_path / "here/images", ("cat", "dog"), 1)
    shutil.copytree(data, tmp_path / "there/images", copy_function=shutil.copyfile)

    here, there = (
        records(run(command, "--dataset", f"./{place}/images", "--json", "--out", place))
        for place in ("here", "there")
    )

    assert [r.input_sha256 for r in here] == [r.input_sha256 for r in there]


def test_a_home_stands_in_no_record(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    data = folder(tmp_path / "images", ("cat", "dog"), 1)

    (first, *_) = run(command, "--dataset", data, "--json").records

    assert first["dataset_given"] == "~/images"
    assert str(tmp_path) not in json.dumps({k: v for k, v in first.items() if k != "record"})


def test_draws_that_can_only_be_the_same_are_one_run(command: Command, bundle: Bundle) -> None:
    """4 support images per class at 4 shots."""
    path = bundle()
    shown = ("--setting", "few-shot", "--features", path, "--method", "tip-adapter")
    done = command("run", *shown, "--shots", "4", "--seed", "1,2,3", "--tune", "fixed")
    one = command("run", *shown, "--shots", "4", "--seed", "1", "--tune", "fixed", "--json")
    row = next(line for line in done.out.splitlines() if line.startswith("tip-adapter  "))
    record = one.records[0]

    assert "Seeds 1, 2 and 3 drew the same images" in done.out
    assert "±" not in done.out
    assert "[95 % interval]" in done.out
    assert f"{record['accuracy']:.1f} [" in row


def test_the_order_of_a_shots_file_changes_nothing(
    command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    path = bundle()
    found = []
    for place, order in enumerate(([0, 1, 2, 3, 4], [4, 2, 0, 1, 3])):
        (tmp_path / f"{place}.json").write_text(json.dumps(order))
        done = command(
            *("run", "--method", "tip-adapter", "--setting", "few-shot", "--features", path),
            *("--shots-file", tmp_path / f"{place}.json", "--json"),
        )
        found.append(done.records[0]["input_sha256"])

    assert found[0] == found[1]


def test_bundles_of_one_file_name_fail_apart(
    command: Command, bundle: Bundle, tensors: dict[str, Any], tmp_path: Path
) -> None:
    """A bundle that cannot be read keeps its mark, whatever another one of its name does."""
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    bundle(name="a/toy.safetensors", test=tensors["test"] * torch.nan)
    bundle(name="b/toy.safetensors")
    (tmp_path / "s.toml").write_text(
        'name = "s"\ntitle = "S"\n[[run]]\nmethod = ["zero-shot"]\n'
        'features = ["a/toy.safetensors", "b/toy.safetensors"]\ntune = ["fixed"]\n'
    )

    done = command("run", "--suite", "s.toml", "--data-root", tmp_path, "--out", "out")

    assert done.code == 3
    assert len(list((tmp_path / "out").rglob("*.failed.txt"))) == 1
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1
