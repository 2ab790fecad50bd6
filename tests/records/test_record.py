from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from susx_bench.errors import DriftError, OutputError, RecordError
from susx_bench.records.files import sha256_json, write_atomic
from susx_bench.records.record import Record, Search
from susx_bench.records.store import (
    Predictions,
    folder_name,
    predictions_path,
    read,
    read_predictions,
    record_path,
    write,
    write_predictions,
)
from tests.records.example import make_record


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(np.array([1, 0, 2]), np.array([0.5, 1.5, 0.1], dtype=np.float32))


@pytest.fixture
def path(tmp_path: Path, predictions: Predictions) -> Path:
    path = record_path(tmp_path, "toy", "RN50:openai", "tipx", "ab" * 32)
    write(path, make_record(predictions_sha256=predictions.sha256), predictions)
    return path


def test_reads_back_what_was_written(path: Path, predictions: Predictions) -> None:
    record = read(path)

    assert record == make_record(predictions_sha256=predictions.sha256).sealed()
    assert record.accuracy == 200 / 3
    assert json.loads(path.read_text())["schema"] == 5


def test_the_checksum_is_that_of_the_file_without_it() -> None:
    """With what JSON changes: tuples, and the name of the schema."""
    search = Search(space="x", settings=9, images=3, score=70.0, ranges={"alpha": (0.5, 2.0)})
    record = make_record(search=search, confusions=[("a", "b", 2)]).sealed()
    values = json.loads(record.to_json())
    checksum = values.pop("checksum")
    compact = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    assert checksum == hashlib.sha256(compact).hexdigest()


def test_lies_under_dataset_and_encoder(path: Path, tmp_path: Path) -> None:
    assert path == tmp_path / "toy" / "RN50-openai" / "tipx-abababababab.json"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "x:y z", ""])
def test_no_name_leaves_the_folder(name: str) -> None:
    made = folder_name(name)

    assert made
    assert "/" not in made
    assert not made.startswith(".")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r | {"accuracy": 99.0}, "was changed after it was written"),
        (lambda r: r | {"hparams": {"alpha": 2.0}}, "was changed after it was written"),
        (lambda r: r | {"schema": 3}, "schema"),
        (lambda r: r | {"surprise": 1}, "surprise"),
        (lambda r: {k: v for k, v in r.items() if k != "seed"}, "seed"),
        (lambda r: r | {"accuracy": "high"}, "accuracy"),
    ],
)
def test_a_changed_record_is_not_believed(path: Path, edit, message: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))

    with pytest.raises(RecordError, match=message) as caught:
        Record.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a cat", 'a "cat": b', "a\\n    cat", "chat: é", "a,  b"])
@pytest.mark.parametrize("layout", [{"indent": 2}, {"indent": 4}, {"separators": (",", ":")}])
def test_a_checksum_is_of_the_values_and_not_of_their_layout(
    tmp_path: Path, name: str, layout: dict[str, Any]
) -> None:
    search = Search(space="x", settings=9, images=3, score=70.0, ranges={"alpha": (0.5, 2.0)})
    record = make_record(search=search, git=name).sealed()
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record.as_dict(), **layout))

    assert Record.read(path) == record

    path.write_text(json.dumps(record.as_dict() | {"device": "another"}, **layout))
    with pytest.raises(RecordError, match="changed after"):
        Record.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"accuracy": NaN}', "\x00\xff"])
def test_a_broken_file_is_not_believed(path: Path, content: str) -> None:
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(RecordError):
        Record.read(path)


def test_predictions_of_another_cell_are_not_believed(path: Path, predictions: Predictions) -> None:
    other = Predictions(predictions.top1[::-1].copy(), predictions.margin)
    write(path.with_name("other-1.json"), make_record(predictions_sha256=other.sha256), other)
    predictions_path(path).write_bytes(
        predictions_path(path.with_name("other-1.json")).read_bytes()
    )

    with pytest.raises(RecordError, match="does not hold the predictions"):
        read(path)


def test_missing_predictions_are_noticed(path: Path) -> None:
    predictions_path(path).unlink()

    with pytest.raises(RecordError, match="cannot be read"):
        read(path)


