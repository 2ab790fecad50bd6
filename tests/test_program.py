"""Whether a record's method source is that of the program that ran, and all of it."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

import susx_bench as sb
from susx_bench import program
from susx_bench.errors import PluginError
from susx_bench.events import Event, Note
from susx_bench.records.record import Record

METHOD = """
import susx_bench as sb
{imports}

SHIFT = {shift}

class Mine(sb.Method):
    name = "mine"
    scale = {scale}

    def fit(self, context):
        {lazy}
        self.text = context.text.roll(SHIFT + {more}, 0)

    def logits(self, images):
        return self.scale * images @ self.text.T
"""
_DAYS = count(1)

Run = Callable[..., Record]


def method(
    imports: str = "", shift: int = 0, scale: int = 1, more: str = "0", lazy: str = ""
) -> str:
    return METHOD.format(imports=imports, shift=shift, scale=scale, more=more, lazy=lazy or "pass")


def write(file: Path, text: str) -> Path:
    """Write a file as an editor does a while after the last one: Python looks at the time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    day = 1_700_000_000 + 86_400 * next(_DAYS)
    os.utime(file, (day, day))
    importlib.invalidate_caches()
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def run(tensors: dict[str, Tensor]) -> Run:
    features = sb.Features(**tensors)  # type: ignore[arg-type]
    return lambda asked, **more: sb.evaluate(asked, features=features, **more)[0]


def imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_a_file_that_is_edited_and_edited_back(folder: Path, run: Run) -> None:
    texts = [method(shift=0), method(shift=1), method(shift=0)]
    records = [run(f"{write(folder / 'mine.py', text)}:Mine") for text in texts]

    sources = [record.method_source for record in records]
    assert sources == [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    answers = [record.predictions_sha256 for record in records]
    assert answers[0] == answers[2] != answers[1]


HELPERS = {
    "a module beside": ("from helper import MORE", "MORE", "pass", "helper.py"),
    "its name": ("import helper", "helper.MORE", "pass", "helper.py"),
    "in a package": ("from parts import helper", "helper.MORE", "pass", "parts/helper.py"),
    "dotted": ("import parts.helper", "parts.helper.MORE", "", "parts/helper.py"),
    "a package": ("from parts import MORE", "MORE", "pass", "parts/__init__.py"),
    "through another": ("from between import MORE", "MORE", "pass", "helper.py"),
    "when it runs": ("", "helper.MORE", "import helper", "helper.py"),
    "if it is there": (
        "try:\n    import helper\nexcept ImportError: pass",
        "helper.MORE",
        "",
        "helper.py",
    ),
}


@pytest.mark.parametrize("how", HELPERS)
def test_a_helper_that_is_edited_is_another_method(how: str, folder: Path, run: Run) -> None:
    """Within a process too; edited back, it is the first method again."""
    imports, more, lazy, helper = HELPERS[how]
    write(folder / "parts/__init__.py", "")
    write(folder / "between.py", "from helper import *\n")
    file = write(folder / "mine.py", method(imports, more=more, lazy=lazy))
    records = []
    for shift in (0, 2, 0):
        write(folder / helper, f"MORE = {shift}\n")
        records.append(run(f"{file}:Mine"))

    for what in ("method_source", "input_sha256", "predictions_sha256"):
        first, second, third = (getattr(record, what) for record in records)
        assert first == third != second, what


READS = {
    "beside it": ("moved.txt", "", 'Path(__file__).with_name("moved.txt").read_text()'),
    "in a folder": ("d/moved.txt", "", '(Path(__file__).parent / "d" / "moved.txt").read_text()'),
    "called like it": ("mine.txt", "", 'Path(__file__).with_suffix(".txt").read_text()'),
    "where one works": ("moved.txt", "", 'Path("moved.txt").read_text()'),
    "when it is imported": ("d/m.txt", 'BY = int(Path("d/m.txt").read_text())', "BY"),
    "by a helper": ("moved.txt", "from helper import by", "by()"),
}


@pytest.mark.parametrize("how", READS)
def test_a_data_file_that_is_edited_is_another_method(
    how: str, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that is its weights, too. What it names by no text is told."""
    data, imports, more = READS[how]
    monkeypatch.chdir(folder)
    by = 'def by():\n    return (Path(__file__).parent / "moved.txt").read_text()\n'
    write(folder / "helper.py", f"from pathlib import Path\n{by}")
    text = method(f"from pathlib import Path\n{imports}", more=f"int({more})")
    file = write(folder / "mine.py", text)
    notes: list[Event] = []
    records = []
    for shift in ("0", "2", "0"):
        write(folder / data, shift)
        records.append(run(f"{file}:Mine", listen=notes.append))

    for what in ("method_source", "input_sha256", "predictions_sha256"):
        first, second, third = (getattr(record, what) for record in records)
        assert first == third != second, what
    assert not [note for note in notes if isinstance(note, Note) and "does not name" in note.text]


def test_a_data_file_that_no_text_names_is_told(folder: Path, run: Run) -> None:
    more = 'int(Path(__file__).with_name(f"moved{len(self.name)}.txt").read_text())'
    file = write(folder / "mine.py", method("from pathlib import Path", more=more))
    write(folder / "moved4.txt", "1")
    notes: list[Event] = []

    run(f"{file}:Mine", listen=notes.append)

    told = [note for note in notes if isinstance(note, Note) and "does not name" in note.text]
    assert len(told) == 1
    assert told[0].level == "warning"
    assert str(folder / "moved4.txt") in told[0].text


def test_a_file_alone_is_known_by_its_own_hash(folder: Path, run: Run) -> None:
    """Whatever installed packages it imports: records that are there stay what they are."""
    text = method("import torch, numpy as np, json\nfrom torch.nn import functional as F")
    write(folder / "beside.py", "nobody imports this")

    record = run(f"{write(folder / 'mine.py', text)}:Mine")

    assert record.method_source == hashlib.sha256(text.encode()).hexdigest()


def test_a_class_is_what_was_imported(folder: Path, run: Run) -> None:
    """An edited file runs when it is imported again; until then the record is of the old one."""
    file = write(folder / "own.py", method(shift=0))
    own = imported("own")
    first = run(own.Mine)
    write(file, method(shift=1))
    said: list[Any] = []
    edited = run(own.Mine, listen=said.append)
    importlib.reload(own)
    loaded = run(own.Mine)

    assert first.input_sha256 == edited.input_sha256 != loaded.input_sha256
    assert first.predictions_sha256 == edited.predictions_sha256 != loaded.predictions_sha256
    assert any("own.py was edited after it was imported" in str(event) for event in said)


@pytest.mark.parametrize(
    "change",
    [{"shift": 1}, {"scale": 2}, {"more": "1"}, {"lazy": "print"}],
    ids=["a constant", "an attribute", "a formula", "a line"],
)
def test_a_class_that_was_edited_before_anybody_looked(
    change: dict[str, Any], folder: Path, run: Run
) -> None:
    file = write(folder / "early.py", method())
    early = imported("early")
    write(file, method(**change))

    record = run(early.Mine)

    assert record.method_source not in ("", hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_class_of_before_a_reload_is_not_the_new_text(folder: Path, run: Run) -> None:
    file = write(folder / "twice.py", method(more="0"))
    twice = imported("twice")
    old = twice.Mine
    write(file, method(more="1"))
    importlib.reload(twice)

    assert run(old).predictions_sha256 != run(twice.Mine).predictions_sha256
    assert run(old).method_source != run(twice.Mine).method_source


def test_remarks_make_another_text_and_no_other_program(folder: Path) -> None:
    """What was imported is told from a file by what it does."""
    file = write(folder / "said.py", method())
    said = imported("said")
    write(file, "# A remark.\n" + method())

    assert program.sha256_of(said.Mine) == hashlib.sha256(file.read_bytes()).hexdigest()


CELLS = """
import susx_bench as sb

class Typed(sb.Method):
    name = "typed"
    def fit(self, context):
        self.text = turned(context.text)
    def logits(self, images):
        return images @ self.text.T
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def turned(text): return text", "def turned(text): return text.roll(1, 0)"),
        (
            "BY = 0\ndef turned(text): return text.roll(BY, 0)",
            "BY = 1\ndef turned(text): return text.roll(BY, 0)",
        ),
        (
            "def inner(text): return text\ndef turned(text): return inner(text)",
            "def inner(text): return text.roll(1, 0)\ndef turned(text): return inner(text)",
        ),
        (
            "import torch\nORDER = torch.arange(5)\ndef turned(text): return text[ORDER]",
            "import torch\nORDER = torch.arange(5).flip(0)\ndef turned(text): return text[ORDER]",
        ),
    ],
    ids=["a function", "a number", "a function of it", "a tensor"],
)
@pytest.mark.parametrize("kept", [True, False])
def test_another_cell_is_part_of_the_method(one: str, other: str, kept: bool, run: Run) -> None:
    """A notebook's class calls functions of other cells: these run, though its own cell did not."""
    records = []
    for number, helper in enumerate((one, other, one)):
        scope: dict[str, Any] = {"__name__": "a notebook"}
        for part, text in enumerate((helper, CELLS)):
            name = f"<cell {kept} {number} {part} {hash(one)}>"
            if kept:
                linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            exec(compile(text, name, "exec"), scope)
        records.append(run(scope["Typed"]))

    for what in ("method_source", "predictions_sha256"):
        first, second, third = (getattr(record, what) for record in records)
        assert first == third != second, what


def test_a_file_that_a_cell_imports_is_part_of_the_method(folder: Path, run: Run) -> None:
    write(folder / "turning.py", "def turned(text): return text\n")
    turning = imported("turning")
    scope: dict[str, Any] = {"__name__": "a notebook"}
    exec(compile("from turning import turned\n" + CELLS, "<cell of turning>", "exec"), scope)
    first = run(scope["Typed"])
    write(folder / "turning.py", "def turned(text): return text.roll(1, 0)\n")
    importlib.reload(turning)
    exec("from turning import turned", scope)
    second = run(scope["Typed"])

    assert first.method_source != second.method_source
    assert first.predictions_sha256 != second.predictions_sha256


def test_a_module_beside_a_file_that_is_not_found_is_told_with_what_to_do(
    tmp_path: Path, run: Run
) -> None:
    write(tmp_path / "nearby.py", "MORE = 0")
    file = write(tmp_path / "mine.py", method("import nearby"))

    with pytest.raises(PluginError, match=re.escape(f"run with PYTHONPATH={tmp_path}")):
        run(f"{file}:Mine")
