"""How the images lie in a folder that nobody described."""

from __future__ import annotations

from pathlib import Path

import pytest

from susx_bench.data.sources.guess import Guess, guess
from susx_bench.errors import DatasetError
from tests.data.made import write

DIVIDED = "it has no test split, so each class is divided: 50 % train, 20 % val, 30 % test"


def made(folder: Path, *places: str) -> Path:
    """A folder with an image (or a file of another ending) at each of these places.

    ``train/{cat,dog}/1.png`` stands for two of them; a place that ends with a slash is an empty
    folder.
    """
    for place in places:
        for path in _each(place):
            if path.endswith("/"):
                (folder / path).mkdir(parents=True)
            else:
                write(folder / path, "not read here")
    return folder


def _each(place: str) -> list[str]:
    before, brace, rest = place.partition("{")
    if not brace:
        return [place]
    middle, _, after = rest.partition("}")
    return [before + one + tail for one in middle.split(",") for tail in _each(after)]


def guessed(folder: Path, *places: str) -> Guess:
    found = guess(made(folder / "mine", *places))
    assert found
    return found


def refused(folder: Path, *places: str) -> str:
    with pytest.raises(DatasetError) as caught:
        guess(made(folder / "mine", *places))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "")


@pytest.mark.parametrize(
    ("names", "train", "val", "test"),
    [
        ("{train,val,test}", "train", "val", "test"),
        ("{Train,Valid,Test}", "Train", "Valid", "Test"),
        ("{TRAIN,TEST}", "TRAIN", "", "TEST"),
        ("{TRaiN,TeSt}", "TRaiN", "", "TeSt"),
        ("{training,validation,testing}", "training", "validation", "testing"),
        ("{Training_Set,Validation Set,Test-Set}", "Training_Set", "Validation Set", "Test-Set"),
        ("{train2017,val2017,test2017}", "train2017", "val2017", "test2017"),
        ("{images_train,images_dev,images_eval}", "images_train", "images_dev", "images_eval"),
        ("{tr,va,te}", "tr", "va", "te"),
        ("{cars_train,cars_test}", "cars_train", "", "cars_test"),
        ("{trainval,test}", "trainval", "", "test"),
        ("{train,holdout}", "train", "", "holdout"),
        ("data/{train,test}", "data/train", "", "data/test"),
        ("real_vs_fake/{train,test}", "real_vs_fake/train", "", "real_vs_fake/test"),
        ("mine/Images/{Train,Test}", "mine/Images/Train", "", "mine/Images/Test"),
        ("{train/train,test/test}", "train/train", "", "test/test"),
        ("{seg_train/seg_train,seg_test/seg_test}", "seg_train/seg_train", "", "seg_test/seg_test"),
        ("{train/images,test/images}", "train/images", "", "test/images"),
    ],
)
def test_split_folders_are_known_by_their_usual_names(
    tmp_path: Path, names: str, train: str, val: str, test: str
) -> None:
    found = guessed(tmp_path, f"{names}/{{cat,dog}}/1.png")

    wanted = {"train": train, "val": val, "test": test}
    assert found.splits == {split: place for split, place in wanted.items() if place}
    assert found.classnames == ["cat", "dog"]
    assert found.remarks == []


def test_a_validation_folder_is_the_test_set_where_there_is_no_other(tmp_path: Path) -> None:
    found = guessed(tmp_path, "{Train,Validation}/{cat,dog}/1.png")

    assert found.splits == {"train": "Train", "test": "Validation"}
    assert found.remarks == [
        "there is no test split, so 'Validation' is the test set and there is no val"
    ]


def test_a_test_folder_without_labels_is_left_out(tmp_path: Path) -> None:
    found = guessed(tmp_path, "{train,val}/{cat,dog}/1.png", "test/{1,2}.png")

    assert found.splits == {"train": "train", "test": "val"}
    assert "not used: 'test', beside train, val" in found.remarks


