"""Suite files: which cells make a table."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from susx_bench.data.spec import SupportKind
from susx_bench.errors import SuiteError


class SuiteRun(BaseModel):
    """One ``[[run]]`` of a suite: the options of ``susx-bench run`` that decide a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Annotated[tuple[str, ...], Field(min_length=1)]
    setting: Literal["name-only", "few-shot"] = "few-shot"
    dataset: tuple[str, ...] | None = None
    features: tuple[Path, ...] = ()
    encoder: str | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    views: PositiveInt | None = None
    draw: Literal["balanced", "coop"] = "balanced"
    prompts: str = "single"
    support: str | None = None
    shots: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    seed: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    tune: tuple[str, ...] = ()
    official: bool = False


class SuiteSupport(BaseModel):
    """One ``[[support]]`` of a suite: the options of ``susx-bench support build`` that it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    def read(cls, path: Path) -> Suite:
        """Read a suite file.

        Raises:
            SuiteError: If it cannot be read, or has an unknown, missing or wrong key.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SuiteError(f"{path} cannot be read: {error}.") from error
        except ValidationError as error:
            # An unknown key says more than the missing one it was meant to be.
            errors = sorted(error.errors(include_url=False), key=lambda e: "extra" not in e["type"])
            first = errors[0]
            place = ".".join(str(part) for part in first["loc"])
            raise SuiteError(f"{path}: {place}: {first['msg']}.") from error

    def supports(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options of each ``susx-bench support build`` the suite stands for.

        Args:
            data_root: Folder that a relative pool starts from.
        """
        found = []
        for support in self.support:
            options = support.model_dump(exclude={"dataset"})
            if support.pool and not support.pool.startswith("hf:") and data_root:
                options["pool"] = str(data_root / support.pool)
            found += [options | {"dataset": dataset} for dataset in support.dataset]
        return found

    def options(self, data_root: Path | None) -> list[dict[str, Any]]:
        """The options of each ``susx-bench run`` the suite stands for.

        Args:
            data_root: Folder that relative bundle paths start from.
        """
        found = []
        for run in self.run:
            shared = run.model_dump(exclude={"features", "tune"})
            for features in run.features or (None,):
                path = features and (data_root / features if data_root else features)
                found += [
                    shared | {"features": path, "tune": tune, "allow_test_tuning": tune == "test"}
                    for tune in run.tune or (None,)
                ]
        return found
