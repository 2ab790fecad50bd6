"""``susx-bench --install-completion``: let a shell complete commands, options and names."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from susx_bench.console import stdout
from susx_bench.errors import OptionError, OutputError
from susx_bench.options.completion import Bash
from susx_bench.records.paths import own_folder

SHELLS = (Bash.name, "zsh", "fish")
_PROGRAM, _VARIABLE = "susx-bench", "_SUSX_BENCH_COMPLETE"
_GUESSED = "guessed"


def _install(context: click.Context, param: click.Parameter, shell: str | None) -> None:
    """Write the script of a shell, and let the shell read it when it starts."""
    if shell is None or context.resilient_parsing:
        return
    if shell == _GUESSED:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in SHELLS:
            raise OptionError(
                f"SHELL is '{shell}'. Name the shell: --install-completion {'|'.join(SHELLS)}."
            )
    from susx_bench.records.files import write_atomic

    script, start, lines = _places(shell)
    kind = get_completion_class(shell)
    assert kind is not None
    write_atomic(script, kind(context.command, {}, _PROGRAM, _VARIABLE).source().encode())
    if start is not None:
        _add(start, lines)
    reader = f", which {start} reads" if start else ""
    stdout().print(f"wrote {script}{reader}. Open a new {shell}.", soft_wrap=True)
    context.exit()


def _places(shell: str) -> tuple[Path, Path | None, str]:
    """The path of the script, the start file of the shell, and the lines that load the script."""
    home = Path.home()
    if shell == "fish":
        config = own_folder("XDG_CONFIG_HOME", home / ".config")
        return config / "fish" / "completions" / f"{_PROGRAM}.fish", None, ""
    data = own_folder("XDG_DATA_HOME", home / ".local" / "share")
    script = data / _PROGRAM / f"completion.{shell}"
    line = f"source {shlex.quote(str(script))}"
    if shell == "bash":
        return script, home / ".bashrc", line
    begun = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"
    return script, own_folder("ZDOTDIR", home) / ".zshrc", f"{begun}\n{line}"


def _add(start: Path, lines: str) -> None:
    """Append lines to a file of the user, unless it has them already."""
    try:
        before = start.read_text("utf-8", "surrogateescape") if start.exists() else ""
        if lines in before:
            return
        gap = "" if not before or before.endswith("\n") else "\n"
        with start.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{lines}\n")
    except OSError as error:
        raise OutputError(f"{start} cannot be written: {error.strerror}.") from error


install_completion = click.option(
    "--install-completion",
    is_flag=False,
    flag_value=_GUESSED,
    type=click.Choice([*SHELLS, _GUESSED]),
    metavar="[bash|zsh|fish]",
    expose_value=False,
    is_eager=True,
    callback=_install,
    help="Let your shell complete commands, options and names; by SHELL where none is named.",
)
"""Add the option to the outermost command."""
