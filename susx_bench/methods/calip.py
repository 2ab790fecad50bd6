"""CALIP: image patches and class texts attend to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import Axis, Context, LinearMethod, Need, SearchSpace, Terms
from susx_bench.methods.zero_shot import clip_logits

SHARPNESS = 2.0
_ROWS = 64  # images whose patches are compared with all texts at once

# beta2, beta3 of the paper, as SuS-X's public code lists them.
PUBLISHED: dict[str, tuple[float, float]] = {
    "imagenet": (1.12, 0.02),
    "caltech101": (5.0, 0.18),
    "sun397": (0.43, 0.01),
    "food101": (0.6, 0.02),
    "flowers102": (0.5, 0.01),
    "stanfordcars": (2.8, 0.01),
    "fgvcaircraft": (1.3, 0.01),
    "oxfordpets": (0.61, 0.01),
    "dtd": (1.4, 0.01),
    "eurosat": (6.08, 0.06),
    "ucf101": (1.28, 0.01),
}


@dataclass
class CALIP(LinearMethod):
    r"""CLIP's logits, those of texts blended with patches, and of an image blended with texts.

    With the unit features :math:`P` of an image's patches and :math:`A = 2 P W^\top`

    .. math::
        \text{logits} = s\, f W^\top
            + \beta_2\, s\, f \bigl(\mathrm{softmax}_P(A)^\top P\bigr)^\top
            + \beta_3\, s\, v W^\top, \qquad
        v = (\mathrm{mean}_P + \mathrm{max}_P)\bigl(\mathrm{softmax}_K(A)\, W\bigr)

    where :math:`\mathrm{softmax}_P` runs over the patches of a class, :math:`\mathrm{softmax}_K`
    over the classes of a patch, and the largest value is taken in each of the D dimensions. As in
    the authors' code nothing is scaled to length 1 after the attention. In the paper the factor 2
    is a division by a temperature; SuS-X's own version of CALIP divides by 2.

    Attributes:
        beta2: Weight of the blended texts, >= 0.
        beta3: Weight of the blended image, >= 0. Cosines of patches are small, so every class has
            nearly the same share in it, whatever the image.

    The defaults are about the medians of the constants that the paper gives for eleven datasets.
    The authors chose those, and SuS-X its own, on the test labels.

    The patch features are those of the encoder's `spatial`. For a ViT they are what the authors'
    code takes. For a ResNet they are the values that the attention pooling averages; the code takes
    the pooling's output at each place instead, which has already looked at all the others.

    Source:
        Guo et al., *CALIP: Zero-Shot Enhancement of CLIP with Parameter-free Attention*, AAAI 2023,
        arXiv:2209.14169, section 3.2, and the public ``run_imagenet.py``.
    """

    name: ClassVar[str] = "calip"
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "spatial"})
    reference: ClassVar[str] = "guo2023calip"
    seen: ClassVar[frozenset[str]] = frozenset(PUBLISHED)

    beta2: float = 1.0
    beta3: float = 0.01

    def fit(self, context: Context) -> None:
        self._context = context

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three logits ``(B, K)`` of images and their patches ``(B, 1 + P, D)``."""
        parts = [self._parts(rows[:, 0], rows[:, 1:]) for rows in torch.split(images, _ROWS)]
        blended_text, blended_image = (torch.cat(part) for part in zip(*parts, strict=True))
        return clip_logits(images[:, 0], self._context), blended_text, blended_image

    def _parts(self, images: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        c = self._context
        attention = SHARPNESS * patches @ c.text.T  # (B, P, K)
        # A product with f commutes with the sum over patches: no (B, K, D) is needed.
        near = (patches @ images[:, :, None]).squeeze(-1)  # (B, P)
        blended_text = (attention.softmax(1) * near[:, :, None]).sum(1)
        told = attention.softmax(2) @ c.text  # (B, P, D)
        blended_image = (told.mean(1) + told.amax(1)) @ c.text.T
        return c.logit_scale * blended_text, c.logit_scale * blended_image

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, and the two others under their weights; ``(B, K)`` each."""
        clip, blended_text, blended_image = prepared
        return Terms(clip, {"beta2": blended_text, "beta3": blended_image})

    def space(self, context: Context) -> SearchSpace:
        """The authors' grid for ImageNet: 200 x 200 values, beta2 outermost."""
        known = context.dataset == "imagenet"
        whose = "imagenet" if known else f"imagenet's, '{context.dataset}' has none published"
        return SearchSpace(
            (
                Axis.even("beta2", 0.001, 2.0, 200, weight=True),
                Axis.even("beta3", 0.001, 0.1, 200, weight=True),
            ),
            source=f"calip [2, 0.1] ({whose})",
        )

    def published(self, dataset: str) -> dict[str, float] | None:
        """The paper's constants, for an RN50 and chosen on the test labels."""
        if dataset not in PUBLISHED:
            return None
        beta2, beta3 = PUBLISHED[dataset]
        return {"beta2": beta2, "beta3": beta3}
