"""Few-shot draws: S images per class, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from susx_bench.errors import ShotsError
from susx_bench.records.text import read_json

DrawRule = Literal["balanced", "coop", "file"]


@dataclass(frozen=True)
class Pool:
    """Labelled images to draw from.

    Attributes:
        labels: ``(P,)`` in ``[0, K)``.
        classnames: The K names, for messages.
        where: Description of the pool, for messages.
    """

    labels: Tensor
    classnames: Sequence[str]
    where: str

    @cached_property
    def members(self) -> tuple[Tensor, ...]:
        """Positions of each class, sorted; K tensors."""
        return torch.split(self.labels.argsort(stable=True), self.sizes)

    @cached_property
    def sizes(self) -> list[int]:
        """Images of each class."""
        return torch.bincount(self.labels, minlength=len(self.classnames)).tolist()

    @cached_property
    def orders(self) -> dict[int, list[Tensor]]:
        """A permutation of each class, by seed."""
        return {}


def draw(pool: Pool, shots: int, seed: int, option: str = "--shots") -> Tensor:
    """Draw the same number of images from every class.

    Each class has one permutation per seed, and its first `shots` images are taken. So draws are
    balanced, and for one seed a draw of S images contains every smaller draw.

    Args:
        pool: What to draw from.
        shots: Images per class S, at least 1.
        seed: Seed of the draw.
        option: The option that gives the shots, for messages.

    Returns:
        Positions in the pool, ``(K * S,)`` int64, sorted by class.

    Raises:
        ShotsError: If a class has fewer than `shots` images.
    """
    orders = _orders(pool, seed)
    for label, order in enumerate(orders):
        if len(order) < shots:
            _, most = scarcest(pool)
            advice = f"Ask for {most} or fewer" if most else "Add images of it"
            other = ", or use --setting name-only" if option == "--shots" and not most else ""
            raise ShotsError(
                f"{pool.where}: class {label} ('{pool.classnames[label]}') has {len(order)} "
                f"labelled images, {option} asks for {shots}. {advice}{other}."
            )
    return torch.cat([order[:shots] for order in orders])


def scarcest(pool: Pool) -> tuple[int, int]:
    """The first class with the fewest images, and their number."""
    label = min(range(len(pool.sizes)), key=pool.sizes.__getitem__)
    return label, pool.sizes[label]


def draw_in_parts(pool: Pool, shots: int, seed: int) -> list[Tensor]:
    """The images of `draw`, in lists that do not depend on the number of shots.

    The lists are the 1st image of each class, the 2nd, the 3rd and 4th, the 5th to 8th, and so on.
    Images are encoded list by list, so features made for 16 shots serve 4 shots, and vice versa, to
    the last bit.

    Returns:
        Positions in the pool, one tensor per list; together they contain those of `draw`.
    """
    orders = _orders(pool, seed)
    lists, taken, wide = [], 0, 1
    while taken < shots:
        lists.append(torch.cat([order[taken : taken + wide] for order in orders]))
        taken, wide = taken + wide, max(1, taken + wide)
    return lists


def _orders(pool: Pool, seed: int) -> list[Tensor]:
    if seed not in pool.orders:
        generator = torch.Generator().manual_seed(seed)
        pool.orders[seed] = [
            members[torch.randperm(len(members), generator=generator)] for members in pool.members
        ]
    return pool.orders[seed]


def draw_coop(pool: Pool, shots: int, seed: int, val: Pool | None = None) -> tuple[Tensor, Tensor]:
    """Draw by CoOp's rule, for comparison with numbers published on its draws.

    One stream of Python's ``random`` serves the classes in the order in which the train split
    first lists them, then those of the val split with at most 4 images each. A class with fewer
    images gives all of them. Draws of different shots are not nested.

    Args:
        pool: The train split, in its published order.
        shots: Images per class.
        seed: CoOp's ``SEED``.
        val: The val split.

    Returns:
        Positions in the train and in the val split, in the order drawn.

    Source:
        Zhou et al., *Learning to Prompt for Vision-Language Models*, IJCV 2022; the public
        ``datasets/dtd.py`` and Dassl's ``generate_fewshot_dataset``.
    """
    stream = random.Random(seed)
    draws = []
    for part, count in ((pool, shots), (val, min(shots, 4))):
        positions: list[int] = []
        if part is not None:
            members: dict[int, list[int]] = {}
            for position, label in enumerate(part.labels.tolist()):
                members.setdefault(label, []).append(position)
            for group in members.values():
                positions += stream.sample(group, count) if len(group) >= count else group
        draws.append(torch.tensor(positions, dtype=torch.int64))
    return draws[0], draws[1]


def read_shots(path: Path, keys: Sequence[str], where: str) -> Tensor:
    """Read the support images from a JSON list of file names or positions.

    Args:
        path: The file.
        keys: Keys of the images to draw from.
        where: Their description, for messages.

    Returns:
        Positions, sorted: the order of the file does not matter.

    Raises:
        ShotsError: If the file has another form, is empty, or names an image twice or an unknown
            one.
    """
    try:
        items = read_json(path)
    except (OSError, ValueError) as error:
        raise ShotsError(f"--shots-file {path} cannot be read: {error}.") from error
    if not isinstance(items, list) or not items:
        raise ShotsError(f"--shots-file {path} is not a JSON list of images.")
    places = {key: position for position, key in enumerate(keys)}
    positions = []
    for item in items:
        is_position = isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(keys)
        position = item if is_position else places.get(item) if isinstance(item, str) else None
        if position is None:
            raise ShotsError(
                f"--shots-file {path}: {item!r} is no image of {where}, which has {len(keys)}."
            )
        positions.append(position)
    if len(set(positions)) < len(positions):
        twice = next(items[i] for i, p in enumerate(positions) if p in positions[:i])
        raise ShotsError(f"--shots-file {path} names {twice!r} twice.")
    return torch.tensor(sorted(positions), dtype=torch.int64)
