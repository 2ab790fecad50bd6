"""The documentation as a site, and the files that a project has beside its code."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_the_site_builds_without_a_warning_and_asks_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*.html")}
    sources = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert {page.parent for page in pages if page.name == "index.html"} == {
        source.parent if source.name == "index.md" else source.with_suffix("") for source in sources
    }
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in home
    assert "fonts.googleapis" not in home
    assert "LinearMethod" in (tmp_path / "site/reference/methods/index.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["tests", "release"])
def test_a_workflow_has_the_right_to_read_and_no_other(name: str) -> None:
    path = ROOT / ".github" / "workflows" / f"{name}.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {"contents": "read"}
    assert all("runs-on" in job and job["steps"] for job in workflow["jobs"].values())


def test_the_workflow_lints_as_the_readme_does() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "") for step in workflow["jobs"]["lint"]["steps"]]

    for command in ("ruff check .", "ruff format --check .", "mypy"):
        assert f".venv/bin/{command}" in readme
        assert f"uv run --no-sync {command}" in steps


def test_the_citation_names_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
