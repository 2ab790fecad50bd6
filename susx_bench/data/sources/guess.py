"""Guess the layout of a folder of images: which folders are splits, and which are classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from susx_bench.console import counted
from susx_bench.data.classes import squash, unite
from susx_bench.data.sources.tree import (
    Identity,
    Tree,
    as_option,
    class_folders,
    dead_links,
    described,
    holders_in,
    identity,
    image_files,
    lists_in,
    litter,
    loose_images,
    read_tree,
)
from susx_bench.data.spec import Split
from susx_bench.data.splitnames import (
    SplitName,
    division,
    is_filler,
    is_short,
    named_splits,
    one_each,
    own_name,
    split_name,
    split_remarks,
    with_test,
    words,
)
from susx_bench.errors import DatasetError

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Guess:
    """The layout of a folder.

    Attributes:
        splits: Folder of each split, relative to the dataset's folder; empty without splits.
        classes: Without splits: folder of the class folders, relative to the dataset's folder.
        classnames: Names of the class folders, sorted. A split may lack some.
        remarks: Remarks on how names were read and what is left out, one line each.
    """

    splits: dict[Split, str]
    classes: str
    classnames: list[str]
    remarks: list[str]


def guess(folder: Path) -> Guess | None:
    """Find the splits and the classes of a folder of images.

    A folder is a split if its name means one and another split has folders of the same names, or if
    it has no other folder beside it. Other folders beside splits are left out. A single folder with
    a filler as name (``data``, or the name of the folder above) is entered.

    Returns:
        The layout, or None if no folder in it has an image.

    Raises:
        DatasetError: If splits and classes cannot be distinguished, there are fewer than two
            classes, or a class has no file of a known format.
    """
    where = f"--dataset {folder}"
    top = _Folder(folder, folder)
    if not top.inside:
        top.refuse_unread()
        return None
    remarks = top.left_out(())
    if top.through is not top:
        top = top.through
        remarks += top.left_out(())
    splits = _splits(top.inside, top.name, where)
    if splits:
        names = {split: box.name for split, box in splits.items()}
        remarks += split_remarks([box.name for box in top.inside], names)
        if "test" in splits:
            return _split(folder, splits, remarks, where)
        top = splits["train"].through
        remarks.append(division(names["train"]))
        remarks += top.left_out(())
    else:
        remarks += [division(), *own_name(folder)]
    top.refuse_unread()
    _check_classes(top.inside, folder, where)
    remarks += _nested([top])
    names_ = [class_folder.name for class_folder in top.inside]
    return Guess({}, top.path.relative_to(folder).as_posix(), names_, remarks)


def _split(folder: Path, splits: dict[Split, _Folder], remarks: list[str], where: str) -> Guess:
    """The layout of a folder with splits, including a test split."""
    order: tuple[Split, ...] = ("test", "train", "val")
    boxes = {split: splits[split].through for split in order if split in splits}
    for box in boxes.values():
        box.refuse_unread()
    classnames, lines = unite(
        {split: [class_folder.name for class_folder in box.inside] for split, box in boxes.items()},
        where,
    )
    if len(classnames) < 2:
        raise _too_few(len(classnames), folder, where)
    for box in boxes.values():
        remarks += box.left_out(classnames)
    remarks += _nested(boxes.values())
    paths = {split: box.path.relative_to(folder).as_posix() for split, box in boxes.items()}
    return Guess(paths, ".", classnames, remarks + lines)


def _nested(boxes: Iterable[_Folder]) -> list[str]:
    """A remark on class folders that contain folders, if there are any."""
    names = dict.fromkeys(
        f"'{class_folder.name}'"
        for box in boxes
        for class_folder in box.inside
        if class_folder.nests
    )
    if not names:
        return []
    return [f"folders inside a class folder are of its class: those in {_some(list(names))}"]


class _Folder:
    """A folder, and the folders with images in it."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.name = path.name if path != root else path.resolve().name
        self.hint: SplitName | None = split_name(self.name)
        self._root = root

    @cached_property
    def _sorted(self) -> tuple[list[_Folder], list[tuple[Path, Tree]], list[str]]:
        """Folders with images, folders without, and links that lead to a folder above."""
        above = self._above
        full, without, loops = [], [], []
        path_of: dict[tuple[int, int], Path] = {}
        for path in class_folders(self.path):
            if (key := identity(path)) in above:
                loops.append(self._from_root(path))
            elif next(image_files(path), None) is None:
                without.append((path, read_tree(path)))
            elif key in path_of:
                raise DatasetError(
                    f"{path_of[key]} and {path} are one folder, by a link. Take one of them out."
                )
            else:
                path_of[key] = path
                full.append(_Folder(path, self._root))
        return full, without, loops

    @property
    def _above(self) -> set[Identity]:
        return {identity(path) for path in (self.path, *self.path.resolve().parents)}

    @property
    def nests(self) -> bool:
        """Whether a folder in it has images."""
        inside = (path for path in class_folders(self.path) if identity(path) not in self._above)
        return any(next(image_files(path), None) is not None for path in inside)

    def _from_root(self, path: Path) -> str:
        return f"'{path.relative_to(self._root).as_posix()}'"

    @property
    def inside(self) -> list[_Folder]:
        """The folders in it that have images, in it or below."""
        return self._sorted[0]

    @cached_property
    def through(self) -> _Folder:
        """The folder itself, or the one in it that all its classes or splits are in."""
        if len(self.inside) != 1 or loose_images(self.path):
            return self
        only = self.inside[0]
        if self.path == self._root and only.hint and not _share(only.inside):
            return self  # the only split, whatever the name of the folder above
        same = squash(only.name) == squash(self.name) or (
            self.hint is not None and only.hint is not None and only.hint.split == self.hint.split
        )
        if only.inside and (same or is_filler(only.name) or _share(only.inside)):
            return only.through
        return self

    @property
    def boxes(self) -> set[str]:
        """Names of the classes if it is a split, in a normalised spelling."""
        return {
            squash(class_folder.name) or class_folder.name for class_folder in self.through.inside
        }

    def refuse_unread(self) -> None:
        """Refuse a class with images of unsupported formats only."""
        for path, tree in self._sorted[1]:
            if tree.unread:
                raise DatasetError(
                    f"{path} has {described(tree.left)} and no image of a format that is read. "
                    "Convert them, to JPEG or PNG for example, or take the folder out."
                )

    def left_out(self, kept: Sequence[str]) -> list[str]:
        """Remarks on content that is left out: one line for folders and images, one for lists.

        Args:
            kept: Classes of another split: an empty folder of one is not reported.
        """
        _, without, loops = self._sorted
        gone = [
            (self._from_root(path), tree.left)
            for path, tree in without
            if tree.left or path.name not in kept
        ]
        empty = [path for path, left in gone if not left]
        other = [
            f"folder {path} without an image ({described(left)})" for path, left in gone if left
        ]
        parts = [f"{loop}, a link to a folder above" for loop in loops]
        parts += [f"{self._from_root(path)}, a link to nothing" for path in dead_links(self.path)]
        if empty:
            parts.append(f"empty {'folder' if len(empty) == 1 else 'folders'} {_some(empty)}")
        if other:
            parts.append(_some(other))
        if stray := loose_images(self.path):
            parts.append(f"images directly in {self.path}, in no class folder: {stray:,}")
        if left := litter(self.path):
            suffix = "" if self.path == self._root else f" in {self._from_root(self.path)}"
            parts.append(f"{described(left)}{suffix}")
        lines = [f"left out: {'; '.join(parts)}"] if parts else []
        return lines + lists_in(self.path) + holders_in(self.path)


