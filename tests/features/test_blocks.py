from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from susx_bench.features.blocks import BLOCK
from susx_bench.features.datamodules import FeatureDataModule
from susx_bench.testing.task import unit


@dataclass
class Served:
    rows: torch.Tensor
    position: torch.Tensor


def serve(n: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Served]:
    data = FeatureDataModule(unit(n, 4, seed=1))
    data.batch_size = batch_size
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world)  # type: ignore[assignment]
    return [Served(rows, position) for rows, position in data.predict_dataloader()]


@pytest.mark.parametrize("n", [1, 63, 64, 65, 300])
@pytest.mark.parametrize("world", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_every_row_is_served_once_whatever_the_launch(n: int, world: int, batch_size: int) -> None:
    rows = unit(n, 4, seed=1)
    seen: list[int] = []
    batches = []
    for rank in range(world):
        served = serve(n, batch_size, rank, world)
        batches.append(len(served))
        for batch in served:
            assert batch.rows.shape[1] == BLOCK
            for block, position in zip(batch.rows, batch.position, strict=True):
                real = position >= 0
                assert torch.equal(block[real], rows[position[real]])
                seen += position[real].tolist()

    assert sorted(seen) == list(range(n))
    assert len(set(batches)) == 1, "ranks that make different numbers of steps wait for ever"


def test_membership_of_a_block_does_not_depend_on_the_launch() -> None:
    alone = {tuple(p.tolist()) for b in serve(300, 7) for p in b.position}
    shared = {tuple(p.tolist()) for r in (0, 1) for b in serve(300, 200, r, 2) for p in b.position}

    assert shared - alone <= {(-1,) * BLOCK}
    assert alone <= shared
