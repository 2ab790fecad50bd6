"""Write a page of photographs and answers: one HTML file and thumbnails, nothing external."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample
from susx_bench.errors import DatasetError
from susx_bench.records.files import make_folder, sha256_json, unwritable, write_atomic
from susx_bench.webpage import assembled

INDEX, THUMBS = "index.html", "thumbs"
SIDE = 256
"""Pixels of the longer side of a thumbnail."""
_QUALITY = 80
_STATUS = {"predicted": 0, "unsure": 1, "given": 2}


@dataclass(frozen=True)
class Item:
    """A photograph on the page.

    Attributes:
        name: Its name.
        label: Its predicted class, or the given one.
        probability: Probability of that class; None if unknown.
        second: The next class; -1 for none.
        second_probability: Probability of the next class, or None.
        margin: By how much its score leads, which says how sure it is if no probability does.
        status: ``predicted``, ``unsure`` or ``given``.
        truth: Its label in a benchmark; -1 if it has none, or is of an unknown class.
        path: The file to link to.
    """

    name: str
    label: int
    probability: float | None = None
    second: int = -1
    second_probability: float | None = None
    margin: float | None = None
    status: str = "predicted"
    truth: int = -1
    path: Path | None = None


@dataclass(frozen=True)
class Gallery:
    """Content of the page.

    Attributes:
        title: Its heading.
        facts: Lines below it.
        classnames: Names of the classes.
        items: The photographs.
        reject: Probability below which they are unsure.
        again: The command that classifies again with the labels that the page saves; empty for a
            benchmark, which shows photographs only.
    """

    title: str
    facts: Sequence[str]
    classnames: Sequence[str]
    items: Sequence[Item]
    reject: float = 0.0
    again: str = ""


def write_page(
    gallery: Gallery,
    images: Images,
    samples: Sequence[Sample],
    folder: Path,
    advance: Callable[[int], object] = lambda _: None,
) -> Path:
    """Write the page and the missing thumbnails.

    Args:
        gallery: What to show.
        images: Reads the photographs.
        samples: The photograph of each item.
        folder: The folder of the page.
        advance: Called with the number of thumbnails just made or reused.

    Returns:
        The page.

    Raises:
        OutputError: If the folder cannot be written.
    """
    thumbs = thumbnails(images, samples, folder, advance)
    path = folder / INDEX
    write_atomic(path, page(gallery, thumbs, folder))
    return path


def page(gallery: Gallery, thumbs: Sequence[str], folder: Path) -> bytes:
    """The page as HTML.

    Args:
        gallery: What to show.
        thumbs: Path of each item's thumbnail, relative to the page; empty if it has none.
        folder: The folder of the page, to which links are relative.
    """
    rows = [
        [
            item.name, thumb, item.label, _rounded(item.probability), item.second,
            _rounded(item.second_probability), _STATUS[item.status], item.truth,
            _link(item.path, folder), _rounded(item.margin),
        ]
        for item, thumb in zip(gallery.items, thumbs, strict=True)
    ]  # fmt: skip
    content: dict[str, Any] = {
        "title": gallery.title,
        "facts": list(gallery.facts),
        "classes": list(gallery.classnames),
        "reject": gallery.reject,
        "again": gallery.again,
        "truth": not gallery.again,
        # The browser stores the user's marks under a hash of these photographs and classes.
        "id": sha256_json([list(gallery.classnames), [item.name for item in gallery.items]])[:16],
        "items": rows,
    }
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return assembled("susx_bench.photos.page", ["page.js"], data, title=gallery.title)


def thumbnails(
    images: Images,
    samples: Sequence[Sample],
    folder: Path,
    advance: Callable[[int], object] = lambda _: None,
) -> list[str]:
    """Make the missing thumbnails, as small JPEGs; remove those that no photograph uses.

    A thumbnail's name follows from the photograph's name and the state of its file, so that a
    photograph that was changed gets a new one.

    Returns:
        The path of each, relative to the folder; empty for a photograph that cannot be read.
    """
    digests = [
        sha256_json([images.name, sample.key, images.state([sample]), SIDE]) for sample in samples
    ]
    names = [f"{THUMBS}/{digest[:2]}/{digest[2:18]}.jpg" for digest in digests]
    for name in sorted({name.rpartition("/")[0] for name in names}):
        make_folder(folder / name)

    def one(work: tuple[Sample, str]) -> str:
        sample, name = work
        path = folder / name
        if not path.is_file():
            try:
                content = _small(images, sample)
            except DatasetError:
                return ""
            temporary = path.with_suffix(f".{uuid.uuid4().hex}.unfinished")
            try:
                temporary.write_bytes(content)
                temporary.replace(path)
            except OSError as error:
                raise unwritable(path, error) from error
        return name

    paths = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        for name in pool.map(one, zip(samples, names, strict=True)):
            paths.append(name)
            advance(1)
    kept = set(names)
    for path in (folder / THUMBS).glob("*/*"):
        if path.relative_to(folder).as_posix() not in kept:
            path.unlink(missing_ok=True)
    return paths


def _small(images: Images, sample: Sample) -> bytes:
    image = images.image(sample)
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _rounded(value: float | None) -> float | None:
    """A number of four digits; None if it is none or not finite, which JSON has no word for."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _link(path: Path | None, folder: Path) -> str:
    if path is None:
        return ""
    try:
        relative = os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:  # on another drive
        return ""
    return quote(Path(relative).as_posix())
