"""Who is rank 0: what was asked for says it, and not a variable that a scheduler left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from susx_bench.errors import OptionError
from susx_bench.features.launch import Launch
from susx_bench.features.predict import Meeting
from susx_bench.ranks import meeting_seconds, rank_of, settle_meeting, starts_others
from susx_bench.records.store import read
from tests.conftest import AS_ON_GPUS, Bundle, Command

SLURM = {
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "8",
    "SLURM_JOB_NAME": "jobs",
    "SLURM_NODEID": "0",
}
LSF = {
    "LSB_JOBID": "1",
    "LSB_DJOB_RANKFILE": "ranks",
    "JSM_NAMESPACE_LOCAL_RANK": "1",
    "JSM_NAMESPACE_SIZE": "4",
}
SCHEDULERS = [
    SLURM | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0"},
    {"SLURM_PROCID": "3"},
    {"NODE_RANK": "1"},
    {"GROUP_RANK": "1"},
    {"LOCAL_RANK": "2"},
    {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "none.invalid", "MASTER_PORT": "1"},
    {"TORCHELASTIC_RUN_ID": "job", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
    LSF | {"JSM_NAMESPACE_RANK": "1"},
    {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMI_RANK": "1", "PMI_SIZE": "2"},
    {"RANK": "x", "SLURM_PROCID": "-1", "LOCAL_RANK": ""},
]


def several(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("variables", SCHEDULERS, ids=lambda given: next(reversed(given)))
def test_one_process_does_all_of_its_work(
    variables: dict[str, str],
    bundle: Bundle,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = bundle()
    suite = tmp_path / "suite.toml"
    suite.write_text(
        "name = 'suite'\ntitle = 'Suite'\n[[run]]\nmethod = ['zero-shot', 'tip-adapter', 'tda']\n"
        f"features = ['{path}']\ntune = ['fixed']\n"
    )
    several(monkeypatch, variables)

    done = command("run", "--suite", suite, "--shard", "1/1", "--out", "out")

    assert done.code == 0, done.err
    assert "wrote 3 records" in done.out
    assert len(list(Path("out").rglob("*.json"))) == 3
    assert command("run", "--suite", suite, "--out", "out").out  # says that they are there
    assert command("records", "verify", "out", "--features", path).out.count(": same") == 3
    assert command("list", "methods").out
    assert command("list", "what").err


@pytest.mark.parametrize(
    ("devices", "nodes", "variables", "rank"),
    [
        (2, 1, {}, 0),
        (2, 1, {"LOCAL_RANK": "1"}, 1),
        (2, 3, {"NODE_RANK": "2", "LOCAL_RANK": "1"}, 5),
        (2, 3, {"GROUP_RANK": "2", "LOCAL_RANK": "0"}, 4),
        (2, 3, {"GROUP_RANK": "0", "NODE_RANK": "1"}, 2),
        (2, 1, {"TORCHELASTIC_RUN_ID": "job", "RANK": "1", "LOCAL_RANK": "1"}, 1),
        # torchrun inside a SLURM job: its number decides
        (
            2,
            1,
            SLURM
            | {"SLURM_PROCID": "1", "TORCHELASTIC_RUN_ID": "job", "RANK": "0", "LOCAL_RANK": "0"},
            0,
        ),
        (8, 1, SLURM | {"SLURM_PROCID": "3", "SLURM_LOCALID": "3"}, 3),
        (8, 2, SLURM | {"SLURM_NTASKS": "16", "SLURM_PROCID": "9", "SLURM_LOCALID": "1"}, 9),
        # a shell on a node, from which Lightning starts its own processes
        (2, 1, SLURM | {"SLURM_JOB_NAME": "bash", "SLURM_PROCID": "1"}, 0),
        (4, 1, LSF | {"JSM_NAMESPACE_RANK": "1"}, 1),
    ],
)
def test_several_processes_have_the_ranks_that_lightning_gives_them(
    devices: int,
    nodes: int,
    variables: dict[str, str],
    rank: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    several(monkeypatch, {"WORLD_SIZE": str(devices * nodes), "MASTER_PORT": "1", **variables})
    ranks = tmp_path / "ranks"
    ranks.write_text("head\n" + "node1\n" * 4)
    if "LSB_DJOB_RANKFILE" in variables:
        monkeypatch.setenv("LSB_DJOB_RANKFILE", str(ranks))
        monkeypatch.setattr("socket.gethostname", lambda: "node1")

    trainer = Trainer(
        accelerator="cpu", devices=devices, num_nodes=nodes, strategy="ddp", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip

    assert trainer.global_rank == rank
    assert rank_of(devices, nodes) == rank
    assert Launch(devices, nodes).is_main == (rank == 0)


@pytest.mark.enable_socket
@pytest.mark.parametrize("rank", ["0", "1"])
def test_processes_that_nobody_started_are_not_waited_for(
    rank: str, bundle: Bundle, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program left is complete, so this process goes to meet its like."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    left = {"LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    several(monkeypatch, left | {"SUSX_BENCH_MEET": "1"})
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--features", bundle())

    done = command(*words, "--devices", 2, "--accelerator", "cpu")

    assert done.code == 2
    told = done.err.splitlines()[-1]
    assert "waited 1 s for the other 1 process where they are to meet" in told
    assert f"LOCAL_RANK={rank}, WORLD_SIZE=2, MASTER_ADDR=127.0.0.1, MASTER_PORT={port}" in told
    assert "SUSX_BENCH_MEET" in told


@pytest.mark.parametrize("text", ["0", "-1", "soon", "", "1e30"])
def test_seconds_to_wait_are_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meeting_seconds() >= 60
    monkeypatch.setenv("SUSX_BENCH_MEET", text)
    with pytest.raises(OptionError, match=r"SUSX_BENCH_MEET='.*'; it is a number of seconds"):
        meeting_seconds()


def test_what_is_no_rank_is_told(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setenv("LOCAL_RANK", "one")

    with pytest.raises(OptionError, match="LOCAL_RANK='one', which is no rank"):
        rank_of(2, 1)
    done = command("run", "--method", "zero-shot", "--setting", "few-shot", "--devices", 2)
    assert (done.code, len(done.err.splitlines())) == (2, 1)


def test_only_rank_0_prints_and_any_rank_tells_its_error(
    monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    several(monkeypatch, {"LOCAL_RANK": "1", "MASTER_PORT": "1"})
    words = ("run", "--setting", "few-shot", "--accelerator", "cpu", "--devices", 2)

    done = command(*words, "--method", "none-such")

    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("susx-bench: rank 1: no method called 'none-such'")
    assert command("list", "prompts").out  # the next command is alone again


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"NODE_RANK": "1"}, "NODE_RANK=1, so that this process is rank 2"),
        ({"GROUP_RANK": "3"}, "GROUP_RANK=3"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2"),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "5"}, "SLURM_PROCID=5"),
        ({"TORCHELASTIC_RUN_ID": "job", "RANK": "2"}, "RANK=2"),
    ],
)
def test_a_rank_that_was_not_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    """Two processes of one node were asked for; a third one would wait for the first for ever."""
    several(monkeypatch, variables)

    with pytest.raises(OptionError, match=f"{named}.* asks for ranks 0 to 1"):
        rank_of(2, 1)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK=1 and no MASTER_PORT"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 and no MASTER_PORT"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_PORT": "1"}, "WORLD_SIZE=4.* asks for 2"),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, "SLURM_NTASKS=4.* there are 4 processes"),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, "SLURM_NTASKS=1.* there is 1 process"),
        ({"SLURM_NTASKS": "2"}, "SLURM_NTASKS=2 and no SLURM_PROCID"),
        ({"TORCHELASTIC_RUN_ID": "job"}, "TORCHELASTIC_RUN_ID and no RANK"),
        ({"TORCHELASTIC_RUN_ID": "job", "RANK": "1", "WORLD_SIZE": "3"}, "WORLD_SIZE=3"),
        (LSF | {"JSM_NAMESPACE_RANK": "1"}, "JSM_NAMESPACE_SIZE=4"),
    ],
)
def test_processes_that_would_never_meet_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    """Two processes of one node were asked for, and left-over variables tell of others."""
    several(monkeypatch, variables)

    with pytest.raises(OptionError, match=f"the environment has {told}"):
        rank_of(2, 1)
    assert rank_of(1, 1) == 0


def test_nodes_that_do_not_know_where_they_meet_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle_meeting(1)
    with pytest.raises(OptionError, match=r"--num-nodes 2: .* MASTER_ADDR, MASTER_PORT"):
        settle_meeting(2)
    monkeypatch.setenv("MASTER_PORT", "29500")
    settle_meeting(2)


def test_where_something_else_met_is_forgotten_on_one_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lightning would start the others to meet at an address that nobody has."""
    several(monkeypatch, {"MASTER_ADDR": "none.invalid", "MASTER_PORT": "1"})

    settle_meeting(1)

    assert not {"MASTER_ADDR", "MASTER_PORT"} & set(os.environ)


