from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.images import Images, Subset
from susx_bench.data.sources.base import Sample
from susx_bench.encoders.base import Towers
from susx_bench.encoders.openclip import OpenClip
from susx_bench.features.blocks import BLOCK
from susx_bench.features.encode import STEP, _workers
from susx_bench.features.encode import fill as fill_shards
from susx_bench.features.launch import Launch
from susx_bench.features.rows import ImageRows, encode
from susx_bench.features.store import SHARD, FeatureStore
from susx_bench.features.views import augmented
from susx_bench.records.shared import portions
from tests.data.made import digits

DEMO = OpenClip("demo")
RECIPE = {"of": "a test"}


@pytest.fixture(scope="module")
def towers() -> Towers:
    return DEMO.towers


def files(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*.safetensors"))
    }


def fill(folder: Path, views: int = 1, launch: Launch | None = None) -> ImageRows:
    work = ImageRows(digits("train"), views, {"encoder": "demo"})
    store = FeatureStore(str(folder))
    launch = launch or Launch(accelerator="cpu", workers=0)
    found = store.load(work.recipe, work.rows)
    encode(work, found, DEMO, store, launch, lambda rows: None)
    return work


def test_rows_are_what_the_encoder_gives_one_step_at_a_time(tmp_path: Path, towers: Towers) -> None:
    work = fill(tmp_path)
    data = digits("train")
    store = FeatureStore(str(tmp_path))

    stored = torch.cat([s for s in store.load(work.recipe, work.rows) if s is not None])
    start = SHARD + BLOCK
    pixels = torch.stack(
        [towers.transform(data.image(s)) for s in data.samples[start : start + BLOCK]]
    )
    with torch.no_grad():
        steps = [towers.image_features(part) for part in torch.split(pixels, STEP["cpu"])]
        expected = torch.cat(steps)

    assert len(stored) == 771
    assert torch.equal(stored[start : start + BLOCK], expected)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (64, 2), (700, 1), (10_000, 0)])
def test_the_store_is_the_same_bytes_whatever_the_launch(
    tmp_path: Path, batch_size: int, workers: int
) -> None:
    fill(tmp_path / "a")
    launch = Launch(accelerator="cpu", batch_size=batch_size, workers=workers)
    fill(tmp_path / "b", launch=launch)

    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a")) == 4


def test_only_what_is_missing_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = fill(tmp_path)
    whole = files(tmp_path)
    Path(FeatureStore(str(tmp_path)).path(work.recipe, 1)).unlink()
    Path(FeatureStore(str(tmp_path)).path(work.recipe, 3)).write_bytes(b"half")
    read: list[str] = []
    plain = DatasetSplit.image

    def image(self: DatasetSplit, sample: Sample) -> Image.Image:
        read.append(sample.key)
        return plain(self, sample)

    monkeypatch.setattr(DatasetSplit, "image", image)

    fill(tmp_path)

    assert files(tmp_path) == whole
    keys = [sample.key for sample in digits("train").samples]
    assert set(read) == set(keys[SHARD : 2 * SHARD] + keys[3 * SHARD :])


class Picture(Images):
    """One image, its colour running from left to right."""

    name = "picture"
    classnames = ("a",)

    @property
    def samples(self) -> Sequence[Sample]:
        return [Sample("only", 0)]

    def image(self, sample: Sample) -> Image.Image:
        ramp = np.tile(np.arange(90, dtype=np.uint8) * 2, (90, 1))
        return Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], axis=-1))


def test_views_are_seeded_crops_and_about_half_are_mirrored(towers: Towers) -> None:
    image = Picture().image(Sample("only", 0))
    cfg = towers.preprocess_cfg | {"size": (64, 64)}
    state = torch.get_rng_state()

    views = torch.stack([augmented(image, f"x/{i}", cfg) for i in range(200)])

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(views[3], augmented(image, "x/3", cfg))
    assert (
        len({view.numpy().tobytes() for view in views}) > 120
    )  # the picture is the same from top to bottom
    rises = (views[:, 0, :, -1] > views[:, 0, :, 0]).float().mean(-1)
    assert 0.35 < float(rises.mean()) < 0.65
    # The red channel runs over the width: what a crop shows of it is its share of the width.
    spans = (views[:, 0].amax((1, 2)) - views[:, 0].amin((1, 2))) * cfg["std"][0] * 255 / (2 * 90)
    assert math.sqrt(0.5 * 3 / 4) - 0.03 < float(spans.min()) < 0.7
    assert float(spans.max()) > 0.95


def test_patches_are_kept_unit_and_in_half_precision(tmp_path: Path, towers: Towers) -> None:
    data = Subset(digits("test"), range(3))
    work = ImageRows(data, 1, {"encoder": "demo"}, patches=True)
    store = FeatureStore(str(tmp_path))
    fill_shards(work, [0], towers, store, Launch(accelerator="cpu"), lambda rows: None)

    stored = store.get(work.recipe, 0)
    with torch.no_grad():
        pixels = torch.stack([towers.transform(data.image(s)) for s in data.samples])
        patches = towers.spatial(pixels)

    assert stored is not None
    assert stored.dtype == torch.float16
    assert stored.shape == (3, 16, 64)
    expected = patches / patches.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(stored.float(), expected, atol=2**-11, rtol=2**-11)
    assert store.get(ImageRows(data, 1, {"encoder": "demo"}).recipe, 0) is None


