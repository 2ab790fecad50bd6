"""Suite files: which cells make a table."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Iterable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    create_model,
)

from susx_bench.data.spec import SupportKind
from susx_bench.errors import OptionError, SuiteError, UnknownNameError
from susx_bench.options.batches import ALL, Batches
from susx_bench.options.declare import suite_fields
from susx_bench.options.run import RunOptions
from susx_bench.options.templates import templates_in
from susx_bench.prompts.kinds import KINDS
from susx_bench.records.text import read_text
from susx_bench.registry import DATASETS, METHODS
from susx_bench.tuning.names import TUNES


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""``"a"``, or ``["a", "b"]``, which stands for a run with each."""


class _OwnData(BaseModel):
    """How data is to be read of which no facts are known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_column: str | None = None
    label_column: str | None = None
    classnames: Path | None = None


class _SuiteRun(BaseModel):
    """One ``[[run]]`` of a suite: the options of ``susx-bench run`` that a suite may say.

    An option that stands for a run with each of its values has a tuple of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: tuple[str, ...]
    dataset: tuple[str, ...] | None = None
    features: tuple[Path, ...] | None = None
    encoder: tuple[str, ...] | None = None
    prompts: tuple[str, ...] | None = None
    support: tuple[str, ...] | None = None
    tune: tuple[str, ...] | None = None
    batches: tuple[str, ...] | None = None


if TYPE_CHECKING:
    SuiteRun = _SuiteRun
else:
    SuiteRun = create_model("SuiteRun", __base__=_SuiteRun, **suite_fields(RunOptions))


class SuiteSupport(_OwnData):
    """One ``[[support]]`` of a suite: the options of ``susx-bench support build`` that it says."""

    kind: SupportKind
    dataset: Annotated[tuple[str, ...], Field(min_length=1)]
    prompts: str = "photo"
    per_class: PositiveInt | None = None
    seed: NonNegativeInt = 0
    name: str | None = None
    preset: str | None = None
    model: str | None = None
    steps: PositiveInt | None = None
    guidance: NonNegativeFloat | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    pool: str | None = None
    backend: str | None = None
    index: str | None = None
    encoder: str | None = None
    search: Literal["exact", "ivf"] = "exact"
    test_check: bool = True


class Suite(BaseModel):
    """A suite.

    Attributes:
        name: Name of the table, and of the folder of its records.
        title: Heading of the table.
        text: What a reader must know, under the heading.
        support: Support sets to build first.
        run: What to measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    text: str = ""
    support: tuple[SuiteSupport, ...] = ()
    run: Annotated[tuple[SuiteRun, ...], Field(min_length=1)]

    @classmethod
    def read(cls, suite: Path) -> Suite:
        """Read a suite: a file, or one of the package by its name.

        Raises:
            UnknownNameError: If the package has no suite of that name.
            SuiteError: If the file cannot be read, has an unknown, missing or wrong key, or names
                a method, dataset, tuning or kind of prompts that is not there.
        """
        path = locate(suite)
        try:
            content = tomllib.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise SuiteError(f"{path} cannot be read: {error}.") from error
        try:
            read = cls.model_validate(content)
        except ValidationError as error:
            # An unknown key says more than the missing one it was meant to be.
            errors = sorted(error.errors(include_url=False), key=lambda e: "extra" not in e["type"])
            first = errors[0]
            place = ".".join(str(part) for part in first["loc"])
            hint = _near_key(first["loc"]) if "extra" in first["type"] else ""
            raise SuiteError(f"{path}: {place}: {first['msg']}.{hint}") from error
        read._check_names(path)
        return read

    def _check_names(self, path: Path) -> None:
        """Check, before anything is built or measured, that what is named is there."""
        for number, run in enumerate(self.run):
            place = f"{path}: run.{number}"
            known = METHODS.names()
            _check("method", run.method, known, f"{place}.method", lambda name: ".py:" in name)
            if not run.features:  # a bundle's dataset may have any name
                datasets = run.dataset or ()
                _check("dataset", datasets, DATASETS.names(), f"{place}.dataset", _yours)
            named = [kind for kind in run.prompts or () if not templates_in(kind)]
            _check("prompt kind", named, KINDS, f"{place}.prompts")
            _check("tuning", run.tune or (), TUNES, f"{place}.tune")
            for batches in run.batches or ():
                try:
                    _ = batches == ALL or Batches.read(batches)
                except OptionError as error:
                    raise SuiteError(f"{place}.batches: {error}") from error
        for number, support in enumerate(self.support):
            place = f"{path}: support.{number}"
            _check("dataset", support.dataset, DATASETS.names(), f"{place}.dataset", _yours)
            _check("prompt kind", (support.prompts,), KINDS, f"{place}.prompts")

    def supports(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options of each ``susx-bench support build`` the suite stands for.

        Args:
            data_root: Folder that a relative pool, or file of class names, starts from.
        """
        found = []
        for support in self.support:
            options = support.model_dump(exclude={"dataset"})
            if support.pool and not support.pool.startswith("hf:") and data_root:
                options["pool"] = str(data_root / support.pool)
            options["classnames"] = _below(data_root, support.classnames)
            found += [options | {"dataset": dataset} for dataset in support.dataset]
        return found

    def options(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options of each ``susx-bench run`` the suite stands for: those that it says.

        Args:
            data_root: Folder that relative paths of bundles and class names start from.
        """
        found = []
        for run in self.run:
            said = {name: value for name, value in dict(run).items() if value is not None}
            each = {}
            for name, value in said.items():
                option = RunOptions.declared()[name]
                several = value if option.suite == "each" else (value,)
                each[name] = [_below(data_root, v) if option.below else v for v in several]
            for values in product(*each.values()):
                options = dict(zip(each, values, strict=True))
                if options.get("tune") == "test":
                    options["allow_test_tuning"] = True
                found.append(options)
        return found


def _below(root: Path | None, path: Path | None) -> Path | None:
    return root / path if root and path else path


def packaged() -> list[Path]:
    """The suites that come with the package, by name."""
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
    known = {path.stem: path for path in packaged()}
    if suite.name not in known:
        raise UnknownNameError("suite", suite.name, known, "Or give a file, as in ./mine.toml.")
    return known[suite.name]


def _yours(name: str) -> bool:
    """Whether a dataset is a folder or a repository, which no list has."""
    return name.startswith((".", "/", "~", "hf:"))


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
    """A guess at what an unknown key was meant to be."""
    models: dict[str, type[BaseModel]] = {"run": SuiteRun, "support": SuiteSupport}
    model = models[str(place[0])] if len(place) > 1 else Suite
    near = difflib.get_close_matches(str(place[-1]), model.model_fields, n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else ""