def _splits(tops: Sequence[_Folder], above: str, where: str) -> dict[Split, _Folder]:
    """The folder of each split, or none; val is the test split if there is no other.

    Args:
        tops: The folders.
        above: Name of the folder above, which a split may repeat: ``cars/cars_test``.
        where: The dataset, for messages.
    """
    hinted = [top for top in tops if top.hint]
    boxes = [top for top in hinted if top.inside]
    if _share(boxes):
        chosen = _chosen(boxes, tops, where)
    elif len(tops) == 1 and boxes and _is_plain(boxes[0], above):
        assert boxes[0].hint
        chosen = {boxes[0].hint.split: boxes[0]}
    else:
        _refuse_looks(tops, where)
        return {}
    return with_test(chosen)


def _is_plain(box: _Folder, above: str) -> bool:
    """Whether a single folder means a split, and not a class such as ``test tube``."""
    inner = box.through
    plain = inner.hint is not None and not _rest(inner)
    return plain or set(_rest(box)) <= set(words(above))


def _share(tops: Sequence[_Folder]) -> bool:
    """Whether some folders have names of different splits and a class in common."""
    return any(
        one.hint and other.hint and one.hint.split != other.hint.split and one.boxes & other.boxes
        for one in tops
        for other in tops
    )


def _chosen(boxes: Sequence[_Folder], tops: Sequence[_Folder], where: str) -> dict[Split, _Folder]:
    """The folder of each split, from folders that are splits by their names and content."""
    rests = {_rest(box) for box in boxes}
    classes = set().union(*(box.boxes for box in boxes))
    alike = [top for top in tops if not top.hint and top.boxes & classes]
    sure = len(rests) == 1 or _share([box for box in boxes if not _rest(box)])
    if not sure and (alike or () not in rests):
        raise _unclear(boxes, where)
    named = {box.name: box for box in boxes}
    chosen = one_each(named_splits(named), where)
    return {split: named[name] for split, name in chosen.items()}


