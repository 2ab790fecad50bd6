"""Classify photographs by class names: `classify`, exported as ``susx_bench.classify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import torch
from torch import Tensor

from susx_bench.console import counted
from susx_bench.errors import DatasetError, OptionError
from susx_bench.events import Listener, Note, ignore
from susx_bench.features.launch import Launch
from susx_bench.loading import load_method
from susx_bench.methods.base import Context, Method, UnfitError
from susx_bench.methods.zero_shot import clip_logits
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, NAME, PROMPTS, Number, shown
from susx_bench.options.given import checked, several
from susx_bench.options.recorded import Precision
from susx_bench.photos.calibration import calibrate, confidence, held_out, matched
from susx_bench.photos.classified import GIVEN, SURE, UNSURE, Classified
from susx_bench.photos.classifier import Classifier, answers
from susx_bench.photos.material import (
    ClassifyInputs,
    Material,
    of_bundle,
    of_photographs,
    why_unread,
)
from susx_bench.photos.photographs import Photos
from susx_bench.tuning.choose import Tune

PER_CLASS, ENOUGH = 5, 100
"""Fewest photographs, per class and in all, for which `tag-u` is the default. With fewer it was
sometimes worse than zero-shot, see ``docs/classify.md``."""
FEW_LABELS = 4
"""Fewest labelled images per class, on average, for which `tag` is the default instead."""


def classify(
    photos: str | Path | Sequence[str | Path] | None = None,
    classes: str | Path | Sequence[str] | None = None,
    *,
    labelled: Sequence[str | Path] | str | Path = (),
    support: str | None = None,
    encoder: str | None = None,
    precision: str = "fp32",
    method: str | None = None,
    tune: Tune | None = None,
    prompts: str = "single",
    prompts_dir: Path | None = None,
    reject: float = 0.0,
    features: str | Path | None = None,
    leave_out: Sequence[Path] = (),
    launch: Launch | None = None,
    listen: Listener = ignore,
) -> Classified:
    """Classify photographs by class names, and by labelled photographs if there are any.

    Args:
        photos: Folders, image files, patterns with ``*``, Parquet or tar files, or
            ``hf:ORG/NAME``; one or several.
        classes: Class names, ``"cat,dog"`` or a file with one per line. None for the names of the
            folders in `labelled`.
        labelled: Folders with a folder per class, or CSV files with the columns ``file`` and
            ``class``. A labelled photograph keeps its class and is not predicted.
        support: A support set that was made from the names: a kind, or its folder.
        encoder: As ``--encoder``, such as ``ViT-B-32:openai``.
        precision: Precision of the encoder.
        method: An inductive or transductive method. None for `tag` with labelled images, `tipx`
            with a support set, else `zero-shot`. For many photographs, None stands for `tag-u-sus`
            with a support set, else for `tag-u` unless there are many labelled images.
        tune: ``fixed`` or ``support``; None for ``support`` with labelled images.
        prompts: A kind of prompts, or a template such as ``"a sketch of a {}."``.
        prompts_dir: Folder of prompt files.
        reject: Photographs whose probability is lower are marked ``unsure``.
        features: A feature bundle instead of photographs: its test images are classified, and its
            support images are the labelled ones.
        leave_out: Folders to leave out.
        launch: Where to encode; None for one device.
        listen: Receives notes and progress, see `susx_bench.events`.

    Returns:
        The answers. Only the store of features is written to.

    Raises:
        BenchError: If an input is missing or does not fit.
    """
    photos, labelled = _listed("photos", NAME, photos), _listed("labelled", ANY_PATH, labelled)
    leave_out = _listed("leave_out", ANY_PATH, leave_out)
    support, encoder, method = (
        None if value is None else checked(name, NAME, value)
        for name, value in (("support", support), ("encoder", encoder), ("method", method))
    )
    prompts = checked("prompts", PROMPTS, prompts)
    precision = checked("precision", click.Choice(get_args(Precision)), precision)
    tune = None if tune is None else checked("tune", click.Choice(["fixed", "support"]), tune)
    if prompts_dir is not None:
        prompts_dir = checked("prompts_dir", FOLDER_PATH, prompts_dir)
    reject = checked("reject", Number(0, 1), reject)
    if launch is not None and not isinstance(launch, Launch):
        raise OptionError(f"launch: {shown(launch)} is no Launch.")
    if not callable(listen):
        raise OptionError(f"listen: {shown(listen)} is no function.")
    opened: Photos | None = None
    skipped: list[tuple[str, str]] = []
    if features is not None:
        if photos or labelled or support:
            raise OptionError("--features takes the place of PHOTOS, --labelled and --support.")
        material = of_bundle(checked("features", FILE_PATH, features), classes)
    else:
        inputs = ClassifyInputs(
            places=[str(photo) for photo in photos],
            classes=classes,
            labelled=labelled,
            support=support,
            encoder=encoder,
            precision=precision,
            prompts=prompts,
            prompts_dir=prompts_dir,
            leave_out=leave_out,
        )
        if method is not None:
            method_prompts = _checked(method, bool(inputs.labelled), support).prompts
            inputs = replace(inputs, prompts=method_prompts or prompts)
        material, opened, skipped = of_photographs(inputs, launch or Launch(), listen)
    return _answer(material, opened, skipped, support is not None, method, tune, reject, listen)


def _listed(name: str, kind: click.ParamType[Any], values: Any) -> tuple[Any, ...]:
    """Check one value or several; an empty tuple for None."""
    return () if values is None else tuple(checked(name, kind, value) for value in several(values))


def _checked(name: str, labelled: bool, support: str | None) -> type[Method]:
    """Load a method for photographs.

    Raises:
        OptionError: If it needs an input that is not there.
    """
    method = load_method(name)[0]
    if method().regime == "streaming":
        raise OptionError(
            f"--method {name} is a streaming method: photographs have no order. Give an inductive "
            "or a transductive one."
        )
    if missing := sorted(method.needs - {"text", "support", "text-prompts"}):
        raise OptionError(f"--method {name} needs {', '.join(missing)}, which photographs lack.")
    if "support" in method.needs and not (labelled or support):
        raise OptionError(
            f"--method {name} needs images of each class: give labelled ones with --labelled, or a "
            "set made from the names with --support."
        )
    return method


def _default(material: Material, photographs: int, has_made_support: bool) -> tuple[str, str]:
    """The default method, and the reason for it."""
    classes, labelled = len(material.classnames), material.labelled
    enough = max(PER_CLASS * classes, ENOUGH)
    if has_made_support and len(material.text):
        reason = "a support set made from the names"
        if photographs >= enough:
            return "tag-u-sus", f"{reason}, and {counted(photographs, 'photograph')}"
        return "tipx", reason
    count = 0 if labelled is None else len(labelled.labels)
    if not len(material.text):
        if not count:
            raise OptionError(
                f"{material.facts['encoder']} has no text features, so names alone say nothing: "
                "give labelled images of each class."
            )
        return "tag", f"{counted(count, 'labelled image')}, and no text features"
    reason = f"{counted(count, 'labelled image')}" if count else "names alone"
    together = f"{reason}, and {counted(photographs, 'photograph')} of {classes} classes"
    if count >= FEW_LABELS * classes or (count and photographs < enough):
        return "tag", reason
    if photographs >= enough:
        return "tag-u", together
    return "zero-shot", f"{together}, fewer than the {enough:,} from which tag-u is used"


def _answer(
    material: Material,
    photos: Photos | None,
    skipped: list[tuple[str, str]],
    has_made_support: bool,
    method: str | None,
    tune: Tune | None,
    reject: float,
    listen: Listener,
) -> Classified:
    """Fit, calibrate, and only then classify the photographs."""
    bad = material.rows.isnan().any(-1)
    if photos is not None:
        skipped = [*why_unread(photos, bad.nonzero().flatten().tolist()), *skipped]
    if bool(bad.all()):
        raise DatasetError(
            f"none of {len(bad)} photographs can be read; the first, {skipped[0][0]}: "
            f"{skipped[0][1]}."
        )
    is_given = torch.zeros(len(bad), dtype=torch.bool)
    is_given[list(material.given)] = True
    unlabelled = material.rows[~bad & ~is_given]
    why = ""
    if method is None:
        method, why = _default(material, len(unlabelled), has_made_support)
    labelled = bool(material.labelled is not None and not has_made_support)
    _checked(method, labelled, "made" if has_made_support else None)
    try:
        classifier = _fit(material, method, tune or ("support" if labelled else "fixed"))
    except UnfitError as error:
        if not why or not len(material.text):
            raise OptionError(f"--method {method}: {error}.") from error
        # Nothing can be learnt from the labelled images: use the default for names alone.
        listen(Note(f"{method}: {error}. The labelled images are not used", "warning"))
        method, why = _default(
            replace(material, labelled=None), len(unlabelled), has_made_support=False
        )
        classifier = _fit(material, method, "fixed")
    if classifier.note:
        untuned = classifier.note.removeprefix("fixed: ")
        listen(Note(f"{method} is not tuned and uses its fixed setting: {untuned}", "warning"))
    classifier, logits, as_sure = _probable(classifier, material, unlabelled, labelled)
    label, second, numbers = _columns(classifier, logits, material, ~bad & ~is_given)
    places = (~bad).nonzero().flatten().tolist()
    low = (numbers[:, 0] < reject).tolist()
    return Classified(
        classifier=classifier,
        why=why,
        files=tuple(material.files[i] for i in places),
        labels=label[places],
        seconds=second[places],
        probabilities=numbers[places],
        statuses=tuple(GIVEN if is_given[i] else UNSURE if low[i] else SURE for i in places),
        skipped=tuple(skipped),
        photos=photos,
        matched=as_sure,
    )


def _columns(
    classifier: Classifier, logits: Tensor, material: Material, is_predicted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The class of every photograph, the second one, and the numbers about both.

    Args:
        classifier: The fitted classifier.
        logits: Logits of the photographs to predict, ``(U, K)``.
        material: The material, with the given labels.
        is_predicted: Which photographs are predicted, ``(N,)``; U of them.

    Returns:
        Classes ``(N,)``, second classes ``(N,)``, and ``(N, 3)``: probability, that of the second
        class, and margin. -1 and NaN stand where there is no prediction.
    """
    n = len(is_predicted)
    label = torch.zeros(n, dtype=torch.int64)
    label[list(material.given)] = torch.tensor(list(material.given.values()), dtype=torch.int64)
    second = torch.full((n,), -1, dtype=torch.int64)
    numbers = torch.full((n, 3), torch.nan)
    if len(logits):
        predictions = answers(logits, classifier.temperature, classifier.first_alike)
        label[is_predicted], second[is_predicted] = predictions.label, predictions.second
        numbers[is_predicted] = torch.stack(
            [predictions.probability, predictions.second_probability, predictions.margin], dim=-1
        )
    return label, second, numbers


