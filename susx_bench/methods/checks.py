"""What a method is given, checked: tensors of one kind, with unit rows and labels in range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNIT_TOLERANCE = 1e-3
"""How far the length of a row may be from 1."""


def check_tensor(name: str, value: object) -> Tensor:
    """Return a tensor, without the gradient that it may ask for: an encoder's weights do.

    Raises:
        TypeError: If it is something else, or not dense.
    """
    if isinstance(value, Tensor):
        if value.is_nested or value.layout != torch.strided:
            kind = "nested" if value.is_nested else f"{value.layout} on {value.device}"
            raise TypeError(
                f"{name} is a tensor that is {kind}. Give a dense one with its numbers."
            )
        return value.detach() if value.requires_grad else value
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    how = "from_numpy" if kind == "numpy.ndarray" else "as_tensor"
    raise TypeError(f"{name} is a {kind}, not a torch.Tensor. Give torch.{how}({name}).")


def check_rows(
    name: str, value: object, shape: str, like: Tensor | None = None, *, unit: bool = True
) -> Tensor:
    """Check features, ``(..., D)``.

    Args:
        name: What they are called, for messages.
        value: The features.
        shape: What their shape is called, such as ``(K, D)``; of it the number of dimensions is
            checked.
        like: Features of the same encoder, whose width, precision and device are compared.
        unit: Whether each row has length 1; else it is any length above 0.

    Raises:
        TypeError: If it is no tensor of floats, or not of the precision of `like`.
        ValueError: If the shape, the width or the device is another, a row is not finite, or its
            length is wrong.
    """
    rows = check_tensor(name, value)
    got = f"{str(rows.dtype).removeprefix('torch.')} {tuple(rows.shape)}"
    if not rows.is_floating_point():
        raise TypeError(f"{name} is {got}; features are floats. Give {name}.float().")
    if rows.ndim != shape.count(",") + 1 or not rows.shape[-1]:
        raise ValueError(f"{name} is {got}; it has the shape {shape}.")
    if like is not None:
        if rows.shape[-1] != like.shape[-1]:
            raise ValueError(
                f"{name} has width {rows.shape[-1]}, the text has width {like.shape[-1]}. Both "
                "must come from one encoder."
            )
        if rows.dtype != like.dtype:
            raise TypeError(f"{name} is {got}, the text is {like.dtype}. Give {name}.to(text).")
        if rows.device != like.device:
            raise ValueError(
                f"{name} is on {rows.device}, the text on {like.device}. Give "
                f"{name}.to('{like.device}')."
            )
    if rows.is_meta:
        raise ValueError(f"{name} is on meta, where tensors have no numbers.")
    norms = rows.float().norm(dim=-1).flatten()
    off = (norms - 1).abs()
    slack = max(UNIT_TOLERANCE, 2 * torch.finfo(rows.dtype).eps)  # bfloat16 has 8 digits
    wrong = ~(off < slack) if unit else ~(norms.isfinite() & (norms > 0))
    if bool(wrong.any()):
        first, count = int(wrong.nonzero()[0]), int(wrong.sum())
        length, how = float(norms[first]), "Leave such rows out."
        what = f"hold NaN or infinity, the first is row {first}"
        if math.isfinite(length):
            asked = "1" if unit else "above 0"
            what = f"have another length than {asked}, the first is row {first} with {length:.4g}"
            if length > 0:
                how = f"Give torch.nn.functional.normalize({name}, dim=-1)."
        raise ValueError(f"{name}: {count} of {len(norms)} rows {what}. {how}")
    return rows


def check_labels(name: str, value: object, of: Tensor, named: str) -> Tensor:
    """Check the labels of `of`, rows of features called `named`; as int64.

    Raises:
        TypeError: If they are no tensor of integers.
        ValueError: If they are on another device, not one per row, or below 0.
    """
    labels = check_tensor(name, value)
    got = f"{str(labels.dtype).removeprefix('torch.')} {tuple(labels.shape)}"
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} is {got}; labels are integers. Give {name}.long().")
    if labels.shape != of.shape[:1]:
        raise ValueError(
            f"{name} is {got} for {len(of)} rows of {named}; it has one label per row."
        )
    if labels.device != of.device:
        raise ValueError(
            f"{name} is on {labels.device}, {named} on {of.device}. Give {name}.to('{of.device}')."
        )
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"{name} holds {int(labels.min())}; classes count from 0.")
    return labels.long()


def check_range(name: str, labels: Tensor, classes: int) -> None:
    """Check that no label is past the last class.

    Raises:
        ValueError: If one is.
    """
    if len(labels) and int(labels.max()) >= classes:
        raise ValueError(
            f"{name} holds {int(labels.max())}, the text has {classes} rows: labels are 0 to "
            f"{classes - 1}."
        )
