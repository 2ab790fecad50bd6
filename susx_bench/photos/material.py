"""Features of photographs, labelled images and names, or from a feature bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from susx_bench.data.named import names_alone, read_classes, texts_of
from susx_bench.encoders.base import Encoder
from susx_bench.encoders.named import open_encoder
from susx_bench.errors import DatasetError, OptionError
from susx_bench.events import Listener, Note
from susx_bench.features.bundle import BundleTask
from susx_bench.features.launch import Launch
from susx_bench.features.rows import mean_unit
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.features.task import Need
from susx_bench.methods.base import Labelled
from susx_bench.options.recorded import NO_PROMPTS
from susx_bench.photos.encoded import Studio
from susx_bench.photos.labels import Labels, classes_of, read_labels
from susx_bench.photos.photographs import Photos, open_photos
from susx_bench.support.folder import default_root
from susx_bench.support.home import find
from susx_bench.support.images import BuiltSupport


@dataclass(frozen=True)
class Material:
    """Features to classify and to learn from.

    Attributes:
        classnames: Names of the classes.
        prompts: Features of each class's single prompts; None if only their means are known, or
            there are no prompts.
        text: ``(K, D)``; ``(0, D)`` if the encoder reads no text.
        files: Name of each photograph.
        rows: Features of the photographs, ``(N, D)``; NaN for one that cannot be read.
        labelled: Labelled images, or a support set made from names; None without.
        given: Label of each photograph that the user labelled, by position.
        facts: Further attributes of the `Classifier`.
    """

    classnames: tuple[str, ...]
    prompts: Sequence[Tensor] | None
    text: Tensor
    logit_scale: float
    files: tuple[str, ...]
    rows: Tensor
    labelled: Labelled | None
    given: dict[int, int]
    facts: dict[str, Any]


@dataclass(frozen=True)
class ClassifyInputs:
    """The arguments of `classify` for photographs."""

    places: Sequence[str]
    classes: str | Path | Sequence[str] | None
    labelled: Sequence[Path]
    support: str | None
    encoder: str | None
    precision: str
    prompts: str
    prompts_dir: Path | None
    leave_out: Sequence[Path]

    def classnames(self) -> tuple[str, ...]:
        """The class names; from the folders of labelled images if they are not given."""
        if self.classes is not None:
            return read_classes(self.classes)
        folders = [folder for folder in self.labelled if folder.is_dir()]
        if not folders:
            raise OptionError("Missing option '--classes': cat,dog,... or a file, one per line.")
        return read_classes(sorted({name for folder in folders for name in classes_of(folder)}))


def of_photographs(
    inputs: ClassifyInputs, launch: Launch, listen: Listener
) -> tuple[Material, Photos, list[tuple[str, str]]]:
    """Check the inputs, then encode photographs, labelled images and prompts."""
    classnames, encoder = _opened(inputs)
    texts: tuple[tuple[str, ...], ...] = ()
    if encoder.has_text:
        texts = texts_of(
            inputs.prompts,
            classnames,
            inputs.prompts_dir,
            lambda line: listen(Note(line, "warning")),
        )
    elif not (inputs.labelled or inputs.support):
        raise OptionError(
            f"--encoder {encoder.name} reads no text, so names alone say nothing: give labelled "
            "images of each class with --labelled."
        )
    opened = open_photos(inputs.places, inputs.leave_out)
    labels = read_labels(inputs.labelled, classnames, opened)
    studio = Studio(encoder, FeatureStore(cache_url()), launch, listen)

    rows = studio.photos(opened)
    extra, skipped = _labelled(labels, studio)
    if inputs.support:
        extra = _support(inputs, classnames, studio)
    at = [place for place in labels.given if not bool(rows[place].isnan().any())]
    own_rows = Labelled(rows[at], torch.tensor([labels.given[i] for i in at], dtype=torch.int64))
    together = [item for item in (own_rows, extra) if item is not None and len(item.labels)]
    each_text = studio.texts(texts) if texts else None
    material = Material(
        classnames=classnames,
        prompts=each_text,
        text=rows.new_zeros(0, rows.shape[1]) if each_text is None else mean_unit(each_text),
        logit_scale=encoder.logit_scale,
        files=tuple(photo.name for photo in opened.photos),
        rows=rows,
        labelled=Labelled(
            torch.cat([item.features for item in together]),
            torch.cat([item.labels for item in together]),
        )
        if together
        else None,
        given={place: labels.given[place] for place in at},
        facts={
            "encoder": encoder.name,
            "weights_sha256": encoder.sha256,
            "precision": inputs.precision,
            "prompts": inputs.prompts if encoder.has_text else NO_PROMPTS,
            "texts": texts,
        },
    )
    return material, opened, [*opened.skipped, *skipped]


def _opened(inputs: ClassifyInputs) -> tuple[tuple[str, ...], Encoder]:
    """The class names and the encoder.

    Raises:
        OptionError: If an input is missing, or two do not fit.
    """
    if lost := next((item for item in inputs.labelled if not item.exists()), None):
        raise OptionError(f"--labelled {lost}: there is no such file or folder.")
    if inputs.support and inputs.labelled:
        raise OptionError("--support is for names alone: give either it or --labelled.")
    if not inputs.places:
        raise OptionError("Missing argument 'PHOTOS': folders, files, patterns or hf:ORG/NAME.")
    classnames = inputs.classnames()
    if inputs.encoder is None:
        raise OptionError(
            "give --encoder, as in --encoder ViT-B-32:openai; `susx-bench list encoders` has them "
            "all."
        )
    return classnames, open_encoder(inputs.encoder, inputs.precision)


def _labelled(labels: Labels, studio: Studio) -> tuple[Labelled | None, list[tuple[str, str]]]:
    """Features of labelled images outside the photographs, and the images that were skipped."""
    if not labels.others:
        return None, []
    photos = Photos([photo for photo, _ in labels.others], "--labelled")
    rows = studio.photos(photos, "encoding labelled images")
    good = ~rows.isnan().any(-1)
    reasons = why_unread(photos, (~good).nonzero().flatten().tolist())
    label = torch.tensor([label for _, label in labels.others], dtype=torch.int64)
    return Labelled(rows[good], label[good]), reasons


def _support(inputs: ClassifyInputs, classnames: Sequence[str], studio: Studio) -> Labelled:
    """Features of a support set that was made from the names."""
    named = names_alone(classnames)
    classes = inputs.classes if isinstance(inputs.classes, str | Path) else ",".join(classnames)
    option = f"--classes {shlex.quote(str(classes))}"
    images = BuiltSupport(find(str(inputs.support), named, default_root(), option), named.spec)
    labels = torch.from_numpy(images.labels)
    if images.features is not None:
        return Labelled(images.features, labels)
    return Labelled(studio.images([images], "encoding the support set"), labels)


def why_unread(photos: Photos, places: Sequence[int]) -> list[tuple[str, str]]:
    """Names of photographs that could not be read, with the reasons."""
    reasons = []
    for place in places:
        reason = "it could not be read when it was encoded"
        try:
            photos.image(photos.samples[place])
        except DatasetError as error:
            reason = str(error)
        reasons.append((photos.samples[place].key, reason))
    return reasons


def of_bundle(path: Path, classes: str | Path | Sequence[str] | None) -> Material:
    """The test images of a feature bundle as photographs, and its support as labelled images."""
    names = None if classes is None else list(read_classes(classes))
    task = BundleTask(path, classnames=names)
    every = torch.arange(len(task.pool_labels))
    features = task.features(Need([every], val=False), Launch(), lambda *_: None)
    rows = features.support([every], every)
    return Material(
        classnames=task.classnames,
        prompts=features.prompts,
        text=features.text,
        logit_scale=task.logit_scale,
        files=tuple(f"test/{i}" for i in range(len(features.test))),
        rows=features.test,
        labelled=Labelled(rows, task.pool_labels) if len(rows) else None,
        given={},
        facts={"encoder": task.encoder, "prompts": task.prompts},
    )
