"""Photographs in, answers out: by the command, as a user would, and against records."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import susx_bench
from susx_bench.data.named import label_of, read_classes, texts_of
from susx_bench.errors import OptionError
from susx_bench.events import Event
from susx_bench.events import Finished as Ended
from susx_bench.photos.calibration import confidence
from susx_bench.photos.classified import GIVEN, UNSURE
from susx_bench.photos.classify import ENOUGH
from susx_bench.photos.labels import read_labels
from susx_bench.photos.photographs import open_photos
from susx_bench.photos.tables import escaped, unescaped
from susx_bench.registry import DATASETS
from tests.conftest import Bundle, Command, Finished
from tests.data.made import digits as made_digits
from tests.data.made import encoded, photo, write

TEMPLATE = "a photo of the number: '{}'."
EACH = 6


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Unlabelled pictures of the digits in two folders, and whose each is."""
    folder = tmp_path_factory.mktemp("digits")
    data = made_digits("test")
    truth: dict[str, str] = {}
    seen = [0] * len(data.classnames)
    for sample in data.samples:
        if seen[sample.label] == EACH:
            continue
        seen[sample.label] += 1
        name = f"day {seen[sample.label] % 2}/{sample.key.replace('/', '-')}.png"
        truth[name] = data.classnames[sample.label]
        (folder / name).parent.mkdir(exist_ok=True)
        data.image(sample).save(folder / name)
    return folder, truth


@pytest.fixture
def places(digits: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(digits[0], tmp_path / "pictures"))


def names() -> str:
    return ",".join(DATASETS.get("digits").classnames)


@pytest.fixture
def classify(command: Command) -> Callable[..., Finished]:
    def call(*words: object) -> Finished:
        return command("classify", *words, "--encoder", "demo")

    return call


def read(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "predictions.csv").read_text())))


def right(out: Path, truth: dict[str, str]) -> int:
    return sum(row["class"] == truth[row["file"]] for row in read(out) if row["status"] != GIVEN)


# ---- end to end


def test_names_alone(
    classify: Callable[..., Finished],
    digits: tuple[Path, dict[str, str]],
    places: Path,
    tmp_path: Path,
) -> None:
    truth = digits[1]
    (places / "broken.jpg").write_bytes(b"\xff\xd8no")
    (places / "phone.heic").write_bytes(b"what a phone writes")
    (places / "=cmd.png").write_bytes((places / next(iter(truth))).read_bytes())
    out = tmp_path / "answers"

    done = classify(places, "--classes", names(), "--out", out, "--reject", 0.5)

    assert done.code == 0, done.err
    rows = read(out)
    assert len(rows) == len(truth) + 1
    assert right(out, truth | {"'=cmd.png": next(iter(truth.values()))}) > 0.5 * len(truth)
    assert "zero-shot (names alone" in done.out
    assert "not calibrated on any label" in done.out
    skipped = list(csv.reader(io.StringIO((out / "skipped.csv").read_text())))[1:]
    assert [row[0] for row in skipped] == ["broken.jpg", "phone.heic"]
    assert "skipped 2 files" in done.out
    table = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [row["file"] for row in table] == [unescaped(row["file"]) for row in rows]
    for row in rows:
        low = float(row["probability"]) < 0.5
        assert row["status"] == (UNSURE if low else "predicted")


@pytest.mark.parametrize(("each", "method"), [(2, "tipx"), (10, "tag-u-sus")])
def test_a_support_set_made_from_the_names(
    classify: Callable[..., Finished], command: Command, tmp_path: Path, each: int, method: str
) -> None:
    """With many photographs they are looked at together with the set."""
    data, classes = made_digits("test"), names()
    taken = dict.fromkeys(range(10), 0)
    for sample in data.samples:
        seen = taken[sample.label]
        taken[sample.label] += 1
        if seen < 3:  # of the set
            target = tmp_path / "mine" / data.classnames[sample.label] / f"{seen}.png"
        elif seen < 3 + each:
            target = tmp_path / "photos" / f"{data.classnames[sample.label]}-{seen}.png"
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        data.image(sample).save(target)
    words = ("support", "build", "--classes", classes, "--kind", "sus-lc")
    built = command(*words, "--import", tmp_path / "mine", "--per-class", 3)
    assert built.code == 0, built.err

    said = classify(
        *(tmp_path / "photos", "--classes", classes, "--support", "sus-lc"),
        *("--prompts", TEMPLATE, "--out", tmp_path / "out"),
    )

    assert said.code == 0, said.err
    assert f" · {method} (a support set made from the names" in said.out
    found = read(tmp_path / "out")
    right = sum(row["class"] == row["file"].rpartition("-")[0] for row in found)
    assert len(found) == 10 * each
    assert right > 0.6 * len(found)


