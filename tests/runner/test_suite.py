"""Suites: what they may say, and that a suite's support sets are built before its cells."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from susx_bench.errors import SuiteError, UnknownNameError
from susx_bench.options.run import RunOptions
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.plan import Request
from susx_bench.runner.suite import Suite, SuiteRun, packaged
from tests.conftest import Command
from tests.data.copies import LATER
from tests.support.conftest import untrained

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", packaged(), ids=lambda path: path.stem)
def test_a_suite_names_what_there_is(path: Path) -> None:
    suite = Suite.read(path)

    assert suite.name == path.stem
    for options in suite.options(None):
        assert set(options["method"]) <= set(METHODS.names())
        assert set(options.get("dataset", ())) <= set(DATASETS.names())
    built = {
        (
            support["dataset"],
            support.get("name", f"{support['kind']}-{support.get('prompts', 'photo')}"),
        )
        for support in suite.supports(None)
    }
    used = {
        (dataset, options["support"])
        for options in suite.options(None)
        if "support" in options
        for dataset in options.get("dataset", ("digits",))
    }
    assert built == used


def test_a_suite_builds_its_support_sets_first(command: Command, tmp_path: Path) -> None:
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
        shots = [1, 2]
        seed = [1, 2]
        """
    )

    done = command("run", "--suite", suite, "--out", "leaderboards/records/mine", "--json")

    assert done.code == 0, done.err
    assert sorted((r["method"], r["shots"], r["seed"]) for r in done.records) == [
        *(("tip-adapter", shots, seed) for shots in (1, 2) for seed in (1, 2)),
        ("zero-shot", 0, 0),
    ]
    assert command("leaderboard", "build", suite).code == 0
    table = Path("leaderboards/mine.md").read_text()
    assert "digits · demo · name-only · sus-sd-photo" in table
    assert command("leaderboard", "check", suite).code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sus-sdd"}, "support.0.kind"),
        ({"sead": 3}, "support.0.sead"),
        ({"per_class": 0}, "support.0.per_class"),
    ],
)
def test_a_mistake_in_a_support_set_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    support = {"kind": "sus-sd", "dataset": ["digits"]} | change
    lines = [f"{name} = {value!r}" for name, value in support.items()]
    path.write_text(
        "\n".join(["name='x'", "title='x'", "[[support]]", *lines, "[[run]]", "method=['tipx']"])
    )

    with pytest.raises(SuiteError, match=message):
        Suite.read(path)


def test_the_papers_tables_are_there() -> None:
    main = Suite.read(Path("name-only")).options(None)
    few = Suite.read(Path("few-shot")).options(None)

    nineteen = set(DATASETS.names()) - {"digits", *LATER}
    assert len(nineteen) == 19
    assert {name for run in main for name in run["dataset"]} == nineteen
    assert {run.get("support") for run in main if "tipx" in run["method"]} == {
        "sus-sd-photo",
        "sus-lc-photo",
    }
    asked = {name for run in main for name in run["method"]}
    listed = "zero-shot calip clip-dn cupl cupl-e visdesc tip-adapter tipx tag"
    assert asked >= set(listed.split())
    assert all("tune" not in run for run in (*main, *few)), "nothing is tuned on target labels"
    assert {len(run["dataset"]) for run in few} == {11}
    assert {run["shots"] for run in few} == {(1, 2, 4, 8, 16)}


def test_a_suite_is_found_by_name_or_by_file(tmp_path: Path) -> None:
    named = Suite.read(Path("demo"))

    assert named == Suite.read(CHECKOUT / "benchmarks" / "suites" / "demo.toml")
    (tmp_path / "demo").write_text("name = 'mine'\ntitle = 'x'\n[[run]]\nmethod = ['tipx']")
    assert Suite.read(Path("demo")).name == "mine", "a file of that name comes first"
    with pytest.raises(UnknownNameError, match=r"no suite called 'dmo'\. Did you mean demo"):
        Suite.read(Path("dmo"))


def test_the_wheel_has_the_suites() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())

    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert built == {"benchmarks/suites": "susx_bench/suites"}


def test_list_suites_names_them_all(command: Command) -> None:
    done = command("list", "suites")

    assert done.code == 0
    assert all(path.stem in done.out for path in packaged())
    assert "✗" not in done.out


def test_lists_stand_for_a_run_each(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "name='x'\ntitle='x'\n[[run]]\nmethod=['tipx']\nencoder=['demo', 'RN50:openai']\n"
        "prompts=['single', 'photo']\ntune=['fixed', 'test']"
    )

    options = Suite.read(path).options(None)

    asked = [
        (o["encoder"], o["prompts"], o["tune"], o.get("allow_test_tuning", False)) for o in options
    ]
    assert asked == [
        (encoder, prompts, (tune,), tune == "test")
        for encoder in ("demo", "RN50:openai")
        for prompts in ("single", "photo")
        for tune in ("fixed", "test")
    ]