def test_features_that_are_there_need_one_process_on_cpus(
    bundle: Bundle, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process would take seconds to start, and then do the same work again."""
    met: list[Meeting] = []
    monkeypatch.setattr(Meeting, "setup_distributed", met.append)
    words = [*("run", "--setting", "few-shot", "--features", bundle(), "--method", "tipx,tda")]
    words += ["--shots", "1,2", "--tune", "fixed", "--accelerator", "cpu", "--json"]

    one = command(*words, "--out", "one")
    two = command(*words, "--out", "two", "--devices", 2)

    assert one.code == two.code == 0, two.err
    assert "--devices 2: nothing is left to encode, and one process" in " ".join(two.err.split())
    assert "nothing is left to encode" not in one.err
    same = ("input_sha256", "predictions_sha256", "accuracy", "device")
    assert [[r[name] for name in same] for r in one.records] == [
        [r[name] for name in same] for r in two.records
    ]
    assert not met


ONE_DRAW = ("--setting", "few-shot", "--shots", "1", "--seed", "1", "--tune", "fixed")
TWO = ("--accelerator", "cpu", "--devices", "2")


def both(words: Sequence[object], *program: str) -> str:
    """The standard error of a command on two CPUs, which must succeed."""
    done = subprocess.run(
        [sys.executable, *(program or ("-m", "susx_bench")), *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


COUNTS = """
import os
from susx_bench.methods.zero_shot import ZeroShot

class Counts(ZeroShot):
    name = "counts"

    def fit(self, context):
        open(f"fitted-{os.environ.get('LOCAL_RANK')}-{os.getpid()}", "w").close()
        super().fit(context)
"""


@pytest.mark.enable_socket
def test_one_of_two_processes_on_cpus_measures_what_both_have_encoded(tmp_path: Path) -> None:
    """A search in every process would take the cores from the one that writes."""
    (tmp_path / "counts.py").write_text(COUNTS)
    words = ["run", "--dataset", "digits", "--method", "./counts.py:Counts,tip-adapter"]

    told = both([*words, *ONE_DRAW, *TWO, "--out", "out"])

    assert "nothing is left to encode" not in told
    fitted = [path.name.split("-")[1] for path in tmp_path.glob("fitted-*")]
    assert fitted == ["0"]
    records = [read(path) for path in Path("out").rglob("*.json")]
    assert {record.method for record in records} == {"counts", "tip-adapter", "zero-shot"}
    assert sum(record.seconds.encode > 0 for record in records) == 1


SCRIPT = """
import json, os
from pathlib import Path
import susx_bench as sb
from susx_bench.methods.base import UnfitError
from susx_bench.methods.zero_shot import ZeroShot

class Never(ZeroShot):
    name = "never"

    def fit(self, context):
        raise UnfitError("it fits nothing")

for number, out in enumerate(("out", None)):
    results = sb.evaluate(
        ["zero-shot", "tda", Never], setting="few-shot", shots=1, seed=1, tune="fixed",
        out=out, devices=2, accelerator="cpu", progress=False,
    )
    said = [record.to_json() for record in results.records] + list(results.blank)
    Path(f"{number}-{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(said))
"""


@pytest.mark.enable_socket
def test_every_process_of_a_script_gets_what_the_first_one_measures(tmp_path: Path) -> None:
    """The second call finds all features stored, and the other process waiting."""
    (tmp_path / "script.py").write_text(SCRIPT)

    both([], "script.py")

    for number in range(2):
        first, other = (json.loads(Path(f"{number}-{rank}.json").read_text()) for rank in range(2))
        assert first == other
        assert len(first) == 3
        assert "it fits nothing" in first[2]


STORED_FIRST = """
import json, os
from pathlib import Path
import susx_bench as sb
from susx_bench.errors import OptionError
from susx_bench.methods.zero_shot import ZeroShot

class Refuses(ZeroShot):
    name = "refuses"

    def fit(self, context):
        raise OptionError("it fits nothing")

calls = [(["tda"], 1), ([Refuses], 1), ([Refuses], 2), (["tda"], 3)]
for number, (methods, seed) in enumerate(calls):
    try:
        said = sb.evaluate(
            ["tip-adapter", *methods], setting="few-shot", shots=1, seed=seed, tune="fixed",
            devices=2, accelerator="cpu",
        ).records[0].to_json()
    except OptionError as error:
        said = str(error)
    Path(f"{number}-{os.environ.get('LOCAL_RANK', 0)}").write_text(said)
"""


@pytest.mark.enable_socket
def test_processes_that_a_later_call_starts_get_what_earlier_ones_measured(
    command: Command, tmp_path: Path
) -> None:
    """And an error of the first process, so that the script may go on in all of them."""
    (tmp_path / "script.py").write_text(STORED_FIRST)
    words = ["run", "--method", "tip-adapter,tda", *ONE_DRAW, "--accelerator", "cpu"]
    assert command(*words).code == 0

    both([], "script.py")

    first, other = ([Path(f"{n}-{rank}").read_text() for n in range(4)] for rank in range(2))
    assert first == other
    assert first[1] == first[2] == "it fits nothing"


OTHER_RUN = """
import os, subprocess, sys
import susx_bench as sb
from susx_bench.features.launch import Launch

if "a GPU each" in sys.argv:
    Launch.on_cpu = property(lambda self: False)
kept = {"method": "tip-adapter", "shots": "1", "seed": "1", "tune": "fixed", "out": "out"}
if "LOCAL_RANK" in os.environ:  # rank 0 has looked, and this process has not
    words = [word for name, value in kept.items() for word in (f"--{name}", value)]
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    env |= {name: value for name, value in os.environ.items() if name.startswith("SUSX")}
    command = [sys.executable, "-m", "susx_bench", "run", "--setting", "few-shot", *words]
    subprocess.run(command, env=env, check=True, stdout=sys.stderr)
results = sb.evaluate(**kept, devices=2, accelerator="cpu")
assert "tip-adapter" in {record.method for record in results.records}
open(f"done-{os.environ.get('LOCAL_RANK', 0)}", "w").close()
"""


@pytest.mark.enable_socket
@pytest.mark.parametrize("on", ["CPUs", "a GPU each"])
def test_another_run_may_do_all_the_work_before_the_second_process_looks(
    on: str, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(OTHER_RUN)

    both([on], "script.py")

    for _ in range(600):  # rank 0 does not wait for the other at the end
        if (tmp_path / "done-1").exists():
            break
        time.sleep(0.1)
    assert {path.name for path in tmp_path.glob("done-*")} == {"done-0", "done-1"}


def test_a_process_with_other_data_than_rank_0_says_so(
    bundle: Bundle, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 would wait for it for ever where cells are predicted together."""
    monkeypatch.setattr("susx_bench.runner.run.from_first", lambda *_: '["of-rank-0"]')

    done = command("run", "--features", bundle(), "--method", "tipx", *ONE_DRAW)

    assert done.code == 3
    assert "1 cell of rank 0 cannot be found by another process" in done.err


@pytest.mark.enable_socket
def test_processes_of_torchrun_on_cpus_meet_though_nothing_is_left_to_encode(
    bundle: Bundle, tmp_path: Path
) -> None:
    """They exist already, so each of them gets to know what the first one measures."""
    (tmp_path / "counts.py").write_text(COUNTS)
    words = ["run", "--features", bundle(), "--method", "./counts.py:Counts", *ONE_DRAW, *TWO]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

    told = both([*words, "--out", "out"], *torchrun, "-m", "susx_bench")

    assert "nothing is left to encode" not in told
    assert [path.name.split("-")[1] for path in tmp_path.glob("fitted-*")] == ["0"]
    assert len(list(Path("out").rglob("*.json"))) == 3


@pytest.mark.enable_socket
def test_processes_with_a_device_each_predict_together(
    bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    """As on GPUs, each of which has its part of the test images."""
    (tmp_path / "counts.py").write_text(COUNTS)
    words = ["run", "--features", bundle(), "--method", "./counts.py:Counts,tipx,transclip,dmn"]

    both([*words, *ONE_DRAW, *TWO, "--out", "two"], AS_ON_GPUS)

    fitted = {path.name.split("-")[1] for path in tmp_path.glob("fitted-*")}
    assert fitted == {"0", "1"}
    assert command(*words, *ONE_DRAW, "--accelerator", "cpu", "--out", "one").code == 0
    same = ("input_sha256", "predictions_sha256", "accuracy")
    one, two = (
        sorted([getattr(read(path), name) for name in same] for path in Path(out).rglob("*.json"))
        for out in ("one", "two")
    )
    assert len(one) == 6  # with those that are shown beside them
    assert one == two


@pytest.mark.parametrize(
    ("variables", "nodes", "starts"),
    [
        ({}, 1, True),
        ({"LOCAL_RANK": "0"}, 1, False),  # it has started them
        ({"LOCAL_RANK": "1", "MASTER_PORT": "1"}, 1, False),
        ({"TORCHELASTIC_RUN_ID": "job", "RANK": "0", "LOCAL_RANK": "0"}, 1, False),
        (SLURM, 1, False),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, 1, True),
        ({}, 2, False),
    ],
)
def test_who_starts_the_other_processes(
    variables: dict[str, str], nodes: int, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    several(monkeypatch, variables)

    assert starts_others(2, nodes) == starts
    assert not starts_others(1, nodes)
