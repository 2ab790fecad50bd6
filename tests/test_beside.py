"""Work in a copy of the process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from susx_bench.beside import beside
from susx_bench.errors import RecordError

forks = pytest.mark.skipif(sys.platform != "linux", reason="there is no fork to rely on")


def two_cores(monkeypatch: pytest.MonkeyPatch, cores: int = 2) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)


@forks
def test_only_the_result_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cores(monkeypatch)
    seen: list[int] = []

    def work() -> int:
        seen.append(1)
        return os.getpid()

    result = beside(work)
    assert result() != os.getpid()
    assert not seen
    assert not multiprocessing.active_children()


def test_with_one_core_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cores(monkeypatch, 1)
    assert beside(os.getpid)() == os.getpid()


@forks
def test_more_than_a_pipe_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cores(monkeypatch)
    assert beside(lambda: "x" * 5_000_000)() == "x" * 5_000_000


def test_an_error_is_raised_where_the_result_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cores(monkeypatch)

    def work() -> None:
        raise RecordError("a.json: correct: 3 is not 4.")

    result = beside(work)
    with pytest.raises(RecordError, match=r"^a\.json: correct: 3 is not 4\.$"):
        result()


@forks
def test_what_a_killed_copy_did_not_do_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cores(monkeypatch)
    here = os.getpid()

    def work() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), 9)
        return 7

    assert beside(work)() == 7


@forks
def test_a_copy_ends_with_the_process_that_is_killed(tmp_path: Path) -> None:
    """Its result is larger than a pipe: it would wait for a reader for ever."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, sys, time\n"
        "from susx_bench.beside import beside\n"
        "os.sched_getaffinity = lambda _: {0, 1}\n"
        f"note = open({str(tmp_path / 'pid')!r}, 'w')\n"
        "def work():\n"
        "    print(os.getpid(), file=note, flush=True)\n"
        "    return 'x' * 5_000_000\n"
        "result = beside(work)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script]) as parent:
        copy = 0
        while not copy:
            time.sleep(0.05)
            assert parent.poll() is None
            path = tmp_path / "pid"
            copy = int(path.read_text() or 0) if path.exists() else 0
        parent.kill()
    for _ in range(200):
        status = Path(f"/proc/{copy}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {copy} is still there")
