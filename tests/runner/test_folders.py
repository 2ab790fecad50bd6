"""What a run and ``data check`` say of a folder of images, and what both refuse."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from susx_bench.runner.request import Request
from tests.conftest import Command, Finished
from tests.data.made import encoded, photo, write

FEW_SHOT = ("--method", "tip-adapter", "--setting", "few-shot", "--tune", "support", "--seed", 1)


def photos(folder: Path, *places: str) -> Path:
    """A photo that looks like no other at each place."""
    for place in places:
        write(folder / place, encoded(photo(crc32(str(folder / place).encode()))))
    return folder


def ran(command: Command, folder: Path, *words: object) -> Finished:
    words = words or ("--method", "zero-shot", "--setting", "name-only")
    return command("run", "--dataset", folder, "--encoder", "demo", "--views", 1, "--json", *words)


def said(done: Finished) -> str:
    return done.err.replace("\n", " ")


def test_split_folders_of_any_name_are_splits(tmp_path: Path, command: Command) -> None:
    places = [
        f"{split}/{name}/{i}.png"
        for split in ("Train", "Test")
        for name in ("cat", "dog", "owl")
        for i in range(2)
    ]
    folder = photos(tmp_path / "pets", *places)

    done = ran(command, folder, *FEW_SHOT, "--shots", 2)
    assert done.code == 0, done.err
    (record,) = (record for record in done.records if record["method"] == "tip-adapter")
    assert record["n_test"] == 6
    assert record["protocol"] == "custom"
    checked = command("data", "check", folder)
    assert checked.code == 0
    assert "3 classes matched by name" in checked.out


def test_a_class_that_a_split_lacks_is_kept_and_told(tmp_path: Path, command: Command) -> None:
    places = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", "dog")]
    folder = photos(tmp_path / "pets", *places, "train/ant/1.png", "test/owl/1.png")

    done = ran(command, folder)
    assert done.code == 0, done.err
    assert [record["n_test"] for record in done.records] == [3]
    assert "pets: test has no image of 'ant'." in said(done)
    checked = command("data", "check", folder)
    assert checked.code == 0
    assert "train has no image of 'owl'\ntest has no image of 'ant'\n" in checked.out
    assert "4 classes matched by name" in checked.out
    shots = ran(command, folder, *FEW_SHOT, "--shots", 1)
    assert shots.code == 2
    assert (
        "class 3 ('owl') has 0 labelled images, --shots asks for 1. Add images of it, or use "
        "--setting name-only." in said(shots)
    )
    photos(folder / "train/owl", "1.png")
    assert ran(command, folder, *FEW_SHOT, "--shots", 1).code == 0


def test_what_is_left_out_is_told_by_both(tmp_path: Path, command: Command) -> None:
    places = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", "dog")]
    folder = photos(tmp_path / "pets", *places)
    write(folder / "test/cat/2.HEIC", "not read")
    (folder / "unused").mkdir()

    line = "left out of the class folders: 1 .heic"
    assert f"pets: {line}." in said(ran(command, folder))
    checked = command("data", "check", folder)
    assert checked.code == 0
    assert f"left out: empty folder 'unused'\n{line}\n" in checked.out
    assert "nothing wrong with the 4 images that are read" in checked.out


def test_a_file_of_two_splits_is_refused_by_both(tmp_path: Path, command: Command) -> None:
    places = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", "dog")]
    folder = photos(tmp_path / "pets", *places)
    (folder / "test/cat/2.png").symlink_to(folder / "train/cat/1.png")

    done = ran(command, folder, *FEW_SHOT, "--shots", 1)
    assert done.code == 2
    assert f"{folder} has one file in several splits, by a link: " in said(done)
    assert "train/cat/1.png (train) = test/cat/2.png (test)" in said(done)
    assert command("data", "check", folder).code == 3
    assert ran(command, folder).code == 0  # which uses no train split


def test_a_copy_in_two_splits_is_refused(tmp_path: Path, command: Command) -> None:
    places = [f"{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", "dog")]
    folder = photos(tmp_path / "pets", *places)
    write(folder / "test/cat/2.png", (folder / "train/cat/1.png").read_bytes())

    done = ran(command, folder, *FEW_SHOT, "--shots", 1)
    assert done.code == 2
    assert "the same image, pixel for pixel, in several splits, 1 in all" in said(done)
    assert "train/cat/1.png (train) = test/cat/2.png (test)" in said(done)
    assert command("data", "check", folder).code == 3
    assert ran(command, folder).code == 0  # which uses no train split


def test_names_that_differ_in_case_alone_are_told_by_both(tmp_path: Path, command: Command) -> None:
    folder = photos(tmp_path / "pets", "Cat/1.png", "cat/1.png", "dog/1.png")

    line = "'Cat' and 'cat' differ in upper and lower case alone and are classes of their own"
    assert line in said(ran(command, folder))
    assert line in command("data", "check", folder).out


def test_a_folder_that_is_named_twice_is_one_dataset(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "pets", *(f"test/{name}/1.png" for name in ("cat", "dog")))
    (tmp_path / "same").symlink_to("pets")
    monkeypatch.chdir(tmp_path)
    asked = Request(method="tag", dataset=f"./pets,./pets/,dtd,././pets,{tmp_path}/pets,./same,dtd")
    assert asked.dataset == ("./pets", "dtd")

    run = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo", "--json")
    done = command(*run, "--dataset", "./pets,./pets/", "--dataset", "./same")
    assert [record["dataset_given"] for record in done.records] == ["./pets"]
