"""Recognise the split that a name means.

One list of names serves folders, Parquet files, webdataset shards, splits of a hub copy and the
keys of split files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

from susx_bench.data.spec import SPLITS, Split
from susx_bench.errors import DatasetError

_WORDS: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "vld"), "val"),
    **dict.fromkeys(("dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
    **dict.fromkeys(("holdout", "heldout"), "test"),
}
_BOTH = ("trainval", "trainvalid", "trainvalidation")
_SHORT: Mapping[str, Split] = {"tr": "train", "va": "val", "te": "test", "ts": "test"}
"""Short split names, which do not count beside another word."""

_FILLERS = (
    *("set", "sets", "split", "splits", "subset", "part", "partial", "fold", "shard", "of"),
    *("data", "dataset", "datasets", "folder", "dir", "files", "samples", "examples"),
    *("image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos"),
    *("all", "full", "final", "crops", "cropped", "resized", "labeled", "labelled"),
    *("jpg", "jpeg", "png", "default", "imagefolder"),
)
"""Words without information about a folder's content, which may accompany a split's name."""

_ANY_FILLER = "|".join(sorted(_FILLERS, key=len, reverse=True))
_ANY_WORD = "|".join(sorted((*_WORDS, *_BOTH), key=len, reverse=True))
_JOINED = re.compile(f"(?:{_ANY_FILLER})*({_ANY_WORD})(?:{_ANY_FILLER})*")
_TABLE_NAMES: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}


class SplitName(NamedTuple):
    """A name that was read as a split.

    Attributes:
        split: The split.
        rest: The other significant words of the name, such as ``("cars",)`` of
            ``cars_train`` or ``("val",)`` of ``trainval``; empty for a name that means only a
            split.
    """

    split: Split
    rest: tuple[str, ...]


def words(name: str) -> list[str]:
    """The words of a name without numbers: of ``TrainSet-2017`` these are train and set."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    name = re.sub(r"(hold|held)[\W_]+out(?![^\W_])", r"\1out", name.casefold())
    return re.findall(r"[^\W\d_]+", name)


def split_name(name: str) -> SplitName | None:
    """Read the name of a split in any case, with the usual affixes.

    Args:
        name: Such as ``Train``, ``train2017``, ``images_train``, ``Validation Set``,
            ``test-00000-of-00003`` or ``cars_test``; no path.

    Returns:
        The split, or None if the name has words of no split or of several. Train and val together,
        as in ``trainval``, are train.
    """
    content = [word for word in words(name) if word not in _FILLERS]
    if len(content) == 1 and content[0] in _SHORT:
        return SplitName(_SHORT[content[0]], ())
    splits: set[Split] = set()
    rest: list[str] = []
    for word in content:
        if joined := _JOINED.fullmatch(word):
            splits |= {"train", "val"} if joined[1] in _BOTH else {_WORDS[joined[1]]}
        else:
            rest.append(word)
    if splits == {"train", "val"}:
        return SplitName("train", (*rest, "val"))
    if not splits and name != (lower := name.lower()):
        return split_name(lower)  # for odd capitals, as in TeSt
    return SplitName(splits.pop(), tuple(rest)) if len(splits) == 1 else None


def is_short(name: str) -> bool:
    """Whether a name is a short form, such as ``tr``, which may also be a code."""
    return any(word in _SHORT for word in words(name))


def is_filler(name: str) -> bool:
    """Whether a name, such as ``data`` or ``Images_2``, says nothing about its content."""
    parts = words(name)
    return bool(parts) and all(re.fullmatch(f"(?:{_ANY_FILLER})+", word) for word in parts)


def named_splits(names: Iterable[str]) -> dict[Split, list[str]]:
    """The names that mean a split, by split.

    If a name means only a split (``test``), names with more words (``test_noisy``) do not count for
    that split.
    """
    names_of: dict[Split, list[tuple[str, SplitName]]] = defaultdict(list)
    for name in names:
        if read := split_name(name):
            names_of[read.split].append((name, read))
    chosen: dict[Split, list[str]] = {}
    for split in SPLITS:
        if split in names_of:
            plain = [name for name, read in names_of[split] if not read.rest]
            chosen[split] = plain or [name for name, _ in names_of[split]]
    return chosen


def one_each(names_of: Mapping[Split, Sequence[str]], where: str) -> dict[Split, str]:
    """The single name of each split.

    Raises:
        DatasetError: If a split has several names.
    """
    for split, names in names_of.items():
        if len(names) > 1:
            listed = ", ".join(f"'{name}'" for name in names)
            raise DatasetError(
                f"{where} has {len(names)} candidates for the {split} split: {listed}. Keep one, "
                "and rename the others or take them out."
            )
    return {split: names[0] for split, names in names_of.items()}


