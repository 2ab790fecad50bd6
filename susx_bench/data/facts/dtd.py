"""The Describable Textures Dataset, CoOp's split of all its images.

Pictures of textures that 47 words describe.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="dtd",
    title="DTD",
    classnames=read_classnames("dtd"),
    sizes={"train": 2820, "val": 1128, "test": 1692},
    template="{} texture.",
    photo="{} texture.",
    licence="research",
    protocol="susx",
    bibtex_key="cimpoi2014describing",
    citation="""@inproceedings{cimpoi2014describing,
  title = {Describing Textures in the Wild},
  author = {Cimpoi, Mircea and Maji, Subhransu and Kokkinos, Iasonas and Mohamed, Sammy and
    Vedaldi, Andrea},
  booktitle = {CVPR},
  year = {2014}
}""",
    layout=SplitFile(file="split_zhou_DescribableTextures.json", images="images"),
    hub=(
        Hub(
            repo="tanganke/dtd",
            revision="d2afa97d9f335b1a6b3b09c637aef667f98f966e",
            splits={"train": "train", "test": "test"},
            sizes={"train": 3760, "test": 1880},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack dtd-r1.0.1.tar.gz from www.robots.ox.ac.uk/~vgg/data/dtd, which makes dtd, "
        "under the data root, and put split_zhou_DescribableTextures.json beside its folder "
        "images (CoOp's DATASETS.md links it)."
    ),
)
