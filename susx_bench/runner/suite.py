"""Suite files: which cells make a table."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Iterable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from susx_bench.data.spec import SupportKind
from susx_bench.errors import OptionError, SuiteError, UnknownNameError
from susx_bench.prompts.kinds import KINDS
from susx_bench.records.text import read_text
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.batches import ALL, Batches
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


class SuiteRun(_OwnData):
    """One ``[[run]]`` of a suite: the options of ``susx-bench run`` that decide a number."""

    method: Annotated[tuple[str, ...], Field(min_length=1)]
    setting: Literal["name-only", "few-shot"] = "few-shot"
    dataset: tuple[str, ...] | None = None
    features: tuple[Path, ...] = ()
    encoder: OneOrMore | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    views: PositiveInt | None = None
    draw: Literal["balanced", "coop"] = "balanced"
    prompts: OneOrMore = ("single",)
    support: OneOrMore | None = None
    shots: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    seed: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    tune: tuple[str, ...] = ()
    official: bool = False
    order: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    batches: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


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
            _check("prompt kind", run.prompts, KINDS, f"{place}.prompts")
            _check("tuning", run.tune, TUNES, f"{place}.tune")
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
        """The options of each ``susx-bench run`` the suite stands for.

        Args:
            data_root: Folder that relative paths of bundles and class names start from.
        """
        found = []
        lists = ("features", "encoder", "prompts", "support", "tune")
        for run in self.run:
            shared = run.model_dump(exclude=set(lists))
            each = [getattr(run, name) or (None,) for name in lists]
            for features, encoder, prompts, support, tune in product(*each):
                found.append(
                    shared
                    | {"classnames": _below(data_root, run.classnames)}
                    | {
                        "features": _below(data_root, features),
                        "encoder": encoder,
                        "prompts": prompts,
                    }
                    | {"support": support, "tune": tune, "allow_test_tuning": tune == "test"}
                )
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
