"""Few-shot draws: S images a class, the same ones for everybody."""

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
    """What is drawn from.

    Attributes:
        labels: ``(P,)`` in ``[0, K)``.
        classnames: The K names, for messages.
        where: What it is, for messages.
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
        """A permutation of each class, for every seed that was drawn with."""
        return {}


def draw(pool: Pool, shots: int, seed: int, option: str = "--shots") -> Tensor:
    """Draw the same number of images from every class.

    One permutation a class, seeded once, of which the first `shots` are taken: balanced, and for
    one seed a draw of S images holds every smaller draw.

    Args:
        pool: What to draw from.
        shots: Images a class S, at least 1.
        seed: Which draw.
        option: What asked for the shots, for messages.

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
    """The class with the fewest images, the first of several, and how many these are."""
    label = min(range(len(pool.sizes)), key=pool.sizes.__getitem__)
    return label, pool.sizes[label]


def draw_in_parts(pool: Pool, shots: int, seed: int) -> list[Tensor]:
    """What `draw` takes, in lists that do not depend on the shots.

    The 1st image of each class, the 2nd, the 3rd and 4th, the 5th to 8th ... Images are encoded a
    list at a time, so features made for 16 shots serve 4 shots, and the other way round, to the
    last bit.

    Returns:
        Positions in the pool, one tensor a list; together they hold what `draw` gives.
    """
    orders = _orders(pool, seed)
    found, taken, wide = [], 0, 1
    while taken < shots:
        found.append(torch.cat([order[taken : taken + wide] for order in orders]))
        taken, wide = taken + wide, max(1, taken + wide)
    return found


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
    images gives all it has. Draws of different shots are not nested.

    Args:
        pool: The train split, in its published order.
        shots: Images a class.
        seed: CoOp's ``SEED``.
        val: The val split.

    Returns:
        Positions in the train and in the val split, in the order drawn.

    Source:
        Zhou et al., *Learning to Prompt for Vision-Language Models*, IJCV 2022; the public
        ``datasets/dtd.py`` and Dassl's ``generate_fewshot_dataset``.
    """
    stream = random.Random(seed)
    found = []
    for part, each in ((pool, shots), (val, min(shots, 4))):
        positions: list[int] = []
        if part is not None:
            members: dict[int, list[int]] = {}
            for position, label in enumerate(part.labels.tolist()):
                members.setdefault(label, []).append(position)
            for group in members.values():
                positions += stream.sample(group, each) if len(group) >= each else group
        found.append(torch.tensor(positions, dtype=torch.int64))
    return found[0], found[1]


def read_shots(path: Path, keys: Sequence[str], where: str) -> Tensor:
    """Read which images are the support: a JSON list of file names, or of positions.

    Args:
        path: The file.
        keys: Keys of the images to draw from.
        where: What they are, for messages.

    Returns:
        Positions, sorted: the order of the file changes nothing.

    Raises:
        ShotsError: If the file is of another form, is empty, or names an image twice or one
            that is not there.
    """
    try:
        given = read_json(path)
    except (OSError, ValueError) as error:
        raise ShotsError(f"--shots-file {path} cannot be read: {error}.") from error
    if not isinstance(given, list) or not given:
        raise ShotsError(f"--shots-file {path} is not a JSON list of images.")
    places = {key: position for position, key in enumerate(keys)}
    positions = []
    for item in given:
        known = isinstance(item, int) and not isinstance(item, bool) and 0 <= item < len(keys)
        position = item if known else places.get(item) if isinstance(item, str) else None
        if position is None:
            raise ShotsError(
                f"--shots-file {path}: {item!r} is no image of {where}, which has {len(keys)}."
            )
        positions.append(position)
    if len(set(positions)) < len(positions):
        twice = next(given[i] for i, p in enumerate(positions) if p in positions[:i])
        raise ShotsError(f"--shots-file {path} names {twice!r} twice.")
    return torch.tensor(sorted(positions), dtype=torch.int64)
