"""ImageNet-R: a test set; its training images are ImageNet's, of the same classes.

Art, toys, drawings and the like of 200 of ImageNet's classes.
"""

from __future__ import annotations

from susx_bench.data.spec import (
    ClassFolders,
    DatasetSpec,
    read_classnames,
    read_codes,
    read_synsets,
)

_CLIP = {code: name for name, (code,) in read_codes("imagenet").items()}
_SYNSETS = read_synsets()


SPEC = DatasetSpec(
    name="imagenet-r",
    title="ImageNet-R",
    classnames=read_classnames("imagenet-r"),
    sizes={"test": 30000},
    template="a photo of a {}.",
    photo="A rendition of a {}.",  # ours, SuS-X has none
    licence="MIT",
    protocol="susx",
    bibtex_key="hendrycks2021many",
    citation="""@inproceedings{hendrycks2021many,
  title = {The Many Faces of Robustness: A Critical Analysis of Out-of-Distribution
    Generalization},
  author = {Hendrycks, Dan and Basart, Steven and Mu, Norman and Kadavath, Saurav and Wang, Frank
    and Dorundo, Evan and Desai, Rahul and Zhu, Tyler and Parajuli, Samyak and Guo, Mike and
    Song, Dawn and Steinhardt, Jacob and Gilmer, Justin},
  booktitle = {ICCV},
  year = {2021}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"test": "imagenet-r"}),
    folders=("imagenet-rendition",),
    fetch=(
        "Unpack imagenet-r.tar, which github.com/hendrycks/imagenet-r links, into imagenet-r "
        "under the data root, so that imagenet-r/imagenet-r has a folder a WordNet id. Or "
        "give --source hf:clip-benchmark/wds_imagenet-r@REVISION."
    ),
    # WordNet ids, and what CLIP calls the same classes.
    aliases={
        name: (code, _CLIP[code], _SYNSETS[code])
        for name, (code,) in read_codes("imagenet-r").items()
    },
    train_of="imagenet",
    clean="imagenet-r-clean",
)
