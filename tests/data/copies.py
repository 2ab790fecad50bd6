"""The datasets as they are distributed: real layouts and schemas, few and small pictures."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import count, product
from pathlib import Path
from typing import Any

from PIL import Image

from susx_bench.data.spec import DatasetSpec, Hub, Split
from susx_bench.registry import DATASETS
from tests.data.made import encoded, parquet, webdataset, write

NAMES = [name for name in DATASETS.names() if name != "digits"]
FACTS = {name: DATASETS.get(name) for name in NAMES}
EACH: Mapping[Split, int] = {"train": 2, "val": 1, "test": 2}
"""Images per class."""

# Where the field keeps the images: CoOp's or SuS-X's name of the dataset's folder, the folder of
# the images in it, and the split file.
ON_DISK = {
    "birdsnap": ("birdsnap", "images", "split_Birdsnap.json"),
    "caltech101": ("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    "caltech256": ("caltech256", "256_ObjectCategories", "split_Caltech256.json"),
    "cub": ("CUB_200_2011", "images", "split_CUB.json"),
    "dtd": ("dtd", "images", "split_zhou_DescribableTextures.json"),
    "eurosat": ("eurosat", "2750", "split_zhou_EuroSAT.json"),
    "flowers102": ("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
    "food101": ("food-101", "images", "split_zhou_Food101.json"),
    "oxfordpets": ("oxford_pets", "images", "split_zhou_OxfordPets.json"),
    "stanfordcars": ("stanford_cars", ".", "split_zhou_StanfordCars.json"),
    "sun397": ("sun397", "SUN397", "split_zhou_SUN397.json"),
    "ucf101": ("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json"),
}
OTHERWISE = {name: folder for name, (folder, *_) in ON_DISK.items()}
OTHERWISE |= {"fgvcaircraft": "fgvc_aircraft", "imagenet-r": "imagenet-rendition"}
OTHERWISE |= {"imagenet-a": "imagenet-adversarial", "imagenet-v2": "imagenetv2"}
CLEAN = ["imagenet-a-clean", "imagenet-r-clean", "objectnet-clean"]
"""ImageNet's own images of the classes of others."""
CORRUPTED = {
    f"imagenet-c-{name.replace('_', '-')}": f"{name}/5"
    for name in ("defocus_blur", "gaussian_noise", "jpeg_compression", "snow")
}
LATER = {"imagenet-a", "imagenet-v2", "objectnet", *CLEAN, *CORRUPTED}
"""Those that SuS-X has not."""
OTHERWISE |= dict.fromkeys(CLEAN, "imagenet") | dict.fromkeys(CORRUPTED, "ImageNet-C")
OTHERWISE |= {"objectnet": "objectnet-1.0"}
# Without a split file: the folder of each split.
SPLIT_FOLDERS: dict[str, dict[Split, str]] = {
    "country211": {"train": "train", "val": "valid", "test": "test"},
    "imagenet": {"train": "train", "test": "val"},
    "imagenet-a": {"test": "imagenet-a"},
    "imagenet-r": {"test": "imagenet-r"},
    "imagenet-v2": {"test": "imagenetv2-matched-frequency-format-val"},
    "imagenet-sketch": {"test": "images"},
    "objectnet": {"test": "images"},
    **{name: {"test": "val"} for name in CLEAN},
    **{name: {"test": folder} for name, folder in CORRUPTED.items()},
}
# Columns of the copies on the hub, where they are not image and label, and their splits, where
# they are not train and test.
COLUMNS = {
    "clip-benchmark/wds_country211": ("jpg", "cls"),
    "mteb/FGVCAircraft": ("image", "variant"),
    "mteb/birdsnap": ("image", "common"),
    "mteb/cifar10": ("img", "label"),
    "mteb/cifar100": ("img", "fine_label"),
}
THREE: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
SPLITS: dict[str, dict[Split, str]] = {
    "dpdl-benchmark/oxford_flowers102": THREE,
    "ethz/food101": {"train": "train", "test": "validation"},
    "mteb/FGVCAircraft": THREE,
    "timm/eurosat-rgb": THREE,
}

# What copies call the classes, where it is not the canonical name with underscores.