def test_a_train_folder_alone_is_divided(tmp_path: Path) -> None:
    found = guessed(tmp_path, "Train/{cat,dog}/1.png")

    assert (found.splits, found.classes, found.classnames) == ({}, "Train", ["cat", "dog"])
    assert found.remarks == [
        "there is only 'Train', so each class is divided: 50 % train, 20 % val, 30 % test"
    ]


@pytest.mark.parametrize(
    ("above", "place"),
    [
        ("mine", "test"),
        ("mine_test", "test"),
        ("TestSet", "Test"),
        ("test", "test"),
        ("test", "test/test"),
        ("cars", "cars_test"),
        ("cars_test", "cars_test"),
        ("mine_test", "data/test"),
        ("archive", "mine_test/test"),
        ("my_eval", "eval_images"),
    ],
)
def test_a_test_folder_alone_is_the_test_set(tmp_path: Path, above: str, place: str) -> None:
    found = guess(made(tmp_path / above, f"{place}/{{cat,dog}}/1.png"))

    assert found
    assert (found.splits, found.remarks) == ({"test": place}, [])


@pytest.mark.parametrize("above", ["mine", "mine_val", "val"])
def test_a_validation_folder_alone_is_the_test_set(tmp_path: Path, above: str) -> None:
    found = guess(made(tmp_path / above, "val/{cat,dog}/1.png"))

    assert found
    assert found.splits == {"test": "val"}
    assert found.remarks == ["there is no test split, so 'val' is the test set and there is no val"]


@pytest.mark.parametrize("above", ["mine_train", "train"])
def test_a_train_folder_in_a_folder_called_train_is_told(tmp_path: Path, above: str) -> None:
    found = guess(made(tmp_path / above, "train/{cat,dog}/1.png"))

    assert found
    assert (found.splits, found.classes) == ({}, "train")
    assert found.remarks == [
        "there is only 'train', so each class is divided: 50 % train, 20 % val, 30 % test"
    ]


def test_class_folders_in_a_folder_called_test_are_divided_and_told(tmp_path: Path) -> None:
    found = guess(made(tmp_path / "test", "{cat,dog}/1.png"))

    assert found
    assert (found.splits, found.classes) == ({}, ".")
    assert found.remarks == [
        DIVIDED,
        "to score all of it, give a folder with 'test' in it and no other split",
    ]


def test_folders_beside_splits_are_left_out(tmp_path: Path) -> None:
    found = guessed(
        tmp_path,
        *("{train,test,extra,train_noisy}/{cat,dog}/1.png", "figures/1.png", "annotations/1.xml"),
        *("__MACOSX/{._1,2}.png", "labels/", "1.png"),
    )

    assert found.splits == {"train": "train", "test": "test"}
    assert found.remarks == [
        "left out: empty folder 'labels'; folder 'annotations' without an image (1 .xml); "
        f"images directly in {tmp_path}/mine, in no class folder: 1; folder __MACOSX (2 files)",
        "not used: 'extra', 'figures', 'train_noisy', beside train, test",
    ]


