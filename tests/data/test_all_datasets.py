"""Every dataset from files to a record: real layouts and schemas, small pictures, small splits.

A picture's colour says which class it shows and its width which split it is in, so what is read
can be held against what is seen. Classes are called what the copies call them, by rules and lists
of this file's own, and the order of the facts is shuffled: an image gets the right label by its
class's name, or not at all.
"""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from susx_bench.data.base import BenchDataModule, Where
from susx_bench.data.published import PublishedDataset
from susx_bench.data.spec import ClassFolders, DatasetSpec, Hub, ListFiles, Split, SplitFile
from susx_bench.errors import DatasetError
from susx_bench.records import store
from susx_bench.registry import DATASETS
from tests.conftest import Command

NAMES = [name for name in DATASETS.names() if name != "digits"]
VAL_IS_TEST = ["cifar10", "cifar100", "imagenet", "imagenet-r", "imagenet-sketch"]
TEST_ONLY = ["imagenet-r", "imagenet-sketch"]
ON_THE_HUB = [(name, hub) for name in NAMES for hub in range(len(DATASETS.get(name).spec.hub))]
EACH: dict[Split, int] = {"train": 2, "val": 1, "test": 2}
"""Images a class."""
FEW = 12
"""Classes that are left of a thousand."""

# What copies call the classes, where it is not the canonical name with underscores.

CALTECH101 = {"airplane": "airplanes", "face": "Faces", "leopard": "Leopards"}
CALTECH101 |= {"motorbike": "Motorbikes"}
NOT_CALTECH101 = ["BACKGROUND_Google", "Faces_easy"]
# Folders of Caltech256 whose names end on -101.
FROM_CALTECH101 = {
    *("airplanes", "bonsai", "brain", "buddha", "car-side", "chandelier", "crab", "dolphin"),
    *("electric-guitar", "elephant", "ewer", "faces-easy", "grand-piano", "hawksbill"),
    *("helicopter", "ibis", "kangaroo", "ketch", "laptop", "leopards", "llama", "menorah"),
    *("motorbikes", "revolver", "scorpion", "starfish", "sunflower", "trilobite", "umbrella"),
    "watch",
}
EUROSAT = {  # its folders, and on the hub
    "Annual Crop Land": ("AnnualCrop", "Annual Crop"),
    "Forest": ("Forest", "Forest"),
    "Herbaceous Vegetation Land": ("HerbaceousVegetation", "Herbaceous Vegetation"),
    "Highway or Road": ("Highway", "Highway"),
    "Industrial Buildings": ("Industrial", "Industrial Buildings"),
    "Pasture Land": ("Pasture", "Pasture"),
    "Permanent Crop Land": ("PermanentCrop", "Permanent Crop"),
    "Residential Buildings": ("Residential", "Residential Buildings"),
    "River": ("River", "River"),
    "Sea or Lake": ("SeaLake", "SeaLake"),
}
CATS = {
    *("abyssinian", "bengal", "birman", "bombay", "british shorthair", "egyptian mau"),
    *("maine coon", "persian", "ragdoll", "russian blue", "siamese", "sphynx"),
}
COUNTRIES = """
    AD AE AF AG AI AL AM AO AQ AR AT AU AW AX AZ BA BB BD BE BF BG BH BJ BM BN BO BQ BR BS BT BW
    BY BZ CA CD CF CH CI CK CL CM CN CO CR CU CV CW CY CZ DE DK DM DO DZ EC EE EG ES ET FI FJ FK
    FO FR GA GB GD GE GF GG GH GI GL GM GP GR GS GT GU GY HK HN HR HT HU ID IE IL IM IN IQ IR IS
    IT JE JM JO JP KE KG KH KN KP KR KW KY KZ LA LB LC LI LK LR LT LU LV LY MA MC MD ME MF MG MK
    ML MM MN MO MQ MR MT MU MV MW MX MY MZ NA NC NG NI NL NO NP NZ OM PA PE PF PG PH PK PL PR PS
    PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SS SV SX SY SZ TG TH TJ
    TL TM TN TO TR TT TW TZ UA UG US UY UZ VA VE VG VI VN VU WS XK YE ZA ZM ZW
""".split()
# What SUN397 has as the last folder of a path and CoOp as the first words of a name.
KINDS = re.compile(
    "(indoor procenium|indoor seats|indoor|outdoor|exterior|interior|public|shop|natural|urban"
    "|backseat|frontseat|sand|vegetation|home(?= dinette| poolroom)|vehicle|door|cultivated|wild"
    "|broadleaf|needleleaf|office(?= cubicle)|water(?= moat)|establishment|(?:base|foot)ball"
    "(?= stadium)|platform|(?:east|south) asia|coral reef|block|fan|plunge|(?:barrel|bottle)"
    " storage) (.*)"
)
APOSTROPHES = {"Allens Hummingbird": "Allen's Hummingbird", "Harriss Hawk": "Harris's Hawk"}
APOSTROPHES |= {"Le Contes Sparrow": "Le Conte's Sparrow", "Coopers Hawk": "Cooper's Hawk"}


