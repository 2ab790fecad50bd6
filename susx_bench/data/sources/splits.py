"""Published split files, and splits made where there is none."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from susx_bench.data.classes import match, same_names
from susx_bench.data.sources.base import Sample, Samples, pairs_of, reason
from susx_bench.data.spec import SPLITS, DatasetSpec, Split
from susx_bench.data.splitnames import one_each, split_name, split_remarks, with_test
from susx_bench.errors import DatasetError
from susx_bench.records.files import sha256_file
from susx_bench.records.kept import Arrays, as_array, from_array, kept
from susx_bench.records.text import read_json

Class = TypeVar("Class", bound=Hashable)
Named = tuple[int, str]
"""A file's own label of a class, and its name."""
_ROWS = TypeAdapter(dict[Split, list[tuple[str, int, str]]])

_READING = 1
"""How split files are read; another number where another list comes of a file."""

UNSPLIT = "susx-bench 50/20/30"
"""Protocol of images that came without a split, see `divide`."""


def read_split_file(
    path: Path, spec: DatasetSpec, say: Callable[[str], object]
) -> dict[Split, Sequence[Sample]]:
    """Read ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    The keys may be other usual names of splits, and val is the test split where there is no other.
    The labels are those of the class names, whatever
    numbers the file has; but numbers tell two classes of one name apart, see `match`.

    Args:
        path: The file.
        spec: The facts.
        say: Told which classes have one name, and which split takes another's place.

    Raises:
        DatasetError: If the file is missing or of another form, has a key that means no split,
            gives one class two numbers, or for what `labelled` refuses.
    """
    rows, classes, remarks = _rows(path, spec.name, spec.fetch)
    _refuse_several(classes, spec.name, path, allowed=len(classes) == len(spec.classnames))
    labels = match([name for _, name in classes], spec, str(path))
    for line in (*remarks, *same_names(classes)):
        say(f"in {path.name} {line}")
    if None not in labels and _is_plain(list(rows.values())):
        theirs = np.array(labels, np.int32)
        return {s: Samples(e.text, e.ends, theirs[e.labels]) for s, e in rows.items()}
    pairs = {split: pairs_of(each) for split, each in rows.items()}
    return labelled(pairs, dict(enumerate(labels)), spec, str(path))


def _is_plain(lists: Sequence[Samples]) -> bool:
    """Whether it is seen at a glance that `labelled` refuses none of some keys."""
    for each in lists:
        text = np.frombuffer(each.text, np.uint8)
        first = np.concatenate([[0], each.ends[:-1]])
        if not len(each) or (first == each.ends).any() or b"//" in each.text or b"/." in each.text:
            return False
        if (
            np.isin(text[first], [ord("/"), ord(".")]).any()
            or (text[each.ends - 1] == ord("/")).any()
        ):
            return False
    hashes = np.fromiter((hash(key) for each in lists for key in each.keys), np.int64)
    return len(np.unique(hashes)) == len(hashes)


def split_file_classes(path: Path, dataset: str) -> list[str]:
    """Names of the classes in a split file, sorted: those of all its splits together.

    Raises:
        DatasetError: As `read_split_file` does, if there are fewer than two classes, or if two
            have one number.
    """
    _, classes, _ = _rows(path, dataset, "")
    if len(classes) < 2:
        raise DatasetError(
            f"{dataset}: {path} has {len(classes)} class{'' if classes else 'es'}, at least 2 are "
            "needed."
        )
    _refuse_several(classes, dataset, path)
    for (number, name), (following, other) in pairwise(classes):
        if number == following:
            raise DatasetError(
                f"{dataset}: {path} gives two classes the label {number}: '{name}' and '{other}'."
            )
    return sorted(name for _, name in classes)