CALTECH101 = {"airplane": "airplanes", "face": "Faces", "leopard": "Leopards"}
CALTECH101 |= {"motorbike": "Motorbikes"}
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
COUNTRIES = re.findall(
    r"\S+",
    """
    AD AE AF AG AI AL AM AO AQ AR AT AU AW AX AZ BA BB BD BE BF BG BH BJ BM BN BO BQ BR BS BT BW
    BY BZ CA CD CF CH CI CK CL CM CN CO CR CU CV CW CY CZ DE DK DM DO DZ EC EE EG ES ET FI FJ FK
    FO FR GA GB GD GE GF GG GH GI GL GM GP GR GS GT GU GY HK HN HR HT HU ID IE IL IM IN IQ IR IS
    IT JE JM JO JP KE KG KH KN KP KR KW KY KZ LA LB LC LI LK LR LT LU LV LY MA MC MD ME MF MG MK
    ML MM MN MO MQ MR MT MU MV MW MX MY MZ NA NC NG NI NL NO NP NZ OM PA PE PF PG PH PK PL PR PS
    PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SS SV SX SY SZ TG TH TJ
    TL TM TN TO TR TT TW TZ UA UG US UY UZ VA VE VG VI VN VU WS XK YE ZA ZM ZW
    """,
)
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
    names = FACTS[name].classnames
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
        case _ if name in ("imagenet", "imagenet-sketch", *CORRUPTED):
            found = wordnet("imagenet")
        case "imagenet-a" | "imagenet-r" | "imagenet-a-clean" | "imagenet-r-clean":
            found = wordnet(name.removesuffix("-clean").replace("-", "_"))
        case "objectnet-clean":  # one of ImageNet's folders for each
            found = [FACTS[name].aliases[c][0] for c in names]
        case "objectnet":
            others = {
                "drying rack for plates": "drying_rack_for_dishes",
                "bath towel": "full_sized_towel",
                "dishrag or hand towel": "hand_towel_or_rag",
            }
            found = [others.get(c) or under(c.replace(" / ", " ").replace("/", " ")) for c in names]
        case "imagenet-v2":  # their places in the order of their WordNet ids
            found = [str(wordnet("imagenet").index(code)) for code in folders("imagenet").values()]
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


def dropped(spec: DatasetSpec) -> list[str]:
    """Classes that copies have and the published splits have not."""
    return ["BACKGROUND_Google", "Faces_easy"] if spec.name == "caltech101" else []


# Pictures that tell their class and their split.

WIDTHS: dict[Split, int] = {"train": 8, "val": 12, "test": 16}
NOBODYS = 999
"""Label of a picture that belongs to no class of the dataset."""


@cache
def picture(label: int, split: Split, kind: str = "jpeg") -> bytes:
    red, green, blue = (12 + 25 * int(digit) for digit in f"{label:03}")
    image = Image.new("RGB", (WIDTHS[split],) * 2, (red, green, blue))
    image.putpixel((0, 0), (255, 255, 255))  # a split of pictures of one colour is refused
    exact = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    return encoded(image, kind, **exact)


def seen(image: Image.Image) -> tuple[int, Split]:
    """The label and the split that a picture tells."""
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
        folder: Its class's folder in the distribution.
        file: Where it lies below the dataset's folder of images.
    """

    split: Split
    classname: str
    label: int
    folder: str
    file: str


def images(
    spec: DatasetSpec, splits: Iterable[Split], each: Mapping[Split, int] = EACH
) -> Iterator[Shown]:
    """The images of some splits, the classes in an order that is not that of the facts."""
    number = count(1)
    theirs = folders(spec.name)
    for split, classname in product(splits, sorted(spec.classnames, key=theirs.__getitem__)):
        label, folder = spec.classnames.index(classname), theirs[classname]
        for _ in range(each[split]):
            file = file_name(spec.name, folder, split, next(number))
            yield Shown(split, classname, label, folder, file)


# The facts made small, and the copies.


def cut(
    name: str,
    most: int = 1000,
    few: int = 12,
    each: Mapping[Split, int] = EACH,
    lends: Collection[str] = (),
    **changes: Any,
) -> DatasetSpec:
    """The facts of a dataset with small splits, its classes in another order.

    Args:
        name: The dataset.
        most: Classes that it may have to keep them all.
        few: Classes that are left of a larger one.
        each: Images per class.
        lends: Codes of classes that are left as well, see `codes`.
        changes: Other facts.
    """
    spec = FACTS[name]
    names = list(spec.classnames[:few] if len(spec.classnames) > most else spec.classnames)
    later = spec.classnames[len(names) :]
    names += [known for known in later if not set(lends).isdisjoint(spec.aliases.get(known, ()))]
    if not spec.numbered:
        random.Random(name).shuffle(names)

    def sizes(splits: Iterable[Split]) -> dict[Split, int]:
        return {split: each[split] * len(names) for split in splits}

    small = replace(
        spec,
        classnames=tuple(names),
        sizes=sizes(spec.sizes),
        aliases={known: spec.aliases[known] for known in names if known in spec.aliases},
        hub=tuple(replace(hub, sizes=sizes(hub.sizes)) for hub in spec.hub),
    )
    return replace(small, **changes)


def codes(specs: Iterable[DatasetSpec], lender: str) -> set[str]:
    """Codes of the classes whose training images another dataset lends."""
    borrowing = (spec for spec in specs if spec.train_of == lender)
    return {code for spec in borrowing for aliases in spec.aliases.values() for code in aliases}


def facts_of(name: str) -> str:
    """Where the package has the facts of a dataset, as a dotted name."""
    return f"susx_bench.data.facts.{name.replace('-', '_')}.SPEC"


Draw = Callable[[int, Split, str], bytes]
"""Makes a picture of a label and a split, in a format of PIL's."""


