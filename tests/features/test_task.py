"""A dataset as a task: what it encodes once, and what it makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.facts.digits import SPEC
from susx_bench.data.sources.base import Sample
from susx_bench.encoders.openclip import OpenClip
from susx_bench.features.contents import Contents
from susx_bench.features.dataset_task import DatasetTask
from susx_bench.features.launch import Launch
from susx_bench.features.store import FeatureStore
from susx_bench.features.task import Need, TaskFeatures
from tests.data.made import digits

LAUNCH = Launch(accelerator="cpu", workers=0)
TEXTS = [[f"the digit {name}", name] for name in SPEC.classnames]


def task_of(folder: Path, views: int = 1) -> DatasetTask:
    encoder = OpenClip("demo")
    store = FeatureStore(str(folder))
    return DatasetTask(
        Dataset(SPEC),
        encoder,
        "mine",
        TEXTS,
        digits("train"),
        "few-shot",
        views,
        store,
        Contents(store),
    )


def encoded(task: DatasetTask, need: Need) -> TaskFeatures:
    return task.features(need, LAUNCH, lambda unit, count: None)


@torch.no_grad()
def test_in_full_rows_are_as_the_encoder_gives_them(tmp_path: Path) -> None:
    task, part = task_of(tmp_path), torch.tensor([7, 2, 9])
    assert {"norms", "spatial"} <= task.gives
    unit = encoded(task, Need([part]))
    full = unit.in_full()

    towers, test, train = OpenClip("demo").towers, digits("test"), digits("train")
    for rows, data, places in (
        (full.test, test, [0, 5, 300]),
        (full.support([part], part), train, part.tolist()),
    ):
        pixels = [towers.transform(data.image(data.samples[i])) for i in places]
        expected = towers.image_features(torch.stack(pixels))
        got = rows[places] if data is test else rows
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        assert (expected.norm(dim=-1) > 2).all()
    for k, texts in enumerate(TEXTS):
        rows = towers.text_features(texts)
        mean = F.normalize(F.normalize(rows, dim=-1).mean(0), dim=-1)
        torch.testing.assert_close(unit.text[k], mean, rtol=1e-4, atol=1e-4)
        length = (rows[0].norm() + rows[1].norm()) / 2
        torch.testing.assert_close(full.text[k], mean * length, rtol=1e-4, atol=1e-4)
    assert torch.allclose(unit.test.norm(dim=-1), torch.ones(len(unit.test)))


def test_a_mean_of_views_is_as_long_as_they_are_on_average(tmp_path: Path) -> None:
    part = torch.tensor([0, 1])
    task = task_of(tmp_path, views=3)
    unit = encoded(task, Need([part]))
    (store_part,) = [work for work in task._images.values() if work.views == 3]

    stored = FeatureStore(str(tmp_path)).get(store_part.recipe, 0)
    assert stored is not None
    lengths = [stored[3 * i : 3 * i + 3].norm(dim=-1).mean() for i in range(2)]

    got = unit.in_full().support([part], part).norm(dim=-1)
    torch.testing.assert_close(got, torch.stack(lengths))


def test_another_wording_encodes_no_image_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(tmp_path)
    first = encoded(task, Need([]))
    read: list[str] = []
    plain = DatasetSplit.image

    def image(self: DatasetSplit, sample: Sample) -> Any:
        read.append(sample.key)
        return plain(self, sample)

    monkeypatch.setattr(DatasetSplit, "image", image)
    other = task.with_prompts("others", [[f"a {name}"] for name in SPEC.classnames])

    assert other.missing(Need([])) == {"images": 0, "prompts": 10}
    second = encoded(other, Need([]))

    assert not read
    assert second.test is first.test
    assert (task.prompts, other.prompts) == ("mine", "others")
    assert other.hashes["prompts_sha256"] != task.hashes["prompts_sha256"]
    assert other.hashes["split_sha256"] == task.hashes["split_sha256"]
    words = [[f"a {name}"] for name in SPEC.classnames]
    torch.testing.assert_close(second.text, OpenClip("demo").towers.texts(words))
    assert torch.equal(encoded(task, Need([])).text, first.text)


def test_patches_are_read_only_where_they_are_needed(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    assert task.patched == {"test", "val"}
    assert encoded(task, Need([])).patches == {}
    need = Need([], patches=frozenset({"test"}))

    assert task.missing(need) == {"images": 769, "prompts": 0}
    patches = encoded(task, need).patches["test"]

    assert len(patches) == 769
    norms = torch.stack([patches[i].float().norm(dim=-1) for i in (0, 400, 768)])
    assert norms.shape == (3, 16)
    torch.testing.assert_close(norms, torch.ones(3, 16), atol=1e-3, rtol=0)
    assert task_of(tmp_path).missing(need) == {"images": 0, "prompts": 0}


def test_features_that_came_in_place_of_images_have_no_length(tmp_path: Path) -> None:
    pool = digits("train")
    pool.features = F.normalize(torch.ones(len(pool), 64), dim=-1)
    store = FeatureStore(str(tmp_path))
    task = DatasetTask(
        Dataset(SPEC), OpenClip("demo"), "mine", TEXTS, pool, "given", 1, store, Contents(store)
    )

    assert "norms" not in task.gives
    assert encoded(task, Need([torch.tensor([0])])).norms is None
