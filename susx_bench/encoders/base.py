"""Base classes of encoders: images and texts to unit vectors of one space, or images alone.

Any package can add an encoder: a subclass of `Encoder`, declared as an entry point in the group
``susx_bench.encoders``. It can also add a family of encoders, ``FAMILY:PLACE``, in the group
``susx_bench.encoder_families``: a subclass with an attribute `family`, constructed with the place
and the precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from susx_bench.errors import EncoderError, UnknownNameError

if TYPE_CHECKING:
    from PIL.Image import Image

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions of weights and matrix products."""

_TEXT_BLOCK = 64  # prompts encoded together, always: see features.blocks.BLOCK


class Towers(ABC):
    """A loaded encoder.

    Attributes:
        model: Holds all weights, in eval mode, without gradient. It is moved to the device that
            encodes images.
        transform: RGB image to ``(3, H, W)``.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]

    @property
    @abstractmethod
    def preprocess_cfg(self) -> dict[str, Any]:
        """The parameters of `transform`, for code that does a part of it in another way.

        Returns:
            ``size`` (H, W) in pixels, ``mean`` and ``std`` of the channels (three numbers each),
            and ``interpolation``, such as ``bicubic``.
        """

    @abstractmethod
    def image_features(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` on the model's device into ``(B, D)``, of any length."""

    @abstractmethod
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Encode T texts into ``(T, D)`` on the model's device, of any length."""

    def spatial(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` into a feature for each of its P patches.

        Returns:
            ``(B, P, D)``, fp32, row by row from the top left, in the space of `images` and `texts`
            but of any length: they are not L2-normalised.

        Raises:
            EncoderError: If the model has no patch features in that space.
        """
        raise EncoderError(f"{type(self).__name__} has no patch features.")

    def excess(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text beyond the text encoder's length, which are cut off."""
        return [0] * len(texts)

    def images(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` into L2-normalised features ``(B, D)``, fp32."""
        return F.normalize(self.image_features(pixels).float(), dim=-1)

    def text_prompts(self, prompts: Sequence[Sequence[str]]) -> list[Tensor]:
        """Encode the prompts of every class.

        Args:
            prompts: T_k texts for each class k.

        Returns:
            L2-normalised features ``(T_k, D)`` for each class, fp32. None depends on the others.
        """
        rows = F.normalize(self.single_texts([t for texts in prompts for t in texts]), dim=-1)
        return list(torch.split(rows, [len(texts) for texts in prompts]))

    @torch.no_grad()
    def single_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode T texts into ``(T, D)``, fp32, of any length. None depends on the others."""
        blocks = []
        for start in range(0, len(texts), _TEXT_BLOCK):
            block = list(texts[start : start + _TEXT_BLOCK])
            padded = block + block[-1:] * (_TEXT_BLOCK - len(block))
            blocks.append(self.text_features(padded).float()[: len(block)])
        return torch.cat(blocks)

    def texts(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Encode the prompts of every class into one unit vector per class, ``(K, D)``, fp32.

        The unit vectors of a class's prompts are averaged, and the mean is scaled to length 1.
        """
        per_class = self.text_prompts(prompts)
        return F.normalize(torch.stack([rows.mean(0) for rows in per_class]), dim=-1)


class Encoder(ABC):
    """An encoder. Its name is checked at once; it is hashed and loaded when needed.

    The three properties below are read more than once: use `functools.cached_property`.

    Args:
        precision: One of `PRECISIONS`; features are fp32 in any case.

    Attributes:
        name: Its name for ``--encoder``.
        family: The part before the colon, for a class that makes encoders ``FAMILY:PLACE``.
        packages: Packages besides torch on which its features depend. Features of another
            version have other keys, see `susx_bench.encoders.versions`.

    Raises:
        UnknownNameError: If there is no such precision.
    """

    name: str
    family: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ("pillow", "torchvision")

    def __init__(self, precision: str = "fp32") -> None:
        if precision not in PRECISIONS:
            raise UnknownNameError("precision", precision, PRECISIONS)
        self.precision = precision

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Hash of everything on which a feature depends: weights, configuration, tokenizer.

        Features are kept under it. It covers neither the place of the files nor the precision.
        """

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The factor the model was trained to put on cosines."""

    @property
    def has_patches(self) -> bool:
        """Whether `Towers.spatial` gives patch features; does not load the model."""
        return False

    @property
    def width(self) -> int | None:
        """Width D of a feature, without loading the model; None if unknown."""
        return None

    @property
    @abstractmethod
    def towers(self) -> Towers:
        """The loaded model, on the CPU. The random state of the caller stays as it is."""

    @property
    def has_text(self) -> bool:
        """Whether it encodes texts; does not load the model."""
        return True


class ImageTowers(Towers):
    """A loaded encoder of images alone."""

    def text_features(self, texts: Sequence[str]) -> Tensor:
        raise EncoderError(f"{type(self).__name__} reads no text.")


class ImageEncoder(Encoder):
    """An encoder of images alone: only methods that need no text run on its features.

    It was trained without a factor on cosines; `logit_scale` is the default of a feature bundle.
    """

    @property
    def has_text(self) -> bool:
        return False

    @property
    def logit_scale(self) -> float:
        return 100.0

    @property
    @abstractmethod
    def towers(self) -> ImageTowers: ...