def _rest(top: _Folder) -> tuple[str, ...]:
    """The words beside the name of a split; none for ``trainval``."""
    assert top.hint
    return () if top.hint.rest == ("val",) else top.hint.rest


def _refuse_looks(tops: Sequence[_Folder], where: str) -> None:
    """Refuse folders with names of splits and another layout."""
    hinted = [top for top in tops if top.hint]
    others = [top for top in tops if not top.hint]
    splits_of: dict[tuple[str, ...], set[Split]] = {}
    for top in hinted:
        assert top.hint
        splits_of.setdefault(_rest(top), set()).add(top.hint.split)
    looks = [top for top in hinted if not _rest(top) or len(splits_of[_rest(top)]) > 1]
    others += [top for top in hinted if top not in looks]
    if others:
        looks = [top for top in looks if not is_short(top.name)]
    splits = {top.hint.split for top in looks if top.hint}
    boxes = [top for top in looks if top.inside]
    if others:
        if len(splits) > 1 or (boxes and not any(top.boxes & boxes[0].boxes for top in others)):
            raise _unclear(looks, where)
        return  # a class that is called train
    if len(looks) < 2:
        return
    one_each(named_splits(top.name for top in looks), where)
    flat = [f"'{top.name}'" for top in looks if not top.inside]
    folder = Path(where.removeprefix("--dataset "))
    if flat:
        raise DatasetError(
            f"{where}: images lie directly in {_some(flat)}, by name {_a_split(flat)}, and in no "
            f"class folder, so their labels are not known. {advice(folder)}"
        )
    one, other = looks[:2]
    raise DatasetError(
        f"{where}: '{one.name}' and '{other.name}' look like splits and have no class in common: "
        f"{_some(sorted(one.boxes))} in one, {_some(sorted(other.boxes))} in the other. "
        f"{advice(folder)}"
    )


def _unclear(looks: Sequence[_Folder], where: str) -> DatasetError:
    named = _some([f"'{top.name}'" for top in looks])
    return DatasetError(
        f"{where}: it cannot be told what is a split and what is a class: {named}, by name "
        f"{_a_split(looks)}, and other folders beside. Move what is neither out of the folder, or "
        "rename it."
    )


def _a_split(names: Sequence[object]) -> str:
    return "splits" if len(names) > 1 else "a split"


def _check_classes(classes: Sequence[_Folder], folder: Path, where: str) -> None:
    """Check that folders are class folders.

    Raises:
        DatasetError: If there are fewer than two, or one contains splits or classes.
    """
    if len(classes) < 2:
        raise _too_few(len(classes), folder, where, *classes)
    for box in classes:
        splits = {inner.hint.split for inner in box.inside if inner.hint and not inner.hint.rest}
        if len(splits) > 1 or (is_filler(box.name) and len(box.inside) > 1):
            inner = _some([f"'{folder.name}'" for folder in box.inside])
            raise DatasetError(
                f"{where}: is '{box.name}' a class? It has the folders {inner}. Give --dataset "
                f"{as_option(box.path)} if they are the splits or the classes. {advice(folder)}"
            )
    common = set.intersection(*(box.boxes for box in classes))
    if len(common) > 1:
        named = _some([f"'{box.name}'" for box in classes])
        raise DatasetError(
            f"{where}: are {named} splits or classes? All of them have the folders "
            f"{_some(sorted(common))}. {advice(folder)}"
        )


def _too_few(count: int, folder: Path, where: str, only: _Folder | None = None) -> DatasetError:
    hint = ""
    if only and len(only.inside) > 1:
        hint = (
            f" Or did you mean --dataset {as_option(only.path)}, with {len(only.inside)} folders?"
        )
    return DatasetError(
        f"{where}: it has {counted(count, 'class folder')}, at least 2 are needed. "
        f"{advice(folder)}{hint}"
    )


def advice(folder: Path) -> str:
    """How to lay out a folder of images."""
    return (
        f"Lay the images out as {folder}/train/CLASS/IMAGE and {folder}/test/CLASS/IMAGE (and val "
        f"where there is one), or as {folder}/CLASS/IMAGE without a split."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
