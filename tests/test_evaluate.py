"""A run as a call: the records of the command line, tables for people, nothing printed or left."""

from __future__ import annotations

import json
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import susx_bench as sb
from susx_bench.errors import (
    BundleError,
    OptionError,
    PackageMissingError,
    PluginError,
    UnknownNameError,
)
from susx_bench.events import Event, Finished
from susx_bench.records.record import Record
from susx_bench.registry import METHODS
from susx_bench.runner.request import Request
from tests.conftest import META, Bundle, Command

SAME = {"shots": 1, "seed": 1}
_OTHERWISE = {"seconds", "started", "checksum", "git"}


class Mine(sb.Method):
    """Zero-shot, by hand."""

    name: ClassVar[str] = "mine"
    needs: ClassVar[frozenset[Any]] = frozenset({"text"})

    def fit(self, context: sb.Context) -> None:
        self._text = context.text

    def logits(self, images: Tensor) -> Tensor:
        return 100 * images @ self._text.T


def said(record: Record | dict[str, Any]) -> dict[str, Any]:
    """What a record says, without when it was measured and how long that took."""
    whole = record.as_dict() if isinstance(record, Record) else record
    return {name: value for name, value in whole.items() if name not in {*_OTHERWISE, "record"}}


@pytest.fixture
def arrays(tensors: dict[str, Tensor]) -> sb.Features:
    given: dict[str, Any] = {name: rows.numpy() for name, rows in tensors.items()}
    return sb.Features(**given)


def test_the_records_are_those_of_the_command_line(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--setting", "few-shot", "--method", "tag,tipx", "--shots", "1,2", "--seed", 1)
    told = command("run", *words, "--json").records
    capsys.readouterr()

    results = sb.evaluate(["tag", "tipx"], dataset="digits", shots=[1, 2], seed=1, out="called")

    assert capsys.readouterr() == ("", "")
    assert [said(record) for record in results] == [said(record) for record in told]
    for record, line in zip(results, told, strict=True):
        here = Path(line["record"].replace("results", "called", 1))
        assert json.loads(here.read_text())["input_sha256"] == record.input_sha256
    again = sb.evaluate(["tag", "tipx"], dataset="digits", shots=[1, 2], seed=1, out="results")
    assert [record.started for record in again] == [line["started"] for line in told]


def test_without_a_folder_nothing_is_left(tmp_path: Path) -> None:
    results = sb.evaluate("zero-shot")

    assert len(results) == 1
    assert results.records[0].dataset == "digits"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_bundle_is_a_path_or_arrays(
    bundle: Bundle, arrays: sb.Features, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """The same numbers under the same hash, however they are given."""
    file = bundle()
    given: dict[str, Any] = {**tensors}
    torches = sb.Features(**given, dataset="toy", encoder="made:up", logit_scale=50.0)

    by_path = sb.evaluate(["tag", "zero-shot"], features=file)
    by_text = sb.evaluate(["tag", "zero-shot"], features=str(file))
    by_tensors = sb.evaluate(["tag", "zero-shot"], features=torches)
    saved = sb.evaluate("tag", features=torches.save(tmp_path / "saved.safetensors"))
    named = sb.evaluate("tag", features=arrays, dataset="toy", encoder="made:up", logit_scale=50.0)

    for other in (by_text, by_tensors):
        assert [said(record) for record in other] == [said(record) for record in by_path]
    assert said(saved[0]) == said(named[0]) == said(by_path[0])
    assert META["dataset"] == by_path[0].dataset
    assert sb.evaluate("tag", features=arrays)[0].dataset == "features"


def test_lists_and_other_numbers_are_features_too(tensors: dict[str, Tensor]) -> None:
    lists: Any = {name: rows.tolist() for name, rows in tensors.items()}
    doubles: Any = {
        name: rows.double().numpy() if rows.is_floating_point() else rows.numpy().astype(np.int32)
        for name, rows in tensors.items()
    }

    first = sb.evaluate("tip-adapter", features=sb.Features(**lists))[0]

    assert said(sb.evaluate("tip-adapter", features=sb.Features(**doubles))[0]) == said(first)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"test": 2 * torch.eye(16)[:7]}, r"Features: 7 of 7 rows of 'test' are not unit.*Divide"),
        ({"test": None}, "Features: 'test' is None"),
        ({"test": ["a"]}, "Features: 'test'"),
        ({"test": [[object()]]}, "Features: 'test' is no array of numbers"),
        ({"support": None}, "has 'support_labels' but no 'support'"),
        ({"test_labels": np.zeros(3, dtype=int)}, r"'test_labels' has shape \(3,\)"),
        ({"classnames": ["a", "b"]}, "Features: 2 class names for 5 rows of 'text'"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    change: dict[str, Any], line: str, tensors: dict[str, Tensor]
) -> None:
    changed: dict[str, Any] = {**tensors, **change}
    with pytest.raises(BundleError, match=line):
        sb.evaluate("zero-shot", features=sb.Features(**changed))