def guess_splits(names: Sequence[str], where: str) -> dict[Split, str]:
    """Map the names of a copy's splits to train, val and test.

    A validation split without a test split is the test set. A single split of any other name is
    train. If train is the only split, the caller divides it.

    Args:
        names: The names of all its splits.
        where: Where they were found, for messages.

    Raises:
        DatasetError: If a split has several names, none of several names means a split, or the
            names beside train mean none.
    """
    splits = with_test(one_each(named_splits(names), where))
    if not splits and len(names) == 1:
        splits["train"] = names[0]
    if not splits:
        raise DatasetError(
            f"{where} has the splits {', '.join(names)}, and none of them is called train, "
            "validation or test."
        )
    if "test" not in splits and len(names) > 1:
        others = ", ".join(f"'{name}'" for name in names if name not in splits.values())
        raise DatasetError(
            f"{where} has '{splits['train']}' and no test split, and beside it {others}, of which "
            "no name means a split. Call the test split 'test', or take out what is none."
        )
    return splits


Held = TypeVar("Held")


def with_test(splits: dict[Split, Held]) -> dict[Split, Held]:
    """The splits, with validation as the test set if there is no other."""
    if "test" not in splits and "val" in splits:
        return {"test" if split == "val" else split: held for split, held in splits.items()}
    return splits


def with_labels(
    splits: Mapping[Split, str], hidden: Callable[[str], bool]
) -> tuple[dict[Split, str], list[str]]:
    """The splits, with validation as the test set if the test set has no labels.

    Args:
        splits: The name of each split.
        hidden: Whether none of the images of a split has a label.

    Returns:
        The splits, and a line about the change, if any.
    """
    if "test" not in splits or "val" not in splits or not hidden(splits["test"]):
        return dict(splits), []
    test, val = splits["test"], splits["val"]
    line = f"'{test}' has no labels, so '{val}' is the test set and there is no val"
    return with_test({split: name for split, name in splits.items() if split != "test"}), [line]


def division(only: str = "") -> str:
    """A remark on images without a test split.

    Args:
        only: Name of the only split; empty for none.
    """
    reason = f"there is only '{only}'" if only else "it has no test split"
    return f"{reason}, so each class is divided: 50 % train, 20 % val, 30 % test"


def own_name(path: Path) -> list[str]:
    """A remark on data that is divided although its own name is that of a split."""
    name = path.resolve().name if path.is_dir() else path.stem
    read = split_name(name)
    if read is None or read.rest or read.split == "train":
        return []
    if path.is_dir():
        return [f"to score all of it, give a folder with '{name}' in it and no other split"]
    return [f"to score all of it, give it a column 'split' that says {read.split} in every row"]


def split_remarks(names: Sequence[str], splits: Mapping[Split, str]) -> list[str]:
    """Remarks on a choice of splits: unused ones, and validation as the test set.

    Args:
        names: The names of all splits.
        splits: The name chosen for each split.
    """
    lines = []
    if (name := splits.get("test")) and (read := split_name(name)) and read.split == "val":
        lines.append(f"there is no test split, so '{name}' is the test set and there is no val")
    if unused := [f"'{name}'" for name in names if name not in splits.values()]:
        lines.append(f"not used: {', '.join(unused)}, beside {', '.join(splits.values())}")
    return lines


def files_by_split(files: Sequence[str], where: str) -> dict[str, list[str]]:
    """Files of each split, by the names of their folders or their own.

    Args:
        files: Paths from the data's folder.
        where: The folder, for messages.

    Returns:
        Files in their order, under ``train``, ``validation``, ``test``, or the words of a name
        that means no split; all under ``train`` if no name means one.

    Raises:
        DatasetError: If a file has the names of two splits.
    """
    read = {file: _in_path(file, where) for file in files}
    if not any(read.values()):
        return {"train": list(files)} if files else {}
    rests: dict[Split, set[tuple[str, ...]]] = defaultdict(set)
    for name in read.values():
        if name:
            rests[name.split].add(name.rest)
    files_of: dict[str, list[str]] = defaultdict(list)
    for file, name in read.items():
        if name is None:
            group = "_".join(words(PurePath(file).stem)) or "unnamed"
        elif name.rest and len(rests[name.split]) > 1:
            group = "_".join((*name.rest, name.split))
        else:
            group = _TABLE_NAMES[name.split]
        files_of[group].append(file)
    return dict(files_of)


def nameless(files: Sequence[str], where: str) -> list[str]:
    """A remark on files with several names, none of which means a split.

    Args:
        files: As `files_by_split` takes them.
        where: The folder, for messages.
    """
    stems = (re.sub(r"-\d{5}-of-\d{5}$", "", PurePath(file).stem) for file in files)
    names = sorted({"_".join(words(stem)) for stem in stems})
    if len(names) < 2 or any(_in_path(file, where) for file in files):
        return []
    listed = ", ".join(f"'{name}'" for name in names[:5]) + (" ..." if names[5:] else "")
    return [f"no file is named after a split, so their rows are divided together: {listed}"]


def _in_path(file: str, where: str) -> SplitName | None:
    """The split of a file: a part of its path that means only a split counts first."""
    path = PurePath(file)
    parts = (*path.parent.parts, path.stem)
    read = [name for part in parts if (name := split_name(part))]
    plain = [name for name in read if not name.rest] or read
    if len({name.split for name in plain}) > 1:
        raise DatasetError(
            f"{where}: the path of {file} has the names of several splits. Rename it."
        )
    return plain[0] if plain else None
