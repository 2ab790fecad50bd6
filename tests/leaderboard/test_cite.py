"""Citations: every entry parses, everything registered has one, and a table's are all there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pybtex.database import BibliographyData, parse_string

from susx_bench.leaderboard.cite import ENCODERS, PROMPTS, SUPPORTS, references
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.suite import packaged
from tests.conftest import Bundle, Command

FILE = Path(__file__).parents[2] / "susx_bench" / "leaderboard" / "references.bib"
NEEDED = {"inproceedings": "booktitle", "article": "journal", "techreport": "institution"}


def parsed(text: str) -> BibliographyData:
    return parse_string(text, "bibtex")


@pytest.mark.parametrize("key", references())
def test_every_reference_is_whole(key: str) -> None:
    entry = parsed(references()[key]).entries[key]

    assert entry.persons["author"]
    assert entry.fields["title"]
    assert entry.fields["year"].isdecimal()
    assert entry.type == "misc" or entry.fields[NEEDED[entry.type]]
    if "eprint" in entry.fields:
        assert entry.fields["archiveprefix"] == "arXiv"
        month, _, number = entry.fields["eprint"].partition(".")
        assert (len(month), len(number)) == (4, 5)
        # Nothing is published long before it is on arXiv.
        assert int(entry.fields["year"]) - (2000 + int(month[:2])) in (0, 1)


def test_the_file_is_read_whole() -> None:
    assert set(parsed(FILE.read_text(encoding="utf-8")).entries) == set(references())


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_is_cited(name: str) -> None:
    if not METHODS.package(name):
        assert METHODS.get(name).reference in references()


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_dataset_is_cited(name: str) -> None:
    if not DATASETS.package(name):
        spec = DATASETS.get(name)
        assert parsed(spec.citation).entries[spec.bibtex_key].fields["title"]


def test_encoders_supports_and_prompts_name_references() -> None:
    keys = {key for group in (ENCODERS, SUPPORTS) for keys in group.values() for key in keys}

    assert keys | set(PROMPTS.values()) <= set(references())


@pytest.mark.parametrize("path", packaged(), ids=lambda path: path.stem)
def test_the_citations_of_a_suite_parse(path: Path, command: Command) -> None:
    done = command("leaderboard", "cite", path)

    assert done.code == 0, done.err
    assert parsed(done.out).entries
    missing = [line for line in done.out.splitlines() if line.startswith("% no entry for")]
    assert {line.split()[4] for line in missing} <= {"encoder"}
    assert all(line == "% no entry for encoder demo" for line in missing)


def test_a_table_is_cited_whole(command: Command) -> None:
    done = command("leaderboard", "cite", "support-source")

    assert {
        *("radford2021clip", "zhang2022tip", "udandarao2023susx"),
        *("krizhevsky2009learning", "helber2019eurosat", "cimpoi2014describing"),
        *("parkhi2012cats", "wah2011caltech"),
        *("ilharco2021openclip", "rombach2022high"),
    } == set(parsed(done.out).entries)


def test_what_stands_in_records_alone_is_cited_too(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(
        "name = 'toy'\ntitle = 'Toy'\n[[run]]\nmethod = ['zero-shot']\n"
        "features = ['toy.safetensors']\n"
    )
    bundle()
    out = Path("leaderboards/records/toy")
    words = [*("--method", "zero-shot", "--setting", "few-shot", "--features", "toy.safetensors")]
    words.append("--json")  # without the methods that a table puts beside it
    for dataset, encoder in (("dtd", "ViT-B-16:laion2b_s34b_b88k"), ("mine", "odd")):
        command("run", *words, "--dataset", dataset, "--encoder", encoder, "--out", out)

    done = command("leaderboard", "cite", path)

    assert set(parsed(done.out).entries) == {
        *("radford2021clip", "cimpoi2014describing", "cherti2023reproducible"),
        *("schuhmann2022laion", "ilharco2021openclip"),
    }
    assert "% no entry for dataset mine" in done.out
    assert "% no entry for encoder odd" in done.out
