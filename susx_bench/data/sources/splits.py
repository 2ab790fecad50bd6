"""Published split files, and splits made where there is none."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from susx_bench.data.classes import match
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import SPLITS, DatasetSpec, Split
from susx_bench.errors import DatasetError

UNSPLIT = "susx-bench 50/20/30"
"""Protocol of images that came without a split, see `divide`."""


class SplitTable(NamedTuple):
    """A split file that was read and checked.

    Attributes:
        path: The file.
        samples: The images of each split.
    """

    path: Path
    samples: dict[Split, list[Sample]]


def read_split_file(path: Path, spec: DatasetSpec) -> SplitTable:
    """Read ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    The labels are those of the names, whatever numbers the file has.

    Raises:
        DatasetError: If the file is missing or of another form, names a class the dataset has not,
            gives one class two numbers, lists an image twice, or a path that leaves the folder.
    """
    if not path.is_file():
        raise DatasetError(f"{spec.name}: the split file {path} does not exist. {spec.fetch}")
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            split: [(str(key), int(number), str(name)) for key, number, name in table[split]]
            for split in SPLITS
            if split in table
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{spec.name}: {path} is not a split file, "
            f'{{"train": [[path, label, class name], ...], ...}}: {error}.'
        ) from error
    if "test" not in rows:
        raise DatasetError(f"{spec.name}: {path} has no 'test' split.")
    numbers: dict[str, set[int]] = defaultdict(set)
    for entries in rows.values():
        for _, number, name in entries:
            numbers[name].add(number)
    for name, several in numbers.items():
        if len(several) > 1:
            raise DatasetError(
                f"{spec.name}: {path} gives class '{name}' the labels {sorted(several)}."
            )
    names = sorted(numbers)
    labels = dict(zip(names, match(names, spec, str(path)), strict=True))
    seen: dict[str, str] = {}
    samples: dict[Split, list[Sample]] = {}
    for split, entries in rows.items():
        samples[split] = []
        for key, _, name in entries:
            label = labels[name]
            if label is None:
                continue
            if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
                raise DatasetError(
                    f"{spec.name}: {path} names '{key}', which is outside the images' folder."
                )
            if key in seen:
                raise DatasetError(
                    f"{spec.name}: {path} lists '{key}' twice, in {seen[key]} and in {split}."
                )
            seen[key] = split
            samples[split].append(Sample(key, label))
    return SplitTable(path, samples)


def divide(samples: Sequence[Sample], seed: int = 1) -> Mapping[Split, list[Sample]]:
    """Split every class into 50 % train, 20 % val and 30 % test, by CoOp's rule.

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
        train, val = round(len(members) * 0.5), round(len(members) * 0.2)
        found["train"] += members[:train]
        found["val"] += members[train : train + val]
        found["test"] += members[train + val :]
    return found