@pytest.mark.parametrize(
    ("place", "classes"),
    [
        ("{train,car,bus,plane}/1.png", "bus car plane train"),
        ("{train,car}/{1,2}.png", "car train"),
        ("{train/steam,train/diesel,car/diesel}/1.png", "car train"),
        ("{cat,dog}/images/1.png", "cat dog"),
        ("{test tube,beaker}/1.png", "beaker,test tube"),
        ("{test tube,train station}/1.png", "test tube,train station"),
        ("{TR,US,VA,TE}/1.png", "TE TR US VA"),
        ("{valid ticket,invalid ticket}/1.png", "invalid ticket,valid ticket"),
        ("{training,match,interview}/1.png", "interview match training"),
        ("data/{cat,dog}/1.png", "cat dog"),
        ("mine/{cat,dog}/1.png", "cat dog"),
        ("{photos,drawings}/1.png", "drawings photos"),
    ],
)
def test_a_class_may_be_called_like_a_split(tmp_path: Path, place: str, classes: str) -> None:
    found = guessed(tmp_path, place)

    assert found.splits == {}
    assert found.classnames == (classes.split(",") if "," in classes else classes.split())


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("{train,test}/1.png",), "images lie directly in 'test', 'train', by name splits, and"),
        (("train/{cat,dog}/1.png", "test/1.png"), "images lie directly in 'test', by name a split"),
        (("{train,test,car}/1.png",), "what is a class: 'test', 'train', by name splits"),
        (("test/{cat,dog}/1.png", "docs/1.png"), "what is a class: 'test', by name a split, and"),
        (("{train,val,dev}/{cat,dog}/1.png",), "candidates for the val split: 'dev', 'val'. Keep"),
        (("{train,Test,test}/{cat,dog}/1.png",), "candidates for the test split: 'Test', 'test'"),
        (("{train_1,train_2,test}/{cat,dog}/1.png",), "the train split: 'train_1', 'train_2'."),
        (("{train_1,train_2}/{cat,dog}/1.png",), "the train split: 'train_1', 'train_2'."),
        (
            ("{test tube,train station,car}/{day,night}/1.png",),
            "what is a class: 'test tube', 'train station', by name splits, and other folders",
        ),
        (
            ("train/{n01,n02}/1.png", "val/images/1.png"),
            "'train' and 'val' look like splits and have no class in common: n01, n02 in one, "
            "images in the other",
        ),
        (("{train,car,bus}/{day,night}/1.png",), "are 'bus', 'car', 'train' splits or classes?"),
        (("{A,B}/{cat,dog}/1.png",), "are 'A', 'B' splits or classes? All of them have the folder"),
        (("{fold1,fold2}/{cat,dog}/1.png",), "is 'fold1' a class? It has the folders 'cat', 'dog'"),
        (
            ("{art,sketch}/{dog,elephant}/1.png", "art/house/1.png"),
            "splits or classes? All of them",
        ),
        (("{cat,dog}/{train,test}/1.png",), "is 'cat' a class? It has the folders 'test', 'train'"),
        (("data/{train,test}/{a,b}/1.png", "docs/1.png"), "is 'data' a class? It has the folders"),
        (("{images,masks}/{cat,dog}/1.png",), "is 'images' a class? It has the folders 'cat',"),
        (("birds/{wren,owl}/1.png",), "it has 1 class folder, at least 2 are needed"),
        (("birds/{wren,owl}/1.png",), "Or did you mean --dataset /mine/birds, with 2 folders?"),
        (("test tube/{a,b}/1.png",), "Or did you mean --dataset /mine/test tube, with 2 folders?"),
        (("{train,test}/cat/1.png",), "it has 1 class folder, at least 2 are needed"),
        (("cat/1.png",), "it has 1 class folder, at least 2 are needed"),
        (("cat/1.png", "dog/{1,2}.HEIC"), "/mine/dog has 2 .heic and no image of a format that"),
        (("{train,test}/cat/1.png", "{train,test}/dog/1.heif"), "test/dog has 1 .heif and no"),
    ],
)
def test_what_cannot_be_told_is_refused(
    tmp_path: Path, places: tuple[str, ...], message: str
) -> None:
    assert message in refused(tmp_path, *places)


def test_a_split_may_lack_classes(tmp_path: Path) -> None:
    found = guessed(tmp_path, "train/{ant,Cat}/1.png", "test/{cat,dog}/1.png", "test/ant/")

    assert found.classnames == ["ant", "cat", "dog"]
    assert found.remarks == ["'Cat' of train is the class 'cat' of test"]


