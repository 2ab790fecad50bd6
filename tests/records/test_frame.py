"""Records as tables of others."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import susx_bench as sb
from susx_bench.errors import OptionError, PackageMissingError, RecordError
from tests.conftest import Command
from tests.records.example import make_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, hparams in enumerate([{"alpha": 1.0}, {}, {"alpha": 2.0, "kappa": 3.0}]):
        record = make_record(seed=place, hparams=hparams, input_sha256=f"{place:064x}", ece=5.0)
        (tmp_path / f"{place}.json").write_text(record.sealed().to_json())
    return tmp_path


def test_a_row_each_with_a_column_for_each_value(folder: Path) -> None:
    table = sb.load_records(folder, "arrow")

    assert table["seed"].to_pylist() == [0, 1, 2]
    assert table["hparams.alpha"].to_pylist() == [1.0, None, 2.0]
    assert table["hparams.kappa"].to_pylist() == [None, None, 3.0]
    assert table["seconds.search"].to_pylist() == [2.0] * 3
    assert table["ece"].to_pylist() == [5.0] * 3
    assert table["macro_f1"].to_pylist() == [None] * 3
    assert table["schema"].to_pylist() == [5] * 3
    assert [Path(path).name for path in table["path"].to_pylist()] == ["0.json", "1.json", "2.json"]
    assert not {"right", "classes", "confusions"} & set(table.column_names)


def test_as_pandas(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = sb.load_records(str(folder))

    assert isinstance(frame, pandas.DataFrame)
    assert frame.groupby("method")["accuracy"].mean().to_dict() == {"tipx": pytest.approx(200 / 3)}


def test_as_polars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars takes an Arrow table as it is."""
    monkeypatch.setitem(sys.modules, "polars", SimpleNamespace(from_arrow=lambda table: table))

    assert isinstance(sb.load_records(folder, "polars"), pa.Table)


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(PackageMissingError, match="pip install polars"):
        sb.load_records(folder, "polars")
    with pytest.raises(OptionError, match="'csv' is not one of pandas, polars, arrow"):
        sb.load_records(folder, "csv")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="no such folder"):
        sb.load_records(folder / "none", "arrow")


def test_export(folder: Path, command: Command) -> None:
    done = command("records", "export", folder, "--parquet", "all.parquet")

    assert done.out == "wrote 3 records to all.parquet\n"
    assert pq.read_table("all.parquet").equals(sb.load_records(folder, "arrow"))
