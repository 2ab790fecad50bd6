"""Arrays in the files of other programs: torch, numpy, safetensors and Parquet.

Nothing in a file is run. Sizes are checked before anything is loaded, so that a small file cannot
ask for much memory.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.records.paths import open_file

Array = Tensor | list[str]
"""Numbers, or names."""

SUFFIXES = (".pt", ".pth", ".bin", ".npy", ".npz", ".safetensors", ".parquet")
MOST = 8 * 2**30
"""Bytes of a file's arrays that are read by default: 4 million rows of width 512."""
_LONGEST_DESCRIPTION = 2**24
"""Most bytes of the part of a torch file that names its tensors."""
_JSON = "bundle"


def read_arrays(path: Path, most: int = MOST) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the arrays of a file, by name; one without a name is called ``""``.

    Args:
        path: The file; its ending is one of `SUFFIXES`.
        most: Most bytes that its arrays may have.

    Returns:
        The arrays, and the metadata of a bundle (empty for any other file).

    Raises:
        BundleError: If the file is missing, is no regular file, is damaged, is too large, or holds
            anything but arrays.
    """
    readers = {".npy": _npy, ".npz": _npz, ".parquet": _parquet}
    readers |= dict.fromkeys((".pt", ".pth", ".bin"), _torch)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BundleError(
            f"{path}: files of features end in {', '.join(SUFFIXES)}, and this one does not."
        )
    if not path.exists():
        raise BundleError(f"{path}: there is no such file.")
    try:
        with open_file(path) as file:
            if suffix == ".safetensors":
                return _safetensors(path, most)
            return readers[suffix](file, most), {}
    except _Refused as error:
        raise BundleError(f"{path}: {error}.") from error
    except (OSError, ValueError, SafetensorError, pa.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise BundleError(f"{path} cannot be read: {reason}.") from error


class _Refused(Exception):
    """The reason why a file is not read, worded to follow its name."""


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise _Refused(
            f"its arrays have {size:,} bytes, at most {most:,} are read. Take the rows that you "
            "need into a file of their own"
        )


def _npy(file: IO[bytes], most: int, size: int | None = None) -> dict[str, Array]:
    """Read one array in numpy's format from `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise _Refused(f"it has version {version} of numpy's format, 1.0 and 2.0 are read")
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, by_column, dtype = header(file)
    if dtype.hasobject:
        raise _Refused("it holds Python objects and no numbers; save the numbers alone")
    count = math.prod(shape)
    wanted = count * dtype.itemsize
    _check_size(wanted, most)
    if size is None:
        position = file.tell()
        size = file.seek(0, 2)
        file.seek(position)
        size -= position
    if wanted > size:
        raise _Refused(f"it is cut off: its array has {wanted:,} bytes, {size:,} are there")
    flat = np.frombuffer(file.read(wanted), dtype=dtype, count=count)
    array = flat.reshape(shape, order="F" if by_column else "C")
    return {"": _from_numpy(array)}


def _from_numpy(array: np.ndarray[Any, Any]) -> Array:
    if array.dtype.kind in "US":
        if array.ndim > 1:
            raise _Refused(f"it has names in an array of shape {array.shape}, one line is read")
        return [x.decode() if isinstance(x, bytes) else str(x) for x in array.reshape(-1).tolist()]
    if array.dtype.kind not in "fiub":
        raise _Refused(f"it holds {array.dtype}, features are floats and labels whole numbers")
    native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
    if native.dtype.kind == "f" and native.dtype.itemsize > 8:
        native = native.astype(np.float64)
    return torch.from_numpy(native.reshape(array.shape))


def _npz(file: BufferedReader, most: int) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            _check_size(sum(member.file_size for member in members), most)
            arrays: dict[str, Array] = {}
            for member in members:
                with archive.open(member) as part:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _npy(part, most, member.file_size)[""]
            return arrays
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise _Refused(f"it is no whole archive of numpy arrays ({error})") from error


