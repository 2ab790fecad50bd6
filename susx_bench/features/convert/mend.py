"""Turn the arrays of other programs into the tensors of a feature bundle.

Every repair is noted. If the arrays do not show how to read them, the error names the option that
decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from susx_bench.data.classes import squash
from susx_bench.errors import BundleError
from susx_bench.features.convert.layouts import FEATURES, LABELS
from susx_bench.features.convert.read import Array
from susx_bench.methods.checks import UNIT_TOLERANCE

Layout = Literal["rows", "columns"]
"""Whether an array has a row, or a column, for each image or class."""


@dataclass
class ImportNotes:
    """What an import read and repaired, for the user to see.

    Attributes:
        places: The file or array that each part was read from.
        mended: The repairs of each part.
        lines: Notes that are about no single part.
    """

    places: dict[str, str]
    mended: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def mend(self, part: str, repair: str) -> None:
        """Note a repair of a part."""
        self.mended.setdefault(part, []).append(repair)

    def name(self, part: str) -> str:
        """A part and the place it was read from, for messages."""
        return f"{part} ({self.places[part]})"


def labels(
    part: str,
    array: Array,
    classnames: Sequence[str] | None,
    layout: Mapping[str, Layout],
    notes: ImportNotes,
) -> Tensor:
    """Labels as whole numbers.

    Args:
        part: Which labels.
        array: Whole numbers ``(M,)``, one-hot rows ``(M, K)`` or columns ``(K, M)``, or names.
        classnames: Names of the classes, for labels that are names.
        layout: How one-hot labels lie, if their shape does not show it.
        notes: Receives the repairs.

    Returns:
        ``(M,)`` int64, as they are numbered there.

    Raises:
        BundleError: If they are none of these.
    """
    where = notes.name(part)
    if isinstance(array, list):
        return _of_names(where, part, array, classnames, notes)
    if array.ndim == 2 and 1 in array.shape:
        array = array.flatten()
    if array.ndim == 2:
        array = _of_one_hot(where, part, array, layout.get(part), notes)
    if array.ndim != 1 or not len(array):
        raise BundleError(
            f"{where} has shape {tuple(array.shape)}; labels are whole numbers (M,) or one-hot "
            "(M, K)."
        )
    if array.is_floating_point():
        if not (array.isfinite() & (array == array.round())).all():
            raise BundleError(f"{where} holds fractions or NaN, and labels are whole numbers.")
        notes.mend(part, "whole numbers kept as floats: cast")
    return array.long()


def _of_names(
    where: str,
    part: str,
    names: Sequence[str],
    classnames: Sequence[str] | None,
    notes: ImportNotes,
) -> Tensor:
    """Labels that are names, by the names of the classes."""
    if classnames is None:
        raise BundleError(
            f"{where} holds names, the first is '{names[0][:60]}'. Give --classnames FILE, one "
            "name per line in the order of the rows of the text features."
        )
    places = {name: i for i, name in enumerate(classnames)}
    squashed = {squash(name): i for i, name in enumerate(classnames)}
    if len(squashed) == len(classnames):
        places = squashed | places
    numbers = [places.get(name, places.get(squash(name), -1)) for name in names]
    if -1 in numbers:
        unknown = sorted({name for name, place in zip(names, numbers, strict=True) if place < 0})
        raise BundleError(
            f"{where} has the name '{unknown[0][:60]}' in {len(unknown)} unknown names of "
            f"{len(set(names))}, and it is none of the {len(classnames)} classes."
        )
    notes.mend(part, "names: numbered by --classnames")
    return torch.tensor(numbers)


def _of_one_hot(
    where: str, part: str, array: Tensor, layout: Layout | None, notes: ImportNotes
) -> Tensor:
    """Labels of one-hot rows, or columns."""
    binary = bool(((array == 0) | (array == 1)).all())
    by = {
        "rows": binary and bool((array.sum(1) == 1).all()),
        "columns": binary and bool((array.sum(0) == 1).all()),
    }
    if layout is not None and not by[layout]:
        raise BundleError(f"{where}: not each of its {layout} has a single 1.")
    if not any(by.values()):
        raise BundleError(
            f"{where} has shape {tuple(array.shape)} and is not one-hot; labels are whole numbers "
            "(M,) or one-hot (M, K)."
        )
    if layout is None and all(by.values()) and not torch.equal(array, array.T):
        raise BundleError(
            f"{where} is one-hot by rows and by columns. Say which: --layout {part}=rows or "
            f"--layout {part}=columns."
        )
    rows = by["rows"] if layout is None else layout == "rows"
    notes.mend(part, "one-hot: taken as numbers" if rows else "one-hot columns: taken as numbers")
    return array.argmax(1 if rows else 0)


def orient(
    features: Mapping[str, Tensor],
    labels_by_part: Mapping[str, Tensor],
    classes: int | None,
    layout: Mapping[str, Layout],
    notes: ImportNotes,
) -> dict[str, Tensor]:
    """Give all features a row for each image or class.

    The side of an array that is the width D follows from the labels and from the width that all
    arrays share; if these leave a choice, it is the side along which vectors have unit length.

    Args:
        features: 2-D arrays by part.
        labels_by_part: Labels by part.
        classes: Number of classes, if there are class names.
        layout: What the user says, by part.
        notes: Receives the repairs.

    Raises:
        BundleError: If no width fits all of them, or several do.
    """
    for part, array in features.items():
        if array.ndim != 2 or not array.is_floating_point():
            raise BundleError(
                f"{notes.name(part)} is {_kind(array)}, features are floats in rows or columns."
            )
    least = 1 + max((int(each.max()) for each in labels_by_part.values() if len(each)), default=1)
    # Labels may be numbered from 1.
    least -= min((int(each.min()) for each in labels_by_part.values() if len(each)), default=0) >= 1

    def fits(part: str, width: int, least: int) -> list[Layout]:
        labels = labels_by_part.get(LABELS.get(part, ""))
        count = len(labels) if labels is not None else classes if part == "text" else None
        layouts = _layouts(features[part], width, count, least if part == "text" else 0)
        return [each for each in layouts if layout.get(part, each) == each]

    widths = sorted({side for array in features.values() for side in array.shape})
    choices: list[dict[str, Layout]] = []
    for fewest in (max(least, 2), 2):  # a label out of range is reported where labels are checked
        choices = choices or [
            dict(zip(features, chosen, strict=True))
            for width in widths
            for chosen in product(*(fits(part, width, fewest) for part in features))
        ]
    if not choices:
        raise BundleError(_misfit(features, labels_by_part, classes, notes))
    if len(choices) > 1:
        choices = _by_length(features, choices)
    if len(choices) > 1:
        unsure = next(p for p in features if len({choice[p] for choice in choices}) > 1)
        raise BundleError(
            f"{notes.name(unsure)} is {_kind(features[unsure])}, and neither the other arrays nor "
            f"the lengths of its rows say which side is the width. Say which: --layout "
            f"{unsure}=rows (a row for each image or class) or --layout {unsure}=columns."
        )
    turned = dict(features)
    for part, chosen in choices[0].items():
        if chosen == "columns":
            unit = "class" if part == "text" else "image"
            notes.mend(part, f"transposed, as it had a column for each {unit} and not a row")
            turned[part] = features[part].T
    return turned


def _layouts(array: Tensor, width: int, count: int | None, least: int) -> list[Layout]:
    """The layouts in which an array has vectors of a width, `count` of them, or `least` or more."""
    shapes: dict[Layout, torch.Size] = {"rows": array.shape, "columns": array.T.shape}
    return [
        layout
        for layout, (rows, columns) in shapes.items()
        if columns == width and count in (None, rows) and rows >= least
    ]


def _kind(array: Tensor) -> str:
    return f"{str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}"


def _by_length(
    features: Mapping[str, Tensor], choices: list[dict[str, Layout]]
) -> list[dict[str, Layout]]:
    """Drop the choices that read an array by rows though only its columns have unit length."""
    unit = {
        part: {"rows": _is_unit(array), "columns": _is_unit(array.T)}
        for part, array in features.items()
    }
    fitting = [
        choice
        for choice in choices
        if all(unit[part][place] or not any(unit[part].values()) for part, place in choice.items())
    ]
    return fitting or choices


def _is_unit(rows: Tensor) -> bool:
    return bool(((rows.double().norm(dim=-1) - 1).abs() < UNIT_TOLERANCE).all())


def _misfit(
    features: Mapping[str, Tensor],
    labels_by_part: Mapping[str, Tensor],
    classes: int | None,
    notes: ImportNotes,
) -> str:
    parts = []
    for part, array in features.items():
        labels_ = labels_by_part.get(LABELS.get(part, ""))
        beside = f" with {len(labels_)} labels" if labels_ is not None else ""
        if part == "text" and classes is not None:
            beside = f" with {classes} class names"
        parts.append(f"{notes.name(part)} is {tuple(array.shape)}{beside}")
    return (
        f"no width fits all features: {'; '.join(parts)}. All come from one encoder, and have as "
        "many rows as labels."
    )


def unit_rows(part: str, rows: Tensor, notes: ImportNotes) -> Tensor:
    """Features in float32 with rows of unit length; unchanged if they are so already.

    Raises:
        BundleError: If a row holds NaN or infinity, or is zero.
    """
    if rows.dtype != torch.float32:
        notes.mend(part, f"{str(rows.dtype).removeprefix('torch.')}: cast to float32")
    length = rows.double().norm(dim=-1)
    wrong = (~length.isfinite() | (length == 0)).nonzero().flatten()
    if len(wrong):
        raise BundleError(
            f"{notes.name(part)}: {len(wrong)} of {len(rows)} rows hold NaN or infinity or are "
            f"zero, the first is row {int(wrong[0])}. Encode these images again, or leave them out."
        )
    if ((length - 1).abs() < UNIT_TOLERANCE).all():
        return rows.to(torch.float32).contiguous()
    least, most = float(length.min()), float(length.max())
    notes.mend(part, f"rows {least:.4g} to {most:.4g} long: divided by their length")
    unit: Tensor = rows.double() / length[:, None]
    return unit.to(torch.float32).contiguous()


def numbered(
    labels_by_part: Mapping[str, Tensor], classes: int, notes: ImportNotes
) -> dict[str, Tensor]:
    """Labels from 0 to K - 1; those from 1 to K are moved.

    Raises:
        BundleError: If one is out of range.
    """
    if not labels_by_part:
        return {}
    low = min(int(values.min()) for values in labels_by_part.values())
    high = max(int(values.max()) for values in labels_by_part.values())
    if low == 1 and high == classes:
        for part in labels_by_part:
            notes.mend(part, f"numbered from 1 to {classes}: moved to 0 to {classes - 1}")
        return {part: values - 1 for part, values in labels_by_part.items()}
    for part, values in labels_by_part.items():
        wrong = ((values < 0) | (values >= classes)).nonzero().flatten()
        if len(wrong):
            first = int(wrong[0])
            raise BundleError(
                f"{notes.name(part)} has the label {int(values[first])} in row {first}, and there "
                f"are {classes} classes, numbered 0 to {classes - 1}."
            )
    return dict(labels_by_part)


def agreement(tensors: Mapping[str, Tensor]) -> tuple[str, float, float] | None:
    """Percentage of labelled images that are nearest to the text of their own class.

    Test labels are not used.

    Returns:
        The part that was used, its percentage, and that of chance; None if no images are
        labelled or there is no text.
    """
    if "text" not in tensors:
        return None
    for part in FEATURES[1:3]:
        if part in tensors:
            nearest = (tensors[part] @ tensors["text"].T).argmax(-1)
            right = (nearest == tensors[LABELS[part]]).double().mean()
            return part, 100 * float(right), 100 / len(tensors["text"])
    return None
