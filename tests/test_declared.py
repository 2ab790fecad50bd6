"""An option is declared once: suite, request, input hash, record and printed command follow it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from susx_bench import options as kinds
from susx_bench.cli.run import run as run_command
from susx_bench.cli.shared import said
from susx_bench.cli.support import build_support
from susx_bench.errors import OptionError, UnknownNameError
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.options.asked import BUNDLE, LIST
from susx_bench.options.commands import GROUPS, Grouped
from susx_bench.options.declare import options_of
from susx_bench.options.recorded import Extras, Tuning
from susx_bench.options.run import RunOptions
from susx_bench.options.shared import SPLIT
from susx_bench.options.support import SupportOptions
from susx_bench.records.command import command as command_of
from susx_bench.records.record import Record, Search
from susx_bench.runner.plan import Request, plan
from susx_bench.runner.suite import Suite, SuiteRun, SuiteSupport
from susx_bench.tuning.names import TUNES
from tests.conftest import Bundle
from tests.records.example import make_record

BUDGET = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
WORD = st.text("abcdefgh-", min_size=1, max_size=8).filter(lambda word: word[0] not in "-")


def values_of(name: str) -> st.SearchStrategy[Any]:
    """What an option may be in a request about one cell, from its type alone."""
    kind = RunOptions.declared()[name].type
    if name == "method":
        return WORD.map(lambda word: (word,))
    if name == "tune":
        return st.sampled_from(get_args(Tuning))
    if name == "batches":
        return st.sampled_from([("64:4",), ("20:3",)])
    return value_of(kind)


def value_of(kind: click.ParamType[Any]) -> st.SearchStrategy[Any]:
    if isinstance(kind, kinds.CommaList):
        return value_of(kind.item).map(lambda value: (value,))
    if isinstance(kind, kinds.Count):
        return st.integers(kind.least, kind.most)
    if isinstance(kind, kinds.Number):
        return st.floats(kind.least, kind.most)
    if isinstance(kind, click.Choice):
        return st.sampled_from(list(kind.choices))
    if isinstance(kind, kinds.Place):
        return WORD.map(lambda word: Path("nowhere") / word)
    if isinstance(kind, kinds.Text):
        return WORD
    assert kind is click.BOOL, f"no values for {kind}"
    return st.booleans()


def requests() -> st.SearchStrategy[dict[str, Any]]:
    """Options of a request about one cell; not all of them fit."""
    decide = [name for name, option in RunOptions.declared().items() if option.decides]
    return st.fixed_dictionaries(
        {"method": values_of("method"), "setting": values_of("setting")},
        optional={n: values_of(n) for n in decide if n not in ("method", "setting")},
    )


def valid(asked: Mapping[str, Any]) -> Request:
    try:
        return Request(**asked)
    except OptionError:
        assume(False)
        raise


def record_of(request: Request) -> Record:
    """The record of the cell that a request asks for, as `runner.cell` would write it."""
    few = request.setting == "few-shot"
    drawn = bool(request.shots) or bool(request.shots_file)
    tune = (request.tune or ("val" if few else "fixed",))[0]
    order, batches = (request.order or (1,))[0], (request.batches or ("",))[0]
    streaming = bool(request.order) and not batches
    images = (request.val_shots or min((request.shots or (4,))[0], 4)) * 5
    return make_record(
        method=request.method[0],
        setting=request.setting,
        dataset=(request.dataset or ("toy",))[0],
        dataset_given="" if request.features else (request.dataset or ("toy",))[0],
        encoder=request.encoder or "RN50:openai",
        prompts="bundle" if request.features else request.prompts,
        precision=request.precision if not request.features else "fp32",
        protocol="bundle" if request.features else "custom" if request.split_file else "susx",
        logit_scale=request.logit_scale or 100.0,
        skipped=["test/a"] if request.on_bad_image == "skip" else [],
        views=(request.views or 10) if few else 1,
        support="few-shot" if few else request.support or "none",
        draw="file" if request.shots_file else request.draw if drawn else "",
        shots=(request.shots or (0,))[0],
        seed=(request.seed or (0,))[0] if not request.shots_file else 0,
        tuned_on=tune,
        search=Search(space="tipx", settings=1, images=images, score=70.0),
        regime="streaming" if streaming else "transductive" if batches else "inductive",
        order=order if streaming or batches else 0,
        batches=batches,
        official=request.official,
        given=request.given(),
        **request.extras(),
    )


def parsed(line: str) -> dict[str, Any]:
    """What a printed command asks for."""
    words = shlex.split(line)
    assert words[:2] == ["susx-bench", "run"]
    with run_command.make_context("run", words[2:]):
        return said(RunOptions)


@BUDGET
@given(asked=requests())
def test_a_records_command_asks_for_its_cell(asked: dict[str, Any]) -> None:
    few, bundle = asked["setting"] == "few-shot", "features" in asked
    assume(("shots" in asked) == ("seed" in asked))  # a record has both or neither
    assume(few or not {"views", "shots", "shots_file", "draw"} & set(asked))
    assume(not ("draw" in asked and "shots" not in asked))
    assume(bool(asked.get("order")) or "batches" not in asked)
    assume("allow_test_tuning" not in asked or asked.get("tune") == "test")
    assume(not bundle or not {"on_bad_image", "precision", "source"} & set(asked))
    request = valid(asked)
    assume(len(request.tune or ()) < 2)  # a record has one
    record = record_of(request)

    line = command_of(record)
    again = parsed(line)

    files = {"features": BUNDLE, "split_file": SPLIT, "shots_file": LIST}
    for name in asked:
        value = getattr(request, name)
        if value == RunOptions.default(name):
            continue
        if name == "val_shots" and few and value == min(record.shots or 4, 4):
            continue  # it is what few-val takes by itself
        option = RunOptions.declared()[name]
        assert option.spelling(name) in shlex.split(line), f"{name} is not in {line}"
        if str(again[name]) != files.get(name):
            assert again[name] == value, f"{name}: {again[name]} for {value}"
    told = Request(**again)
    assert command_of(record_of(told.changed(features=request.features))) == line


@BUDGET
@given(asked=requests())
def test_a_suite_asks_for_what_the_options_ask_for(asked: dict[str, Any]) -> None:
    sayable = {n: v for n, v in asked.items() if RunOptions.declared()[n].suite}
    allowed = {"allow_test_tuning": True} if sayable.get("tune") == "test" else {}
    want = valid(sayable | allowed)

    as_toml = json.loads(json.dumps(sayable, default=str))
    suite = Suite.model_construct(name="x", title="x", run=(SuiteRun(**as_toml),))
    (options,) = suite.options(None)

    assert Request(**options) == want


def test_a_suite_may_say_what_is_declared() -> None:
    declared = {name for name, option in RunOptions.declared().items() if option.suite}

    assert set(SuiteRun.model_fields) == declared
    assert all(RunOptions.declared()[name].decides for name in declared)


def test_the_command_line_has_every_option_once_with_its_default() -> None:
    params = {param.name: param for param in run_command.params}
    context = click.Context(run_command)

    for name, option in RunOptions.declared().items():
        param = params[name]
        assert isinstance(param, Grouped)
        assert param.type is option.type
        assert param.group in GROUPS
        default = RunOptions.default(name)
        if default is not None and not option.required:
            assert param.get_default(context) == default
    spelt = [word for param in run_command.params for word in param.opts]
    assert len(spelt) == len(set(spelt))


def test_the_options_of_a_build_are_declared_once_too() -> None:
    declared = SupportOptions.declared()
    params = {param.name for param in build_support.params}

    assert params == {*declared, "recipe", "quiet"}
    assert set(SuiteSupport.model_fields) == {n for n, option in declared.items() if option.suite}
    of_the_recipe = set(SupportOptions.of_the_recipe())
    assert {"kind", "from_folder", "test_check", "precision"} <= of_the_recipe
    assert not of_the_recipe & {"dataset", "name", "root", "data_root", "source", "devices"}


def test_the_tunings_are_those_of_the_tuner() -> None:
    assert set(get_args(Tuning)) == set(TUNES)


CHANGES: list[tuple[str, Any]] = [
    ("setting", "name-only"),
    ("dataset", ["other"]),
    ("encoder", "other"),
    ("logit_scale", 7.0),
    ("tune", "fixed"),
    ("tune", "support"),
    ("shots", [2]),
    ("seed", [2]),
    ("draw", "coop"),
    ("official", True),
    ("limit", 3),
]


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=str)
def test_what_decides_a_number_is_in_the_input_hash(name: str, value: Any, bundle: Bundle) -> None:
    base = {"method": ["tipx"], "features": bundle(), "shots": [3], "seed": [1], "tune": "val"}
    (plain,), (changed,) = (plan(Request(**asked)).cells for asked in (base, base | {name: value}))

    assert RunOptions.declared()[name].decides
    assert plain.input_sha256 != changed.input_sha256


def test_an_option_with_a_field_in_the_record_is_in_the_input_hash(bundle: Bundle) -> None:
    (cell,) = plan(Request(method=["tda"], features=bundle(), order=[3])).cells
    fields = RunOptions.declared().keys() & Record.model_fields.keys() - options_of(Extras).keys()

    assert cell.options.keys() == fields
    assert cell.inputs.keys() >= fields - {"batches"}  # which tda does not depend on
    assert {"method": "tda", "support": "none", "order": 3}.items() <= cell.inputs.items()


def test_the_hashes_of_committed_records_stay_the_same() -> None:
    folder = Path(__file__).parents[1] / "leaderboards/records/demo"
    committed = {Record.read(path).input_sha256 for path in folder.rglob("*.json")}
    suite = Suite.read(Path(__file__).parents[1] / "benchmarks/suites/demo.toml")
    cells = [cell for asked in suite.options(None) for cell in plan(Request(**asked)).cells]

    assert committed
    assert committed <= {cell.input_sha256 for cell in cells}


def test_an_extra_is_in_hash_and_record_where_it_is_set(bundle: Bundle) -> None:
    """The hash of what was measured before the option came stays as it is."""
    base = {"method": ["zero-shot"], "features": bundle()}
    values = {"limit": 2, "unknown": "class 1"}
    assert set(values) == set(options_of(Extras)), "give the new option a value here"

    for name, value in values.items():
        (plain,), (at_default,), (changed,) = (
            plan(Request(**base, **extra)).cells
            for extra in ({}, {name: RunOptions.default(name)}, {name: value})
        )
        assert name not in plain.inputs
        assert plain.input_sha256 == at_default.input_sha256
        assert changed.inputs[name] == value
        record = make_record(**{name: value})
        assert record.as_dict()[name] == value
        assert name not in make_record().as_dict()
        assert record.sealed().checksum != make_record().sealed().checksum
        assert Record.model_validate_json(record.to_json()) == record
        assert command_of(record) != command_of(make_record())


def test_a_request_is_built_from_keywords_with_classes_for_names() -> None:
    request = Request(method=[ZeroShot, "tipx"], dataset=["digits"], shots=[1, 2])

    assert request.method == (ZeroShot, "tipx")
    assert (request.setting, request.shots, request.out) == ("few-shot", (1, 2), Path("results"))
    assert hash(request) == hash(Request(method=[ZeroShot, "tipx"], dataset="digits", shots="1,2"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": []}, "--method: the list is empty"),
        ({"shots": [0]}, "--shots: 0 is not in the range"),
        ({"views": "many"}, "--views: 'many' is not a valid integer"),
        ({"precision": "fp8"}, "--precision: 'fp8' is not one of"),
        ({"sead": 1}, "sead: Extra inputs are not permitted"),
        ({"draw": 3}, "--draw: "),
        ({"encoder": ""}, "--encoder: it is empty"),
    ],
)
def test_a_wrong_keyword_is_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Request(**{"method": ["tipx"]} | asked)

    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_tuning_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean val"):
        Request(method=["tipx"], tune="vall")


def test_optimized_python_gives_the_same_records(bundle: Bundle) -> None:
    """What a run does may not hang on an ``assert``."""
    words = ["run", "--method", "tip-adapter,tipx", "--setting", "few-shot", "--json"]
    words += ["--features", str(bundle()), "--shots", "2", "--seed", "1"]
    found = []
    for i, flags in enumerate(([], ["-O"])):
        done = subprocess.run(
            [sys.executable, *flags, "-m", "susx_bench", *words, "--out", f"out-{i}"],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ),
        )
        found.append([json.loads(line) for line in done.stdout.splitlines()])

    for record in (*found[0], *found[1]):
        for name in ("seconds", "started", "checksum", "record"):
            del record[name]
    assert len(found[0]) == 2
    assert found[0] == found[1]
