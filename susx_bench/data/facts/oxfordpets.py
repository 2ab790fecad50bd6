"""Oxford-IIIT Pet, CoOp's split of the official training set.

Pictures of cats and dogs of 37 breeds.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="oxfordpets",
    title="Oxford-IIIT Pet",
    classnames=read_classnames("oxfordpets"),
    sizes={"train": 2944, "val": 736, "test": 3669},
    template="a photo of a {}, a type of pet.",
    photo="A photo of a pet {}.",
    metric="mean-per-class",
    licence="CC BY-SA 4.0",
    protocol="susx",
    bibtex_key="parkhi2012cats",
    citation="""@inproceedings{parkhi2012cats,
  title = {Cats and Dogs},
  author = {Parkhi, Omkar M. and Vedaldi, Andrea and Zisserman, Andrew and Jawahar, C. V.},
  booktitle = {CVPR},
  year = {2012}
}""",
    layout=SplitFile(file="split_zhou_OxfordPets.json", images="images"),
    folders=("oxford_pets",),
    hub=(
        Hub(
            repo="mteb/OxfordPets",
            revision="557b480fae8d69247be74d9503b378a09425096f",
            splits={"train": "train", "test": "test"},
            sizes={"train": 3680, "test": 3669},
            protocol="hub-official",
        ),
    ),
    fetch=(
        "Unpack images.tar.gz from www.robots.ox.ac.uk/~vgg/data/pets into oxfordpets under "
        "the data root, and put split_zhou_OxfordPets.json beside its folder images (CoOp's "
        "DATASETS.md links it). On the hub, --source hf:timm/oxford-iiit-pet@REVISION serves "
        "too."
    ),
)