def under(name: str) -> str:
    return name.replace(" ", "_")


def sun397(name: str) -> tuple[str, str]:
    """The place and what kind of it, of "indoor apse"; the kind may be empty."""
    parted = KINDS.fullmatch(name)
    return (parted[2], parted[1]) if parted else (name, "")


def wordnet(which: str) -> list[str]:
    """WordNet ids in their order, which is also that of the classes."""
    path = files("timm").joinpath("data", "_info", f"{which}_synsets.txt")
    return sorted(path.read_text().split())


@cache
def folders(name: str) -> dict[str, str]:
    """The folder of every class in the distributed images, by canonical name."""
    names = DATASETS.get(name).spec.classnames
    match name:
        case "caltech101":
            found = [CALTECH101.get(c, under(c)) for c in names]
        case "caltech256":
            ends = ["-101" if c in FROM_CALTECH101 else "" for c in names]
            found = [
                f"{i:03}.{c}{end}" for i, (c, end) in enumerate(zip(names, ends, strict=True), 1)
            ]
        case "cifar10":
            found = [{"car": "automobile"}.get(c, c) for c in names]
        case "country211":
            found = COUNTRIES
        case "cub":
            found = [f"{i:03}.{under(c)}" for i, c in enumerate(names, 1)]
        case "eurosat":
            found = [EUROSAT[c][0] for c in names]
        case "fgvcaircraft":
            found = [c.replace("/", "-") for c in names]
        case "flowers102":
            found = [str(i) for i in range(1, 103)]
        case "imagenet" | "imagenet-sketch":
            found = wordnet("imagenet")
        case "imagenet-r":
            found = wordnet("imagenet_r")
        case "oxfordpets":
            found = [under(c.title() if c in CATS else c) for c in names]
        case "stanfordcars":
            found = [re.sub(r"(\d{4}) (.*)", r"\2 \1", c).replace("/", "-") for c in names]
        case "sun397":
            parts = [[under(part) for part in sun397(c) if part] for c in names]
            found = ["/".join([part[0][0], *part]) for part in parts]
        case _:
            found = [under(c) for c in names]
    return dict(zip(names, found, strict=True))


def in_split_file(name: str, classname: str) -> str:
    """A class as CoOp's and SuS-X's split files spell it."""
    if name in ("caltech256", "eurosat", "flowers102", "stanfordcars"):
        return classname
    if name == "sun397":
        place, kind = sun397(classname)
        return f"{under(kind)} {under(place)}".strip()
    return under(classname)


def in_table(hub: Hub, classname: str) -> str:
    """A class as a copy on the hub spells it."""
    match hub.repo:
        case "mteb/birdsnap":
            return APOSTROPHES.get(classname, classname)
        case "mteb/Caltech101":
            return folders("caltech101")[classname].lower()
        case "mteb/cifar10":
            return folders("cifar10")[classname]
        case "bentrevett/caltech-ucsd-birds-200-2011":
            return folders("cub")[classname]
        case "timm/eurosat-rgb":
            return EUROSAT[classname][1]
        case "mteb/oxford-flowers":
            return folders("flowers102")[classname]
        case "mteb/StanfordCars":
            return re.sub(r"(\d{4}) (.*)", r"\2 \1", classname)
        case "tanganke/sun397":
            return " ".join(sun397(classname)).strip()
        case "mteb/cifar100" | "ethz/food101":
            return under(classname)
    return classname


