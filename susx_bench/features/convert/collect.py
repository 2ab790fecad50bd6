"""Collect arrays and metadata of a bundle's parts from the files of other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.convert.layouts import LABELS, Chosen, choose
from susx_bench.features.convert.mend import Layout
from susx_bench.features.convert.read import SUFFIXES, Array, read_arrays
from susx_bench.records.text import read_json, read_names

META = "bundle.json"
"""File of an exported folder that holds the metadata of a bundle."""
_NAMES = ("classnames.txt", "classes.txt", "class_names.txt")
_RETRIEVAL = {"text": "text_emb"}
"""Folder of clip-retrieval's files for a part; ``img_emb`` for all others."""
_LABEL_COLUMNS = ("label", "labels", "cls", "class", "target")
_SPLIT_COLUMN = "split"
_SPLITS = {"train": "support", "support": "support", "val": "val", "validation": "val"} | {
    "valid": "val",
    "test": "test",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``features import``.

    Attributes:
        source: A folder or a file whose names show the parts; None if the user gives every part.
        parts: ``FILE`` or ``FILE:NAME`` of each part that the user gives, by `PARTS`.
        layout: Whether an array lies by rows or by columns, by part.
        classnames: File of the class names, one per line.
        dataset: Name of the dataset.
        encoder: Name of the encoder.
        logit_scale: The encoder's factor on cosines.
        shots: The support set to take if there are several, by its images per class.
        support_from: What the support images are, see `susx_bench.Features`.
        no_text: Whether the encoder reads no text, so that none is looked for.
    """

    source: Path | None
    parts: Mapping[str, str] = field(default_factory=dict)
    layout: Mapping[str, Layout] = field(default_factory=dict)
    classnames: Path | None = None
    dataset: str | None = None
    encoder: str | None = None
    logit_scale: float | None = None
    shots: int | None = None
    support_from: str | None = None
    no_text: bool = False


@dataclass
class Collected:
    """Arrays by part, the places they were read from, and the metadata beside them."""

    arrays: dict[str, Array] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    chosen: Chosen = field(default_factory=Chosen)
    classnames: list[str] | None = None

    def add(self, part: str, place: str, array: Array) -> None:
        self.arrays[part] = array
        self.places[part] = place


def from_source(request: Request, source: Path, collected: Collected) -> None:
    """Read the parts that the names in a folder or a file show.

    Raises:
        BundleError: If it is missing or cannot be read, or its names do not say what is what.
    """
    if not source.exists():
        raise BundleError(f"{source}: there is no such file or folder.")
    if (source / "img_emb").is_dir():
        _retrieved("test", source, collected)
        return
    given_parts = tuple(request.parts)
    wanted = {"dataset": request.dataset or "", "encoder": request.encoder or ""}
    if source.is_dir():
        files = sorted(p.name for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise BundleError(
                f"{source} has no file that ends in {', '.join(SUFFIXES)}. Name the parts by hand: "
                "--text FILE --test FILE, and so on."
            )
        collected.chosen = choose(files, source, given=given_parts, shots=request.shots, **wanted)
        for part, name in collected.chosen.places.items():
            collected.add(part, name, _only(source / name))
        collected.meta, collected.classnames = _beside(source)
        return
    arrays, collected.meta = read_arrays(source)
    if _SPLIT_COLUMN in arrays and isinstance(arrays[_SPLIT_COLUMN], list):
        arrays = _by_split(source, arrays)
    names = arrays.pop("classnames", None)
    if isinstance(names, list):
        collected.classnames = names
    collected.meta |= _words(arrays)
    if list(arrays) == [""]:
        raise BundleError(
            f"{source} holds one array without a name. Say what it is: --text, --support or --test "
            f"{source}."
        )
    collected.chosen = choose(arrays, source, given=given_parts, shots=request.shots, **wanted)
    for part, name in collected.chosen.places.items():
        collected.add(part, f"{source.name}:{name}", arrays[name])


def _words(arrays: dict[str, Array]) -> dict[str, Any]:
    """Take the metadata out of the arrays of a file: single values under a name of metadata."""
    words: dict[str, Any] = {}
    for name in ("dataset", "encoder", "support_from"):
        value = arrays.get(name)
        if isinstance(value, list) and len(value) == 1:
            words[name] = value[0]
            del arrays[name]
    scale = arrays.get("logit_scale")
    if isinstance(scale, Tensor) and scale.numel() == 1:
        words["logit_scale"] = float(scale)
        del arrays["logit_scale"]
    return words


def _beside(folder: Path) -> tuple[dict[str, Any], list[str] | None]:
    """Metadata of a folder, and its class names."""
    meta: dict[str, Any] = {}
    if (folder / META).exists():
        try:
            content = read_json(folder / META)
        except (OSError, ValueError) as error:
            raise BundleError(f"{folder / META} cannot be read: {error}.") from error
        if not isinstance(content, dict):
            raise BundleError(f"{folder / META} is no JSON object.")
        meta = content
    names = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    return meta, None if names is None else class_names(names)


def class_names(path: Path) -> list[str]:
    """Class names of a file, one per line.

    Raises:
        BundleError: If it cannot be read, or has an empty line.
    """
    try:
        return read_names(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"class names: {path}: {error}.") from error


def _only(path: Path) -> Array:
    """The array of a file that holds exactly one."""
    arrays, _ = read_arrays(path)
    if len(arrays) != 1:
        names = ", ".join(sorted(arrays)) or "none"
        raise BundleError(
            f"{path} holds {len(arrays)} arrays ({names[:200]}). Say which: {path}:NAME."
        )
    return next(iter(arrays.values()))


def _by_split(source: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    """Divide the columns of a table by its column ``split``."""
    splits = arrays.pop(_SPLIT_COLUMN)
    parted: dict[str, Array] = {}
    for split in dict.fromkeys(splits if isinstance(splits, list) else ()):
        part = _SPLITS.get(split.lower())
        if part is None:
            raise BundleError(
                f"{source}: the column 'split' has '{split[:60]}', known are {', '.join(_SPLITS)}."
            )
        rows = [i for i, row_split in enumerate(splits) if row_split == split]
        for name, array in arrays.items():
            label = name in _LABEL_COLUMNS
            if not label and isinstance(array, list):
                continue
            values = [array[i] for i in rows] if isinstance(array, list) else array[rows]
            key = LABELS[part] if label else part
            if key in parted:
                raise BundleError(f"{source}: two of its columns may be '{key}'.")
            parted[key] = values
    return parted


def by_hand(part: str, spec: str, collected: Collected) -> None:
    """Read a part that the user names as ``FILE``, ``FILE:NAME``, or a folder of clip-retrieval."""
    path, _, name = spec.rpartition(":")
    if Path(spec).exists() or not path:
        path, name = spec, ""
    place = Path(path).expanduser()
    if place.is_dir():
        _retrieved(part, place, collected)
        return
    arrays, _ = read_arrays(place)
    if name:
        if name not in arrays:
            has = ", ".join(sorted(arrays)) or "none"
            raise BundleError(f"{place} has no array '{name}'. It has: {has[:200]}.")
        collected.add(part, spec, arrays[name])
    else:
        collected.add(part, place.name, _only(place))


def _retrieved(part: str, folder: Path, collected: Collected) -> None:
    """Read what ``clip-retrieval inference`` wrote: numbered arrays, and a table of the images."""
    kind = _RETRIEVAL.get(part, "img_emb")
    inner = folder / kind if (folder / kind).is_dir() else folder
    files = sorted(inner.glob("*.npy"), key=_number)
    if not files:
        raise BundleError(
            f"{folder} is a folder without {kind}/*.npy, which clip-retrieval writes. Give a file."
        )
    rows = []
    for path in files:
        array = _only(path)
        if isinstance(array, list) or array.ndim != 2:
            raise BundleError(f"{path} holds no rows of features.")
        rows.append(array)
    if len({array.shape[1] for array in rows}) > 1:
        raise BundleError(f"{inner}: its {len(files)} files have rows of several widths.")
    collected.add(part, f"{inner.name}, {len(files)} files", torch.cat(rows))
    tables = sorted((folder / "metadata").glob("*.parquet"), key=_number)
    if part == "text" or not tables or LABELS[part] in collected.arrays:
        return
    columns = [read_arrays(path)[0] for path in tables]
    for name in (*_LABEL_COLUMNS, "image_path"):
        if not all(name in each for each in columns):
            continue
        each = [c[name] for c in columns]
        names = [x for one in each for x in (one if isinstance(one, list) else one.tolist())]
        if name == "image_path":  # of class folders, if they are: see `_of_folders`
            collected.arrays["image_path"] = names
        else:
            array = names if isinstance(names[0], str) else torch.tensor(names)
            collected.add(LABELS[part], f"metadata:{name}", array)
        return


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1, path.name)