def _fit(material: Material, name: str, tune: Tune) -> Classifier:
    method = load_method(name)[0]
    labelled = material.labelled
    uses = "support" in method.needs | method.uses and labelled is not None
    prompts = material.prompts
    if "text" in method.needs and not len(material.text):
        raise OptionError(
            f"--method {name} needs text features, which {material.facts['encoder']} has none of."
        )
    if "text-prompts" not in method.needs | method.uses:
        prompts = None
    elif prompts is None and "text-prompts" in method.needs:
        raise OptionError(f"--method {name} needs text-prompts, which the bundle lacks.")
    context = Context(
        material.text,
        labelled.features if uses and labelled else material.text[:0],
        labelled.labels if uses and labelled else torch.zeros(0, dtype=torch.int64),
        material.logit_scale,
        text_prompts=prompts,
        classes=len(material.classnames),
    )
    return Classifier.fit(material.classnames, name, context, tune=tune, **material.facts)


def _probable(
    classifier: Classifier, material: Material, unlabelled: Tensor, labelled: bool
) -> tuple[Classifier, Tensor, bool]:
    """The classifier with a temperature, the photographs' logits, and whether it is only matched.

    The temperature is fitted on held-out labelled images. Without any, a method other than
    zero-shot gets the temperature under which its mean confidence equals that of CLIP.
    """
    logits = classifier.logits(unlabelled) if len(unlabelled) else unlabelled[:, :0]
    context = classifier.context
    if labelled and material.labelled is not None:

        def scores(method: Method, images: Tensor) -> Tensor:
            refitted = replace(classifier, method=method)
            if method.regime == "inductive":
                return refitted.logits(images)
            # Score them together with the photographs, which are also scored together.
            return refitted.logits(torch.cat([unlabelled, images]))[len(unlabelled) :]

        held = held_out(classifier.method, context, classifier.hparams, material.labelled, scores)
        temperature, calibration = calibrate(held)
        if calibration is not None:
            return (
                replace(classifier, temperature=temperature, calibration=calibration),
                logits,
                False,
            )
    if classifier.method.name == "zero-shot" or not len(unlabelled) or not context.has_text:
        return classifier, logits, False
    target = confidence(clip_logits(unlabelled, context))
    return replace(classifier, temperature=matched(logits, target)), logits, True