@pytest.mark.parametrize("out", [None, "kept"])
def test_test_images_without_labels_are_predicted(
    out: str | None, tensors: dict[str, Tensor]
) -> None:
    """The answers are those of the same images with labels; that nothing is scored is said."""
    names = [f"<{i}>" for i in range(5)]
    scored: dict[str, Any] = {**tensors, "classnames": names}
    unlabelled: dict[str, Any] = {**scored, "test_labels": None}
    methods = ["tag", "zero-shot", "gda"]

    results = sb.evaluate(methods, features=sb.Features(**unlabelled), out=out)
    again = sb.evaluate(methods, features=sb.Features(**unlabelled), out=out)
    whole = sb.evaluate(methods, features=sb.Features(**scored))

    assert results.records == []
    assert [each.method for each in results.predictions] == methods
    for mine, later, theirs in zip(
        results.predictions, again.predictions, whole.predictions, strict=True
    ):
        assert mine.record is None
        assert mine.top1.tolist() == later.top1.tolist() == theirs.top1.tolist()
        assert mine.names == [names[k] for k in mine.top1]
        assert theirs.record is not None
        right = (theirs.top1 == tensors["test_labels"].numpy()).mean()
        assert theirs.record.accuracy == pytest.approx(100 * right)
        assert "70 images, not scored" in repr(mine)
    line = "tag, zero-shot, gda on features: predicted and not scored"
    assert line in repr(results)
    assert line in results._repr_html_()
    assert "not scored" not in repr(whole)
    assert results.blank == []


def test_a_class_is_a_method(arrays: sb.Features) -> None:
    mine, ours = sb.evaluate([Mine, "zero-shot"], features=arrays)

    assert (mine.method, ours.method) == ("mine", "zero-shot")
    assert mine.predictions_sha256 == ours.predictions_sha256
    assert mine.method_source
    assert not ours.method_source


def test_a_class_and_its_file_are_one_method(
    tmp_path: Path, arrays: sb.Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "of_a_file.py"
    file.write_text(
        "import susx_bench as sb\n"
        "class Other(sb.Method):\n"
        "    name = 'other'\n"
        "    def fit(self, context):\n"
        "        self.text = context.text\n"
        "    def logits(self, images):\n"
        "        return images @ self.text.T\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from of_a_file import Other  # type: ignore[import-not-found]

    by_class = sb.evaluate(Other, features=arrays)[0]
    by_file = sb.evaluate(f"{file}:Other", features=arrays)[0]

    assert by_class.input_sha256 == by_file.input_sha256


CELL = """
import susx_bench as sb
class Typed(sb.Method):
    name = "typed"
    def fit(self, context):
        self.text = context.text
    def logits(self, images):
        return {} * images @ self.text.T
"""


@pytest.mark.parametrize("kept", [True, False])
def test_a_class_of_a_notebook_is_known_by_its_cell(kept: bool, arrays: sb.Features) -> None:
    """Another cell is another method; the same one is the same, if its text is kept or not."""
    hashes = []
    for number, factor in enumerate((100, 100, 50)):
        name, text = f"<cell {kept} {number}>", CELL.format(factor)
        if kept:
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, name, "exec"), scope)
        record = sb.evaluate(scope["Typed"], features=arrays)[0]
        hashes.append((record.method_source, record.input_sha256))

    assert hashes[0] == hashes[1]
    assert hashes[0][0]
    assert hashes[2][0] != hashes[0][0]


