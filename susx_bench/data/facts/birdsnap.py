"""Birdsnap, SuS-X's own split of the images that were still on Flickr.

Pictures of birds of 500 species.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, Hub, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="birdsnap",
    title="Birdsnap",
    classnames=read_classnames("birdsnap"),
    # Val and test are as SuS-X asserts. Train is derived and may be off by a few: SuS-X takes
    # floor(0.2 n) and floor(0.3 n) images per class, so the two point to about 39900 images;
    # the public copy of what was left on Flickr has 39860.
    sizes={"train": 20339, "val": 7774, "test": 11747},
    template="a photo of a {}.",
    photo="A photo of a {}, a type of bird.",
    licence="not specified",
    protocol="susx",
    bibtex_key="berg2014birdsnap",
    citation="""@inproceedings{berg2014birdsnap,
  title = {Birdsnap: Large-scale Fine-grained Visual Categorization of Birds},
  author = {Berg, Thomas and Liu, Jiongxin and Lee, Seung Woo and Alexander, Michelle L. and
    Jacobs, David W. and Belhumeur, Peter N.},
  booktitle = {CVPR},
  year = {2014}
}""",
    layout=SplitFile(file="split_Birdsnap.json", images="images"),
    hub=(
        Hub(
            repo="mteb/birdsnap",
            revision="fd23015508be94f0b5b59d61630e4ea2536509e4",
            splits={"train": "train", "test": "test"},
            sizes={"train": 39860, "test": 1851},
            protocol="hub-official",
            label="common",
        ),
    ),
    fetch=(
        "Unpack birdsnap.tgz from thomasberg.org, run its get-birdsnap.py, put the folder "
        "download under the data root as birdsnap, and split_Birdsnap.json into it (SuS-X's "
        "data/DATA.md links both). Many images are gone from Flickr by now."
    ),
)
