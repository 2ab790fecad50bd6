"""CLIP encoders by name, loaded by open_clip and only when something must be encoded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from susx_bench.errors import EncoderError, UnknownNameError
from susx_bench.records.files import sha256_file, sha256_json

if TYPE_CHECKING:
    from PIL.Image import Image

EMBEDDED = {"demo": Path(__file__).parents[1] / "demo" / "encoder"}
"""Encoders whose weights are in the package."""

_WEIGHTS = "open_clip_model.safetensors"
_CONFIG = "open_clip_config.json"
_TEXT_BLOCK = 64  # prompts encoded together, always: see data.base.BLOCK


@dataclass(frozen=True)
class Towers:
    """A loaded encoder.

    Attributes:
        model: The open_clip model, in eval mode, without gradient.
        transform: RGB image to ``(3, H, W)``.
        tokenize: Texts to token ids ``(T, L)``.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    tokenize: Callable[[list[str]], Tensor]

    def images(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` into L2-normalised features ``(B, D)``, fp32."""
        encode: Any = self.model.encode_image
        features: Tensor = encode(pixels)
        return F.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def texts(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Encode the prompts of every class into one unit vector a class, ``(K, D)``, fp32.

        The unit vectors of a class's prompts are averaged, and the mean is scaled to length 1.
        """
        encode: Any = self.model.encode_text
        tokens = self.tokenize([text for texts in prompts for text in texts])
        blocks = []
        for block in torch.split(tokens, _TEXT_BLOCK):
            padded = torch.cat([block, block[-1:].expand(_TEXT_BLOCK - len(block), -1)])
            blocks.append(F.normalize(encode(padded).float(), dim=-1)[: len(block)])
        per_class = torch.split(torch.cat(blocks), [len(texts) for texts in prompts])
        return F.normalize(torch.stack([rows.mean(0) for rows in per_class]), dim=-1)


class Encoder:
    """An encoder that is named, hashed and checked at once, and loaded when first used.

    Args:
        name: ``demo``, or ``local-dir:FOLDER`` with a folder in open_clip's own layout
            (``open_clip_config.json``, ``open_clip_model.safetensors``, tokenizer files).

    Raises:
        UnknownNameError: If the name is neither.
        EncoderError: If the folder lacks a file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        if name in EMBEDDED:
            self.folder = EMBEDDED[name]
        elif name.startswith("local-dir:"):
            self.folder = Path(name.removeprefix("local-dir:")).expanduser()
        else:
            raise UnknownNameError(
                "encoder", name, EMBEDDED, "Or local-dir:FOLDER, a folder open_clip loads."
            )
        for file in (_CONFIG, _WEIGHTS):
            if not (self.folder / file).is_file():
                raise EncoderError(f"--encoder {name}: {self.folder / file} does not exist.")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model and preprocessing configuration.

        Raises:
            EncoderError: If it is not open_clip's.
        """
        path = self.folder / _CONFIG
        try:
            config = json.loads(path.read_text())
            config["model_cfg"]["embed_dim"]
        except (ValueError, KeyError, TypeError) as error:
            raise EncoderError(f"{path} is not an open_clip configuration: {error!r}.") from error
        return dict(config)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a feature: weights, configuration, tokenizer."""
        files = sorted(
            path for path in self.folder.iterdir() if path.suffix in {".json", ".txt", ".model"}
        )
        return sha256_json([sha256_file(path) for path in (self.folder / _WEIGHTS, *files)])

    @cached_property
    def logit_scale(self) -> float:
        """The factor the model was trained to put on cosines.

        Raises:
            EncoderError: If the weights cannot be read.
        """
        path = self.folder / _WEIGHTS
        try:
            with safe_open(path, framework="pt") as file:
                return float(file.get_tensor("logit_scale").exp())
        except (SafetensorError, OSError) as error:
            raise EncoderError(f"{path} cannot be read: {error}.") from error

    @cached_property
    def towers(self) -> Towers:
        """The loaded model, on the CPU.

        Raises:
            EncoderError: If open_clip cannot load the folder, or the weights do not fit it.
        """
        import open_clip

        source = f"local-dir:{self.folder}"
        root = logging.getLogger()
        level = root.level
        try:
            root.setLevel(logging.ERROR)  # open_clip reports each loading step on the root logger
            model, _, transform = open_clip.create_model_and_transforms(
                source, require_pretrained=True
            )
            tokenize = open_clip.get_tokenizer(source)
        except (RuntimeError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise EncoderError(
                f"--encoder {self.name}: cannot load {self.folder}: {reason}"
            ) from error
        finally:
            root.setLevel(level)
        model = model.eval().requires_grad_(False)
        return Towers(model, transform, tokenize)
