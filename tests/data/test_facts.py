from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import pytest

from susx_bench.data.classes import match
from susx_bench.data.spec import DatasetSpec, SplitFile, read_codes, read_synsets
from susx_bench.errors import DatasetError
from tests.data.copies import CLEAN, CORRUPTED, LATER

CLASSES = {
    "ucf101": 101,
    "cifar10": 10,
    "cifar100": 100,
    "caltech101": 100,
    "caltech256": 257,
    "imagenet": 1000,
    "sun397": 397,
    "fgvcaircraft": 100,
    "birdsnap": 500,
    "stanfordcars": 196,
    "cub": 200,
    "flowers102": 102,
    "food101": 101,
    "oxfordpets": 37,
    "dtd": 47,
    "eurosat": 10,
    "imagenet-sketch": 1000,
    "imagenet-r": 200,
    "imagenet-a": 200,
    "imagenet-v2": 1000,
    "imagenet-a-clean": 200,
    "imagenet-r-clean": 200,
    "objectnet": 113,
    "objectnet-clean": 113,
    **dict.fromkeys(CORRUPTED, 1000),
    "country211": 211,
}


def facts(name: str) -> DatasetSpec:
    spec = import_module(f"susx_bench.data.facts.{name.replace('-', '_')}").SPEC
    assert isinstance(spec, DatasetSpec)
    return spec


@pytest.fixture(params=CLASSES)
def spec(request: pytest.FixtureRequest) -> DatasetSpec:
    return facts(request.param)


def labels(name: str, theirs: Sequence[str]) -> list[int | None]:
    return match(theirs, facts(name), "a copy")


def renamed(name: str, theirs: Mapping[str, str]) -> list[str]:
    """The class names in canonical order, some in another spelling."""
    classnames = facts(name).classnames
    assert set(theirs) <= set(classnames)
    return [theirs.get(classname, classname) for classname in classnames]


def every(name: str) -> list[int]:
    return list(range(len(facts(name).classnames)))


# What holds for all of them.


@pytest.mark.parametrize(("name", "count"), list(CLASSES.items()))
def test_names_and_numbers_of_classes(name: str, count: int) -> None:
    spec = facts(name)

    assert spec.name == name
    assert len(spec.classnames) == len(set(spec.classnames)) == count
    assert all(
        classname.isascii() and classname == classname.strip() for classname in spec.classnames
    )


@pytest.mark.parametrize("order", ["canonical", "reversed", "shuffled"])
def test_classes_are_known_by_name_in_any_order(spec: DatasetSpec, order: str) -> None:
    there = list(range(len(spec.classnames)))
    if order == "reversed":
        there.reverse()
    if order == "shuffled":
        random.Random(0).shuffle(there)

    assert match([spec.classnames[i] for i in there], spec, "a copy") == there


@pytest.mark.parametrize(
    "spell", [str.upper, lambda name: name.replace(" ", "_"), lambda name: name.replace(" ", "-")]
)
def test_case_and_punctuation_do_not_matter(spec: DatasetSpec, spell: Callable[[str], str]) -> None:
    theirs = [spell(classname) for classname in spec.classnames]

    assert match(theirs, spec, "a copy") == list(range(len(theirs)))


def test_every_alias_means_its_class(spec: DatasetSpec) -> None:
    assert set(spec.aliases) <= set(spec.classnames)
    for nth in range(max(map(len, spec.aliases.values()), default=0)):
        spellings = [spec.aliases.get(name, (name,)) for name in spec.classnames]
        theirs = [spelling[nth % len(spelling)] for spelling in spellings]
        assert match(theirs, spec, "a copy") == list(range(len(theirs)))


def test_dropped_classes_are_dropped(spec: DatasetSpec) -> None:
    found = match([*spec.dropped, *spec.classnames], spec, "a copy")

    assert found == [None] * len(spec.dropped) + list(range(len(spec.classnames)))


def test_a_strange_class_is_refused(spec: DatasetSpec) -> None:
    theirs = [*spec.classnames[:-1], "no such thing"]

    with pytest.raises(DatasetError, match=f"^{spec.name}: a copy has .*'no such thing'"):
        match(theirs, spec, "a copy")


