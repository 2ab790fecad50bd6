"""Bad input: one clear line, exit 2, nothing lost. And what a stranger sees first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from susx_bench.errors import BenchError
from susx_bench.registry import METHODS
from susx_bench.testing.task import unit
from tests.conftest import Bundle, Command
from tests.data.made import dotted, encoded, photo, write

RUN = ("run", "--setting", "few-shot")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "tipxx"), "no method called 'tipxx'. Did you mean tipx?"),
        (("--method", "TIP-X"), "no method called 'TIP-X'. Did you mean tipx?"),
        (("--method", "tipx", "--dataset", "CIFAR_10"), "Did you mean cifar10?"),
        (("--method", "tipx", "--prompts", "CuPL"), "Did you mean cupl?"),
        (
            ("--method", "tipx", "--dataset", "digit"),
            "no dataset called 'digit'. Did you mean digits",
        ),
        (
            ("--method", "tipx", "--encoder", "demmo"),
            "no encoder called 'demmo'. Did you mean demo",
        ),
        (("--method", "tipx", "--prompts", "ensembl"), "Did you mean ensemble"),
        (("--method", "tipx", "--tune", "vale"), "no tuning called 'vale'. Did you mean val"),
        (("--method", "tipx", "--shots", "100"), "has 83 labelled images, --shots asks for 100"),
        (("--method", "tipx", "--shots", "0"), "0 is not in the range"),
        (("--method", "tipx", "--shots", "4,"), "'4,' has an empty item"),
        (("--method", "tipx", "--seed", "one"), "'one' is not a valid integer"),
        (("--method", "tipx", "--features", "none.safetensors"), "none.safetensors: no such file"),
        (("--method", "./none.py:X"), "none.py does not exist"),
        (
            ("--method", "tipx", "--encoder", "local-dir:here"),
            "here does not exist or has no weights",
        ),
        (("--method", "tipx", "--support", "sus-sd"), "--support goes with --setting name-only"),
        (("--method", "tipx", "--logit-scale", "3"), "--logit-scale goes with --features only"),
        (("--method", "tipx", "--accelerator", "warp"), "--accelerator warp"),
        (("--method", "tipx", "--wrong"), "No such option"),
        (("--method", "x.py"), "name the class too, as in x.py:Class"),
        (("--method", "tipx", "--seed", str(2**64)), "is not in the range"),
        ((), "Missing option '--method'"),
        (("--suite", "none.toml"), "--setting does not go with --suite"),
    ],
)
def test_bad_options_get_one_line_and_exit_2(
    command: Command, words: tuple[str, ...], message: str
) -> None:
    done = command(*RUN, *words)

    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert message in done.err


def test_a_bad_bundle_gets_one_line_and_exit_2(command: Command, bundle: Bundle) -> None:
    path = bundle(test=3 * unit(70, 16, seed=1))
    done = command(*RUN, "--method", "tipx", "--features", path)

    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "are not unit" in done.err


def test_tuning_on_a_val_split_that_is_not_there(command: Command, bundle: Bundle) -> None:
    path = bundle(val=None, val_labels=None)
    done = command(*RUN, "--method", "tipx", "--features", path, "--tune", "val")

    assert done.code == 2
    assert "without a val split" in done.err


def test_a_bundle_with_too_few_shots(command: Command, bundle: Bundle) -> None:
    done = command(*RUN, "--method", "tipx", "--features", bundle(), "--shots", "2,8")

    assert done.code == 2
    assert "has 4 labelled images, --shots asks for 8" in done.err


def test_a_folder_that_cannot_be_written(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = command(
        *RUN, "--method", "zero-shot", "--features", bundle(), "--out", tmp_path / "file" / "out"
    )

    assert done.code == 2
    assert "cannot be written" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_cache_that_cannot_be_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUSX_BENCH_CACHE", str(tmp_path / "file" / "cache"))

    done = command(*RUN, "--method", "zero-shot")

    assert done.code == 2
    assert "cannot be written" in done.err


def test_a_broken_encoder_folder(command: Command, tmp_path: Path) -> None:
    from susx_bench.encoders.layout import EMBEDDED

    folder = tmp_path / "encoder"
    folder.mkdir()
    for file in EMBEDDED["demo"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    done = command(*RUN, "--method", "zero-shot", "--encoder", f"local-dir:{folder}")

    assert done.code == 2
    assert str(folder) in done.err
    assert len(done.err.splitlines()) == 1


def test_a_method_file_that_fails_is_named(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")

    done = command(*RUN, "--method", f"{file}:Mine")

    assert done.code == 2
    assert "ZeroDivisionError" in done.err
    assert str(file) in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise SystemExit(0)", "SystemExit(0)"),
        ("class Mine: name = 'mine'", "not a subclass"),
        ("from susx_bench import Method\nclass Mine(Method): name = 'mine'", "abstract"),
        (
            "from susx_bench import Method\n"
            "class Mine(Method):\n"
            "    def fit(self, context): pass\n"
            "    def logits(self, images): pass\n",
            "has no name",
        ),
    ],
)
def test_a_file_that_holds_no_method_is_named(
    command: Command, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)

    done = command(*RUN, "--method", f"{file}:Mine")

    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert message in done.err


def test_a_suite_leaves_nothing_to_say(command: Command, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text("name = 'x'\ntitle = 'x'\n[[run]]\nmethod = ['zero-shot']\n")

    for words in (("--official",), ("--encoder", "demo"), ("--logit-scale", "5")):
        done = command("run", "--suite", suite, *words)
        assert done.code == 2
        assert f"{words[0]} does not go with --suite" in done.err


def test_a_list_of_numbers_given_twice_is_not_dropped_in_silence(command: Command) -> None:
    words = ("run", "--method", "tipx", "--setting", "few-shot", "--shots", 1, "--shots", "2,4")
    done = command(*words)

    assert done.code == 2
    told = "--shots is given 2 times. Give it once, with commas between its values."
    assert done.err.strip().endswith(told)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--features", ("a.safetensors", "b.safetensors")),
        ("--out", ("a", "b")),
        ("--val-shots", (1, 2)),
    ],
)
def test_a_value_given_twice_is_not_dropped_in_silence(
    option: str, values: tuple[object, ...], command: Command
) -> None:
    words = [word for value in values for word in (option, value)]
    done = command("run", "--dry-run", "--method", "zero-shot", "--setting", "few-shot", *words)

    assert f"{option} is given 2 times: the last one counts, {values[-1]}." in done.err


def test_a_flag_given_twice_says_the_same(command: Command) -> None:
    words = ("--method", "zero-shot", "--dry-run", "--dry-run")
    assert command("run", "--setting", "few-shot", *words).code == 0


def test_lists_of_names_given_twice_add_up(command: Command) -> None:
    run = ("run", "--setting", "few-shot", "--shots", 1, "--seed", 1, "--json")
    done = command(*run, "--method", "tag,zero-shot", "--method", "tip-adapter,tag")

    assert done.code == 0, done.err
    assert [record["method"] for record in done.records] == ["tag", "zero-shot", "tip-adapter"]


def test_a_folder_with_a_comma_is_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, classes in (("pets, small", "ab"), ("plain", "cde")):
        for number, label in enumerate(classes * 3):
            write(tmp_path / f"{name}/{label}/{number}.png", dotted(20 * number))
    run = ("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo", "--json")

    done = command(*run, "--dataset", "./pets, small", "--dataset", "./plain")
    assert done.code == 0, done.err
    assert [len(record["classes"]) for record in done.records] == [2, 3]
    done = command(*run, "--dataset", "./plain,./pets, small")
    assert done.code == 2
    assert "no dataset called 'small'" in done.err


SLOW = {"torch", "lightning", "numpy", "open_clip"}


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--help"], SLOW),
        (["list", "prompts"], SLOW),
        (["list", "methods"], SLOW),
    ],
)
def test_nothing_slow_is_imported_before_its_use(words: list[str], unneeded: set[str]) -> None:
    code = (
        f"import sys; sys.argv = ['susx-bench', *{words}]\n"
        "from susx_bench.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted({unneeded} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_help_ends_with_lines_to_paste(command: Command) -> None:
    assert command("--help").out.splitlines()[-1].strip().startswith("susx-bench ")


@pytest.mark.parametrize("what", ["methods", "datasets", "encoders", "prompts"])
def test_lists_have_a_row_each(command: Command, what: str) -> None:
    done = command("list", what)

    assert done.code == 0
    assert len(done.out.splitlines()) >= 5
    if what == "methods":
        assert all(name in done.out for name in METHODS.names())
    if what == "encoders":
        assert "\n RN50:openai " in done.out
        assert "hf-hub:ORG/NAME[@COMMIT]" in done.out


def test_tables_are_never_cut_in_a_file(command: Command, bundle: Bundle) -> None:
    name = "x" * 200
    done = command(*RUN, "--method", "zero-shot", "--features", bundle(), "--dataset", name)

    assert name in done.out
    assert "…" not in done.out


def test_every_user_error_has_an_exit_code() -> None:
    codes = {error.__name__: error.exit_code for error in BenchError.__subclasses__()}

    assert codes.pop("CheckError") == 3
    assert set(codes.values()) == {2}


def test_our_own_mistakes_keep_their_traceback(
    command: Command, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("susx_bench.runner.measure.score_open", lambda *a: torch.zeros(3)[7])

    with pytest.raises(IndexError):
        command(*RUN, "--method", "zero-shot", "--features", bundle())


@pytest.mark.parametrize("name", ["a[1]b", "c*d?{e}, f", "g::h%20#i"])
def test_no_path_is_a_pattern(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle, name: str
) -> None:
    """Everything lies in a folder of an odd name: data, pool, sets, features, records, a suite."""
    home = tmp_path / name
    for number in range(20):
        split, label = ("train", "test")[number % 2], f"class {number % 4 // 2}"
        write(home / f"data [x]/{split}/{label}/{number}.png", encoded(photo(number)))
    monkeypatch.setenv("SUSX_BENCH_CACHE", str(home / "cache"))
    monkeypatch.setenv("SUSX_BENCH_SUPPORT", str(home / "support"))
    monkeypatch.chdir(home)
    data = ("--dataset", f"{home}/data [x]", "--encoder", "demo")
    run = ("run", "--method", "tip-adapter", *data, "--out", f"{home}/results", "--json")

    few = command(*run, "--setting", "few-shot", "--shots", 1, "--seed", 1)
    assert (few.code, len(few.records)) == (0, 1), few.err
    again = command("records", "verify", few.records[0]["record"], "--dataset", f"{home}/data [x]")
    assert again.code == 0, again.err
    pool = ("--pool", f"{home}/data [x]/train", "--per-class", 2)
    built = command("support", "build", "--kind", "sus-lc", *data, *pool, "--no-test-check")
    assert built.code == 0, built.err
    named = command(*run, "--setting", "name-only", "--support", "sus-lc")
    assert (named.code, len(named.records)) == (0, 1), named.err
    bundle().rename(home / "toy [x].safetensors")
    head = 'name = "s"\ntitle = "S"\n[[run]]\nmethod = ["zero-shot"]\n'
    path = write(home / "s [x].toml", f'{head}features = ["toy [x].safetensors"]')
    done = command("run", "--suite", path, "--data-root", home, "--out", f"{home}/records/s")
    assert done.code == 0, done.err
    board = command("leaderboard", "build", path, "--folder", home)
    assert board.code == 0, board.err
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


def test_what_is_said_of_the_time_is_of_this_run(command: Command, bundle: Bundle) -> None:
    path = bundle()
    words = (*RUN, "--method", "tipx", "--features", path)
    many = (*words, "--shots", "1,2", "--seed", "1,2,3,4,5,6")

    first, again = command(*words), command(*words)
    assert " a second)" in first.out
    assert " a second)" not in again.out
    assert "best of " in again.out  # what was chosen is still told
    fresh, kept = command(*many), command(*many)
    assert "for 24 cells in " in fresh.out
    assert "searched" not in kept.out
    more = command(*words, "--shots", "1,2,3", "--seed", "1,2,3,4,5,6")
    assert "for 12 cells in " in more.out
