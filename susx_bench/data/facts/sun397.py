"""SUN397, CoOp's split of partition 01.

Pictures of 397 kinds of scenes.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="sun397",
    title="SUN397",
    classnames=read_classnames("sun397"),
    sizes={"train": 15880, "val": 3970, "test": 19850},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    licence="not specified",
    protocol="susx",
    bibtex_key="xiao2010sun",
    citation="""@inproceedings{xiao2010sun,
  title = {SUN Database: Large-scale Scene Recognition from Abbey to Zoo},
  author = {Xiao, Jianxiong and Hays, James and Ehinger, Krista A. and Oliva, Aude and
    Torralba, Antonio},
  booktitle = {CVPR},
  year = {2010}
}""",
    layout=SplitFile(file="split_zhou_SUN397.json", images="SUN397"),
    hub=(
        Hub(
            repo="tanganke/sun397",
            revision="9c4afd6174afa3974f209a0ef099dbbe244dfd27",
            splits={"train": "train", "test": "test"},
            sizes={"train": 19850, "test": 19850},  # its card says 19.9k; partition 01
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack SUN397.tar.gz from vision.princeton.edu/projects/2010/SUN into sun397 under "
        "the data root, and put split_zhou_SUN397.json beside the folder (CoOp's DATASETS.md "
        "links it)."
    ),
)
