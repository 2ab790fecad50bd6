"""Make a feature bundle from the files of another program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from susx_bench.data.classes import squash
from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.convert.layouts import (
    BACKBONES,
    EXTRAS,
    FEATURES,
    LABELS,
    PARTS,
    Chosen,
    choose,
    made_of,
)
from susx_bench.features.convert.mend import (
    ImportNotes,
    Layout,
    agreement,
    labels,
    numbered,
    orient,
    unit_rows,
)
from susx_bench.features.convert.read import SUFFIXES, Array, read_arrays
from susx_bench.features.leaks import shared_rows
from susx_bench.records.files import canonical_json, write_atomic
from susx_bench.records.paths import read_bytes
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


@dataclass(frozen=True)
class Imported:
    """Tensors and metadata of a bundle, and what to tell the user about them.

    Attributes:
        tensors: By name.
        meta: Metadata of the bundle.
        lines: What was read and repaired, one line per part.
        doubts: Warnings to check before a number is believed, one line each.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    lines: list[str]
    doubts: list[str]


@dataclass
class _Collected:
    """Arrays by part, the places they were read from, and the metadata beside them."""

    arrays: dict[str, Array] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    chosen: Chosen = field(default_factory=Chosen)
    classnames: list[str] | None = None

    def add(self, part: str, place: str, array: Array) -> None:
        self.arrays[part] = array
        self.places[part] = place


def read(request: Request) -> Imported:
    """Read the files, recognise the parts and repair their layout.

    Raises:
        BundleError: If a part is missing, ambiguous or cannot be read.
    """
    collected = _Collected()
    if request.source is not None:
        _from_source(request, request.source, collected)
    for part, spec in request.parts.items():
        _by_hand(part, spec, collected)
    if request.classnames is not None:
        collected.classnames = _names(request.classnames)
    if request.no_text and "text" in collected.arrays:
        raise BundleError(
            f"--no-text: {collected.places['text']} holds features of the class names. "
            "Leave one out."
        )
    if ("text" not in collected.arrays and not request.no_text) or "test" not in collected.arrays:
        raise BundleError(_missing(request, collected))
    return _mended(request, collected)


def write(imported: Imported, out: Path, *, force: bool = False) -> bool:
    """Write the bundle.

    Returns:
        False if the file exists with the same content.

    Raises:
        BundleError: If the file exists with other content and `force` is false, or the content is
            no bundle.
        OutputError: If it cannot be written.
    """
    content = as_bundle(imported.tensors, imported.meta)
    if out.exists():
        try:
            same = read_bytes(out) == content
        except OSError as error:
            raise BundleError(f"{out} cannot be read: {error.strerror}.") from error
        if same:
            return False
        if not force:
            raise BundleError(f"{out} is there with other content. Give another --out, or --force.")

    def check(path: Path) -> None:
        try:
            BundleTask(path)
        except BundleError as error:
            raise BundleError(f"{error}".replace(str(path), str(out))) from error

    write_atomic(out, content, check)
    return True


def as_bundle(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """The bytes of a feature bundle."""
    return save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        metadata={"bundle": canonical_json(dict(meta))},
    )


def _from_source(request: Request, source: Path, collected: _Collected) -> None:
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
    return meta, None if names is None else _names(names)


def _names(path: Path) -> list[str]:
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


def _by_hand(part: str, spec: str, collected: _Collected) -> None:
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


def _retrieved(part: str, folder: Path, collected: _Collected) -> None:
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


def _of_folders(collected: _Collected, notes: ImportNotes) -> None:
    """Label the test images by their folders, if every folder has the name of a class."""
    paths = collected.arrays.pop("image_path", None)
    if (
        not isinstance(paths, list)
        or collected.classnames is None
        or "test_labels" in collected.arrays
    ):
        return
    known = {squash(name) for name in collected.classnames}
    folders = [Path(path.replace("\\", "/")).parent.name for path in paths]
    if all(squash(folder) in known for folder in folders):
        collected.arrays["test_labels"] = folders
        notes.places["test_labels"] = "the folders of image_path"


def _missing(request: Request, collected: _Collected) -> str:
    part = "test" if "text" in collected.arrays or request.no_text else "text"
    where = f"{request.source}: " if request.source is not None else ""
    lack = {
        "text": "no features of the class names, as in text_weights.pt. Tip-Adapter keeps none: "
        "encode the prompts and give --text FILE, or --no-text for an encoder that reads none",
        "test": "no features of test images, as in test_f.pt. Give --test FILE",
    }[part]
    has = ", ".join(collected.places.values())
    return f"{where}{lack}." + (f" It has: {has[:300]}." if has else "")


