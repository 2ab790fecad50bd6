"""A feature bundle made from what another program keeps."""

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
    Layout,
    Told,
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
"""What an exported folder says of itself, as the metadata of a bundle."""
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
    """What ``features import`` is asked for.

    Attributes:
        source: A folder or a file whose names say what is what; None where all is given by hand.
        parts: ``FILE`` or ``FILE:NAME`` of each part that is given by hand, by `PARTS`.
        layout: How an array lies, by part.
        classnames: File of the class names, one per line.
        dataset: Name of the dataset.
        encoder: Name of the encoder.
        logit_scale: The encoder's factor on cosines.
        shots: Which support set of several.
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
    """What was found, as a bundle holds it.

    Attributes:
        tensors: By name.
        meta: What the bundle says of itself.
        lines: What was found and what was mended, a line each.
        doubts: What should be looked at before a number is believed, a line each.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    lines: list[str]
    doubts: list[str]


@dataclass
class _Found:
    """Arrays by part, where they were found, and what was said beside them."""

    arrays: dict[str, Array] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    chosen: Chosen = field(default_factory=Chosen)
    classnames: list[str] | None = None

    def add(self, part: str, place: str, array: Array) -> None:
        self.arrays[part] = array
        self.places[part] = place


def read(request: Request) -> Imported:
    """Read, recognise and mend.

    Raises:
        BundleError: If a part is missing, cannot be read, or it is not clear what it is.
    """
    found = _Found()
    if request.source is not None:
        _from_source(request, request.source, found)
    for part, spec in request.parts.items():
        _by_hand(part, spec, found)
    if request.classnames is not None:
        found.classnames = _names(request.classnames)
    if request.no_text and "text" in found.arrays:
        raise BundleError(
            f"--no-text: {found.places['text']} holds features of the class names. Leave one out."
        )
    if ("text" not in found.arrays and not request.no_text) or "test" not in found.arrays:
        raise BundleError(_missing(request, found))
    return _mended(request, found)


def write(imported: Imported, out: Path, *, force: bool = False) -> bool:
    """Write the bundle.

    Returns:
        False where the file is there with the same content already.

    Raises:
        BundleError: If another file is there and `force` is false, or the content is no bundle.
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


def _from_source(request: Request, source: Path, found: _Found) -> None:
    if not source.exists():
        raise BundleError(f"{source}: there is no such file or folder.")
    if (source / "img_emb").is_dir():
        _retrieved("test", source, found)
        return
    given = tuple(request.parts)
    said = {"dataset": request.dataset or "", "encoder": request.encoder or ""}
    if source.is_dir():
        files = sorted(p.name for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise BundleError(
                f"{source} has no file that ends in {', '.join(SUFFIXES)}. Name the parts by hand: "
                "--text FILE --test FILE, and so on."
            )
        found.chosen = choose(files, source, given=given, shots=request.shots, **said)
        for part, name in found.chosen.places.items():
            found.add(part, name, _only(source / name))
        found.meta, found.classnames = _beside(source)
        return
    arrays, found.meta = read_arrays(source)
    if _SPLIT_COLUMN in arrays and isinstance(arrays[_SPLIT_COLUMN], list):
        arrays = _by_split(source, arrays)
    names = arrays.pop("classnames", None)
    if isinstance(names, list):
        found.classnames = names
    found.meta |= _words(arrays)
    if list(arrays) == [""]:
        raise BundleError(
            f"{source} holds one array without a name. Say what it is: --text, --support or --test "
            f"{source}."
        )
    found.chosen = choose(arrays, source, given=given, shots=request.shots, **said)
    for part, name in found.chosen.places.items():
        found.add(part, f"{source.name}:{name}", arrays[name])


def _words(arrays: dict[str, Array]) -> dict[str, Any]:
    """Take the single values that say what a bundle's metadata says, of a file without any."""
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
    """What a folder says of itself, and its class names."""
    meta: dict[str, Any] = {}
    if (folder / META).exists():
        try:
            said = read_json(folder / META)
        except (OSError, ValueError) as error:
            raise BundleError(f"{folder / META} cannot be read: {error}.") from error
        if not isinstance(said, dict):
            raise BundleError(f"{folder / META} is no JSON object.")
        meta = said
    names = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    return meta, None if names is None else _names(names)


