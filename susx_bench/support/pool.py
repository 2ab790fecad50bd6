"""Pools: many images without labels that are here, for SuS-LC to retrieve from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from susx_bench.data.base import ImageDataModule
from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.sources.base import Sample
from susx_bench.data.sources.hub import copy_named, snapshot
from susx_bench.data.sources.table import IMAGE_COLUMNS, has_tables, load_tables, undecoded
from susx_bench.data.sources.tree import image_files
from susx_bench.errors import DatasetError, SupportError
from susx_bench.records.paths import read_bytes


class Pool(ImageDataModule):
    """Images to retrieve from. One that cannot be read has no features, and is told of.

    Attributes:
        where: Folder or repository.
    """

    where: str
    tolerant = True
    classnames = ()

    @property
    def fingerprint(self) -> Any:
        """What it holds, as JSON: a commit, or names and sizes of files."""
        raise NotImplementedError

    def read(self, key: str) -> bytes:
        """Read an image's file.

        Raises:
            OSError: If it cannot be read.
        """
        raise NotImplementedError

    def image(self, sample: Sample) -> Image.Image:
        try:
            return decode(self.read(sample.key))
        except (BadImageError, OSError) as error:
            raise DatasetError(f"{self.where}: {sample.key} cannot be read: {error}.") from error


class FolderPool(Pool):
    """Image files in a folder and below."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.where = str(folder)
        self.source = "pool"
        self._folder = folder

    @cached_property
    def samples(self) -> Sequence[Sample]:
        found = sorted(image_files(self._folder))
        return [Sample(path.relative_to(self._folder).as_posix(), 0) for path in found]

    @property
    def fingerprint(self) -> Any:
        return [[key, (self._folder / key).stat().st_size] for key, _ in self.samples]

    def read(self, key: str) -> bytes:
        return read_bytes(self._folder / key)

    def state(self, samples: Sequence[Sample]) -> Any:
        stats = [(self._folder / sample.key).stat() for sample in samples]
        return [[stat.st_size, stat.st_mtime_ns] for stat in stats]


class TablePool(Pool):
    """Parquet files or webdataset shards, of which only the images are looked at.

    Args:
        folder: Where they lie.
        where: Where they came from, for messages and the recipe.
        state: What pins their content, such as a commit; None looks at the files.
    """

    def __init__(self, folder: Path, where: str, state: str | None) -> None:
        super().__init__()
        self.where = where
        self.source = "pool"
        self._folder = folder
        self._state = state

    @cached_property
    def _tables(self) -> dict[str, tuple[Any, str]]:
        """Each of its splits with nothing but the images, and the name of their column."""
        found = {}
        for name, table in load_tables(self._folder, None, "--pool", self.where).items():
            column = next((known for known in IMAGE_COLUMNS if known in table.column_names), None)
            if column is None:
                raise SupportError(
                    f"--pool {self.where}: it has the columns {', '.join(table.column_names)}; "
                    f"none of {', '.join(IMAGE_COLUMNS)} is there for the images."
                )
            found[name] = (undecoded(table, column).select_columns([column]), column)
        return found

    @cached_property
    def samples(self) -> Sequence[Sample]:
        return [
            Sample(f"{name}/{row}", 0)
            for name, (table, _) in self._tables.items()
            for row in range(len(table))
        ]

    @property
    def fingerprint(self) -> Any:
        return self._state or [[name, size] for name, size, _ in self.state(())]

    def read(self, key: str) -> bytes:
        name, _, row = key.rpartition("/")
        table, column = self._tables[name]
        value = table[int(row)][column]
        if value is None or value["bytes"] is None:
            raise OSError("its row holds no image")
        return bytes(value["bytes"])

    def state(self, samples: Sequence[Sample]) -> Any:
        if self._state:
            return self._state
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        stats = [(path, path.stat()) for path in files]
        return [[str(p.relative_to(self._folder)), s.st_size, s.st_mtime_ns] for p, s in stats]


def open_pool(name: str) -> Pool:
    """Open ``FOLDER`` (of images, Parquet files or webdataset shards) or ``hf:ORG/NAME[@REV]``.

    Raises:
        SupportError: If there is no such folder, or no image in it.
        DatasetError: If a repository or its files cannot be read.
    """
    if name.startswith("hf:"):
        hub = copy_named(name.removeprefix("hf:"))
        folder = snapshot(hub, "--pool", "")
        return TablePool(folder, f"hf:{hub.repo}@{folder.name}", folder.name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise SupportError(f"--pool {name}: there is no such folder.")
    pool: Pool = TablePool(folder, name, None) if has_tables(folder) else FolderPool(folder)
    if not len(pool):
        raise SupportError(
            f"--pool {name}: it has no image, no Parquet file and no webdataset shard."
        )
    return pool
