"""ImageNet-A: a test set; its training images are ImageNet's, of the same classes.

Photographs of 200 of ImageNet's classes that a ResNet-50 took for something else.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import ALIASES
from susx_bench.data.spec import ClassFolders, DatasetSpec, read_classnames

_NAMES = read_classnames("imagenet-a")

SPEC = DatasetSpec(
    name="imagenet-a",
    title="ImageNet-A",
    classnames=_NAMES,
    sizes={"test": 7500},
    template="a photo of a {}.",
    photo="A photo of a {}.",  # ours, SuS-X has none
    licence="MIT",
    protocol="susx-bench",
    bibtex_key="hendrycks2021natural",
    citation="""@inproceedings{hendrycks2021natural,
  title = {Natural Adversarial Examples},
  author = {Hendrycks, Dan and Zhao, Kevin and Basart, Steven and Steinhardt, Jacob and Song, Dawn},
  booktitle = {CVPR},
  year = {2021}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"test": "imagenet-a"}),
    folders=("imagenet-adversarial",),
    # No copy on the hub: none is known here with its commit.
    fetch=(
        "Unpack imagenet-a.tar, which github.com/hendrycks/natural-adv-examples links, into "
        "imagenet-a under the data root, so that imagenet-a/imagenet-a has a folder a WordNet id."
    ),
    aliases={name: ALIASES[name] for name in _NAMES},
    train_of="imagenet",
    clean="imagenet-a-clean",
)
