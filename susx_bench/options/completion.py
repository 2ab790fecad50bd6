"""Complete values in a shell: the names that an option takes, without loading their objects."""

from __future__ import annotations

import os
import pkgutil
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, get_args

from click.shell_completion import (
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_PATH = re.compile(r"[./~]")


def _methods() -> Iterable[str]:
    from susx_bench.registry import METHODS

    return [*METHODS.names(), "all"]


def _datasets() -> Iterable[str]:
    from susx_bench.registry import DATASETS

    return DATASETS.names()


def _encoders() -> Iterable[str]:
    from susx_bench.registry import ENCODERS

    return [*ENCODERS.names(), *pkgutil.resolve_name("susx_bench.encoders.openai:OPENAI")]


def _prompts() -> Iterable[str]:
    from susx_bench.registry import PROMPTS

    return PROMPTS.names()


def _tunings() -> Iterable[str]:
    from susx_bench.options.recorded import Tuning

    return get_args(Tuning)


def _supports() -> Iterable[str]:
    from susx_bench.registry import SUPPORT

    return SUPPORT.names()


def _logs() -> Iterable[str]:
    from susx_bench.registry import LOGS

    return LOGS.names()


def _suites() -> Iterable[str]:
    package = Path(__file__).parents[1]
    folders = (package / "suites", package.parent / "benchmarks" / "suites")
    return sorted(path.stem for folder in folders for path in folder.glob("*.toml"))


NAMES: Final[dict[str, Callable[[], Iterable[str]]]] = {
    "method": _methods,
    "dataset": _datasets,
    "encoder": _encoders,
    "prompts": _prompts,
    "tune": _tunings,
    "support": _supports,
    "kind": _supports,
    "log": _logs,
    "suite": _suites,
}
"""Functions that return the names, by the name of the option."""


def offered(option: str | None, incomplete: str, *, several: bool = False) -> list[CompletionItem]:
    """The completions of the beginning of a value.

    Args:
        option: Name of the option.
        incomplete: The typed beginning.
        several: Whether the value is a list with commas; its last item is completed.
    """
    if option not in NAMES:
        return []
    before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
    if _PATH.match(last) and not before:
        return [CompletionItem(incomplete, type="file")]
    taken = set(before.split(","))
    names = [name for name in NAMES[option]() if name.startswith(last) and name not in taken]
    return [CompletionItem(f"{before}{comma}{name}") for name in names]


BASH: Final = """\
%(complete_func)s() {
    local line response type value current
    # By the line: bash takes a name such as RN50:openai for three words.
    line="${COMP_LINE:0:COMP_POINT}"
    current="${line##*[[:space:]]}"
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case "$type" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
                    value="${value#"${current%%:*}:"}"
                fi
                COMPREPLY+=("$value")
                ;;
        esac
    done <<< "$response"
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(ShellComplete):
    """Completion for bash 4.4 and newer, including names with a colon."""

    name = "bash"
    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the completed one, and the completed word."""
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        if line[-1:].isspace() or len(words) < 2:
            return words[1:], ""
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """One line of the response to the shell."""
        return f"{item.type},{item.value}"


class _Joined(ShellComplete):
    """Completion for a shell that treats ``--option=value`` as one word."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The completions, with the option in front if the word begins with it."""
        option, equals, _ = incomplete.partition("=")
        items = super().get_completions(args, incomplete)
        if option.startswith("--") and equals:
            for item in items:
                item.value = f"{option}={item.value}"
        return items


class Zsh(_Joined, ZshComplete):
    """Completion for zsh."""


class Fish(_Joined, FishComplete):
    """Completion for fish, including lists with commas."""

    source_template = FishComplete.source_template.replace('split ","', 'split -m 1 ","')


for shell in (Bash, Zsh, Fish):
    add_completion_class(shell)
