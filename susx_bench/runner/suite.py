"""Suite files: each lists the cells of one table."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)

from susx_bench.errors import OptionError, SuiteError, UnknownNameError
from susx_bench.options.batches import ALL, Batches
from susx_bench.options.declare import Options, suite_fields
from susx_bench.options.run import RunOptions, every_method
from susx_bench.options.support import SupportOptions
from susx_bench.options.templates import templates_in
from susx_bench.records.text import read_text
from susx_bench.registry import DATASETS, METHODS, PROMPTS, SUPPORT
from susx_bench.tuning.names import TUNES


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""``"a"``, or ``["a", "b"]`` for one run with each value."""


class _SuiteRun(BaseModel):
    """One ``[[run]]`` of a suite: the options of ``susx-bench run`` that a suite may set.

    An option with a tuple of values stands for one run with each of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: tuple[str, ...]
    dataset: tuple[str, ...] | None = None
    features: tuple[Path, ...] | None = None
    encoder: tuple[str, ...] | None = None
    prompts: tuple[str, ...] | None = None
    support: tuple[str, ...] | None = None
    tune: tuple[tuple[str, ...], ...] | None = None
    batches: tuple[str, ...] | None = None

    @field_validator("method", check_fields=False)
    @classmethod
    def _names_all(cls, asked: tuple[str, ...]) -> tuple[str, ...]:
        return every_method(asked)


if TYPE_CHECKING:
    SuiteRun = _SuiteRun
else:
    SuiteRun = create_model("SuiteRun", __base__=_SuiteRun, **suite_fields(RunOptions))


class _SuiteSupport(BaseModel):
    """One ``[[support]]`` of a suite: the options of ``support build`` that a suite may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: tuple[str, ...] | None = None
    kind: str
    prompts: str | None = None


if TYPE_CHECKING:
    SuiteSupport = _SuiteSupport
else:
    SuiteSupport = create_model(
        "SuiteSupport", __base__=_SuiteSupport, **suite_fields(SupportOptions)
    )