def _torch(file: BufferedReader, most: int) -> dict[str, Array]:
    """Tensors that ``torch.save`` wrote; only tensors and containers of them are loaded."""
    if file.read(2) != b"PK":
        raise _Refused(
            "it is no file of torch 1.6 or newer. If an older one wrote it, save it again: "
            f'python -c "import torch; torch.save(torch.load({file.name!r}, weights_only=True), '
            f'{Path(file.name).stem + "-new.pt"!r})"'
        )
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _Refused(f"it is no whole file of torch ({error})") from error
    _check_size(sum(member.file_size for member in members), most)
    described = max((m.file_size for m in members if m.filename.endswith(".pkl")), default=0)
    if described > _LONGEST_DESCRIPTION:
        raise _Refused(f"it describes its tensors in {described:,} bytes, which is no features")
    file.seek(0)
    try:
        value = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise any error
        line = (str(error).split("\n") or [""])[0].strip()[:200].rstrip(". ")
        raise _Refused(
            f"it holds more than tensors, or is damaged ({line or type(error).__name__}). Save "
            "the tensors alone"
        ) from error
    return _from_torch(value, most)


def _from_torch(value: Any, most: int) -> dict[str, Array]:
    if isinstance(value, Tensor):
        return {"": _whole(value, most)}
    if isinstance(value, Mapping) and value and all(isinstance(name, str) for name in value):
        arrays = {
            name: each for name, one in value.items() if (each := _array(one, most)) is not None
        }
        if arrays:
            return arrays
    if (array := _array(value, most)) is not None:
        return {"": array}
    raise _Refused(f"it holds a {type(value).__name__}, and no tensor and no tensors by name")


def _array(value: Any, most: int) -> Array | None:
    if isinstance(value, Tensor):
        return _whole(value, most)
    if isinstance(value, list | tuple) and value:
        if all(isinstance(each, str) for each in value):
            return list(value)
        if all(isinstance(each, int) and abs(each) < 2**62 for each in value):
            return torch.tensor(list(value))
    return None


def _whole(tensor: Tensor, most: int) -> Tensor:
    """A dense tensor with memory of its own; its rows may have been views of a single one."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
        raise _Refused("it holds a sparse, quantised or complex tensor; save a dense one of floats")
    _check_size(tensor.numel() * tensor.element_size(), most)
    return tensor.detach().contiguous()


def _safetensors(path: Path, most: int) -> tuple[dict[str, Array], dict[str, Any]]:
    _check_size(path.stat().st_size, most)
    with safe_open(path, framework="pt") as file:
        meta = dict(file.metadata() or {})
        arrays: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        metadata = json.loads(meta.get(_JSON, "{}"))
    except (ValueError, RecursionError) as error:
        raise _Refused(f"the metadata '{_JSON}' is not JSON") from error
    return arrays, metadata if isinstance(metadata, dict) else {}


def _parquet(file: BufferedReader, most: int) -> dict[str, Array]:
    """Columns of numbers, of names, and of lists of numbers of equal length."""
    table = pq.ParquetFile(file)
    meta = table.metadata
    _check_size(sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)), most)
    arrays: dict[str, Array] = {}
    for field in table.schema_arrow:
        column = table.read(columns=[field.name]).column(0).combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # a table without rows
            continue
        if (array := _from_arrow(field.name, column)) is not None:
            arrays[field.name] = array
    return arrays


def _from_arrow(name: str, column: pa.Array) -> Array | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(is_one(kind) for is_one in lists):
        if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            return None
        if column.null_count or column.flatten().null_count:
            raise _Refused(f"the column '{name}' has rows without a value")
        lengths = set(pa.compute.list_value_length(column).to_pylist())
        if len(lengths) != 1:
            raise _Refused(f"the rows of the column '{name}' have {len(lengths)} lengths, not one")
        values = column.flatten().to_numpy(zero_copy_only=False)
        return torch.from_numpy(values.copy()).reshape(len(column), lengths.pop())
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    ):
        return None
    if column.null_count:
        return None  # a column of labels is used only if every row has one
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [str(each) for each in column.to_pylist()]
    return torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
