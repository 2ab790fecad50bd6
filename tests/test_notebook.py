"""The notebooks and the page on Python run as they stand, without a connection."""

from __future__ import annotations

import ast
import json
import linecache
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import susx_bench as sb

DOCS = Path(__file__).parents[1] / "docs"


def run_cell(text: str, name: str, scope: dict[str, Any]) -> Any:
    """Run a cell as a notebook does, and give the value of its last line, if it has one."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    body = ast.parse(text, name).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), name, "exec"), scope)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), scope)


def test_the_notebook_runs_and_ends_with_a_table_and_a_plot() -> None:
    notebook = json.loads((DOCS / "evaluate.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    scope: dict[str, Any] = {"__name__": "__main__"}

    shown = [
        run_cell("".join(cell["source"]), f"<cell {i}>", scope) for i, cell in enumerate(cells)
    ]

    table, accuracy, figure = shown
    assert isinstance(table, sb.Results)
    assert "<table" in table._repr_html_()
    assert len(table) == 7
    assert 50 < accuracy < 100
    assert isinstance(figure, Figure)
    assert len(figure.axes[0].lines) == 4
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_the_notebook_of_photographs_runs_and_ends_with_those_to_look_at() -> None:
    notebook = json.loads((DOCS / "classify.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    scope: dict[str, Any] = {"__name__": "__main__"}

    shown = [
        run_cell("".join(cell["source"]), f"<photo cell {i}>", scope)
        for i, cell in enumerate(cells)
    ]

    _, by_names, calibration, (before, after), figure = shown
    assert len(by_names.files) == 400
    assert "fitted on 60 labelled images" in calibration
    assert 60 < before < after < 100
    assert isinstance(figure, Figure)
    assert [len(axes.images) for axes in figure.axes] == [1] * 12
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    scope: dict[str, Any] = {"__name__": "__main__"}
    pytest.importorskip("pandas")

    for i, block in enumerate(blocks):
        run_cell(block, f"<block {i}>", scope)

    assert len(blocks) == 9
    out = capsys.readouterr().out
    assert "nearest-mean" in out
    assert out.endswith(" fixed True\n")
