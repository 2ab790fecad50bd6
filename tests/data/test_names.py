from __future__ import annotations

import pytest

from susx_bench.data.names import names_one_of
from susx_bench.registry import DATASETS


@pytest.mark.parametrize(
    ("name", "datasets", "same"),
    [
        ("ucf101", {"ucf101"}, True),
        ("UCF-101", {"ucf101"}, True),
        ("caltech101-named", {"caltech101"}, True),
        ("org-sun397_v2", {"sun397"}, True),
        ("whurs19-1prompt", {"whurs19"}, True),  # not a dataset of ours
        ("imagenet-r", {"imagenet"}, False),  # another dataset of ours
        ("my-imagenet-sketch", {"imagenet"}, False),
        ("my-imagenet-sketch", {"imagenet-sketch"}, True),
        ("imagenet-v2", {"imagenet"}, False),
        ("imagenet-v3", {"imagenet"}, True),  # nobody else's name
        ("cifar100", {"cifar10"}, False),
        ("cub", {"ucf101", "dtd"}, False),
        ("", {"dtd"}, False),
        ("…", {"dtd"}, False),
        ("dtd", set(), False),
    ],
)
def test_a_name_stands_for_the_longest_dataset_in_it(
    name: str, datasets: set[str], same: bool
) -> None:
    assert names_one_of(name, datasets, DATASETS.names()) == same