def test_a_missing_class_is_refused(spec: DatasetSpec) -> None:
    with pytest.raises(DatasetError, match=re.escape(f"without '{spec.classnames[0]}'")):
        match(spec.classnames[1:], spec, "a copy")


def test_a_class_that_is_there_twice_is_refused(spec: DatasetSpec) -> None:
    theirs = [*spec.classnames, spec.classnames[0].upper()]

    with pytest.raises(
        DatasetError, match=re.escape(f"several classes for '{spec.classnames[0]}'")
    ):
        match(theirs, spec, "a copy")


def test_sizes_are_those_of_the_protocol(spec: DatasetSpec) -> None:
    reused = {"cifar10", "cifar100", "imagenet", "imagenet-sketch", "imagenet-r", *LATER}

    assert spec.protocol == ("susx-bench" if spec.name in LATER else "susx")
    assert spec.val_is_test == (spec.name in reused)
    assert ("val" in spec.sizes) != spec.val_is_test
    assert ("train" in spec.sizes) != (spec.train_of == "imagenet")
    assert ("train" in spec.sizes) == (spec.name not in {"imagenet-sketch", "imagenet-r", *LATER})
    assert all(size >= len(spec.classnames) for size in spec.sizes.values())


def test_prompts_take_one_class_name(spec: DatasetSpec) -> None:
    for prompt in (spec.template, spec.photo):
        assert prompt.count("{}") == 1
        assert prompt.count("{") == prompt.count("}") == 1


def test_hub_copies_are_pinned(spec: DatasetSpec) -> None:
    for hub in spec.hub:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", hub.repo)
        assert re.fullmatch(r"[0-9a-f]{40}", hub.revision)
        assert set(hub.splits) == set(hub.sizes)
        assert set(hub.splits) <= {"train", "val", "test"}
        assert "test" in hub.splits
        assert hub.protocol == ("susx" if hub.sizes == spec.sizes else "hub-official")


def test_a_split_file_and_a_way_to_get_it(spec: DatasetSpec) -> None:
    assert spec.layout is not None
    assert spec.fetch.endswith(".")
    # The clean ones are images of ImageNet's.
    assert set(spec.folders) & set(CLASSES) == ({"imagenet"} if spec.name in CLEAN else set())
    if isinstance(spec.layout, SplitFile):
        assert spec.layout.file in spec.fetch


def test_citations_are_bibtex(spec: DatasetSpec) -> None:
    citation = spec.citation

    assert re.match(rf"@(article|inproceedings|techreport)\{{{spec.bibtex_key},\n", citation)
    assert citation.isascii()
    depths = [citation[:i].count("{") - citation[:i].count("}") for i in range(1, len(citation))]
    assert min(depths) >= 0
    assert citation.count("{") == citation.count("}")
    assert citation.endswith("\n}")
    fields = dict(re.findall(r"^  (\w+) = \{(.*?)\}(?=,?\n)", citation, re.DOTALL | re.MULTILINE))
    assert {"author", "title", "year"} <= set(fields)
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert all(len(person.split(", ")) == 2 for person in re.split(r"\s+and\s+", fields["author"]))


# What copies of them are known to call their classes.


