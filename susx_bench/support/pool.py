"""Pools: many local images without labels, from which SuS-LC retrieves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample, reason
from susx_bench.data.sources.datafiles import inside, of_config, walk
from susx_bench.data.sources.hub import copy_named, snapshot
from susx_bench.data.sources.rows import ArrowTable, ParquetTable, SavedTable
from susx_bench.data.sources.tablecopy import IMAGE_COLUMNS
from susx_bench.data.sources.tar import members, read_member
from susx_bench.data.sources.tree import image_names, is_image
from susx_bench.errors import DatasetError, SupportError
from susx_bench.records.paths import read_bytes


class Pool(Images):
    """Images to retrieve from: files, and images in Parquet, Arrow and tar files.

    An image that cannot be read has no features, and is reported.

    Args:
        folder: Their folder.
        where: Their origin, for messages and the recipe.
        state: Pins their content, such as a commit; None for the state of the files.
        config: Configuration of a hub copy; None for every file with images.
        option: The option that named it, for messages.

    Attributes:
        where: Folder or repository.
        unused: Number of files without an image, by ending.

    Raises:
        DatasetError: If a Parquet file, an Arrow file or a tar cannot be read.
    """

    where: str
    tolerant = True
    classnames = ()

    def __init__(
        self,
        folder: Path,
        where: str,
        state: str | None = None,
        config: str | None = None,
        option: str = "--pool",
    ) -> None:
        self.where = where
        self.name = "pool"
        self.unused: Counter[str] = Counter()
        self._folder = folder
        self._state = state
        self._option = option
        self._read: dict[str, Callable[[], bytes | None]] = {}
        self._used: list[Path] = []
        try:
            self._find(config)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{option} {where}: {reason(error)}") from error
        self._samples = [Sample(key, 0) for key in self._read]

    def _find(self, config: str | None) -> None:
        """Find every image, in the order of the paths."""
        images = set(image_names(self._folder))
        places = sorted({*images, *walk(self._folder)})
        if config:
            images, places = set(), of_config(self._folder, config, self._option, self.where)
        for place in places:
            path = self._folder / place
            ending = path.suffix.lower()
            readers: dict[str, Callable[[], bytes | None]] = {}
            if place in images:
                readers = {place: partial(read_bytes, path)}
            elif ending == ".tar":
                readers = _in_tar(inside(self._folder, place), place)
            elif ending in _TABLES:
                readers = _in_table(_TABLES[ending]([inside(self._folder, place)]), place)
            if readers:
                self._read |= readers
                self._used.append(path)
            else:
                self.unused[ending or "(no ending)"] += 1

    @property
    def samples(self) -> Sequence[Sample]:
        return self._samples

    @property
    def fingerprint(self) -> Any:
        """Its content as JSON: a commit, or names and sizes of files."""
        return self._state or [[name, size] for name, size, _ in self._stats()]

    def state(self, samples: Sequence[Sample]) -> Any:
        return self._state or self._stats()

    def _stats(self) -> list[tuple[str, int, int]]:
        stats = [(path.relative_to(self._folder), path.stat()) for path in self._used]
        return [(path.as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    def read(self, key: str) -> bytes:
        """Read an image's file.

        Raises:
            OSError: If it cannot be read.
        """
        content = self._read[key]()
        if content is None:
            raise OSError("its row holds no image")
        return content

    def image(self, sample: Sample) -> Image.Image:
        try:
            return decode(self.read(sample.key))
        except (BadImageError, OSError) as error:
            raise DatasetError(f"{self.where}: {sample.key} cannot be read: {error}.") from error

    @property
    def remark(self) -> str:
        """A remark on files that are not used; empty if all are."""
        if not self.unused:
            return ""
        each = ", ".join(f"{count:,} {ending}" for ending, count in self.unused.most_common())
        return f"{self._option} {self.where}: not used, without an image: {each}"


def _in_tar(path: Path, place: str) -> dict[str, Callable[[], bytes | None]]:
    """The images in a tar, by key."""
    return {
        f"{place}/{name}": partial(read_member, path, start, size)
        for name, start, size in members(path)
        if is_image(name)
    }


_TABLES: dict[str, Callable[[Sequence[Path]], ArrowTable]] = {
    ".parquet": ParquetTable,
    ".arrow": SavedTable,
}


def _in_table(table: ArrowTable, place: str) -> dict[str, Callable[[], bytes | None]]:
    """The images in a file of rows, by key."""
    column = table.image_column(IMAGE_COLUMNS)
    if column is None:
        return {}
    return {f"{place}/{row}": partial(table.image, column, row) for row in range(len(table))}


def open_pool(name: str, option: str = "--pool") -> Pool:
    """Open ``FOLDER`` (images, Parquet, Arrow, tars) or ``hf:ORG/NAME[:CONFIG][@REVISION]``.

    Args:
        name: The name.
        option: The option that gives it, for messages.

    Raises:
        SupportError: If the folder does not exist or has no image.
        DatasetError: If a repository or its files cannot be read.
    """
    if name.startswith("hf:"):
        hub = copy_named(name.removeprefix("hf:"))
        folder = snapshot(hub, option, "")
        config = f":{hub.config}" if hub.config else ""
        pool = Pool(
            folder, f"hf:{hub.repo}{config}@{folder.name}", folder.name + config, hub.config, option
        )
    else:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise SupportError(f"{option} {name}: there is no such folder.")
        pool = Pool(folder, name, option=option)
    if not len(pool):
        looked = (
            ", ".join(f"{n:,} {ending}" for ending, n in pool.unused.most_common()) or "nothing"
        )
        raise SupportError(
            f"{option} {name}: it has no image, and none in a Parquet file, an Arrow file or a "
            f"tar; it has {looked}."
        )
    return pool
