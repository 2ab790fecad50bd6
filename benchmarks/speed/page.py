"""How long the page of 19 x 15 x 5 x 3 = 4,275 records takes to open, to sort and to filter.

    pip install -e '.[test]'
    SUSX_BENCH_BROWSER=chromium python -m benchmarks.speed.page

In a headless Chromium, from a file. A time ends when the browser has laid out and painted what was
asked for, what lies beside the page included. The rival is the page opened with nothing to do:
without its script.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from susx_bench.leaderboard.make import make
from susx_bench.leaderboard.page.build import INDEX, Shown, files
from tests.leaderboard.synthetic import DATASETS, METHODS, synthetic

REPEATS = 9

PAINTED = """async (act) => {
    const started = performance.now();
    if (act) {
        const target = document.querySelector(act.selector);
        if (act.value === undefined) target.click();
        else {
            target.value = act.value;
            target.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const wanted = act ? act.until : document.querySelector("#answers") && "#table table";
    do await frame(); while (wanted && document.scripts.length && !document.querySelector(wanted));
    return act ? performance.now() - started : performance.now();
}"""

ACTS = {
    "sort by a column": {"selector": "thead th.cell"},
    "filter: 16 shots": {"selector": "[name=shots]", "value": "16"},
    "filter: none": {"selector": "[name=shots]", "value": ""},
    "find a method": {"selector": "[name=words]", "value": "tip-adapter"},
    "find: none": {"selector": "[name=words]", "value": ""},
    "differences from a row": {"selector": "[name=baseline]", "value": "3"},
    "show where a number comes from": {"selector": "td.cell", "until": "dialog[open] pre"},
}


def build(folder: Path) -> Path:
    """Write the page and its data, and a copy without its script."""
    records = synthetic(repeat_zero_shot=True)
    board = make("many", "Many", "", METHODS, DATASETS, records)
    home = folder / "leaderboards"
    for name, content in files([Shown.of(board, records)]).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    page = home / INDEX
    bare = page.read_text().rpartition("<script>")[0]
    (home / "bare.html").write_text(bare.replace('id="answers"', ""))
    return page


def opened(page: Page, path: Path) -> float:
    """Milliseconds from asking for a page to its first painting."""
    page.goto(path.as_uri())
    return float(page.evaluate(PAINTED, None))


def main() -> None:
    """Measure and print one table."""
    executable = shutil.which(os.environ.get("SUSX_BENCH_BROWSER", "chromium"))
    if executable is None:
        sys.exit("no Chromium: SUSX_BENCH_BROWSER names its executable")
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = build(Path(folder))
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=sandbox)
        for _ in range(REPEATS):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            times.setdefault("open", []).append(opened(page, path))
            for name, act in ACTS.items():
                times.setdefault(name, []).append(float(page.evaluate(PAINTED, act)))
            page.close()
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            bare = opened(page, path.with_name("bare.html"))
            times.setdefault("the same page without its script", []).append(bare)
            page.close()
        size = sum(each.stat().st_size for each in (path, *path.parent.glob("data/*.js"))) / 1e6
        table = Table(
            title=f"4,275 records, {size:.1f} MB, Chromium {browser.version}, {REPEATS} times"
        )
        browser.close()
    for column in ("", "median, ms", "worst, ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, values in times.items():
        table.add_row(name, f"{statistics.median(values):.0f}", f"{max(values):.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
