"""Caltech101, CoOp's split.

Pictures of objects belonging to 101 categories, without the background class.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="caltech101",
    title="Caltech101",
    classnames=read_classnames("caltech101"),
    sizes={"train": 4128, "val": 1649, "test": 2465},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    metric="mean-per-class",
    licence="CC BY 4.0",
    protocol="susx",
    bibtex_key="feifei2004learning",
    citation="""@inproceedings{feifei2004learning,
  title = {Learning Generative Visual Models from Few Training Examples: An Incremental Bayesian
    Approach Tested on 101 Object Categories},
  author = {Fei-Fei, Li and Fergus, Rob and Perona, Pietro},
  booktitle = {CVPR Workshop},
  year = {2004}
}""",
    layout=SplitFile(file="split_zhou_Caltech101.json", images="101_ObjectCategories"),
    folders=("caltech-101",),
    hub=(
        Hub(
            repo="mteb/Caltech101",
            revision="011e51e5fb01f0c820824734edb7a539ab8e6650",
            splits={"train": "train", "test": "test"},
            sizes={"train": 3000, "test": 5242},  # of 3060 and 6084, the dropped classes out
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack 101_ObjectCategories.tar.gz from data.caltech.edu/records/mzrjq-6wc02 into "
        "caltech101 under the data root, and put split_zhou_Caltech101.json beside the folder "
        "(CoOp's DATASETS.md links it)."
    ),
    aliases={
        "airplane": ("airplanes",),
        "car side": ("side of a car",),
        "cougar body": ("body of a cougar cat",),
        "cougar face": ("face of a cougar cat",),
        "crocodile head": ("head of a crocodile",),
        "face": ("Faces", "off-center face"),
        "flamingo head": ("head of a flamingo",),
        "leopard": ("Leopards",),
        "motorbike": ("Motorbikes",),
        "snoopy": ("snoopy (cartoon beagle)",),
        "yin yang": ("yin and yang symbol",),
    },
    dropped=("BACKGROUND_Google", "Faces_easy", "background", "centered face"),
)
