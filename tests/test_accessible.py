"""Both pages under axe-core: ``SUSX_BENCH_AXE`` names its ``axe.min.js``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from susx_bench.leaderboard.page.build import INDEX, files
from tests.conftest import Command
from tests.data.made import encoded, photo
from tests.leaderboard.test_page import browser, main_records, show  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def axe() -> str:
    name = os.environ.get("SUSX_BENCH_AXE")
    if not name:
        pytest.skip("SUSX_BENCH_AXE is not set: no axe-core here")
    return Path(name).read_text(encoding="utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds, each with the first element."""
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    return [f"{v['impact']} {v['id']}: {v['nodes'][0]['target']}" for v in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_leaderboards(
    axe: str,
    browser: Browser,  # noqa: F811
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    for name, content in files([show("main", main_records())]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,
    )
    page.goto(f"{(tmp_path / INDEX).as_uri()}#main?labels=2")

    assert violations(page, axe) == []
    page.get_by_text("How do I run this on my data?").click()
    page.locator("#table td.cell").first.click()
    assert violations(page, axe) == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_photographs(
    axe: str,
    browser: Browser,  # noqa: F811
    command: Command,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    (tmp_path / "photos").mkdir()
    for place in range(8):
        (tmp_path / "photos" / f"{place}.png").write_bytes(encoded(photo(place)))
    words = ("--classes", "zero,one,two", "--encoder", "demo", "--page", "--out", "answers")
    assert command("classify", "photos", *words).code == 0
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,
    )
    page.goto((tmp_path / "answers" / "index.html").as_uri())

    assert violations(page, axe) == []
    page.close()
