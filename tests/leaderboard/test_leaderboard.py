from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from susx_bench.errors import SuiteError
from susx_bench.leaderboard import files as boards
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures.rows import row_names
from susx_bench.leaderboard.files import check
from susx_bench.records.record import Record
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
    assert len(rows) == 1 + 3 + 2 + 1  # with the heads of two sections, and zero-shot in each
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
    assert f"{record.relative_to(tmp_path)}: schema: Input should be 5" in checked.err


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


def test_half_a_picture_and_one_that_is_drawn_no_more(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    """The check names each, and the next build mends all but what is nobody's."""
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    pictures = tmp_path / "leaderboards" / "pictures"
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    one = sorted(pictures.glob("toy-*.svg"))[0]
    one.write_bytes(one.read_bytes()[:5000])
    old, gone = pictures / "toy-old-gain.png", pictures / "removed-gain.svg"
    for path in (old, gone):
        path.write_bytes(before[one])
    mine, other = pictures / "mine.svg", pictures / "toy-two-gain.svg"
    mine.write_text("<svg/>")
    other.write_bytes(before[one])
    (tmp_path / "leaderboards" / "records" / "toy-two").mkdir()

    checked = command("leaderboard", "check", suite)
    built = command("leaderboard", "build", suite)
    again = command("leaderboard", "check", suite)

    assert (checked.code, built.code, again.code) == (3, 0, 0)
    assert f"pictures/{one.name} was changed after it was drawn" in checked.err
    for path in (old, gone):
        assert f"pictures/{path.name} is drawn no more" in checked.err
    for path in (mine, other):
        assert path.name not in checked.err
    now = {path: path.read_bytes() for path in pictures.iterdir()}
    assert now == before | {mine: b"<svg/>", other: before[one]}


def test_pictures_are_computed_once(
    command: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(command, suite, tmp_path)
    computed: list[str] = []

    def counted(board: Board) -> list[str]:
        computed.append(board.name)
        return row_names(board)

    monkeypatch.setattr("susx_bench.leaderboard.figures.row_names", counted)

    for verb in ("build", "check"):
        computed.clear()
        command("leaderboard", verb, suite)
        assert computed == ["toy"]


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
    elif how == "contradiction":
        seal(record, predictions_sha256="0" * 64)
        record.rename(record.with_name("other.json"))
        record.write_text(text)
    elif how in ("tuned_on", "batches"):
        record.write_text(json.dumps(content | {how: "guessed"}))
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
        ("schema", "{record}: schema: Input should be 5"),
        (
            "contradiction",
            "/other.json and records/toy/toy/made-up/{name} have the same inputs and",
        ),
        ("bits", "{record}: right has 6 bytes, 70 test images take 9"),
        ("tuned_on", "{record}: tuned_on: Input should be 'fixed', 'published', 'support'"),
        ("batches", "{record}: batches: String should match pattern"),
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


def older(record: Path, **changes: object) -> list[Path]:
    """Records of the same cells as all in a folder, of an older source, and their predictions."""
    made = []
    for place, path in enumerate(sorted(record.parent.glob("*.json"))):
        old = path.with_name(f"old-{place}.json")
        old.write_text(path.read_text())
        old.with_suffix(".safetensors").write_bytes(path.with_suffix(".safetensors").read_bytes())
        other = {"input_sha256": f"{place:064d}", "started": "2020-01-01T00:00:00+00:00"}
        seal(old, **{"accuracy": 0.0, "correct": 0} | other | changes)
        blank = [[name, 0, n] for name, _, n in json.loads(old.read_text())["classes"]]
        seal(old, classes=blank, right="A" * 12)
        made.append(old)
    return made


def test_an_edited_method_shows_its_newest_source_and_prune_removes_the_rest(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    fill(command, suite, tmp_path)
    command("leaderboard", "build", suite)
    table = tmp_path / "leaderboards" / "toy.md"
    before = table.read_text()
    old = older(first_record(tmp_path), method_source="a" * 64)
    folder = tmp_path / "leaderboards" / "records" / "toy"

    built = command("leaderboard", "build", suite)
    told = table.read_text()
    dry = command("records", "prune", folder, "--dry-run")
    there = sorted(path.name for path in folder.rglob("*.*") if path.suffix != ".log")
    done = command("records", "prune", folder)
    again = command("records", "prune", folder)
    command("leaderboard", "build", suite)

    assert built.code == dry.code == done.code == again.code == 0
    rows = [line for line in told.splitlines() if line.startswith("| ")]
    assert rows == [line for line in before.splitlines() if line.startswith("| ")]
    assert "version 1, source aaaaaaaaaaaa of 2020-01-01 00:00+00:00, replaced by version" in told
    assert f"would remove {len(old)} records, {len(old)} left" in dry.out
    assert all(f"would remove {path.relative_to(tmp_path)}" in dry.out for path in old) or all(
        f"would remove {path}" in dry.out for path in old
    )
    assert there == sorted(f"{stem}.{ending}" for stem in {p.split(".")[0] for p in there}
                           for ending in ("json", "safetensors"))  # fmt: skip
    assert f"removed {len(old)} records, {len(old)} left" in done.out
    assert not any(path.exists() or path.with_suffix(".safetensors").exists() for path in old)
    assert "removed 0 records" in again.out
    assert table.read_text() == before


def test_prune_keeps_what_another_suite_shows(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    fill(command, suite, tmp_path)
    records = tmp_path / "leaderboards" / "records"
    for path in older(first_record(tmp_path), method_version="0"):
        elsewhere = records / "other" / path.relative_to(records / "toy")
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        path.rename(elsewhere)
        path.with_suffix(".safetensors").rename(elsewhere.with_suffix(".safetensors"))

    done = command("records", "prune", records)

    assert "removed 0 records, 6 left" in done.out


def test_prune_removes_nothing_where_a_record_is_damaged(
    command: Command, suite: Path, tmp_path: Path
) -> None:
    fill(command, suite, tmp_path)
    old = older(first_record(tmp_path), method_version="0")
    first_record(tmp_path, "zero-shot").write_text("{")

    done = command("records", "prune", tmp_path / "leaderboards" / "records")
    nowhere = command("records", "prune", tmp_path / "nowhere")
    empty = command("records", "prune", "leaderboards/records/toy/toy/made-up/none")

    assert (done.code, nowhere.code, empty.code) == (2, 2, 2)
    assert all(path.exists() for path in old)
    assert "nowhere: no such folder" in nowhere.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethods = ['tipx']", "run.0.methods: Extra inputs"),
        ("name = 'x'\ntitle = 'x'\nrun = []", "run: Tuple should have at least 1 item"),
        ("name = 'x'\ntitle = 'x'\n[[run]]\nmethod = []", "run.0.method: the list is empty"),
        (
            "name = 'x'\ntitle = 'x'\n[[run]]\nmethod = ['tipx']\nshots = [-1]",
            "run.0.shots: -1 is not in the range",
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


def test_only_a_build_believes_the_index(
    command: Command, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(command, suite, tmp_path)
    asked: list[bool] = []
    plain = vars(boards)["read_records"]

    def reading(*args: Any, index: bool) -> Any:
        asked.append(index)
        return plain(*args, index=index)

    monkeypatch.setattr(boards, "read_records", reading)
    read, folder = Suite.read(suite), tmp_path / "leaderboards"
    boards.write(boards.build(read, folder), folder)
    check(read, folder)

    assert asked == [True, False]
