"""Which dataset a name stands for, where people name their copies of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set


def names_one_of(name: str, datasets: Set[str], known: Iterable[str]) -> bool:
    """Whether data called `name` are one of some datasets, as far as names tell.

    Case and punctuation do not count, and words beside the name do not: ``UCF-101`` is ``ucf101``,
    ``caltech101-named`` is ``caltech101``, ``org-dtd`` is ``dtd``. Of several known names in it the
    longest counts: ``imagenet-r`` is not ``imagenet``.

    Args:
        name: What the data are called.
        datasets: Names to look for.
        known: Names of all datasets there are.
    """
    words = re.findall(r"[^\W_]+", name.lower())
    runs = {
        "".join(words[first:last])
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
    }
    wanted = {_plain(dataset) for dataset in datasets}
    found = runs & (wanted | {_plain(dataset) for dataset in known})
    return max(found, key=lambda run: (len(run), run), default="") in wanted


def _plain(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.lower()))
