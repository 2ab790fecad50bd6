"""Oxford Flowers-102, CoOp's split.

Pictures of flowers of 102 kinds.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="flowers102",
    title="Oxford Flowers-102",
    classnames=read_classnames("flowers102"),
    sizes={"train": 4093, "val": 1633, "test": 2463},
    template="a photo of a {}, a type of flower.",
    photo="A photo of a {}, a type of flower.",
    metric="mean-per-class",
    licence="not specified",
    protocol="susx",
    bibtex_key="nilsback2008automated",
    citation="""@inproceedings{nilsback2008automated,
  title = {Automated Flower Classification over a Large Number of Classes},
  author = {Nilsback, Maria-Elena and Zisserman, Andrew},
  booktitle = {Indian Conference on Computer Vision, Graphics and Image Processing},
  year = {2008}
}""",
    layout=SplitFile(file="split_zhou_OxfordFlowers.json", images="jpg"),
    folders=("oxford_flowers",),
    hub=(
        Hub(
            repo="dpdl-benchmark/oxford_flowers102",
            revision="544b55c9af69a05742ead7571cd7ae23cfcd758b",
            splits={"train": "train", "val": "validation", "test": "test"},
            sizes={"train": 1020, "val": 1020, "test": 6149},
            protocol="hub-official",
        ),
        Hub(
            repo="mteb/oxford-flowers",
            revision="df976877feae05654b0fcd8b394baff731b00652",
            splits={"train": "train", "test": "test"},
            sizes={"train": 7169, "test": 1020},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack 102flowers.tgz from www.robots.ox.ac.uk/~vgg/data/flowers/102 into flowers102 "
        "under the data root, and put split_zhou_OxfordFlowers.json beside its folder jpg "
        "(CoOp's DATASETS.md links it)."
    ),
    aliases={
        "ball moss": ("air plant",),
        "lotus": ("lotus lotus",),
        "pink-yellow dahlia": ("pink and yellow dahlia",),
    },
    numbered=True,
)
