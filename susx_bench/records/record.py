"""One measured cell: what went in, what came out, with enough hashes to doubt it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from susx_bench.errors import DriftError, RecordError
from susx_bench.records.files import sha256_json
from susx_bench.records.paths import read_bytes

SCHEMA: Final = 4


class Seconds(BaseModel):
    """Wall-clock seconds of one cell.

    Attributes:
        encode: Encoding done in this run; 0 where the features were there already.
        fit: The method's `fit`.
        search: From features in memory to the chosen setting, everything between (`fit` too)
            included.
        predict: Scoring all test images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    encode: float
    fit: float
    search: float
    predict: float


class Search(BaseModel):
    """How the hyper-parameters were chosen.

    Attributes:
        space: Whose grid was searched; empty where nothing was.
        settings: Number of settings compared.
        images: Number of labelled images looked at.
        score: Accuracy of the chosen setting on them, percent; null where nothing was searched.
        note: What was done instead, where the tuning could not do what its name says.
        ties: Settings known to do as well as the chosen one, itself included; 0 where unknown.
        near: Settings within half a point of it, those included.
        ranges: Over the near ones, smallest and largest value of each hyper-parameter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    space: str = ""
    settings: int = 0
    images: int = 0
    score: float | None = None
    note: str = ""
    ties: int = 0
    near: int = 0
    ranges: dict[str, tuple[float, float]] = {}


class Record(BaseModel):
    """A cell of a table, written once. Accuracies are percent, unrounded.

    Attributes:
        input_sha256: Hash of everything that decides the predictions and the score; part of the
            file's name.
        tuned_on: Which labels chose the hyper-parameters.
        search: How, and what else would have done.
        official: Whether the authors' public code was reproduced, its faults included.
        dataset: Name of the dataset; of a folder its last part.
        dataset_given: The dataset as it was asked for: a name, a path or ``hf:ORG/NAME``; empty
            for a feature bundle. It decides nothing: the same data under two paths is one record.
        draw: How the support was drawn: ``balanced``, ``coop``, ``file``; empty for a whole one.
        views: Augmented views a support image is averaged over; 1 for the image itself, 0 without
            support.
        protocol: Whose split it is.
        skipped: Images left out because they cannot be decoded, as ``split/key``.
        order: Seed of the order in which a streaming method, or one that gets the test set in
            batches, met the images; 0 for the order of the split, and where it changes nothing.
        batches: Size, and classes a batch, of the batches in which a transductive method got the
            test set, ``64:4``; empty for the whole of it, and where it changes nothing.
        accuracy: Top-1, micro.
        mean_per_class: Mean over classes of the accuracy in each.
        right: Which test images were right: `pack` of a bit an image, in the order of the split.
            Two records with one `split_sha256` are compared image by image with it.
        classes: For each class in order its name, how many of its test images were right, and how
            many it has.
        confusions: Most frequent wrong answers: true class, answer, how often.
        split_sha256: Hash of the val and test images and labels: their names, and their content
            as far as a quick look tells.
        support_sha256: Hash of which images are the support, in whatever order.
        predictions_sha256: Hash over position and class.
        checksum: Hash of all other fields, by which a changed digit is noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    method: str
    method_version: str
    method_source: str
    regime: Literal["inductive", "transductive", "streaming"]
    hparams: dict[str, float]
    tuned_on: str
    search: Search
    official: bool

    dataset: str
    dataset_given: str
    encoder: str
    setting: Literal["name-only", "few-shot"]
    prompts: str
    support: str
    support_images: int
    shots: int
    seed: int
    draw: str
    views: int
    protocol: str
    skipped: list[str]
    logit_scale: float
    precision: str
    order: int
    batches: str

    accuracy: float
    mean_per_class: float
    n_test: int
    correct: int
    num_classes: int
    right: str
    classes: list[tuple[str, int, int]]
    confusions: list[tuple[str, str, int]]

    input_sha256: str
    split_sha256: str
    support_sha256: str
    prompts_sha256: str
    weights_sha256: str
    predictions_sha256: str

    versions: dict[str, str]
    git: str
    device: str
    seconds: Seconds
    started: str
    record_schema: Literal[4] = Field(default=SCHEMA, alias="schema")
    checksum: str = ""

    def sealed(self) -> Record:
        """The same record with its checksum."""
        return self.model_copy(update={"checksum": self._digest()})

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with ``schema`` under its own name."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(self.as_dict(), sort_keys=True, indent=2, allow_nan=False) + "\n"

    def _digest(self) -> str:
        # `as_dict` but for tuples, which JSON has as lists: thousands are read for one table.
        values = vars(self) | {
            "schema": self.record_schema,
            "search": vars(self.search),
            "seconds": vars(self.seconds),
        }
        del values["record_schema"], values["checksum"]
        return sha256_json(values)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record that can be believed.

        Raises:
            RecordError: If the file is missing, cut off, or has an unknown or missing field.
            DriftError: If it is of another schema, or was changed after it was written.
        """
        try:
            content = read_bytes(path)
        except OSError as error:
            raise RecordError(f"{path} cannot be read: {error}.") from error
        try:
            record = cls.model_validate_json(content)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            # A record of another schema lacks fields too, which says less.
            first = next((e for e in errors if e["loc"] == ("schema",)), errors[0])
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            kind = DriftError if first["loc"] == ("schema",) else RecordError
            raise kind(f"{path}: {place}: {first['msg']}.") from error
        if record.checksum != record._digest():
            raise DriftError(f"{path} was changed after it was written: its checksum differs.")
        return record


def pack(right: NDArray[np.bool_]) -> str:
    """Bits as text: eight a byte, the first one highest, in base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpack(text: str, n: int) -> NDArray[np.bool_]:
    """The `n` bits of `pack`, ``(n,)``."""
    packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(packed, count=n).astype(np.bool_)
