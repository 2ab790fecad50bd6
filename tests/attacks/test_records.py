"""A stranger's record with a valid checksum: nothing that it names is run, opened or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from susx_bench.records.record import Record
from susx_bench.records.store import Predictions, read_predictions, write
from tests.conftest import Command


@pytest.fixture
def record(command: Command) -> Path:
    words = ("--method", "zero-shot", "--setting", "few-shot", "--out", "out", "--json")
    done = command("run", *words)
    assert done.code == 0, done.err
    return Path(done.records[0]["record"])


def forge(path: Path, **changes: Any) -> None:
    predictions: Predictions = read_predictions(path)
    write(path, Record.read(path).model_copy(update=changes), predictions)


@pytest.mark.parametrize("source", ["", "0" * 64])
def test_the_python_file_that_a_record_names_is_not_run(
    source: str, record: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "x.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass X: pass\n")
    forge(record, method="./x.py:X", method_source=source)

    done = command("records", "verify", record)

    assert done.code == 2
    assert "Name it, --method FILE.py:CLASS" in done.err
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset_given": "./stranger"}, "Name the place, --dataset ./stranger"),
        ({"dataset_given": "", "dataset": "/dev"}, "Name the place, --dataset /dev"),
        ({"dataset_given": "hf:stranger/data"}, "Name the place, --dataset hf:stranger/data"),
        ({"encoder": "local-dir:./stranger"}, "Name it, --encoder local-dir:./stranger"),
        ({"encoder": "hf-hub:stranger/model"}, "nothing is downloaded without --fetch"),
        ({"setting": "name-only", "support": "../stranger"}, "Name it, --support ../stranger"),
        ({"setting": "name-only", "support": "~/stranger"}, "Name it, --support ~/stranger"),
        ({"protocol": "bundle"}, "Name it, --features"),
    ],
)
def test_what_a_record_names_is_asked_for(
    changes: dict[str, Any], told: str, record: Path, tmp_path: Path, command: Command
) -> None:
    """A folder that is there would be read, and an address asked: the test has no connection."""
    (tmp_path / "stranger/cat").mkdir(parents=True)
    forge(record, **changes)

    done = command("records", "verify", record)

    assert done.code == 2, done.out
    assert told in done.err.replace("\n", " ")
    assert len(done.err.strip().splitlines()) == 1
