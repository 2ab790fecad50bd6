"""Tables of all that can be chosen; each imports only what it lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich import box
from rich.table import Table

from susx_bench.console import several_lines
from susx_bench.errors import PluginError, SuiteError
from susx_bench.registry import (
    DATASETS,
    ENCODERS,
    FAMILIES,
    FORMATS,
    LOGS,
    METHODS,
    PROMPTS,
    SUPPORT,
    Registry,
)

if TYPE_CHECKING:
    from susx_bench.data.spec import DatasetSpec

T = TypeVar("T")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _fill(
    table: Table, registry: Registry[T], row: Callable[[str], list[str]], place: str = ""
) -> None:
    """Add a row for each registered name; one that cannot be loaded is marked and explained below.

    Args:
        table: Table to add rows to.
        registry: Registry with the names.
        row: Makes the middle columns of a name.
        place: Text that follows each name on the command line.
    """
    faults, below = [], [str(table.caption)] if table.caption else []
    for name in registry.names():
        origins = registry.origins(name)
        try:
            shown, columns = f"{name}{place}", row(name)
        # Whatever a plugin raises when it is inspected, the others are still listed.
        except Exception as error:
            is_ours = isinstance(error, PluginError)
            faults.append(str(error) if is_ours else f"{registry.kind} '{name}': {error!r}")
            shown, columns = f"{name} ✗", ["–"] * (len(table.columns) - 2)
        for origin in origins:
            table.add_row(shown, *columns, f"{origin.package} {origin.version}")
    table.caption = several_lines([*below, *(f"✗ {fault}" for fault in faults)])
    table.caption_justify = "left"


def methods() -> Table:
    """Registered methods, their packages and their needs."""
    table = _table("method", "settings", "regime", "needs", "citation", "package")
    _fill(table, METHODS, _method)
    return table


def _method(name: str) -> list[str]:
    fact: Callable[[str], Any] = partial(METHODS.stated, name)
    if METHODS.package(name):  # a plugin's class may be anything: import and check it
        from susx_bench.methods.base import fault

        method = METHODS.get(name)
        if wrong := fault(method):
            raise PluginError(f"method '{name}' of {METHODS.origins(name)[0]}: {wrong}.")
        fact = partial(getattr, method())
    return [
        ", ".join(sorted(fact("settings"))),
        fact("regime") + (", trained" if fact("trained") else ""),
        ", ".join(sorted(fact("needs"))),
        fact("reference"),
    ]


def datasets(root: Path | None) -> Table:
    """Registered datasets, their published sizes, and the place of their images.

    Args:
        root: Folder of local data.
    """
    table = _table("dataset", "classes", "train", "val", "test", "images", "licence", "package")
    table.caption = (
        "also ./FOLDER (a folder per class) and hf:ORG/NAME; --data-root DIR looks there"
    )
    _fill(table, DATASETS, partial(_dataset, root))
    return table


def _dataset(root: Path | None, name: str) -> list[str]:
    spec = DATASETS.get(name)
    return [
        str(len(spec.classnames)),
        _count(spec.sizes.get("train")),
        "= test" if spec.val_is_test else _count(spec.sizes.get("val")),
        _count(spec.sizes.get("test")),
        _images(spec, root),
        spec.licence,
    ]


def _count(images: int | None) -> str:
    return "–" if images is None else str(images)


def _images(spec: DatasetSpec, root: Path | None) -> str:
    """The place of a dataset's images, as far as it is known without a connection."""
    from susx_bench.data.sources.find import local_folder
    from susx_bench.data.sources.hub import is_cached

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
    from susx_bench.encoders.openai import OPENAI

    table = _table("encoder", "what", "package")
    _fill(table, ENCODERS, partial(_first_line, ENCODERS))
    _fill(table, FAMILIES, partial(_first_line, FAMILIES), ":PLACE")
    others = {name: f"from the hub, open_clip's {model}" for name, model in OPENAI.items()} | {
        "MODEL:TAG": "any model and pretrained tag of open_clip, such as ViT-B-16:dfn2b",
        "hf-hub:ORG/NAME[@COMMIT]": "a model on the hub in open_clip's layout",
        "local-dir:FOLDER": "a folder in open_clip's layout",
        "MODEL:random[-SEED]": "random weights, for tests and timings",
    }
    for name, what in others.items():
        table.add_row(name, what, f"open_clip_torch {version('open_clip_torch')}")
    return table


def _first_line(registry: Registry[type[T]], name: str) -> list[str]:
    """The first line of a class's docstring; only a plugin's class is imported for it."""
    plugin = registry.package(name)
    doc = registry.get(name).__doc__ if plugin else registry.stated(name, "__doc__")
    return [(doc or "").strip().partition("\n")[0]]


def prompts() -> Table:
    """Kinds of prompts."""
    table = _table("prompts", "what the text encoder reads", "package")
    _fill(table, PROMPTS, lambda name: [PROMPTS.get(name).about])
    return table


def support() -> Table:
    """Kinds of support sets."""
    table = _table("support kind", "what", "package")
    _fill(table, SUPPORT, partial(_first_line, SUPPORT))
    return table


def formats() -> Table:
    """Table formats."""
    table = _table("table format", "files", "what for", "package")
    _fill(table, FORMATS, _format)
    return table


def _format(name: str) -> list[str]:
    kind = FORMATS.get(name)
    return [kind.suffix, kind.about]


def logs() -> Table:
    """Logs of a run."""
    table = _table("log", "what", "package")
    _fill(table, LOGS, partial(_first_line, LOGS))
    return table


def suites() -> Table:
    """Suites of the package, their sizes and the paths of their files."""
    from susx_bench.runner.suite import Suite, packaged

    table = _table("suite", "table", "methods", "datasets", "file")
    faults: list[str] = []
    for path in packaged():
        try:
            suite = Suite.read(path)
        except SuiteError as error:  # it names a method of a package that is not installed here
            table.add_row(f"{path.stem} ✗", "–", "–", "–", str(path))
            faults.append(f"✗ {error}")
            continue
        methods = {name for run in suite.run for name in run.method}
        data = {
            str(name) for run in suite.run for name in run.features or run.dataset or ("digits",)
        }
        table.add_row(suite.name, suite.title, str(len(methods)), str(len(data)), str(path))
    table.caption = several_lines(faults)
    table.caption_justify = "left"
    return table
