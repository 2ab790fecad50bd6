"""How the process ends: streams that take nothing, characters they lack, signals, folders gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import AS_ON_GPUS, Bundle

PROGRAM = f"{sys.executable} -m susx_bench"
FULL = "the output cannot be written: No space left on device."
CLOSED = "the output cannot be written: Bad file descriptor."


def shell(line: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which S is the program."""
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"S": PROGRAM, "OMP_NUM_THREADS": "1"} | changes,
        timeout=300,
    )


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no such device here")
@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("$S list prompts > /dev/full", 2, FULL),
        ("$S --help > /dev/full", 2, FULL),
        ("$S list prompts >&-", 2, CLOSED),
        ("$S list nothing 2>&-", 2, ""),
        ("$S list nothing 2> /dev/full", 2, ""),
        ("$S list prompts >&- 2>&-", 2, ""),
        ("$S list prompts 2>&- | grep -q ensemble", 0, ""),
        ("$S list prompts | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("$S run --help | true; exit ${PIPESTATUS[0]}", 141, ""),
        ("$S list nothing 2>&1 | true; exit ${PIPESTATUS[0]}", 2, ""),
        ("mkdir gone; cd gone; rmdir ../gone; $S list prompts", 2, "working directory is gone"),
    ],
)
def test_streams_that_take_nothing_are_told_or_silent(line: str, code: int, told: str) -> None:
    done = shell(line)

    assert done.returncode == code, done.stderr
    mine = [text for text in done.stderr.splitlines() if "shell-init" not in text]
    assert len(mine) == bool(told), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no such device here")
@pytest.mark.parametrize(
    ("to", "code"), [("> /dev/full", 2), ("--json > /dev/full", 2), ("2> /dev/full", 0)]
)
def test_what_was_measured_is_kept_whatever_can_be_printed(
    to: str, code: int, bundle: Bundle
) -> None:
    done = shell(f"$S run --method zero-shot --setting few-shot --features {bundle()} {to}")

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == (code != 0)
    assert len(list(Path("results").rglob("zero-shot-*.json"))) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_stream_cannot_print_is_replaced(encoding: str, bundle: Bundle) -> None:
    """The dagger of a tuning on test, the frame of a table, and names in any script."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "susx_bench", "run", "--method", "tip-adapter"),
            *("--setting", "few-shot", "--features", str(bundle()), "--dataset", "ねこ\N{CAT}"),
            *("--tune", "test", "--allow-test-tuning"),
        ],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(encoding)
    assert "tip-adapter" in said
    assert ("†" in said) == (encoding == "cp1252")
    assert "??" in said


def test_the_help_of_a_group_alone_is_help() -> None:
    done = shell("$S; exec $S records")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "susx-bench: " not in done.stderr
    lines = [line.split()[0] for line in done.stderr.splitlines() if line.strip()]
    assert lines.count("Usage:") == 2
    assert {"run", "list", "verify", "merge"} <= set(lines)


SLOW = """
import os, time
from susx_bench.methods.zero_shot import ZeroShot

class Slow(ZeroShot):
    name = "slow"

    def fit(self, context):
        reach("fit")
        super().fit(context)

    def logits(self, images):
        reach("logits")
        return super().logits(images)

def reach(moment):
    if os.environ["MOMENT"] == moment:
        open(f"reached-{os.getpid()}", "w").close()
        for _ in range(600):
            time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("how", "moment", "devices"),
    [
        (signal.SIGTERM, "fit", 1),
        (signal.SIGTERM, "logits", 1),
        (signal.SIGHUP, "logits", 1),
        (signal.SIGTERM, "fit", 2),
        (signal.SIGTERM, "logits", 2),
    ],
)
def test_signals_stop_and_keep_what_is_whole(
    how: signal.Signals, moment: str, devices: int, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    program = ["-m", "susx_bench"] if devices == 1 else [AS_ON_GPUS]
    words = ["run", "--setting", "few-shot", "--features", str(bundle()), "--accelerator", "cpu"]
    words += ["--method", "zero-shot,./slow.py:Slow", "--devices", str(devices)]
    stop([*program, *words], how, moment, devices)
    assert {path.name.split("-")[0] for path in Path("results").rglob("*.json")} == {"zero", "tip"}


@pytest.mark.enable_socket
def test_processes_that_wait_for_the_first_one_end_with_it(tmp_path: Path) -> None:
    """On CPUs one of two measures what both have encoded."""
    (tmp_path / "slow.py").write_text(SLOW)
    words = ["run", "--setting", "few-shot", "--dataset", "digits", "--shots", "1", "--seed", "1"]
    words += ["--method", "./slow.py:Slow", "--accelerator", "cpu", "--devices", "2"]
    stop(["-m", "susx_bench", *words], signal.SIGTERM, "fit", 1)


def _heeding() -> None:
    """Heed signals as in a terminal, whatever started the tests: nohup ignores one of them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def stop(words: list[str], how: signal.Signals, moment: str, reaching: int) -> None:
    """Stop a command where this many of its processes have reached a moment of the slow method."""
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MOMENT": moment, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=_heeding,
    )
    while len(list(Path().glob("reached-*"))) < reaching:  # the first process writes the records
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

    process.send_signal(how)  # to the first process alone
    out, err = process.communicate(timeout=120)

    assert process.returncode == 128 + how
    assert out == ""
    lines = [line for line in err.splitlines() if line and not line.startswith("cells: ")]
    assert lines == ["susx-bench: stopped; the next run continues from here."]
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        os.killpg(process.pid, 0)


def test_what_nohup_ignores_is_ignored(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW.replace("range(600)", "range(10)"))
    process = subprocess.Popen(
        f"trap '' HUP; exec {PROGRAM} run --setting few-shot --features {bundle()} "
        "--method ./slow.py:Slow",
        shell=True,
        env=os.environ | {"MOMENT": "fit", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    while not list(Path().glob("reached-*")):
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(signal.SIGHUP)

    assert process.wait(120) == 0
