"""A support set on disk: labels are what the manifest says, and nothing is believed unseen."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from susx_bench.data.facts.digits import SPEC
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError
from susx_bench.records.files import append_lines, whole_lines
from susx_bench.support.folder import SupportFolder
from susx_bench.support.images import BuiltSupport
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.recipe import Recipe, Retrieval

NAMES = ("cat", "dog", "axolotl")


def spec(*names: str) -> DatasetSpec:
    return replace(SPEC, name="pets", classnames=names)


def recipe(per_class: int = 2) -> Recipe:
    return Recipe(
        kind="sus-lc",
        dataset="pets",
        classnames=NAMES,
        prompts="photo",
        texts=tuple((f"a photo of a {name}.",) for name in NAMES),
        per_class=per_class,
        seed=0,
        retrieval=Retrieval(source="import", place="here"),
    )


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> SupportFolder:
    """Two images of each of three classes; image p of class c has red 10 c + p."""
    folder = SupportFolder(tmp_path / "root/pets/sus-lc-photo")
    folder.begin(recipe())
    rows = []
    for label in reversed(range(3)):
        for place in reversed(range(2)):
            file, sha = folder.put(label, place, picture(10 * label + place), ".png")
            rows.append(
                Row(
                    class_id=label,
                    place=place,
                    prompt="",
                    source=f"{label}/{place}",
                    fate=KEPT,
                    file=file,
                    sha256=sha,
                )
            )
    rows.append(Row(class_id=1, place=-1, prompt="", source="gone", fate="timed out"))
    folder.finish(rows)
    return folder


def reds(support: BuiltSupport) -> list[tuple[int, int]]:
    """Class and red of each image."""
    return [
        (sample.label, support.image(sample).getpixel((0, 0))[0])  # type: ignore[index]
        for sample in support.samples
    ]


def test_labels_follow_the_manifest_and_the_names(folder: SupportFolder) -> None:
    """Also for a dataset that has the same classes in another order."""
    same = BuiltSupport(folder.path, spec(*NAMES))
    other = BuiltSupport(folder.path, spec("axolotl", "cat", "dog"))

    assert reds(same) == [(0, 0), (0, 1), (1, 10), (1, 11), (2, 20), (2, 21)]
    assert reds(other) == [(1, 0), (1, 1), (2, 10), (2, 11), (0, 20), (0, 21)]
    assert same.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert same.sha256 != other.sha256


def test_the_hash_is_of_the_content_and_not_of_the_place(
    folder: SupportFolder, tmp_path: Path
) -> None:
    before = BuiltSupport(folder.path, spec(*NAMES))
    elsewhere = folder.path.rename(tmp_path / "elsewhere")
    after = BuiltSupport(elsewhere, spec(*NAMES))

    assert after.sha256 == before.sha256
    assert after.state(after.samples) == before.state(before.samples)


def test_an_image_that_was_changed_is_not_believed(folder: SupportFolder) -> None:
    (folder.path / "images/00001/0000.png").write_bytes(picture(99))
    support = BuiltSupport(folder.path, spec(*NAMES))

    with pytest.raises(SupportError, match=r"0000\.png was changed: its sha256 is \w{12}, manif"):
        support.image(support.samples[2])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat", "dog"), "3 classes, pets has 2: it has 'axolotl' besides"),
        (("cat", "dog", "axolotl", "eel"), "3 classes, pets has 4: it has no 'eel'"),
        (("cat", "dog", "newt"), "3 classes, pets has 3: it has no 'newt'"),
    ],
)
def test_other_classes_are_refused(
    names: tuple[str, ...], message: str, folder: SupportFolder
) -> None:
    with pytest.raises(SupportError, match=message):
        BuiltSupport(folder.path, spec(*names))


def test_a_set_that_is_not_finished_is_refused(folder: SupportFolder) -> None:
    folder.begin(recipe(per_class=3))  # the manifest is still that of 2

    with pytest.raises(SupportError, match="is not finished"):
        BuiltSupport(folder.path, spec(*NAMES))


def test_a_class_without_images_is_refused(folder: SupportFolder) -> None:
    folder.finish([row for row in folder.rows() if row.class_id != 1])

    with pytest.raises(SupportError, match=r"no image of 1 of 3 classes: dog\. "):
        BuiltSupport(folder.path, spec(*NAMES))


def test_finishing_clears_up(folder: SupportFolder) -> None:
    """Images that no row names would mislead who looks into the folder."""
    folder.note(folder.rows())
    folder.answers.write_text("[]\n")

    folder.finish([row for row in folder.rows() if row.place == 0])

    left = sorted(
        path.relative_to(folder.path).as_posix()
        for path in folder.path.rglob("*")
        if path.is_file()
    )
    images = [f"images/{label:05d}/0000.png" for label in range(3)]
    assert left == ["SHA256SUMS", *images, "manifest.parquet", "recipe.json"]


def test_rows_come_back_as_they_were(folder: SupportFolder) -> None:
    whole = Row(
        class_id=2,
        place=1,
        prompt="a photo of an „axolotl“\n",
        source="http://x/y?z=1",
        fate=KEPT,
        of="test/3",
        file="images/00002/0001.png",
        sha256="0" * 64,
        seed=2**56 - 1,
        redrawn=3,
        score=0.1 + 0.2,
        model="m",
        revision="r",
    )
    folder.note([whole])
    assert folder.progress() == [whole]

    folder.finish([whole])

    assert folder.rows() == [whole]


def test_a_folder_without_a_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(SupportError, match=r"is no support set: .*--import FOLDER"):
        BuiltSupport(tmp_path, spec(*NAMES))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no recipe"),
        ('{"schema": 2}', "is no recipe: kind: Field required"),
        ('{"schema": 1}', "is a recipe of schema 1, this version has 2"),
    ],
)
def test_a_broken_recipe_is_told(text: str, message: str, folder: SupportFolder) -> None:
    (folder.path / "SHA256SUMS").unlink()
    (folder.path / "recipe.json").write_text(text)

    with pytest.raises(SupportError, match=message):
        _ = folder.recipe


def test_an_unknown_field_of_a_recipe_is_told(folder: SupportFolder) -> None:
    (folder.path / "SHA256SUMS").unlink()
    path = folder.path / "recipe.json"
    path.write_text(path.read_text().replace('"seed"', '"sead"'))

    with pytest.raises(SupportError, match="sead"):
        _ = folder.recipe


def test_lines_are_whole_whenever_the_writer_dies(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_lines(path, ["one", "two"])
    path.write_text(path.read_text() + "thr")  # torn

    assert list(whole_lines(path)) == ["one", "two"]
    append_lines(path, ["four"])

    assert list(whole_lines(path)) == ["one", "two", "four"]
