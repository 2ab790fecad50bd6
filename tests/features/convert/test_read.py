"""Files of strangers: nothing in them is run, and none asks for more memory than it has bytes."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from susx_bench.errors import BundleError
from susx_bench.features.convert.read import SUFFIXES, read_arrays
from tests.features.convert.traps import Trap


def refused(path: Path, most: int = 2**20) -> str:
    with pytest.raises(BundleError) as caught:
        read_arrays(path, most)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"test": Trap(tmp_path / "sprung")}, tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([Trap(tmp_path / "sprung")]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", test=np.array([Trap(tmp_path / "sprung")]))

    assert "it holds more than tensors" in refused(tmp_path / "a.pt")
    assert "Python objects" in refused(tmp_path / "a.npy")
    assert "Python objects" in refused(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_file_of_an_old_torch_is_to_be_saved_again(tmp_path: Path) -> None:
    rows = torch.rand(3, 4)
    torch.save(rows, tmp_path / "a.pt", _use_new_zipfile_serialization=False)

    assert "save it again: python -c" in refused(tmp_path / "a.pt")


def header(shape: tuple[int, ...]) -> bytes:
    """An array that says it is large, and is not."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"shape": shape, "fortran_order": False, "descr": "<f4"}
    )
    return file.getvalue() + bytes(64)


def test_no_file_asks_for_more_than_is_there(tmp_path: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(header((1000, 8)))
    assert "has 32,000 bytes, 64 are there" in refused(tmp_path / "cut.npy")

    (tmp_path / "large.npy").write_bytes(header((10**9, 10**9)))
    assert "at most 1,048,576 are read" in refused(tmp_path / "large.npy")

    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.npy", header((2**22,)) + bytes(2**24))
    assert "at most 1,048,576 are read" in refused(tmp_path / "packed.npz")

    torch.save(torch.zeros(1).expand(2**30, 512), tmp_path / "spread.pt")
    assert "at most 1,048,576 are read" in refused(tmp_path / "spread.pt")

    torch.save(torch.zeros(2**20), tmp_path / "large.pt")
    assert "at most 1,048,576 are read" in refused(tmp_path / "large.pt")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file_is_one_line(suffix: str, tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / f"none{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    assert "no file" in refused(tmp_path / f"pipe{suffix}")
    for name, content in (("empty", b""), ("short", b"PK\x03\x04"), ("noise", os.urandom(300))):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        refused(path)


@pytest.mark.parametrize("suffix", ["pt", "npy", "npz", "safetensors", "parquet"])
def test_a_file_cut_anywhere_is_one_line(suffix: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.torch import save_file

    whole = tmp_path / f"whole.{suffix}"
    rows = torch.rand(5, 4)
    writers: dict[str, Any] = {
        "pt": lambda: torch.save(rows, whole),
        "npy": lambda: np.save(whole, rows.numpy()),
        "npz": lambda: np.savez(whole, test=rows.numpy()),
        "safetensors": lambda: save_file({"test": rows}, whole),
        "parquet": lambda: pq.write_table(pa.table({"test": rows.tolist()}), whole),
    }
    writers[suffix]()
    content = whole.read_bytes()
    (array,) = read_arrays(whole)[0].values()
    assert isinstance(array, torch.Tensor)
    assert torch.equal(array, rows)
    for length in range(0, len(content), max(1, len(content) // 40)):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(content[:length])
        refused(path)
