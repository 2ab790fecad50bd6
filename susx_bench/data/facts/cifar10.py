"""CIFAR-10; SuS-X tunes on its test set.

Tiny pictures, 32 pixels wide, of 10 kinds of things.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, Tables, read_classnames

SPEC = DatasetSpec(
    name="cifar10",
    title="CIFAR-10",
    classnames=read_classnames("cifar10"),
    sizes={"train": 50000, "test": 10000},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    licence="not specified",
    protocol="susx",
    bibtex_key="krizhevsky2009learning",
    citation="""@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}""",
    val_is_test=True,
    layout=Tables(),
    hub=(
        Hub(
            repo="mteb/cifar10",
            revision="69a62dd171e24a133d193073e73fda4dbb823266",
            splits={"train": "train", "test": "test"},
            sizes={"train": 50000, "test": 10000},
            protocol="susx",
            image="img",
        ),
    ),
    fetch=(
        "Put the Parquet files of uoft-cs/cifar10, which is on the hub, into cifar10 under the "
        "data root, or make a folder per split and class there, as in cifar10/test/dog."
    ),
    aliases={"airplane": ("plane",), "car": ("automobile",)},
)
