"""Report versions, devices, folders and missing parts of this machine; open no connection."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from susx_bench.console import counted
from susx_bench.data.sources.find import local_folder
from susx_bench.data.sources.hub import is_cached
from susx_bench.errors import BenchError, PluginError
from susx_bench.features.store import cache_url
from susx_bench.records.files import make_folder
from susx_bench.registry import DATASETS, METHODS, Registry
from susx_bench.support.folder import default_root

VARIABLES = (
    "SUSX_BENCH_DATA",
    "SUSX_BENCH_CACHE",
    "SUSX_BENCH_SUPPORT",
    "SUSX_BENCH_PROMPTS",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
)
READ = ("SUSX_BENCH_DATA", "SUSX_BENCH_PROMPTS")
"""Variables for folders that are read and never created."""
SECRETS = ("HF_TOKEN", "OPENAI_BASE_URL", "OPENAI_API_KEY")
"""Variables that are reported as set or not set, and never shown."""


@dataclass
class Report:
    """The state of this machine.

    Attributes:
        rows: Pairs of a part's name and its state.
        wrong: Faults that keep a run from working, each with its remedy.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def table(self) -> Table:
        """The rows as a table."""
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for name, value in self.rows:
            table.add_row(name, value)
        return table


def examine(data_root: Path | None) -> Report:
    """Look at versions, devices, folders, plugins and data.

    Args:
        data_root: Folder of local data.
    """
    report = Report()
    _versions(report)
    _devices(report)
    _folders(report, data_root)
    for name in VARIABLES:
        report.rows.append((name, os.environ.get(name, "not set")))
    for name in SECRETS:
        report.rows.append((name, "set" if os.environ.get(name) else "not set"))
    _plugins(report, METHODS)
    _plugins(report, DATASETS)
    _data(report, data_root)
    return report


def _versions(report: Report) -> None:
    report.rows.append(("python", f"{platform.python_version()} on {platform.platform()}"))
    report.rows.append(("susx-bench", importlib.metadata.version("susx-bench")))
    for line in importlib.metadata.requires("susx-bench") or ():
        if "extra ==" in line:
            continue
        name = re.split(r"[^\w.-]", line)[0]
        try:
            report.rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            report.rows.append((name, "missing"))
            report.wrong.append(f"{name} is not installed: pip install '{line}'")
    try:
        import torchvision
    except Exception as error:  # a torch from another index breaks it in several ways
        report.rows.append(("torchvision", "does not import"))
        report.wrong.append(
            f"torchvision does not import ({error}): install torch and torchvision from the same "
            "index"
        )
    else:
        report.rows.append(("torchvision", torchvision.__version__))


def _devices(report: Report) -> None:
    import torch

    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    report.rows.append(("cpu", f"{counted(cores, 'core')}, {counted(threads, 'thread')}"))
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory = device.total_memory / 2**30
        report.rows.append((f"gpu {index}", f"{device.name}, {memory:.0f} GiB"))
    if not torch.cuda.device_count():
        report.rows.append(("gpu", "none that torch sees"))


def _folders(report: Report, data_root: Path | None) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    places = (
        ("features", cache_url()),
        ("support sets", str(default_root())),
        ("hub copies", HF_HUB_CACHE),
        ("data", str(data_root) if data_root else ""),
    )
    for name, place in places:
        report.rows.append((name, _folder(place) if place else "no --data-root"))
    for name in READ:
        if (place := os.environ.get(name, "")) and not Path(place).expanduser().is_dir():
            report.wrong.append(f"{name} is {place}, and there is no such folder")
    for name, place in places[:2]:
        if "://" in place:
            report.wrong += _unknown_protocols(name, place)
            continue
        try:
            make_folder(Path(place))
        except BenchError as error:
            report.wrong.append(f"{name}: {error}")


def _unknown_protocols(name: str, url: str) -> list[str]:
    """List the protocols of a URL that no installed package supports, one line each."""
    from fsspec import get_filesystem_class

    unknown = []
    for part in url.split("::"):
        protocol = part.partition("://")[0]
        try:
            get_filesystem_class(protocol)
        except (ValueError, ImportError) as error:
            unknown.append(f"{name}: {protocol}://: {error}".rstrip("."))
    return unknown


def _folder(place: str) -> str:
    """Describe a folder: its path, its size and the free space."""
    if "://" in place:
        return place
    path = Path(place)
    if not path.exists():
        return f"{place}, not there yet"
    used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    free = shutil.disk_usage(path).free
    return f"{place}, {used / 2**30:.1f} GiB in it, {free / 2**30:.0f} GiB free"


def _plugins(report: Report, registry: Registry[Any]) -> None:
    broken: list[str] = []
    for name in registry.names():
        try:
            registry.get(name)
        except PluginError as error:
            broken.append(str(error))
    fine = len(registry.names()) - len(broken)
    report.rows.append((f"{registry.kind}s", f"{fine} that load, {len(broken)} that do not"))
    report.wrong += [line.rstrip(".") for line in broken]


def _data(report: Report, data_root: Path | None) -> None:
    """List the datasets on this machine, those to download, and those to fetch by hand."""
    places = ("here", "on the hub, not downloaded", "by hand")
    names_by_place: dict[str, list[str]] = {place: [] for place in places}
    for name in DATASETS.names():
        try:
            spec = DATASETS.get(name)
        except PluginError:
            continue
        if spec.layout is None or local_folder(spec, data_root):
            names_by_place["here"].append(name)
        elif not spec.hub:
            names_by_place["by hand"].append(name)
        else:
            where = "here" if is_cached(spec.hub[0]) else "on the hub, not downloaded"
            names_by_place[where].append(name)
    for where, names in names_by_place.items():
        report.rows.append((f"datasets {where}", ", ".join(names) or "none"))
