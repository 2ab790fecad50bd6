"""Map names to objects, ours and plugins', through Python's entry points.

A package registers an object by declaring an entry point in one of the groups below, without an
import or an edit of ours. An object is imported when its name is asked for. Kinds of our own
objects with one object per file need no declaration: a new file registers its object.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.metadata import (
    EntryPoint,
    PackageNotFoundError,
    distribution,
    entry_points,
    version,
)
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from susx_bench.errors import PluginError, UnknownNameError
from susx_bench.stated import stated

if TYPE_CHECKING:
    from susx_bench.data.spec import DatasetSpec
    from susx_bench.encoders.base import Encoder
    from susx_bench.leaderboard.formats.base import TableFormat
    from susx_bench.logs.base import RunLog
    from susx_bench.methods.base import Method
    from susx_bench.prompts.base import PromptKind
    from susx_bench.support.kinds import SupportKind

T = TypeVar("T")

_OURS = "susx-bench"


@dataclass(frozen=True)
class Origin:
    """The source of a registered name.

    Attributes:
        value: ``module:attribute``.
        package: Name of the distribution that declares it.
        version: That distribution's version.
    """

    value: str
    package: str
    version: str

    @classmethod
    def of(cls, entry: EntryPoint) -> Origin:
        """The source of an entry point; one without a distribution is ours."""
        if entry.dist is None:
            return cls(entry.value, _OURS, _our_version())
        return cls(entry.value, entry.dist.name, entry.dist.version)

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.value})"


_our_version = cache(partial(version, _OURS))  # a file is read for it


class Registry(Generic[T]):
    """The objects registered under one entry-point group.

    Args:
        kind: The word for messages, such as ``"method"``.
        group: Entry-point group.
        base: ``module:class`` that the objects extend, or are instances of; imported with the first
            object.
        called: Attribute with an object's own name. It must equal the registered name, which
            records and tables use.
        ours: Location of our own objects. ``package:ATTRIBUTE``: each module of the package holds
            one object under that attribute; its name is the module's, with hyphens for underscores.
            ``module:TABLE``: the module maps names to objects, or to ``module:object`` strings.
            Empty if our objects are declared as entry points too.
        instances: Whether the objects are instances of `base`; else they are subclasses of it.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        base: str,
        called: str = "name",
        *,
        ours: str = "",
        instances: bool = False,
    ) -> None:
        self.kind = kind
        self.group = group
        self._base = base
        self._called = called
        self._ours = ours
        self._instances = instances

    @cached_property
    def _entries(self) -> dict[str, list[EntryPoint]]:
        entries: dict[str, list[EntryPoint]] = {}
        declared = [
            entry
            for entry in entry_points(group=self.group)
            # An installed copy of this package may have older declarations.
            if not (self._ours and entry.dist and entry.dist.name == _OURS)
        ]
        for entry in [*self._own_entries(), *declared]:
            same_name = entries.setdefault(entry.name, [])
            if Origin.of(entry) not in map(Origin.of, same_name):
                same_name.append(entry)
        return entries

    def _own_entries(self) -> list[EntryPoint]:
        """An entry for each of our own objects."""
        if not self._ours:
            return []
        package, _, attribute = self._ours.partition(":")
        folder = Path(__file__).parents[1].joinpath(*package.split("."))
        if not folder.is_dir():
            table: Mapping[str, T | str] = pkgutil.resolve_name(self._ours)
            return [
                EntryPoint(name, value if isinstance(value, str) else self._ours, self.group)
                for name, value in table.items()
            ]
        stems = sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
        return [
            EntryPoint(stem.replace("_", "-"), f"{package}.{stem}:{attribute}", self.group)
            for stem in stems
        ]

    def names(self) -> list[str]:
        """All registered names, sorted, including those that cannot be loaded."""
        return sorted(self._entries)

    def origins(self, name: str) -> list[Origin]:
        """The sources that registered a name: one, or more if they conflict."""
        return sorted(map(Origin.of, self._find(name)), key=str)

    def package(self, name: str) -> dict[str, str]:
        """The plugin package behind a name, with its version; empty for our own or no package."""
        origins = map(Origin.of, self._entries.get(name, []))
        return {o.package: o.version for o in origins if o.package != _OURS}

    def get(self, name: str) -> T:
        """Import and return the object registered under `name`.

        Raises:
            UnknownNameError: If nobody registered that name.
            PluginError: If several packages did, or the object cannot be loaded or has the wrong
                type or name.
        """
        entries, origins = self._find(name), self.origins(name)
        if len(entries) > 1:
            raise PluginError(
                f"{self.kind} '{name}' is registered more than once: by "
                f"{' and by '.join(map(str, origins))}. Uninstall all but one, or rename it."
            )
        try:
            loaded = entries[0].load()
            if isinstance(loaded, Mapping):
                loaded = loaded[name]
        # Whatever a plugin raises, an exit included, name the package and the error.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind} '{name}' of {origins[0]} cannot be loaded: {error!r}."
            ) from error
        base: type = pkgutil.resolve_name(self._base)
        fits = (
            isinstance(loaded, base)
            if self._instances
            else isinstance(loaded, type) and issubclass(loaded, base)
        )
        if not fits:
            what = "an instance" if self._instances else "a subclass"
            raise PluginError(
                f"{self.kind} '{name}' of {origins[0]} is not {what} of {self._base}."
            )
        try:
            called = attrgetter(self._called)(loaded)
        except AttributeError:
            called = None
        if called != name:
            raise PluginError(
                f"{self.kind} '{name}' of {origins[0]} says that its {self._called} is {called!r}. "
                "It and its entry point must have one name."
            )
        registered: T = loaded
        return registered

    def stated(self, name: str, attribute: str) -> Any:
        """An attribute of the object registered under `name`, read from its file if possible.

        Nothing is imported if one package registered the name and assigns a plain value.

        Raises:
            UnknownNameError: If nobody registered that name.
            PluginError: If the object must be imported and `get` fails.
        """
        entry, *others = self._find(name)
        if not others:
            try:
                return stated(entry.module, entry.attr, attribute)
            except LookupError:
                pass
        return getattr(self.get(name), attribute)

    def _find(self, name: str) -> list[EntryPoint]:
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries, self._missing_step(name))
        return self._entries[name]

    def _missing_step(self, name: str) -> str:
        """A hint for an unknown name: the missing step, as far as it can be told."""
        folder = Path(name)
        if self is DATASETS and folder.is_dir() and not (folder / "pyproject.toml").exists():
            return f"There is a folder of that name: write ./{name} for it."
        if self is DATASETS and re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?", name):
            return f"A repository on the hub is hf:{name}, a folder begins with ./"
        if self is METHODS and is_file(f"{name}.py"):
            return f"There is a file of that name: write --method ./{name}.py:CLASS."
        for other in REGISTRIES:
            if name in other._entries:
                return f"'{name}' is registered as {other.kind}, in {other.group}."
        try:
            dist = distribution(name)
        except (PackageNotFoundError, ValueError):
            dist = None
        if dist is not None:
            entries = [entry for entry in dist.entry_points if entry.group == self.group]
            declared = sorted(entry.name for entry in entries)
            declares = f"declares only {', '.join(declared)}" if declared else "declares nothing"
            return (
                f"The package {dist.name} {dist.version} is installed but {declares} under the "
                f"entry point {self.group}: add it to its pyproject.toml and install it again."
            )
        if is_file(name, "pyproject.toml"):
            return (
                f"The folder {name} is not installed in this environment: pip install -e ./{name}"
            )
        return (
            "If it is yours: is its package installed in this environment, and does it declare "
            f"the entry point {self.group}?"
        )