@pytest.mark.parametrize(
    ("plane", "car"), [("airplane", "automobile"), ("plane", "car"), ("airplane", "car")]
)
def test_cifar10_is_airplane_and_automobile_on_the_hub(plane: str, car: str) -> None:
    theirs = [plane, car, "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    assert labels("cifar10", theirs) == every("cifar10")


def test_cifar100_has_a_misspelling_that_some_mend() -> None:
    assert labels("cifar100", renamed("cifar100", {"cra": "crab"})) == every("cifar100")


def test_eurosat_folders_drop_words() -> None:
    folders = ["AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"]
    folders += ["Pasture", "PermanentCrop", "Residential", "River", "SeaLake"]
    hub = ["Annual Crop", "Forest", "Herbaceous Vegetation", "Highway", "Industrial Buildings"]
    hub += ["Pasture", "Permanent Crop", "Residential Buildings", "River", "SeaLake"]

    assert labels("eurosat", folders) == every("eurosat")
    assert labels("eurosat", hub) == every("eurosat")


def test_clip_has_other_names_and_another_order_for_eurosat() -> None:
    theirs = [
        *("forest", "permanent crop land", "residential buildings or homes or apartments"),
        *("river", "pasture land", "lake or sea", "brushland or shrubland", "annual crop land"),
        *("industrial buildings or commercial buildings", "highway or road"),
    ]

    assert labels("eurosat", theirs) == [1, 6, 7, 8, 5, 9, 2, 0, 4, 3]


def test_cars_have_their_year_first_or_last() -> None:
    theirs = [
        " ".join([*name.split()[1:], name.split()[0]]) for name in facts("stanfordcars").classnames
    ]

    assert theirs[0] == "AM General Hummer SUV 2000"
    assert labels("stanfordcars", theirs) == every("stanfordcars")


def test_cub_folders_are_numbered() -> None:
    names = facts("cub").classnames
    theirs = [f"{i:03}.{name.replace(' ', '_')}" for i, name in enumerate(names, 1)]

    assert theirs[0] == "001.Black_footed_Albatross"
    assert labels("cub", theirs[::-1]) == every("cub")[::-1]


def test_caltech101_folders_hold_two_classes_too_many() -> None:
    plural = {"airplane": "airplanes", "face": "Faces", "leopard": "Leopards"}
    plural["motorbike"] = "Motorbikes"
    folders = [name.replace(" ", "_") for name in renamed("caltech101", plural)]
    theirs = sorted([*folders, "BACKGROUND_Google", "Faces_easy"])
    found = labels("caltech101", theirs)

    assert theirs[:4] == ["BACKGROUND_Google", "Faces", "Faces_easy", "Leopards"]
    assert [found[0], found[2]] == [None, None]
    assert [label for label in found if label is not None] == every("caltech101")
    assert None not in labels("caltech101", folders)


def test_caltech256_folders_are_numbered_and_some_end_on_101() -> None:
    spec = facts("caltech256")
    theirs = [
        f"{i:03}.{spec.aliases.get(name, (name,))[0]}" for i, name in enumerate(spec.classnames, 1)
    ]
    real = {"001.ak47", "015.bonsai-101", "068.fern", "129.leopards-101", "198.spider"}
    real |= {"145.motorbikes-101", "204.sunflower-101", "224.touring-bike", "232.t-shirt"}
    real |= {"251.airplanes-101", "252.car-side-101", "253.faces-easy-101", "257.clutter"}

    assert real <= set(theirs)
    assert sum(name.endswith("-101") for name in theirs) == 30
    assert labels("caltech256", theirs) == every("caltech256")


def test_flowers_are_numbers_sorted_as_words_on_the_hub() -> None:
    theirs = sorted(str(i + 1) for i in every("flowers102"))

    assert theirs[:3] == ["1", "10", "100"]
    assert labels("flowers102", theirs) == [int(number) - 1 for number in theirs]


@pytest.mark.parametrize("first", [0, 2])
def test_flowers_numbered_otherwise_are_refused(first: int) -> None:
    with pytest.raises(DatasetError, match="none of its"):
        labels("flowers102", [str(first + i) for i in every("flowers102")])


def test_flowers_have_been_renamed() -> None:
    theirs = {"ball moss": "air plant", "pink-yellow dahlia": "pink and yellow dahlia"}
    theirs["globe-flower"] = "globe flower"

    assert labels("flowers102", renamed("flowers102", theirs)) == every("flowers102")


def test_sun397_paths_put_the_kind_last() -> None:
    paths = {
        "abbey": "/a/abbey",
        "airplane cabin": "/a/airplane_cabin",
        "indoor apse": "/a/apse/indoor",
        "outdoor apartment building": "/a/apartment_building/outdoor",
        "backseat car interior": "/c/car_interior/backseat",
        "indoor jail": "/j/jail/indoor",
        "jail cell": "/j/jail_cell",
        "mountain snowy": "/m/mountain_snowy",
        "platform subway station": "/s/subway_station/platform",
        "east asia temple": "/t/temple/east_asia",
        "indoor procenium theater": "/t/theater/indoor_procenium",
        "coral reef underwater": "/u/underwater/coral_reef",
        "barrel storage wine cellar": "/w/wine_cellar/barrel_storage",
    }
    clip = {name: re.sub(r"^/./", "", path).replace("/", " ") for name, path in paths.items()}

    assert clip["indoor apse"] == "apse indoor"
    assert labels("sun397", renamed("sun397", paths)) == every("sun397")
    assert labels("sun397", renamed("sun397", clip)[::-1]) == every("sun397")[::-1]


def test_birds_may_have_apostrophes() -> None:
    theirs = {
        "Coopers Hawk": "Cooper's Hawk",
        "Harriss Hawk": "Harris's Hawk",
        "Common Black Hawk": "Common Black-Hawk",
        "Sharp shinned Hawk": "Sharp-shinned Hawk",
        "Le Contes Sparrow": "Le Conte's Sparrow",
        "Wilsons Phalarope": "Wilsons_Phalarope",
    }

    assert labels("birdsnap", renamed("birdsnap", theirs)) == every("birdsnap")


def test_aircraft_are_told_apart_by_their_numbers() -> None:
    theirs = renamed("fgvcaircraft", {"F-16A/B": "F-16A-B", "F/A-18": "F-A-18", "DC-3": "dc3"})

    assert labels("fgvcaircraft", theirs[::-1]) == every("fgvcaircraft")[::-1]
    with pytest.raises(DatasetError, match="several classes for '737-200'"):
        labels("fgvcaircraft", [*theirs, "737 200"])


def test_pets_are_spelled_in_all_ways() -> None:
    names = facts("oxfordpets").classnames
    cats = ["abyssinian", "bengal", "birman", "bombay", "british shorthair", "egyptian mau"]
    cats += ["maine coon", "persian", "ragdoll", "russian blue", "siamese", "sphynx"]
    clip = [*map(str.title, cats), *(name for name in names if name not in cats)]

    assert labels("oxfordpets", [name.title().replace(" ", "_") for name in names]) == every(
        "oxfordpets"
    )
    assert labels("oxfordpets", clip) == [names.index(name.lower()) for name in clip]


def test_ucf101_folders_are_in_camel_case() -> None:
    folders = ["".join(name.split()) for name in facts("ucf101").classnames]
    videos = [name.replace("HandstandPushups", "HandStandPushups") for name in folders]

    assert {"ApplyEyeMakeup", "YoYo", "HandstandPushups"} <= set(folders)
    assert labels("ucf101", sorted(folders)) == [folders.index(name) for name in sorted(folders)]
    assert labels("ucf101", videos) == every("ucf101")


def test_food101_on_the_hub_is_in_another_order() -> None:
    names = list(facts("food101").classnames)
    theirs = sorted(name.replace(" ", "_") for name in names)
    cake, plate = theirs.index("cheesecake"), theirs.index("cheese_plate")

    assert names.index("cheese plate") < names.index("cheesecake")
    assert labels("food101", theirs)[cake] == names.index("cheesecake")
    assert labels("food101", theirs)[plate] == names.index("cheese plate")


@pytest.mark.parametrize("name", ["imagenet", "imagenet-sketch", "imagenet-r", "imagenet-a"])
def test_imagenets_are_known_by_wordnet_id(name: str) -> None:
    codes = [code for (code,) in read_codes(name.replace("-sketch", "")).values()]
    there = every(name)
    random.Random(1).shuffle(there)

    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"n\d{8}", code) for code in codes)
    assert labels(name, [codes[i] for i in there]) == there


