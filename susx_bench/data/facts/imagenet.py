"""ImageNet-1k; SuS-X tunes on its validation set, which is its test set.

Pictures of the 1000 classes of the ILSVRC challenges.
"""

from __future__ import annotations

from dataclasses import replace

from susx_bench.data.spec import (
    ClassFolders,
    DatasetSpec,
    read_classnames,
    read_codes,
    read_synsets,
)

_NAMES = read_classnames("imagenet")
_SYNSETS = read_synsets()
# ImageNet-R's names of its classes, and ImageNet-A's of one.
_OTHERS = {
    code: (name,) for name, (code,) in read_codes("imagenet-r").items() if name not in _NAMES
} | {"n02280649": ("small white",)}

ALIASES = {
    name: (code, _SYNSETS[code], *_OTHERS.get(code, ()))
    for name, (code,) in read_codes("imagenet").items()
}
"""The WordNet id of each class, its WordNet names, and other names."""

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


def classes_alone(spec: DatasetSpec, name: str, title: str) -> DatasetSpec:
    """ImageNet's own test images of some classes: the clean test set of a robustness set.

    Args:
        spec: The robustness set; the aliases of each class include its WordNet ids.
        name: Name of the clean set.
        title: Its name for people.
    """
    all_codes = {code for code, *_ in ALIASES.values()}
    codes = all_codes & {alias for aliases in spec.aliases.values() for alias in aliases}
    return replace(
        SPEC,
        name=name,
        title=title,
        classnames=spec.classnames,
        sizes={"test": 50 * len(codes)},
        protocol="susx-bench",
        layout=ClassFolders(splits={"test": "val"}),
        folders=("imagenet", *SPEC.folders),
        fetch=f"Its images are those of imagenet. {SPEC.fetch}",
        aliases=spec.aliases,
        shared={},
        dropped=tuple(sorted(all_codes - codes)),
        train_of="imagenet",
        merged=len(codes) > len(spec.classnames),
    )


def corrupted(corruption: str, kind: str) -> DatasetSpec:
    """ImageNet's test images under one of ImageNet-C's corruptions, at the highest severity.

    Args:
        corruption: The authors' folder, such as ``gaussian_noise``.
        kind: The authors' archive of it: ``noise``, ``blur``, ``weather``, ``digital``.
    """
    name = corruption.replace("_", " ")
    return replace(
        SPEC,
        name=f"imagenet-c-{corruption.replace('_', '-')}",
        title=f"ImageNet-C, {name.replace('jpeg', 'JPEG')}, severity 5",
        sizes={"test": 50000},
        licence="CC BY 4.0",
        protocol="susx-bench",
        bibtex_key="hendrycks2019benchmarking",
        citation="""@inproceedings{hendrycks2019benchmarking,
  title = {Benchmarking Neural Network Robustness to Common Corruptions and Perturbations},
  author = {Hendrycks, Dan and Dietterich, Thomas},
  booktitle = {ICLR},
  year = {2019}
}""",
        layout=ClassFolders(splits={"test": f"{corruption}/5"}),
        folders=("imagenet-c", "ImageNet-C"),
        fetch=(
            f"Unpack {kind}.tar, which github.com/hendrycks/robustness links, into imagenet-c "
            f"under the data root, so that imagenet-c/{corruption}/5 has a folder a WordNet id."
        ),
        train_of="imagenet",
        clean="imagenet",
    )
