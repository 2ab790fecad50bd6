"""Make a feature bundle from the files of another program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from susx_bench.data.classes import squash
from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.convert.collect import (
    Collected,
    Request,
    by_hand,
    class_names,
    from_source,
)
from susx_bench.features.convert.layouts import (
    BACKBONES,
    EXTRAS,
    FEATURES,
    LABELS,
    PARTS,
    made_of,
)
from susx_bench.features.convert.mend import (
    ImportNotes,
    agreement,
    labels,
    numbered,
    orient,
    unit_rows,
)
from susx_bench.features.convert.read import Array
from susx_bench.features.leaks import shared_rows
from susx_bench.records.files import canonical_json, write_atomic
from susx_bench.records.paths import read_bytes


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


def read(request: Request) -> Imported:
    """Read the files, recognise the parts and repair their layout.

    Raises:
        BundleError: If a part is missing, ambiguous or cannot be read.
    """
    collected = Collected()
    if request.source is not None:
        from_source(request, request.source, collected)
    for part, spec in request.parts.items():
        by_hand(part, spec, collected)
    if request.classnames is not None:
        collected.classnames = class_names(request.classnames)
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


def _of_folders(collected: Collected, notes: ImportNotes) -> None:
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


def _missing(request: Request, collected: Collected) -> str:
    part = "test" if "text" in collected.arrays or request.no_text else "text"
    where = f"{request.source}: " if request.source is not None else ""
    lack = {
        "text": "no features of the class names, as in text_weights.pt. Tip-Adapter keeps none: "
        "encode the prompts and give --text FILE, or --no-text for an encoder that reads none",
        "test": "no features of test images, as in test_f.pt. Give --test FILE",
    }[part]
    has = ", ".join(collected.places.values())
    return f"{where}{lack}." + (f" It has: {has[:300]}." if has else "")


def _mended(request: Request, collected: Collected) -> Imported:
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
    doubts = _doubts(tensors)
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
            "Give --classnames FILE with one name per line, or --support-labels FILE."
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


def _metadata(request: Request, collected: Collected, notes: ImportNotes) -> dict[str, Any]:
    """Dataset, encoder and logit scale: from the user, else from metadata, else from file names."""
    metadata: dict[str, Any] = {}
    for name, by_user, by_name, usual in (
        ("dataset", request.dataset, collected.chosen.dataset, _folder_name(request)),
        ("encoder", request.encoder, BACKBONES.get(collected.chosen.encoder, ""), "unknown"),
    ):
        metadata[name] = by_user or collected.meta.get(name) or by_name or usual
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


def _lines(collected: Collected, notes: ImportNotes, shapes: Mapping[str, str]) -> list[str]:
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


def _doubts(tensors: Mapping[str, Tensor]) -> list[str]:
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
