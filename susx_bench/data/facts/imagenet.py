"""ImageNet-1k; SuS-X tunes on its validation set, which is its test set.

Pictures of the 1000 classes of the ILSVRC challenges.
"""

from __future__ import annotations

from susx_bench.data.spec import (
    ClassFolders,
    DatasetSpec,
    read_classnames,
    read_codes,
    read_synsets,
)

_NAMES = read_classnames("imagenet")
_SYNSETS = read_synsets()
# What ImageNet-R calls its classes, and ImageNet-A one of its own.
_OTHERS = {
    code: (name,) for name, (code,) in read_codes("imagenet-r").items() if name not in _NAMES
} | {"n02280649": ("small white",)}

ALIASES = {
    name: (code, _SYNSETS[code], *_OTHERS.get(code, ()))
    for name, (code,) in read_codes("imagenet").items()
}
"""The WordNet id of each class, what WordNet calls it, and what others do."""

# CuPL's, CoOp's and CLIP_benchmark's lists have two "missile" and two "sunglasses".
SHARED = {"projectile": ("missile",), "sunglass": ("sunglasses",)}


SPEC = DatasetSpec(
    name="imagenet",
    title="ImageNet",
    classnames=_NAMES,
    sizes={"train": 1281167, "test": 50000},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    licence="non-commercial research and education",
    protocol="susx",
    bibtex_key="deng2009imagenet",
    citation="""@inproceedings{deng2009imagenet,
  title = {ImageNet: A Large-Scale Hierarchical Image Database},
  author = {Deng, Jia and Dong, Wei and Socher, Richard and Li, Li-Jia and Li, Kai and
    Fei-Fei, Li},
  booktitle = {CVPR},
  year = {2009}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"train": "train", "test": "val"}),
    folders=("imagenet/images",),  # CoOp
    # No copy on the hub: none is known here with its commit.
    fetch=(
        "Unpack the training and validation images from image-net.org, which asks for an "
        "account, into imagenet/train and imagenet/val under the data root, a folder a "
        "WordNet id. CoOp keeps both below imagenet/images, which is found too."
    ),
    aliases=ALIASES,
    shared=SHARED,
)
