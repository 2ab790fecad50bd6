"""From photographs and class names to answers: `classify`, as ``susx_bench.classify``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import torch
from torch import Tensor

from susx_bench.console import counted
from susx_bench.data.named import names_alone, read_classes, texts_of
from susx_bench.encoders.named import open_encoder
from susx_bench.errors import DatasetError, OptionError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.launch import Launch
from susx_bench.features.rows import mean_unit
from susx_bench.features.store import FeatureStore, cache_url
from susx_bench.features.task import Need
from susx_bench.methods.base import Context, Labelled, Method, UnfitError
from susx_bench.methods.zero_shot import clip_logits
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, NAME, PROMPTS, Number, shown
from susx_bench.options.given import checked, several
from susx_bench.options.recorded import NO_PROMPTS, Precision
from susx_bench.photos.calibration import calibrate, confidence, held_out, matched
from susx_bench.photos.classifier import Classifier, answers
from susx_bench.photos.encoded import Studio, Watch
from susx_bench.photos.labels import Labels, classes_of, read_labels
from susx_bench.photos.photographs import Photos, open_photos
from susx_bench.registry import load_method
from susx_bench.support.folder import default_root
from susx_bench.support.home import find
from susx_bench.support.images import BuiltSupport
from susx_bench.tuning.choose import Tune

if TYPE_CHECKING:
    import pyarrow as pa

PER_CLASS, ENOUGH = 5, 100
"""Photographs per class and in all from which `tag-u` is used. With fewer it was at times worse
than zero-shot, see ``docs/classify.md``."""
FEW_LABELS = 4
"""Labelled images per class, on average, from which `tag` is used in its place."""

GIVEN, SURE, UNSURE = "given", "predicted", "unsure"
COLUMNS = (
    *("file", "class", "probability", "second_class", "second_probability", "margin", "status"),
)


@dataclass(frozen=True)
class Classified:
    """Photographs and what they were taken for.

    Attributes:
        classifier: What answered.
        why: Why this method, in a line.
        files: Name of each photograph that could be read.
        labels: Its class, ``(N,)``.
        seconds: The next class, ``(N,)``; -1 for a photograph whose class was given.
        probabilities: Of the two, and the margin, ``(N, 3)``; NaN where the class was given.
        statuses: ``predicted``, ``unsure`` or ``given``, of each.
        skipped: Photographs that could not be read, and why.
        photos: The photographs; None where there were only features.
        matched: Whether probabilities are only as sure as the encoder's own, on average.
    """

    classifier: Classifier
    why: str
    files: tuple[str, ...]
    labels: Tensor
    seconds: Tensor
    probabilities: Tensor
    statuses: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    photos: Photos | None = field(default=None, repr=False, compare=False)
    matched: bool = False

    def __repr__(self) -> str:
        known = [self.classifier.classnames[label] for label in self.labels.tolist()]
        counts = ", ".join(f"{name} {n}" for name, n in Counter(known).most_common(5))
        return (
            f"<Classified: {len(self.files)} photographs ({counts}), {len(self.skipped)} skipped>"
        )

    @property
    def calibration(self) -> str:
        """What the probabilities are worth, in a line."""
        found, temperature = self.classifier.calibration, self.classifier.temperature
        if found is not None:
            return (
                f"probabilities: temperature {temperature:.3g}, fitted on {found.images} labelled "
                f"images while they were held out. There {found.accuracy:.1f} % are right, ECE "
                f"{found.ece:.1f} points, NLL {found.nll:.3f}"
            )
        if self.matched:
            return (
                "probabilities: not calibrated on any label; on average as sure as the encoder's "
                "own logit scale makes them"
            )
        return "probabilities: not calibrated on any label; they follow the encoder's logit scale"

    def rows(self) -> list[tuple[Any, ...]]:
        """The table's rows, in the order of the photographs, see `COLUMNS`."""
        names = self.classifier.classnames
        found = []
        for file, label, second, (p, q, margin), status in zip(
            self.files,
            self.labels.tolist(),
            self.seconds.tolist(),
            self.probabilities.tolist(),
            self.statuses,
            strict=True,
        ):
            known = status != GIVEN
            found.append(
                (file, names[label])
                + ((p, names[second], q, margin) if known else (None,) * 4)
                + (status,)
            )
        return found

    @property
    def table(self) -> pa.Table:
        """The answers as an Arrow table, a row a photograph, see `COLUMNS`."""
        import pyarrow as pa

        text, number = pa.string(), pa.float32()
        kinds = (text, text, number, text, number, number, text)
        columns = list(zip(*self.rows(), strict=True)) or [()] * len(COLUMNS)
        return pa.table(
            {
                name: pa.array(values, kind)
                for name, values, kind in zip(COLUMNS, columns, kinds, strict=True)
            }
        )

    def to_pandas(self) -> Any:
        """The answers as a pandas data frame; pandas must be installed."""
        return self.table.to_pandas()


