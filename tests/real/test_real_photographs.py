"""Classification of real photographs, and of real features whose record is known."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Command

pytestmark = pytest.mark.real


@pytest.mark.parametrize("method", ["zero-shot", "tag", "tag-u"])
@pytest.mark.parametrize("name", ["whurs19_rn50", "caltech101-named_vit-b-32_4shot"])
def test_the_accuracy_is_that_of_the_record(
    name: str, method: str, real: Path, command: Command
) -> None:
    path = real / "features" / f"{name}.safetensors"
    labelled = method == "tag"
    setting, tune = ("few-shot", "support") if labelled else ("name-only", "fixed")
    told = ("--method", method, "--setting", setting, "--features", path, "--tune", tune, "--json")
    record = command("run", *told).records[0]

    words = ("--features", path, "--method", method, "--tune", tune, "--out", "answers")
    done = command("classify", *words)

    assert done.code == 0, done.err
    with Path("answers/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = load_file(path)["test_labels"].tolist()
    names = json.loads(Path("answers/classify.json").read_text())["classes"]
    hits = sum(row["class"] == names[label] for row, label in zip(rows, labels, strict=True))
    if method == "tag-u":
        # Beside a support set it learns from that too; its record has names alone.
        assert 100 * hits / len(labels) > record["accuracy"] - 1
    else:
        assert 100 * hits / len(labels) == pytest.approx(record["accuracy"])


def test_photographs_are_classified_looked_at_and_corrected(
    real: Path, command: Command, tmp_path: Path
) -> None:
    """90 of 10 classes, with the demo's encoder: what is tested is the machinery."""
    root = real / "caltech101"
    table = json.loads((root / "split_zhou_Caltech101.json").read_text())
    rows = [row for split in table.values() for row in split]
    names = sorted({name for _, _, name in rows})[:10]
    truth = {}
    (tmp_path / "photos").mkdir()
    for place, (file, _, name) in enumerate(row for row in rows if row[2] in names):
        truth[f"{place:03d}.jpg"] = name
        shutil.copy(root / "101_ObjectCategories" / file, tmp_path / "photos" / f"{place:03d}.jpg")
    words = ("classify", "photos", "--classes", ",".join(names), "--encoder", "demo", "--page")

    first = command(*words, "--out", "answers")
    assert first.code == 0, first.err
    given = dict(list(truth.items())[::18])
    lines = [f"{file},{name}" for file, name in given.items()]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    again = command(*words, "--labelled", "labels.csv", "--out", "answers")

    assert again.code == 0, again.err
    with Path("answers/predictions.csv").open() as file_:
        found = {row["file"]: row for row in csv.DictReader(file_)}
    assert found.keys() == truth.keys()
    assert len(given) == 5
    assert {f: row["class"] for f, row in found.items() if row["status"] == "given"} == given
    assert len(list(Path("answers/thumbs").glob("*/*.jpg"))) == 90