def test_a_second_run_reads_the_store_and_writes_the_same(
    classify: Callable[..., Finished], places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers"
    assert classify(places, "--classes", names(), "--out", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*_: object) -> None:
        raise AssertionError("an image was encoded again")

    monkeypatch.setattr("susx_bench.features.encode.fill", fail)
    done = classify(places, "--classes", names(), "--out", out)

    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_corrections_are_given_and_the_rest_is_calibrated(
    classify: Callable[..., Finished],
    digits: tuple[Path, dict[str, str]],
    places: Path,
    tmp_path: Path,
) -> None:
    truth = digits[1]
    files = [file for place, file in enumerate(truth) if place % 2]
    lines = ["file,class", *(f'"{file}",{truth[file].upper()}' for file in files)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    out = tmp_path / "answers"

    done = classify(
        places, "--classes", names(), "--labelled", tmp_path / "labels.csv", "--out", out
    )

    assert done.code == 0, done.err
    rows = {row["file"]: row for row in read(out)}
    for file in files:
        assert rows[file]["status"] == GIVEN
        assert rows[file]["class"] == truth[file]
        assert rows[file]["probability"] == ""
    assert "tag (30 labelled images)" in done.out
    assert "ECE" in done.out
    left = len(truth) - len(files)
    assert right(out, truth) > 0.7 * left


def test_a_folder_of_labelled_images_names_the_classes(
    classify: Callable[..., Finished],
    digits: tuple[Path, dict[str, str]],
    places: Path,
    tmp_path: Path,
) -> None:
    """Any number per class, and a class without any; one of them lies among the photographs."""
    truth, labelled = digits[1], tmp_path / "labelled"
    for place, (file, name) in enumerate(truth.items()):
        (labelled / name).mkdir(parents=True, exist_ok=True)
        if name != "seven" and place % 3 == 0:
            shutil.copy(places / file, labelled / name / file.replace("/", "-"))
    own = places / next(iter(truth))
    (labelled / truth[next(iter(truth))] / "link.png").symlink_to(own)

    done = classify(places, "--labelled", labelled, "--out", tmp_path / "answers")

    assert done.code == 0, done.err
    given = [row for row in read(tmp_path / "answers") if row["status"] == GIVEN]
    assert [row["file"] for row in given] == [next(iter(truth))]


def test_copies_are_sorted_and_nothing_is_overwritten(
    classify: Callable[..., Finished], places: Path, tmp_path: Path
) -> None:
    for place, folder in enumerate(("a", "b")):
        (places / folder).mkdir()
        (places / folder / "same.png").write_bytes(encoded(photo(place)))
    out, copies = tmp_path / "answers", places / "sorted"
    words = (places, "--classes", names(), "--copy-to", copies, "--out", out)
    before = {path: path.read_bytes() for path in places.rglob("*.png")}
    (copies / "unsure").mkdir(parents=True)
    (copies / "unsure" / "same.png").write_bytes(b"somebody's")

    done = classify(*words, "--reject", 1)
    again = classify(*words, "--reject", 1)

    assert done.code == again.code == 0, done.err
    assert (copies / "unsure" / "same.png").read_bytes() == b"somebody's"
    made = sorted((copies / "unsure").iterdir())
    assert len(made) == len(before) + 1
    assert {path.read_bytes() for path in made} >= set(before.values())
    assert all(path.read_bytes() == content for path, content in before.items())
    assert f"copied {len(before)} into" in done.out
    assert "2 renamed" in done.out
    assert f"copied 0 into {copies}; {len(before)} were there" in again.out
    assert len(read(out)) == len(before)  # the copies are no photographs


def test_links_and_copies_that_are_of_another_class_now(
    classify: Callable[..., Finished],
    digits: tuple[Path, dict[str, str]],
    places: Path,
    tmp_path: Path,
) -> None:
    out, copies, truth = tmp_path / "answers", tmp_path / "sorted", digits[1]
    words = (places, "--classes", names(), "--copy-to", copies, "--link", "--out", out)
    assert classify(*words).code == 0
    row = read(out)[0]
    other = next(name for name in names().split(",") if name != row["class"])
    (tmp_path / "labels.csv").write_text(f"{row['file']},{other}\n")

    done = classify(*words, "--labelled", tmp_path / "labels.csv")

    assert done.code == 0, done.err
    for folder in (row["class"], other):
        link = copies / folder / Path(row["file"]).name
        assert link.resolve() == (places / row["file"]).resolve()
    assert "of an earlier run stay" in done.out
    assert len(truth) == len(read(out))


def test_photographs_in_tables_and_patterns(
    classify: Callable[..., Finished], places: Path, tmp_path: Path
) -> None:
    import pyarrow as pa

    files = sorted(places.rglob("*.png"))
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pq.write_table(pa.table({"image": images}), tmp_path / "all.parquet")
    for place, named in enumerate((tmp_path / "all.parquet", places / "**" / "*.png")):
        out = tmp_path / f"answers-{place}"
        done = classify(named, "--classes", names(), "--out", out)
        assert done.code == 0, done.err
        assert len(read(out)) == len(files)
    first, second = (read(tmp_path / f"answers-{place}") for place in (0, 1))
    assert [row["class"] for row in first] == [row["class"] for row in second]


@pytest.mark.parametrize("method", ["zero-shot", "tip-adapter", "tag", "tag-u", "transclip-fs"])
def test_a_bundle_gets_the_answers_of_its_record(
    method: str, command: Command, bundle: Bundle, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    """The same method and tuning: accuracy and hyper-parameters are the record's."""
    path = bundle()
    tune = ("--tune", "fixed")
    record = command(
        "run", "--method", method, "--setting", "few-shot", "--features", path, *tune, "--json"
    ).records[0]

    done = command(
        "classify", "--features", path, "--method", method, *tune, "--out", tmp_path / "answers"
    )

    assert done.code == 0, done.err
    labels = [f"class {label}" for label in tensors["test_labels"].tolist()]
    rows = read(tmp_path / "answers")
    hits = sum(row["class"] == label for row, label in zip(rows, labels, strict=True))
    assert 100 * hits / len(labels) == pytest.approx(record["accuracy"])
    said = json.loads((tmp_path / "answers" / "classify.json").read_text())
    assert said["hparams"] == pytest.approx(record["hparams"])


def test_in_python(digits: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    heard: list[Event] = []
    found = susx_bench.classify(
        *(digits[0], names()), encoder="demo", method="tag-u", reject=0.1, listen=heard.append
    )

    assert found.table.column_names[:2] == ["file", "class"]
    assert len(found.table) == len(digits[1])
    assert not list(tmp_path.glob("*.csv"))
    # As sure on average as zero-shot is, whatever the method's own scale.
    ended = [event for event in heard if isinstance(event, Ended)]
    assert [(event.job.what, event.job.done) for event in ended] == [("encoding", 60)]
    plain = susx_bench.classify(digits[0], names(), encoder="demo", method="zero-shot")
    assert float(found.probabilities[:, 0].mean()) == pytest.approx(
        float(plain.probabilities[:, 0].mean()), abs=1e-4
    )
    assert plain.classifier.temperature == 1


def test_tag_u_is_the_default_for_many_photographs(
    digits: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = susx_bench.classify(digits[0], names(), encoder="demo")
    monkeypatch.setattr("susx_bench.photos.classify.ENOUGH", len(digits[1]))
    many = susx_bench.classify(digits[0], names(), encoder="demo")

    assert (few.classifier.asked, many.classifier.asked) == ("zero-shot", "tag-u")
    assert str(ENOUGH) in few.why


def test_few_labels_stand_beside_many_photographs(
    digits: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held out is not among the labelled images that its scores come from."""
    truth = digits[1]
    lines = [f"{file},{name}" for place, (file, name) in enumerate(truth.items()) if place % 4 == 0]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    labels = tmp_path / "labels.csv"
    tag = susx_bench.classify(digits[0], names(), encoder="demo", labelled=labels)
    monkeypatch.setattr("susx_bench.photos.classify.ENOUGH", 10)
    monkeypatch.setattr("susx_bench.photos.classify.PER_CLASS", 1)

    found = susx_bench.classify(digits[0], names(), encoder="demo", labelled=labels)

    assert (tag.classifier.asked, found.classifier.asked) == ("tag", "tag-u")
    assert len(found.classifier.context.support) == len(lines) == 15
    quality = found.classifier.calibration
    assert quality is not None
    assert quality.accuracy < 100
    assert "15 labelled images, and 45 photographs of 10 classes" in found.why


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    image = photo(1).crop((0, 0, 48, 24))
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: right is up
    image.save(tmp_path / "turned.png", exif=exif)

    photos = open_photos([str(tmp_path)])

    upright = photos.image(photos.samples[0])
    assert upright.size == (24, 48)
    assert upright.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_a_new_photograph_leaves_other_lists_as_they_are(tmp_path: Path) -> None:
    from susx_bench.photos.photographs import Photo, Photos

    many = [Photo(f"{i:05d}.jpg", lambda: b"") for i in range(12_000)]
    before = {part.sha256 for part in Photos(many, "here").groups()}
    after = {
        part.sha256
        for part in Photos(
            [*many[:7000], Photo("06999x.jpg", lambda: b""), *many[7000:]], ""
        ).groups()
    }

    assert len(before) > 2
    assert len(after - before) <= 2


# ---- what is wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--classes", "cat"), "1 class, and photographs are told apart between at least 2"),
        (("--classes", "names.txt"), "There is no file names.txt"),
        (("--classes", "cat,dog,Cat"), "'Cat' is name 1 and name 3"),
        (("--classes", "cat,,dog"), "name 2: it is empty"),
        ((), "Missing option '--classes'"),
        (("--classes", "cat,dog", "--method", "tda"), "streaming"),
        (("--classes", "cat,dog", "--method", "calip"), "spatial"),
        (("--classes", "cat,dog", "--method", "tag"), "--labelled"),
        (("--classes", "cat,dog", "--method", "nope"), "no method called 'nope'"),
        (("--classes", "cat,dog", "--prompts", "a {} of {}."), "one {}"),
        (("--classes", "cat,dog", "--prompts", "nope"), "no prompt kind called 'nope'"),
        (("--classes", "cat,dog", "--labelled", "none"), "there is no such file or folder"),
        (("--classes", "cat,dog", "--link"), "--link goes with --copy-to"),
        (("--classes", "cat,dog", "--support", "sus-sd"), "no such support set"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(
    words: tuple[str, ...], said: str, classify: Callable[..., Finished], places: Path
) -> None:
    done = classify(places, *words, "--out", "answers")

    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.out
    assert not Path("answers").exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, "there is no image that can be read, there is nothing"),
        ({"a.txt": b"x"}, "1 .txt"),
        ({"a.heic": b"x"}, "HEIC is not decoded here"),
        ({"a.jpg": b"x", "b.png": b""}, "none of 2 photographs can be read; the first, a.jpg"),
    ],
)
def test_no_photograph_is_one_line(
    made: dict[str, bytes], said: str, classify: Callable[..., Finished], tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    for name, content in made.items():
        (tmp_path / "here" / name).write_bytes(content)

    done = classify("here", "--classes", "cat,dog", "--out", "answers")

    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["labels.csv", "list.jsonl", "a.TSV"])
def test_a_list_is_no_photograph(
    name: str, tmp_path: Path, classify: Callable[..., Finished]
) -> None:
    (tmp_path / name).write_text("file,label\na.jpg,cat\n")

    done = classify(tmp_path / name, "--classes", "cat,dog", "--out", tmp_path / "out")

    assert done.code == 2
    assert f"{name}: it is a list, and no photograph. Give the folder of the photogr" in done.err
    assert f"measure on them: susx-bench run --dataset {tmp_path / name}" in done.err


def test_a_folder_that_holds_something_else_is_left_alone(
    classify: Callable[..., Finished], places: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")

    done = classify(places, "--classes", names(), "--out", tmp_path / "mine")

    assert done.code == 2
    assert "holds something else (thesis.txt)" in done.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file,class\nday 1/x.png,bird\n", "1 of its 1 classes are not among those named: 'bird'"),
        ("nowhere.png,one\n", "nowhere.png is neither one of the photographs"),
        ("FIRST,one\nFIRST,two\n", "is 'two' here and 'one' in"),
        ("file;class\nx;one\n", "row 1 has 1 columns"),
        ("", "it has no labelled photograph"),
        ("file,class\n", "it has no labelled photograph"),
        ('"open,one\n', "cannot be read"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(
    content: str,
    said: str,
    classify: Callable[..., Finished],
    digits: tuple[Path, dict[str, str]],
    places: Path,
    tmp_path: Path,
) -> None:
    first = next(iter(digits[1]))
    (tmp_path / "labels.csv").write_text(content.replace("FIRST", first))

    done = classify(places, "--classes", names(), "--labelled", "labels.csv", "--out", "answers")

    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_one_labelled_image_teaches_nothing_and_it_is_said(
    classify: Callable[..., Finished], digits: tuple[Path, dict[str, str]], places: Path
) -> None:
    file, name = next(iter(digits[1].items()))
    Path("labels.csv").write_text(f"{file},{name}\n")

    done = classify(places, "--classes", names(), "--labelled", "labels.csv", "--out", "answers")

    assert done.code == 0, done.err
    assert "The labelled images are not used" in done.err
    assert read(Path("answers"))[sorted(digits[1]).index(file)]["status"] == GIVEN


# ---- parts


@pytest.mark.parametrize("text", ["cat.jpg", "=1+1", "-x", "'=x", "''@", "'a", "\uff1dx"])
def test_a_cell_is_no_formula_and_reads_back(text: str) -> None:
    cell = escaped(text)

    assert not cell.startswith(("=", "+", "-", "@", "\uff1d"))
    assert unescaped(cell) == text


@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_one_picture_has_one_class_whatever_its_files_are(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "photos/0.png", encoded(photo(0)))
    write(tmp_path / "labelled/cat/1.png", encoded(photo(1)))
    write(tmp_path / "labelled/dog/2.png", encoded(photo(2)))
    photos, folder = open_photos([str(tmp_path / "photos")]), tmp_path / "labelled"
    assert len(read_labels([folder], ["cat", "dog"], photos)) == 2

    write(folder / f"dog/3.{kind}", encoded(photo(1), kind))
    with pytest.raises(OptionError, match=r"dog/3.* is 'dog', and .*cat/1.png, the same picture"):
        read_labels([folder], ["cat", "dog"], photos)


def test_class_names_are_read_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("night_owl\ncat\n")

    assert read_classes(tmp_path / "names.txt") == ("night owl", "cat")
    assert read_classes("night_owl, cat") == ("night owl", "cat")
    assert label_of("Night-Owl", ("night owl", "cat")) == 0
    assert label_of("owl", ("night owl", "cat")) is None
    assert texts_of("a {} here", ("x", "y"), None, print) == (("a x here",), ("a y here",))


def test_a_labelled_photograph_is_found_by_any_path(tmp_path: Path) -> None:
    for number, name in enumerate(("a/1.png", "a/2.png", "b/3.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(photo(number)))
    photos = open_photos([str(tmp_path / "a")])
    lines = f"1.png,x\n{tmp_path / 'a' / '2.png'},y\nb/3.png,x\n"
    (tmp_path / "labels.csv").write_text(lines)

    found = read_labels([tmp_path / "labels.csv"], ("x", "y"), photos)

    assert found.given == {0: 0, 1: 1}
    assert [(photo.path, label) for photo, label in found.others] == [(tmp_path / "b/3.png", 0)]


def test_confidence_is_the_mean_of_the_largest_probability() -> None:
    logits = torch.tensor([[0.0, 0.0], [100.0, 0.0]])

    assert confidence(logits) == pytest.approx(0.75)


def test_folders_of_splits_are_no_classes(classify: Callable[..., Finished], places: Path) -> None:
    split = places.parent / "data"
    for name in ("TRAINING_DATA", "Testing Images"):
        (split / name).mkdir(parents=True)
        (split / name / "1.png").write_bytes(encoded(photo(1)))

    done = classify(places, "--labelled", split, "--out", places.parent / "answers")

    assert done.code == 2
    assert "are splits and no classes" in done.err
