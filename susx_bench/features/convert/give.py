"""Write the features of a bundle in the formats of other programs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.convert.bring import as_bundle
from susx_bench.features.convert.collect import META
from susx_bench.features.convert.layouts import EXTRAS
from susx_bench.features.convert.read import MOST, read_arrays
from susx_bench.records.files import canonical_json, make_folder, write_atomic
from susx_bench.records.paths import read_bytes

Format = Literal["bundle", "npz", "tip-adapter"]
"""A safetensors bundle, numpy arrays by the same names, or a folder of Tip-Adapter's files."""


@dataclass(frozen=True)
class Content:
    """Tensors and metadata of a bundle, as stored."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]


def read_bundle(path: Path, most: int = MOST) -> Content:
    """Check a bundle and read all of it.

    Raises:
        BundleError: If it is no feature bundle.
    """
    BundleTask(path)
    arrays, meta = read_arrays(path, most)
    tensors = {name: array for name, array in arrays.items() if isinstance(array, Tensor)}
    return Content(tensors, {"dataset": path.stem} | meta)


def format_of(to: Path) -> Format:
    """The format that a path asks for: by its ending, and a folder where it has none.

    Raises:
        BundleError: If the ending is of another kind of file.
    """
    suffix = to.suffix.lower()
    if suffix == ".safetensors":
        return "bundle"
    if suffix == ".npz":
        return "npz"
    if to.is_dir() or not suffix:
        return "tip-adapter"
    raise BundleError(
        f"--to {to}: it ends in {suffix}. Give FILE.safetensors for a bundle, FILE.npz for numpy, "
        "or a folder for Tip-Adapter's files."
    )


def write(content: Content, to: Path, *, force: bool = False) -> list[Path]:
    """Write the features.

    Args:
        content: The features.
        to: ``FILE.safetensors``, ``FILE.npz``, or a folder for Tip-Adapter's files.
        force: Whether to replace files that hold something else.

    Returns:
        The files.

    Raises:
        BundleError: If a file exists with other content, or the format cannot hold the features.
        OutputError: If a file cannot be written.
    """
    kind = format_of(to)
    if kind == "bundle":
        files = {to: as_bundle(content.tensors, content.meta)}
    elif kind == "npz":
        files = {to: _npz(content)}
    else:
        files = {to / name: inner for name, inner in tip_adapter(content).items()}
        make_folder(to)
    for path, inner in files.items():
        if path.exists() and not force and read_bytes(path) != inner:
            raise BundleError(f"{path} is there with other content. Give another --to, or --force.")
    for path, inner in files.items():
        write_atomic(path, inner)
    return list(files)


def tip_adapter(content: Content) -> dict[str, bytes]:
    """The files of Tip-Adapter's cache folder, by name.

    Keys ``(D, M)``, one-hot values ``(M, K)``, features ``(N, D)`` and text weights ``(D, K)`` of
    one type, so that the authors' matrix products work. Tensors for which their code has no file
    keep their name in a bundle. An encoder that reads no text has no text weights.
    """
    tensors = content.tensors
    files = {"text_weights.pt": _saved(tensors["text"].T)} if "text" in tensors else {}
    if "support" in tensors:
        labels, keys = tensors["support_labels"].long(), tensors["support"]
        classes = (
            len(tensors["text"]) if "text" in tensors else len(content.meta.get("classnames", ()))
        )
        per_class = torch.bincount(labels, minlength=classes)
        shots = int(per_class.max())
        one_hot = torch.nn.functional.one_hot(labels, len(per_class)).to(keys.dtype)
        files[f"keys_{shots}shots.pt"] = _saved(keys.T)
        files[f"values_{shots}shots.pt"] = _saved(one_hot)
    for split in ("val", "test"):
        for name, short in ((split, f"{split}_f.pt"), (f"{split}_labels", f"{split}_l.pt")):
            if name in tensors:
                files[short] = _saved(tensors[name])
    files |= {f"{name}.pt": _saved(tensors[name]) for name in EXTRAS if name in tensors}
    files[META] = canonical_json(dict(content.meta)).encode()
    return files


def _saved(tensor: Tensor) -> bytes:
    memory = io.BytesIO()
    torch.save(tensor.contiguous(), memory)
    return memory.getvalue()


def _npz(content: Content) -> bytes:
    if halves := [n for n, t in content.tensors.items() if t.dtype == torch.bfloat16]:
        raise BundleError(f"numpy has no bfloat16, and '{halves[0]}' is in it. Export a bundle.")
    arrays = {name: tensor.numpy() for name, tensor in content.tensors.items()}
    if isinstance(names := content.meta.get("classnames"), list):
        arrays["classnames"] = np.array([str(name) for name in names])
    facts = {name: value for name, value in content.meta.items() if name != "classnames"}
    arrays |= {name: np.array(value) for name, value in facts.items()}
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980, so that one content has one file
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array))
    return memory.getvalue()
