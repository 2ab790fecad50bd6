"""SuS-LC: a support set retrieved for class names from a pool, a backend, or a folder of images."""

from __future__ import annotations

import io
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.duplicates import Seen, look
from susx_bench.records.paths import read_bytes
from susx_bench.support.folder import SupportFolder
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.recipe import Recipe

COPY_OF_TEST = "copy of a test image"
COPY_IN_SET = "copy in the set"
TAKEN = "taken by another class"
UNREADABLE = "unreadable"

SPARE = 4
"""Candidates per wanted image: some will be gone, or copies."""

Search = Literal["exact", "ivf"]


class Candidate(NamedTuple):
    """A candidate image for a class.

    Attributes:
        prompt: The prompt that found it.
        source: Key in the pool, or URL.
        score: Cosine with the prompt, or the backend's similarity; None without one.
    """

    prompt: str
    source: str
    score: float | None


Candidates = Sequence[Sequence[Candidate]]
"""The candidates of each class."""


class Content(NamedTuple):
    """An image file, or the reason why there is none."""

    content: bytes | None
    fate: str


Track = Callable[[str, float, str], AbstractContextManager[Callable[[float], None]]]
"""Shows progress: takes a title, a total and a unit, and yields the function to call per step."""


class Origin(ABC):
    """A source of candidates and their images.

    Attributes:
        facts: Its part of the recipe, by the names of `Retrieval`.
        remark: A remark on content that is not used; empty if all is.
        unreadable: Images that cannot be read; known after `candidates`.
    """

    facts: dict[str, str]
    remark: str = ""
    unreadable: Sequence[str] = ()

    def check(self) -> None:  # noqa: B027 - most are here
        """Raise if it is not available; called before a set is begun or discarded."""

    @abstractmethod
    def candidates(self, recipe: Recipe, folder: SupportFolder, track: Track) -> Candidates:
        """Candidates of each class, the best first, without repetition.

        Args:
            recipe: The recipe.
            folder: Folder of the set, which keeps answers for an interrupted build.
            track: Shows progress.
        """

    @abstractmethod
    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        """The files of some candidates, in their order."""


def by_turns(lists: Iterable[Sequence[Candidate]]) -> list[Candidate]:
    """Merge the candidates of several prompts of a class: the first of each, then the second, etc.

    An image that several prompts found keeps its first place, and the prompt of that place.

    Args:
        lists: The candidates of each prompt, the best first.
    """
    best: dict[str, Candidate] = {}
    for several in itertools.zip_longest(*lists):
        for one in several:
            if one is not None:
                best.setdefault(one.source, one)
    return list(best.values())


def depth(per_class: int, prompts: int) -> int:
    """Number of candidates to request with each prompt of a class."""
    return math.ceil(SPARE * per_class / prompts)


def nearest(
    features: NDArray[np.float32], queries: NDArray[np.float32], k: int, search: Search
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k rows with the largest inner product with each query.

    Args:
        features: Unit rows ``(P, D)``.
        queries: Unit rows ``(T, D)``.
        k: Number of rows per query; at most P are returned.
        search: ``exact``, or ``ivf``: an inverted file of about ``4 sqrt(P)`` lists, of which 1 in
            8 is searched, for pools of millions.

    Returns:
        Scores and rows, ``(T, min(k, P))`` each, best first; the first row if scores tie. An
        inverted file may find fewer: then the row is -1.
    """
    import faiss

    rows, width = features.shape
    if search == "exact":
        index: Any = faiss.IndexFlatIP(width)
    else:
        lists = max(
            1, min(int(4 * math.sqrt(rows)), rows // 39)
        )  # faiss recommends 39 rows per list
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = max(1, lists // 8)
        index.cp.min_points_per_centroid = 1  # else faiss warns of small pools on stderr
        index.train(features)
    index.add(features)
    scores, places = index.search(queries, min(k, rows))
    order = np.lexsort((places, -scores))
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)


class _Class:
    """The state of a class while its images are chosen."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = candidates
        self.tried = 0
        self.kept = 0


def settle(
    folder: SupportFolder,
    recipe: Recipe,
    candidates: Candidates,
    read: Callable[[Sequence[str]], Iterator[Content]],
    test: Seen,
    advance: Callable[[float], object],
) -> list[Row]:
    """Choose among the candidates, write the images, and record the fate of each.

    All classes are served in turn, one candidate at a time by rank, so an image of two classes goes
    to the one for which its rank is better. Copies of test images and of kept images are left out.
    Candidates that an earlier run settled are not read again.

    Args:
        folder: Folder of the set; its recipe is written.
        recipe: The recipe.
        candidates: The candidates of each class, the best first.
        read: Reads the files of some candidates, in their order.
        test: Descriptions of the test images.
        advance: Called with the number of images just kept.

    Returns:
        A row for each candidate that was tried.
    """
    classes = [_Class(of_class) for of_class in candidates]
    before = {(row.class_id, row.source): row for row in folder.progress() if folder.intact(row)}
    inside, taken = Seen(), set[str]()
    rows: list[Row] = []
    while wave := _wave(classes, recipe.per_class):
        new = [one.source for label, one in wave if (label, one.source) not in before]
        contents = read(new)
        for label, one in wave:
            row = before.get((label, one.source))
            if row is None:
                content = next(contents)
                row = _row(recipe, label, one, content.fate)
                if one.source in taken:
                    row = row.model_copy(update={"fate": TAKEN})
                elif content.content is not None:
                    place = classes[label].kept
                    row = _judged(folder, row, place, content.content, test, inside)
                folder.note([row])
            elif row.fate == KEPT:
                inside.add(row.file, look(decode(read_bytes(folder.path / row.file))))
            rows.append(row)
            if row.fate == KEPT:
                classes[label].kept += 1
                taken.add(one.source)
                advance(1)
    return rows


def _wave(classes: Sequence[_Class], per_class: int) -> list[tuple[int, Candidate]]:
    """The next candidates: as many as each class lacks, sorted by rank and then by class."""
    wave = []
    for label, one in enumerate(classes):
        first, one.tried = one.tried, min(one.tried + per_class - one.kept, len(one.candidates))
        wave += [(rank, label) for rank in range(first, one.tried)]
    return [(label, classes[label].candidates[rank]) for rank, label in sorted(wave)]


def _row(recipe: Recipe, label: int, candidate: Candidate, fate: str) -> Row:
    how = recipe.retrieval
    assert how is not None
    return Row(
        class_id=label,
        place=-1,
        prompt=candidate.prompt,
        source=candidate.source,
        fate=fate,
        score=candidate.score,
        model=how.encoder or how.search,
        revision=how.weights_sha256,
    )


def _judged(
    folder: SupportFolder, row: Row, place: int, content: bytes, test: Seen, inside: Seen
) -> Row:
    """The row of an image that was read; the image is written if it is kept."""
    try:
        image = decode(content)
    except BadImageError:
        return row.model_copy(update={"fate": UNREADABLE})
    seen = look(image)
    if of := test.copy_of(seen):
        return row.model_copy(update={"fate": COPY_OF_TEST, "of": of})
    if of := inside.copy_of(seen):
        return row.model_copy(update={"fate": COPY_IN_SET, "of": of})
    file, digest = folder.put(row.class_id, place, content, suffix_of(content))
    inside.add(file, seen)
    return row.model_copy(update={"fate": KEPT, "place": place, "file": file, "sha256": digest})


def suffix_of(content: bytes) -> str:
    """The ending for a file, by its content and not by a name."""
    with Image.open(io.BytesIO(content)) as image:
        return f".{str(image.format).lower()}"