def lay_out(
    spec: DatasetSpec, folder: Path, draw: Draw = picture, each: Mapping[Split, int] = EACH
) -> None:
    """Write the dataset as it is distributed, with the split files of the field."""
    name = spec.name
    if name in ("cifar10", "cifar100"):
        return lay_out_table(spec, spec.hub[0], folder, draw, each)
    numbers = {classname: 7 + i for i, classname in enumerate(sorted(spec.classnames, key=len))}
    rows: dict[Split, list[tuple[str, int, str]]] = {split: [] for split in spec.sizes}
    lines: dict[Split, list[str]] = {split: [] for split in spec.sizes}
    for one in images(spec, spec.sizes, each):
        if name in SPLIT_FOLDERS:
            below = SPLIT_FOLDERS[name][one.split]
        else:
            below = ON_DISK[name][1] if name in ON_DISK else "images"
        write(folder / below / one.file, draw(one.label, one.split, "jpeg"))
        theirs = in_split_file(name, one.classname)
        rows[one.split].append((one.file, numbers[one.classname], theirs))
        lines[one.split].append(f"{Path(one.file).stem} {one.classname}\n")
    if name in ON_DISK:
        write(folder / ON_DISK[name][2], json.dumps(rows))
        for other in dropped(spec):
            write(folder / ON_DISK[name][1] / other / "image_0001.jpg", picture(NOBODYS, "test"))
    if name == "fgvcaircraft":
        for split in spec.sizes:
            write(folder / f"images_variant_{split}.txt", "".join(lines[split]))


def lay_out_folders(spec: DatasetSpec, folder: Path) -> None:
    """Write a folder per split and in it a folder per class, called as in the distribution."""
    for i, one in enumerate(images(spec, spec.sizes)):
        classname = re.sub("^[a-z]/", "", one.folder).replace("/", "_")  # SUN397's are nested
        write(folder / one.split / classname / f"{i}.jpg", picture(one.label, one.split))
    for split, classname in product(spec.sizes, dropped(spec)):
        write(folder / split / classname / "0.jpg", picture(NOBODYS, split))


def lay_out_table(
    spec: DatasetSpec,
    hub: Hub,
    folder: Path,
    draw: Draw = picture,
    each: Mapping[Split, int] = EACH,
) -> None:
    """Write a copy of the hub in its schema, the labels and the rows in an order of its own."""
    names = [in_table(hub, classname) for classname in spec.classnames]
    order = [*names, *dropped(spec)]
    random.Random(hub.repo).shuffle(order)
    image, label = COLUMNS.get(hub.repo, ("image", "label"))
    splits = SPLITS.get(hub.repo, {"train": "train", "test": "test"})
    for split, theirs in splits.items():
        found = [one for one in images(spec, splits, each) if one.split == split]
        rows = [(one.label, order.index(names[one.label]), one.file) for one in found]
        rows += [(NOBODYS, order.index(name), f"{name}.jpg") for name in dropped(spec)]
        random.Random(split).shuffle(rows)
        labels, numbers, keys = zip(*rows, strict=True)
        if label == "cls":
            shard = webdataset([picture(i, split) for i in labels], numbers, image)
            write(folder / theirs / "0.tar", shard)
            write(folder / theirs / "nshards.txt", "1")
            write(folder / "classnames.txt", "\n".join(order))
        else:
            table = parquet(
                [draw(i, split, "png") for i in labels],
                numbers,
                order,
                image=image,
                label=label,
                # Beside it a coarser label, as in cifar100, fgvcaircraft and oxfordpets.
                more={"image_id": keys, "coarse_label": ["thing"] * len(rows)},
            )
            write(folder / "data" / f"{theirs}-00000-of-00001.parquet", table)