def test_classes_of_imagenet_that_are_easily_mistaken() -> None:
    codes = read_codes("imagenet")
    known = {
        "missile": (657, "n03773504"),
        "projectile": (744, "n04008634"),
        "sunglass": (836, "n04355933"),
        "sunglasses": (837, "n04356056"),
        "crane bird": (134, "n02012849"),
        "construction crane": (517, "n03126707"),
        "tights": (638, "n03710637"),
        "one-piece bathing suit": (639, "n03710721"),
    }

    for name, (label, code) in known.items():
        assert facts("imagenet").classnames[label] == name
        assert codes[name] == (code,)


@pytest.mark.parametrize("name", ["imagenet", "imagenet-sketch"])
def test_a_list_with_two_missiles_is_known_as_a_whole(name: str) -> None:
    """CoOp's, CLIP_benchmark's and open_clip's: in another order nothing tells the two apart."""
    from open_clip import IMAGENET_CLASSNAMES

    clip = renamed(name, {"projectile": "missile", "sunglass": "sunglasses"})
    assert list(IMAGENET_CLASSNAMES) == clip

    assert labels(name, clip) == every(name)
    with pytest.raises(DatasetError, match="without 'projectile', 'sunglass'"):
        labels(name, clip[::-1])
    with pytest.raises(DatasetError, match="several classes for 'missile'"):
        labels(name, ["goldfish", "tench", *clip[2:]])
    with pytest.raises(DatasetError, match="without 'projectile', 'sunglass'"):
        labels(name, list(dict.fromkeys(clip)))


