"""What the README and the suites claim, held against the code and the committed tables."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from susx_bench.data.names import names_one_of
from susx_bench.options.run import ON_THE_DEMO
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.suite import Suite, packaged
from tests.data.copies import LATER

ROOT = Path(__file__).parents[1]


def words(page: str) -> str:
    """A page of the documentation, in one line."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def between(page: str, start: str, end: str) -> set[str]:
    """Names in backticks in a part of a page."""
    text = words(page)
    part = text[text.index(start) : text.index(end, text.index(start))]
    return set(re.findall(r"`([a-z0-9-]+)`", part))


def test_the_docs_name_the_datasets_that_the_hub_has_and_has_not() -> None:
    specs = {name: DATASETS.get(name) for name in DATASETS.names() if name != "digits"}
    hub = {name for name, spec in specs.items() if spec.hub}
    published = {name for name in hub if any(h.protocol == "susx" for h in specs[name].hub)}

    assert len(specs) == 19 + len(LATER & specs.keys())
    page = "docs/data-by-name.md"
    assert f"from a local folder, and {len(hub)} of them from the Hugging Face hub" in words(page)
    assert between(page, f"Of the {len(hub)} copies three hold", "The others hold") == published
    assert between(page, "what is not the published one is marked §.", "have no known copy") == (
        specs.keys() - hub
    )


def test_the_readme_names_the_methods_that_the_real_features_cannot_feed() -> None:
    suite = Suite.read(ROOT / "benchmarks/suites/real-features.toml")
    asked = {method for run in suite.run for method in run.method}
    with (ROOT / "leaderboards/real-features.csv").open(encoding="utf-8") as file:
        shown = {row["method"] for row in csv.DictReader(file) if row["accuracy"]}

    assert asked == set(METHODS.names())
    told = between("README.md", "real CLIP features can feed: all but", "which need patches")
    assert told == asked - shown


def test_the_docs_name_what_stands_on_the_demo() -> None:
    (told,) = re.findall(
        r"on the demo ([a-z, -]+) and ([a-z-]+) do too", words("docs/reading-a-table.md")
    )

    assert {*told[0].split(", "), told[1]} == {*ON_THE_DEMO} - {"zero-shot", "tip-adapter", "tipx"}


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *packaged()],
    ids=lambda path: path.name,
)
def test_nobody_claims_that_nothing_was_tuned(path: Path) -> None:
    """The constants of `fixed` were chosen while looking at some of the tasks."""
    text = " ".join(path.read_text(encoding="utf-8").lower().split())

    assert not re.search(r"nothing (is |was )?tuned(?! on it)", text)
    assert "best of the others" not in text


def test_tag_is_marked_on_every_task_that_its_page_says_was_looked_at() -> None:
    suite = Suite.read(ROOT / "benchmarks/suites/real-features.toml")
    bundles = {Path(str(path)).stem for run in suite.run for path in run.features or ()}
    tag = METHODS.get("tag")

    assert len(bundles) == 10
    assert tag.seen_always
    for bundle in bundles:
        assert names_one_of(bundle, tag.seen, DATASETS.names()), bundle


def test_a_page_says_which_methods_have_constants_chosen_with_an_eye_on_a_dataset() -> None:
    text = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    table = text[text.index("## Constants chosen with an eye on a dataset") :]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}

    assert told == {name for name in METHODS.names() if METHODS.get(name).seen}
