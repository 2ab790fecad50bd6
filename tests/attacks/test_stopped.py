"""Whatever a command was at when it was stopped, the same command then ends as if it had not been.

The short tests take few moments of each command, see `tests.attacks.forked`; those marked `slow`
take many.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from susx_bench.testing.task import clustered, unit
from tests.attacks.forked import BATCH, Ended, Forks, Stop, content, differing, left_of, some
from tests.data.made import encoded, photo
from tests.prompts.test_build import KEY, Parrot
from tests.support.test_retrieve import WORDS, digit_folder

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signals here"),
]

SUITE = """
name = "small"
title = "Small"
[[run]]
method = ["zero-shot", "tip-adapter"]
features = ["toy.safetensors"]
shots = [1, 2]
seed = [1]
"""


@dataclass
class Commands:
    """The commands, and what each gives where nobody stops it."""

    forks: Forks
    lines: dict[str, list[object]]
    prepare: dict[str, Callable[[Path], object]]
    undisturbed: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)

    def begin(self, name: str) -> list[object]:
        """Make the folder that a command begins in."""
        here = self.forks.here
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        if name in self.prepare:
            self.prepare[name](here)
        return self.lines[name]

    def expected(self, name: str) -> tuple[list[str], dict[str, str]]:
        """The moments of a command, and what it leaves."""
        if name not in self.undisturbed:
            done = self.forks.run(self.begin(name))
            assert done.code == 0, done.err
            self.undisturbed[name] = done.moments, content(self.forks.here)
        return self.undisturbed[name]

    def stopped(self, name: str, stop: Stop) -> Ended:
        """Stop a command, and hold what the same command then leaves against the expected."""
        _, wanted = self.expected(name)
        line = self.begin(name)
        stopped = self.forks.run(line, stop)
        again = self.forks.run(line)
        assert again.code == 0, (name, stop, again.err)
        assert differing(content(self.forks.here), wanted) == [], (name, stop)
        return stopped


EVERY = ("run", "encode", "sus-sd", "sus-lc", "import", "suite", "board", "merge", "prompts")
NAMES = (*EVERY, pytest.param("demo", marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    parrot = Parrot()
    folder = tmp_path_factory.mktemp("stopped")
    environment = {
        "OPENAI_BASE_URL": parrot.url,
        "OPENAI_API_KEY": KEY,
        "NO_PROXY": "127.0.0.1",
        "SUSX_BENCH_DATA": str(folder),
    }
    commands = made(folder, Forks(folder / "forks", environment))
    commands.prepare["prompts"] = lambda here: parrot.asked.clear()  # it answers a hundred
    yield commands
    parrot.stop()


def made(folder: Path, forks: Forks) -> Commands:
    """Write what the commands read."""
    text = unit(5, 16, seed=10)
    tensors = {"text": text}
    for seed, (name, rows) in enumerate((("support", 20), ("val", 30), ("test", 70)), start=11):
        labels = torch.arange(rows) % 5
        tensors |= {name: clustered(labels, text, seed, 0.4), f"{name}_labels": labels}
    meta = {"dataset": "toy", "encoder": "made:up", "logit_scale": 50.0}
    save_file(tensors, folder / "toy.safetensors", metadata={"bundle": json.dumps(meta)})
    (folder / "small.toml").write_text(SUITE)
    for split, first in (("train", 0), ("test", 50)):
        for i in range(12):
            place = folder / "pets" / split / ("cat", "dog", "owl")[i % 3] / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encoded(photo(first + i)))
    digit_folder(folder / "mine", WORDS)
    (folder / "pool").mkdir()
    for i, pixels in enumerate(load_digits().images[:60]):
        grey = Image.fromarray((16 * pixels).clip(0, 255).astype(np.uint8))
        (folder / f"pool/{i}.png").write_bytes(encoded(grey.resize((32, 32))))
    features = ("--features", folder / "toy.safetensors")
    cpu = ("--accelerator", "cpu", "--workers", 1)
    support = ("support", "build", "--dataset", "digits", "--accelerator", "cpu", "--kind")
    few = ("--per-class", 1)
    commands = Commands(
        forks,
        {
            "run": [
                "run",
                "--method",
                "tipx",
                "--setting",
                "few-shot",
                *features,
                "--heat-map",
                "--json",
            ],
            "demo": ["run", "--method", "tip-adapter", "--setting", "few-shot", "--shots", 1],
            "encode": [
                *(
                    "run",
                    "--method",
                    "tip-adapter",
                    "--setting",
                    "few-shot",
                    "--shots",
                    1,
                    "--json",
                ),
                *("--dataset", folder / "pets", "--encoder", "demo", "--views", 1, *cpu),
            ],
            "sus-sd": [*support, "sus-sd", "--preset", "demo", "--steps", 1, *few],
            "sus-lc": [*support, "sus-lc", "--pool", folder / "pool", "--no-test-check", *few],
            "import": [*support, "sus-lc", "--import", folder / "mine", "--no-test-check", *few],
            "suite": ["run", "--suite", folder / "small.toml"],
            "board": ["leaderboard", "build", folder / "small.toml"],
            "merge": ["records", "merge", folder / "one", folder / "two", "--into", "all"],
            "prompts": [
                *("prompts", "build", "--dataset", "digits", "--model", "parrot", "--answers", 2),
                *("--question", "What is a(n) {}?", "--out", "prompts"),
            ],
        },
        {
            "board": lambda here: shutil.copytree(
                folder / "one", here / "leaderboards/records/small"
            )
        },
    )
    commands.expected("suite")
    shutil.copytree(forks.here / "results", folder / "one")
    commands.expected("run")
    shutil.copytree(forks.here / "results", folder / "two")
    return commands


def slow(*value: object) -> ParameterSet:
    return pytest.param(*value, id=f"slow-{value[0]}", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, slow(12)])
def test_killed(name: str, count: int, commands: Commands) -> None:
    met, _ = commands.expected(name)

    for moment in some(range(len(met)), count, f"{name} {count}"):
        assert commands.stopped(name, Stop(moment)).code == -signal.SIGKILL


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.mark.parametrize(
    ("how", "names"),
    [
        (signal.SIGTERM, ("run", "sus-sd")),
        (signal.SIGHUP, ("encode", "prompts")),
        (signal.SIGINT, ("suite", "sus-lc")),
        *(slow(how, 2 * EVERY) for how in SIGNALS),
    ],
)
def test_stopped_by_a_signal(how: signal.Signals, names: Sequence[str], commands: Commands) -> None:
    for number, name in enumerate(names):
        met, _ = commands.expected(name)
        batches = [i for i, what in enumerate(met) if what == BATCH]
        among = batches if batches and number < len(EVERY) else range(len(met))
        for moment in some(among, 1, f"{how} {name} {number}"):
            said = commands.stopped(name, Stop(moment, how))
            where = (name, moment, met[moment], said.err)
            assert said.code == 128 + how, where
            assert "Traceback" not in said.err, where
            assert said.err.splitlines()[-1:] == [STOPPED], where
            assert said.err.count("susx-bench:") == 1, where
            assert not left_of(said.group), where


STOPPED = "susx-bench: stopped; the next run continues from here."


@pytest.mark.parametrize("killed", [slow(False), True])
@pytest.mark.parametrize("name", ["run", "suite", "encode", "sus-sd", "sus-lc"])
def test_six_at_once(name: str, killed: bool, commands: Commands) -> None:
    """One of them is killed half way, if it gets that far."""
    met, wanted = commands.expected(name)
    line = commands.begin(name)
    gate = os.pipe()
    victim = Stop(len(met) // 2)
    started = [
        commands.forks.start(line, victim if killed and number == 3 else None, gate)
        for number in range(6)
    ]
    for end in gate:
        os.close(end)  # all six begin

    ended = [one.end() for one in started]

    assert "Traceback" not in "".join(one.err for one in ended)
    codes = [one.code for one in ended]
    assert set(codes[:3] + codes[4:]) == {0}, [one.err for one in ended]
    assert codes[3] in (0, -signal.SIGKILL if killed else 0)
    again = commands.forks.run(line)
    assert again.code == 0, again.err
    assert differing(content(commands.forks.here), wanted) == []
