"""Hashes of the content of images: computed once, and again when a file changes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.decode import DECODING
from susx_bench.data.images import Images
from susx_bench.data.leaks import Place, copies, pixels
from susx_bench.data.sources.base import Sample
from susx_bench.errors import DatasetError
from susx_bench.features.store import FeatureStore
from susx_bench.records.files import sha256_bytes, sha256_json
from susx_bench.records.reading import cores

_THREADS = min(32, cores() + 4)  # they wait for files more than for a core


class Contents:
    """Hashes of the content of lists of images, for the images of one dataset.

    Reading all images of a list takes a while, so its hash is kept in the store under the state of
    its files (size and time of change). A file that is replaced by another one of the same size and
    time is not noticed, unless `believe` is False.

    Args:
        store: Where hashes are kept.
        believe: Whether to use a kept hash whose files have not changed; else every image is read.
    """

    def __init__(self, store: FeatureStore, *, believe: bool = True) -> None:
        self._store = store
        self._believe = believe
        self._known: dict[str, dict[str, str]] = {}  # by the name of the list, and the image's key

    def sha256(self, images: Images) -> str:
        """Hash of a list of images: where from, keys, labels, order, and every image's content.

        Raises:
            DatasetError: If a file cannot be read. An image that cannot be decoded is no error.
        """
        key = sha256_json([images.sha256, images.state(images.samples), DECODING])
        if images.pinned:
            return key
        kept = self._store.note(key) if self._believe else None
        if isinstance(kept, str):
            return kept
        content = sha256_json([images.sha256, self._each(images), DECODING])
        self._store.keep_note(key, content)
        return content

    def copies(self, splits: Sequence[DatasetSplit]) -> list[list[Place]]:
        """Groups of places that hold one image, see `susx_bench.data.leaks.copies`.

        They are searched for once, and again when a file changes.
        """
        states = [[images.sha256, images.state(images.samples)] for images in splits]
        key = sha256_json(["same pixels", DECODING, *states])
        if self._believe and (kept := self._store.note(key)) is not None:
            return [[Place(*place) for place in group] for group in kept]
        groups = copies(splits)
        self._store.keep_note(key, groups)
        return groups

    def pixels(self, images: Images) -> list[str]:
        """For each sample a hash that copies of an image share.

        `susx_bench.data.leaks.pixels` computes them once, and again when a file changes.
        """
        key = sha256_json(["pixels", images.sha256, images.state(images.samples), DECODING])
        kept = self._store.note(key) if self._believe else None
        if kept is None:
            kept = pixels(images)
            self._store.keep_note(key, kept)
        return [str(digest) for digest in kept]

    def _each(self, images: Images) -> list[str]:
        """Hash of each image of a list; other lists may hold some of them.

        Files are read and hashed outside the lock of Python. Every thread takes the next image, so
        that images of one file are read together. A future for each would take longer than a small
        image does.
        """
        samples = images.samples
        known = self._known.setdefault(images.name, {})
        places = iter(range(len(samples)))

        def hash_some() -> None:
            for place in places:
                sample = samples[place]
                if sample.key not in known:
                    known[sample.key] = _content(images, sample)

        with ThreadPoolExecutor(_THREADS) as pool:
            for done in [pool.submit(hash_some) for _ in range(_THREADS)]:
                done.result()
        return [known[sample.key] for sample in samples]


def _content(images: Images, sample: Sample) -> str:
    try:
        return sha256_bytes(images.content(sample))
    except OSError as error:
        raise DatasetError(f"{images.name}: image {sample.key} cannot be read: {error}.") from error
