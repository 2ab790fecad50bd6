"""Features to classify and to learn from: of photographs and names, or of a bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from susx_bench.data.named import names_alone, read_classes, texts_of
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
    """Features, whoever made them.

    Attributes:
        classnames: Names of the classes.
        prompts: Features of each class's single prompts; None where only their means are known, or
            there are none.
        text: ``(K, D)``; ``(0, D)`` where the encoder reads no text.
        files: What each photograph is called.
        rows: Of the photographs, ``(N, D)``; NaN for one that cannot be read.
        labelled: Labelled images, or a support set made from names; None without.
        given: Label of each photograph somebody labelled, by place.
        facts: What a `Classifier` says besides.
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
class Asked:
    """What `classify` was asked for, of photographs."""

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
        """The classes, which the folders of labelled images may name."""
        if self.classes is not None:
            return read_classes(self.classes)
        folders = [folder for folder in self.labelled if folder.is_dir()]
        if not folders:
            raise OptionError("Missing option '--classes': cat,dog,... or a file, one a line.")
        return read_classes(sorted({name for each in folders for name in classes_of(each)}))


def of_photographs(
    asked: Asked, launch: Launch, listen: Listener
) -> tuple[Material, Photos, list[tuple[str, str]]]:
    """Encode photographs, labelled images and prompts; what is wrong is said before that."""
    if lost := next((each for each in asked.labelled if not each.exists()), None):
        raise OptionError(f"--labelled {lost}: there is no such file or folder.")
    if asked.support and asked.labelled:
        raise OptionError("--support is for names alone: give either it or --labelled.")
    if not asked.places:
        raise OptionError("Missing argument 'PHOTOS': folders, files, patterns or hf:ORG/NAME.")
    classnames = asked.classnames()
    if asked.encoder is None:
        raise OptionError(
            "give --encoder, as in --encoder ViT-B-32:openai; `susx-bench list encoders` has them "
            "all."
        )
    made = open_encoder(asked.encoder, asked.precision)
    texts: tuple[tuple[str, ...], ...] = ()
    if made.has_text:
        texts = texts_of(
            asked.prompts, classnames, asked.prompts_dir, lambda line: listen(Note(line, "warning"))
        )
    elif not (asked.labelled or asked.support):
        raise OptionError(
            f"--encoder {made.name} reads no text, so names alone say nothing: give labelled "
            "images of each class with --labelled."
        )
    opened = open_photos(asked.places, asked.leave_out)
    labels = read_labels(asked.labelled, classnames, opened)
    studio = Studio(made, FeatureStore(cache_url()), launch, listen)

    rows = studio.photos(opened)
    extra, skipped = _labelled(labels, studio)
    if asked.support:
        extra = _support(asked, classnames, studio)
    at = [place for place in labels.given if not bool(rows[place].isnan().any())]
    own_rows = Labelled(rows[at], torch.tensor([labels.given[i] for i in at], dtype=torch.int64))
    together = [each for each in (own_rows, extra) if each is not None and len(each.labels)]
    each_text = studio.texts(texts) if texts else None
    material = Material(
        classnames=classnames,
        prompts=each_text,
        text=rows.new_zeros(0, rows.shape[1]) if each_text is None else mean_unit(each_text),
        logit_scale=made.logit_scale,
        files=tuple(photo.name for photo in opened.photos),
        rows=rows,
        labelled=Labelled(
            torch.cat([each.features for each in together]),
            torch.cat([each.labels for each in together]),
        )
        if together
        else None,
        given={place: labels.given[place] for place in at},
        facts={
            "encoder": made.name,
            "weights_sha256": made.sha256,
            "precision": asked.precision,
            "prompts": asked.prompts if made.has_text else NO_PROMPTS,
            "texts": texts,
        },
    )
    return material, opened, [*opened.skipped, *skipped]


def _labelled(labels: Labels, studio: Studio) -> tuple[Labelled | None, list[tuple[str, str]]]:
    """Features of the labelled images that are not among the photographs, and what was skipped."""
    if not labels.others:
        return None, []
    photos = Photos([photo for photo, _ in labels.others], "--labelled")
    rows = studio.photos(photos, "encoding labelled images")
    good = ~rows.isnan().any(-1)
    reasons = why_unread(photos, (~good).nonzero().flatten().tolist())
    label = torch.tensor([label for _, label in labels.others], dtype=torch.int64)
    return Labelled(rows[good], label[good]), reasons


def _support(asked: Asked, classnames: Sequence[str], studio: Studio) -> Labelled:
    """Features of a support set that was made from the names."""
    named = names_alone(classnames)
    said = asked.classes if isinstance(asked.classes, str | Path) else ",".join(classnames)
    whose = f"--classes {shlex.quote(str(said))}"
    images = BuiltSupport(find(str(asked.support), named, default_root(), whose), named.spec)
    labels = torch.from_numpy(images.labels)
    if images.features is not None:
        return Labelled(images.features, labels)
    return Labelled(studio.images([images], "encoding the support set"), labels)


def why_unread(photos: Photos, places: Sequence[int]) -> list[tuple[str, str]]:
    """Why photographs could not be read, by their name."""
    found = []
    for place in places:
        reason = "it could not be read when it was encoded"
        try:
            photos.image(photos.samples[place])
        except DatasetError as error:
            reason = str(error)
        found.append((photos.samples[place].key, reason))
    return found


def of_bundle(path: Path, classes: str | Path | Sequence[str] | None) -> Material:
    """The test images of a feature bundle as photographs, and its support as labelled images."""
    names = None if classes is None else list(read_classes(classes))
    task = BundleTask(path, classnames=names)
    every = torch.arange(len(task.pool_labels))
    found = task.features(Need([every], val=False), Launch(), lambda *_: None)
    rows = found.support([every], every)
    return Material(
        classnames=task.classnames,
        prompts=found.prompts,
        text=found.text,
        logit_scale=task.logit_scale,
        files=tuple(f"test/{i}" for i in range(len(found.test))),
        rows=found.test,
        labelled=Labelled(rows, task.pool_labels) if len(rows) else None,
        given={},
        facts={"encoder": task.encoder, "prompts": task.prompts},
    )