def _refuse_several(
    classes: Sequence[Named], dataset: str, path: Path, *, allowed: bool = False
) -> None:
    """Refuse one name with several numbers, unless it is known that two classes have one name."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, name in classes:
        numbers[name].append(number)
    for name, several in numbers.items():
        if len(several) > 1 and not allowed:
            raise DatasetError(f"{dataset}: {path} gives class '{name}' the labels {several}.")


def _rows(
    path: Path, dataset: str, fetch: str
) -> tuple[dict[Split, Samples], list[Named], list[str]]:
    """The images of every split, labelled by their class's place in the second list; and remarks.

    What was read is kept under the hash of the file.
    """
    if not path.is_file():
        raise DatasetError(f"{dataset}: the split file {path} does not exist. {fetch}".rstrip())
    try:
        state = [_READING, sha256_file(path)]
    except OSError as error:
        raise _no_split_file(path, dataset, error) from error

    def make() -> Arrays:
        rows, classes, keys = _parsed(path, dataset)
        packed = {name: array for s, each in rows.items() for name, array in each.packed(s).items()}
        return packed | {"classes": as_array(classes), "keys": as_array(list(keys.items()))}

    arrays = kept(("split file", str(path.absolute())), state, make)
    keys: dict[Split, str] = dict(from_array(arrays["keys"]))
    classes = [(int(number), str(name)) for number, name in from_array(arrays["classes"])]
    samples = {split: Samples.unpacked(arrays, split) for split in keys}
    return samples, classes, split_remarks(list(keys.values()), keys)


def _parsed(
    path: Path, dataset: str
) -> tuple[dict[Split, Samples], list[Named], Mapping[Split, str]]:
    """What `_rows` gives, and the file's key of each split."""
    try:
        table = read_json(path)
        if not isinstance(table, dict):
            raise ValueError("it is no object")
        keys = with_test(_split_keys(list(table), f"{dataset}: {path}"))
        rows = _ROWS.validate_python({split: table.pop(key) for split, key in keys.items()})
    except (OSError, ValueError) as error:
        raise _no_split_file(path, dataset, error) from error
    if "test" not in rows:
        others = f", only {', '.join(keys.values())}" if keys else ""
        raise DatasetError(
            f"{dataset}: {path} has no 'test' split{others}. Name the images to be tested in it."
        )
    classes = sorted({(number, name) for _, number, name in chain(*rows.values())})
    place = {named: label for label, named in enumerate(classes)}
    samples = {
        split: Samples.of((image, place[number, name]) for image, number, name in entries)
        for split, entries in rows.items()
    }
    return samples, classes, keys


def _no_split_file(path: Path, dataset: str, error: Exception) -> DatasetError:
    why = reason(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, first['loc']))} {first['msg']}."
    return DatasetError(
        f"{dataset}: {path} is not a split file, "
        f'{{"train": [[path, label, class name], ...], ...}}: {why}'
    )


def _split_keys(keys: Sequence[str], where: str) -> dict[Split, str]:
    """The key of each split.

    Raises:
        DatasetError: If a key means no split, or two mean one.
    """
    found: dict[Split, list[str]] = defaultdict(list)
    for key in keys:
        name = split_name(key)
        if name is None:
            raise DatasetError(
                f"{where} has the key '{key}', which means no split. Take it out: a split file has "
                "train, val and test."
            )
        found[name.split].append(key)
    return one_each(found, where)


def labelled(
    rows: Mapping[Split, Iterable[tuple[str, Class]]],
    labels: Mapping[Class, int | None],
    spec: DatasetSpec,
    where: str,
) -> dict[Split, Sequence[Sample]]:
    """The images of every split, listed as relative path and class, with their labels.

    Args:
        rows: The list of each split.
        labels: Of the classes; None for one that the protocol drops.
        spec: The facts.
        where: What lists them, for messages.

    Raises:
        DatasetError: If an image is listed twice, or a path leaves the images' folder.
    """
    seen: dict[str, str] = {}
    samples: dict[Split, Sequence[Sample]] = {}
    for split, entries in rows.items():

        def checked(split: str, entries: Iterable[tuple[str, Class]]) -> Iterator[tuple[str, int]]:
            for key, theirs in entries:
                if (label := labels[theirs]) is None:
                    continue
                path = _plain(key)
                if path.startswith("/"):
                    raise DatasetError(
                        f"{spec.name}: {where} names '{key}', a path from the root. Give paths "
                        "from the images' folder."
                    )
                if ".." in path and ".." in path.split("/"):
                    raise DatasetError(
                        f"{spec.name}: {where} names '{key}', which is outside the images' folder."
                    )
                if path in seen:
                    raise DatasetError(
                        f"{spec.name}: {where} lists '{key}' twice, in {seen[path]} and in {split}."
                    )
                seen[path] = split
                yield key, label

        samples[split] = Samples.of(checked(split, entries))
    return samples


def _plain(key: str) -> str:
    """One spelling of a path, whatever dots and slashes it has that mean nothing."""
    if "//" in key or "/." in key or key[:1] in ("/", ".") or key[-1:] in ("/", ""):
        return PurePosixPath(key).as_posix()
    return key


def divide(samples: Sequence[Sample], seed: int = 1) -> Mapping[Split, Sequence[Sample]]:
    """Split every class into 50 % train, 20 % val and 30 % test, by CoOp's rule.

    A class has a test image at least. Where the classes are so small that nothing is left for
    train or val, there is no such split.

    Source:
        CoOp's ``datasets/dtd.py``: ``round(n * 0.5)``, ``round(n * 0.2)``, the rest.
    """
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_class[sample.label].append(sample)
    shuffle = random.Random(seed)
    found: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    for label in sorted(by_class):
        members = sorted(by_class[label])
        shuffle.shuffle(members)
        train = round(len(members) * 0.5)
        val = min(round(len(members) * 0.2), len(members) - train - 1)
        found["train"] += members[:train]
        found["val"] += members[train : train + val]
        found["test"] += members[train + val :]
    return {split: part for split, part in found.items() if part or split == "test"}
