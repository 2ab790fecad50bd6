from __future__ import annotations

import json
from pathlib import Path

import pytest

from susx_bench.errors import SuiteError
from susx_bench.records.record import Record
from susx_bench.report.leaderboard import check
from susx_bench.runner.suite import Suite
from tests.conftest import Bundle, Command

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "leaderboards" / "records"
COMMITTED = [ROOT / f"benchmarks/suites/{path.name}.toml" for path in sorted(RECORDS.iterdir())]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_tables_are_what_their_records_give(path: Path) -> None:
    check(Suite.read(path), ROOT / "leaderboards")


@pytest.fixture
def suite(tmp_path: Path, bundle: Bundle) -> Path:
    bundle()
    path = tmp_path / "toy.toml"
    path.write_text(
        'name = "toy"\ntitle = "Toy"\n[[run]]\nmethod = ["zero-shot", "tipx"]\n'
        'features = ["toy.safetensors"]\ntune = ["fixed", "test"]\n'
    )
    return path


FILLED: dict[Path, bytes] = {}
"""What the suite's run wrote, measured once for all tests."""


def fill(command: Command, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "leaderboards" / "records" / "toy"
    if not FILLED:
        done = command("run", "--suite", suite, "--data-root", tmp_path, "--out", out)
        assert done.code == 0, done.err
        FILLED.update({path.relative_to(out): path.read_bytes() for path in out.rglob("*.*")})
    for path, content in FILLED.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)


def first_record(tmp_path: Path, method: str = "tipx") -> Path:
    return next((tmp_path / "leaderboards").rglob(f"{method}-*.json"))


def test_a_suite_runs_builds_and_checks(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    built = command("leaderboard", "build", suite)
    checked = command("leaderboard", "check", suite)

    table = (tmp_path / "leaderboards" / "toy.md").read_text()
    assert built.code == checked.code == 0
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 3
    assert "| tipx | test † |" in table
    assert "upper bound" in table
    assert "upper bound" in built.out


def test_what_was_deleted_comes_back_to_the_byte(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    folder = tmp_path / "leaderboards"
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for path in before:
        path.unlink()

    missing = command("leaderboard", "check", suite)
    command("leaderboard", "build", suite)

    assert len(before) >= 3
    assert missing.code == 3
    assert "it is missing" in missing.err
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_changed_digit_is_named(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    record = first_record(tmp_path)
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"accuracy": content["accuracy"] + 0.1}))

    done = command("leaderboard", "check", suite)

    assert done.code == 3
    assert str(record.relative_to(tmp_path)) in done.err
    assert "checksum" in done.err


def test_a_record_of_another_schema_is_named(command: Command, suite: Path, tmp_path: Path) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    record = first_record(tmp_path)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema": 2}))

    checked, built = (command("leaderboard", verb, suite) for verb in ("check", "build"))

    assert (checked.code, built.code) == (3, 2)
    assert f"{record.relative_to(tmp_path)}: schema: Input should be 3" in checked.err


@pytest.mark.parametrize("ending", ["md", "csv", "tex"])
def test_a_table_that_drifted_is_exit_3(
    command: Command, suite: Path, tmp_path: Path, ending: str
) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    table = tmp_path / "leaderboards" / f"toy.{ending}"
    lines = table.read_text().split("\n")
    place = next(i for i, line in enumerate(lines) if "tipx" in line and "fixed" in line)
    lines[place] = lines[place].replace("fixed", "val")
    table.write_text("\n".join(lines))

    done = command("leaderboard", "check", suite)

    assert done.code == 3
    assert f"toy.{ending} is not what its records give: line {place + 1} is" in done.err


def test_a_suite_without_records_says_so(command: Command, suite: Path) -> None:
    for verb in ("build", "check"):
        done = command("leaderboard", verb, suite)

        assert done.code == 2
        assert "no records" in done.err


def test_a_baseline_that_was_not_measured_is_said(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    fill(command, suite, tmp_path)

    done = command("leaderboard", "build", suite, "--baseline", "tip-adapter")

    assert done.code == 2
    assert "no record of the baseline 'tip-adapter'. There are: zero-shot, tipx" in done.err


def seal(record: Path, **changes: object) -> None:
    """Change a record and seal it again, as somebody would who means to."""
    content = json.loads(record.read_text())
    changed = Record.model_validate_json(json.dumps(content | changes))
    record.write_text(changed.sealed().to_json())


def spoil(record: Path, how: str) -> None:
    text = record.read_text()
    content = json.loads(text)
    if how == "cut off":
        record.write_text(text[: len(text) // 2])
    elif how == "foreign":
        record.write_text("[1, 2]")
    elif how == "no text":
        record.write_bytes(b"\xff\xfe")
    elif how == "NaN":
        record.write_text(text.replace(f'"accuracy": {content["accuracy"]}', '"accuracy": NaN'))
    elif how == "unknown field":
        record.write_text(json.dumps(content | {"acuracy": 1.0}))
    elif how == "schema":
        del content["right"]
        record.write_text(json.dumps(content | {"schema": 2}))
    elif how == "copy":
        record.with_name("copy.json").write_text(text)
    elif how == "other version":
        seal(record, method_version="0", input_sha256="0" * 64)
        record.rename(record.with_name("other.json"))
        record.write_text(text)
    elif how == "confusion":
        seal(record, confusions=[["nobody's class", content["classes"][0][0], 1]])
    elif how == "bits":
        seal(record, right=content["right"][:-4])
    else:
        seal(record, correct=content["correct"] - 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut off", "{record}: the file: Invalid JSON"),
        ("foreign", "{record}: the file: Input should be an object"),
        ("no text", "{record}: the file: Invalid JSON: "),
        ("NaN", "{record}: accuracy: Input should be a finite number"),
        ("unknown field", "{record}: acuracy: Extra inputs are not permitted"),
        ("schema", "{record}: schema: Input should be 3"),
        ("copy", "copy.json and records/toy/toy/made-up/{name} are the same cell: both have"),
        ("other version", "other.json and records/toy/toy/made-up/{name} are the same cell"),
        ("other version", "but differ in method_version: '0' and '1'"),
        ("bits", "{record}: right has 6 bytes, 70 test images take 9"),
        ("count", "images right, correct says"),
        ("confusion", "{record}: confusions: 'nobody's class' is none of the classes."),
    ],
)
def test_a_record_that_cannot_be_believed_is_one_line(
    command: Command, suite: Path, tmp_path: Path, how: str, message: str
) -> None:
    fill(command, suite, tmp_path)
    record = first_record(tmp_path)
    spoil(record, how)

    done = command("leaderboard", "build", suite)

    assert done.code == 2
    expected = message.format(record=record.relative_to(tmp_path), name=record.name)
    assert expected in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethods = ['tipx']", "run.0.methods: Extra inputs"),
        ("name = 'x'\ntitle = 'x'\nrun = []", "run: Tuple should have at least 1 item"),
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethod = []", "run.0.method: Tuple should have"),
        (
            "name = 'x'\ntitle = 'x'\n[[run]]\nmethod = ['tipx']\nshots = [-1]",
            "run.0.shots.0: Input should be greater than 0",
        ),
        ("name = 'x'\ntitle = 'x'", "run: Field required"),
        ("name = 'X Y'\ntitle = 'x'\nrun = []", "name: String should match"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_suite_with_a_typo_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)

    with pytest.raises(SuiteError, match=message) as caught:
        Suite.read(path)
    assert str(path) in str(caught.value)