@pytest.mark.parametrize("name", ["imagenet", "imagenet-sketch"])
def test_names_of_other_lists_of_imagenet(name: str) -> None:
    visdesc = renamed(name, {"newt": "eft", "tights": "maillot"})
    random.Random(1).shuffle(there := every(name))
    assert labels(name, [visdesc[i] for i in there]) == there

    shades = renamed(name, {"sunglass": "sunglasses", "sunglasses": "shades"})
    assert labels(name, shades) == every(name)
    # What WordNet calls them: two cranes among them, told apart in the canonical order alone.
    synsets = list(read_synsets().values())
    assert (synsets[0], synsets[134], synsets[517]) == ("tench, Tinca tinca", "crane", "crane")
    assert labels(name, synsets) == every(name)
    first = [each.split(",")[0] for each in synsets]
    assert first[638] == first[639] == "maillot"
    assert labels(name, first) == every(name)
    with pytest.raises(DatasetError, match="crane"):
        labels(name, synsets[::-1])


def test_lotus_twice() -> None:
    assert labels("flowers102", renamed("flowers102", {"lotus": "lotus lotus"})) == every(
        "flowers102"
    )


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: re.sub(r"(\d{4}) (.*)", r"\2 \1", name).replace("C/V", "CV"),
        lambda name: re.sub(r"(\d{4}) (.*)", r"\2 \1", name).replace("/", "").replace("-", " "),
        lambda name: re.sub(r"[/ -]", "_", name),
        lambda name: re.sub(r"(\d{4}) (\S+) (.*)", r"\3 (\2, \1)", name).replace("-", ""),
    ],
)
def test_cars_are_known_by_their_letters_whatever_the_order(spell: Callable[[str], str]) -> None:
    theirs = [spell(name) for name in facts("stanfordcars").classnames]
    assert "2012 Ram C/V Cargo Van Minivan" in facts("stanfordcars").classnames

    random.Random(1).shuffle(there := every("stanfordcars"))
    assert labels("stanfordcars", [theirs[i] for i in there]) == there


def test_imagenet_r_has_names_of_its_own() -> None:
    clip = {code: name for name, (code,) in read_codes("imagenet").items()}
    theirs = [clip[code] for (code,) in read_codes("imagenet-r").values()]

    assert theirs != list(facts("imagenet-r").classnames)
    assert labels("imagenet-r", theirs) == every("imagenet-r")


def test_countries_are_known_by_code() -> None:
    codes = {name: code for name, (code,) in read_codes("country211").items()}
    some = {"Andorra": "AD", "Bonaire, Saint Eustatius and Saba": "BQ", "DR Congo": "CD"}
    some |= {"United Kingdom": "GB", "South Korea": "KR", "North Korea": "KP", "Kosovo": "XK"}
    some |= {"Dominica": "DM", "Dominican Republic": "DO", "Saint-Martin": "MF"}
    some |= {"Sint Maarten": "SX", "Macedonia": "MK", "Zimbabwe": "ZW"}

    assert some.items() <= codes.items()
    assert list(codes.values()) == sorted(set(codes.values()))
    assert labels("country211", list(codes.values())) == every("country211")
