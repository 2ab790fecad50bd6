"""Commands of the product in forked children, stopped at a chosen moment.

A moment is an operation that changes a file below the command's folder (to open one for writing,
to sync, rename or remove it, to make a folder), or a batch that Lightning gives to a module.

Importing what a command needs takes far longer than the command. So one process imports it, and
each command runs in a child of that process, in a folder and with caches of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from susx_bench.cli import main
from susx_bench.features.encode import Encode
from susx_bench.runner.classify import Classify
from susx_bench.support.generate import Generate

_MODULES = (
    "diffusers.schedulers.scheduling_ddim",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "faiss",
    "lightning.pytorch",
    "lightning.pytorch.trainer",
    "matplotlib.backends.backend_agg",
    "open_clip",
    "openai",
    "openai.resources.chat",
    "pyarrow.parquet",
    "susx_bench.prompts.build",
    "susx_bench.records.merge",
    "susx_bench.leaderboard.files",
    "susx_bench.leaderboard.formats",
    "susx_bench.support.report",
    "susx_bench.runner.plan",
    "susx_bench.runner.run",
    "susx_bench.runner.worker",
    "susx_bench.runner.suite",
    "susx_bench.support.build",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
)
BATCH = "batch"
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
_TIMES = {"seconds", "started", "checksum", "date"}
"""What two runs of one command may say otherwise: of a record when and how long, and with them its
checksum; of a recipe of prompts the date."""
_TAIL = 5
"""Bytes that a killed process had not yet written, where it is killed before they are synced."""


@dataclass(frozen=True)
class Stop:
    """A signal that a command sends itself at one of its moments.

    Attributes:
        moment: Which of the command's moments, from 0.
        how: The signal.
    """

    moment: int
    how: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """A command that ended.

    Attributes:
        code: Exit code, or the negative number of the signal that ended it.
        err: What it said on stderr.
        moments: Its moments, by what they were; none where it was killed.
        group: Its process group, whose processes are to be gone with it.
    """

    code: int
    err: str
    moments: list[str]
    group: int


@dataclass(frozen=True)
class Started:
    """A command that runs in a child, which is the first of its process group."""

    pid: int
    log: Path

    def end(self) -> Ended:
        """Wait for it."""
        _, status = os.waitpid(self.pid, 0)
        moments = self.log.with_suffix(".json")
        return Ended(
            os.waitstatus_to_exitcode(status),
            self.log.with_suffix(".err").read_text(errors="replace"),
            json.loads(moments.read_text()) if moments.exists() else [],
            self.pid,
        )


class Forks:
    """Starts commands in children.

    Args:
        folder: Where they work, and where their words go beside it.
        environment: Variables of all of them.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        torch.set_num_threads(1)  # more cannot be forked
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in _MODULES:
                importlib.import_module(name)
        self.here = folder / "here"
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True)
        self._count = 0
        self._environment = dict(environment or {})

    def run(self, words: Sequence[object], stop: Stop | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(words, stop).end()

    def start(
        self, words: Sequence[object], stop: Stop | None = None, gate: tuple[int, int] | None = None
    ) -> Started:
        """Start a command.

        Args:
            words: The command line, without the program.
            stop: When it is to be stopped.
            gate: A pipe; the command begins when its writing end is closed everywhere.
        """
        self._count += 1
        log = self._logs / f"{self._count:04d}"
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return Started(pid, log)
        try:
            self._be(list(map(str, words)), stop, gate, log)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(99)

    def _be(
        self, words: list[str], stop: Stop | None, gate: tuple[int, int] | None, log: Path
    ) -> NoReturn:
        os.setsid()
        for number, suffix in ((1, ".out"), (2, ".err")):
            opened = os.open(log.with_suffix(suffix), os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        os.environ |= {
            "SUSX_BENCH_CACHE": str(self.here / "cache"),
            "SUSX_BENCH_SUPPORT": str(self.here / "support"),
            **self._environment,
        }
        os.chdir(self.here)
        sys.argv = ["susx-bench", *words]
        if gate:
            os.close(gate[1])
            os.read(gate[0], 1)
        moments = _Moments(self.here, stop)
        code: Any = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        except BaseException:
            sys.stderr.write(traceback.format_exc())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        log.with_suffix(".json").write_text(json.dumps(moments.met))
        os._exit(code)


class _Moments:
    """The moments of this process, which is stopped at one of them."""

    def __init__(self, folder: Path, stop: Stop | None) -> None:
        self.met: list[str] = []
        self._folder = f"{folder}/"
        self._pid = os.getpid()
        self._stop = stop
        self._sync = os.fsync
        os.fsync = self._before_sync  # type: ignore[assignment]  # no event tells of it
        for module in (Encode, Classify, Generate):
            self._before_batch(module)
        sys.addaudithook(self._heed)

    def _heed(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            changes = event in _CHANGES
        if changes and isinstance(given[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(given[0]))  # noqa: PTH100 - as it was given
            if path.startswith(self._folder):
                self._meet(event)

    def _before_sync(self, handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        if self._stop == Stop(len(self.met)):
            os.ftruncate(number, max(0, os.fstat(number).st_size - _TAIL))
        self._meet("fsync")
        self._sync(number)

    def _before_batch(self, module: Any) -> None:
        predict = module.predict_step

        def predict_step(itself: Any, *given: Any) -> Any:
            self._meet(BATCH)
            return predict(itself, *given)

        module.predict_step = predict_step

    def _meet(self, what: str) -> None:
        if os.getpid() != self._pid:
            return  # a worker that reads images
        self.met.append(what)
        if self._stop and len(self.met) == self._stop.moment + 1:
            os.kill(self._pid, self._stop.how)


def content(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder, without the times in records and recipes.

    The log that each run has, with its times, is not counted, and what a killed writer left is
    not either: the next writer removes it when it is an hour old.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".unfinished", ".log"):
            found[str(path.relative_to(folder))] = hashlib.sha256(_timeless(path)).hexdigest()
    return found


def _timeless(path: Path) -> bytes:
    whole = path.read_bytes()
    if path.suffix != ".json":
        return whole
    value = json.loads(whole)
    if not isinstance(value, dict) or not _TIMES & set(value):
        return whole
    return json.dumps({key: value[key] for key in value if key not in _TIMES}).encode()


def differing(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Files of which there are other bytes, more or fewer than wanted."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def some(moments: Sequence[int], count: int, seed: str) -> list[int]:
    """Some of a command's moments, the same for one seed."""
    return sorted(random.Random(seed).sample(moments, min(count, len(moments))))


def left_of(group: int) -> bool:
    """Whether a process of a group is still there some seconds after its first one ended."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
