"""Datasets made up for tests: pictures, and the files that hold them."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.facts.digits import SPEC
from susx_bench.data.spec import DatasetSpec, Split, Where

CLASSES = ("cat", "dog", "night owl")


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(shade: int, kind: str = "png", **options: Any) -> bytes:
    """A picture that is told from others by its shade."""
    return encoded(Image.new("RGB", (8, 8), (shade, shade, shade)), kind, **options)


def dotted(shade: int, kind: str = "png", **options: Any) -> bytes:
    """The same with a dot: a split of plain pictures is refused by a run."""
    image = Image.new("RGB", (8, 8), (shade, shade, shade))
    image.putpixel((7, 7), (255, 255, 255))
    return encoded(image, kind, **options)


def shade(image: Image.Image) -> int:
    """The shade of a plain or dotted picture."""
    assert image.mode == "RGB"
    return int(np.asarray(image)[0, 0, 0])


def photo(seed: int) -> Image.Image:
    """A picture with something to see."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


def tiff(
    values: NDArray[Any], *, bits: int = 0, photometric: int = 1, content: bytes | None = None
) -> bytes:
    """A TIFF of one strip that holds numbers as they are, by the specification of TIFF 6.0.

    Args:
        values: ``(H, W)`` or ``(H, W, channels)``; type and byte order are those of the file.
        bits: Bits a sample; those of the type unless told.
        photometric: 0 where white is 0, 1 where black is 0, 2 for RGB.
        content: The strip, where it is not the bytes of the values.
    """
    order = ">" if values.dtype.str[0] == ">" else "<"
    height, width, *rest = values.shape
    samples = rest[0] if rest else 1
    content = values.tobytes() if content is None else content
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    each = (bits or 8 * values.dtype.itemsize,) * samples
    tags: dict[int, tuple[int, ...]] = {
        **{256: (width,), 257: (height,), 258: each, 259: (1,), 262: (photometric,)},
        **{273: (0,), 277: (samples,), 278: (height,), 279: (len(content),)},
        **({338: (1,)} if samples in (2, 4) else {}),
        339: (form,) * samples,
    }
    beside, start = b"", 8 + 2 + 12 * len(tags) + 4
    lists = {number: struct.pack(f"{order}{len(v)}H", *v) for number, v in tags.items()}
    after = start + sum(len(packed) for packed in lists.values() if len(packed) > 4)
    entries = b""
    for number, packed in lists.items():
        if number in (273, 278, 279):
            value = {273: after, 278: height, 279: len(content)}[number]
            entries += struct.pack(f"{order}HHII", number, 4, 1, value)
        elif len(packed) > 4:
            place = start + len(beside)
            entries += struct.pack(f"{order}HHII", number, 3, len(packed) // 2, place)
            beside += packed
        else:
            entries += struct.pack(f"{order}HHI", number, 3, len(packed) // 2)
            entries += packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    count = struct.pack(f"{order}H", len(tags))
    return head + count + entries + bytes(4) + beside + content


def deep_png(values: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel: grey, grey and alpha, RGB or RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, *rest = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[rest[0] if rest else 1]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def turned(kind: str = "jpeg") -> bytes:
    """A picture 16 wide and 8 high, white on the left, that EXIF says to turn by 90 degrees."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(pixels), kind, quality=95, exif=exif)


def spec_of(**changes: Any) -> DatasetSpec:
    facts: dict[str, Any] = {
        "name": "toy",
        "title": "Toys",
        "classnames": CLASSES,
        "sizes": {},
        "template": "a photo of a {}.",
        "licence": "none",
        "protocol": "susx",
        "bibtex_key": "toy",
        "fetch": "Make them anew.",
    }
    return DatasetSpec(**(facts | changes))


def toy(**changes: Any) -> DatasetSpec:
    """A dataset with these facts."""
    return spec_of(**changes)


def opened(dataset: DatasetSpec | Dataset, where: Where) -> Dataset:
    """A dataset with its images looked for in a place; one that was opened stays as it is."""
    return dataset if isinstance(dataset, Dataset) else Dataset(dataset, where)


def digits(split: Split) -> DatasetSplit:
    """A split of the demo's dataset."""
    return Dataset(SPEC).split(split)


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    names: Sequence[str] | None = None,
    *,
    files: Sequence[str | None] | None = None,
    image: str = "image",
    label: str = "label",
    more: Mapping[str, Sequence[str]] | None = None,
) -> bytes:
    """A split as ``push_to_hub`` writes it.

    Args:
        images: Files of images.
        labels: Numbers, or names where `names` is None.
        names: Names of the numbers.
        files: Original file names.
        image: Column of the images.
        label: Column of the labels.
        more: Further columns.
    """
    files = files or [f"{i}.png" for i in range(len(images))]
    cells = [
        None if content is None else {"bytes": content, "path": file}
        for content, file in zip(images, files, strict=True)
    ]
    kept = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table = pa.table({image: kept, label: pa.array(labels), **(more or {})})
    features: dict[str, Any] = {
        name: {"_type": "Value", "dtype": str(table.schema.field(name).type)}
        for name in table.column_names
    }
    features[image] = {"_type": "Image"}
    if names is not None:
        features[label] = {"_type": "ClassLabel", "names": list(names)}
    meta = json.dumps({"info": {"features": features}})
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"huggingface": meta}), sink)
    return bytes(sink.getvalue())


def webdataset(images: Sequence[bytes], labels: Sequence[int], kind: str = "png") -> bytes:
    """A shard as CLIP_benchmark writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            for suffix, content in (kind, image), ("cls", str(label).encode()):
                member = tarfile.TarInfo(f"s{i:07d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()