def is_file(*parts: str) -> bool:
    """Whether a file exists; False for a name that no file can have."""
    try:
        return Path(*parts).is_file()
    except (OSError, ValueError):
        return False


METHODS: Registry[type[Method]] = Registry(
    "method",
    "susx_bench.methods",
    "susx_bench.methods.base:Method",
    ours="susx_bench.methods.names:NAMES",
)
DATASETS: Registry[DatasetSpec] = Registry(
    "dataset",
    "susx_bench.datasets",
    "susx_bench.data.spec:DatasetSpec",
    ours="susx_bench.data.facts:SPEC",
    instances=True,
)
ENCODERS: Registry[type[Encoder]] = Registry(
    "encoder", "susx_bench.encoders", "susx_bench.encoders.base:Encoder"
)
FAMILIES: Registry[type[Encoder]] = Registry(
    "encoder family",
    "susx_bench.encoder_families",
    "susx_bench.encoders.base:Encoder",
    "family",
    ours="susx_bench.encoders.families:FAMILIES",
)
PROMPTS: Registry[PromptKind] = Registry(
    "prompt kind",
    "susx_bench.prompts",
    "susx_bench.prompts.base:PromptKind",
    ours="susx_bench.prompts.kinds:KINDS",
    instances=True,
)
SUPPORT: Registry[type[SupportKind]] = Registry(
    "support kind",
    "susx_bench.support",
    "susx_bench.support.kinds:SupportKind",
    ours="susx_bench.support.kinds:KINDS",
)
FORMATS: Registry[TableFormat] = Registry(
    "table format",
    "susx_bench.formats",
    "susx_bench.leaderboard.formats.base:TableFormat",
    ours="susx_bench.leaderboard.formats.kinds:KINDS",
    instances=True,
)
LOGS: Registry[type[RunLog]] = Registry(
    "log",
    "susx_bench.logs",
    "susx_bench.logs.base:RunLog",
    ours="susx_bench.logs.kinds:KINDS",
)
REGISTRIES: tuple[Registry[Any], ...] = (
    METHODS,
    DATASETS,
    ENCODERS,
    FAMILIES,
    PROMPTS,
    SUPPORT,
    FORMATS,
    LOGS,
)
"""One registry for each axis that a plugin may extend."""