def file_name(name: str, folder: str, split: Split, number: int) -> str:
    """Where an image lies below the dataset's folder of images."""
    match name:
        case "caltech101":
            return f"{folder}/image_{number:04}.jpg"
        case "caltech256":
            return f"{folder}/{folder[:3]}_{number:04}.jpg"
        case "cub":
            return f"{folder}/{folder[4:]}_{number:04}_{number}.jpg"
        case "dtd" | "eurosat":
            return f"{folder}/{folder}_{number}.jpg"
        case "fgvcaircraft":
            return f"{number:07}.jpg"
        case "flowers102":
            return f"image_{number:05}.jpg"
        case "imagenet" | "imagenet-sketch":
            return f"{folder}/{folder}_{number}.JPEG"
        case "oxfordpets":
            return f"{folder}_{number}.jpg"
        case "stanfordcars":
            return f"cars_{'test' if split == 'test' else 'train'}/{number:05}.jpg"
        case "sun397":
            return f"{folder}/sun_{number:016}.jpg"
        case "ucf101":
            return f"{folder}/v_{folder.replace('_', '')}_g{number:02}_c01.jpg"
    return f"{folder}/{number}.jpg"


# Pictures that tell their class and their split.

WIDTHS: dict[Split, int] = {"train": 8, "val": 12, "test": 16}
NOBODYS = 999
"""Colour of what belongs to no class of the dataset."""


@cache
def picture(label: int, split: Split, kind: str = "jpeg") -> bytes:
    colour = tuple(12 + 25 * int(digit) for digit in f"{label:03}")
    file = io.BytesIO()
    Image.new("RGB", (WIDTHS[split], WIDTHS[split]), colour).save(file, kind, quality=95)
    return file.getvalue()


def seen(image: Image.Image) -> tuple[int, Split]:
    pixel: Any = image.getpixel((3, 3))
    label = int("".join(str(round((value - 12) / 25)) for value in pixel))
    return label, next(split for split, width in WIDTHS.items() if width == image.width)


@dataclass(frozen=True)
class Shown:
    """An image of a copy.

    Attributes:
        split: The split it belongs to.
        classname: Canonical name of its class.
        label: Canonical label.
        number: Of the image in the copy.
    """

    split: Split
    classname: str
    label: int
    number: int

    @property
    def jpeg(self) -> bytes:
        return picture(self.label, self.split)


def images(spec: DatasetSpec, splits: Sequence[Split]) -> Iterator[Shown]:
    """The images of some splits, the classes in an order that is not that of the facts."""
    number = count(1)
    there = sorted(spec.classnames, key=lambda c: folders(spec.name)[c])
    for split in splits:
        for classname in there:
            label = spec.classnames.index(classname)
            for _ in range(EACH[split]):
                yield Shown(split, classname, label, next(number))


# The facts made small, and the copies.


@pytest.fixture(autouse=True)
def _no_arrow_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what ``datasets`` makes of tables out of the user's home."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "arrow")


