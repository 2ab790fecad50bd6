"""Click commands and options that are listed under headings and watch for repeats."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from susx_bench.console import be_quiet, one_line, speak_as, stderr
from susx_bench.options import CommaList
from susx_bench.ranks import rank_of

GROUPS = (
    *("What to measure", "What to build", "Generation", "Retrieval"),
    *("Data", "Encoder", "Support", "Tuning", "Where it runs", "Output"),
)
"""Headings of ``--help``, in their order."""


class Grouped(click.Option):
    """An option that ``--help`` lists under a heading.

    Args:
        group: One of `GROUPS`; empty for the options under no heading.
    """

    def __init__(self, *args: Any, group: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def _takes_one_value(option: click.Option) -> bool:
    return not (option.multiple or option.is_flag or option.count)


class Command(click.Command):
    """A command that lists its options under headings in ``--help`` and watches for repeats.

    Click would silently use the last of two values. This command refuses a repeated list, and
    prints which of two single values it uses. The values of a repeatable option add up.
    """

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by group, those without one last."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in (*GROUPS, "")}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (line := param.get_help_record(ctx)):
                groups[getattr(param, "group", "")].append(line)
        several = any(groups[name] for name in GROUPS)
        for name, lines in groups.items():
            if lines:
                with formatter.section(name or ("Other options" if several else "Options")):
                    formatter.write_dl(lines)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, but watch for repeated options."""
        be_quiet(quiet=False)  # --quiet may change it
        *_, order = self.make_parser(ctx).parse_args(list(args))
        repeated = {option: times for option, times in Counter(order).items() if times > 1}
        for option, times in repeated.items():
            if isinstance(option.type, CommaList) and not option.multiple:
                raise click.UsageError(
                    f"{option.opts[0]} is given {times} times. Give it once, with commas between "
                    "its values.",
                    ctx,
                )
        remaining = super().parse_args(ctx, args)
        for option, times in repeated.items():
            if isinstance(option, click.Option) and _takes_one_value(option):
                value = one_line(f"{ctx.params.get(option.name or '')}").plain
                note = f"{option.opts[0]} is given {times} times: the last one counts, {value}."
                stderr(warnings=True).print(note, markup=False, highlight=False)
        return remaining

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, as one of the processes that it requests."""
        counts = (ctx.params.get(name, 1) for name in ("devices", "num_nodes"))
        speak_as(rank_of(*counts))
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands of class `Command`."""

    command_class = Command
    group_class = type
