"""Support sets for class names of no dataset, and photographs that are classified with one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from susx_bench.data.named import names_alone
from susx_bench.errors import DatasetError
from tests.conftest import Command
from tests.data.made import digits, encoded, photo, write

NAMES = "zero,one,two"
DRAWN = ("--kind", "sus-sd", "--per-class", "2", "--preset", "demo", "--steps", "3")


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sets are built."""
    monkeypatch.setenv("SUSX_BENCH_SUPPORT", str(tmp_path / "sets"))
    return tmp_path / "sets"


def hashes(folder: Path) -> str:
    return (folder / "SHA256SUMS").read_text()


def test_a_set_is_generated_for_names_and_found_by_them(
    sets: Path, tmp_path: Path, command: Command
) -> None:
    built = command("support", "build", "--classes", NAMES, *DRAWN)
    (folder,) = sets.glob("*/sus-sd-photo")

    assert built.code == 0, built.err
    assert "6 images of 3 classes" in built.out
    assert f"classify PHOTOS --classes {NAMES} --support sus-sd-photo" in built.out
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["classnames"] == ["zero", "one", "two"]
    assert recipe["texts"] == [[f"A photo of a {name}."] for name in recipe["classnames"]]

    (tmp_path / "names.txt").write_text("zero\none\ntwo\n")
    again = command("support", "build", "--classes", str(tmp_path / "names.txt"), *DRAWN)
    assert "all were there already" in again.out
    assert "6 images of 3" in command("support", "show", "sus-sd", "--classes", NAMES).out

    test = digits("test")
    (tmp_path / "photos").mkdir()
    for place, sample in enumerate(test.samples[:20]):
        test.image(sample).save(tmp_path / "photos" / f"{place}.png")
    words = ("classify", str(tmp_path / "photos"), "--encoder", "demo", "--support", "sus-sd")
    done = command(*words, "--classes", NAMES, "--out", str(tmp_path / "answers"))
    assert done.code == 0, done.err
    assert "tipx (a support set made from the names)" in done.out
    with (tmp_path / "answers/predictions.csv").open() as file:
        assert {row["class"] for row in csv.DictReader(file)} <= set(NAMES.split(","))

    other = command(*words, "--classes", "zero,one,three", "--out", str(tmp_path / "other"))
    assert other.code == 2
    assert "support build --classes zero,one,three --kind sus-sd` builds one" in other.err


def test_its_recipe_builds_it_again(sets: Path, tmp_path: Path, command: Command) -> None:
    command("support", "build", "--classes", NAMES, *DRAWN)
    (folder,) = sets.glob("*/sus-sd-photo")

    recipe = str(folder / "recipe.json")
    again = command("support", "build", "--recipe", recipe, "--root", str(tmp_path / "again"))

    assert again.code == 0, again.err
    assert hashes(tmp_path / "again" / folder.parent.name / folder.name) == hashes(folder)


def test_images_of_ones_own_need_no_test_images(
    sets: Path, tmp_path: Path, command: Command
) -> None:
    for number, name in enumerate(("cat", "night, owl")):
        write(tmp_path / "mine" / name / "0.png", encoded(photo(number)))
    (tmp_path / "names.txt").write_text("cat\nnight, owl\n")
    words = ("--kind", "sus-lc", "--import", str(tmp_path / "mine"))

    built = command("support", "build", "--classes", str(tmp_path / "names.txt"), *words)
    (folder,) = sets.glob("*/sus-lc-photo")

    assert built.code == 0, built.err
    assert json.loads((folder / "recipe.json").read_text())["retrieval"]["test_sha256"] == ""
    with Image.open(folder / "images/00001/0000.png") as kept:
        assert kept.size == photo(1).size
    rebuilt = ("support", "build", "--recipe", str(folder / "recipe.json"))
    assert "nothing to do" in command(*rebuilt).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Missing option '--dataset', or --classes a,b,c"),
        (("--classes", NAMES, "--dataset", "digits"), "--dataset and --classes both say"),
        (("--classes", NAMES, "--data-root", "."), "--data-root goes with a dataset"),
        (("--classes", NAMES, "--source", "hub"), "--source goes with a dataset"),
        (("--classes", "zero"), "1 class, and photographs are told apart between at least 2"),
        (("--classes", "zero,Zero"), "'Zero' is name 1 and name 2"),
        (("--classes", "none.txt"), "There is no file none.txt"),
    ],
)
def test_what_names_no_classes_is_refused(
    words: tuple[str, ...], told: str, sets: Path, command: Command
) -> None:
    refused = command("support", "build", *words, *DRAWN)

    assert refused.code == 2
    assert told in refused.err
    assert not sets.exists()


def test_names_alone_have_no_images() -> None:
    dataset = names_alone(("cat", "dog"))

    assert dataset.spec.name == names_alone(["cat", "dog"]).spec.name
    assert dataset.spec.name != names_alone(["dog", "cat"]).spec.name
    with pytest.raises(DatasetError, match="names alone have no images"):
        dataset.split("test").listed  # noqa: B018
