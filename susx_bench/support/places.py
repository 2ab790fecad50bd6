"""Which images a generated support set has, and which of them are still to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from susx_bench.records.files import sha256_json
from susx_bench.support.folder import SupportFolder
from susx_bench.support.manifest import Row
from susx_bench.support.recipe import Recipe

BLOCK = 8
"""Images drawn together, always: at another batch shape some pixels differ by one level."""

_SEED_BYTES = 7  # a generator takes 63 bits


class Place(NamedTuple):
    """One image to be drawn.

    Attributes:
        class_id: Its class.
        number: Which of the images of the class.
    """

    class_id: int
    number: int


def prompt_of(recipe: Recipe, place: Place) -> str:
    """The prompt of an image: a class's prompts take turns."""
    texts = recipe.texts[place.class_id]
    return texts[place.number % len(texts)]


def seed_of(recipe: Recipe, place: Place, attempt: int) -> int:
    """The seed of an image's own generator, in ``[0, 2**56)``; nothing but these decides it."""
    name = recipe.classnames[place.class_id]
    what = [recipe.seed, recipe.dataset, name, prompt_of(recipe, place), place.number, attempt]
    return seed_from(what)


def seed_from(what: Sequence[Any]) -> int:
    """A seed in ``[0, 2**56)`` that JSON values decide."""
    return int(sha256_json(what)[: 2 * _SEED_BYTES], 16)


def place_at(position: int, recipe: Recipe) -> Place:
    """Which image comes where in the list of all.

    The first of every class, then the second of every class: more images a class are more of the
    same list.
    """
    number, class_id = divmod(position, len(recipe.classnames))
    return Place(class_id, number)


def wanted(recipe: Recipe) -> int:
    """Number of images of the whole set."""
    return len(recipe.classnames) * recipe.per_class


def _done(folder: SupportFolder, recipe: Recipe) -> dict[int, Row]:
    """Rows of what is drawn, by position."""
    classes = len(recipe.classnames)
    rows = [row for row in folder.done() if folder.intact(row)]
    found = {row.place * classes + row.class_id: row for row in rows}
    return {position: row for position, row in found.items() if position < wanted(recipe)}


def finish(folder: SupportFolder, recipe: Recipe) -> None:
    """Write the manifest of what is all drawn."""
    folder.finish(list(_done(folder, recipe).values()))


def missing_blocks(folder: SupportFolder, recipe: Recipe) -> list[int]:
    """Blocks of which not every image is drawn yet."""
    done = _done(folder, recipe)
    total = wanted(recipe)
    return [
        first // BLOCK
        for first in range(0, total, BLOCK)
        if any(position not in done for position in range(first, min(first + BLOCK, total)))
    ]
