"""CLIP-like models that transformers loads: ``transformers:ORG/NAME[@REVISION]`` or a folder.

A model is taken if its class has ``get_image_features`` and ``get_text_features``, like CLIP,
SigLIP, SigLIP 2, MetaCLIP 2, AltCLIP and ChineseCLIP. Weights are safetensors. Images
are prepared by the model's own processor, in its form for Pillow. Texts are tokenized as they were
in training:

* Every text is padded to the length that the model reads, so none depends on those beside it.
* SigLIP's text tower has no mask: it was trained to read the padding, on the right. Its texts are
  in lower case; the tokenizer of the first SigLIP also takes the punctuation out (Zhai et al.,
  *Sigmoid Loss for Language Image Pre-Training*, ICCV 2023; Tschannen et al., *SigLIP 2*, 2025).

SigLIP adds a bias to all logits of an image. It changes no softmax and no answer, and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from susx_bench.encoders.base import PRECISIONS, Towers
from susx_bench.encoders.download import TOKENIZER, download, reason
from susx_bench.encoders.layout import refuse_sizes
from susx_bench.encoders.places import Parts, PlacedEncoder
from susx_bench.encoders.trust import OWN_CODE, is_own_code, quiet
from susx_bench.errors import EncoderError
from susx_bench.records.files import sha256_file, sha256_json
from susx_bench.records.text import read_json

if TYPE_CHECKING:
    from PIL.Image import Image

_CONFIG = "config.json"
_IMAGES = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"[\w.-]+\.safetensors")
_SIGLIP = ("siglip", "siglip2")
_MOST_TOKENS = 8192  # tokens of a text; a tokenizer without a limit reports 1e30


@dataclass(frozen=True)
class TransformersTowers(Towers):
    """A loaded model of transformers.

    Attributes:
        model: The model, in eval mode, without gradient.
        transform: RGB image to ``(3, H, W)``, by the model's own processor.
        tokenizer: The model's own.
        length: Tokens that every text is padded and cut to.
        kind: The model's type, such as ``clip``.
        processor: The model's own image processor.
        size: Height and width of its output.
        dtype: Input type of the image tower.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    tokenizer: Any
    length: int
    kind: str
    processor: Any
    size: tuple[int, int]
    dtype: torch.dtype = torch.float32

    @property
    def preprocess_cfg(self) -> dict[str, Any]:
        from PIL.Image import Resampling

        processor, normal = self.processor, self.processor.do_normalize
        return {
            "size": self.size,
            "mean": tuple(processor.image_mean) if normal else (0.0, 0.0, 0.0),
            "std": tuple(processor.image_std) if normal else (1.0, 1.0, 1.0),
            "interpolation": Resampling(int(processor.resample)).name.lower(),
        }

    def image_features(self, pixels: Tensor) -> Tensor:
        encode: Any = self.model.get_image_features
        return _pooled(encode(pixel_values=pixels.to(self.dtype)))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        encode: Any = self.model.get_text_features
        device = next(self.model.parameters()).device
        read = {name: ids.to(device) for name, ids in self.tokens(texts).items()}
        return _pooled(encode(**read))

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Inputs of the text tower, ``(T, L)`` each: ``input_ids``, and its mask if it has one."""
        siglip = self.kind in _SIGLIP
        encoded = self.tokenizer(
            self._spelt(texts),
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        )
        names = ("input_ids",) if siglip else ("input_ids", "attention_mask")
        return {name: encoded[name] for name in names}

    def _spelt(self, texts: Sequence[str]) -> list[str]:
        return [text.lower() if self.kind in _SIGLIP else text for text in texts]

    def excess(self, texts: Sequence[str]) -> list[int]:
        ids = self.tokenizer(self._spelt(texts), verbose=False).input_ids  # as in openclip.py
        return [max(len(text_ids) - self.length, 0) for text_ids in ids]

    def spatial(self, pixels: Tensor) -> Tensor:
        if self.kind != "clip":
            return super().spatial(pixels)
        model: Any = self.model
        tokens = model.vision_model(pixel_values=pixels.to(self.dtype)).last_hidden_state[:, 1:]
        projected: Tensor = model.visual_projection(model.vision_model.post_layernorm(tokens))
        return projected.float()


def _pooled(features: Any) -> Tensor:
    """The features in a model's output, which may hold other values beside them."""
    pooled: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return pooled


