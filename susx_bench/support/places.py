"""The images of a generated support set, and those that are still to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from susx_bench.records.files import sha256_json
from susx_bench.support.folder import SupportFolder
from susx_bench.support.manifest import Row
from susx_bench.support.recipe import Recipe

BLOCK = 8
"""Images drawn together. It is fixed: with another batch shape some pixels differ by one level."""

_SEED_BYTES = 7  # a generator accepts 63 bits


class Place(NamedTuple):
    """One image to be drawn.

    Attributes:
        class_id: Its class.
        number: Its number within the class.
    """

    class_id: int
    number: int


def prompt_of(recipe: Recipe, place: Place) -> str:
    """The prompt of an image: a class's prompts take turns."""
    texts = recipe.texts[place.class_id]
    return texts[place.number % len(texts)]


def seed_of(recipe: Recipe, place: Place, attempt: int) -> int:
    """The seed of an image's own generator, in ``[0, 2**56)``."""
    name = recipe.classnames[place.class_id]
    values = [recipe.seed, recipe.dataset, name, prompt_of(recipe, place), place.number, attempt]
    return seed_from(values)


def seed_from(values: Sequence[Any]) -> int:
    """A seed in ``[0, 2**56)``, from a hash of JSON values."""
    return int(sha256_json(values)[: 2 * _SEED_BYTES], 16)


def place_at(position: int, recipe: Recipe) -> Place:
    """The image at a position in the list of all images.

    The list has the first image of every class, then the second of every class, and so on. So more
    images per class extend the list.
    """
    number, class_id = divmod(position, len(recipe.classnames))
    return Place(class_id, number)


def wanted(recipe: Recipe) -> int:
    """Number of images of the whole set."""
    return len(recipe.classnames) * recipe.per_class


def _done(folder: SupportFolder, recipe: Recipe) -> dict[int, Row]:
    """Rows of images that are drawn, by position."""
    classes = len(recipe.classnames)
    rows = [row for row in folder.done() if folder.intact(row)]
    by_position = {row.place * classes + row.class_id: row for row in rows}
    return {position: row for position, row in by_position.items() if position < wanted(recipe)}


def finish(folder: SupportFolder, recipe: Recipe) -> None:
    """Write the manifest of a completely drawn set."""
    folder.finish(list(_done(folder, recipe).values()))


def missing_blocks(folder: SupportFolder, recipe: Recipe) -> list[int]:
    """Numbers of the incomplete blocks."""
    done = _done(folder, recipe)
    total = wanted(recipe)
    return [
        first // BLOCK
        for first in range(0, total, BLOCK)
        if any(position not in done for position in range(first, min(first + BLOCK, total)))
    ]
