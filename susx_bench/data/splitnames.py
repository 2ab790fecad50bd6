"""Which split a name means, wherever somebody names one.

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
"""Split names that are too short to be believed beside another word."""

_FILLERS = (
    *("set", "sets", "split", "splits", "subset", "part", "partial", "fold", "shard", "of"),
    *("data", "dataset", "datasets", "folder", "dir", "files", "samples", "examples"),
    *("image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photo", "photos"),
    *("all", "full", "final", "crops", "cropped", "resized", "labeled", "labelled"),
    *("jpg", "jpeg", "png", "default", "imagefolder"),
)
"""Words that say nothing of what is in a folder, and so may stand beside a split's."""

_ANY_FILLER = "|".join(sorted(_FILLERS, key=len, reverse=True))
_ANY_WORD = "|".join(sorted((*_WORDS, *_BOTH), key=len, reverse=True))
_JOINED = re.compile(f"(?:{_ANY_FILLER})*({_ANY_WORD})(?:{_ANY_FILLER})*")
_TABLE_NAMES: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}


class SplitName(NamedTuple):
    """What a name says of a split.

    Attributes:
        split: The split.
        rest: The other words of the name that say something, such as ``("cars",)`` of
            ``cars_train`` or ``("val",)`` of ``trainval``; empty for a name that means a split
            and nothing else.
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
        The split, or None where the name has the word of no split or those of several. Train and
        val together, as in ``trainval``, are train.
    """
    content = [word for word in words(name) if word not in _FILLERS]
    if len(content) == 1 and content[0] in _SHORT:
        return SplitName(_SHORT[content[0]], ())
    found: set[Split] = set()
    rest: list[str] = []
    for word in content:
        if joined := _JOINED.fullmatch(word):
            found |= {"train", "val"} if joined[1] in _BOTH else {_WORDS[joined[1]]}
        else:
            rest.append(word)
    if found == {"train", "val"}:
        return SplitName("train", (*rest, "val"))
    if not found and name != (lower := name.lower()):
        return split_name(lower)  # the capitals of TeSt begin no words
    return SplitName(found.pop(), tuple(rest)) if len(found) == 1 else None


def is_short(name: str) -> bool:
    """Whether a name is the short form of a split's, such as ``tr``, and may be a code as well."""
    return any(word in _SHORT for word in words(name))


def is_filler(name: str) -> bool:
    """Whether a name, such as ``data`` or ``Images_2``, says nothing of what it holds."""
    found = words(name)
    return bool(found) and all(re.fullmatch(f"(?:{_ANY_FILLER})+", word) for word in found)


def named_splits(names: Iterable[str]) -> dict[Split, list[str]]:
    """The names that mean a split, by split.

    Where a name means a split and nothing else (``test``), others with more words (``test_noisy``)
    do not count for that split.
    """
    found: dict[Split, list[tuple[str, SplitName]]] = defaultdict(list)
    for name in names:
        if read := split_name(name):
            found[read.split].append((name, read))
    chosen: dict[Split, list[str]] = {}
    for split in SPLITS:
        if split in found:
            plain = [name for name, read in found[split] if not read.rest]
            chosen[split] = plain or [name for name, _ in found[split]]
    return chosen


def one_each(found: Mapping[Split, Sequence[str]], where: str) -> dict[Split, str]:
    """The one name of each split.

    Raises:
        DatasetError: If a split has several names.
    """
    for split, names in found.items():
        if len(names) > 1:
            listed = ", ".join(f"'{name}'" for name in names)
            raise DatasetError(
                f"{where} has {len(names)} candidates for the {split} split: {listed}. Keep one, "
                "and rename the others or take them out."
            )
    return {split: names[0] for split, names in found.items()}


