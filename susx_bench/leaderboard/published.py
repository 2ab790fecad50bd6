"""Published figures, each with its source, and the choice of those that fit a record."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from susx_bench.records.record import Record

PROTOCOLS = frozenset({"susx"})
"""Split protocols of the published figures: SuS-X's, which is CoOp's where CoOp has the dataset."""

Setting = Literal["name-only", "few-shot"]


class Figure(BaseModel):
    """One published top-1 accuracy.

    Attributes:
        method: The method, by our name.
        dataset: The dataset, by our name.
        encoder: The encoder, by our name.
        setting: The setting of its support.
        shots: Labelled images per class; None without any, or in the name-only setting.
        prompts: Our kind of prompts; None if the source does not say, or uses another kind.
        tuned_on: The labels that chose its hyper-parameters.
        accuracy: Percent.
        source: Paper or file, with its commit.
        primary: Whether the authors of the method published it there, and not others.
        note: A remark for the reader.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: str
    dataset: str
    encoder: str
    setting: Setting
    shots: int | None
    prompts: str | None
    tuned_on: str
    accuracy: float
    source: str
    primary: bool
    note: str


class _Table(BaseModel):
    """One table of a source; `figures` is method -> dataset -> one figure for each of `shots`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: str
    primary: bool
    encoder: str
    setting: Setting
    shots: tuple[int | None, ...]
    prompts: str | None = None
    tuned_on: str
    note: str = ""
    figures: dict[str, dict[str, tuple[float, ...]]]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    tables: tuple[_Table, ...] = Field(min_length=1)


@cache
def read() -> tuple[Figure, ...]:
    """All published figures, primary sources first."""
    text = (files("susx_bench.leaderboard") / "published.json").read_text(encoding="utf-8")
    tables = sorted(_File.model_validate_json(text).tables, key=lambda table: not table.primary)
    return tuple(
        Figure(
            method=method,
            dataset=dataset,
            encoder=table.encoder,
            setting=table.setting,
            shots=shots,
            prompts=table.prompts,
            tuned_on=table.tuned_on,
            accuracy=accuracy,
            source=table.source,
            primary=table.primary,
            note=table.note,
        )
        for table in tables
        for method, row in table.figures.items()
        for dataset, values in row.items()
        for shots, accuracy in zip(table.shots, values, strict=True)
    )


def fitting(figures: Sequence[Figure], record: Record) -> list[Figure]:
    """The figures with which a record may be compared.

    Method, dataset, encoder, tuning and split must be equal; the prompts if the figure names them;
    setting and shots unless the method looks at no support.
    """
    if record.protocol not in PROTOCOLS or record.skipped or record.extras():
        return []
    return [
        f
        for f in figures
        if (f.method, f.dataset, f.encoder) == (record.method, record.dataset, record.encoder)
        and f.tuned_on == record.tuned_on
        and f.prompts in (None, record.prompts)
        and (
            (f.shots is None and not record.support_images)
            or (f.setting == record.setting and f.shots in (None, record.shots))
        )
    ]
