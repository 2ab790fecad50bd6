"""Support features that SuS-X published, as its scripts wrote them: no images, one encoder."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.sources.base import reason
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError

_FEATURES, _TARGETS = "_f_m", "_t_m"


def read_published(path: Path, spec: DatasetSpec) -> tuple[Tensor, Tensor]:
    """Read ``sus_lc_photo_dtd_f_mRN50.pt`` and the targets beside it, ``..._t_mRN50.pt``.

    Their columns are class folders in alphabetical order, unlike the class names of the text
    classifier: the labels are mapped through the names.

    Args:
        path: The features, ``(D, M)``; the targets are one-hot, ``(M, K)``.
        spec: The facts of the dataset.

    Returns:
        Unit features ``(M, D)`` in fp32, and canonical labels ``(M,)``.

    Raises:
        SupportError: If a file is missing or no tensor, or the shapes do not match each other or
            the number of classes.

    Source:
        encode_sus_sd.py and encode_sus_lc.py of github.com/vishaal27/SuS-X.
    """
    if _FEATURES not in path.name:
        raise SupportError(
            f"--import {path}: features that SuS-X published have {_FEATURES} in their name, as in "
            "sus_lc_photo_dtd_f_mRN50.pt."
        )
    other = path.with_name(path.name.replace(_FEATURES, _TARGETS))
    features, targets = _tensor(path), _tensor(other)
    classes = len(spec.classnames)
    if targets.ndim != 2 or targets.shape[1] != classes:
        raise SupportError(
            f"--import {other}: its shape is {tuple(targets.shape)}, {spec.name} has {classes} "
            "classes."
        )
    if features.ndim != 2 or features.shape[1] != len(targets):
        raise SupportError(
            f"--import {path}: its shape is {tuple(features.shape)}, but {other.name} has "
            f"{len(targets)} rows."
        )
    if not bool((targets.sum(1) == 1).all()) or not bool(((targets == 0) | (targets == 1)).all()):
        raise SupportError(f"--import {other}: not every row has a single 1.")
    features = features.T.float()
    if not bool(features.isfinite().all()) or not bool(features.norm(dim=1).min() > 0):
        raise SupportError(f"--import {path}: it holds NaN, infinity or rows of zeros.")
    names = [name.replace("_", " ") for name in spec.classnames]
    if len(set(names)) < classes:
        raise SupportError(
            f"--import {path}: two classes of {spec.name} have one name, so the order of the "
            "folders is not known."
        )
    canonical = torch.tensor(sorted(range(classes), key=names.__getitem__))
    return F.normalize(features, dim=1).contiguous(), canonical[targets.argmax(1)]


def _tensor(path: Path) -> Tensor:
    if not path.is_file():
        raise SupportError(f"--import {path}: no such file.")
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind
        raise SupportError(f"--import {path}: torch cannot read it: {reason(error)}") from error
    if not isinstance(tensor, Tensor):
        raise SupportError(f"--import {path}: it holds a {type(tensor).__name__}, not a tensor.")
    return tensor
