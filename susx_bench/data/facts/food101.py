"""Food-101, CoOp's split of all its images.

Pictures of 101 dishes.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="food101",
    title="Food-101",
    classnames=read_classnames("food101"),
    sizes={"train": 50500, "val": 20200, "test": 30300},
    template="a photo of {}, a type of food.",
    photo="A photo of a {}, a type of food.",
    licence="not specified",
    protocol="susx",
    bibtex_key="bossard2014food",
    citation="""@inproceedings{bossard2014food,
  title = {Food-101 -- Mining Discriminative Components with Random Forests},
  author = {Bossard, Lukas and Guillaumin, Matthieu and Van Gool, Luc},
  booktitle = {ECCV},
  year = {2014}
}""",
    layout=SplitFile(file="split_zhou_Food101.json", images="images"),
    folders=("food-101",),
    hub=(
        Hub(
            repo="ethz/food101",
            revision="e06acf2a88084f04bce4d4a525165d68e0a36c38",
            splits={"train": "train", "test": "validation"},  # the official test set
            sizes={"train": 75750, "test": 25250},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack food-101.tar.gz from data.vision.ee.ethz.ch/cvl/datasets_extra/food-101, put "
        "its folder under the data root as food101, and split_zhou_Food101.json into it "
        "(CoOp's DATASETS.md links it)."
    ),
)
