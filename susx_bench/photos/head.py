"""A linear head in a file: weights, bias, and the facts to use it without susx-bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save

from susx_bench.encoders.base import Encoder, Towers
from susx_bench.encoders.elsewhere import open_clip_words, preprocessing
from susx_bench.encoders.named import open_encoder
from susx_bench.errors import BenchError, EncoderError, OptionError
from susx_bench.events import Listener, ignore
from susx_bench.methods.base import Context, Method
from susx_bench.methods.linear import LinearHead, NotLinearError, linear_head
from susx_bench.options import FILE_PATH
from susx_bench.options.given import checked
from susx_bench.photos.classifier import Classifier
from susx_bench.records.files import canonical_json, write_atomic
from susx_bench.runner.verify import Named, refit

FORMAT = 1
"""Version of the file."""
META = "head"
"""Its one metadata key, which holds JSON."""


@dataclass(frozen=True)
class Head:
    """A linear classifier, with its encoder and method.

    Attributes:
        linear: Weights ``(K, D)`` and bias ``(K,)`` on unit image features.
        classnames: Names of the K classes, in their order.
        encoder: Name of the encoder.
        encoder_sha256: Hash of its weights, configuration and tokenizer; empty where unknown.
        precision: Precision of the encoder.
        open_clip: Arguments of ``open_clip.create_model``; None if open_clip cannot load it.
        preprocess: How images are prepared, see `susx_bench.encoders.elsewhere`; None if unknown.
        method: Name of the method.
        facts: Further facts, JSON values by name.
    """

    linear: LinearHead
    classnames: Sequence[str]
    encoder: str
    method: str
    encoder_sha256: str = ""
    precision: str = "fp32"
    open_clip: Mapping[str, Any] | None = None
    preprocess: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, tower: Encoder | None = None) -> None:
        """Write ``weights``, ``bias`` and one metadata key ``head``; or an ONNX model of them.

        The model has the same metadata, see `susx_bench.photos.onnx`.

        Args:
            path: The file.
            tower: The encoder, to put its image tower before the head.

        Raises:
            OptionError: If the path ends in neither ``.safetensors`` nor ``.onnx``, or in
                ``.safetensors`` with a tower.
            EncoderError: If the tower cannot be exported.
            OutputError: If it cannot be written.
            PackageMissingError: If onnx is not installed and wanted.
        """
        if tower is not None and path.suffix != ".onnx":
            raise OptionError(f"--to {path}: --tower goes into a file that ends in .onnx.")
        if path.suffix not in (".safetensors", ".onnx"):
            raise OptionError(
                f"--to {path}: a head is a file that ends in .safetensors, or in .onnx."
            )
        says = {
            "format": FORMAT,
            "classnames": list(self.classnames),
            "encoder": self.encoder,
            "encoder_sha256": self.encoder_sha256,
            "precision": self.precision,
            "open_clip": None if self.open_clip is None else dict(self.open_clip),
            "preprocess": None if self.preprocess is None else dict(self.preprocess),
            "method": self.method,
            **self.facts,
        }
        if path.suffix == ".onnx":
            from susx_bench.photos.onnx import head_model, tower_model

            if tower is None:
                content = head_model(self.linear, {META: canonical_json(says)})
            else:
                towers = tower.towers
                metadata = {META: canonical_json(says | {"preprocess": _prepared(self, towers)})}
                content = tower_model(towers, self.linear, metadata)
            write_atomic(path, content)
            return
        tensors = {"weights": self.linear.weights, "bias": self.linear.bias}
        write_atomic(path, save(tensors, metadata={META: canonical_json(says)}))


def head_of(
    method: Method,
    context: Context,
    classnames: Sequence[str],
    encoder: str,
    *,
    precision: str = "fp32",
    encoder_sha256: str = "",
    **facts: Any,
) -> Head:
    """The head of a fitted method.

    Args:
        method: Fitted on `context`, with its hyper-parameters set.
        context: The context that it was fitted on.
        classnames: Names of the classes.
        encoder: Name of the encoder of the features.
        precision: Precision of the encoder.
        encoder_sha256: Hash of the encoder; empty if unknown.
        facts: See `Head`.

    Raises:
        OptionError: If the method is not linear in the image's feature; the message says why.
    """
    try:
        linear = linear_head(method, context)
    except NotLinearError as error:
        raise OptionError(f"{error}, so that weights and a bias cannot say it.") from error
    opened = _opened(encoder, precision)
    return Head(
        linear=linear,
        classnames=classnames,
        encoder=encoder,
        encoder_sha256=encoder_sha256,
        precision=precision,
        open_clip=None if opened is None else open_clip_words(opened),
        preprocess=None if opened is None else preprocessing(opened),
        method=method.name,
        facts={"version": method.version, "hparams": dict(method.hparams), **facts},
    )


def _prepared(head: Head, towers: Towers) -> dict[str, Any]:
    """How images are prepared: from the head, else from the loaded encoder."""
    if head.preprocess is not None:
        return dict(head.preprocess)
    config = towers.preprocess_cfg
    return {key: list(v) if isinstance(v, tuple) else v for key, v in config.items()}


def _tower_of(head: Head) -> Encoder:
    """The encoder of a head, for its image tower.

    Raises:
        OptionError: If its precision was not fp32.
        EncoderError: If its weights are not those of the head.
        BenchError: If it cannot be loaded.
    """
    if head.precision != "fp32":
        raise OptionError(
            f"--tower: the features are of {head.precision}, and the tower is exported in fp32, "
            "whose features differ. Fit it again with --precision fp32."
        )
    encoder = open_encoder(head.encoder, head.precision)
    if head.encoder_sha256 and encoder.sha256 != head.encoder_sha256:
        raise EncoderError(
            f"--tower: {head.encoder} has other weights here ({encoder.sha256[:8]}) than those "
            f"that the head was made with ({head.encoder_sha256[:8]})."
        )
    return encoder


def _opened(encoder: str, precision: str) -> Encoder | None:
    """An encoder by its name; None for an unknown name of a feature bundle."""
    try:
        return open_encoder(encoder, precision)
    except BenchError:
        return None


def export(classifier: Classifier | Path | str, to: Path | str, *, tower: bool = False) -> Head:
    """Write the linear head of a classifier, to be used without susx-bench.

    Args:
        classifier: A fitted `susx_bench.Classifier`, or its file.
        to: ``FILE.safetensors``, or ``FILE.onnx``.
        tower: Whether the ONNX model begins with the encoder's image tower.

    Returns:
        What was written.

    Raises:
        OptionError: If the method is not linear in the image's feature, or a file is no classifier.
        EncoderError: If the image tower cannot be loaded or exported.
        OutputError: If it cannot be written.
    """
    file: Path = checked("to", FILE_PATH, to)
    if not isinstance(classifier, Classifier):
        classifier = Classifier.load(checked("classifier", FILE_PATH, classifier))
    head = head_of(
        classifier.method,
        classifier.context,
        classifier.classnames,
        classifier.encoder,
        precision=classifier.precision,
        encoder_sha256=classifier.weights_sha256,
        tuned_on=classifier.tuned_on,
        prompts=classifier.prompts,
        temperature=classifier.temperature,
    )
    head.write(file, _tower_of(head) if tower else None)
    return head


def export_record(
    path: Path, to: Path, named: Named, listen: Listener = ignore, *, tower: bool = False
) -> tuple[Head, int, int]:
    """Write the linear head of a record's method.

    Args:
        path: The record.
        to: ``FILE.safetensors``, or ``FILE.onnx``.
        named: Inputs that the user names, as for `susx_bench.runner.verify.verify`.
        listen: Receives notes.
        tower: Whether the ONNX model begins with the encoder's image tower.

    Returns:
        The head, the number of test images on which its answer differs from the record (two classes
        tie but for rounding), and the number of test images.

    Raises:
        OptionError: If the method is not linear in the image's feature.
        RecordError: If an input is missing, or the method's answers have changed.
    """
    again = refit(path, named, listen)
    record, features = again.inputs.record, again.inputs.features
    head = head_of(
        again.method,
        again.context,
        again.inputs.cell.task.classnames,
        record.encoder,
        precision=record.precision,
        encoder_sha256=record.weights_sha256,
        tuned_on=record.tuned_on,
        prompts=record.prompts,
        dataset=record.dataset,
        record=record.input_sha256,
    )
    answers = head.linear.logits(features.test).argmax(-1).numpy()
    head.write(to, _tower_of(head) if tower else None)
    return head, int((answers != again.predictions.top1).sum()), len(answers)