def _names(path: Path) -> list[str]:
    try:
        return read_names(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"class names: {path}: {error}.") from error


def _only(path: Path) -> Array:
    """The array of a file that holds one."""
    arrays, _ = read_arrays(path)
    if len(arrays) != 1:
        names = ", ".join(sorted(arrays)) or "none"
        raise BundleError(
            f"{path} holds {len(arrays)} arrays ({names[:200]}). Say which: {path}:NAME."
        )
    return next(iter(arrays.values()))


def _by_split(source: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    """The columns of a table, parted by its column of splits."""
    splits = arrays.pop(_SPLIT_COLUMN)
    parted: dict[str, Array] = {}
    for split in dict.fromkeys(splits if isinstance(splits, list) else ()):
        part = _SPLITS.get(split.lower())
        if part is None:
            raise BundleError(
                f"{source}: the column 'split' has '{split[:60]}', known are {', '.join(_SPLITS)}."
            )
        rows = [i for i, each in enumerate(splits) if each == split]
        for name, array in arrays.items():
            label = name in _LABEL_COLUMNS
            if not label and isinstance(array, list):
                continue
            own = [array[i] for i in rows] if isinstance(array, list) else array[rows]
            key = LABELS[part] if label else part
            if key in parted:
                raise BundleError(f"{source}: two of its columns may be '{key}'.")
            parted[key] = own
    return parted


def _by_hand(part: str, spec: str, found: _Found) -> None:
    """Read a part that the user names as ``FILE``, ``FILE:NAME``, or a folder of clip-retrieval."""
    path, _, name = spec.rpartition(":")
    if Path(spec).exists() or not path:
        path, name = spec, ""
    place = Path(path).expanduser()
    if place.is_dir():
        _retrieved(part, place, found)
        return
    arrays, _ = read_arrays(place)
    if name:
        if name not in arrays:
            has = ", ".join(sorted(arrays)) or "none"
            raise BundleError(f"{place} has no array '{name}'. It has: {has[:200]}.")
        found.add(part, spec, arrays[name])
    else:
        found.add(part, place.name, _only(place))


def _retrieved(part: str, folder: Path, found: _Found) -> None:
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
    found.add(part, f"{inner.name}, {len(files)} files", torch.cat(rows))
    tables = sorted((folder / "metadata").glob("*.parquet"), key=_number)
    if part == "text" or not tables or LABELS[part] in found.arrays:
        return
    columns = [read_arrays(path)[0] for path in tables]
    for name in (*_LABEL_COLUMNS, "image_path"):
        if not all(name in each for each in columns):
            continue
        each = [c[name] for c in columns]
        names = [x for one in each for x in (one if isinstance(one, list) else one.tolist())]
        if name == "image_path":  # of class folders, if they are: see `_of_folders`
            found.arrays["image_path"] = names
        else:
            array = names if isinstance(names[0], str) else torch.tensor(names)
            found.add(LABELS[part], f"metadata:{name}", array)
        return


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1, path.name)


def _of_folders(found: _Found, told: Told) -> None:
    """Take the folders of the images for their classes, where every one is called as a class."""
    paths = found.arrays.pop("image_path", None)
    if not isinstance(paths, list) or found.classnames is None or "test_labels" in found.arrays:
        return
    known = {squash(name) for name in found.classnames}
    folders = [Path(path.replace("\\", "/")).parent.name for path in paths]
    if all(squash(folder) in known for folder in folders):
        found.arrays["test_labels"] = folders
        told.places["test_labels"] = "the folders of image_path"


def _missing(request: Request, found: _Found) -> str:
    part = "test" if "text" in found.arrays or request.no_text else "text"
    where = f"{request.source}: " if request.source is not None else ""
    what = {
        "text": "no features of the class names, as in text_weights.pt. Tip-Adapter keeps none: "
        "encode the prompts and give --text FILE, or --no-text for an encoder that reads none",
        "test": "no features of test images, as in test_f.pt. Give --test FILE",
    }[part]
    has = ", ".join(found.places.values())
    return f"{where}{what}." + (f" It has: {has[:300]}." if has else "")