class TransformersEncoder(PlacedEncoder):
    """CLIP, SigLIP, ... as transformers loads them: ORG/NAME[@COMMIT] or ./FOLDER.

    Args:
        place: ``ORG/NAME``, with ``@REVISION`` at a branch, tag or commit; or a folder,
            beginning with a slash or a point.
        precision: One of `PRECISIONS`; features are fp32 in any case.

    Raises:
        UnknownNameError: If there is no such precision.
        EncoderError: If a place is neither, or a folder is not complete.
    """

    family = "transformers"

    def from_hub(self, repository: str, revision: str | None) -> Parts:
        beside = (_CONFIG, *_IMAGES)
        file = download(self.name, repository, revision, (_WEIGHTS, _INDEX), beside)
        commit = file.parent.name
        if file.name == _INDEX:
            for shard in _shards(self.name, file):
                download(self.name, repository, commit, (shard,), beside)
        return self.in_folder(file.parent, commit)

    def in_folder(self, folder: Path, revision: str | None) -> Parts:
        path = folder / _CONFIG
        try:
            config = read_json(path)
            if not isinstance(config.get("model_type"), str):
                raise EncoderError(f"{path} has no model_type, so it is no model of transformers.")
        except FileNotFoundError as error:
            raise EncoderError(f"--encoder {self.name}: {path} does not exist.") from error
        except OSError as error:
            raise EncoderError(f"--encoder {self.name}: {path} cannot be read: {error}.") from error
        except (ValueError, AttributeError) as error:
            raise EncoderError(f"{path} is not the configuration of a model: {error!r}.") from error
        refuse_sizes(path, {k: v for k, v in config.items() if k.endswith("_config")})
        if (folder / _WEIGHTS).is_file():
            weights = [folder / _WEIGHTS]
        elif (folder / _INDEX).is_file():
            weights = [folder / shard for shard in _shards(self.name, folder / _INDEX)]
        else:
            raise EncoderError(
                f"--encoder {self.name}: {folder} has neither {_WEIGHTS} nor {_INDEX}; only "
                "safetensors are read."
            )
        if lost := next((shard for shard in weights if not shard.is_file()), None):
            raise EncoderError(f"--encoder {self.name}: {lost} does not exist.")
        if not any((folder / file).is_file() for file in _IMAGES):
            raise EncoderError(
                f"--encoder {self.name}: {folder} has no {_IMAGES[0]}, which says how images are "
                "prepared."
            )
        patterns = (_CONFIG, *_IMAGES, *TOKENIZER)
        beside = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
        return Parts(folder, config, weights, [*weights, *sorted(beside)], revision)

    @cached_property
    def sha256(self) -> str:
        hashes = {file.name: sha256_file(file) for file in self.parts.files}
        return sha256_json([self.family, hashes])

    @cached_property
    def logit_scale(self) -> float:
        for path in self.parts.weights:
            try:
                with safe_open(path, framework="pt") as file:
                    names = [n for n in file.keys() if n.rpartition(".")[2] == "logit_scale"]  # noqa: SIM118
                    if names:
                        return float(file.get_tensor(names[0]).float().exp())
            except Exception as error:  # of any kind
                raise EncoderError(f"{path} cannot be read: {reason(error)}") from error
        raise EncoderError(
            f"--encoder {self.name}: its weights have no logit_scale, so it is no CLIP-like model."
        )

    @property
    def width(self) -> int | None:
        config = self.parts.config
        size = config.get("projection_dim")
        if config.get("model_type") in _SIGLIP:
            size = (config.get("vision_config") or {}).get("hidden_size")
        return size if isinstance(size, int) else None

    @property
    def has_patches(self) -> bool:
        return bool(self.parts.config.get("model_type") == "clip")

    @cached_property
    def towers(self) -> TransformersTowers:
        """The loaded model, on the CPU. The random state of the caller stays as it is.

        Raises:
            EncoderError: If transformers cannot build the model, weights are missing, or the model
                does not have both towers.
        """
        try:
            with quiet(), torch.random.fork_rng(devices=[]):
                return self._load()
        except EncoderError:
            raise
        except Exception as error:  # of any kind
            why = OWN_CODE if is_own_code(error) else reason(error)
            raise EncoderError(f"--encoder {self.name}: cannot be loaded: {why}") from error

    def _load(self) -> TransformersTowers:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        folder, dtype = str(self.parts.folder), PRECISIONS[self.precision]
        model, loading = AutoModel.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        if lost := sorted([*loading["missing_keys"], *map(str, loading["mismatched_keys"])]):
            raise EncoderError(
                f"--encoder {self.name}: the weights lack {len(lost)} tensors of the model, such "
                f"as {lost[0]}, which transformers would have drawn at random."
            )
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise EncoderError(
                f"--encoder {self.name}: {type(model).__name__} has not both get_image_features "
                "and get_text_features, so images and texts have no space in common."
            )
        processors: Any = AutoImageProcessor  # transformers' methods have no types
        processor = processors.from_pretrained(
            folder, backend="pil", trust_remote_code=False, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        if tokenizer.pad_token is None:
            raise EncoderError(f"--encoder {self.name}: its tokenizer has no token for padding.")
        text_config = model.config.get_text_config()
        if len(tokenizer) > text_config.vocab_size:
            raise EncoderError(
                f"--encoder {self.name}: its tokenizer has {len(tokenizer):,} tokens, its model "
                f"reads {text_config.vocab_size:,}: they are not of one model."
            )
        return TransformersTowers(
            model=model.eval().requires_grad_(False),
            transform=lambda image: _pixels(processor, image),
            tokenizer=tokenizer,
            length=min(
                tokenizer.model_max_length, text_config.max_position_embeddings, _MOST_TOKENS
            ),
            kind=model.config.model_type,
            processor=processor,
            size=_size(self.name, processor),
            dtype=dtype,
        )


def _pixels(processor: Any, image: Image) -> Tensor:
    pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
    return pixels


def _size(name: str, processor: Any) -> tuple[int, int]:
    """Height and width of a processor's output for a wide and for a high image.

    Raises:
        EncoderError: If images do not all become ``(3, H, W)`` of one size.
    """
    from PIL import Image as Pillow

    shapes = sorted(
        {tuple(_pixels(processor, Pillow.new("RGB", size)).shape) for size in ((9, 5), (5, 9))}
    )
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise EncoderError(
            f"--encoder {name}: its processor gives images as {', '.join(map(str, shapes))} "
            "where one size (3, H, W) is needed. Take a checkpoint with a fixed resolution (of "
            "SigLIP 2: not NaFlex)."
        )
    return shapes[0][1], shapes[0][2]


def _shards(name: str, index: Path) -> list[str]:
    """The files that an index names, all in its folder.

    Raises:
        EncoderError: If the file is no such index.
    """
    try:
        files = sorted(set(read_json(index)["weight_map"].values()))
        if files and all(_SHARD.fullmatch(file) for file in files):
            return files
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"--encoder {name}: {index} cannot be read: {error!r}.") from error
    raise EncoderError(f"--encoder {name}: {index} names no safetensors files beside it.")
