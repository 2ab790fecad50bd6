from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from susx_bench.data.dataset import Dataset
from susx_bench.data.facts.digits import SPEC, Digits
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import Split
from susx_bench.errors import DatasetError
from tests.data.made import digits

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def test_splits_share_no_image_and_lose_none() -> None:
    keys = [sample.key for split in SPLITS for sample in digits(split).samples]

    assert len(keys) == len(set(keys)) == 1797


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_class(split: Split) -> None:
    counts = np.bincount(digits(split).labels, minlength=10)

    assert counts.min() >= 0.8 * counts.mean()


def test_images_and_labels_are_scikit_learns() -> None:
    table = load_digits()
    data = digits("test")

    for sample in data.samples[:20]:
        image = data.image(sample)
        assert image.mode == "RGB"
        assert sample.label == table.target[int(sample.key)]
        ink = np.asarray(image)[..., 0].astype(float) * 16 / 255
        assert np.abs(ink - table.images[int(sample.key)]).max() < 0.05


def test_a_wrong_count_names_both_numbers() -> None:
    class Short(Digits):
        def index(self, split: Split) -> list[Sample]:
            return super().index(split)[:-2]

    with pytest.raises(DatasetError, match=r"digits: test has 767 images .* has 769"):
        _ = Dataset(replace(SPEC, source=Short)).split("test").samples


def test_a_label_without_a_class_is_refused() -> None:
    class Wrong(Digits):
        def index(self, split: Split) -> list[Sample]:
            return [Sample("0000", 10), *super().index(split)[1:]]

    with pytest.raises(DatasetError, match="0000 has label 10, but there are 10 classes"):
        _ = Dataset(replace(SPEC, source=Wrong)).split("test").samples


def test_hashes_tell_splits_apart() -> None:
    assert len({digits(split).sha256 for split in SPLITS}) == 3