def test_the_table_is_text_and_html(arrays: sb.Features) -> None:
    results = sb.evaluate(["tag", "zero-shot", "ss-text"], features=arrays)

    text, html = repr(results), results._repr_html_()
    for record in results:
        assert record.method in text
        assert f"{record.accuracy:.1f}" in text
        assert f"{record.accuracy:.1f}" in html
    assert "<table" in html
    assert len(results) == len(results.records)
    assert results[0].method == "tag"
    for reason in results.blank:
        assert f"left blank: {reason}" in text
        assert reason.partition("'")[0] in html


def test_a_data_frame_has_a_row_for_each_record(arrays: sb.Features) -> None:
    pytest.importorskip("pandas")
    results = sb.evaluate(["tag", "zero-shot"], features=arrays, shots=[1, 2], seed=1)

    frame = results.to_pandas()

    assert list(frame["method"]) == ["tag", "tag", "zero-shot"]
    assert list(frame["accuracy"]) == [record.accuracy for record in results]
    assert frame["hparams.kappa"][0] == results[0].hparams["kappa"]
    assert frame["seconds.search"].notna().all()
    assert "right" not in frame


def test_without_pandas_it_says_so(arrays: sb.Features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(PackageMissingError, match=r"to_pandas\(\) needs pandas. Run `pip install"):
        sb.evaluate("zero-shot", features=arrays).to_pandas()


@pytest.mark.parametrize(
    ("asked", "error", "line"),
    [
        ({"method": "tagg"}, UnknownNameError, "no method called 'tagg'. Did you mean tag"),
        ({"method": []}, OptionError, "the list is empty"),
        ({"method": "tag", "shot": 3}, OptionError, "shot"),
        ({"method": "tag", "shots": "many"}, OptionError, "--shots: 'many' is not a valid integer"),
        ({"method": "tag", "setting": "zero"}, OptionError, "zero"),
        ({"method": "tag", "tune": "test"}, OptionError, "--tune test chooses on the test labels"),
        ({"method": int}, PluginError, "not a method"),
        ({"method": "tag", "features": 3}, OptionError, "features: 3 is no path"),
    ],
)
def test_mistakes_are_one_line(asked: dict[str, Any], error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=line) as raised:
        sb.evaluate(**asked)

    assert "\n" not in str(raised.value)


def test_progress_is_on_stderr_and_a_listener_hears_the_same(
    arrays: sb.Features, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[Event] = []
    sb.evaluate("zero-shot", features=arrays, seed=3, progress=True, listen=heard.append)

    out, err = capfd.readouterr()
    assert out == ""
    assert "--seed has no effect" in err
    assert isinstance(heard[-1], Finished)


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, susx_bench; print({'torch', 'rich', 'pydantic', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_all_methods_may_be_asked_for_beside_others() -> None:
    asked = Request(method=["tipx", "all", "./mine.py:Mine"], setting="few-shot").method

    assert {*METHODS.names(), "./mine.py:Mine"} == set(asked)
    assert len(asked) == len(METHODS.names()) + 1


def test_features_of_which_two_parts_are_one_tensor_are_saved(tmp_path: Path) -> None:
    rows, labels = torch.eye(4), torch.arange(4)
    mine = sb.Features(text=rows, test=rows, test_labels=labels, val=rows, val_labels=labels)

    assert torch.equal(load_file(mine.save(tmp_path / "mine.safetensors"))["val"], rows)


def test_features_without_text_are_measured_by_what_needs_none(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    bare: dict[str, Any] = {name: rows for name, rows in tensors.items() if name != "text"}
    features = sb.Features(**bare, dataset="bare")

    for given in (features, features.save(tmp_path / "bare.safetensors")):
        results = sb.evaluate(["ncm", "gda", "tipx"], features=given)
        assert {record.method for record in results.records} >= {"ncm", "gda"}
        assert "tipx" not in {record.method for record in results.records}
        assert any("tipx needs text features, and bare has none" in why for why in results.blank)
