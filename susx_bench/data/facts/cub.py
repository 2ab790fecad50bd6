"""CUB-200-2011, SuS-X's own split of the official training set.

Pictures of birds of 200 species.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="cub",
    title="CUB-200-2011",
    classnames=read_classnames("cub"),
    sizes={"train": 4800, "val": 1194, "test": 5794},
    template="a photo of a {}.",
    photo="A photo of a {}, a type of bird.",
    licence="non-commercial research and education",
    protocol="susx",
    bibtex_key="wah2011caltech",
    citation="""@techreport{wah2011caltech,
  title = {The Caltech-UCSD Birds-200-2011 Dataset},
  author = {Wah, Catherine and Branson, Steve and Welinder, Peter and Perona, Pietro and
    Belongie, Serge},
  institution = {California Institute of Technology},
  number = {CNS-TR-2011-001},
  year = {2011}
}""",
    layout=SplitFile(file="split_CUB.json", images="images"),
    folders=("CUB_200_2011",),
    hub=(
        Hub(
            repo="bentrevett/caltech-ucsd-birds-200-2011",
            revision="1ef09e021b0b65b40337f6f285909656f407f6e0",
            splits={"train": "train", "test": "test"},
            sizes={"train": 5994, "test": 5794},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack CUB_200_2011.tgz from data.caltech.edu/records/65de6-vp158, put its folder "
        "CUB_200_2011 under the data root as cub, and split_CUB.json into it (SuS-X's "
        "data/DATA.md links it)."
    ),
)
