"""Whose a support set is: of a name, and for data of one's own of the images and classes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from susx_bench.data.dataset import Dataset
from susx_bench.data.facts.digits import SPEC
from susx_bench.errors import SupportError
from susx_bench.support.folder import SupportFolder
from susx_bench.support.home import find
from susx_bench.support.recipe import Recipe, Retrieval
from tests.conftest import Command
from tests.runner.test_identity import folder

NAMES = ("axolotl", "cat", "dog")
PETS = Dataset(replace(SPEC, name="pets", classnames=NAMES))
IMPORT = ("support", "build", "--kind", "sus-lc", "--per-class", "2")


def recipe() -> Recipe:
    return Recipe(
        kind="sus-lc",
        dataset="pets",
        classnames=NAMES,
        prompts="photo",
        texts=tuple((f"a photo of a {name}.",) for name in NAMES),
        per_class=2,
        seed=0,
        retrieval=Retrieval(source="import", place="here"),
    )


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three folders called images and a pool for each: two have the same classes."""
    for seed, place in enumerate("abc"):
        classes = NAMES if place == "c" else ("cat", "dog")
        folder(tmp_path / place / "images", classes, seed)
        folder(tmp_path / f"pool-{place}", classes, seed + 10)
    return tmp_path


def test_names_kinds_and_paths_are_found(tmp_path: Path) -> None:
    root, whose = tmp_path / "root", "--dataset pets"
    path = root / "pets/sus-lc-photo"
    SupportFolder(path).begin(recipe())

    assert find("sus-lc-photo", PETS, root, whose) == path
    assert find("sus-lc", PETS, root, whose) == path
    assert find("./mine", PETS, root, whose) == Path("mine")

    with pytest.raises(SupportError, match=r"no such support set of pets .*It has sus-lc-photo\."):
        find("sus-sd", PETS, root, whose)
    with pytest.raises(SupportError, match=r"support build --dataset pets --kind sus-sd"):
        find("sus-sd", PETS, root, whose)
    for name in ("sus-lc", "sus-lc-photo"):
        with pytest.raises(SupportError, match=r"--kind sus-lc --pool FOLDER` builds one"):
            find(name, PETS, tmp_path / "empty", whose)
    SupportFolder(root / "pets/sus-lc-cupl").begin(recipe())
    with pytest.raises(SupportError, match=r"2 such sets: sus-lc-cupl, sus-lc-photo\. Name"):
        find("sus-lc", PETS, root, whose)


def test_folders_of_one_name_have_a_set_each(three: Path, command: Command) -> None:
    """Built without --name, also with --force, and found again; a copy elsewhere has the same."""
    for each in "abc":
        done = command(*IMPORT, "--import", f"pool-{each}/train", "--dataset", f"./{each}/images")
        assert done.code == 0, done.err
    before = {p: p.read_bytes() for p in (three / "support").rglob("*") if p.is_file()}
    words = ("--import", "pool-b/test", "--dataset", "./b/images", "--force")
    assert command(*IMPORT, *words).code == 0
    shutil.copytree(three / "a/images", three / "elsewhere/images")

    for each, pool in (
        ("a", "a/train"),
        ("b", "b/test"),
        ("c", "c/train"),
        ("elsewhere", "a/train"),
    ):
        shown = command("support", "show", "sus-lc", "--dataset", f"./{each}/images")
        assert f"retrieved from pool-{pool}" in shown.out, shown.err
    changed = [p for p, content in before.items() if p.read_bytes() != content]
    assert len({p.relative_to(three / "support").parts[0] for p in changed}) == 1

    done = command(
        *("run", "--method", "tip-adapter", "--setting", "name-only", "--encoder", "demo"),
        *("--json", "--support", "sus-lc", "--dataset", "./a/images,./b/images,./c/images"),
    )
    assert done.code == 0, done.err
    assert len({r["support_sha256"] for r in done.records}) == 3


def test_a_set_of_other_images_is_named_and_not_taken(three: Path, command: Command) -> None:
    words = ("--import", "pool-a/train", "--dataset", "./a/images")
    assert command(*IMPORT, *words).code == 0

    same = command("support", "show", "sus-lc", "--dataset", "./b/images")
    other = command("support", "show", "sus-lc", "--dataset", "./c/images")

    assert (same.code, other.code) == (2, 2)
    assert "sus-lc-photo is of other data called images; given as a path" in same.err
    assert "other data" not in other.err


def test_a_set_of_an_earlier_version_is_found_and_kept(three: Path, command: Command) -> None:
    """It lies under the name alone: found for its classes, and never built anew."""
    words = (*IMPORT, "--import", "pool-a/train", "--dataset", "./a/images")
    assert command(*words).code == 0
    (built,) = (three / "support").iterdir()
    old = built.rename(three / "support/images") / "sus-lc-photo"
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}

    shown = command("support", "show", "sus-lc", "--dataset", "./a/images")
    again = command(*words)
    other = command("support", "show", "sus-lc", "--dataset", "./c/images")
    forced = command(*words, "--force")

    assert f"{old}" in shown.out
    assert "nothing to do" in again.out
    assert other.code == 2
    assert forced.code == 0
    assert str(built) in forced.out
    assert {p: p.read_bytes() for p in before} == before


def test_a_recipe_of_own_data_is_built_again_where_that_is_named(
    three: Path, command: Command
) -> None:
    words = ("--import", "pool-a/train", "--dataset", "./a/images")
    assert command(*IMPORT, *words).code == 0
    (path,) = (three / "support").rglob("recipe.json")
    lost = path.parent / "images/00000/0000.png"
    lost.unlink()

    asked = command("support", "build", "--recipe", path)
    done = command("support", "build", "--recipe", path, "--dataset", "./a/images")

    assert asked.code == 2
    assert "data of yours called images" in asked.err
    assert done.code == 0, done.err
    assert lost.is_file()
