"""Encoders from the Hub, by the real client in a process of its own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from susx_bench.encoders.layout import EMBEDDED
from susx_bench.encoders.openclip import OpenClip
from tests.hub import Hub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

WEIGHTS = "open_clip_model.safetensors"
OLD_WEIGHTS = "open_clip_pytorch_model.bin"
CLIENT = """
import json
from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import EncoderError
told = {}
for name in NAMES:
    try:
        encoder = OpenClip(name)
        told[name] = WHAT
    except EncoderError as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


@pytest.fixture
def demo() -> dict[str, bytes]:
    """The shipped encoder as the files of a repository, with some that no encoder needs."""
    files = {file.name: file.read_bytes() for file in EMBEDDED["demo"].iterdir()}
    return files | {"README.md": b"# demo", "model.py": b"", "model.safetensors": b"of another"}


def ask(
    hub: Hub, home: Path, *names: str, what: str = "[encoder.sha256, encoder.revision]", **env: str
) -> dict[str, Any]:
    """What a process of its own gets or is told for each name."""
    client = CLIENT.replace("NAMES", repr(names)).replace("WHAT", what)
    told: dict[str, Any] = hub.run(client, home, **env)
    assert not any("\n" in value for value in told.values() if isinstance(value, str))
    return told


def test_a_repository_is_the_folder_it_was_made_of(
    hub: Hub, demo: dict[str, bytes], tmp_path: Path
) -> None:
    first = hub.add("model", "org/demo", demo)
    hub.tag("model", "org/demo", "v1", first)
    second = hub.add("model", "org/demo", demo | {"tokenizer_config.json": b"{}"})
    here = OpenClip("demo")
    names = ["hf-hub:org/demo@v1", f"hf-hub:org/demo@{first}", "hf-hub:org/demo"]

    told = ask(hub, tmp_path, *names)

    pinned, commit, newest = told.values()
    assert pinned == commit == [here.sha256, first]
    assert newest[0] != here.sha256
    assert newest[1] == second
    fetched = {path.rpartition("/")[2] for method, path in hub.requests if method == "GET"}
    assert fetched & demo.keys() == {file.name for file in EMBEDDED["demo"].iterdir()}

    hub.requests.clear()
    told_again = ask(hub, tmp_path, names[1], what="[encoder.logit_scale, encoder.sha256]")
    assert told_again[names[1]] == [here.logit_scale, here.sha256]
    # A commit never changes: at most whether there is one is asked, by huggingface_hub before 1.33.
    assert {*hub.requests} <= {("GET", f"/api/models/org/demo/revision/{first}")}
    hub.requests.clear()

    *offline, why = ask(hub, tmp_path, *names, "hf-hub:org/new", HF_HUB_OFFLINE="1").values()
    assert offline == list(told.values())
    assert f"org/new: not in {tmp_path / 'hub'}, and HF_HUB_OFFLINE is set" in why
    assert hub.requests == []

    hub.stop()
    *unreached, why = ask(hub, tmp_path, *names, "hf-hub:org/new").values()
    assert unreached == list(told.values())
    assert f"org/new: not in {tmp_path / 'hub'}, and {hub.url} does not answer" in why


def test_older_weights_are_found_with_and_without_a_connection(
    hub: Hub, demo: dict[str, bytes], tmp_path: Path
) -> None:
    weights = io.BytesIO()
    torch.save(load_file(EMBEDDED["demo"] / WEIGHTS), weights)
    del demo[WEIGHTS]
    commit = hub.add("model", "org/old", demo | {OLD_WEIGHTS: weights.getvalue()})
    name = "hf-hub:org/old"

    both = ask(hub, tmp_path, name, f"{name}@main")
    assert both[name] == both[f"{name}@main"]
    assert both[name][1] == commit
    assert sum(path.endswith(f"/{WEIGHTS}") for _, path in hub.requests) == 1  # and then known

    hub.stop()
    seven = "encoder.logit_scale, encoder.towers.texts([['seven']]).tolist()"
    alone = ask(hub, tmp_path, name, what=f"[encoder.sha256, encoder.revision, {seven}]")[name]
    here = OpenClip("demo")
    assert alone[:3] == [*both[name], here.logit_scale]
    torch.testing.assert_close(torch.tensor(alone[3]), here.towers.texts([["seven"]]))

    for mark in tmp_path.glob("hub/*/.no_exist/*/*"):
        mark.unlink()  # as after `hf download`
    assert ask(hub, tmp_path, name, HF_HUB_OFFLINE="1")[name] == both[name]


def test_why_there_is_no_encoder(hub: Hub, demo: dict[str, bytes], tmp_path: Path) -> None:
    hub.add("model", "org/demo", demo)
    hub.add("model", "org/gated", demo, gated=True)
    hub.add("model", "org/text", {"README.md": b"# text"})
    hub.add("model", "org/bare", {WEIGHTS: demo[WEIGHTS]})

    told = ask(
        hub,
        tmp_path,
        "hf-hub:org/gated",
        "hf-hub:org/missing",
        "hf-hub:org/demo@v9",
        "hf-hub:org/text",
        "hf-hub:org/bare",
        "RN50:openai",
    )

    assert all(name in why for name, why in told.items())
    gated, missing, revision, text, bare, built_in = told.values()
    assert f"granted at {hub.url}/org/gated" in gated
    assert "HF_TOKEN" in gated
    assert f"{hub.url} has no such repository" in missing
    assert "org/demo@v9: no such branch" in revision
    assert WEIGHTS in text
    assert "open_clip_config.json does not exist" in bare
    assert "timm/resnet50_clip.openai" in built_in

    (why,) = ask(hub, tmp_path, "hf-hub:org/gated", HF_TOKEN="hf_wrong").values()
    assert "HF_TOKEN" in why
    assert "granted" not in why


def test_a_cache_that_cannot_be_written_is_named(
    hub: Hub, demo: dict[str, bytes], tmp_path: Path
) -> None:
    hub.add("model", "org/demo", demo)
    (tmp_path / "hub").write_text("a file in the cache's place")

    (why,) = ask(hub, tmp_path, "hf-hub:org/demo").values()
    assert f"the cache of the Hugging Face hub, {tmp_path / 'hub'}, cannot be written: " in why
    assert "Set HF_HOME to another folder" in why
