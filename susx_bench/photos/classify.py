"""From photographs and class names to answers: `classify`, as ``susx_bench.classify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import torch
from torch import Tensor

from susx_bench.console import counted
from susx_bench.errors import DatasetError, OptionError
from susx_bench.events import Listener, Note, ignore
from susx_bench.features.launch import Launch
from susx_bench.methods.base import Context, Method, UnfitError
from susx_bench.methods.zero_shot import clip_logits
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, NAME, PROMPTS, Number, shown
from susx_bench.options.given import checked, several
from susx_bench.options.recorded import Precision
from susx_bench.photos.calibration import calibrate, confidence, held_out, matched
from susx_bench.photos.classified import GIVEN, SURE, UNSURE, Classified
from susx_bench.photos.classifier import Classifier, answers
from susx_bench.photos.material import Asked, Material, of_bundle, of_photographs, why_unread
from susx_bench.photos.photographs import Photos
from susx_bench.registry import load_method
from susx_bench.tuning.choose import Tune

if TYPE_CHECKING:
    pass

PER_CLASS, ENOUGH = 5, 100
"""Photographs per class and in all from which `tag-u` is used. With fewer it was at times worse
than zero-shot, see ``docs/classify.md``."""
FEW_LABELS = 4
"""Labelled images per class, on average, from which `tag` is used in its place."""


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
    """Classify photographs by the names of their classes, and by labelled ones where there are any.

    Args:
        photos: Folders, image files, patterns with ``*``, Parquet or tar files, or
            ``hf:ORG/NAME``; one or several.
        classes: Class names, ``"cat,dog"`` or a file with one a line. Where it is None the folders
            of `labelled` say them.
        labelled: Folders with a folder per class, or CSV files with the columns ``file`` and
            ``class``. A photograph that is labelled is given its class and not predicted.
        support: A support set that was made from the names: a kind, or its folder.
        encoder: As ``--encoder``, such as ``ViT-B-32:openai``.
        precision: What it computes in.
        method: An inductive or transductive method. None for `tag` with labelled images, `tipx`
            with a support set, else `zero-shot`; and where photographs are many, for `tag-u`, with
            labelled images if these are few, or `tag-u-sus`.
        tune: ``fixed`` or ``support``; None for ``support`` with labelled images.
        prompts: A kind of prompts, or a template such as ``"a sketch of a {}."``.
        prompts_dir: Folder of prompt files.
        reject: Photographs whose probability is lower are marked ``unsure``.
        features: A feature bundle in the place of photographs, whose test images are classified
            and whose support is labelled.
        leave_out: Folders of which no photograph is taken.
        launch: Where to encode; None for one device.
        listen: Told of notes and progress, see `susx_bench.events`.

    Returns:
        The answers. Nothing is written but the store of features.

    Raises:
        BenchError: If something is missing or does not fit, with a line that says what.
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
        asked = Asked(
            places=[str(each) for each in photos],
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
            own = _checked(method, bool(asked.labelled), support).prompts
            asked = replace(asked, prompts=own or prompts)
        material, opened, skipped = of_photographs(asked, launch or Launch(), listen)
    return _answer(material, opened, skipped, support is not None, method, tune, reject, listen)


def _listed(name: str, kind: click.ParamType[Any], given: Any) -> tuple[Any, ...]:
    """One value or several, each checked; none of None."""
    return () if given is None else tuple(checked(name, kind, each) for each in several(given))


def _checked(name: str, labelled: bool, support: str | None) -> type[Method]:
    """A method that photographs can be classified by.

    Raises:
        OptionError: If it takes something that they do not come with.
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


def _default(material: Material, photographs: int, made: bool) -> tuple[str, str]:
    """The method where none was asked for, and why."""
    classes, labelled = len(material.classnames), material.labelled
    enough = max(PER_CLASS * classes, ENOUGH)
    if made and len(material.text):
        known = "a support set made from the names"
        if photographs >= enough:
            return "tag-u-sus", f"{known}, and {counted(photographs, 'photograph')}"
        return "tipx", known
    count = 0 if labelled is None else len(labelled.labels)
    if not len(material.text):
        if not count:
            raise OptionError(
                f"{material.facts['encoder']} has no text features, so names alone say nothing: "
                "give labelled images of each class."
            )
        return "tag", f"{counted(count, 'labelled image')}, and no text features"
    known = f"{counted(count, 'labelled image')}" if count else "names alone"
    together = f"{known}, and {counted(photographs, 'photograph')} of {classes} classes"
    if count >= FEW_LABELS * classes or (count and photographs < enough):
        return "tag", known
    if photographs >= enough:
        return "tag-u", together
    return "zero-shot", f"{together}, fewer than the {enough:,} from which tag-u is used"


def _answer(
    material: Material,
    photos: Photos | None,
    skipped: list[tuple[str, str]],
    made: bool,
    method: str | None,
    tune: Tune | None,
    reject: float,
    listen: Listener,
) -> Classified:
    """Fit, calibrate, and only then look at the photographs."""
    bad = material.rows.isnan().any(-1)
    if photos is not None:
        skipped = [*why_unread(photos, bad.nonzero().flatten().tolist()), *skipped]
    if bool(bad.all()):
        raise DatasetError(
            f"none of {len(bad)} photographs can be read; the first, {skipped[0][0]}: "
            f"{skipped[0][1]}."
        )
    given = torch.zeros(len(bad), dtype=torch.bool)
    given[list(material.given)] = True
    unlabelled = material.rows[~bad & ~given]
    why = ""
    if method is None:
        method, why = _default(material, len(unlabelled), made)
    labelled = bool(material.labelled is not None and not made)
    _checked(method, labelled, "made" if made else None)
    try:
        classifier = _fit(material, method, tune or ("support" if labelled else "fixed"))
    except UnfitError as error:
        if not why or not len(material.text):
            raise OptionError(f"--method {method}: {error}.") from error
        # Labelled images of which nothing can be learnt: what names alone would have.
        listen(Note(f"{method}: {error}. The labelled images are not used", "warning"))
        method, why = _default(replace(material, labelled=None), len(unlabelled), made=False)
        classifier = _fit(material, method, "fixed")
    if classifier.note:
        untuned = classifier.note.removeprefix("fixed: ")
        listen(Note(f"{method} is not tuned and uses its fixed setting: {untuned}", "warning"))
    classifier, logits, as_sure = _probable(classifier, material, unlabelled, labelled)

    label = torch.zeros(len(bad), dtype=torch.int64)
    second = torch.full((len(bad),), -1, dtype=torch.int64)
    numbers = torch.full((len(bad), 3), torch.nan)
    label[list(material.given)] = torch.tensor(list(material.given.values()), dtype=torch.int64)
    if len(unlabelled):
        found = answers(logits, classifier.temperature, classifier.first_alike)
        asked = ~bad & ~given
        label[asked], second[asked] = found.label, found.second
        numbers[asked] = torch.stack(
            [found.probability, found.second_probability, found.margin], dim=-1
        )
    places = (~bad).nonzero().flatten().tolist()
    low = (numbers[:, 0] < reject).tolist()
    return Classified(
        classifier=classifier,
        why=why,
        files=tuple(material.files[i] for i in places),
        labels=label[places],
        seconds=second[places],
        probabilities=numbers[places],
        statuses=tuple(GIVEN if given[i] else UNSURE if low[i] else SURE for i in places),
        skipped=tuple(skipped),
        photos=photos,
        matched=as_sure,
    )


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
    """The classifier with its temperature, the photographs' logits, and whether it only matches.

    With labelled images it is fitted on them while they are held out. Without, a method that is not
    CLIP alone gets the temperature under which it is on average as sure as CLIP.
    """
    logits = classifier.logits(unlabelled) if len(unlabelled) else unlabelled[:, :0]
    context = classifier.context
    if labelled and material.labelled is not None:

        def scores(method: Method, images: Tensor) -> Tensor:
            made = replace(classifier, method=method)
            if method.regime == "inductive":
                return made.logits(images)
            # Beside the photographs, as these are beside each other.
            return made.logits(torch.cat([unlabelled, images]))[len(unlabelled) :]

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
