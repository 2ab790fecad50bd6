"""Our own table formats, which every leaderboard has."""

from __future__ import annotations

from susx_bench.leaderboard.formats.base import TableFormat
from susx_bench.leaderboard.formats.csv import as_csv
from susx_bench.leaderboard.formats.latex import latex
from susx_bench.leaderboard.formats.markdown import markdown

KINDS: dict[str, TableFormat] = {
    kind.name: kind
    for kind in (
        TableFormat("markdown", ".md", markdown, "for people, on a page of a repository"),
        TableFormat("csv", ".csv", as_csv, "one row per number, for a spreadsheet"),
        TableFormat("latex", ".tex", latex, "for a paper"),
    )
}
"""The formats by name, in the order in which they are written."""
