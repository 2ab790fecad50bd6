from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import BenchError, OptionError, UnknownNameError
from susx_bench.options.templates import read_templates
from susx_bench.prompts.kinds import (
    ENSEMBLE,
    KINDS,
    class_prompts,
    clip_words,
    waffles,
)
from susx_bench.registry import DATASETS

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


def test_visdesc_joins_descriptors_by_the_published_rule(tmp_path: Path) -> None:
    table = {"dog": ["four legs", "a tail"], "Big Cat": ["often asleep", "used to it", "has ears"]}
    (tmp_path / "descriptors_toy.json").write_text(json.dumps(table))

    assert class_prompts("visdesc", SPEC, tmp_path) == [
        ["big cat, which often asleep", "big cat, which is used to it", "big cat, which has ears"],
        ["dog, which has four legs", "dog, which is a tail"],
    ]
    with pytest.raises(BenchError, match=r"--prompts-dir .* descriptors_toy\.json"):
        class_prompts("visdesc", SPEC)


def test_waffle_says_the_same_nonsense_of_every_class() -> None:
    state = torch.get_rng_state()
    cat, dog = class_prompts("waffle", SPEC)

    assert torch.equal(torch.get_rng_state(), state)
    assert class_prompts("waffle", SPEC) == [cat, dog]
    assert len(cat) == len(set(cat)) == 30
    assert [text.replace("a big cat,", "a dog,") for text in cat] == dog
    assert all(re.fullmatch(r"A photo of a dog, which .+\.", text) for text in dog)


def test_waffles_are_as_long_as_the_names() -> None:
    names = ["apple pie", "sea lion", "german short pointer"]  # 7 words: 2.33 a name
    lengths = [(5 + 3) / 2, (3 + 4) / 2, (6 + 5 + 7) / 3]  # of words, 4.5 on average
    longest = (5 + 4 + 7) / 3  # 5.33, so 6 characters in 2 groups, a multiple above: 8

    features = waffles(names, 20, seed=3)

    assert sum(lengths) / 3 == 4.5
    assert longest < 6
    words, characters = features[::2], features[1::2]
    assert len(words) == len(characters) == 20
    known = {word[:4] for word in clip_words()}
    assert all(set(text.split(" ")) <= known and text.count(" ") == 1 for text in words)
    assert all(re.fullmatch(r"[a-z0-9]{4}, [a-z0-9]{4}", text) for text in characters)
    assert len(set(features)) == 40
    assert waffles(names, 20, seed=4) != features
    assert waffles(names, 5, seed=3) == features[:10]


