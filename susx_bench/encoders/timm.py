"""Image encoders that timm loads: ``timm:NAME[@REVISION]``, ``timm:ORG/NAME[@REVISION]``, a folder.

They read no text: DINOv2, supervised ConvNeXts and the like. A place is a name of timm's own table,
such as ``vit_small_patch14_dinov2.lvd142m``, whose repository timm knows; another repository in
timm's layout (``config.json`` and ``model.safetensors``); or a folder in that layout. Images are
prepared as the model's own data configuration says. The feature is the input of the model's
classifier. Weights are safetensors, and none may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from susx_bench.encoders.base import PRECISIONS, Encoder, ImageEncoder, ImageTowers
from susx_bench.encoders.download import download, reason
from susx_bench.encoders.layout import refuse_sizes
from susx_bench.encoders.places import REPOSITORY, Parts, PlacedEncoder
from susx_bench.encoders.trust import quiet
from susx_bench.errors import EncoderError, UnknownNameError
from susx_bench.records.files import sha256_file, sha256_json
from susx_bench.records.text import read_json

if TYPE_CHECKING:
    from PIL.Image import Image

_NAME = r"([\w.-]+)(?:@(.+))?"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_CHANNELS = 3
# Keys of model_args that timm's factory takes besides a model's own arguments.
_FACTORY = {"cache_dir", "checkpoint_path", "feature_cls", "features_only", "kwargs_filter"}


@dataclass(frozen=True)
class TimmTowers(ImageTowers):
    """A loaded model of timm.

    Attributes:
        model: The model without its classifier, in eval mode, without gradient.
        transform: RGB image to ``(3, H, W)``; timm's own for evaluation.
        data: The model's data configuration, as timm resolves it.
        dtype: Input type of the model.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    data: dict[str, Any]
    dtype: torch.dtype = torch.float32

    @property
    def preprocess_cfg(self) -> dict[str, Any]:
        return {
            "size": tuple(self.data["input_size"][1:]),
            "mean": tuple(self.data["mean"]),
            "std": tuple(self.data["std"]),
            "interpolation": self.data["interpolation"],
        }

    def image_features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model(pixels.to(self.dtype))
        if features.ndim != 2:
            shape = tuple(features.shape)
            raise EncoderError(
                f"{type(self.model).__name__} gives features {shape} where one row (B, D) per "
                "image is needed: its configuration has no global pooling."
            )
        return features


