"""Stanford Cars, CoOp's split of the official training set.

Pictures of cars of 196 makes, models and years.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="stanfordcars",
    title="Stanford Cars",
    classnames=read_classnames("stanfordcars"),
    sizes={"train": 6509, "val": 1635, "test": 8041},
    template="a photo of a {}.",
    photo="A photo of a {} car.",
    licence="not specified",
    protocol="susx",
    bibtex_key="krause20133d",
    citation="""@inproceedings{krause20133d,
  title = {3D Object Representations for Fine-Grained Categorization},
  author = {Krause, Jonathan and Stark, Michael and Deng, Jia and Fei-Fei, Li},
  booktitle = {ICCV Workshops},
  year = {2013}
}""",
    layout=SplitFile(file="split_zhou_StanfordCars.json", images="."),
    folders=("stanford_cars",),
    hub=(
        Hub(
            repo="mteb/StanfordCars",
            revision="09ffe9bc7864d3f1e851529e5c4b7e05601a04fb",
            splits={"train": "train", "test": "test"},
            sizes={"train": 8144, "test": 8041},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Put the folders cars_train and cars_test into stanfordcars under the data root, and "
        "split_zhou_StanfordCars.json beside them (CoOp's DATASETS.md links it). Stanford's "
        "own links to the images are dead; torchvision's StanfordCars page says where else."
    ),
)