def _mended(request: Request, collected: _Collected) -> Imported:
    notes = ImportNotes(dict(collected.places))
    _of_folders(collected, notes)
    meta = dict(collected.meta)
    if collected.classnames is not None:
        meta["classnames"] = collected.classnames
    names = meta.get("classnames")
    names = names if isinstance(names, list) and all(isinstance(n, str) for n in names) else None
    arrays, shapes = collected.arrays, {p: _shape(a) for p, a in collected.arrays.items()}
    if unpaired := next((p for p in LABELS.values() if p in arrays and _of(p) not in arrays), None):
        raise BundleError(
            f"{notes.name(unpaired)}: there are no features for them. Give --{_of(unpaired)} FILE."
        )
    if bare := next((p for p in ("support", "val") if p in arrays and LABELS[p] not in arrays), ""):
        raise BundleError(
            f"{notes.name(bare)}: there are no labels for them. Give --{bare}-labels FILE."
        )
    labels_by_part = {
        part: labels(part, arrays[part], names, request.layout, notes)
        for part in LABELS.values()
        if part in arrays
    }
    raw: dict[str, Tensor] = {}
    for part in FEATURES:
        array = arrays.get(part)
        if isinstance(array, list):
            raise BundleError(f"{notes.name(part)} holds names, and features are floats.")
        if array is not None:
            raw[part] = array
    rows = orient(raw, labels_by_part, None if names is None else len(names), request.layout, notes)
    tensors = {part: unit_rows(part, array, notes) for part, array in rows.items()}
    if "text" in tensors:
        classes = len(tensors["text"])
    else:
        classes = _classes_without_text(labels_by_part, names, notes)
    tensors |= numbered(labels_by_part, classes, notes)
    for part in EXTRAS:
        array = arrays.get(part)
        if isinstance(array, Tensor):
            tensors[part] = array
    meta |= _metadata(request, collected, notes)
    doubts = _doubts(tensors, meta)
    return Imported(tensors, meta, _lines(collected, notes, shapes), doubts)


def _classes_without_text(
    labels_by_part: Mapping[str, Tensor], names: Sequence[str] | None, notes: ImportNotes
) -> int:
    """Count the classes by their names, else by the labels of the support.

    Raises:
        BundleError: If the source has neither.
    """
    if names is not None:
        return len(names)
    support_labels = labels_by_part.get("support_labels")
    if support_labels is None:
        raise BundleError(
            "without text, class names or labels of the support say how many classes there are. "
            "Give --classnames FILE with one name a line, or --support-labels FILE."
        )
    least = min(int(part_labels.min()) for part_labels in labels_by_part.values())
    classes = int(support_labels.max()) + 1 - (least == 1)  # labels may be numbered from 1
    notes.lines.append(f"classes: {classes}, as many as the labels of the support have")
    return classes


def _of(part: str) -> str:
    return part.removesuffix("_labels")


def _shape(array: Array) -> str:
    if isinstance(array, list):
        return f"{len(array)} names"
    return f"{str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}"


def _metadata(request: Request, collected: _Collected, notes: ImportNotes) -> dict[str, Any]:
    """Dataset, encoder and logit scale: from the user, else from metadata, else from file names."""
    metadata: dict[str, Any] = {}
    for name, by_hand, by_name, usual in (
        ("dataset", request.dataset, collected.chosen.dataset, _folder_name(request)),
        ("encoder", request.encoder, BACKBONES.get(collected.chosen.encoder, ""), "unknown"),
    ):
        metadata[name] = by_hand or collected.meta.get(name) or by_name or usual
    place = collected.places.get("support", "").rpartition(":")[2]
    origin = request.support_from or collected.meta.get("support_from") or made_of(place)
    if origin and "support" in collected.arrays:
        metadata["support_from"] = origin
    metadata["logit_scale"] = request.logit_scale or collected.meta.get("logit_scale") or 100.0
    if metadata["encoder"] == "unknown":
        notes.lines.append("encoder: nothing says which; give --encoder MODEL:TAG")
    return metadata


def _folder_name(request: Request) -> str:
    source = request.source
    if source is None:
        return "imported"
    return source.resolve().name if source.is_dir() else source.stem


def _lines(collected: _Collected, notes: ImportNotes, shapes: Mapping[str, str]) -> list[str]:
    lines = []
    if collected.chosen.convention:
        lines.append(f"layout: {collected.chosen.convention}")
    for part in (*PARTS, *EXTRAS):
        if part in notes.places:
            shape = f" {shapes[part]}" if part in shapes else ""
            mended = "; ".join(notes.mended.get(part, ["as it is"]))
            lines.append(f"{part}: {notes.places[part]}{shape}; {mended}")
    if collected.chosen.unread:
        lines.append(f"left alone: {', '.join(collected.chosen.unread)}")
    return lines + notes.lines


def _doubts(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> list[str]:
    doubts = [
        f"check: {shared}; {'`run` refuses that' if shared.is_leak else 'they stay'}"
        for shared in shared_rows(tensors)
    ]
    checked = agreement(tensors)
    if checked is None:
        return doubts
    part, right, chance = checked
    line = (
        f"check: {right:.1f} % of the {part} images are nearest to the text of their class, chance "
        f"is {chance:.1f} %"
    )
    if right < 2 * chance:
        line += "; are text and labels in one order of classes, and of one encoder?"
    return [*doubts, line]
