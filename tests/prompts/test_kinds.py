from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from susx_bench.data.facts.caltech101 import Caltech101
from susx_bench.data.facts.cifar10 import CIFAR10
from susx_bench.data.facts.dtd import DTD
from susx_bench.data.facts.eurosat import EuroSAT
from susx_bench.data.facts.ucf101 import UCF101
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import BenchError, UnknownNameError
from susx_bench.prompts.kinds import ENSEMBLE, KINDS, class_prompts

SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    classnames=("big_cat", "dog"),
    sizes={},
    template="a photo of a {}.",
    photo="A picture of a {}!",
    licence="none",
    protocol="susx",
    bibtex_key="",
)


def write(folder: Path, table: Any) -> Path:
    (folder / "CuPL_prompts_toy.json").write_text(json.dumps(table))
    return folder


def test_templates_take_the_name_with_spaces() -> None:
    assert class_prompts("single", SPEC) == [["a photo of a big cat."], ["a photo of a dog."]]
    assert class_prompts("photo", SPEC)[1] == ["A picture of a dog!"]
    assert class_prompts("ensemble", SPEC)[0] == [t.format("big cat") for t in ENSEMBLE]


def test_cupl_is_in_canonical_order_and_combined_adds_the_ensemble(tmp_path: Path) -> None:
    folder = write(tmp_path, {"Dog": ["d1", "d2", " "], "big cat": ["c"]})

    assert class_prompts("cupl", SPEC, folder) == [["c"], ["d1", "d2"]]
    assert class_prompts("combined", SPEC, folder)[1] == [
        *("d1", "d2"),
        *(t.format("dog") for t in ENSEMBLE),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"dog": ["d"]}, "without 'big_cat'"),
        ({"dog": ["d"], "big cat": ["c"], "cow": ["m"]}, "'cow'"),
        ({"dog": [], "big cat": ["c"]}, "no sentence for 'dog'"),
        ({"dog": "d", "big cat": ["c"]}, "not of the form"),
        (["dog"], "not of the form"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, table: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        class_prompts("cupl", SPEC, write(tmp_path, table))


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--prompts-dir .* CuPL_prompts_toy\.json"):
        class_prompts("cupl", SPEC)
    with pytest.raises(BenchError, match="cannot be read"):
        class_prompts("combined", SPEC, tmp_path)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="ensemble"):
        class_prompts("ensembl", SPEC)
    assert "combined" in KINDS


@pytest.mark.real
@pytest.mark.parametrize("dataset", [Caltech101, CIFAR10, DTD, EuroSAT, UCF101])
def test_the_published_files_fit_their_datasets(
    real: Path, dataset: type[Caltech101 | CIFAR10 | DTD | EuroSAT | UCF101]
) -> None:
    prompts = class_prompts("cupl", dataset.spec, real / "cupl_prompts")

    assert len(prompts) == len(dataset.spec.classnames)
    assert min(len(texts) for texts in prompts) >= 10
