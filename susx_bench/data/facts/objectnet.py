"""ObjectNet: a test set; its training images are ImageNet's, of the same classes.

Photographs of household objects in unusual poses and places, of the 113 classes that overlap with
ImageNet's. The classes, and which of ImageNet's each is, are the authors'
``objectnet_to_imagenet_1k.json`` and ``folder_to_objectnet_label.json``, read from
github.com/modestyachts/imagenet-testbed at 0170eec658d6; their labels of ImageNet's classes are
WordNet's, and equal those of this package. Names are lower case and in the order of the folders, as
in CLIP_benchmark, which keeps the images' red border of one pixel, as here. Their number is that of
DataComp's ``tasklist.yml``, github.com/mlfoundations/datacomp at 2d7bde7c28a9.
"""

from __future__ import annotations

from susx_bench.data.spec import ClassFolders, DatasetSpec, read_classnames, read_codes

# Folders that are called otherwise than their class.
_FOLDERS = {
    "drying rack for plates": "drying_rack_for_dishes",
    "bath towel": "full_sized_towel",
    "dishrag or hand towel": "hand_towel_or_rag",
}

SPEC = DatasetSpec(
    name="objectnet",
    title="ObjectNet, the 113 classes of ImageNet",
    classnames=read_classnames("objectnet"),
    sizes={"test": 18574},
    template="a photo of a {}.",
    photo="A photo of a {}.",  # ours, SuS-X has none
    licence="CC BY 4.0, not for training, and with their border where posted",
    protocol="susx-bench",
    bibtex_key="barbu2019objectnet",
    citation="""@inproceedings{barbu2019objectnet,
  title = {{ObjectNet}: A Large-Scale Bias-Controlled Dataset for Pushing the Limits of Object
    Recognition Models},
  author = {Barbu, Andrei and Mayo, David and Alverio, Julian and Luo, William and Wang, Christopher
    and Gutfreund, Dan and Tenenbaum, Joshua and Katz, Boris},
  booktitle = {NeurIPS},
  year = {2019}
}""",
    val_is_test=True,
    layout=ClassFolders(splits={"test": "images"}),
    folders=("objectnet-1.0",),
    fetch=(
        "Unpack objectnet-1.0.zip, which objectnet.dev links, and put its folder objectnet-1.0 "
        "under the data root as objectnet, so that objectnet/images has a folder per class."
    ),
    aliases={
        name: (*codes.split(), *([_FOLDERS[name]] if name in _FOLDERS else ()))
        for name, (codes,) in read_codes("objectnet").items()
    },
    dropped=read_classnames("objectnet-others"),
    train_of="imagenet",
    clean="objectnet-clean",
)
