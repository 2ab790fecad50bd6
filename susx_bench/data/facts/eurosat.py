"""EuroSAT in colour, CoOp's split.

Satellite pictures of 10 kinds of land.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="eurosat",
    title="EuroSAT",
    classnames=read_classnames("eurosat"),
    sizes={"train": 13500, "val": 5400, "test": 8100},
    template="a centered satellite photo of {}.",
    photo="A centered satellite photo of {}.",
    licence="MIT",
    protocol="susx",
    bibtex_key="helber2019eurosat",
    citation="""@article{helber2019eurosat,
  title = {EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover
    Classification},
  author = {Helber, Patrick and Bischke, Benjamin and Dengel, Andreas and Borth, Damian},
  journal = {IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing},
  year = {2019}
}""",
    layout=SplitFile(file="split_zhou_EuroSAT.json", images="2750"),
    hub=(
        Hub(
            repo="timm/eurosat-rgb",
            revision="b4e28552cd5f3932b6abc37eb20d3e84901ad728",
            splits={"train": "train", "val": "validation", "test": "test"},
            sizes={"train": 16200, "val": 5400, "test": 5400},
            protocol="hub-official",
            name="image_id",
        ),
    ),
    fetch=(
        "Unpack EuroSAT.zip, the coloured one, from madm.dfki.de/files/sentinel into eurosat "
        "under the data root, and put split_zhou_EuroSAT.json beside its folder 2750 (CoOp's "
        "DATASETS.md links it). The copy on the hub keeps the file names, so --split-file "
        "split_zhou_EuroSAT.json makes the published split of it."
    ),
    aliases={
        "Annual Crop Land": ("AnnualCrop",),
        "Herbaceous Vegetation Land": ("HerbaceousVegetation", "brushland or shrubland"),
        "Highway or Road": ("Highway",),
        "Industrial Buildings": ("Industrial", "industrial buildings or commercial buildings"),
        "Pasture Land": ("Pasture",),
        "Permanent Crop Land": ("PermanentCrop",),
        "Residential Buildings": (
            "Residential",
            "residential buildings or homes or apartments",
        ),
        "Sea or Lake": ("SeaLake",),
    },
)
