"""Render the report of a dataset check."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from susx_bench.console import counted, one_line, several_lines
from susx_bench.data.check import NEAR, SPARED, Report
from susx_bench.data.decode import FAINT

_SHOWN = 10  # lines of each kind


def render(report: Report) -> RenderableType:
    """The whole report: splits, images, duplicates, verdict."""
    spec = report.spec
    heading = several_lines(
        [
            one_line((f"{spec.title} ({spec.name})", "bold")),
            f"from {report.origin}",
            f"split {report.protocol}, {len(spec.classnames)} classes matched by name",
        ]
    )
    lines: list[RenderableType] = [heading, _table(report)]
    lines += [one_line((remark, "yellow")) for remark in report.remarks]
    if any(p.published not in (None, p.images) for p in report.splits):
        verdict = (
            ("not the published sizes", "red")
            if report.protocol == spec.protocol
            else ("not the published split: do not compare with published numbers", "yellow")
        )
        lines.append(one_line(verdict))
    lines += _faults(report)
    if report.wrong:
        lines.append(one_line(("wrong: " + "; ".join(report.wrong), "bold red")))
        if report.train_alone_is_wrong:
            lines.append(one_line((f"{SPARED}.", "yellow")))
    else:
        images = counted(report.read, "image")
        read = f"the {images} that are read" if report.remarks else images
        lines.append(one_line((f"nothing wrong with {read}", "bold green")))
    return Group(*lines)


def _table(report: Report) -> Table:
    """A row for each split: its size, the published one, and the hash of its list."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("split")
    for column in ("images", "published", "per class", "classes"):
        table.add_column(column, justify="right")
    table.add_column("sha256 of the list", no_wrap=True)
    for part in report.splits:
        style = "" if part.expected in (None, part.images) else "red"
        few = f"{part.fewest}" if part.fewest == part.most else f"{part.fewest} to {part.most}"
        table.add_row(
            part.split,
            one_line((f"{part.images:,}", style)),
            "–" if part.published is None else f"{part.published:,}",
            few,
            f"{len(report.spec.classnames) - len(part.empty)}",
            part.sha256[:16],
        )
    return table


def _faults(report: Report) -> list[RenderableType]:
    """Images that cannot be read, show nothing, or are there twice."""
    unreadable = [f"{place}: {why}" for place, why in report.unreadable]
    lines = _section("cannot be read", unreadable, "red")
    plain = [str(place) for place in report.plain]
    lines += _section(f"of one colour (within {FAINT} of 255 levels)", plain, "yellow")
    leaks = report.leaks
    across = [" = ".join(map(str, group)) for group in leaks]
    lines += _section("the same image in several splits", across, "red")
    several = [" = ".join(map(str, group)) for group in report.contradictions]
    lines += _section("one image under several labels in one split", several, "red")
    within = [" = ".join(map(str, group)) for group in report.same if group not in leaks]
    lines += _section("the same image twice in one split", within, "yellow")
    near = [f"{a} ~ {b}" for a, b in report.near_leaks]
    lines += _section(f"look alike across splits (at most {NEAR} of 64 bits)", near, "yellow")
    doubtful = [" ~ ".join(map(str, pair)) for pair in report.near_contradictions]
    lines += _section(
        f"look alike under several labels in one split (at most {NEAR} of 64 bits)",
        doubtful,
        "yellow",
    )
    inside = len(report.near) - len(report.near_leaks)
    if inside:
        lines.append(f"pairs that look alike within a split: {inside:,}")
    if report.crowded:
        lines.append(f"images too much alike to be compared in pairs: {report.crowded:,}")
    return lines


def _section(title: str, items: list[str], style: str) -> list[RenderableType]:
    if not items:
        return []
    shown = items[:_SHOWN]
    if len(items) > _SHOWN:
        shown.append(f"and {len(items) - _SHOWN:,} more")
    heading = one_line((f"{title}: {len(items):,}", style))
    return [heading, *(Padding.indent(item, 2) for item in shown)]