def test_an_empty_folder_is_no_class(tmp_path: Path) -> None:
    found = guessed(tmp_path, "{cat,dog}/1.png", "{owl,.cache,notes}/", "notes/1.txt", "x/y/z/")

    assert found.classnames == ["cat", "dog"]
    assert found.remarks == [
        "left out: empty folders 'owl', 'x'; folder 'notes' without an image (1 .txt); "
        "folder .cache (0 files)",
        DIVIDED,
    ]


def test_folders_inside_class_folders_are_told(tmp_path: Path) -> None:
    found = guessed(tmp_path, "animals/{cat,dog}/1.png", "plants/1.png")

    assert found.classnames == ["animals", "plants"]
    line = "folders inside a class folder are of its class: those in 'animals'"
    assert found.remarks == [DIVIDED, line]


def test_folders_inside_the_class_folders_of_splits_are_told(tmp_path: Path) -> None:
    found = guessed(tmp_path, "{train,test}/animals/{cat,dog}/1.png", "{train,test}/plants/1.png")

    assert found.classnames == ["animals", "plants"]
    assert found.remarks == ["folders inside a class folder are of its class: those in 'animals'"]


def test_files_of_a_class_that_one_split_cannot_read_are_counted(tmp_path: Path) -> None:
    """Silent before: the other split has the class, so its folder was taken for an empty one."""
    found = guessed(tmp_path, "{train,test}/cat/1.png", "train/dog/1.png", "test/dog/{1,2}")

    assert found.classnames == ["cat", "dog"]
    assert found.remarks == ["left out: folder 'test/dog' without an image (2 no ending)"]


def test_a_class_folder_that_is_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", "{train,test}/{cat,dog}/1.png")
    (folder / "train/cow").symlink_to("/nowhere/cow")

    found = guess(folder)
    assert found
    assert found.remarks == ["left out: 'train/cow', a link to nothing"]


@pytest.mark.parametrize("place", ["", "train/", "test/"])
@pytest.mark.parametrize("name", ["labels.csv", "metadata.jsonl", "Photos.TSV"])
def test_a_list_beside_class_folders_is_told(tmp_path: Path, place: str, name: str) -> None:
    found = guessed(tmp_path, "{train,test}/{cat,dog}/1.png", f"{place}{name}")

    folder = tmp_path / "mine" / place
    assert found.remarks == [
        f"not read: {name} in {folder}; to read what it lists, give --dataset {folder / name}"
    ]


@pytest.mark.parametrize("name", ["train.parquet", "00000.tar", "images.ZIP", "x.tar.gz"])
def test_tables_and_archives_beside_class_folders_are_told(tmp_path: Path, name: str) -> None:
    found = guessed(tmp_path, "test/{cat,dog}/1.png", name)

    assert found.splits == {"test": "test"}
    (line,) = found.remarks
    assert line.startswith(f"not read: {name} in {tmp_path}/mine, beside folders of images; ")


def test_hidden_folders_are_told_with_their_split(tmp_path: Path) -> None:
    found = guessed(tmp_path, "{train,test}/{cat,dog,.old}/1.png")

    assert found.remarks == [
        "left out: folder .old (1 file) in 'test'",
        "left out: folder .old (1 file) in 'train'",
    ]


def test_no_image_in_any_folder_is_no_layout(tmp_path: Path) -> None:
    assert guess(made(tmp_path / "mine", "1.png", "cat/", "data/1.parquet")) is None


def test_a_link_to_a_folder_above_is_no_class(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", "{cat,dog}/1.png")
    (folder / "loop").symlink_to(tmp_path, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")

    found = guess(folder)
    assert found
    assert found.classnames == ["cat", "dog"]
    assert found.remarks == [
        "left out: 'loop', a link to a folder above; 'self', a link to nothing",
        DIVIDED,
    ]


def test_two_names_of_one_folder_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine", "{cat,dog}/1.png")
    (folder / "kitten").symlink_to(folder / "cat", target_is_directory=True)

    with pytest.raises(DatasetError, match=r"mine/cat and .*mine/kitten are one folder, by a link"):
        guess(folder)