def test_prediction_hash_covers_position_and_class() -> None:
    a = Predictions(np.array([1, 0]), np.array([0.5, 1.5], dtype=np.float32))
    swapped = Predictions(np.array([0, 1]), a.margin)
    nearer = Predictions(a.top1, np.array([0.1, 0.2], dtype=np.float32))

    assert a.sha256 != swapped.sha256
    assert a.sha256 == nearer.sha256


@pytest.mark.parametrize(("classes", "bytes_an_image"), [(1000, 6), (40_000, 8)])
def test_predictions_take_few_bytes(path: Path, classes: int, bytes_an_image: int) -> None:
    n = 10_000
    generator = np.random.default_rng(0)
    top1 = generator.integers(0, classes, n)
    top1[0] = classes - 1
    margin = generator.random(n, dtype=np.float32) * 20
    margin[1] = 1e9
    sure = generator.random(n, dtype=np.float32)
    write_predictions(path, predictions := Predictions(top1, margin, sure))
    back = read_predictions(path)

    assert predictions_path(path).stat().st_size - 500 < bytes_an_image * n
    assert back.sha256 == predictions.sha256
    assert np.array_equal(back.top1, top1)
    assert np.allclose(back.margin[2:], margin[2:], rtol=1e-3)
    assert back.margin[1] == 65504
    assert back.confidence is not None
    assert np.abs(back.confidence - sure).max() < 3e-4


def test_predictions_of_scores_that_are_no_logits(path: Path, predictions: Predictions) -> None:
    write_predictions(path, predictions)

    assert read_predictions(path).confidence is None


def test_a_number_that_was_not_counted_is_left_out_of_the_file() -> None:
    without, blank = make_record(), make_record(blank={"nll": "its scores are sums"}, top5=80.0)

    assert "nll" not in without.sealed().to_json()
    assert "blank" not in json.loads(without.to_json())
    assert json.loads(blank.to_json())["blank"] == {"nll": "its scores are sums"}
    assert "ece" not in json.loads(blank.to_json())
    assert make_record(top5=10.0).contradiction() == "top5 is 10, less than the accuracy of 66.6667"


def test_a_failed_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, b"old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_test": 0}, "n_test: Input should be greater than or equal to 1"),
        ({"n_test": 10**30}, "n_test"),
        ({"shots": 10**30}, "shots"),
        ({"shots": -1}, "shots"),
        ({"seed": 2**64}, "seed"),
        ({"seconds": {"encode": 0.0, "fit": 1e308, "search": 0.0, "predict": 0.0}}, "seconds.fit"),
        ({"accuracy": 101.0}, "accuracy"),
        ({"logit_scale": 0.0}, "logit_scale"),
        ({"hparams": {"alpha": 1e300}}, "hparams.alpha"),
        ({"method": ""}, "method"),
        ({"method": "m" * 10_000}, "method"),
        ({"split_sha256": "../../etc/passwd"}, "split_sha256"),
        ({"started": "yesterday"}, "started: 'yesterday' is no time with a zone"),
        ({"started": "2026-01-01T00:00:00"}, "started"),
        ({"right": "////"}, "right has 3 bytes, 3 test images take 1"),
        ({"correct": 3}, "right has 2 images right, correct says 3"),
        ({"accuracy": 50.0}, "accuracy has 1.5 images right, correct says 2"),
        ({"num_classes": 6}, "classes has 5 rows, num_classes says 6"),
        ({"classes": [["a", 2, 1], ["b", 0, 2], *[[c, 0, 0] for c in "cde"]]}, "'a' has 2 of 1"),
        ({"classes": [["a", 2, 2], ["b", 0, 9], *[[c, 0, 0] for c in "cde"]]}, "has 11 images"),
        ({"confusions": [["b", "z", 1]]}, "confusions: 'z' is none of the classes"),
    ],
)
def test_a_strangers_record_of_impossible_values_is_refused(
    path: Path, changes: dict[str, Any], said: str
) -> None:
    """Its checksum is right, so only the values can tell."""
    values = json.loads(path.read_text()) | changes
    del values["checksum"]
    path.write_text(json.dumps(values | {"checksum": sha256_json(values)}))

    with pytest.raises(RecordError) as caught:
        Record.read(path)
    assert not isinstance(caught.value, DriftError)
    assert f"{path}: " in str(caught.value)
    assert said in str(caught.value)
