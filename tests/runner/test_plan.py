"""Planning: what a dry run says is what a run does, and a dry run does nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from susx_bench.encoders.openclip import OpenClip
from susx_bench.events import Advanced, Event, Job, Started
from susx_bench.runner.outlook import look_ahead
from susx_bench.runner.plan import plan
from susx_bench.runner.prepare import complete
from susx_bench.runner.request import Request
from susx_bench.runner.run import run
from susx_bench.support.pipelines import Pipeline
from tests.conftest import Bundle, Command
from tests.support.conftest import untrained

FEW = ("run", "--setting", "few-shot", "--method", "tag,tipx", "--shots", "1,2", "--seed", 1)


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading an encoder or a pipeline is an error."""

    def loaded(self: object) -> Any:
        raise AssertionError(f"{self} is loaded")

    monkeypatch.setattr(OpenClip, "towers", property(loaded))
    monkeypatch.setattr(Pipeline, "loaded", property(loaded))


def files(folder: Path) -> set[str]:
    """What lies in a folder, but for hashes of images."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith("cache/notes/")}


@pytest.mark.usefixtures("no_models")
@pytest.mark.parametrize("setting", ["few-shot", "name-only"])
def test_a_dry_run_loads_and_writes_nothing(setting: str, command: Command, tmp_path: Path) -> None:
    done = command("run", "--method", "tipx", "--setting", setting, "--dry-run")

    assert done.code == 0, done.err
    assert files(tmp_path) == set()


def test_a_dry_run_says_what_has_a_record(command: Command) -> None:
    before = command(*FEW, "--dry-run", "--json")
    assert command(*FEW, "--json").code == 0
    after = command(*FEW[:-1], "1,2", "--dry-run", "--json")

    assert {line["todo"] for line in before.records} == {True}
    assert len(before.records) == 4
    assert Counter((line["seed"], line["todo"]) for line in after.records) == {
        (1, False): 4,
        (2, True): 4,
    }
    for line in after.records:
        assert Path(line["record"]).exists() != line["todo"]
        assert line["input_sha256"][:12] in line["record"]
    table = command(*FEW, "--dataset", "digits", "--dry-run")
    assert "would measure 3 of 7 cells" in table.out  # zero-shot and tip-adapter stand beside
    assert "would encode" not in table.out


def test_cells_are_known_after_building(command: Command, tmp_path: Path) -> None:
    words = ("run", "--method", "tip-adapter", "--setting", "name-only", "--shots", 2, "--seed", 1)

    (line,) = command(*words, "--dry-run", "--json").records
    ran = command(*words, "--json")
    (again,) = command(*words, "--dry-run", "--json").records

    assert line["after"] == "building"
    assert (line["method"], line["dataset"], line["images"]) == (["tip-adapter"], "digits", 160)
    assert line["folder"] == str(tmp_path / "support" / "digits" / "sus-sd-photo")
    assert ran.code == 0, ran.err
    assert again["todo"] is False
    assert again["input_sha256"] == ran.records[0]["input_sha256"]


def test_a_set_that_lost_images_is_built_before_its_cells_are_listed(
    command: Command, tmp_path: Path
) -> None:
    words = ("run", "--method", "tip-adapter", "--setting", "name-only", "--shots", 2, "--seed", 1)
    first = command(*words, "--json")
    (tmp_path / "support/digits/sus-sd-photo/images/00003/0007.png").unlink()

    (line,) = command(*words, "--dry-run", "--json").records
    again = command(*words, "--json")

    assert (line["after"], line["images"]) == ("building", 1)
    assert [r["record"] for r in again.records] == [r["record"] for r in first.records]


def test_a_suite_is_planned_as_a_whole(command: Command, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        f"""
        name = "mine"
        title = "Mine"
        [[support]]
        kind = "sus-sd"
        dataset = ["digits"]
        model = "{untrained(tmp_path / "pipeline")}"
        steps = 2
        per_class = 2
        [[run]]
        method = ["zero-shot", "tip-adapter"]
        setting = "name-only"
        support = "sus-sd-photo"
        shots = [1]
        seed = [1, 2]
        [[run]]
        method = ["zero-shot", "tip-adapter"]
        shots = [1]
        seed = [1]
        [[run]]
        method = ["zero-shot"]
        dataset = ["dtd"]
        encoder = "demo"
        """
    )
    before = files(tmp_path)

    told = command("run", "--suite", suite, "--dry-run")
    lines = command("run", "--suite", suite, "--dry-run", "--json").records

    assert told.code == 0, told.err
    assert "sus-sd-photo: 20 images" in told.out
    assert "zero-shot, tip-adapter on digits name-only: its cells are known after building" in (
        told.out
    )
    assert "cannot be listed: dtd demo: " in told.out
    assert "would measure 2 of 2 cells and those known after building" in told.out
    assert [line.get("after", line.get("todo")) for line in lines] == [True, True, "building"]
    assert files(tmp_path) == before

    assert command("run", "--suite", suite).code == 3  # dtd is not here
    after = command("run", "--suite", suite, "--dry-run", "--json").records
    assert [line["todo"] for line in after] == [False] * 5


def test_what_is_to_be_encoded_is_what_a_run_encodes() -> None:
    """Images that two prompts, and two methods, look at are counted once."""
    request = Request(method=("tipx", "waffle"), setting="few-shot", shots=(1, 2), seed=(1,))
    heard: list[Event] = []

    planned = plan(request)
    outlook = look_ahead(planned, planned.cells, request.out)
    run(complete(planned).cells, request.out, request.launch, heard.append)

    (encoding,) = outlook.encodings
    counted: Counter[str] = Counter()
    for event in heard:
        if isinstance(event, Advanced) and event.job.unit != "cells":
            counted[event.job.unit] += int(event.count)
    assert counted == {"images": encoding.images, "prompts": encoding.prompts}
    assert encoding.bytes == (encoding.images + encoding.prompts) * 64 * 4
    again = look_ahead(plan(request), planned.cells, request.out)
    assert (again.encodings, again.todo, again.bytes) == ([], [], 0)


def test_jobs_of_a_run_begin_with_what_is_missing(bundle: Bundle, tmp_path: Path) -> None:
    request = Request(method=("tag",), setting="few-shot", features=bundle())
    heard: list[Event] = []
    for _ in range(2):
        run(plan(request).cells, tmp_path, request.launch, heard.append)

    jobs: list[Job] = [event.job for event in heard if isinstance(event, Started)]
    assert [(job.unit, job.total, job.done) for job in jobs] == [("cells", 1, 1), ("cells", 1, 1)]
    assert json.loads(next(tmp_path.rglob("tag-*.json")).read_text())["method"] == "tag"
