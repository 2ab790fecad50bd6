"""What is there to choose from, as tables."""

from __future__ import annotations

from rich.table import Table

from susx_bench.registry import DATASETS, METHODS


def _table(*columns: str) -> Table:
    table = Table(title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def methods() -> Table:
    """Registered methods, where they come from and what they need."""
    table = _table("method", "settings", "regime", "needs", "citation", "package")
    for name in METHODS.names():
        method, origin = METHODS.get(name), METHODS.origin(name)
        table.add_row(
            name,
            ", ".join(sorted(method.settings)),
            method().regime,
            ", ".join(sorted(method.needs)),
            method.reference,
            f"{origin.package} {origin.version}",
        )
    return table


def datasets() -> Table:
    """Registered datasets and their sizes."""
    table = _table("dataset", "title", "classes", "train", "val", "test", "split", "licence")
    for name in DATASETS.names():
        spec = DATASETS.get(name).spec
        table.add_row(
            name,
            spec.title,
            str(len(spec.classnames)),
            *(str(spec.sizes.get(split, "–")) for split in ("train", "val", "test")),
            spec.protocol,
            spec.licence,
        )
    return table


def encoders() -> Table:
    """Encoders by name."""
    from susx_bench.encoders.openclip import EMBEDDED

    table = _table("encoder", "where")
    for name in EMBEDDED:
        table.add_row(name, "in the package")
    table.add_row("local-dir:FOLDER", "a folder in open_clip's layout")
    return table


def prompts() -> Table:
    """Kinds of prompts."""
    from susx_bench.prompts.kinds import KINDS

    table = _table("prompts", "what the text encoder reads")
    for name, what in KINDS.items():
        table.add_row(name, what)
    return table
