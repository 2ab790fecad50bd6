"""A fitted classifier: it predicts, can be saved to a file, and can be exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from susx_bench.errors import OptionError
from susx_bench.features.blocks import BLOCK
from susx_bench.loading import load_method
from susx_bench.methods.base import Context, Method
from susx_bench.methods.checks import check_rows
from susx_bench.methods.ties import first_alike, top1
from susx_bench.options import FILE_PATH, NAME, TEXT, shown
from susx_bench.options.given import checked, several
from susx_bench.photos.calibration import Calibration
from susx_bench.records.files import canonical_json, write_atomic
from susx_bench.records.paths import read_bytes
from susx_bench.records.text import safetensors_note
from susx_bench.tuning.choose import Tune, choose

FORMAT = 1
"""Version of the file that `Classifier.save` writes."""
_META = "classifier"


class Predictions(NamedTuple):
    """Answers of a classifier, one row per image.

    Attributes:
        label: The class, ``(N,)`` int64.
        probability: Probability of that class, in [0, 1], ``(N,)``.
        second: The next class, ``(N,)`` int64.
        second_probability: Probability of the next class, ``(N,)``.
        margin: The highest minus the second highest logit, in CLIP's units, ``(N,)``.
    """

    label: Tensor
    probability: Tensor
    second: Tensor
    second_probability: Tensor
    margin: Tensor


@dataclass(frozen=True)
class Classifier:
    """A method fitted on class names and, for some methods, on labelled images.

    Attributes:
        classnames: Names of the K classes, in their order.
        method: Fitted on `context`, with `hparams` set.
        context: Text and support features.
        hparams: The chosen hyper-parameters.
        tuned_on: The labels that chose them.
        asked: The method as given to `susx_bench.loading.load_method`.
        encoder: Name of the encoder whose features are read.
        weights_sha256: Hash of its weights; empty if only features were given.
        precision: Precision of the encoder.
        prompts: Kind of prompts, or the template.
        texts: The prompts of each class; empty if only text features were given.
        temperature: Divisor of the logits before the softmax, > 0.
        calibration: Quality of the probabilities on held-out labelled images; None without such
            images.
    """

    classnames: tuple[str, ...]
    method: Method
    context: Context
    hparams: Mapping[str, float]
    tuned_on: Tune
    asked: str
    encoder: str
    weights_sha256: str = ""
    precision: str = "fp32"
    prompts: str = ""
    texts: tuple[tuple[str, ...], ...] = ()
    temperature: float = 1.0
    calibration: Calibration | None = None
    note: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return (
            f"<Classifier: {self.method.name}, {len(self.classnames)} classes, {self.encoder}, "
            f"hyper-parameters by {self.tuned_on}>"
        )

    @classmethod
    def fit(
        cls,
        classnames: Sequence[str],
        method: str,
        context: Context,
        encoder: str,
        tune: Tune = "fixed",
        **facts: Any,
    ) -> Classifier:
        """Fit a method and choose its hyper-parameters.

        Args:
            classnames: Names of the classes of `context`.
            method: Its name, or ``./file.py:Class``.
            context: Text and support features.
            encoder: Name of their encoder.
            tune: How to choose hyper-parameters: ``fixed`` or ``support``.
            facts: Other attributes of the classifier.

        Raises:
            UnknownNameError: If no such method is registered.
            OptionError: If an argument has the wrong type.
            UnfitError: If the method is not defined on this context.
        """
        method, encoder = checked("method", NAME, method), checked("encoder", TEXT, encoder)
        tune = checked("tune", click.Choice(["fixed", "support"]), tune)
        if not isinstance(context, Context):
            raise OptionError(f"context: {shown(context)} is no Context.")
        names = several(classnames)
        if isinstance(classnames, str) or not all(isinstance(name, str) for name in names):
            raise OptionError(f"classnames: {shown(classnames)} is no list of names.")
        if len(names) != context.num_classes:
            raise OptionError(f"classnames: {len(names)} names for {context.num_classes} classes.")
        if unknown := sorted(facts.keys() - {attribute.name for attribute in fields(cls)}):
            raise OptionError(f"a classifier has no {', '.join(unknown)}.")
        fitted = load_method(method)[0]()
        fitted.fit(context)
        choice = choose(fitted, context, tune)
        return cls(
            classnames=names,
            method=fitted,
            context=context,
            hparams=choice.hparams,
            tuned_on=choice.tuned_on,
            asked=method,
            encoder=encoder,
            note=choice.note,
            **facts,
        )

    def logits(self, images: Tensor) -> Tensor:
        """Score unit features ``(N, D)``: logits ``(N, K)``.

        An inductive method gets blocks of the same size as a benchmark run, so that its answers
        equal those of the record to the last bit. Any other method gets all images at once.

        Raises:
            OptionError: If they do not have unit length or the width of the classifier's encoder.
        """
        try:
            images = check_rows("images", images, "(N, D)", self.context.text[:0])
        except (TypeError, ValueError) as error:
            raise OptionError(str(error)) from error
        if not len(images):
            return images.new_zeros(0, len(self.classnames))
        if self.method.regime != "inductive":
            return self.method.logits(images).float()
        parts = [self.method.logits(block)[:rows].float() for block, rows in _blocks(images)]
        return torch.cat(parts)

    @property
    def first_alike(self) -> Tensor:
        """For each class the first one that the method cannot distinguish from it, ``(K,)``."""
        return first_alike(self.context, self.method.needs)

    def predict(self, images: Tensor) -> Predictions:
        """Classify unit features ``(N, D)``.

        Raises:
            OptionError: As `logits`.
        """
        return answers(self.logits(images), self.temperature, self.first_alike)

    def save(self, path: Path | str) -> None:
        """Write the classifier into a safetensors file; `load` fits it again.

        Raises:
            OptionError: If the path is not valid.
            OutputError: If it cannot be written.
        """
        context = self.context
        tensors = {
            "text": context.text,
            "support": context.support,
            "support_labels": context.support_labels,
        }
        says: dict[str, Any] = {
            "format": FORMAT,
            "classnames": self.classnames,
            "method": self.asked,
            "version": self.method.version,
            "hparams": dict(self.hparams),
            "tuned_on": self.tuned_on,
            "encoder": self.encoder,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "prompts": self.prompts,
            "texts": self.texts,
            "logit_scale": context.logit_scale,
            "dataset": context.dataset,
            "temperature": self.temperature,
            "calibration": asdict(self.calibration) if self.calibration else None,
        }
        if context.text_prompts is not None:
            tensors["text_prompts"] = torch.cat(list(context.text_prompts))
            says["prompts_per_class"] = [len(rows) for rows in context.text_prompts]
        whole = {name: rows.contiguous().clone() for name, rows in tensors.items()}
        write_atomic(
            checked("path", FILE_PATH, path), save(whole, metadata={_META: canonical_json(says)})
        )

    @classmethod
    def load(cls, path: Path | str) -> Classifier:
        """Read a classifier back, and fit it.

        Raises:
            OptionError: If it is no such file, or was written for another version of the method.
        """
        file: Path = checked("path", FILE_PATH, path)
        try:
            content = read_bytes(file)
            says = safetensors_note(content, _META)
            tensors = load(content)
            if says.pop("format") != FORMAT:
                raise ValueError("it was written by another version of susx-bench")
            source, version = says.pop("method"), says.pop("version")
            method = load_method(source)[0]()
            if method.version != version:
                raise ValueError(f"{source} was version {version} then and is {method.version} now")
            prompts = None
            if counts := says.pop("prompts_per_class", None):
                prompts = torch.split(tensors["text_prompts"], counts)
            context = Context(
                tensors["text"],
                tensors["support"],
                tensors["support_labels"],
                says.pop("logit_scale"),
                text_prompts=prompts,
                dataset=says.pop("dataset"),
                classes=len(says["classnames"]),
            )
            method.fit(context)
            method.set(says["hparams"])
            calibration = says.pop("calibration")
            says["calibration"] = Calibration(**calibration) if calibration else None
            says["classnames"] = tuple(says["classnames"])
            says["texts"] = tuple(tuple(of_class) for of_class in says["texts"])
            return cls(method=method, context=context, asked=source, **says)
        except OSError as error:
            raise OptionError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (
            SafetensorError,
            RecursionError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise OptionError(f"{path} is no classifier that can be used: {error}.") from error


def answers(logits: Tensor, temperature: float, first: Tensor | None = None) -> Predictions:
    """The two best classes of every image and their probabilities.

    Args:
        logits: ``(N, K)``.
        temperature: Divisor of the logits before the softmax, > 0.
        first: See `susx_bench.methods.ties.first_alike`.
    """
    best = top1(logits, first)
    second = top1(logits.scatter(1, best[:, None], -torch.inf))
    log_p = torch.log_softmax(logits.double() / temperature, dim=-1)

    def of(label: Tensor) -> Tensor:
        return log_p.gather(1, label[:, None])[:, 0].exp().float()

    highest = logits.topk(2, dim=-1).values
    return Predictions(best, of(best), second, of(second), highest[:, 0] - highest[:, 1])


def _blocks(rows: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Blocks of `BLOCK` rows, the last one padded with its last row, and how many are real."""
    for part in torch.split(rows, BLOCK):
        padding = part[-1:].expand(BLOCK - len(part), *part.shape[1:])
        yield torch.cat([part, padding]), len(part)
