"""Logs of every measured cell: CSV, Weights & Biases, and trackio."""

from __future__ import annotations

import csv
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from susx_bench.console import FORMULA, printable
from susx_bench.errors import PackageMissingError
from susx_bench.events import Event, Measured
from susx_bench.logs.base import RunLog
from susx_bench.records.files import make_folder

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

FIELDS: Final = (
    *("method", "dataset", "encoder", "setting", "prompts", "support", "shots", "seed"),
    *("tuned_on", "regime", "order", "batches", "accuracy", "mean_per_class", "macro_f1"),
    *("top5", "nll", "ece", "n_test", "started"),
)
"""Fields of a record that a row contains."""
SECONDS: Final = ("encode", "fit", "search", "predict")


def row_of(event: Measured) -> dict[str, Any]:
    """The row of a measured cell, by column; None for fields that its record lacks."""
    record = event.record
    return {
        **{name: getattr(record, name) for name in FIELDS},
        **{f"seconds_{name}": getattr(record.seconds, name) for name in SECONDS},
        "hparams": json.dumps(record.hparams, sort_keys=True),
        "record": str(event.path),
    }


class CsvLog(RunLog):
    """A CSV file with a row per measured cell, written as soon as its record is."""

    name: ClassVar[str] = "csv"

    def __init__(self, folder: Path, run: str) -> None:
        super().__init__(folder, run)
        self._file: TextIOWrapper | None = None

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Measured):
            return
        row = row_of(event)
        if self._file is None:
            make_folder(self.folder)
            path = self.folder / f"{self.run}.csv"
            self._file = path.open("x", encoding="utf-8", errors="backslashreplace", newline="")
            csv.writer(self._file, lineterminator="\n").writerow(row)
        csv.writer(self._file, lineterminator="\n").writerow(map(_cell, row.values()))
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet evaluates."""
    if not isinstance(value, str):
        return value
    plain = printable(value)
    return f"'{plain}" if plain.startswith(FORMULA) else plain


class _Client(RunLog):
    """A run of a service with the API of Weights & Biases, with one step per measured cell."""

    package: ClassVar[str]

    def __init__(self, folder: Path, run: str) -> None:
        super().__init__(folder, run)
        try:
            self._module: Any = import_module(self.package)
        except ImportError as error:
            raise PackageMissingError(f"--log {self.name}", self.package) from error
        self._begun = False

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Measured):
            return
        if not self._begun:
            self._module.init(project="susx-bench", name=self.run, **self._where())
            self._begun = True
        self._module.log({k: value for k, value in row_of(event).items() if value is not None})

    def _where(self) -> dict[str, Any]:
        """Further arguments of `init`."""
        return {}

    def close(self) -> None:
        if self._begun:
            self._module.finish()


class WandbLog(_Client):
    """Weights & Biases; ``WANDB_MODE=offline`` keeps its files in the results folder."""

    name: ClassVar[str] = "wandb"
    package: ClassVar[str] = "wandb"

    def _where(self) -> dict[str, Any]:
        make_folder(self.folder)
        return {"dir": str(self.folder), "settings": {"console": "off", "silent": True}}


class TrackioLog(_Client):
    """trackio, which keeps its runs on this machine unless a space is configured."""

    name: ClassVar[str] = "trackio"
    package: ClassVar[str] = "trackio"


KINDS: Final[dict[str, type[RunLog]]] = {each.name: each for each in (CsvLog, WandbLog, TrackioLog)}
