from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from susx_bench.errors import ShotsError
from susx_bench.support.fewshot import Pool, draw, draw_coop, draw_in_parts, read_shots

NAMES = ["cat", "dog", "eel"]


@given(
    labels=st.lists(st.integers(0, 2), max_size=60).map(lambda extra: [0, 1, 2] * 5 + extra),
    shots=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_draws_are_balanced_nested_and_repeatable(labels: list[int], shots: int, seed: int) -> None:
    pool = Pool(torch.tensor(labels), NAMES, "toy")

    drawn = draw(pool, shots, seed)

    assert torch.bincount(pool.labels[drawn], minlength=3).tolist() == [shots] * 3
    assert len(set(drawn.tolist())) == 3 * shots
    assert torch.equal(draw(pool, shots, seed), drawn)
    if shots > 1:
        assert set(draw(pool, shots - 1, seed).tolist()) < set(drawn.tolist())


def test_seeds_draw_differently() -> None:
    pool = Pool(torch.arange(3).repeat_interleave(50), NAMES, "toy")

    assert not torch.equal(draw(pool, 4, 1), draw(pool, 4, 2))


def test_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    draw(Pool(torch.arange(3).repeat_interleave(5), NAMES, "toy"), 2, 1)

    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_images_name_the_class_and_both_numbers() -> None:
    pool = Pool(torch.tensor([0, 0, 0, 1, 1, 2, 2, 2]), NAMES, "toy")

    with pytest.raises(ShotsError, match=r"toy: class 1 \('dog'\) has 2 .* asks for 3"):
        draw(pool, 3, 1)


@given(counts=st.lists(st.integers(1, 20), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_tiers_hold_every_draw_and_do_not_depend_on_the_shots(counts: list[int], seed: int) -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    pool = Pool(labels, NAMES, "toy")
    most = min(counts)

    whole = [part.tolist() for part in draw_in_parts(pool, most, seed)]
    for shots in range(1, most + 1):
        parts = [part.tolist() for part in draw_in_parts(pool, shots, seed)]
        assert parts == whole[: len(parts)]
        assert set(draw(pool, shots, seed).tolist()) <= {i for part in parts for i in part}
    flat = [i for part in whole for i in part]
    assert len(flat) == len(set(flat))


def coop_loop(labels: list[int], val: list[int], shots: int, seed: int) -> list[list[str]]:
    """The public code's own steps, on items instead of images."""
    random.seed(seed)
    drawn = []
    for name, part, each in (("train", labels, shots), ("val", val, min(shots, 4))):
        tracker: dict[int, list[str]] = {}
        for i, label in enumerate(part):
            tracker.setdefault(label, []).append(f"{name}{i}")
        found: list[str] = []
        for items in tracker.values():
            found.extend(random.sample(items, each) if len(items) >= each else items)
        drawn.append(found)
    return drawn


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shots", [1, 4, 16])
def test_the_coop_draw_is_that_of_the_public_code(shots: int, seed: int) -> None:
    labels = [2, 0, 1] * 12 + [0] * 10
    val = [1, 0, 2] * 5
    state = random.getstate()
    expected = coop_loop(labels, val, shots, seed)
    random.setstate(state)

    train, held = draw_coop(
        Pool(torch.tensor(labels), NAMES, "toy"), shots, seed, Pool(torch.tensor(val), NAMES, "val")
    )

    assert [f"train{i}" for i in train.tolist()] == expected[0]
    assert [f"val{i}" for i in held.tolist()] == expected[1]
    assert random.getstate() == state


def test_a_shots_file_names_images_by_key_or_position(tmp_path: Path) -> None:
    path = tmp_path / "shots.json"
    path.write_text(json.dumps(["b.jpg", 0]))

    assert read_shots(path, ["a.jpg", "b.jpg"], "toy").tolist() == [0, 1]  # in whatever order


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["c.jpg"]', "'c.jpg' is no image of toy, which has 2"),
        ("[2]", "2 is no image"),
        ("[true]", "True is no image"),
        ('[0, "a.jpg"]', "names 'a.jpg' twice"),
        ("[]", "not a JSON list"),
        ("{", "cannot be read"),
    ],
)
def test_a_bad_shots_file_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "shots.json"
    path.write_text(content)

    with pytest.raises(ShotsError, match=message):
        read_shots(path, ["a.jpg", "b.jpg"], "toy")
