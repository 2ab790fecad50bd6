"""Table formats: Markdown, CSV, LaTeX, HTML and the terminal, each drawn from a `Board`.

The same board gives the same bytes. Names come from datasets and plugins, so that every format
escapes them.
"""

from susx_bench.leaderboard.formats.csv import as_csv
from susx_bench.leaderboard.formats.html import html_tables
from susx_bench.leaderboard.formats.latex import latex
from susx_bench.leaderboard.formats.markdown import markdown
from susx_bench.leaderboard.formats.terminal import terminal

__all__ = ["as_csv", "html_tables", "latex", "markdown", "terminal"]
