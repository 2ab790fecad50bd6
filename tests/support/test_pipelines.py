"""Pipelines from the hub: at a commit, once, in safetensors, and offline again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from susx_bench.support.pipelines import PRESETS, Pipeline
from tests.hub import Hub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


LOOK = """
import json, os
from susx_bench.errors import SupportError
from susx_bench.support.pipelines import Pipeline

def look(name):
    try:
        pipeline = Pipeline(name)
        files = sorted(p.relative_to(pipeline.folder).as_posix()
                       for p in pipeline.folder.rglob("*") if p.is_file())
        return [pipeline.repository, pipeline.revision, pipeline.kind, pipeline.safety_checker,
                type(pipeline.loaded).__name__, files]
    except SupportError as error:
        return str(error)

print(json.dumps([look(name) for name in json.loads(os.environ["NAMES"])]))
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_pipeline_comes_from_the_hub_at_its_commit(
    hub: Hub, pipeline: Path, tmp_path: Path
) -> None:
    files = files_of(pipeline)
    weights = "unet/diffusion_pytorch_model.safetensors"
    old = hub.add("model", "org/pipe", {**files, "unet/diffusion_pytorch_model.bin": b"old"})
    new = hub.add("model", "org/pipe", {**files, "README.md": b"new"})
    bare = {p: c for p, c in files.items() if p != weights}
    hub.add("model", "org/bin", {**bare, weights.replace("safetensors", "bin"): b"pickled"})
    names = json.dumps(["org/pipe", f"org/pipe@{old}", "org/none", "org/pipe@nowhere", "org/bin"])

    online = hub.run(LOOK, tmp_path, NAMES=names)
    offline = hub.run(LOOK, tmp_path, NAMES=names, HF_HUB_OFFLINE="1")

    first, pinned, none, nowhere, pickled = online
    assert first[:5] == ["org/pipe", new, "StableDiffusionPipeline", False, first[4]]
    assert first[4] == "StableDiffusionPipeline"
    assert pinned[:2] == ["org/pipe", old]
    for found in (first, pinned):
        assert weights in found[5]
        assert not [file for file in found[5] if file.endswith((".bin", ".pt", ".ckpt"))]
    assert "org/none: " in none
    assert "no such repository, or it is private" in none
    assert "no such branch, tag or commit" in nowhere
    assert "safetensors" in pickled
    assert offline[:2] == online[:2]
    assert "HF_HUB_OFFLINE is set" in offline[2]


def test_presets_name_a_whole_commit() -> None:
    """A branch would be another model one day."""
    for name in ("published", "fast"):
        revision = PRESETS[name].model.partition("@")[2]
        assert len(revision) == 40
        assert int(revision, 16)


def test_naming_a_hub_pipeline_opens_no_connection() -> None:
    """Only looking into it does."""
    assert Pipeline(PRESETS["published"].model).repository == "CompVis/stable-diffusion-v1-4"