class TimmEncoder(PlacedEncoder, ImageEncoder):
    """DINOv2, ConvNeXt, ... as timm loads them, images alone: [ORG/]NAME[@COMMIT] or ./FOLDER.

    Args:
        place: A name of `timm.list_pretrained` or ``ORG/NAME``, with ``@REVISION`` at a branch, tag
            or commit; or a folder, beginning with a slash or a point.
        precision: One of `PRECISIONS`; features are fp32 in any case.

    Raises:
        UnknownNameError: If there is no such precision, or timm has no such name.
        EncoderError: If a place is none of these, or a folder is not complete.
    """

    family = "timm"
    packages: ClassVar[tuple[str, ...]] = ("timm", *Encoder.packages)

    def repository(self, place: str) -> tuple[str, str | None]:
        if parts := re.fullmatch(_NAME, place):
            return _tabled(self.name, parts[1]), parts[2]
        if parts := re.fullmatch(REPOSITORY, place):
            return parts[1], parts[2]
        raise EncoderError(
            f"--encoder {self.name}: it is neither NAME[@REVISION], ORG/NAME[@REVISION] nor "
            "./FOLDER."
        )

    def from_hub(self, repository: str, revision: str | None) -> Parts:
        weights = download(self.name, repository, revision, (_WEIGHTS,), (_CONFIG,))
        return self.in_folder(weights.parent, weights.parent.name)

    def in_folder(self, folder: Path, revision: str | None) -> Parts:
        path = folder / _CONFIG
        try:
            config = read_json(path)
            architecture = config.get("architecture")
            cfg, args = config.get("pretrained_cfg", config), config.get("model_args") or {}
            channels = [args.get("in_chans", _CHANNELS), (cfg.get("input_size") or (_CHANNELS,))[0]]
            classes = {c["num_classes"] for c in (config, args) if "num_classes" in c}
            forbidden = {key for key in args if key in _FACTORY or key.startswith("pretrained")}
        except FileNotFoundError as error:
            raise EncoderError(f"--encoder {self.name}: {path} does not exist.") from error
        except OSError as error:
            raise EncoderError(f"--encoder {self.name}: {path} cannot be read: {error}.") from error
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise EncoderError(f"{path} is not the configuration of a model: {error!r}.") from error
        if not isinstance(architecture, str):
            raise EncoderError(f"{path} has no architecture, so it is no model of timm.")
        if forbidden:
            names = ", ".join(sorted(forbidden))
            raise EncoderError(f"{path}: model_args has {names}, no model's own.")
        if channels != [_CHANNELS] * 2:
            raise EncoderError(
                f"{path}: the model reads {channels[0]} channels, its weights {channels[1]}; "
                f"images have {_CHANNELS}."
            )
        if len(classes) > 1:
            raise EncoderError(f"{path}: num_classes is {' and '.join(map(str, classes))}.")
        refuse_sizes(path, {"pretrained_cfg": cfg, "model_args": args}, "config")
        if not (folder / _WEIGHTS).is_file():
            raise EncoderError(
                f"--encoder {self.name}: {folder} has no {_WEIGHTS}; only safetensors are read."
            )
        weights = folder / _WEIGHTS
        return Parts(folder, config, [weights], [weights, path], revision)

    @cached_property
    def sha256(self) -> str:
        return sha256_json([self.family, *map(sha256_file, self.parts.files)])

    @property
    def width(self) -> int | None:
        config = self.parts.config
        # In other kinds a hidden layer of the head may change the width.
        features = config.get("num_features") if config["architecture"].startswith("vit_") else None
        return features if isinstance(features, int) else None

    @cached_property
    def towers(self) -> TimmTowers:
        """The loaded model, on the CPU. The random state of the caller stays as it is.

        Raises:
            EncoderError: If timm cannot build the model, or the weights do not fit it.
        """
        try:
            with quiet(), torch.random.fork_rng(devices=[]):
                return self._load()
        except EncoderError:
            raise
        except Exception as error:  # of any kind
            raise EncoderError(
                f"--encoder {self.name}: cannot be loaded: {reason(error)}"
            ) from error

    def _load(self) -> TimmTowers:
        from timm import create_model
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        # Pass the number of classes of the weights, so that timm demands every tensor.
        model: Any = create_model(f"local-dir:{self.parts.folder}", pretrained=True)
        model.reset_classifier(0)
        resolve: Any = resolve_model_data_config  # timm has no types
        data = resolve(model)
        transform: Any = create_transform(**data, is_training=False)
        dtype = PRECISIONS[self.precision]
        model = model.to(dtype).eval().requires_grad_(False)
        return TimmTowers(model, transform, data, dtype)


def _tabled(name: str, model: str) -> str:
    """The repository of a model with weights in timm's table.

    Raises:
        UnknownNameError: If the table has no such model.
        EncoderError: If its weights are on no hub.
    """
    from timm.models import get_pretrained_cfg, is_model_pretrained, list_pretrained

    architecture = model.partition(".")[0]
    if not is_model_pretrained(architecture):
        raise UnknownNameError("model of timm with weights", model, _near(model), _HINT)
    try:
        pretrained = get_pretrained_cfg(model)
    except RuntimeError as error:
        tags = [tag for tag in list_pretrained() if tag.partition(".")[0] == architecture]
        raise UnknownNameError("model of timm with weights", model, tags, _HINT) from error
    if pretrained is None or not pretrained.hf_hub_id:
        raise EncoderError(f"--encoder {name}: timm has its weights from no hub.")
    repository: str = pretrained.hf_hub_id
    return repository


_HINT = "timm.list_pretrained() has them all; or timm:ORG/NAME[@REVISION], or timm:./FOLDER."
_SHOWN = 5


def _near(model: str) -> list[str]:
    """The names in timm's table that are nearest to an unknown one."""
    import difflib

    from timm.models import list_pretrained

    return difflib.get_close_matches(model, list_pretrained(), n=_SHOWN, cutoff=0.4)
