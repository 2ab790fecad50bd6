"""Load a method by its registered name, or from a file."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from susx_bench.errors import PluginError
from susx_bench.program import data_changed, edited, run_file, sha256_of, used, watch
from susx_bench.records.paths import read_bytes
from susx_bench.registry import METHODS, is_file

if TYPE_CHECKING:
    from susx_bench.methods.base import Method


def load_method(name: str | type[Method]) -> tuple[type[Method], str]:
    """Find a method by its registered name, or in a file given as ``./file.py:Class``.

    Returns:
        The class, which may also be passed in, and the sha256 of its program text, see
        `susx_bench.program.sha256_of` (empty for one of our methods).
    """
    if isinstance(name, type):
        if is_registered(name):
            return load_method(name.name)
        watch(name)
        return name, sha256_of(name)
    if name.endswith(".py"):
        raise PluginError(f"--method {name}: name the class too, as in {name}:Class.")
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        method = METHODS.get(name)
        if not METHODS.package(name):
            return method, ""
        watch(method)
        return method, sha256_of(method)
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise PluginError(f"--method {name}: {file} does not exist.")
    content = read_bytes(file)
    digest = hashlib.sha256(b"\0".join((str(file).encode(), content))).hexdigest()
    module_name = f"susx_bench_method_{digest[:12]}"
    module = sys.modules.get(module_name)
    if module is None or _drop_edited(module):
        try:
            module = run_file(module_name, file, content)
        # Whatever the user's file raises, an exit included, name the file and the error.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"--method {name}: {file} fails on import: {error!r}.{_beside(file, error)}"
            ) from error
    loaded: Any = getattr(module, attribute, None)
    if not isinstance(loaded, type):
        classes = ", ".join(_classes(module)) or "none"
        raise PluginError(
            f"--method {name}: {file} has no class '{attribute}'. Classes there: {classes}."
        )
    return loaded, sha256_of(module)


def _beside(file: Path, error: BaseException) -> str:
    """A remedy for a missing module that lies beside a method's file; else empty."""
    name = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    if not (
        is_file(str(file.parent), f"{name}.py") or is_file(str(file.parent), name, "__init__.py")
    ):
        return ""
    return f" It lies beside the file: run with PYTHONPATH={shlex.quote(str(file.parent))}."


def _drop_edited(module: ModuleType) -> bool:
    """Forget the modules that a method's file imported, if one or its data were edited since.

    Returns:
        Whether the file must be run again.
    """
    if not edited(module) and not data_changed(module):
        return False
    for imported in used(module):
        sys.modules.pop(imported.__name__, None)
    return True


def is_registered(method: type[Method]) -> bool:
    """Whether a class is the class registered under its name."""
    name = getattr(method, "name", None)
    return isinstance(name, str) and name in METHODS.names() and METHODS.get(name) is method


def _classes(module: ModuleType) -> list[str]:
    """Names of the classes that a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