def _mended(request: Request, found: _Found) -> Imported:
    told = Told(dict(found.places))
    _of_folders(found, told)
    meta = dict(found.meta)
    if found.classnames is not None:
        meta["classnames"] = found.classnames
    names = meta.get("classnames")
    names = names if isinstance(names, list) and all(isinstance(n, str) for n in names) else None
    arrays, shapes = found.arrays, {p: _shape(a) for p, a in found.arrays.items()}
    if unpaired := next((p for p in LABELS.values() if p in arrays and _of(p) not in arrays), None):
        raise BundleError(
            f"{told.name(unpaired)}: there are no features for them. Give --{_of(unpaired)} FILE."
        )
    if bare := next((p for p in ("support", "val") if p in arrays and LABELS[p] not in arrays), ""):
        raise BundleError(
            f"{told.name(bare)}: there are no labels for them. Give --{bare}-labels FILE."
        )
    given = {
        part: labels(part, arrays[part], names, request.layout, told)
        for part in LABELS.values()
        if part in arrays
    }
    raw: dict[str, Tensor] = {}
    for part in FEATURES:
        array = arrays.get(part)
        if isinstance(array, list):
            raise BundleError(f"{told.name(part)} holds names, and features are floats.")
        if array is not None:
            raw[part] = array
    rows = orient(raw, given, None if names is None else len(names), request.layout, told)
    tensors = {part: unit_rows(part, array, told) for part, array in rows.items()}
    if "text" in tensors:
        classes = len(tensors["text"])
    else:
        classes = _classes_without_text(given, names, told)
    tensors |= numbered(given, classes, told)
    for part in EXTRAS:
        array = arrays.get(part)
        if isinstance(array, Tensor):
            tensors[part] = array
    meta |= _said(request, found, told)
    doubts = _doubts(tensors, meta)
    return Imported(tensors, meta, _lines(found, told, shapes), doubts)


def _classes_without_text(
    given: Mapping[str, Tensor], names: Sequence[str] | None, told: Told
) -> int:
    """How many classes there are, by their names, else by the labels of the support.

    Raises:
        BundleError: If neither is there.
    """
    if names is not None:
        return len(names)
    own = given.get("support_labels")
    if own is None:
        raise BundleError(
            "without text, class names or labels of the support say how many classes there are. "
            "Give --classnames FILE with one name a line, or --support-labels FILE."
        )
    least = min(int(each.min()) for each in given.values())
    classes = int(own.max()) + 1 - (least == 1)  # labels may be numbered from 1
    told.lines.append(f"classes: {classes}, as many as the labels of the support have")
    return classes


def _of(part: str) -> str:
    return part.removesuffix("_labels")


def _shape(array: Array) -> str:
    if isinstance(array, list):
        return f"{len(array)} names"
    return f"{str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}"


def _said(request: Request, found: _Found, told: Told) -> dict[str, Any]:
    """Dataset, encoder and logit scale: by hand, else by the files, else by the names of files."""
    said: dict[str, Any] = {}
    for name, by_hand, by_name, usual in (
        ("dataset", request.dataset, found.chosen.dataset, _folder_name(request)),
        ("encoder", request.encoder, BACKBONES.get(found.chosen.encoder, ""), "unknown"),
    ):
        said[name] = by_hand or found.meta.get(name) or by_name or usual
    place = found.places.get("support", "").rpartition(":")[2]
    origin = request.support_from or found.meta.get("support_from") or made_of(place)
    if origin and "support" in found.arrays:
        said["support_from"] = origin
    said["logit_scale"] = request.logit_scale or found.meta.get("logit_scale") or 100.0
    if said["encoder"] == "unknown":
        told.lines.append("encoder: nothing says which; give --encoder MODEL:TAG")
    return said


def _folder_name(request: Request) -> str:
    source = request.source
    if source is None:
        return "imported"
    return source.resolve().name if source.is_dir() else source.stem


def _lines(found: _Found, told: Told, shapes: Mapping[str, str]) -> list[str]:
    lines = []
    if found.chosen.whose:
        lines.append(f"layout: {found.chosen.whose}")
    for part in (*PARTS, *EXTRAS):
        if part in told.places:
            shape = f" {shapes[part]}" if part in shapes else ""
            mended = "; ".join(told.mended.get(part, ["as it is"]))
            lines.append(f"{part}: {told.places[part]}{shape}; {mended}")
    if found.chosen.unread:
        lines.append(f"left alone: {', '.join(found.chosen.unread)}")
    return lines + told.lines


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
