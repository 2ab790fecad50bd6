"""Find photographs: in files, folders, patterns, tables or a dataset on the hub."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from susx_bench.data.decode import BadImageError, decode_upright
from susx_bench.data.images import Images, Subset
from susx_bench.data.sources.base import Sample, reason
from susx_bench.data.sources.datafiles import inside, walk
from susx_bench.data.sources.rows import ArrowTable, ParquetTable, SavedTable
from susx_bench.data.sources.tablecopy import IMAGE_COLUMNS
from susx_bench.data.sources.tar import members, read_member
from susx_bench.data.sources.tree import LISTS, UNREAD, as_option, image_names, is_image
from susx_bench.errors import DatasetError
from susx_bench.records.paths import read_bytes
from susx_bench.support.pool import open_pool

if TYPE_CHECKING:
    from PIL.Image import Image

_GROUP = 2048
"""Mean number of photographs encoded and stored as one list. A new one renews only its list."""
_TABLES: dict[str, Callable[[Sequence[Path]], ArrowTable]] = {
    ".parquet": ParquetTable,
    ".arrow": SavedTable,
}
_PATTERN = "*?["


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph.

    Attributes:
        name: Its path relative to the folder that was given, or as it was given.
        read: Reads its bytes; None if a row of a table holds no image.
        file: The path of its own file, if it has one.
        holder: Otherwise the table or archive that holds it.
    """

    name: str
    read: Callable[[], bytes | None] = field(compare=False)
    file: str | None = None  # a path object for each of 100,000 takes seconds
    holder: Path | None = None

    @classmethod
    def of_file(cls, name: str, file: str) -> Photo:
        """A photograph in a file of its own."""
        return cls(name, partial(_read_file, file), file)

    @property
    def path(self) -> Path | None:
        """Its own file, if it has one."""
        return None if self.file is None else Path(self.file)


def _read_file(file: str) -> bytes:
    return read_bytes(Path(file))


class Photos(Images):
    """Photographs in a fixed order. One that cannot be read becomes a row of NaN.

    They are turned upright by their EXIF orientation; the images of a benchmark are not.

    Args:
        photos: The photographs, with distinct names.
        where: The places that were given, for messages.
        skipped: Photographs of a format that cannot be decoded, as name and reason.
        state: Pins the content of photographs that are no files, such as a commit.
    """

    tolerant = True
    classnames = ()

    def __init__(
        self,
        photos: Sequence[Photo],
        where: str,
        skipped: Sequence[tuple[str, str]] = (),
        state: str = "",
    ) -> None:
        self.where = where
        self.name = "photographs, upright"
        self.skipped = list(skipped)
        self.photos = list(photos)
        self._by_name = {photo.name: photo for photo in photos}
        self._samples = [Sample(photo.name, 0) for photo in photos]
        self._state = state

    @property
    def samples(self) -> Sequence[Sample]:
        return self._samples

    def photo(self, name: str) -> Photo | None:
        """The photograph of a name."""
        return self._by_name.get(name)

    def groups(self) -> list[Subset]:
        """The photographs in lists that are encoded separately.

        The ends of the lists depend only on the names, so that a new photograph changes one list.
        """
        parts, first = [], 0
        for place, photo in enumerate(self.photos, 1):
            digest = hashlib.sha256(photo.name.encode()).digest()
            ends = int.from_bytes(digest[:4], "big") % _GROUP == 0
            if ends or place == len(self.photos):
                parts.append(Subset(self, range(first, place)))
                parts[-1].tolerant = True
                first = place
        return parts

    def content(self, sample: Sample) -> bytes:
        try:
            return self._by_name[sample.key].read() or b""
        except OSError as error:
            return f"unreadable: {error.strerror}".encode()

    def image(self, sample: Sample) -> Image:
        """Read a photograph, RGB and upright.

        Raises:
            DatasetError: If it cannot be read; the message is the reason alone.
        """
        try:
            content = self._by_name[sample.key].read()
        except OSError as error:
            raise DatasetError(error.strerror or str(error)) from error
        if content is None:
            raise DatasetError("its row holds no image")
        try:
            return decode_upright(content)
        except BadImageError as error:
            raise DatasetError(str(error)) from error

    def state(self, samples: Sequence[Sample]) -> Any:
        return [self._state, [self._stat(self._by_name[sample.key]) for sample in samples]]

    def _stat(self, photo: Photo) -> Any:
        path = photo.file or photo.holder
        if path is None:
            return None
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            return "gone"
        return [status.st_size, status.st_mtime_ns, os.access(path, os.R_OK)]


