"""Shell completion: names that options take, cheaply, in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from susx_bench.cli import app
from susx_bench.options.completion import Bash
from susx_bench.registry import DATASETS, METHODS
from tests.conftest import Command


def complete(*words: str) -> list[str]:
    """What is offered for the last of these words."""
    shell = Bash(app, {}, "susx-bench", "_SUSX_BENCH_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_names_are_offered_where_an_option_takes_them() -> None:
    assert complete("run", "--method", "") == [*METHODS.names(), "all"]
    assert complete("run", "--method", "tipx,tag-u") == [
        f"tipx,{name}" for name in ("tag-u", "tag-u-fs", "tag-u-stream", "tag-u-sus")
    ]
    assert "tipx,tipx" not in complete("run", "--method", "tipx,ti")
    assert complete("run", "--dataset", "") == DATASETS.names()
    assert complete("classify", "--encoder", "RN") == ["RN50:openai", "RN101:openai"]
    assert complete("run", "--tune", "val,f") == ["val,fixed", "val,few-val"]
    assert complete("run", "--log", "") == ["csv", "trackio", "wandb"]
    assert "few-shot" in complete("run", "--suite", "few")
    assert complete("run", "--setting", "f") == ["few-shot"]
    assert complete("records", "pu") == ["pull", "push"]
    assert complete("run", "--method", "./mi") == ["./mi"]


def bash(script: str, **changes: str) -> str:
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | changes,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with a ``susx-bench`` that runs this checkout."""
    folder = tmp_path / "program"
    folder.mkdir()
    file = folder / "susx-bench"
    file.write_text(f"#!{sys.executable}\nfrom susx_bench.cli import main\nmain()\n")
    file.chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_a_real_bash_completes_also_after_a_colon(program: Path, command: Command) -> None:
    home = Path("home")
    home.mkdir()
    (home / ".bashrc").write_text("alias ll='ls -l'")  # without an end of line
    os.environ |= {"HOME": str(home.absolute()), "SHELL": "/bin/bash", "XDG_DATA_HOME": ""}
    first = command("--install-completion")
    before = (home / ".bashrc").read_text()
    assert command("--install-completion", "bash").code == first.code == 0
    assert (home / ".bashrc").read_text() == before
    assert before.startswith("alias ll='ls -l'\nsource ")
    assert str(home / ".local/share/susx-bench/completion.bash") in first.out

    lines = ("run --encoder RN50:o", "run --encoder RN", "run --dataset=oxf", "records p")
    tried = "\n".join(
        f"COMP_LINE='susx-bench {line}'; COMP_POINT=${{#COMP_LINE}}; _susx_bench_completion "
        'susx-bench; echo "${COMPREPLY[*]}"'
        for line in lines
    )
    found = bash(f"source ~/.bashrc\n{tried}", PATH=f"{program}:{os.environ['PATH']}")

    assert found.splitlines() == [
        "openai",
        "RN50:openai RN101:openai",
        "oxfordpets",
        "prune pull push",
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_a_real_fish_completes_lists_and_joined_options(program: Path, command: Command) -> None:
    home = Path("home")
    home.mkdir()
    os.environ |= {"HOME": str(home.absolute())}
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
    assert command("--install-completion", "fish").code == 0

    lines = ("run --encoder RN50:o", "run --dataset=oxf", "run --method tipx,tag-u-st", "records p")
    tried = "; ".join(f"complete -C 'susx-bench {line}'" for line in lines)
    done = subprocess.run(
        ["fish", "-c", tried],
        env=os.environ | {"PATH": f"{program}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        "RN50:openai",
        "--dataset=oxfordpets",
        "tipx,tag-u-stream",
        *("prune", "pull", "push"),
    ]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("run --encoder RN50:o", "run --encoder RN50:openai"),
        ("run --dataset=oxf", "run --dataset=oxfordpets"),
        ("run --method tipx,tag-u-st", "run --method tipx,tag-u-stream"),
        ("records pul", "records pull"),
    ],
)
def test_a_real_zsh_completes(typed: str, completed: str, program: Path, command: Command) -> None:
    home = Path("home")
    home.mkdir()
    os.environ |= {"HOME": str(home.absolute())}
    for name in ("XDG_DATA_HOME", "ZDOTDIR"):
        os.environ.pop(name, None)
    assert command("--install-completion", "zsh").code == 0
    # A widget of the line editor: it completes a line that is given, and prints what became of it.
    script = f"""
        zmodload zsh/zpty
        zpty shell 'TERM=dumb zsh -i'
        zpty -w shell 'PS1=; bindkey "^I" expand-or-complete; print-line() {{ print -r -- "<$BUFFER>" > line; exit }}; zle -N print-line; bindkey "^X" print-line; print READY > ready'
        while [[ ! -e ready ]]; do sleep 0.05; done
        zpty -w -n shell $'susx-bench {typed}\t\x18'
        while [[ ! -s line ]]; do zpty -r -t shell out; sleep 0.05; done
        cat line
    """  # noqa: E501
    done = subprocess.run(
        ["zsh", "-f", "-c", script],
        env=os.environ | {"PATH": f"{program}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )

    assert done.stdout.strip().strip("<>").rstrip() == f"susx-bench {completed}"


def test_completing_imports_no_torch(program: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", program / "susx-bench"],
        env=os.environ
        | {"_SUSX_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "susx-bench run --encoder "},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "plain,RN50:openai" in done.stdout.splitlines()
    assert not {"torch", "numpy", "lightning", "open_clip", "pyarrow"} & imported


@pytest.mark.parametrize(
    ("shell", "script", "start"),
    [
        ("zsh", ".local/share/susx-bench/completion.zsh", ".zshrc"),
        ("fish", ".config/fish/completions/susx-bench.fish", None),
    ],
)
def test_the_scripts_of_other_shells_are_written(
    shell: str, script: str, start: str | None, command: Command, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        os.environ.pop(name, None)
    os.environ["HOME"] = str(home)

    done = command("--install-completion", shell)

    assert done.code == 0
    assert "_SUSX_BENCH_COMPLETE" in (home / script).read_text()
    assert start is None or str(home / script) in (home / start).read_text()


def test_an_unknown_shell_is_asked_for(command: Command) -> None:
    os.environ["SHELL"] = "/bin/tcsh"

    done = command("--install-completion")

    assert done.code == 2
    assert "SHELL is 'tcsh'. Name the shell: --install-completion bash|zsh|fish." in done.err
