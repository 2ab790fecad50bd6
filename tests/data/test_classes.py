from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from susx_bench.data.classes import match, same_names, unite
from susx_bench.data.spec import Split
from susx_bench.errors import DatasetError
from tests.data.made import CLASSES, spec_of


def labels(theirs: Sequence[str], **changes: Any) -> list[int | None]:
    return match(theirs, spec_of(**changes), "a copy")


def refusal(theirs: Sequence[str], **changes: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        labels(theirs, **changes)
    message = str(caught.value)
    assert message.startswith("toy: a copy has ")
    assert "\n" not in message
    return message


def test_the_position_says_nothing() -> None:
    assert labels(["night owl", "cat", "dog"]) == [2, 0, 1]


@pytest.mark.parametrize(
    "name", ["Night_Owl", "night-owl", "NIGHTOWL", "003.night_owl", "'night' owl"]
)
def test_case_punctuation_and_leading_numbers_say_nothing(name: str) -> None:
    assert labels([name, "cat", "dog"]) == [2, 0, 1]


@pytest.mark.parametrize("name", ["owl night", "Owl, night", "/o/owl/night"])
def test_words_may_stand_in_any_order(name: str) -> None:
    assert labels(["cat", name, "dog"]) == [0, 2, 1]


def test_words_that_fit_two_classes_fit_none() -> None:
    names = ("red dog house", "dog house red", "cat")

    assert labels(names, classnames=names) == [0, 1, 2]
    assert "none of its: 'house red dog'" in refusal(
        ["house red dog", names[1], "cat"], classnames=names
    )


def test_aliases_mean_their_class() -> None:
    aliases = {"cat": ("felis catus", "n02121808"), "dog": ("canis",)}

    assert labels(["Canis", "night owl", "n02121808"], aliases=aliases) == [1, 2, 0]


def test_an_alias_of_two_classes_means_none() -> None:
    aliases = {"cat": ("pet",), "dog": ("pet",)}

    assert "none of its: 'pet'; without 'cat'" in refusal(["pet", *CLASSES[1:]], aliases=aliases)


def test_dropped_classes_have_no_label_and_may_be_missing() -> None:
    dropped = ("BACKGROUND_Google", "clutter")

    assert labels(["Background Google", *CLASSES], dropped=dropped) == [None, 0, 1, 2]
    assert "none of its: 'background'" in refusal(["background", *CLASSES], dropped=dropped)


def test_numbers_count_from_1_where_the_facts_say_so() -> None:
    names = tuple(f"flower {letter}" for letter in "abcdefghijkl")
    theirs = sorted(str(i + 1) for i in range(12))

    assert labels(theirs, classnames=names, numbered=True) == [int(i) - 1 for i in theirs]
    assert labels(names[::-1], classnames=names, numbered=True) == list(range(12))[::-1]
    refusal(theirs, classnames=names)
    refusal([str(i) for i in range(12)], classnames=names, numbered=True)


def test_what_is_wrong_is_named_with_both_numbers() -> None:
    message = refusal(["cat", "Cat", "zebra", "dog"])

    assert "has 4 class names, the dataset has 3" in message
    assert "none of its: 'zebra'" in message
    assert "without 'night owl'" in message
    assert "several classes for 'cat': 'cat', 'Cat'" in message


def test_a_long_list_of_what_is_wrong_is_cut() -> None:
    names = tuple(f"bird {i}" for i in range(100))
    message = refusal([f"fish {i}" for i in range(100)], classnames=names)

    assert "'fish 4' and 95 more" in message
    assert "'bird 4' and 95 more" in message
    assert len(message) < 400


def test_names_in_other_scripts_are_told_apart() -> None:
    names = ("猫", "犬", "Éléphant", "сова")

    assert labels(["сова", "E\u0301le\u0301phant", "犬", "猫"], classnames=names) == [3, 2, 1, 0]
    assert labels(["猫", "犬", "ELEPHANT", "Сова"], classnames=names) == [0, 1, 2, 3]
    assert "none of its: '虎'; without '犬'" in refusal(
        ["猫", "虎", "Éléphant", "сова"], classnames=names
    )


def test_a_name_as_it_stands_is_known_however_near_another_is() -> None:
    names = ("a", "A", "C", "C++", "C#", "?!")

    assert labels(names[::-1], classnames=names) == [5, 4, 3, 2, 1, 0]
    assert "none of its: '!!'" in refusal([*names[:-1], "!!"], classnames=names)


# Splits that lack classes


def test_classes_of_several_splits_are_one_list() -> None:
    cases: list[dict[Split, list[str]]] = [
        {"test": ["dog", "ant"], "train": ["dog", "cat"]},
        {"test": ["dog", "cat"], "train": ["dog", "ant"]},
        {"test": ["ant"], "train": ["dog"], "val": ["cat", "dog"]},
    ]
    for splits in cases:
        assert unite(splits, "here") == (["ant", "cat", "dog"], [])


def test_two_spellings_of_a_class_are_one_and_told() -> None:
    names, lines = unite({"test": ["Night_Owl", "cat"], "train": ["002.night owl", "Cat"]}, "here")

    assert names == ["Night_Owl", "cat"]
    assert lines == [
        "'002.night owl' of train is the class 'Night_Owl' of test",
        "'Cat' of train is the class 'cat' of test",
    ]


def test_names_that_one_split_tells_apart_are_apart() -> None:
    splits: dict[Split, list[str]] = {
        "test": ["A", "C++"],
        "train": ["A", "a", "C", "C++", "?", "!"],
    }

    assert unite(splits, "here") == (["!", "?", "A", "C", "C++", "a"], [])


def test_a_class_that_may_be_another_is_refused() -> None:
    with pytest.raises(DatasetError) as caught:
        unite({"test": ["C++"], "train": ["C"]}, "here")
    assert str(caught.value) == (
        "here: is 'C' of train the class 'C++' of test, or another? "
        "Call a class the same in every split."
    )


def test_classes_may_be_missing_where_that_is_allowed() -> None:
    spec = spec_of()

    assert match(["Dog", "cat"], spec, "here", some=True) == [1, 0]
    with pytest.raises(DatasetError, match="none of its: 'ant'"):
        match(["ant", "cat"], spec, "here", some=True)


# Names in another spelling, and names that two classes have


@pytest.mark.parametrize(
    "name", ["CV Cargo Van 2012", "cargo-van c/v (2012)", "2012 C.V. CargoVan"]
)
def test_letters_may_stand_in_any_order_whatever_is_between_them(name: str) -> None:
    names = ("2012 C/V Cargo Van", "2011 C/V Cargo Van", "cat")

    assert labels(["cat", "2011 C/V Cargo Van", name], classnames=names) == [2, 1, 0]


@pytest.mark.parametrize("name", ["2021 C/V Cargo Van", "tac", "god", "CV Cargo Van 201 2"])
def test_a_number_is_its_digits_in_their_order_and_so_is_a_word(name: str) -> None:
    names = ("2012 C/V Cargo Van", "cat", "dog")
    other = {"tac": 1, "god": 2}.get(name, 0)
    theirs = [name if i == other else each for i, each in enumerate(names)]

    assert f"none of its: '{name}'" in refusal(theirs[::-1], classnames=names)


def test_and_is_a_word_or_a_sign() -> None:
    names = ("Town & Country", "Antigua and Barbuda", "AT&T")

    theirs = ["ATT", "antigua & barbuda", "Town and Country"]
    assert labels(theirs, classnames=names) == [2, 1, 0]
    theirs = ["AT and T", "Antigua_Barbuda and", "Country & Town"]
    assert labels(theirs, classnames=names) == [2, 1, 0]


def test_two_classes_of_one_name_are_told_apart_by_their_numbers() -> None:
    names = ("crane", "dog", "crane")

    assert labels(names, classnames=names) == [0, 1, 2]
    assert same_names(enumerate(names)) == [
        "classes 0 and 2 have one name, 'crane'; their numbers tell them apart"
    ]
    refusal(["dog", "crane", "crane"], classnames=names)
    refusal(["crane", "dog"], classnames=names)


def test_synonyms_are_taken_where_they_mean_one_class() -> None:
    aliases = {"cat": ("felis, pet",), "dog": ("canis, pet, hound",)}

    assert labels(["Hound", "night owl", "felis"], aliases=aliases) == [1, 2, 0]
    assert labels(["canis, pet, hound", "night owl", "felis"], aliases=aliases) == [1, 2, 0]
    assert "none of its: 'pet'" in refusal(["pet", "night owl", "dog"], aliases=aliases)
