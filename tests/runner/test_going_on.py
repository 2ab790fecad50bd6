"""A suite goes on past what fails: marks, exit codes, shards, and how it says so."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor

from susx_bench.events import Job
from susx_bench.progress import Reporter
from tests.conftest import AS_ON_GPUS, Bundle, Command

METHOD = """
import os
from susx_bench import Method
class Moody(Method):
    name = "moody"
    def fit(self, context):
        self._context = context
    def logits(self, images):
        {body}
        return images @ self._context.text.T
"""
FAILS = "raise ValueError('no luck\\n today')"


def write_suite(tmp_path: Path, runs: str) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(f'name = "toy"\ntitle = "Toy"\n{runs}')
    return path


def moody(tmp_path: Path, body: str = "pass") -> str:
    path = tmp_path / "moody.py"
    path.write_text(METHOD.format(body=body))
    return f"{path}:Moody"


@pytest.fixture
def suite(tmp_path: Path, bundle: Bundle) -> Path:
    bundle()
    method = moody(tmp_path, "if os.environ.get('MOOD'): " + FAILS)
    return write_suite(
        tmp_path,
        f"[[run]]\nmethod = ['zero-shot', '{method}', 'tip-adapter']\n"
        "features = ['toy.safetensors']\nshots = [1, 2]\nseed = [1, 2]\ntune = ['fixed']\n",
    )


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder.rglob(pattern))


def test_a_failing_cell_is_marked_and_the_rest_measured(
    suite: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOOD", "bad")
    failing = command("run", "--suite", suite, "--out", "out")

    assert failing.code == 3
    assert "4 of 9 cells failed" in failing.err
    assert "Traceback" not in failing.err
    assert names(Path("out"), "*.json") == ["tip-adapter"] * 4 + ["zero-shot"]
    marks = sorted(Path("out").rglob("*.failed.txt"))
    assert len(marks) == 4
    lines = marks[0].read_text().splitlines()
    assert lines[0].endswith("fixed: ValueError: no luck today")
    assert "method: moody" in lines
    assert "Traceback (most recent call last):" in lines

    monkeypatch.delenv("MOOD")
    done = command("run", "--suite", suite, "--out", "out")

    assert done.code == 0, done.err
    assert "wrote 4 records, 5 were there already" in done.out
    assert not list(Path("out").rglob("*.failed.txt"))


def test_a_run_without_a_suite_still_stops_at_a_failure(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no luck"):
        command(
            "run", "--setting", "few-shot", "--method", moody(tmp_path, FAILS),
            "--features", bundle(), "--out", "out",
        )  # fmt: skip
    assert not list(Path("out").rglob("*.failed.txt"))


def test_an_exit_of_a_method_is_a_failure(bundle: Bundle, command: Command, tmp_path: Path) -> None:
    bundle()
    method = moody(tmp_path, "raise SystemExit(0)")
    suite = write_suite(
        tmp_path, f"[[run]]\nmethod = ['{method}', 'zero-shot']\nfeatures = ['toy.safetensors']\n"
    )

    done = command("run", "--suite", suite, "--out", "out")

    assert done.code == 3
    assert "SystemExit: 0" in done.err
    assert names(Path("out"), "*.json") == ["zero-shot"]


def test_ctrl_c_stops_a_suite(bundle: Bundle, command: Command, tmp_path: Path) -> None:
    bundle()
    path = tmp_path / "moody.py"
    path.write_text(METHOD.format(body="pass").replace("self._context = context", "_stop()"))
    path.write_text(path.read_text() + "\ndef _stop():\n    raise KeyboardInterrupt\n")
    suite = write_suite(
        tmp_path,
        f"[[run]]\nmethod = ['{path}:Moody', 'zero-shot']\nfeatures = ['toy.safetensors']\n",
    )

    done = command("run", "--suite", suite, "--out", "out")

    assert done.code == 130
    assert "the next run continues from here" in done.err
    assert not list(tmp_path.rglob("*.failed.txt"))
    assert not list((tmp_path / "out").rglob("*.json"))


def test_data_that_cannot_be_had_takes_only_its_own_cells(
    bundle: Bundle, command: Command, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    bundle()
    suite = write_suite(
        tmp_path,
        "[[run]]\nmethod = ['zero-shot']\nfeatures = ['gone.safetensors', 'toy.safetensors']\n"
        "tune = ['fixed', 'val']\n",
    )

    done = command("run", "--suite", suite, "--out", "out")

    assert done.code == 3
    assert "the cells of 1 dataset could not be listed" in done.err
    assert names(Path("out"), "*.json") == ["zero-shot"]
    (mark,) = Path("out").rglob("*.failed.txt")
    assert "gone.safetensors: no such file" in mark.read_text().splitlines()[0]

    bundle("gone.safetensors", test=tensors["test"].flip(0))
    assert command("run", "--suite", suite, "--out", "out").code == 0
    assert not list(Path("out").rglob("*.failed.txt"))


def test_too_many_shots_leave_the_fewer_ones(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    bundle()
    suite = write_suite(
        tmp_path,
        "[[run]]\nmethod = ['tip-adapter']\nfeatures = ['toy.safetensors']\n"
        "shots = [2, 4, 8]\nseed = [1]\ntune = ['fixed']\n",
    )

    done = command("run", "--suite", suite, "--out", "out", "--json")

    assert done.code == 3
    assert [record["shots"] for record in done.records] == [2, 4]
    assert "--shots asks for 8" in done.err


def test_a_suite_of_which_nothing_can_be_had_is_for_the_user(
    command: Command, tmp_path: Path
) -> None:
    suite = write_suite(
        tmp_path, "[[run]]\nmethod = ['zero-shot']\nfeatures = ['gone.safetensors']\n"
    )

    done = command("run", "--suite", suite, "--out", "out")

    assert done.code == 2
    assert "gone.safetensors: no such file" in done.err
    assert not Path("out").exists()


def test_shards_together_are_all_cells(suite: Path, command: Command) -> None:
    whole = command("run", "--suite", suite, "--out", "whole", "--json").records
    parts = [
        command("run", "--suite", suite, "--out", "parts", "--shard", f"{i}/3", "--json").records
        for i in (1, 2, 3)
    ]

    hashes = [[record["input_sha256"] for record in part] for part in parts]
    assert sorted(itertools.chain(*hashes)) == sorted(record["input_sha256"] for record in whole)
    assert sorted(map(len, hashes)) != [0, 0, 9]
    again = command("run", "--suite", suite, "--out", "else", "--shard", "2/3", "--json").records
    assert [record["input_sha256"] for record in again] == hashes[1]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", "1.5/3"])
def test_a_bad_shard_is_one_line(shard: str, suite: Path, command: Command) -> None:
    done = command("run", "--suite", suite, "--shard", shard)

    assert done.code == 2
    assert "is not one of n parts, as in 1/4 to 4/4" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_shard_is_of_a_suite(bundle: Bundle, command: Command) -> None:
    done = command(
        "run", "--method", "tipx", "--setting", "few-shot", "--features", bundle(), "--shard", "1/2"
    )

    assert done.code == 2
    assert "--shard goes with --suite only" in done.err


def test_all_ranks_fail_where_one_does(bundle: Bundle, tmp_path: Path) -> None:
    """The second process alone raises; both go on with the next cell."""
    bundle()
    method = moody(tmp_path, "if os.environ.get('LOCAL_RANK') == '1': " + FAILS)
    suite = write_suite(
        tmp_path,
        f"[[run]]\nmethod = ['{method}', 'tip-adapter']\nfeatures = ['toy.safetensors']\n"
        "tune = ['fixed']\n",
    )

    done = subprocess.run(
        [
            *(sys.executable, AS_ON_GPUS, "run", "--suite", str(suite), "--out", "out"),
            *("--accelerator", "cpu", "--devices", "2"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )

    assert done.returncode == 3, done.stderr
    assert "1 of 2 cells failed" in done.stderr
    assert "failed on rank 1: ValueError: no luck today" in done.stderr
    assert names(tmp_path / "out", "*.json") == ["tip-adapter"]
    assert names(tmp_path / "out", "*.failed.txt") == ["moody"]


def test_a_line_says_what_is_done_running_and_left() -> None:
    """Of four cells one was there, one fails, each takes a minute."""
    now = [0.0]
    out = io.StringIO()
    said = []
    listen = Reporter(Console(file=out, width=200), summary=True, clock=lambda: now[0])
    with Job(listen, "cells", "cells", 4, 1) as cells:
        for name in ("one", "two"):
            cells.say(name)
            said.append(listen.line())
            now[0] += 60
            cells.advance()
        with Job(listen, "encoding dtd", "images", 200) as images:
            images.advance(50)
            now[0] += 30
            said.append(listen.line())
            images.advance(150)
        cells.say("three")
        said.append(listen.line())
        cells.fail("three: why")

    assert said == [
        "cells: 1 of 4 done, 0 failed; now one",
        "cells: 2 of 4 done, 0 failed, about 0:02:00 left; now two",
        "cells: 3 of 4 done, 0 failed, about 0:01:15 left; now encoding dtd: 50 of 200 images, "
        "about 0:01:30 left",
        "cells: 3 of 4 done, 0 failed, about 0:01:15 left; now three",
    ]
    assert out.getvalue().splitlines() == ["failed: three: why", "cells: 3 of 4 done, 1 failed"]


def test_a_terminal_sees_what_is_done_running_failed_and_left() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    listen = Reporter(console, summary=True)
    with (
        Job(listen, "cells", "cells", 3, 1) as cells,
        Job(listen, "encoding dtd", "images", 200),
        Job(listen, "encoding dtd", "prompts", 7),
    ):
        cells.say("tipx dtd")
        cells.fail("tipx dtd: why")
        cells.say("tipx cub")
        assert listen._progress is not None
        listen._progress._live.refresh()
        shown = out.getvalue()

    assert "tipx cub" in shown
    assert "2/3 cells" in shown
    assert "0/200 images" in shown
    assert "0/7 prompts" in shown
    assert "1 failed" in shown
    assert "failed: tipx dtd: why" in shown
    assert "cells: " not in shown
