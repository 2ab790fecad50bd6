"""What a run tells: --quiet, --verbose, its log file, NO_COLOR, and logs of measured cells."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from susx_bench.events import Advanced, Event, Failed, Finished, Job, Measured, Note, Started
from susx_bench.logs.base import Logged, RunLog
from susx_bench.logs.kinds import CsvLog
from susx_bench.logs.lines import Lines, LogFile
from tests.conftest import Bundle, Command
from tests.conftest import Finished as Done
from tests.records.example import make_record

WORDS = ("run", "--method", "tipx", "--setting", "few-shot", "--shots", "1", "--seed", "1")


def run(command: Command, bundle: Bundle, *words: str) -> Done:
    done = command(*WORDS, "--features", bundle(), *words)
    assert done.code == 0, done.err
    return done


def logs(ending: str, out: str = "results") -> list[Path]:
    return sorted(Path(out, "logs").glob(f"*{ending}"))


def test_a_run_leaves_a_log_and_one_with_nothing_to_do_none(
    command: Command, bundle: Bundle
) -> None:
    os.environ["FORCE_COLOR"] = "1"
    run(command, bundle)
    (log,) = logs(".log")
    lines = log.read_text().splitlines()

    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 \S", line) for line in lines)
    assert "susx-bench run --method tipx" in lines[0]
    assert [line.split()[1] for line in lines].count("measured") == 3
    assert re.search(r"finished .*: 3 of 3 cells in \d", lines[-1])
    assert "\x1b" not in log.read_text()
    run(command, bundle)
    assert logs(".log") == [log]


def test_what_ends_a_run_stands_in_its_log(command: Command, bundle: Bundle) -> None:
    Path("broken.py").write_text(
        "from susx_bench import Method\n"
        "class Broken(Method):\n"
        "    name = 'broken'\n"
        "    def fit(self, context): raise KeyError('\\x1b[31mno luck')\n"
        "    def logits(self, images): ...\n"
    )
    with pytest.raises(KeyError):
        command(*WORDS[:2], "tipx,./broken.py:Broken", *WORDS[3:], "--features", bundle())

    (log,) = logs(".log")
    assert "warning: ended by KeyError: " in log.read_text().splitlines()[-1]
    assert "\x1b" not in log.read_text()


def test_quiet_leaves_results_and_warnings(command: Command, bundle: Bundle) -> None:
    quiet = run(command, bundle, "--quiet")
    again = run(command, bundle, "-q", "--force")
    record = next(Path("results").rglob("tipx*.json"))
    record.write_text("{")
    warned = run(command, bundle, "-q")
    loud = run(command, bundle, "--force", "--verbose")

    assert quiet.err == again.err == ""
    assert "tipx" in quiet.out
    assert str(record) in warned.err
    assert "measured tipx on toy: " in loud.err
    assert re.search(r"started cells: 0 of 3 cells\n", loud.err)


def test_plan_and_verify_are_quiet_too(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    path = bundle()
    suite = tmp_path / "mine.toml"
    suite.write_text(
        f"name='mine'\ntitle='x'\n[[run]]\nmethod=['zero-shot']\nfeatures=['{path}']\n"
    )
    command("run", "--setting", "few-shot", "--method", "zero-shot", "--features", path)

    planned = command("plan", "--suite", suite, "--out", "PLAN", "--quiet")
    verified = command("records", "verify", "results", "--features", path, "-q")

    assert (planned.code, verified.code) == (0, 0)
    assert planned.err == verified.err == ""
    assert "wrote PLAN" in planned.out
    assert "same" in verified.out


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_is_obeyed(no_color: str, command: Command, bundle: Bundle) -> None:
    os.environ |= {"FORCE_COLOR": "1", "NO_COLOR": no_color, "TERM": "xterm-256color"}
    for name in ("CI", "COLORTERM"):
        os.environ.pop(name, None)

    done = run(command, bundle)
    failed = command("run", "--method", "nobody")

    colours = re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", done.out + done.err + failed.err)
    assert bool(colours) == (not no_color)


def test_csv_has_a_row_per_measured_cell(command: Command, bundle: Bundle) -> None:
    run(command, bundle, "--log", "csv")
    run(command, bundle, "--log", "csv")  # nothing is measured, and nothing logged
    (file,) = logs(".csv")
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))

    assert [row["method"] for row in rows] == ["zero-shot", "tip-adapter", "tipx"]
    assert all(Path(row["record"]).is_file() and float(row["accuracy"]) > 0 for row in rows)


def test_a_cell_of_the_csv_is_no_formula(tmp_path: Path) -> None:
    log = CsvLog(tmp_path, "x")
    log(Measured(Path("a.json"), make_record(dataset="=cmd()", encoder="a\x1b[2J\nb")))
    log.close()

    assert "'=cmd()" in (tmp_path / "x.csv").read_text()
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cvs", "no log called 'cvs'. Did you mean csv?"),
        ("wandb", "--log wandb needs wandb. Run `pip install wandb`."),
    ],
)
def test_a_log_that_is_not_there_is_refused_before_work(
    name: str, told: str, command: Command, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = command(*WORDS, "--features", bundle(), "--log", name)

    assert done.code == 2
    assert told in done.err
    assert not Path("results").exists()


class Raises(RunLog):
    name = "raises"
    heard = 0

    def __call__(self, event: Event) -> None:
        self.heard += 1
        raise OSError("no space")


def test_a_log_that_raises_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = Raises(tmp_path, "x")
    with Logged(heard.append, [log]) as told:
        told(Note("one"))
        told(Note("two"))

    assert log.heard == 1
    left = Note("log raises is left out from here on: OSError('no space').", "warning")
    assert heard == [Note("one"), left, Note("two")]


def test_a_folder_that_cannot_be_written_costs_the_log_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    heard: list[Event] = []
    with Logged(heard.append, [LogFile(tmp_path / "logs", "x", "head")]) as told:
        told(Failed(Job(heard.append, "a", "b"), "why"))
        told(Note("more"))

    assert [type(event) for event in heard] == [Failed, Note, Note]


def test_progress_has_a_line_every_half_minute() -> None:
    now = [0.0]
    lines = Lines(lambda: now[0])
    job = Job(lambda event: None, "encoding", "images", 10)
    told = [lines.of(Started(job))]
    for second in range(1, 101):
        now[0] = float(second)
        job.done = second / 10
        told.append(lines.of(Advanced(job, 0.1)))
    told.append(lines.of(Finished(job, complete=False)))

    assert list(filter(None, told)) == [
        "started encoding: 0 of 10 images",
        "encoding: 3 of 10 images",
        "encoding: 6 of 10 images",
        "encoding: 9 of 10 images",
        "broken off encoding: 10 of 10 images in 100.0 s",
    ]


def test_the_real_client_of_wandb_logs_without_a_connection(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install -e '.[test]'")
    code = (
        "import socket\n"
        "real = socket.socket.connect\n"
        "def connect(self, address):\n"
        "    assert self.family == socket.AF_UNIX or address[0] == '127.0.0.1', address\n"
        "    return real(self, address)\n"
        "socket.socket.connect = connect\n"
        "from susx_bench.cli import main\nmain()"
    )
    words = (*WORDS, "--features", bundle(), "--log", "wandb")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        env=os.environ | {"WANDB_MODE": "offline", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (file,) = Path("results/logs/wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    (log,) = logs(".log")
    assert "left out" not in log.read_text()
    for word in (b"mean_per_class", b"tip-adapter", b"toy", log.stem.encode()):
        assert word in content
