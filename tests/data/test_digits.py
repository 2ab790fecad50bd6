from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from susx_bench.data.digits import Digits
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import Split
from susx_bench.errors import DatasetError

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def test_splits_share_no_image_and_lose_none() -> None:
    keys = [sample.key for split in SPLITS for sample in Digits(split).samples]

    assert len(keys) == len(set(keys)) == 1797


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_class(split: Split) -> None:
    counts = torch.bincount(Digits(split).labels, minlength=10)

    assert counts.min() >= 0.8 * counts.float().mean()


def test_images_and_labels_are_scikit_learns() -> None:
    table = load_digits()
    data = Digits("test")

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
        _ = Short("test").samples


def test_a_label_without_a_class_is_refused() -> None:
    class Wrong(Digits):
        def index(self, split: Split) -> list[Sample]:
            return [Sample("0000", 10), *super().index(split)[1:]]

    with pytest.raises(DatasetError, match="0000 has label 10, but there are 10 classes"):
        _ = Wrong("test").samples


def test_hashes_tell_splits_apart() -> None:
    assert len({Digits(split).sha256 for split in SPLITS}) == 3
