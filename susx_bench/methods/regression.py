"""Ridge regression of class labels on images, in the space of a Gaussian kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETA = 2.0
RIDGE = 0.05
TOGETHER = 4096
"""Most images of one regression: its cost grows with their third power."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, less their whole parts, are spread evenly over 0 to 1."""

PARTS = 4
"""Most regressions: of more images than they take, some of each class are left out."""


class LabelRegression:
    r"""How much of each label a ridge regression sees in an image.

    .. math::
        R(f) = k(f, F)\, A, \qquad A = (k(F, F) + \lambda V^{-1})^{-1} (Y - 1/K), \qquad
        k(f, g) = \exp\bigl(-\beta (1 - f g^\top)\bigr)

    :math:`F` are the images, :math:`Y` their one-hot labels, and the diagonal :math:`V` has weights
    with mean 1 under which all classes that have images weigh the same. More than `TOGETHER` images
    are dealt out to several regressions of which the mean is taken: of large ones little is lost,
    and the cost grows with the images and no longer with their third power. Of more than `PARTS`
    of them take, an even choice over the classes is used.

    Args:
        images: L2-normalised, ``(M, D)``, in any order.
        labels: ``(M,)``.
        num_classes: K.

    Source:
        Bendou et al., *ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language
        Models*, CVPR 2025, arXiv:2501.11175, for the kernel beside CLIP; Zhang, Duchi and
        Wainwright, *Divide and Conquer Kernel Ridge Regression*, COLT 2013, for the mean.
    """

    def __init__(self, images: Tensor, labels: Tensor, num_classes: int) -> None:
        self._images = images
        targets = torch.nn.functional.one_hot(labels, num_classes).double() - 1 / num_classes
        count = torch.bincount(labels, minlength=num_classes).clamp(min=1).double()
        noise = count[labels]
        noise = RIDGE * noise * (1 / noise).mean()
        order = by_class(images, labels)
        if len(order) > (most := PARTS * TOGETHER):
            order = order[torch.arange(most, device=order.device) * len(order) // most]
        parts = math.ceil(len(order) / TOGETHER)
        self._parts = [order[start::parts] for start in range(parts)]
        self._inverses: list[Tensor] = []
        self._all = torch.zeros_like(targets)
        for part in self._parts:
            gram = _kernel(images[part], images[part]).double() + noise[part].diag()
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
            self._inverses.append(inverse)
            self._all[part] = inverse @ targets[part]

    def logits(self, images: Tensor) -> Tensor:
        """:math:`R(f)` of images ``(B, D)``: ``(B, K)``, fp32."""
        return self._predict(images, self._all)

    def without(self, images: Tensor, left_out: Tensor) -> Tensor:
        """The same, had some of the images not been there.

        It follows from what is there: leaving out takes a part of the inverse.

        Args:
            images: ``(B, D)``.
            left_out: Which, ``(M,)`` bool.
        """
        coefficients = self._all.clone()
        for part, inverse in zip(self._parts, self._inverses, strict=True):
            out = left_out[part]
            if out.any():
                solved = torch.linalg.solve(inverse[out][:, out], self._all[part[out]])
                coefficients[part] -= inverse[:, out] @ solved
        return self._predict(images, coefficients)

    def _predict(self, images: Tensor, coefficients: Tensor) -> Tensor:
        used = torch.cat(self._parts)
        mean = (coefficients[used] / len(self._parts)).to(images.dtype)
        return _kernel(images, self._images[used]) @ mean


def by_class(images: Tensor, labels: Tensor) -> Tensor:
    """Positions of images class by class, in each along one fixed direction of the features.

    An even choice along it is as good as a random one, and depends on nothing but the images: not
    on the order they come in, nor on the last bits of a product. The likeness of an image to the
    mean of its class would not do, because two images are equally like theirs.

    Args:
        images: L2-normalised, ``(M, D)``.
        labels: ``(M,)``.
    """
    channel = torch.arange(1, images.shape[1] + 1, dtype=torch.float64, device=images.device)
    place = images.double() @ (channel * GOLDEN % 1 - 0.5)
    order = labels.argsort(stable=True)
    groups = torch.split(order, torch.bincount(labels).tolist())
    return torch.cat([group[place[group].argsort(stable=True)] for group in groups])


def _kernel(images: Tensor, others: Tensor) -> Tensor:
    return torch.exp(-BETA * (1 - images @ others.T))
