"""ImageNet-Sketch: a test set; its training images are ImageNet's.

Sketches in black and white of ImageNet's classes.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import ALIASES, SHARED
from susx_bench.data.spec import ClassFolders, DatasetSpec, read_classnames

SPEC = DatasetSpec(
    name="imagenet-sketch",
    title="ImageNet-Sketch",
    classnames=read_classnames("imagenet"),
    sizes={"test": 50889},
    template="a photo of a {}.",
    photo="A black and white pencil sketch of a {}.",
    licence="not specified",
    protocol="susx",
    bibtex_key="wang2019learning",
    citation="""@inproceedings{wang2019learning,
  title = {Learning Robust Global Representations by Penalizing Local Predictive Power},
  author = {Wang, Haohan and Ge, Songwei and Lipton, Zachary and Xing, Eric P.},
  booktitle = {NeurIPS},
  year = {2019}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"test": "images"}),
    fetch=(
        "Unpack ImageNet-Sketch, which github.com/HaohanWang/ImageNet-Sketch links, and put "
        "its folder of WordNet ids under the data root as imagenet-sketch/images."
    ),
    aliases=ALIASES,
    shared=SHARED,
    train_of="imagenet",
    clean="imagenet",
)
