"""FGVC-Aircraft, the official split of its variants.

Pictures of aircraft of 100 variants.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, ListFiles, read_classnames

SPEC = DatasetSpec(
    name="fgvcaircraft",
    title="FGVC-Aircraft",
    classnames=read_classnames("fgvcaircraft"),
    sizes={"train": 3334, "val": 3333, "test": 3333},
    template="a photo of a {}, a type of aircraft.",
    photo="A photo of a {}, a type of aircraft",
    metric="mean-per-class",
    licence="non-commercial research",
    protocol="susx",
    bibtex_key="maji2013fine",
    citation="""@article{maji2013fine,
  title = {Fine-Grained Visual Classification of Aircraft},
  author = {Maji, Subhransu and Rahtu, Esa and Kannala, Juho and Blaschko, Matthew and
    Vedaldi, Andrea},
  journal = {arXiv preprint arXiv:1306.5151},
  year = {2013}
}""",
    layout=ListFiles(
        lists={
            "train": "images_variant_train.txt",
            "val": "images_variant_val.txt",
            "test": "images_variant_test.txt",
        },
        images="images",
        suffix=".jpg",
    ),
    folders=("fgvc_aircraft",),
    hub=(
        Hub(
            repo="mteb/FGVCAircraft",
            revision="3ae0e4e94e37c610c26df758ec3255fa90d80e67",
            splits={"train": "train", "val": "validation", "test": "test"},
            sizes={"train": 3334, "val": 3333, "test": 3333},
            protocol="susx",
            label="variant",
        ),
    ),
    fetch=(
        "Unpack fgvc-aircraft-2013b.tar.gz from www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft, "
        "and put its folder data under the data root as fgvcaircraft."
    ),
)
