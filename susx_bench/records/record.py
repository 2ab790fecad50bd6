"""One measured cell: what went in, what came out, with enough hashes to doubt it."""

from __future__ import annotations

import base64
import json
from operator import gt
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from susx_bench.errors import DriftError, RecordError
from susx_bench.options.recorded import Extras, Setting, Tuning
from susx_bench.records.files import sha256_bytes, sha256_json
from susx_bench.records.paths import read_bytes

SCHEMA: Final = 5

UNSAID: Final = "bundle"
"""What a bundle's support set is called where nobody says what it was made of."""

# What a stranger's record may say: no table, picture or interval has to expect more.
Count = Annotated[int, Field(ge=0, le=10**12)]
Percent = Annotated[float, Field(ge=0, le=100)]
Duration = Annotated[float, Field(ge=0, le=10**10)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Said = Annotated[str, Field(max_length=1000)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Magnitude = Annotated[float, Field(ge=-1e12, le=1e12)]

_MAY_LACK = (
    *("given", "macro_f1", "top5", "nll", "ece", "blank"),
    *("auroc", "fpr95", "n_unknown"),
)
"""Fields that a file has only where they say something."""
_OUT_OF_RANGE = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than_equal",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
    }
)
_TIME = TypeAdapter(AwareDatetime)
_DEEPEST = 8
"""Most blanks before a line of a file: `Record.to_json` nests four levels, two blanks each."""


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

    encode: Duration
    fit: Duration
    search: Duration
    predict: Duration


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

    space: Said = ""
    settings: Count = 0
    images: Count = 0
    score: Percent | None = None
    note: Said = ""
    ties: Count = 0
    near: Count = 0
    ranges: dict[Name, tuple[Magnitude, Magnitude]] = {}


