"""Origins of SuS-LC's candidates: a local pool, a clip-retrieval backend, a class folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.data.classes import match
from susx_bench.data.sources.tree import class_folders, image_files
from susx_bench.data.spec import DatasetSpec
from susx_bench.encoders.base import Encoder
from susx_bench.errors import DatasetError, SupportError
from susx_bench.features.launch import Launch
from susx_bench.features.rows import ImageRows, encode, encoder_recipe
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.records.files import sha256_json
from susx_bench.records.paths import read_bytes
from susx_bench.support.backend import Backend
from susx_bench.support.download import Limits, fetch
from susx_bench.support.folder import SupportFolder, append_sealed, sealed_lines
from susx_bench.support.pool import open_pool
from susx_bench.support.recipe import Recipe
from susx_bench.support.retrieve import (
    SPARE,
    UNREADABLE,
    Candidate,
    Candidates,
    Content,
    Origin,
    Search,
    Track,
    by_turns,
    depth,
    nearest,
)

LIMITS = Limits()
"""Limits of the download of a URL."""

FETCHED = "fetched"
PATIENCE = 60.0
"""Seconds to wait for a backend, which loads its index at the first query."""


class PoolOrigin(Origin):
    """A pool of images, searched by the features of an encoder.

    Args:
        place: ``FOLDER`` or ``hf:ORG/NAME[@REVISION]``.
        encoder: The encoder.
        search: The search, see `nearest`.
        launch: Where to encode.
    """

    def __init__(self, place: str, encoder: Encoder, search: Search, launch: Launch) -> None:
        self._pool = open_pool(place)
        self.remark = self._pool.remark
        self._encoder = encoder
        self._search: Search = search
        self._launch = launch
        self.facts = {
            "source": "pool",
            "place": self._pool.where,
            "content_sha256": sha256_json(self._pool.fingerprint),
            "encoder": encoder.name,
            "weights_sha256": encoder.sha256,
            "precision": encoder.precision,
            "search": search,
        }

    def check(self) -> None:
        for sample in self._pool.samples:
            try:
                self._pool.image(sample)
            except DatasetError:
                continue  # counted after encoding
            return
        self._none_can_be_read([sample.key for sample in self._pool.samples])

    def _none_can_be_read(self, keys: Sequence[str]) -> NoReturn:
        raise SupportError(
            f"--pool {self._pool.where}: none of its {len(keys)} images can be read, such as "
            f"{keys[0]}."
        )

    def candidates(self, recipe: Recipe, folder: SupportFolder, track: Track) -> Candidates:
        with track("encoding the pool", len(self._pool), "images") as advance:
            features = self._features(advance)
        keys = [sample.key for sample in self._pool.samples]
        readable = features.isfinite().all(-1)
        self.unreadable = [keys[i] for i in (~readable).nonzero().flatten().tolist()]
        keys = [keys[i] for i in readable.nonzero().flatten().tolist()]
        if not keys:
            self._none_can_be_read(self.unreadable)
        queries = torch.cat(self._encoder.towers.text_prompts(recipe.texts))
        # Prompts of a class find the same images. So each may find as many as all together need.
        scores, places = nearest(
            features[readable].contiguous().numpy(),
            queries.numpy(),
            SPARE * recipe.per_class,
            self._search,
        )
        rows = zip(scores, places, strict=True)
        by_class = []
        for texts in recipe.texts:
            lists = []
            for text in texts:
                hits = zip(*(values.tolist() for values in next(rows)), strict=True)
                lists.append([Candidate(text, keys[i], score) for score, i in hits if i >= 0])
            most = len(texts) * depth(recipe.per_class, len(texts))
            by_class.append(by_turns(lists)[:most])
        return by_class

    def _features(self, advance: Callable[[int], object]) -> Tensor:
        """Unit features of all images, ``(P, D)``, stored or encoded now."""
        store = FeatureStore(cache_url())
        work = ImageRows(self._pool, 1, encoder_recipe(self._encoder))
        stored = store.load(work.recipe, work.rows)
        rows = encode(work, stored, self._encoder, store, self._launch, advance)
        return F.normalize(rows, dim=-1)

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        return _files(sources, self._pool.read)


class BackendOrigin(Origin):
    """An index that a clip-retrieval backend serves, and the web behind its URLs.

    Args:
        url: Address of the backend.
        index: Name of its index.
    """

    def __init__(self, url: str, index: str) -> None:
        self.facts = {"source": "backend", "place": url, "search": index}

    @cached_property
    def _backend(self) -> Backend:
        return Backend(self.facts["place"], self.facts["search"], PATIENCE)

    def check(self) -> None:
        _ = self._backend  # checks that it answers

    def candidates(self, recipe: Recipe, folder: SupportFolder, track: Track) -> Candidates:
        backend = self._backend
        answers = {}
        if folder.answers.is_file():
            for line in sealed_lines(folder.answers):
                text, k, hits = json.loads(line)
                answers[text, k] = hits
        by_class = []
        with track("asking the backend", sum(map(len, recipe.texts)), "prompts") as advance:
            for texts in recipe.texts:
                k = depth(recipe.per_class, len(texts))
                lists = []
                for text in texts:
                    if (text, k) not in answers:
                        hits = [(hit.url, hit.similarity) for hit in backend.query(text, k)]
                        append_sealed(folder.answers, [[text, k, hits]])
                        answers[text, k] = hits
                    lists.append([Candidate(text, url, score) for url, score in answers[text, k]])
                    advance(1)
                by_class.append(by_turns(lists))
        return by_class

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        for download in fetch(sources, LIMITS, lambda: None):
            yield Content(download.content, download.fate.value)


class FolderOrigin(Origin):
    """Existing images, in one folder per class.

    Args:
        folder: The folder.
        spec: The facts of the dataset; its class names are matched with the folders.

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
        keys = [name for names in self._files for name in names]
        self.facts = {
            "source": "import",
            "place": str(folder),
            "content_sha256": sha256_json([[n, (folder / n).stat().st_size] for n in keys]),
        }

    def candidates(self, recipe: Recipe, folder: SupportFolder, track: Track) -> Candidates:
        return [[Candidate("", name, None) for name in names] for names in self._files]

    def read(self, sources: Sequence[str]) -> Iterator[Content]:
        return _files(sources, lambda name: read_bytes(self._folder / name))


def _files(sources: Sequence[str], read: Callable[[str], bytes]) -> Iterator[Content]:
    for source in sources:
        try:
            yield Content(read(source), FETCHED)
        except OSError:
            yield Content(None, UNREADABLE)
