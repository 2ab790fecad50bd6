"""CIFAR-100; SuS-X tunes on its test set.

Tiny pictures, 32 pixels wide, of 100 kinds of things.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, Tables, read_classnames

SPEC = DatasetSpec(
    name="cifar100",
    title="CIFAR-100",
    classnames=read_classnames("cifar100"),
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
            repo="mteb/cifar100",
            revision="ac5511f885f65fb75d31a9d8810a8440913f7721",
            splits={"train": "train", "test": "test"},
            sizes={"train": 50000, "test": 10000},
            protocol="susx",
            image="img",
            label="fine_label",
        ),
    ),
    fetch=(
        "Put the Parquet files of uoft-cs/cifar100, which is on the hub, into cifar100 under "
        "the data root, or make a folder per split and class there, as in cifar100/test/apple."
    ),
    aliases={"cra": ("crab",)},  # the misspelling is CIFAR's own
)
