"""A pool from the loopback hub, by the real client in a process of its own."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.data.made import parquet, plain, webdataset
from tests.hub import Hub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

IMAGES = [plain(1), plain(2), plain(3)]
CODE = """
import json, os
from hashlib import sha256

from susx_bench.errors import BenchError
from susx_bench.support.pool import open_pool

def read(name):
    try:
        pool = open_pool(name)
        keys = [sample.key for sample in pool.samples]
        images = [sha256(pool.read(key)).hexdigest() for key in keys]
        return {"where": pool.where, "fingerprint": pool.fingerprint, "images": images}
    except BenchError as error:
        return str(error)

print(json.dumps([read(name) for name in json.loads(os.environ["POOLS"])]))
"""


def test_a_pool_of_the_hub_is_pinned_and_read_again_without_a_connection(tmp_path: Path) -> None:
    with Hub() as hub:
        first = hub.add("dataset", "org/pool", {"train.parquet": parquet(IMAGES, [0, 0, 1], "ab")})
        hub.add("dataset", "org/pool", {"train.parquet": parquet(IMAGES[:1], [0], "ab")})
        web = hub.add("dataset", "org/web", {"train/0.tar": webdataset(IMAGES, [0, 0, 1])})
        pools = json.dumps([f"hf:org/pool@{first}", "hf:org/web", "hf:org/none"])
        home = tmp_path / "home"

        table, shards, missing = hub.run(CODE, home, POOLS=pools)
        again = hub.run(CODE, home, POOLS=pools, HF_HUB_OFFLINE="1")

    there = [sha256(image).hexdigest() for image in IMAGES]
    assert table == {"where": f"hf:org/pool@{first}", "fingerprint": first, "images": there}
    assert shards == {"where": f"hf:org/web@{web}", "fingerprint": web, "images": there}
    assert "org/none" in missing
    assert again[:2] == [table, shards]
    assert "org/none" in again[2]
