"""Names to objects, ours and plugins', through Python's entry points and only when asked for.

A package that declares an entry point in one of the groups below is found without an import or an
edit of ours, and nothing is imported before somebody asks for that one name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from susx_bench.errors import PluginError, UnknownNameError

if TYPE_CHECKING:
    from susx_bench.data.base import BenchDataModule
    from susx_bench.methods.base import Method

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where a registered name comes from.

    Attributes:
        value: ``module:attribute``.
        package: Name of the distribution that declares it.
        version: That distribution's version.
    """

    value: str
    package: str
    version: str


class Registry(Generic[T]):
    """The classes registered under one entry-point group.

    Args:
        kind: The word for messages, such as ``"method"``.
        group: Entry-point group.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise PluginError(
                    f"{self.kind} '{entry.name}' is registered twice: {other.value} and "
                    f"{entry.value}. Uninstall or rename one."
                )
        return found

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def origin(self, name: str) -> Origin:
        """Tell where a registered name comes from."""
        entry = self._entry(name)
        dist = entry.dist
        return Origin(
            entry.value, dist.name if dist else "unknown", dist.version if dist else "unknown"
        )

    def get(self, name: str) -> type[T]:
        """Import and return the class registered under `name`.

        Raises:
            UnknownNameError: If nobody registered that name.
            PluginError: If its module cannot be imported.
        """
        entry = self._entry(name)
        try:
            loaded: type[T] = entry.load()
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"{self.kind} '{name}' ({entry.value}) cannot be loaded: {error}."
            ) from error
        return loaded

    def _entry(self, name: str) -> EntryPoint:
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]


METHODS: Registry[Method] = Registry("method", "susx_bench.methods")
DATASETS: Registry[BenchDataModule] = Registry("dataset", "susx_bench.datasets")


def load_method(name: str) -> tuple[type[Method], str]:
    """Find a method by its registered name, or in a file given as ``./file.py:Class``.

    Returns:
        The class, and the sha256 of the file it was read from (empty for a registered name).
    """
    if name.endswith(".py"):
        raise PluginError(f"--method {name}: name the class too, as in {name}:Class.")
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        return METHODS.get(name), ""
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise PluginError(f"--method {name}: {file} does not exist.")
    source = hashlib.sha256(file.read_bytes()).hexdigest()
    module_name = f"susx_bench_method_{source[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"--method {name}: {file} is not a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        # Whatever a stranger's file raises, an exit included, name the file and the error.
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise PluginError(f"--method {name}: {file} fails on import: {error!r}.") from error
    loaded: Any = getattr(sys.modules[module_name], attribute, None)
    if not isinstance(loaded, type):
        raise PluginError(f"--method {name}: {file} has no class '{attribute}'.")
    return loaded, source