class Record(Extras):
    """A cell of a table, written once. Accuracies are percent, unrounded.

    It also has the fields of `Extras`, which its file has where they are not at their default.

    Attributes:
        input_sha256: Hash of everything that decides the predictions and the score; part of the
            file's name.
        trained: Whether the method fits weights by gradient steps; tables keep it apart.
        tuned_on: Which labels chose the hyper-parameters.
        search: How, and what else would have done.
        official: Whether the authors' public code was reproduced, its faults included.
        chosen_here: Whether a constant that acts under this tuning was chosen with an eye on this
            dataset. The number is then no independent evidence, and is not ranked.
        dataset: Name of the dataset; of a folder its last part.
        dataset_given: The dataset as it was asked for: a name, a path or ``hf:ORG/NAME``; empty
            for a feature bundle. It decides nothing: the same data under two paths is one record.
        given: Options that say where data of the user's lies, or how to read it, as they were
            given; none is left out of the file. They decide nothing either.
        draw: How the support was drawn: ``balanced``, ``coop``, ``file``; empty for a whole one.
        views: Augmented views a support image is averaged over; 1 for the image itself, 0 without
            support.
        protocol: Whose split it is.
        skipped: Images left out because they cannot be decoded, as ``split/key``.
        order: Seed of the order in which a streaming method, or one that gets the test set in
            batches, met the images; 0 for the order of the split, and where it changes nothing.
        batches: Size, and classes per batch, of the batches in which a transductive method got the
            test set, ``64:4``; empty for the whole of it, and where it changes nothing.
        accuracy: Top-1, micro.
        mean_per_class: Mean over classes of the accuracy in each.
        macro_f1: Mean over classes of the F1 score, over those that occur among labels or answers.
        top5: Top-5 accuracy, micro.
        nll: Mean negative log-likelihood of the labels in nats, under the softmax of the method's
            logits as it gives them.
        ece: Expected calibration error of the same probabilities: 15 bins, percentage points.
        auroc: With ``--unknown``, area under the ROC curve of telling known from unknown test
            images by the confidence in the answer.
        fpr95: Of the unknown ones, those that are at least as sure as the threshold that 95 % of
            the known ones reach.
        n_unknown: Number of unknown test images; `n_test` and all else counts the known ones.
        blank: Why there is none of these numbers, by name. Records measured before they were
            counted have neither.
        right: Which test images were right: `pack` of a bit per image, in the order of the split.
            Two records with one `split_sha256` are compared image by image with it.
        classes: For each class in order its name, how many of its test images were right, and how
            many it has.
        confusions: Most frequent wrong answers: true class, answer, how often.
        split_sha256: Hash of the val and test images and labels: names, labels and content.
        support_sha256: Hash of which images are the support, in whatever order.
        predictions_sha256: Hash over position and class.
        checksum: Hash of all other fields, by which a changed digit is noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    method: Name
    method_version: Said
    method_source: Sha256
    regime: Literal["inductive", "transductive", "streaming"]
    trained: bool
    hparams: dict[Name, Magnitude]
    tuned_on: Tuning
    search: Search
    official: bool
    chosen_here: bool

    dataset: Name
    dataset_given: Said
    given: dict[Name, Said] = Field(default={})
    encoder: Name
    setting: Setting
    prompts: Said
    support: Said
    support_images: Count
    shots: Count
    seed: Seed
    draw: Said
    views: Count
    protocol: Said
    skipped: list[str]
    logit_scale: Annotated[float, Field(gt=0, le=1e12)]
    precision: Said
    order: Seed
    batches: Annotated[str, Field(pattern=r"^([1-9]\d*:[1-9]\d*)?$")]

    accuracy: Percent
    mean_per_class: Percent
    macro_f1: Percent | None = None
    top5: Percent | None = None
    nll: Annotated[float, Field(ge=0, le=1e12)] | None = None
    ece: Percent | None = None
    auroc: Percent | None = None
    fpr95: Percent | None = None
    n_unknown: Annotated[int, Field(ge=1, le=10**12)] | None = None
    blank: dict[Name, Said] = Field(default={})
    n_test: Annotated[int, Field(ge=1, le=10**12)]
    correct: Count
    num_classes: Annotated[int, Field(ge=1, le=10**12)]
    right: str
    classes: list[tuple[str, Count, Count]]
    confusions: list[tuple[str, str, Annotated[int, Field(ge=1, le=10**12)]]]

    input_sha256: Sha256
    split_sha256: Sha256
    support_sha256: Sha256
    prompts_sha256: Sha256
    weights_sha256: Said  # whatever an encoder of a plugin says
    predictions_sha256: Sha256

    versions: dict[str, Said]
    git: Said
    device: Said
    seconds: Seconds
    started: Said
    record_schema: Literal[5] = Field(default=SCHEMA, alias="schema")
    checksum: str = ""

    def hits(self) -> NDArray[np.bool_]:
        """Which test images were right, ``(n_test,)``."""
        return unpack(self.right, self.n_test)

    def sealed(self) -> Record:
        """The same record with its checksum."""
        return self.model_copy(update={"checksum": self._digest()})

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with ``schema`` under its own name."""
        return self.model_dump(mode="json", by_alias=True, exclude=self._unset())

    def _unset(self) -> set[str]:
        """Fields that the file is written without: options not given, numbers not counted."""
        unset = Extras.model_fields.keys() - self.extras().keys()
        return {*unset, *(name for name in _MAY_LACK if getattr(self, name) in (None, {}))}

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
        for name in ("record_schema", "checksum", *self._unset()):
            del values[name]
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
            drifted = first["loc"] == ("schema",) or (
                first["type"] in _OUT_OF_RANGE and not _is_sealed(content)
            )
            kind = DriftError if drifted else RecordError
            raise kind(f"{path}: {place}: {first['msg']}.") from error
        if not _is_as_sealed(content, record.checksum) and record.checksum != record._digest():
            raise DriftError(f"{path} was changed after it was written: its checksum differs.")
        if wrong := record.contradiction():
            raise RecordError(f"{path}: {wrong}.")
        return record

    def contradiction(self) -> str:
        """Say where the record contradicts itself; empty where it does not."""
        try:
            packed = base64.b64decode(self.right, validate=True)
        except ValueError as error:
            return f"right: {error}"
        if len(packed) != -(-self.n_test // 8):
            return (
                f"right has {len(packed)} bytes, {self.n_test} test images take "
                f"{-(-self.n_test // 8)}"
            )
        names, hits, sizes = zip(*self.classes, strict=True) if self.classes else ((), (), ())
        counts = {
            "right": int.from_bytes(packed).bit_count(),
            "classes": sum(hits),
            "accuracy": self.accuracy * self.n_test / 100,
        }
        for key, count in counts.items():
            if abs(count - self.correct) > 1e-6 * max(1, self.correct):
                return f"{key} has {count:g} images right, correct says {self.correct}"
        if self.top5 is not None and self.top5 < self.accuracy - 1e-6:
            return f"top5 is {self.top5:g}, less than the accuracy of {self.accuracy:g}"
        if len(self.classes) != self.num_classes:
            return f"classes has {len(self.classes)} rows, num_classes says {self.num_classes}"
        if sum(sizes) != self.n_test:
            return f"classes has {sum(sizes)} images, n_test says {self.n_test}"
        if any(map(gt, hits, sizes)):
            name, good, size = next(row for row in self.classes if row[1] > row[2])
            return f"classes: '{name}' has {good} of {size} images right"
        classnames = set(names)
        for true, answer, _ in self.confusions:
            for name in (true, answer):
                if name not in classnames:
                    return f"confusions: '{name}' is none of the classes"
        try:
            _TIME.validate_python(self.started)
        except ValidationError:
            return f"started: '{self.started}' is no time with a zone"
        return ""


def _is_as_sealed(content: bytes, checksum: str) -> bool:
    """Whether a file's text is as `Record.to_json` wrote it, and that has the checksum.

    The text that was hashed is got from it by leaving out the blanks between its values, in a
    third of the time that it takes to write the values anew. No line of JSON ends within a text,
    and without a quoted mark no text has in it what ends a key.
    """
    if b'\\"' in content:
        return False
    text = np.frombuffer(content, np.uint8)
    blank, left_out = text == ord(" "), text == ord("\n")
    for _ in range(_DEEPEST):  # a blank after what is left out is one too
        left_out[1:] |= left_out[:-1] & blank[1:]
    left_out[2:] |= blank[2:] & (text[1:-1] == ord(":")) & (text[:-2] == ord('"'))
    sealed = text[~left_out].tobytes()
    return sha256_bytes(sealed.replace(f'"checksum":"{checksum}",'.encode(), b"", 1)) == checksum


def _is_sealed(content: bytes) -> bool:
    """Whether a file's checksum is that of its other fields."""
    values = json.loads(content)
    checksum = values.pop("checksum", "")
    try:
        return bool(checksum == sha256_json(values))
    except ValueError:  # NaN or infinity, which no record is written with
        return False


def pack(right: NDArray[np.bool_]) -> str:
    """Bits as text: eight per byte, the first one highest, in base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpack(text: str, n: int) -> NDArray[np.bool_]:
    """The `n` bits of `pack`, ``(n,)``."""
    packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(packed, count=n).astype(np.bool_)
