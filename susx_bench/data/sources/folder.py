"""A local folder in the layout the field uses: a split file, class folders, or lists."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from susx_bench.data.classes import match
from susx_bench.data.sources.base import Sample, Samples, Source, pairs_of
from susx_bench.data.sources.splits import UNSPLIT, divide, labelled, read_split_file
from susx_bench.data.sources.tree import class_folders, described, file_names, read_tree
from susx_bench.data.spec import (
    SPLITS,
    ClassFolders,
    DatasetSpec,
    Layout,
    ListFiles,
    Split,
    SplitFile,
)
from susx_bench.errors import DatasetError
from susx_bench.records.paths import read_bytes
from susx_bench.records.text import read_lines


class FolderSource(Source):
    """Images as files.

    Args:
        folder: The dataset's folder.
        spec: Its facts.
        layout: Its layout.
        split_file: A split file instead of the layout's own; its sizes are not checked.
        remarks: Remarks on the layout, see `Source`.

    Raises:
        DatasetError: If the folder does not exist.
    """

    def __init__(
        self,
        folder: Path,
        spec: DatasetSpec,
        layout: Layout,
        split_file: Path | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{spec.name}: {folder} does not exist. {spec.fetch}")
        self.folder = folder
        self.where = str(folder)
        self.classnames = spec.classnames
        self.sizes = {} if split_file else spec.sizes
        self.protocol = "custom" if split_file else spec.protocol
        self.remarks = list(remarks)
        self._spec = spec
        self._layout = layout
        self._split_file = split_file
        self._samples: dict[Split, Sequence[Sample]] = {}
        self._known = tuple(remarks)
        self._left: Counter[str] = Counter()

    @cached_property
    def _images(self) -> Path:
        """Folder to which the keys are relative."""
        images = self.folder
        if isinstance(self._layout, SplitFile | ListFiles):
            images = self.folder / self._layout.images
        if not images.is_dir():
            raise DatasetError(f"{self._spec.name}: {images} does not exist. {self._spec.fetch}")
        return images.resolve()

    @property
    def _folders(self) -> Mapping[Split, str]:
        """The folder of each split, if the layout has one folder per split."""
        if isinstance(self._layout, ClassFolders) and not self._split_file:
            return self._layout.splits
        return {}

    @cached_property
    def _listed(self) -> Mapping[Split, Sequence[Sample]]:
        """The images of each split, if the layout has a file that lists them."""
        layout = self._layout
        if self._split_file:
            return read_split_file(self._split_file, self._spec, self.remarks.append)
        if isinstance(layout, SplitFile):
            return read_split_file(self.folder / layout.file, self._spec, self.remarks.append)
        assert isinstance(layout, ListFiles)
        rows = {
            split: self._list(self.folder / file, layout.suffix)
            for split, file in layout.lists.items()
        }
        names = sorted({name for entries in rows.values() for _, name in entries})
        labels = match(names, self._spec, str(self.folder))
        return labelled(rows, dict(zip(names, labels, strict=True)), self._spec, str(self.folder))

    def splits(self) -> tuple[Split, ...]:
        return tuple(split for split in SPLITS if split in (self._folders or self._listed))

    def index(self, split: Split) -> Sequence[Sample]:
        if split not in self._samples:  # other splits may be huge or missing
            name = self._folders.get(split)
            self._samples[split] = (
                self._existing(split) if name is None else self._in_class_folders(name)
            )
        return self._samples[split]

    def _existing(self, split: Split) -> Sequence[Sample]:
        """The images of a list, all of which must exist."""
        samples = self._listed[split]
        missing = _missing(self._images, samples)
        if missing:
            do = "does not exist:" if len(missing) == 1 else "do not exist, the first is"
            how = self._spec.fetch or f"Paths start from {self._images}: put the files there."
            raise DatasetError(
                f"{self._spec.name}: {len(missing)} of {len(samples)} {split} images {do} "
                f"{self._images / missing[0]}. {how}"
            )
        return samples

    def read(self, sample: Sample) -> bytes:
        return read_bytes(self._images / sample.key)

    def files(self, samples: Sequence[Sample]) -> list[Hashable]:
        return [_file(self._images / sample.key) for sample in samples]

    def path(self, sample: Sample) -> Path | None:
        return self._images / sample.key

    def state(self, samples: Sequence[Sample]) -> list[list[int]]:
        # A path object for each takes longer than the look at the file.
        folder = os.fspath(self._images)
        return [_state(os.path.join(folder, sample.key)) for sample in samples]  # noqa: PTH118

    def _list(self, path: Path, suffix: str) -> list[tuple[str, str]]:
        """Relative paths and class names in a list file."""
        if not path.is_file():
            raise DatasetError(f"{self._spec.name}: {path} does not exist. {self._spec.fetch}")
        try:
            lines = read_lines(path)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self._spec.name}: {path} cannot be read: {error}.") from error
        rows = []
        for number, line in enumerate(lines, start=1):
            match line.split(maxsplit=1):
                case [image, name]:
                    rows.append((f"{image}{suffix}", name.strip()))
                case [image]:
                    raise DatasetError(
                        f"{self._spec.name}: {path} has no class after '{image}' in line {number}."
                    )
        return rows

    def _in_class_folders(self, name: str) -> Samples:
        """The images in the class folders of a folder."""
        folder = self._images / name
        if not folder.is_dir():
            raise DatasetError(f"{self._spec.name}: {folder} does not exist. {self._spec.fetch}")
        trees = {path: read_tree(path) for path in class_folders(folder)}
        incomplete = isinstance(self._layout, ClassFolders) and not self._layout.complete
        if incomplete:
            trees = {path: tree for path, tree in trees.items() if tree.images}
        names = [path.name for path in trees]
        labels = match(names, self._spec, str(folder), some=incomplete)
        label_of = dict(zip(trees, labels, strict=True))
        for path, label in label_of.items():
            if label is not None:
                self._left += trees[path].left
        if self._left:
            self.remarks = [*self._known, f"left out of the class folders: {described(self._left)}"]
        return Samples.of(
            (f"{begin}/{file}", label)
            for path, label in label_of.items()
            if label is not None
            for begin in (path.relative_to(self._images).as_posix(),)
            for file in trees.pop(path).images
        )


def _missing(folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Keys of the samples without a file below a folder, in their order."""
    keys = [key for key, _ in pairs_of(samples)]
    folders: dict[str, int] = {}
    folder_of = [folders.setdefault(key.rpartition("/")[0], len(folders)) for key in keys]
    order = np.argsort(np.array(folder_of, np.int32), kind="stable")  # one folder is held at a time
    ends = (
        np.cumsum(np.bincount(folder_of, minlength=len(folders)))
        if folder_of
        else np.zeros(0, np.int64)
    )
    missing: list[int] = []
    for below, places in zip(folders, np.split(order, ends), strict=False):
        begin = f"{below}/" if below else ""
        existing = {f"{begin}{name}" for name in file_names(folder / below)}
        missing += [i for i in places.tolist() if keys[i] not in existing]
    return [keys[i] for i in sorted(missing) if not (folder / keys[i]).is_file()]


def _file(path: Path) -> Hashable:
    """A value that is equal for all links to a file; the path itself for a broken link."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _state(path: str) -> list[int]:
    """A value that changes with a file; 0 for a broken link or a missing file."""
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return [0, 0]
    return [stat.st_size, stat.st_mtime_ns]


class UnsplitSource(FolderSource):
    """One folder per class and no split: a split is made, the same on every machine.

    Args:
        folder: The dataset's folder.
        spec: Its facts.
        classes: Folder of the class folders, in the dataset's folder.
        remarks: See `FolderSource`.
    """

    def __init__(
        self, folder: Path, spec: DatasetSpec, classes: str = ".", remarks: Sequence[str] = ()
    ) -> None:
        super().__init__(folder, spec, ClassFolders(splits={}, complete=False), remarks=remarks)
        self.sizes = {}
        self.protocol = UNSPLIT
        self._classes = classes

    @cached_property
    def _listed(self) -> Mapping[Split, Sequence[Sample]]:
        return divide(self._in_class_folders(self._classes))
