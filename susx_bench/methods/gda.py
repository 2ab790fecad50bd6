"""GDA: Gaussian discriminant analysis of the support images, beside CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from susx_bench.methods.base import (
    Axis,
    Context,
    LinearMethod,
    Need,
    SearchSpace,
    Terms,
    UnfitError,
)
from susx_bench.methods.zero_shot import clip_logits

_NO_SPREAD = 1e-10  # squared distance from their mean of copies of one unit vector in fp32, at most


@dataclass
class GDA(LinearMethod):
    r"""CLIP's logits plus those of Gaussians with one covariance, fitted to the support.

    .. math::
        \text{logits} = s\, f W^\top + \alpha\, (f V^\top + b), \qquad
        V = \mu \hat\Sigma^{-1}, \quad
        b_k = -\tfrac12\, \mu_k \hat\Sigma^{-1} \mu_k^\top

    with :math:`\mu_k` the mean of the class's images, all classes equally likely, and
    :math:`\hat\Sigma^{-1}` the shrunken inverse of `discriminant`. Where the task has the augmented
    views of the support, each view is an image, as in the authors' code; else the images are the
    support rows. Where the encoder reads no text, the Gaussians are alone, and there is
    nothing to choose.

    Attributes:
        alpha: Weight of the Gaussians against CLIP, >= 0; 0 is zero-shot. The authors choose it on
            val for each dataset and give no other value; 0.1 is the middle of their grid (by its
            geometric mean), and what their search starts from.

    Source:
        Wang et al., *A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation*, ICLR 2024,
        arXiv:2402.04087, section 3.
    """

    name: ClassVar[str] = "gda"
    needs: ClassVar[frozenset[Need]] = frozenset({"support"})
    uses: ClassVar[frozenset[Need]] = frozenset({"text", "support-views"})
    reference: ClassVar[str] = "wang2024gda"

    alpha: float = 0.1

    def fit(self, context: Context) -> None:
        self._context = context
        images, labels = single_images(context)
        self._weights, self._bias = discriminant(images, labels, context.num_classes)

    def prepare(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP's logits and those of the Gaussians, ``(B, K)`` each."""
        return clip_logits(images, self._context), images @ self._weights.T + self._bias

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """CLIP's logits, and the Gaussians' under ``alpha``; without text the Gaussians'."""
        clip, gaussian = prepared
        if not self._context.has_text:
            return Terms(gaussian)
        return Terms(clip, {"alpha": gaussian})

    def fixed(self, context: Context) -> dict[str, float]:
        """The default; nothing without text, see the class."""
        return super().fixed(context) if context.has_text else {}

    def space(self, context: Context) -> SearchSpace | None:
        """The authors' seven powers of ten; None without text."""
        if not context.has_text:
            return None
        alpha = Axis("alpha", (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0), weight=True)
        return SearchSpace((alpha,), source="gda")


def single_images(context: Context) -> tuple[Tensor, Tensor]:
    """The views of the support images, or the images where there are no views: rows and labels."""
    views = context.support_views
    if views is None:
        return context.support, context.support_labels
    return views.flatten(0, 1), context.support_labels.repeat_interleave(views.shape[1])


def discriminant(images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    r"""Linear discriminant of Gaussians with one covariance and equally likely classes.

    The inverse covariance is shrunk as in the authors' code (Kubokawa and Srivastava, 2008):

    .. math:: \hat\Sigma^{-1} = D\, \bigl((N - 1)\, S + \mathrm{tr}(S)\, I\bigr)^{-1}, \qquad
        S = \frac1{N - 1} \sum_i (f_i - \mu_{y_i})^\top (f_i - \mu_{y_i})

    What all classes share is taken off weights and bias, their mean over the classes. It changes no
    answer, and in fp32 it would take up the digits that tell the classes apart.

    Args:
        images: :math:`f`, ``(N, D)``.
        labels: :math:`y`, ``(N,)``.
        num_classes: K.

    Returns:
        Weights ``(K, D)`` and bias ``(K,)``, computed in double precision.

    Raises:
        UnfitError: If a class has no image, or no image differs from the mean of its class.
    """
    means = class_means(images, labels, num_classes)
    scatter = images.new_zeros(images.shape[1], images.shape[1], dtype=torch.float64)
    for rows, mean in zip(_by_class(images, labels, num_classes), means, strict=True):
        centred = rows.double() - mean
        scatter += centred.T @ centred
    trace = scatter.diagonal().sum()
    if float(trace) <= _NO_SPREAD * len(images):
        raise UnfitError(
            "the support images of each class are alike (one per class?), which has no covariance. "
            "Give more shots, or augmented views of each image"
        )
    scatter.diagonal().add_(trace / (len(images) - 1))
    weights = len(scatter) * torch.cholesky_solve(means.T, torch.linalg.cholesky(scatter)).T
    bias = -(weights * means).sum(-1) / 2
    return (weights - weights.mean(0)).to(images.dtype), (bias - bias.mean()).to(images.dtype)


def class_means(images: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean of the images of each class, ``(K, D)`` in double precision.

    Raises:
        UnfitError: If a class has no image.
    """
    groups = _by_class(images, labels, num_classes)
    if empty := sum(not len(rows) for rows in groups):
        raise UnfitError(f"{empty} of {num_classes} classes have no support image")
    return torch.stack([rows.double().mean(0) for rows in groups])


def _by_class(images: Tensor, labels: Tensor, num_classes: int) -> Sequence[Tensor]:
    """The images of each class; by class and not added up by index, which has no fixed order."""
    counts = torch.bincount(labels, minlength=num_classes)
    return torch.split(images[labels.argsort(stable=True)], counts.tolist())
