"""What is there to choose from, as tables."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from susx_bench.data.published import local_folder
from susx_bench.data.sources.hub import is_cached
from susx_bench.data.spec import DatasetSpec
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


def datasets(root: Path | None) -> Table:
    """Registered datasets, their published sizes, and where their images are.

    Args:
        root: Folder of local data.
    """
    table = _table("dataset", "classes", "train", "val", "test", "images", "licence")
    for name in DATASETS.names():
        spec = DATASETS.get(name).spec
        val = "= test" if spec.val_is_test else _count(spec.sizes.get("val"))
        table.add_row(
            name,
            str(len(spec.classnames)),
            _count(spec.sizes.get("train")),
            val,
            _count(spec.sizes.get("test")),
            _images(spec, root),
            spec.licence,
        )
    table.caption = "also ./FOLDER (a folder a class) and hf:ORG/NAME; --data-root DIR looks there"
    table.caption_justify = "left"
    return table


def _count(images: int | None) -> str:
    return "–" if images is None else str(images)


def _images(spec: DatasetSpec, root: Path | None) -> str:
    """Where a dataset's images are, as far as can be told without a connection."""
    if spec.layout is None:
        return "in the package"
    if folder := local_folder(spec, root):
        return f"here: {folder}"
    if not spec.hub:
        return "by hand"
    hub = spec.hub[0]
    what = "downloaded" if is_cached(hub) else "hub"
    return f"{what}: {hub.repo}" + ("" if hub.protocol == "susx" else " (other split)")


def encoders() -> Table:
    """Encoders by name."""
    from susx_bench.encoders.openclip import EMBEDDED, OPENAI

    table = _table("encoder", "where")
    for name in EMBEDDED:
        table.add_row(name, "in the package")
    for name in OPENAI:
        table.add_row(name, f"the hub, as open_clip's {OPENAI[name]}")
    table.add_row("MODEL:TAG", "any model and pretrained tag of open_clip, such as ViT-B-16:dfn2b")
    table.add_row(escape("hf-hub:ORG/NAME[@COMMIT]"), "a model on the hub in open_clip's layout")
    table.add_row("local-dir:FOLDER", "a folder in open_clip's layout")
    table.add_row(escape("MODEL:random[-SEED]"), "random weights, for tests and timings")
    return table


def prompts() -> Table:
    """Kinds of prompts."""
    from susx_bench.prompts.kinds import KINDS

    table = _table("prompts", "what the text encoder reads")
    for name, what in KINDS.items():
        table.add_row(name, what)
    return table