@dataclass(frozen=True)
class _Material:
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
    watch: Watch | None = None,
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
        watch: Told how far it is; None for nobody.

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
    for name, value, kind in (("launch", launch, Launch), ("watch", watch, Watch)):
        if value is not None and not isinstance(value, kind):
            raise OptionError(f"{name}: {shown(value)} is no {kind.__name__}.")
    watch = watch or Watch()
    opened: Photos | None = None
    skipped: list[tuple[str, str]] = []
    if features is not None:
        if photos or labelled or support:
            raise OptionError("--features takes the place of PHOTOS, --labelled and --support.")
        material = _of_bundle(checked("features", FILE_PATH, features), classes)
    else:
        asked = _Asked(
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
        material, opened, skipped = _of_photographs(asked, launch or Launch(), watch)
    return _answer(material, opened, skipped, support is not None, method, tune, reject, watch)


def _listed(name: str, kind: click.ParamType[Any], given: Any) -> tuple[Any, ...]:
    """One value or several, each checked; none of None."""
    return () if given is None else tuple(checked(name, kind, each) for each in several(given))


@dataclass(frozen=True)
class _Asked:
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


def _of_photographs(
    asked: _Asked, launch: Launch, watch: Watch
) -> tuple[_Material, Photos, list[tuple[str, str]]]:
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
        texts = texts_of(asked.prompts, classnames, asked.prompts_dir, watch.note)
    elif not (asked.labelled or asked.support):
        raise OptionError(
            f"--encoder {made.name} reads no text, so names alone say nothing: give labelled "
            "images of each class with --labelled."
        )
    opened = open_photos(asked.places, asked.leave_out)
    labels = read_labels(asked.labelled, classnames, opened)
    studio = Studio(made, FeatureStore(cache_url()), launch, watch)

    rows = studio.photos(opened)
    extra, skipped = _labelled(labels, studio)
    if asked.support:
        extra = _support(asked, classnames, studio)
    at = [place for place in labels.given if not bool(rows[place].isnan().any())]
    own_rows = Labelled(rows[at], torch.tensor([labels.given[i] for i in at], dtype=torch.int64))
    together = [each for each in (own_rows, extra) if each is not None and len(each.labels)]
    each_text = studio.texts(texts) if texts else None
    material = _Material(
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
    reasons = _reasons(photos, (~good).nonzero().flatten().tolist())
    label = torch.tensor([label for _, label in labels.others], dtype=torch.int64)
    return Labelled(rows[good], label[good]), reasons


def _support(asked: _Asked, classnames: Sequence[str], studio: Studio) -> Labelled:
    """Features of a support set that was made from the names."""
    named = names_alone(classnames)
    said = asked.classes if isinstance(asked.classes, str | Path) else ",".join(classnames)
    whose = f"--classes {shlex.quote(str(said))}"
    images = BuiltSupport(find(str(asked.support), named, default_root(), whose), named.spec)
    labels = torch.from_numpy(images.labels)
    if images.features is not None:
        return Labelled(images.features, labels)
    return Labelled(studio.images([images], "encoding the support set"), labels)


def _reasons(photos: Photos, places: Sequence[int]) -> list[tuple[str, str]]:
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


def _of_bundle(path: Path, classes: str | Path | Sequence[str] | None) -> _Material:
    """The test images of a feature bundle as photographs, and its support as labelled images."""
    names = None if classes is None else list(read_classes(classes))
    task = BundleTask(path, classnames=names)
    every = torch.arange(len(task.pool_labels))
    found = task.features(Need([every], val=False), Launch(), lambda *_: None)
    rows = found.support([every], every)
    return _Material(
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


def _default(material: _Material, photographs: int, made: bool) -> tuple[str, str]:
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
    material: _Material,
    photos: Photos | None,
    skipped: list[tuple[str, str]],
    made: bool,
    method: str | None,
    tune: Tune | None,
    reject: float,
    watch: Watch,
) -> Classified:
    """Fit, calibrate, and only then look at the photographs."""
    bad = material.rows.isnan().any(-1)
    if photos is not None:
        skipped = [*_reasons(photos, bad.nonzero().flatten().tolist()), *skipped]
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
        watch.note(f"{method}: {error}. The labelled images are not used")
        method, why = _default(replace(material, labelled=None), len(unlabelled), made=False)
        classifier = _fit(material, method, "fixed")
    if classifier.note:
        untuned = classifier.note.removeprefix("fixed: ")
        watch.note(f"{method} is not tuned and uses its fixed setting: {untuned}")
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


def _fit(material: _Material, name: str, tune: Tune) -> Classifier:
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
    classifier: Classifier, material: _Material, unlabelled: Tensor, labelled: bool
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
