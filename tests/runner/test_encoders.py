"""Which encoder sees which data: the demo's own sees the demo, unless somebody insists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Bundle, Command
from tests.data.made import encoded, photo, write

ZERO_SHOT = ("run", "--setting", "name-only", "--method", "zero-shot")
WARNING = "encoder demo knows only drawn digits"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of the user's own, with a train and a test split."""
    for seed, (split, name) in enumerate(
        (split, name) for split in ("train", "test") for name in ("cat", "dog")
    ):
        write(tmp_path / "photos" / split / name / "0.png", encoded(photo(seed)))
    return tmp_path / "photos"


@pytest.mark.parametrize("setting", ["name-only", "few-shot"])
@pytest.mark.parametrize("dataset", ["./photos", "eurosat", "digits,./photos", "hf:ORG/NAME"])
@pytest.mark.usefixtures("photos")
def test_data_without_an_encoder_of_its_own_asks_for_one(
    dataset: str, setting: str, tmp_path: Path, command: Command
) -> None:
    """Before the data is looked for, or anything is written."""
    done = command(
        *("run", "--method", "tipx", "--setting", setting, "--dataset", dataset, "--json")
    )

    asked = dataset.rpartition(",")[2]
    assert done.code == 2
    assert f"--dataset {asked}: give --encoder, as in --encoder ViT-B-32:openai" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("photos")
def test_the_demos_encoder_on_other_data_is_warned_of(command: Command) -> None:
    asked = command(*ZERO_SHOT, "--dataset", "./photos", "--encoder", "demo")
    own = command(*ZERO_SHOT, "--dataset", "digits")

    assert asked.code == 0, asked.err
    heading, scale, *_ = asked.out.splitlines()
    assert heading.startswith("photos · demo · name-only")
    assert "accuracy" in scale
    assert WARNING in asked.out
    assert own.code == 0, own.err
    assert WARNING not in own.out


@pytest.mark.usefixtures("photos")
def test_the_demos_encoder_is_warned_of_where_there_is_no_table(command: Command) -> None:
    photos = ("--dataset", "./photos", "--encoder", "demo")
    asked = command(*ZERO_SHOT, *photos, "--json")
    own = command(*ZERO_SHOT, "--dataset", "digits", "--json")
    built = command("support", "build", "--kind", "sus-lc", *photos, "--pool", "photos")

    assert (len(asked.records), len(own.records)) == (1, 1)
    assert WARNING in asked.err
    assert WARNING not in own.err
    assert WARNING in built.err


def test_a_folder_called_as_a_dataset_is_told_apart(photos: Path, command: Command) -> None:
    folder = photos.rename(photos.parent / "caltech101")

    done = command(*ZERO_SHOT, "--dataset", folder, "--encoder", "demo")

    assert done.code == 0, done.err
    hint = f"give --dataset caltech101 --data-root {folder.parent}"
    assert hint in done.err.replace("\n", " ")


def test_a_bundle_needs_no_encoder(bundle: Bundle, command: Command) -> None:
    done = command(*ZERO_SHOT, "--features", bundle(), "--dataset", "mine")

    assert done.code == 0, done.err
    assert WARNING not in done.out


def test_a_pool_for_other_data_asks_for_an_encoder(
    photos: Path, tmp_path: Path, command: Command
) -> None:
    done = command(
        *("support", "build", "--kind", "sus-lc", "--dataset", "./photos", "--pool", photos)
    )

    assert done.code == 2
    assert "--dataset ./photos: give --encoder" in done.err
    assert not (tmp_path / "support").exists()


@pytest.mark.usefixtures("photos")
def test_a_suite_asks_before_it_builds_anything(tmp_path: Path, command: Command) -> None:
    (tmp_path / "suite.toml").write_text(
        """
name = "mine"
title = "Mine"
[[support]]
kind = "sus-sd"
dataset = ["digits"]
per_class = 1
[[run]]
method = ["zero-shot"]
setting = "name-only"
dataset = ["digits", "./photos"]
"""
    )

    done = command("run", "--suite", "suite.toml")

    assert done.code == 2
    assert "--dataset ./photos: give --encoder" in done.err
    assert not (tmp_path / "support").exists()
