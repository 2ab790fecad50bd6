"""ImageNet-V2, matched frequency: a test set; its training images are ImageNet's.

New photographs of ImageNet's classes, chosen as those of its validation set were.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import ALIASES, SHARED
from susx_bench.data.spec import ClassFolders, DatasetSpec, read_classnames

_NAMES = read_classnames("imagenet")

SPEC = DatasetSpec(
    name="imagenet-v2",
    title="ImageNet-V2",
    classnames=_NAMES,
    sizes={"test": 10000},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    licence="MIT",
    protocol="susx-bench",
    bibtex_key="recht2019imagenet",
    citation="""@inproceedings{recht2019imagenet,
  title = {Do {ImageNet} Classifiers Generalize to {ImageNet}?},
  author = {Recht, Benjamin and Roelofs, Rebecca and Schmidt, Ludwig and Shankar, Vaishaal},
  booktitle = {ICML},
  year = {2019}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"test": "imagenetv2-matched-frequency-format-val"}),
    folders=("imagenetv2",),
    # No copy on the hub: none is known here with its commit.
    fetch=(
        "Unpack imagenetv2-matched-frequency.tar.gz, which github.com/modestyachts/ImageNetV2 "
        "links, into imagenet-v2 under the data root, so that "
        "imagenet-v2/imagenetv2-matched-frequency-format-val has the folders 0 to 999."
    ),
    # Its folders are the places of the classes in the order of their WordNet ids.
    aliases={name: (*ALIASES[name], str(place)) for place, name in enumerate(_NAMES)},
    shared=SHARED,
    train_of="imagenet",
    clean="imagenet",
)
