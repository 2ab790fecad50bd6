"""Where SuS-LC's candidates come from: a pool here, a clip-retrieval backend, a folder of yours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from susx_bench.data.classes import match
from susx_bench.data.sources.folder import class_folders, image_files
from susx_bench.data.spec import DatasetSpec
from susx_bench.encoders.openclip import Encoder
from susx_bench.errors import SupportError
from susx_bench.features.encode import ImageList, encode, encoder_recipe
from susx_bench.features.predict import Launch
from susx_bench.features.store import FeatureStore
from susx_bench.records.files import append_lines, canonical_json, whole_lines
from susx_bench.support.backend import Backend
from susx_bench.support.download import Limits, fetch
from susx_bench.support.folder import Recipe
from susx_bench.support.pool import Pool
from susx_bench.support.retrieve import (
    UNREADABLE,
    Candidate,
    Content,
    Origin,
    Search,
    by_turns,
    depth,
    nearest,
)

FETCHED = "fetched"


class PoolOrigin(Origin):
    """A pool, seen through an encoder.

    Args:
        recipe: What is wanted.
        pool: The images.
        features: Theirs, ``(P, D)`` unit rows; NaN for what cannot be read.
        queries: Those of the prompts, ``(T_k, D)`` for each class.
    """

    def __init__(
        self, recipe: Recipe, pool: Pool, features: Tensor, queries: Sequence[Tensor]
    ) -> None:
        self._recipe = recipe
        self._pool = pool
        self._queries = queries
        readable = features.isfinite().all(-1)
        self._places = readable.nonzero().flatten().numpy()
        self._features = features[readable].contiguous().numpy()
        self.unreadable = [pool.samples[i].key for i in (~readable).nonzero().flatten().tolist()]

    def candidates(self) -> list[list[Candidate]]:
        recipe, how = self._recipe, self._recipe.retrieval
        assert how is not None
        search: Search = "ivf" if how.search == "ivf" else "exact"
        found = []
        most = max(depth(recipe.per_class, len(texts)) for texts in recipe.texts)
        scores, places = nearest(
            self._features, torch.cat(list(self._queries)).numpy(), most, search
        )
        row = 0
        for texts in recipe.texts:
            lists = []
            for text in texts:
                hits = zip(scores[row].tolist(), places[row].tolist(), strict=True)
                lists.append(
                    [
                        Candidate(text, self._pool.samples[self._places[place]].key, score)
                        for score, place in hits
                        if place >= 0
                    ][: depth(recipe.per_class, len(texts))]
                )
                row += 1
            found.append(by_turns(lists))
        return found

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        for source in sources:
            try:
                yield Content(self._pool.read(source), FETCHED)
            except OSError:
                yield Content(None, UNREADABLE)


def pool_features(
    pool: Pool,
    encoder: Encoder,
    store: FeatureStore,
    launch: Launch,
    advance: Callable[[int], object],
) -> Tensor:
    """Features of all images of a pool, ``(P, D)``, from the store or encoded now."""
    work = ImageList(pool, 1, encoder_recipe(encoder))
    found = store.load(work.recipe, work.rows)
    if any(shard is None for shard in found):
        return encode(work, found, encoder.towers, store, launch, advance)
    return torch.cat([shard for shard in found if shard is not None])


class BackendOrigin(Origin):
    """An index that a clip-retrieval backend serves, and the web behind its URLs.

    Args:
        recipe: What is wanted.
        backend: The backend.
        answers: File that its answers are kept in, so that an interrupted build goes on with the
            same ones.
        limits: For the downloads.
        asked: Told that a question was answered.
    """

    def __init__(
        self,
        recipe: Recipe,
        backend: Backend,
        answers: Path,
        limits: Limits,
        asked: Callable[[], object],
    ) -> None:
        self._limits = limits
        known = {}
        if answers.is_file():
            for line in whole_lines(answers):
                text, k, hits = json.loads(line)
                known[text, k] = hits
        self._candidates = []
        for texts in recipe.texts:
            k = depth(recipe.per_class, len(texts))
            lists = []
            for text in texts:
                if (text, k) not in known:
                    hits = [(hit.url, hit.similarity) for hit in backend.query(text, k)]
                    append_lines(answers, [canonical_json([text, k, hits])])
                    known[text, k] = hits
                asked()
                lists.append([Candidate(text, url, score) for url, score in known[text, k]])
            self._candidates.append(by_turns(lists))

    def candidates(self) -> list[list[Candidate]]:
        return self._candidates

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        for found in fetch(sources, self._limits, lambda: None):
            yield Content(found.content, found.fate.value)


class FolderOrigin(Origin):
    """Images somebody has already, in a folder a class.

    Args:
        folder: The folder.
        spec: The facts of the dataset, by whose class names the folders are matched.

    Raises:
        SupportError: If it has no class folders.
        DatasetError: If their names are not the dataset's.
    """

    def __init__(self, folder: Path, spec: DatasetSpec) -> None:
        self._folder = folder
        if not folder.is_dir() or not (classes := class_folders(folder)):
            raise SupportError(
                f"--import {folder}: it is no folder with a folder of images for each class."
            )
        labels = match([path.name for path in classes], spec, str(folder))
        self._files: list[list[str]] = [[] for _ in spec.classnames]
        for path, label in zip(classes, labels, strict=True):
            if label is not None:
                files = sorted(image_files(path))
                self._files[label] += [file.relative_to(folder).as_posix() for file in files]

    @property
    def fingerprint(self) -> list[list[object]]:
        """What it holds: names and sizes."""
        return [
            [name, (self._folder / name).stat().st_size] for names in self._files for name in names
        ]

    def candidates(self) -> list[list[Candidate]]:
        return [[Candidate("", name, None) for name in names] for names in self._files]

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        for source in sources:
            try:
                yield Content((self._folder / source).read_bytes(), FETCHED)
            except OSError:
                yield Content(None, UNREADABLE)