def shrunk(name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> type[BenchDataModule]:
    """The dataset with small splits and its classes in another order, the same for all tests."""
    dataset = DATASETS.get(name)
    spec = dataset.spec
    names = list(spec.classnames[:FEW] if len(spec.classnames) == 1000 else spec.classnames)
    if not spec.numbered:
        random.Random(name).shuffle(names)

    def sizes(splits: Mapping[Split, Any]) -> dict[Split, int]:
        return {split: EACH[split] * len(names) for split in splits}

    small = replace(
        spec,
        classnames=tuple(names),
        sizes=sizes(spec.sizes),
        aliases={known: spec.aliases[known] for known in names if known in spec.aliases},
        hub=tuple(replace(hub, sizes=sizes(hub.sizes)) for hub in spec.hub),
    )
    monkeypatch.setattr(dataset, "spec", replace(small, **changes))
    return dataset


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def lay_out(spec: DatasetSpec, folder: Path) -> None:
    """Write the dataset as it is distributed, with the split files of the field."""
    theirs, layout = folders(spec.name), spec.layout
    found = list(images(spec, list(spec.sizes)))
    if isinstance(layout, SplitFile):
        numbers = {name: 7 + i for i, name in enumerate(sorted(spec.classnames, key=len))}
        rows: dict[Split, list[tuple[str, int, str]]] = {split: [] for split in spec.sizes}
        for one in found:
            key = file_name(spec.name, theirs[one.classname], one.split, one.number)
            put(folder / layout.images / key, one.jpeg)
            name = in_split_file(spec.name, one.classname)
            rows[one.split].append((key, numbers[one.classname], name))
        put(folder / layout.file, json.dumps(rows).encode())
        if spec.name == "caltech101":
            for other in NOT_CALTECH101:
                put(folder / layout.images / other / "image_0001.jpg", picture(NOBODYS, "test"))
    elif isinstance(layout, ListFiles):
        for split, file in layout.lists.items():
            lines = []
            for one in (one for one in found if one.split == split):
                key = file_name(spec.name, "", split, one.number)
                put(folder / layout.images / key, one.jpeg)
                lines.append(f"{Path(key).stem} {one.classname}\n")
            put(folder / file, "".join(lines).encode())
    elif isinstance(layout, ClassFolders):
        for one in found:
            key = file_name(spec.name, theirs[one.classname], one.split, one.number)
            put(folder / layout.splits[one.split] / key, one.jpeg)
    else:
        lay_out_table(spec, spec.hub[0], folder)


def lay_out_folders(spec: DatasetSpec, folder: Path) -> None:
    """Write a folder a split and in it a folder a class, called as in the distribution."""
    for one in images(spec, list(spec.sizes)):
        classname = folders(spec.name)[one.classname]
        put(folder / one.split / classname.replace("/", "_") / f"{one.number}.jpg", one.jpeg)
    if spec.name == "caltech101":
        for split in spec.sizes:
            for other in NOT_CALTECH101:
                put(folder / split / other / "image_0001.jpg", picture(NOBODYS, split))


def lay_out_table(spec: DatasetSpec, hub: Hub, folder: Path) -> None:
    """Write a copy of the hub in its schema, the labels in an order of its own."""
    names = {one.classname: in_table(hub, one.classname) for one in images(spec, ["test"])}
    order = list(names.values())
    order += [other.lower() for other in NOT_CALTECH101 if spec.name == "caltech101"]
    random.Random(hub.repo).shuffle(order)
    if hub.label == "cls":
        put(folder / "classnames.txt", "\n".join(order).encode())
    for split, theirs in hub.splits.items():
        rows = [
            {
                "bytes": picture(one.label, split, "jpeg" if hub.label == "cls" else "png"),
                "name": file_name(spec.name, folders(spec.name)[one.classname], split, one.number),
                "number": order.index(names[one.classname]),
            }
            for one in images(spec, list(hub.splits))
            if one.split == split
        ]
        if spec.name == "caltech101":
            number = order.index("faces_easy")
            rows.insert(3, {"bytes": picture(NOBODYS, split), "name": "", "number": number})
        random.Random(split).shuffle(rows)
        write = write_shard if hub.label == "cls" else write_parquet
        write(folder, theirs, hub, order, rows)


def write_shard(
    folder: Path, split: str, hub: Hub, names: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    (folder / split).mkdir(parents=True)
    with tarfile.open(folder / split / "0.tar", "w") as shard:
        for i, row in enumerate(rows):
            for suffix, content in ((hub.image, row["bytes"]), ("cls", b"%d" % row["number"])):
                member = tarfile.TarInfo(f"s{i:07}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    put(folder / split / "nshards.txt", b"1")


def write_parquet(
    folder: Path, split: str, hub: Hub, names: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageFeature

    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        # A label that is not the one meant, as cifar100, fgvcaircraft and oxfordpets have.
        "coarse_label": ([0] * len(rows), ClassLabel(names=["animal", "thing"])),
        hub.image: ([{"bytes": row["bytes"], "path": None} for row in rows], ImageFeature()),
        hub.label: ([row["number"] for row in rows], ClassLabel(names=list(names))),
        hub.name or "file": ([row["name"] for row in rows], Value("string")),
    }
    features = Features({name: feature for name, (_, feature) in columns.items()})
    table = {name: values for name, (values, _) in columns.items()}
    Dataset.from_dict(table, features).to_parquet(path)


def check_every_image(
    dataset: type[BenchDataModule], splits: Sequence[Split], where: Where
) -> None:
    """Every image of a split is there and has the label that its colour shows."""
    names = dataset.spec.classnames
    for split in splits:
        data = dataset(split, where)
        labels = data.labels.tolist()

        assert data.splits == tuple(splits)
        assert [seen(data.image(sample)) for sample in data.samples] == [(i, split) for i in labels]
        assert sorted(labels) == sorted(list(range(len(names))) * EACH[split])


# Support image by support image: right wherever pictures and labels of both splits agree.
NEAREST = """
import torch
from susx_bench import Method

class Nearest(Method):
    name = "nearest"
    def fit(self, context):
        self.context = context
    def logits(self, images):
        far = torch.cdist(images.double(), self.context.support.double())
        return -far[:, self.context.support_labels.argsort()]
"""


@pytest.mark.parametrize("name", NAMES)
def test_from_files_to_a_record(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shrunk(name, monkeypatch)
    classes = len(dataset.spec.classnames)
    root, method = tmp_path / "data", tmp_path / "nearest.py"
    lay_out(dataset.spec, root / name)
    method.write_text(NEAREST)

    check_every_image(dataset, list(dataset.spec.sizes), Where(root))

    words = ["run", "--dataset", name, "--data-root", root, "--out", tmp_path / "out", "--json"]
    few = ["--setting", "few-shot", "--shots", 1, "--seed", 1, "--views", 1, "--tune", "fixed"]
    methods = f"tipx,{method}:Nearest"
    if name in TEST_ONLY:
        refused = command(*words, *few, "--method", methods)
        assert refused.code == 2
        assert f"{name}: it has no train split" in refused.err
        assert not (tmp_path / "out").exists()
        few, methods = ["--setting", "name-only"], "zero-shot"
    done = command(*words, *few, "--method", methods)
    assert (done.code, len(done.records)) == (0, 1 if name in TEST_ONLY else 2), done.err

    truth = dataset("test", Where(root)).labels.numpy()
    for record in done.records:
        top1 = store.read_predictions(Path(record["record"])).top1
        assert record["dataset"] == name
        assert record["protocol"] == "susx"
        assert record["num_classes"] == classes
        assert record["n_test"] == EACH["test"] * classes
        assert record["support_images"] == (0 if name in TEST_ONLY else classes)
        assert record["views"] == (0 if name in TEST_ONLY else 1)
        assert record["correct"] == (top1 == truth).sum()
    if name not in TEST_ONLY:
        assert record["method"] == "nearest"
        assert record["accuracy"] == 100


@pytest.mark.parametrize("name", NAMES)
def test_class_folders_serve_for_any_dataset(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shrunk(name, monkeypatch)
    if isinstance(dataset.spec.layout, ClassFolders):
        pytest.skip("its own layout")
    lay_out_folders(dataset.spec, tmp_path / name)

    check_every_image(dataset, list(dataset.spec.sizes), Where(tmp_path, "folder"))


@pytest.mark.parametrize(("name", "nth"), ON_THE_HUB)
def test_copies_on_the_hub(
    name: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shrunk(name, monkeypatch)
    hub = dataset.spec.hub[nth]
    folder = tmp_path / hub.revision
    lay_out_table(dataset.spec, hub, folder)
    monkeypatch.setattr("susx_bench.data.published.snapshot", lambda *_: folder)
    where = Where(tmp_path, f"hf:{hub.repo}")

    check_every_image(dataset, list(hub.splits), where)
    assert dataset("test", where).protocol == hub.protocol


@pytest.mark.parametrize("name", VAL_IS_TEST)
def test_there_is_no_val_where_it_is_the_test_set(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shrunk(name, monkeypatch)
    assert dataset.spec.val_is_test
    lay_out(dataset.spec, tmp_path / name)
    setting = ["--setting", "name-only" if name in TEST_ONLY else "few-shot"]
    words = ["run", *setting, "--method", "tipx", "--dataset", name, "--data-root", tmp_path]

    done = command(*words, "--tune", "val")

    assert done.code == 2
    assert f"the published val split of {name} is its test set" in done.err


@pytest.mark.parametrize("name", NAMES)
def test_another_size_is_an_error_with_both_numbers(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shrunk(name, monkeypatch)
    lay_out(dataset.spec, tmp_path / name)
    there = dataset.spec.sizes["test"]
    wrong: dict[Split, int] = {"test": there + 1}
    hub = tuple(replace(hub, sizes=hub.sizes | wrong) for hub in dataset.spec.hub)
    shrunk(name, monkeypatch, sizes=dataset.spec.sizes | wrong, hub=hub)
    words = ["run", "--setting", "name-only", "--method", "zero-shot", "--dataset", name]

    done = command(*words, "--data-root", tmp_path)

    assert done.code == 2
    assert f"{name}: test has {there} images" in done.err
    assert f"has {there + 1}." in done.err


def test_a_broken_alias_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases = dict(DATASETS.get("caltech101").spec.aliases) | {"face": ("off-center face",)}
    dataset = shrunk("caltech101", monkeypatch, aliases=aliases)
    lay_out_folders(dataset.spec, tmp_path / "caltech101")

    with pytest.raises(DatasetError, match="none of its: 'Faces'; without 'face'"):
        check_every_image(dataset, ["train", "val", "test"], Where(tmp_path))


def test_all_nineteen() -> None:
    assert len(NAMES) == 19
    assert all(issubclass(DATASETS.get(name), PublishedDataset) for name in NAMES)
