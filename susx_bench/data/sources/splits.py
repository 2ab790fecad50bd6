"""Read published split files, and divide datasets that have no split."""

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
"""Version of the reader of split files; raise it if a file gives another list."""

UNSPLIT = "susx-bench 50/20/30"
"""Protocol of images that came without a split, see `divide`."""


def read_split_file(
    path: Path, spec: DatasetSpec, say: Callable[[str], object]
) -> dict[Split, Sequence[Sample]]:
    """Read ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    The keys may be other usual names of splits; val is the test split if there is no other. Labels
    follow from the class names; the file's numbers only distinguish two classes of one name, see
    `match`.

    Args:
        path: The file.
        spec: The facts.
        say: Called with remarks: classes with one name, and val as the test split.

    Raises:
        DatasetError: If the file is missing or of another form, has a key that means no split,
            gives one class two numbers, or lists images that `labelled` refuses.
    """
    rows, classes, remarks = _rows(path, spec.name, spec.fetch)
    _refuse_several(classes, spec.name, path, allowed=len(classes) == len(spec.classnames))
    labels = match([name for _, name in classes], spec, str(path))
    for line in (*remarks, *same_names(classes)):
        say(f"in {path.name} {line}")
    if None not in labels and _is_plain(list(rows.values())):
        theirs = np.array(labels, np.int32)
        return {s: Samples(e.text, e.ends, theirs[e.labels]) for s, e in rows.items()}
    pairs = {split: pairs_of(samples) for split, samples in rows.items()}
    return labelled(pairs, dict(enumerate(labels)), spec, str(path))


def _is_plain(lists: Sequence[Samples]) -> bool:
    """Whether a quick test shows that `labelled` accepts all keys."""
    for samples in lists:
        text = np.frombuffer(samples.text, np.uint8)
        first = np.concatenate([[0], samples.ends[:-1]])
        if (
            not len(samples)
            or (first == samples.ends).any()
            or b"//" in samples.text
            or b"/." in samples.text
        ):
            return False
        if (
            np.isin(text[first], [ord("/"), ord(".")]).any()
            or (text[samples.ends - 1] == ord("/")).any()
        ):
            return False
    hashes = np.fromiter((hash(key) for samples in lists for key in samples.keys), np.int64)
    return len(np.unique(hashes)) == len(hashes)


def split_file_classes(path: Path, dataset: str) -> list[str]:
    """Names of the classes in all splits of a split file, sorted.

    Raises:
        DatasetError: See `read_split_file`; also if there are fewer than two classes, or two have
            one number.
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
    """Refuse a name with several numbers, unless the facts have two classes of that name."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, name in classes:
        numbers[name].append(number)
    for name, several in numbers.items():
        if len(several) > 1 and not allowed:
            raise DatasetError(f"{dataset}: {path} gives class '{name}' the labels {several}.")


def _rows(
    path: Path, dataset: str, fetch: str
) -> tuple[dict[Split, Samples], list[Named], list[str]]:
    """The images of every split, labelled by position in the second list; and remarks.

    The result is cached under the hash of the file.
    """
    if not path.is_file():
        raise DatasetError(f"{dataset}: the split file {path} does not exist. {fetch}".rstrip())
    try:
        state = [_READING, sha256_file(path)]
    except OSError as error:
        raise _no_split_file(path, dataset, error) from error

    def make() -> Arrays:
        rows, classes, keys = _parsed(path, dataset)
        packed = {
            name: array for s, samples in rows.items() for name, array in samples.packed(s).items()
        }
        return packed | {"classes": as_array(classes), "keys": as_array(list(keys.items()))}

    arrays = kept(("split file", str(path.absolute())), state, make)
    keys: dict[Split, str] = dict(from_array(arrays["keys"]))
    classes = [(int(number), str(name)) for number, name in from_array(arrays["classes"])]
    samples = {split: Samples.unpacked(arrays, split) for split in keys}
    return samples, classes, split_remarks(list(keys.values()), keys)


def _parsed(
    path: Path, dataset: str
) -> tuple[dict[Split, Samples], list[Named], Mapping[Split, str]]:
    """The images and classes for `_rows`, and the file's key of each split."""
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
    keys_of: dict[Split, list[str]] = defaultdict(list)
    for key in keys:
        name = split_name(key)
        if name is None:
            raise DatasetError(
                f"{where} has the key '{key}', which means no split. Take it out: a split file has "
                "train, val and test."
            )
        keys_of[name.split].append(key)
    return one_each(keys_of, where)


def labelled(
    rows: Mapping[Split, Iterable[tuple[str, Class]]],
    labels: Mapping[Class, int | None],
    spec: DatasetSpec,
    where: str,
) -> dict[Split, Sequence[Sample]]:
    """The images of every split, listed as relative path and class, with their labels.

    Args:
        rows: The list of each split.
        labels: Label of each class; None for one that the protocol drops.
        spec: The facts.
        where: The list, for messages.

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
    """Normalise a path: remove redundant dots and slashes."""
    if "//" in key or "/." in key or key[:1] in ("/", ".") or key[-1:] in ("/", ""):
        return PurePosixPath(key).as_posix()
    return key


def divide(samples: Sequence[Sample], seed: int = 1) -> Mapping[Split, Sequence[Sample]]:
    """Split every class into 50 % train, 20 % val and 30 % test, by CoOp's rule.

    Every class has at least one test image. If the classes are too small for train or val, that
    split is left out.

    Source:
        CoOp's ``datasets/dtd.py``: ``round(n * 0.5)``, ``round(n * 0.2)``, the rest.
    """
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_class[sample.label].append(sample)
    shuffle = random.Random(seed)
    divided: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    for label in sorted(by_class):
        members = sorted(by_class[label])
        shuffle.shuffle(members)
        train = round(len(members) * 0.5)
        val = min(round(len(members) * 0.2), len(members) - train - 1)
        divided["train"] += members[:train]
        divided["val"] += members[train : train + val]
        divided["test"] += members[train + val :]
    return {split: part for split, part in divided.items() if part or split == "test"}