def test_a_suite_takes_what_the_command_line_takes(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a sketch of a {}.\n{} in art\n")
    (tmp_path / "mine.toml").write_text(
        "name='x'\ntitle='x'\n[[run]]\nmethod='all'\ntemplates='mine.txt'\nsetting='name-only'\n"
        "on_bad_image='skip'\ntune=['few-val']\nval_shots=2\n[[run]]\nmethod=['tag', 'all']\n"
        "shots_file='which.json'\n"
    )

    first, second = Suite.read(tmp_path / "mine.toml").options(tmp_path)

    asked = Request(**first)
    assert asked == Request(
        method="all",
        templates=tmp_path / "mine.txt",
        setting="name-only",
        on_bad_image="skip",
        tune="few-val",
        val_shots=2,
    )
    assert asked.prompts == "a sketch of a {}. | {} in art"
    assert Request(**second) == Request(method="all", shots_file=tmp_path / "which.json")
    assert set(asked.method) == set(METHODS.names())


def test_an_option_that_decides_is_one_a_suite_may_say() -> None:
    declared = RunOptions.declared()
    # Where data lies is for who runs the suite to say, as is a quick look; unknown classes are of
    # one dataset; the last one follows from the tuning.
    elsewhere = {"source", "split_file", "limit", "unknown", "allow_test_tuning"}

    lacking = {name for name, option in declared.items() if option.decides and not option.suite}
    assert lacking == elsewhere


def test_every_key_of_a_run_is_an_option() -> None:
    assert set(SuiteRun.model_fields) <= set(Request.declared())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("method = ['tip-x']", "run.0.method: no method called 'tip-x'. Did you mean tipx"),
        ("dataset = ['dt']", "run.0.dataset: no dataset called 'dt'. Did you mean dtd"),
        ("tune = ['vall']", "run.0.tune: no tuning called 'vall'. Did you mean val"),
        ("prompts = 'fotos'", "run.0.prompts: no prompt kind called 'fotos'"),
        ("sead = [1]", "run.0.sead: Extra inputs are not permitted. Did you mean seed?"),
        ("shots = [0]", "run.0.shots: 0 is not in the range"),
        ("shots = [nan]", "run.0.shots: nan is not a valid integer"),
        ("shots = []", "run.0.shots: the list is empty"),
        ("views = 1.5", "run.0.views: 1.5 is not a valid integer"),
        ("seed = 'x", "cannot be read"),
        ("prompts = 'a {} {}'", "run.0.prompts: --prompts 'a {} {}': a template has one {}"),
        ("features = ['']", "run.0.features: it is empty.\n"),
        ("draw = 'x'", "run.0.draw: 'x' is not one of 'balanced', 'coop'.\n"),
    ],
)
def test_a_typo_is_one_line_with_file_and_key(
    line: str, message: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    method = "" if line.startswith("method") else "method = ['tipx']\n"
    path.write_text(f"name='x'\ntitle='x'\n[[run]]\n{method}{line}\n")

    done = command("run", "--suite", path)

    assert done.code == 2
    assert message in done.err
    assert str(path) in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_datasets_and_methods_of_yours_need_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "name='x'\ntitle='x'\n[[run]]\nmethod=['./mine.py:Mine']\n"
        "dataset=['./folder', 'hf:ORG/NAME']\n[[run]]\nmethod=['tipx']\ndataset=['any name']\n"
        "features=['toy.safetensors']"
    )

    assert len(Suite.read(path).options(None)) == 2


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("shots = [1000000000000]", "shots: 1000000000000 is not in the range 1<=x<=1000000"),
        ("seed = [9223372036854775808]", "seed: 9223372036854775808 is not in the range"),
        ("views = 1000000000", "views: 1000000000 is not in the range 1<=x<=1000"),
        ('encoder = "a\\u0000b"', "encoder: it holds the control character"),
        ('dataset = ["~nosuchuser/x"]', "dataset: ~nosuchuser/x: ~nosuchuser is nobody's home"),
        (f'features = ["{"x" * 300}"]', "features: xxx"),
        ('support = ""', "support: it is empty"),
        ('method = ["./a\\nb.py:X"]', "method: it holds the control character"),
    ],
)
def test_a_suite_cannot_ask_for_what_an_option_refuses(
    run: str, message: str, tmp_path: Path, command: Command
) -> None:
    method = "" if "method" in run else 'method = ["zero-shot"]\n'
    (tmp_path / "mine.toml").write_text(f'name = "x"\ntitle = "x"\n[[run]]\n{method}{run}\n')

    done = command("run", "--suite", "mine.toml")

    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("guidance = inf", "guidance"),
        ("guidance = 1e9", "guidance: 1000000000.0 is not in the range 0<=x<=1000"),
        ("steps = 100000", "steps: 100000 is not in the range 1<=x<=1000"),
        ("per_class = 1000000", "per_class: 1000000 is not in the range 1<=x<=10000"),
        ('backend = "file:///etc"', "backend: it is no address"),
    ],
)
def test_a_suites_support_cannot_either(
    line: str, message: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "x"\ntitle = "x"\n[[run]]\nmethod = ["zero-shot"]\n'
        f'[[support]]\nkind = "sus-sd"\ndataset = ["digits"]\n{line}\n'
    )

    done = command("run", "--suite", "mine.toml")

    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