def test_words_are_those_of_the_tokenizer() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    known = SimpleTokenizer().encoder
    words = clip_words()

    assert len(words) > 20_000
    assert all(f"{word}</w>" in known for word in words)
    whole = {token[:-4] for token in known if token.endswith("</w>")}
    assert set(words) == {w for w in whole if len(w) >= 3 and w.isascii() and w.isalpha()}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"dog": ["d"]}, "without 'big_cat'"),
        ({"dog": ["d"], "cow": ["m"]}, "none of its: 'cow'; without 'big_cat'"),
        ({"dog": ["d"], "Big Cat": ["c"], "BIG CAT": ["c"]}, "several classes for 'big_cat'"),
        ({"dog": [], "big cat": ["c"]}, "no sentence for 1 of 2 classes: 'dog'"),
        ({"dog": "d", "big cat": ["c"]}, "not of the form"),
        (["dog"], "not of the form"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, table: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        class_prompts("cupl", SPEC, write(tmp_path, table))


def test_names_that_are_no_classes_are_left_out_and_said(tmp_path: Path) -> None:
    more: dict[str, list[str]] = {f"cow {i}": ["m"] for i in range(7)}
    table = {"DOG": ["far"], "dog": ["d"], "big cat": ["c"]} | more
    said: list[str] = []

    assert class_prompts("cupl", SPEC, write(tmp_path, table), said.append) == [["c"], ["d"]]
    assert said == [
        f"{tmp_path / 'CuPL_prompts_toy.json'}: 8 of its 10 names are left out, which toy does not "
        "have: 'DOG', 'cow 0', 'cow 1', 'cow 2', 'cow 3' and 3 more."
    ]


def test_one_name_serves_two_classes_where_the_facts_say_so(tmp_path: Path) -> None:
    spec = replace(SPEC, classnames=("dog", "hound", "cat"), shared={"hound": ("dog",)})
    said: list[str] = []

    folder = write(tmp_path, {"cat": ["c"], "Dog": ["d"]})
    assert class_prompts("cupl", spec, folder, said.append) == [["d"], ["d"], ["c"]]
    assert said == [f"{folder / 'CuPL_prompts_toy.json'}: 'Dog' serves 2 classes: 'dog', 'hound'."]

    said.clear()
    folder = write(tmp_path, {"cat": ["c"], "dog": ["d"], "hound": ["h"]})
    assert class_prompts("cupl", spec, folder, said.append) == [["d"], ["h"], ["c"]]
    assert not said
    with pytest.raises(BenchError, match="without 'dog'"):
        class_prompts("cupl", spec, write(tmp_path, {"cat": ["c"], "hound": ["h"]}))


@pytest.mark.parametrize("name", ["imagenet", "imagenet-sketch"])
def test_imagenets_table_of_998_names_serves_1000_classes(tmp_path: Path, name: str) -> None:
    """CuPL's own file: a table cannot have two "missile" and two "sunglasses"."""
    spec = DATASETS.get(name)
    table = {each: [f"{each}."] for each in spec.classnames}
    del table["projectile"], table["sunglass"]
    (tmp_path / f"CuPL_prompts_{name}.json").write_text(json.dumps(table))
    said: list[str] = []

    prompts = class_prompts("cupl", spec, tmp_path, said.append)

    assert prompts[657] == prompts[744] == ["missile."]
    assert prompts[836] == prompts[837] == ["sunglasses."]
    assert prompts[0] == ["tench."]
    assert [line.partition(": ")[2] for line in said] == [
        "'missile' serves 2 classes: 'missile', 'projectile'.",
        "'sunglasses' serves 2 classes: 'sunglass', 'sunglasses'.",
    ]


def test_a_class_without_a_descriptor_has_its_bare_name(tmp_path: Path) -> None:
    """As five of Food-101 in VisDesc's own file."""
    table: dict[str, list[str]] = {"dog": [], "big cat": ["four legs", " "]}
    (tmp_path / "descriptors_toy.json").write_text(json.dumps(table))
    said: list[str] = []

    assert class_prompts("visdesc", SPEC, tmp_path, said.append) == [
        ["big cat, which has four legs"],
        ["dog"],
    ]
    assert said == [
        f"{tmp_path / 'descriptors_toy.json'}: no descriptor for 1 of 2 classes, of which the "
        "prompt is the bare name: 'dog'."
    ]


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
@pytest.mark.parametrize("dataset", ["caltech101", "cifar10", "dtd", "eurosat", "ucf101"])
def test_the_published_files_fit_their_datasets(real: Path, dataset: str) -> None:
    spec = DATASETS.get(dataset)
    prompts = class_prompts("cupl", spec, real / "cupl_prompts")

    assert len(prompts) == len(spec.classnames)
    assert min(len(texts) for texts in prompts) >= 10


def test_templates_stand_in_place_of_a_kind() -> None:
    spec = replace(SPEC, classnames=("annual_crop", "a {b} c"))

    written = class_prompts("a satellite photo of {}. | art of the {}", spec)

    assert written[0] == ["a satellite photo of annual crop.", "art of the annual crop"]
    assert written[1] == ["a satellite photo of a {b} c.", "art of the a {b} c"]


@pytest.mark.parametrize(
    "kind", ["{} and {}", "a {name}", "a {", "a photo of a {}. | no place", "{}|", "a {} {"]
)
def test_a_template_has_one_place(kind: str) -> None:
    with pytest.raises(OptionError, match=r"a template has one {}, where the class name stands"):
        class_prompts(kind, SPEC)


def test_templates_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "templates.txt"
    path.write_text("ein Foto von {}.\neine Zeichnung: {}\n", encoding="utf-8")
    assert read_templates(path) == "ein Foto von {}. | eine Zeichnung: {}"

    for text, message in (
        ("", "it has no line"),
        ("a photo of a {}.\nno place\n", "line 2 is 'no place'"),
        ("a | {}\n", "no '|'"),
        ("{} {}\n", "a template has one"),
    ):
        path.write_text(text)
        with pytest.raises(OptionError, match=message):
            read_templates(path)
