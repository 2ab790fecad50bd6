"""The page on plugins: each example is installed and used, with no edit of this package."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from susx_bench.registry import REGISTRIES
from tests.conftest import Command
from tests.data.made import encoded, photo, write
from tests.test_plugins import Plugin, fresh, plugin

__all__ = ["fresh", "plugin"]

CHECKOUT = Path(__file__).parents[1]
PAGE = (CHECKOUT / "docs" / "plugins.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.split("\n## ")[1:]}


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_page_has_every_axis() -> None:
    groups = set(re.findall(r"\| `(susx_bench\.\w+)` \|", PAGE))

    assert groups == {registry.group for registry in REGISTRIES}
    assert len(SECTIONS) == len(groups) - 1  # an encoder and a family share a section


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_is_installed_and_used(
    title: str, command: Command, plugin: Plugin, tmp_path: Path
) -> None:
    (code,), (entry,) = blocks(SECTIONS[title], "python"), blocks(SECTIONS[title], "toml")
    module = re.findall(r"# (\w+)\.py", code)[0]
    group = re.findall(r"susx_bench\.(\w+)", entry)[0]
    name, value = re.findall(r'^(\w+) = "(.*)"$', entry, re.MULTILINE)[0]
    plugin("guest-page", module, code, **{group: f"{name} = {value}"})
    for split in ("train", "test"):
        for label, shape in enumerate(("circle", "square")):
            for i in range(2):
                seed = 10 * label + 5 * (split == "test") + i
                write(tmp_path / f"DATA/shapes/{split}/{shape}/{i}.png", encoded(photo(seed)))
    suite = CHECKOUT / "benchmarks/suites/demo-name-only.toml"
    records = tmp_path / "BOARDS/records/demo-name-only"
    if group == "formats":
        shutil.copytree(CHECKOUT / "leaderboards/records/demo-name-only", records)

    (lines,) = blocks(SECTIONS[title], "sh")
    for line in lines.splitlines():
        words = shlex.split(line.replace("SUITE", str(suite)))
        done = command(*words[1:])
        assert done.code == 0, done.err
        assert "guest-page" not in done.err
    lists = {
        "methods": "methods",
        "datasets": "datasets",
        "encoder_families": "encoders",
        "prompts": "prompts",
        "support": "support",
        "formats": "formats",
        "logs": "logs",
    }
    shown = f"{name}:PLACE" if group == "encoder_families" else name
    listed = command("list", lists[group])

    assert listed.code == 0
    (row,) = (line for line in listed.out.splitlines() if line.split()[:1] == [shown])
    assert row.rstrip().endswith("guest-page 1.5")
    if group == "logs":
        assert (tmp_path / "results/logs/best.txt").read_text().startswith("tip-adapter ")
    if group == "formats":
        assert (tmp_path / "BOARDS/demo-name-only.txt").read_text().strip()