class Suite(BaseModel):
    """A suite.

    Attributes:
        name: Name of the table, and of the folder of its records.
        title: Heading of the table.
        text: Explanation under the heading.
        support: Support sets to build first.
        run: Runs to measure.
        classnames: For bundles without class names: maps the dataset in their records to a
            registered dataset with the same classes in the same order. Pictures show its names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    text: str = ""
    support: tuple[SuiteSupport, ...] = ()
    run: Annotated[tuple[SuiteRun, ...], Field(min_length=1)]
    classnames: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def read(cls, suite: Path) -> Suite:
        """Read a suite: a file, or one of the package by its name.

        Raises:
            UnknownNameError: If the package has no suite of that name.
            SuiteError: If the file cannot be read, has an unknown, missing or wrong key, or names
                a method, dataset, tuning or kind of prompts that does not exist.
        """
        path = locate(suite)
        try:
            content = tomllib.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise SuiteError(f"{path} cannot be read: {error}.") from error
        try:
            read = cls.model_validate(content)
        except ValidationError as error:
            # An unknown key explains more than the missing key that it was meant to be.
            errors = sorted(error.errors(include_url=False), key=lambda e: "extra" not in e["type"])
            first = errors[0]
            place = ".".join(str(part) for part in first["loc"])
            hint = _near_key(first["loc"]) if "extra" in first["type"] else ""
            raise SuiteError(f"{path}: {place}: {first['msg']}.{hint}") from error
        read._check_names(path)
        return read

    def _check_names(self, path: Path) -> None:
        """Check that all names exist, before anything is built or measured."""
        for number, run in enumerate(self.run):
            place = f"{path}: run.{number}"
            _check("method", run.method, METHODS.names(), f"{place}.method", _in_file)
            if not run.features:  # a bundle's dataset may have any name
                datasets = run.dataset or ()
                _check("dataset", datasets, DATASETS.names(), f"{place}.dataset", _yours)
            with _at(f"{place}.prompts"):
                kinds = [kind for kind in run.prompts or () if not templates_in(kind)]
            _check("prompt kind", kinds, PROMPTS.names(), f"{place}.prompts")
            tunes = [tune for several in run.tune or () for tune in several]
            _check("tuning", tunes, TUNES, f"{place}.tune")
            with _at(f"{place}.batches"):
                for batches in run.batches or ():
                    _ = batches == ALL or Batches.read(batches)
        for name, dataset in self.classnames.items():
            _check("dataset", (dataset,), DATASETS.names(), f"{path}: classnames.{name}")
        for number, support in enumerate(self.support):
            place = f"{path}: support.{number}"
            if support.dataset is None:
                raise SuiteError(
                    f"{place}: 'dataset' is missing, which names the classes of the set."
                )
            _check("dataset", support.dataset, DATASETS.names(), f"{place}.dataset", _yours)
            _check(
                "prompt kind", (support.prompts or "photo",), PROMPTS.names(), f"{place}.prompts"
            )
            _check("support kind", (support.kind,), SUPPORT.names(), f"{place}.kind")

    def supports(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options that the suite sets for each of its ``susx-bench support build`` commands.

        Args:
            data_root: Base folder for relative paths of pools and files of class names.
        """
        commands = (_each(SupportOptions, entry, data_root) for entry in self.support)
        return list(chain.from_iterable(commands))

    def options(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options that the suite sets for each of its ``susx-bench run`` commands.

        Args:
            data_root: Base folder for relative paths of bundles and class names.
        """
        commands = chain.from_iterable(_each(RunOptions, entry, data_root) for entry in self.run)
        allowed = {"allow_test_tuning": True}
        return [
            options | (allowed if "test" in options.get("tune", ()) else {}) for options in commands
        ]


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place of an option into the error that refuses it."""
    try:
        yield
    except OptionError as error:
        raise SuiteError(f"{place}: {error}") from error


def _each(model: type[Options], entry: BaseModel, data_root: Path | None) -> list[dict[str, Any]]:
    """The options of all commands that one entry of a suite stands for."""
    options = {}
    for name, value in dict(entry).items():
        if value is not None:
            option = model.declared()[name]
            several = value if option.suite == "each" else (value,)
            options[name] = [_below(data_root, v) if option.below else v for v in several]
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def _below(root: Path | None, place: Path | str) -> Path | str:
    if root is None or str(place).startswith("hf:"):
        return place
    return type(place)(root / place)


def packaged() -> list[Path]:
    """The paths of the suites in the package, sorted by name."""
    package = Path(__file__).parents[1]
    # A wheel has them inside the package, a checkout beside it.
    folders = (package / "suites", package.parent / "benchmarks" / "suites")
    return sorted(path for folder in folders for path in folder.glob("*.toml"))


def locate(suite: Path) -> Path:
    """The file that ``--suite`` means: a file, or a name that `packaged` has.

    Raises:
        UnknownNameError: If it is neither.
    """
    if suite.suffix or len(suite.parts) > 1 or suite.is_file():
        return suite
    suites = {path.stem: path for path in packaged()}
    if suite.name not in suites:
        raise UnknownNameError("suite", suite.name, suites, "Or give a file, as in ./mine.toml.")
    return suites[suite.name]


def _yours(name: str) -> bool:
    """Whether a dataset is a folder or a repository, which no registry lists."""
    return name.startswith((".", "/", "~", "hf:"))


def _in_file(name: str) -> bool:
    """Whether a method is given as ``./file.py:Class``."""
    return ".py:" in name


def _check(
    kind: str,
    names: Iterable[str],
    known: Collection[str],
    place: str,
    free: Callable[[str], bool] | None = None,
) -> None:
    for name in names:
        if name not in known and not (free and free(name)):
            raise SuiteError(f"{place}: {UnknownNameError(kind, name, known)}")


def _near_key(place: tuple[int | str, ...]) -> str:
    """A guess at the key that an unknown key was meant to be."""
    models: dict[str, type[BaseModel]] = {"run": SuiteRun, "support": SuiteSupport}
    model = models[str(place[0])] if len(place) > 1 else Suite
    near = difflib.get_close_matches(str(place[-1]), model.model_fields, n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
