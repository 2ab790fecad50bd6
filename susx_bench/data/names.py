"""Recognise a dataset by the name of a copy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set


def names_one_of(name: str, datasets: Set[str], known: Iterable[str]) -> bool:
    """Whether a name belongs to one of some datasets.

    Case, punctuation and words beside the name are ignored: ``UCF-101`` is ``ucf101``,
    ``caltech101-named`` is ``caltech101``, ``org-dtd`` is ``dtd``. Of several known names in it the
    longest counts: ``imagenet-r`` is not ``imagenet``.

    Args:
        name: Name of the data.
        datasets: Names of the datasets.
        known: Names of all datasets.
    """
    words = re.findall(r"[^\W_]+", name.lower())
    runs = {
        "".join(words[first:last])
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
    }
    wanted = {_plain(dataset) for dataset in datasets}
    mentioned = runs & (wanted | {_plain(dataset) for dataset in known})
    return max(mentioned, key=lambda run: (len(run), run), default="") in wanted


def _plain(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.lower()))
