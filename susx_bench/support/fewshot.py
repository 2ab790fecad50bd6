"""Few-shot draws: S images a class, the same ones for everybody."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from susx_bench.errors import ShotsError


def draw(
    labels: Tensor,
    shots: int,
    seed: int,
    classnames: Sequence[str],
    where: str,
    option: str = "--shots",
) -> Tensor:
    """Draw the same number of images from every class.

    One permutation a class, seeded once, of which the first `shots` are taken: balanced, and for
    one seed a draw of S images holds every smaller draw.

    Args:
        labels: Labels of the images to draw from, ``(P,)`` in ``[0, K)``.
        shots: Images a class S, at least 1.
        seed: Which draw.
        classnames: The K names, for messages.
        where: What is drawn from, for messages.
        option: What asked for the shots, for messages.

    Returns:
        Positions in `labels`, ``(K * S,)`` int64, sorted by class.

    Raises:
        ShotsError: If a class has fewer than `shots` images.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for label, name in enumerate(classnames):
        members = (labels == label).nonzero().flatten()
        if len(members) < shots:
            raise ShotsError(
                f"{where}: class {label} ('{name}') has {len(members)} labelled images, {option} "
                f"asks for {shots}."
            )
        order = torch.randperm(len(members), generator=generator)
        drawn.append(members[order[:shots]])
    return torch.cat(drawn)