def guess_splits(names: Sequence[str], where: str) -> dict[Split, str]:
    """Which of a copy's splits is which, by their names.

    Where there is a validation split and no test split, the former is the test set. A single
    split of any other name is train. Where there is no split but train, there is nothing to test
    on, and train is to be divided.

    Args:
        names: The names of all its splits.
        where: Where they were found, for messages.

    Raises:
        DatasetError: If a split has several names, no name of several means a split, or train
            stands beside others of which none means one.
    """
    found = with_test(one_each(named_splits(names), where))
    if not found and len(names) == 1:
        found["train"] = names[0]
    if not found:
        raise DatasetError(
            f"{where} has the splits {', '.join(names)}, and none of them is called train, "
            "validation or test."
        )
    if "test" not in found and len(names) > 1:
        others = ", ".join(f"'{name}'" for name in names if name not in found.values())
        raise DatasetError(
            f"{where} has '{found['train']}' and no test split, and beside it {others}, of which "
            "no name means a split. Call the test split 'test', or take out what is none."
        )
    return found


Held = TypeVar("Held")


def with_test(found: dict[Split, Held]) -> dict[Split, Held]:
    """The splits, with validation as the test set where there is no other."""
    if "test" not in found and "val" in found:
        return {"test" if split == "val" else split: held for split, held in found.items()}
    return found


def with_labels(
    found: Mapping[Split, str], hidden: Callable[[str], bool]
) -> tuple[dict[Split, str], list[str]]:
    """The splits, with validation as the test set where the test set has no labels.

    Args:
        found: The name of each split.
        hidden: Whether none of the images of a split has a label.

    Returns:
        The splits, and a line that tells of the change.
    """
    if "test" not in found or "val" not in found or not hidden(found["test"]):
        return dict(found), []
    line = (
        f"'{found['test']}' has no labels, so '{found['val']}' is the test set and there is no val"
    )
    return with_test({split: name for split, name in found.items() if split != "test"}), [line]


def division(only: str = "") -> str:
    """The line that tells of images that came without a test split.

    Args:
        only: Name of the split that there is; empty for none.
    """
    what = f"there is only '{only}'" if only else "it has no test split"
    return f"{what}, so each class is divided: 50 % train, 20 % val, 30 % test"


def own_name(path: Path) -> list[str]:
    """A line that tells of data that is divided although its own name is that of a split."""
    name = path.resolve().name if path.is_dir() else path.stem
    read = split_name(name)
    if read is None or read.rest or read.split == "train":
        return []
    if path.is_dir():
        return [f"to score all of it, give a folder with '{name}' in it and no other split"]
    return [f"to score all of it, give it a column 'split' that says {read.split} in every row"]


def split_remarks(names: Sequence[str], found: Mapping[Split, str]) -> list[str]:
    """What to tell of a choice of splits: which is left out, and which takes another's place.

    Args:
        names: The names of all splits there are.
        found: The name chosen for each split.
    """
    lines = []
    if (name := found.get("test")) and (read := split_name(name)) and read.split == "val":
        lines.append(f"there is no test split, so '{name}' is the test set and there is no val")
    if unused := [f"'{name}'" for name in names if name not in found.values()]:
        lines.append(f"not used: {', '.join(unused)}, beside {', '.join(found.values())}")
    return lines


def files_by_split(files: Sequence[str], where: str) -> dict[str, list[str]]:
    """Files of each split, which the name of a folder or of the file says.

    Args:
        files: Paths from the data's folder.
        where: The folder, for messages.

    Returns:
        Files in their order, under ``train``, ``validation``, ``test``, or the words of a name
        that means no split; all under ``train`` where no name means one.

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
    found: dict[str, list[str]] = defaultdict(list)
    for file, name in read.items():
        if name is None:
            group = "_".join(words(PurePath(file).stem)) or "unnamed"
        elif name.rest and len(rests[name.split]) > 1:
            group = "_".join((*name.rest, name.split))
        else:
            group = _TABLE_NAMES[name.split]
        found[group].append(file)
    return dict(found)


def nameless(files: Sequence[str], where: str) -> list[str]:
    """A line that tells of files of several names, none of which means a split.

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
    """The split that a file is of: a part that means nothing else decides, else any part."""
    path = PurePath(file)
    parts = (*path.parent.parts, path.stem)
    read = [found for part in parts if (found := split_name(part))]
    plain = [found for found in read if not found.rest] or read
    if len({found.split for found in plain}) > 1:
        raise DatasetError(
            f"{where}: the path of {file} has the names of several splits. Rename it."
        )
    return plain[0] if plain else None