def open_photos(places: Sequence[str], leave_out: Sequence[Path] = ()) -> Photos:
    """Find photographs.

    Args:
        places: Each a folder (with all below), an image file, a Parquet, Arrow or tar file, a
            pattern with ``*``, or ``hf:ORG/NAME[:CONFIG][@REVISION]``.
        leave_out: Folders to leave out, such as one for results.

    Raises:
        DatasetError: If a place is missing or cannot be read, or no photograph is found.
    """
    photographs: list[Photo] = []
    skipped: list[tuple[str, str]] = []
    other: Counter[str] = Counter()
    states = []
    expanded = list(_expanded(places))
    alone = len(expanded) == 1
    for place in expanded:
        if place.startswith("hf:"):
            pool = open_pool(place, "PHOTOS")
            begin = "" if alone else f"{place}/"
            states.append(str(pool.fingerprint))
            photographs += [
                Photo(f"{begin}{key}", partial(pool.read, key)) for key, _ in pool.samples
            ]
            continue
        path = Path(place).expanduser()
        try:
            if path.is_dir():
                begin = "" if alone else f"{place.rstrip('/')}/"
                photographs += _in_folder(path, begin, leave_out, skipped, other)
            elif path.suffix.lower() in (*_TABLES, ".tar"):
                photographs += _in_file(path, place)
            elif path.suffix.lower() in LISTS and path.is_file():
                if place in places:
                    raise DatasetError(
                        f"PHOTOS {place}: it is a list, and no photograph. Give the folder of the "
                        f"photographs, with --labelled {place} for the classes that it says; or "
                        f"measure on them: susx-bench run --dataset {as_option(path)}"
                    )
                skipped.append((place, "it is a list, and no photograph"))
            elif path.exists():
                photographs.append(Photo.of_file(place, str(path)))
            else:
                raise DatasetError(f"PHOTOS {place}: there is no such file or folder.")
        except (OSError, ValueError) as error:
            raise DatasetError(f"PHOTOS {place}: {reason(error)}") from error
    where = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
    if not photographs:
        looked = ", ".join(f"{count:,} {ending}" for ending, count in other.most_common(5))
        unread = f"{skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DatasetError(
            f"PHOTOS {where}: there is no image that can be read, there is "
            f"{unread or looked or 'nothing'}."
        )
    return Photos(_each_once(photographs, alone), where, sorted(skipped), " ".join(states))


def _each_once(photographs: Sequence[Photo], alone: bool) -> list[Photo]:
    """The photographs without those that are reached twice, of one place or of several."""
    if not alone:
        by_identity: dict[str, Photo] = {}
        for photo in photographs:
            by_identity.setdefault(_identity(photo), photo)
        photographs = list(by_identity.values())
    return list({photo.name: photo for photo in photographs}.values())


def _identity(photo: Photo) -> str:
    return os.path.realpath(photo.file) if photo.file else photo.name


def _expanded(places: Sequence[str]) -> Iterator[str]:
    """The places, with each pattern replaced by its matches."""
    for place in places:
        if place.startswith("hf:") or not set(_PATTERN) & set(place) or Path(place).exists():
            yield place
            continue
        matches = sorted(glob.glob(os.path.expanduser(place), recursive=True))  # noqa: PTH111, PTH207
        if not matches:
            raise DatasetError(f"PHOTOS {place}: no file matches this pattern.")
        files = [match for match in matches if not Path(match).is_dir()]
        yield from files or matches


def _in_folder(
    folder: Path,
    begin: str,
    leave_out: Sequence[Path],
    skipped: list[tuple[str, str]],
    other: Counter[str],
) -> list[Photo]:
    base = folder.resolve()
    outside = [
        f"{path.relative_to(base).as_posix()}/"
        for path in (excluded.resolve() for excluded in leave_out)
        if path != base and path.is_relative_to(base)
    ]
    skip = tuple(outside) or ("\0",)
    by_file: dict[str, list[Photo]] = {}
    for key in image_names(folder):
        if not key.startswith(skip):
            file = os.path.join(folder, key)  # noqa: PTH118
            by_file[key] = [Photo.of_file(f"{begin}{key}", file)]
    for key in walk(folder):
        ending = os.path.splitext(key)[1].lower()  # noqa: PTH122 - a path for each of 100,000
        if is_image(key) or key.startswith(skip):
            continue
        if ending in _TABLES or ending == ".tar":
            by_file[key] = _in_file(inside(folder, key), f"{begin}{key}")
        elif ending in UNREAD:
            kind = ending.removeprefix(".").upper()
            skipped.append((f"{begin}{key}", f"{kind} is not decoded here: save it as JPEG"))
        else:
            other[ending or "without an ending"] += 1
    return [photo for key in sorted(by_file) for photo in by_file[key]]


def _in_file(path: Path, name: str) -> list[Photo]:
    """The images in a table or an archive."""
    if path.suffix.lower() == ".tar":
        return [
            Photo(f"{name}/{member}", partial(read_member, path, start, size), holder=path)
            for member, start, size in members(path)
            if is_image(member)
        ]
    table = _TABLES[path.suffix.lower()]([path])
    column = table.image_column(IMAGE_COLUMNS)
    if column is None:
        return []
    return [
        Photo(f"{name}/{row}", partial(table.image, column, row), holder=path)
        for row in range(len(table))
    ]