def test_every_view_is_a_row_of_its_own(tmp_path: Path, towers: Towers) -> None:
    work = ImageRows(Picture(), 10, {"encoder": "demo"})
    store = FeatureStore(str(tmp_path))
    rows = encode(work, [None], DEMO, store, Launch(accelerator="cpu"), lambda rows: None)

    image = Picture().image(Sample("only", 0))
    pixels = [augmented(image, f"picture/only/{i}", towers.preprocess_cfg) for i in range(10)]
    with torch.no_grad():
        expected = towers.image_features(torch.stack(pixels))

    assert rows.shape == (10, expected.shape[1])
    torch.testing.assert_close(rows, expected)


# One interpreter imports torch once and forks a child for every kill.
KILLS = """
import json, os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from tests.data.made import digits
from susx_bench.encoders.openclip import OpenClip
from susx_bench.features.encode import STEP
from susx_bench.features.rows import ImageRows, encode
from susx_bench.features.launch import Launch
from susx_bench.features.store import FeatureStore

demo = OpenClip("demo")
demo.towers  # loaded once, for every child

def fill(folder):
    work = ImageRows(digits("train"), 2, {"encoder": "demo"})
    store = FeatureStore(folder)
    found = store.load(work.recipe, work.rows)
    if any(shard is None for shard in found):
        encode(work, found, demo, store, Launch(accelerator="cpu", workers=0), lambda rows: None)

def child(folder, seconds):
    pid = os.fork()
    if pid == 0:
        fill(folder)
        os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]

started = time.perf_counter()
pid = os.fork()
if pid == 0:
    fill(sys.argv[1]); os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
whole = time.perf_counter() - started
chance = random.Random(1)
ends = [child(sys.argv[2], chance.uniform(0, whole / 3)) for _ in range(20)]
pid = os.fork()
if pid == 0:
    fill(sys.argv[2]); os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(json.dumps(sum(end == signal.SIGKILL for end in ends)))
"""


def test_killed_at_twenty_moments_the_store_ends_with_the_same_bytes(tmp_path: Path) -> None:
    quiet, hurt = tmp_path / "quiet", tmp_path / "hurt"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLS, str(quiet), str(hurt)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) >= 5, "hardly any child was killed at work"
    assert files(quiet) == files(hurt)
    assert len(files(quiet)) == 7
    assert not list(hurt.rglob(".*")) or all(p.name.startswith(".") for p in hurt.rglob(".*"))


def shared(store: FeatureStore, shards: int) -> tuple[Generator[list[int]], list[int]]:
    made: list[int] = []

    def is_made(shard: int) -> bool:
        if store.get(RECIPE, shard) is None:
            return False
        made.append(shard)
        return True

    return portions(range(shards), 4, lambda shard: store.lock(RECIPE, shard), is_made), made


def test_shards_that_another_process_makes_are_waited_for(tmp_path: Path) -> None:
    store = FeatureStore(str(tmp_path))
    other = store.lock(RECIPE, 1)
    assert other.acquire()
    work, made = shared(store, 3)

    assert next(work) == [0, 2]
    for shard in (0, 2, 1):  # the other is done in the meantime
        store.put(RECIPE, shard, torch.ones(2, 3))
    other.release()

    assert list(work) == []
    assert made == [1]
    assert list(tmp_path.rglob("*.lock.unfinished")) == []


def test_shards_that_another_process_gives_up_are_taken_over(tmp_path: Path) -> None:
    store = FeatureStore(str(tmp_path))
    other = store.lock(RECIPE, 0)
    assert other.acquire()
    work, made = shared(store, 2)

    assert next(work) == [1]
    store.put(RECIPE, 1, torch.ones(2, 3))
    other.release()

    assert next(work) == [0]
    store.put(RECIPE, 0, torch.ones(2, 3))
    assert list(work) == []
    assert made == []


def test_a_long_list_is_cut_into_portions(tmp_path: Path) -> None:
    work, _ = shared(FeatureStore(str(tmp_path)), 32)

    assert next(work) == [0, 1, 2, 3]
    work.close()  # as an error does
    assert list(tmp_path.rglob("*.lock.unfinished")) == []


def test_a_store_without_locks_lets_everybody_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    monkeypatch.setattr("fcntl.flock", flock)
    for store in FeatureStore("memory://shared"), FeatureStore(str(tmp_path)):
        assert [store.lock(RECIPE, 0).acquire() for _ in range(2)] == [True, True]


def test_a_killed_process_leaves_its_shards_to_the_others(tmp_path: Path) -> None:
    code = (
        "import os, sys; from susx_bench.features.store import FeatureStore; "
        f"assert FeatureStore(sys.argv[1]).lock({RECIPE!r}, 0).acquire(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert done.returncode == -9

    work, _ = shared(FeatureStore(str(tmp_path)), 1)
    assert next(work) == [0]


def test_no_process_is_forked_beside_the_threads_that_join_several_on_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python before 3.11.10 may leave it waiting for a lock for ever."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.cpu_count", lambda: 8)

    assert _workers(Launch(accelerator="cpu"), 1000) == 8
    assert _workers(Launch(devices=2, accelerator="cpu"), 1000) == 0
    assert _workers(Launch(devices=2, accelerator="cpu", workers=3), 1000) == 3
    assert _workers(Launch(devices=2, accelerator="gpu"), 1000) == 4
