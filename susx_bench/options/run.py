"""The options of ``susx-bench run`` that a request has, each declared once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import click
from pydantic import field_validator, model_validator

from susx_bench.errors import OptionError
from susx_bench.options import (
    BUNDLE_PATH,
    FILE_PATH,
    FOLDER_PATH,
    IMAGES,
    METHODS,
    NAME,
    NAMES,
    ORDER_LIST,
    PROMPTS,
    SCALE,
    SEED_LIST,
    SHOT_LIST,
    TRAVEL,
    WORDS,
    Count,
)
from susx_bench.options.asked import (
    BUNDLE,
    LIST,
    is_drawn,
    method_of,
    order_of,
    support_of,
    val_shots_of,
    views_of,
)
from susx_bench.options.batches import ALL
from susx_bench.options.declare import Option, Options
from susx_bench.options.given import checked
from susx_bench.options.recorded import NO_PROMPTS, Extras, Setting
from susx_bench.options.rules import check
from susx_bench.options.shared import (
    DATA,
    ENCODER,
    MEASURED,
    OUTPUT,
    OWN,
    PLACE,
    SUPPORT,
    TUNING,
    Accelerator,
    Classnames,
    DataRoot,
    Devices,
    ImageColumn,
    LabelColumn,
    NumNodes,
    PrecisionName,
    PromptsDir,
    SourceName,
    SplitFile,
    Workers,
    is_bundle,
)
from susx_bench.options.templates import read_templates
from susx_bench.registry import METHODS as REGISTERED_METHODS

DEMO = "digits"
"""Default dataset, which is embedded."""

SHOTS = (1, 2, 4, 8, 16)
"""Default numbers of labelled images per class; a bundle is used whole by default."""

SEEDS = (1, 2, 3)
"""Default seeds of the draws."""

ORDER = 1
"""Default seed of the order of the test images."""

BASELINES = ("zero-shot", "tip-adapter")
"""Methods that are shown beside the requested ones."""

ON_THE_DEMO = (
    "zero-shot",
    "calip",
    "clip-dn",
    "waffle",
    "tip-adapter",
    "gda",
    "ape",
    "timo",
    "tag",
    "tipx",
)
"""Methods shown if no data is requested: the inductive ones, without variants and without methods
that read prompt files."""


OWN_DATA = ("image_column", "label_column", "classnames")
"""Options about the format of data that no fact file describes."""

LAUNCH = ("devices", "num_nodes", "accelerator", "batch_size", "workers")
"""Options that select devices and change no number."""


def every_method(asked: Sequence[Any]) -> tuple[Any, ...]:
    """The requested methods, with all registered ones in place of ``all``.

    The two baselines then come first.
    """
    if ALL not in asked:
        return tuple(asked)
    every = (*BASELINES, *(n for n in REGISTERED_METHODS.names() if n not in BASELINES))
    return (*every, *(name for name in asked if name != ALL and name not in every))


def _place(name: str) -> str:
    """A key that all names of one dataset share: for the user's own data its real path."""
    is_own = name.startswith(OWN) and not name.startswith("hf:")
    return os.path.realpath(os.path.expanduser(name)) if is_own else name  # noqa: PTH111


class RunOptions(Options, Extras):
    """What ``susx-bench run`` measures, and where; None where an option is not given."""

    method: Annotated[
        tuple[Any, ...],  # names, and classes in a Python call
        Option(
            type=METHODS,
            help="Methods, or ./file.py:Class; repeatable. all: every method of list methods.",
            group=MEASURED,
            required=True,
            decides=True,
            suite="one",
            asked=method_of,
        ),
    ]
    setting: Annotated[
        Setting,
        Option(
            type=click.Choice(get_args(Setting)),
            help="What the support set may be built from.",
            group=MEASURED,
            required=True,
            decides=True,
            data=True,
            suite="one",
            asked=lambda r: r.setting,
        ),
    ] = "few-shot"
    features: Annotated[
        Any,  # a path, and `susx_bench.Features` in a Python call
        Option(
            type=BUNDLE_PATH,
            help="A feature bundle, in place of a dataset and an encoder.",
            group=DATA,
            decides=True,
            data=True,
            suite="each",
            below=True,
            file=True,
            asked=lambda r: BUNDLE if is_bundle(r) else None,
        ),
    ] = None
    dataset: Annotated[
        tuple[str, ...] | None,
        Option(
            type=NAMES,
            help="Datasets, ./FOLDER or hf:ORG/NAME[:CONFIG][@COMMIT]; repeatable, as for a folder "
            f"whose name has a comma. [default: {DEMO}, embedded] Names a bundle's data.",
            group=DATA,
            decides=True,
            data=True,
            suite="one",
            asked=lambda r: r.dataset_given or r.dataset,
        ),
    ] = None
    data_root: DataRoot = None
    source: SourceName = "auto"
    encoder: Annotated[
        str | None,
        Option(
            type=NAME,
            help="Encoder. [default: demo, for digits alone] Names a bundle's encoder.",
            group=ENCODER,
            decides=True,
            data=True,
            suite="each",
            asked=lambda r: r.encoder,
        ),
    ] = None
    logit_scale: Annotated[
        float | None,
        Option(
            type=SCALE,
            help="Of a bundle.",
            group=ENCODER,
            decides=True,
            data=True,
            suite="one",
            asked=lambda r: r.logit_scale if is_bundle(r) else None,
        ),
    ] = None
    prompts: Annotated[
        str,
        Option(
            type=PROMPTS,
            help='What the text encoder reads: a kind, or a template such as "a sketch of a {}."; '
            "several with | between them.",
            group=ENCODER,
            decides=True,
            data=True,
            suite="each",
            asked=lambda r: None if is_bundle(r) or r.prompts == NO_PROMPTS else r.prompts,
            words="prompts {}",
        ),
    ] = "single"
    templates: Annotated[
        Path | None,
        Option(
            type=FILE_PATH,
            help="A file of templates in place of --prompts, one per line.",
            group=ENCODER,
            decides=True,
            suite="one",
            below=True,
            asked=lambda r: None,
        ),
    ] = None
    prompts_dir: PromptsDir = None
    precision: PrecisionName = "fp32"
    split_file: SplitFile = None
    image_column: ImageColumn = None
    label_column: LabelColumn = None
    classnames: Classnames = None
    on_bad_image: Annotated[
        Literal["error", "skip"],
        Option(
            type=click.Choice(["error", "skip"]),
            help="What to do with an image that cannot be read; what is skipped is recorded.",
            group=DATA,
            decides=True,
            data=True,
            suite="one",
            asked=lambda r: "skip" if r.skipped and not is_bundle(r) else None,
        ),
    ] = "error"
    views: Annotated[
        int | None,
        Option(
            type=Count(1, 1000),
            help="Augmented views a labelled image is averaged over; 1 for the image itself. "
            "[default: 10; the demo 1]",
            group=SUPPORT,
            decides=True,
            data=True,
            suite="one",
            asked=views_of,
            words="{} views",
        ),
    ] = None
    support: Annotated[
        str | None,
        Option(
            type=NAME,
            help="Support set in the name-only setting. [default: the dataset's]",
            group=SUPPORT,
            decides=True,
            data=True,
            suite="each",
            asked=support_of,
        ),
    ] = None
    shots_file: Annotated[
        Path | None,
        Option(
            type=FILE_PATH,
            help="Which labelled images to use: a JSON list of file names or positions.",
            group=SUPPORT,
            decides=True,
            suite="one",
            below=True,
            given=True,
            file=True,
            asked=lambda r: r.given.get("shots_file", LIST) if r.draw == "file" else None,
        ),
    ] = None
    shots: Annotated[
        tuple[int, ...] | None,
        Option(
            type=SHOT_LIST,
            help="Labelled images per class. [default: 1,2,4,8,16; a bundle whole]",
            group=SUPPORT,
            decides=True,
            suite="one",
            asked=lambda r: r.shots if is_drawn(r) else None,
            words="S = {}",
        ),
    ] = None
    seed: Annotated[
        tuple[int, ...] | None,
        Option(
            type=SEED_LIST,
            help="Which draws. [default: 1,2,3]",
            group=SUPPORT,
            decides=True,
            suite="one",
            asked=lambda r: r.seed if is_drawn(r) else None,
        ),
    ] = None
    draw: Annotated[
        Literal["balanced", "coop"],
        Option(
            type=click.Choice(["balanced", "coop"]),
            help="How labelled images are drawn: ours, nested over shots, or by CoOp's rule.",
            group=SUPPORT,
            decides=True,
            suite="one",
            asked=lambda r: r.draw if is_drawn(r) and r.draw != "balanced" else None,
            words="drawn by {}",
        ),
    ] = "balanced"
    tune: Annotated[
        tuple[str, ...] | None,
        Option(
            type=WORDS,
            help="Which labels choose hyper-parameters, one or several: fixed, published, support, "
            "few-val, val, test. [default: few-shot val, or support without val; name-only fixed]",
            group=TUNING,
            decides=True,
            suite="each",
            asked=lambda r: r.tuned_on,
        ),
    ] = None
    val_shots: Annotated[
        int | None,
        Option(
            type=IMAGES,
            help="Images per class for few-val.",
            group=TUNING,
            decides=True,
            suite="one",
            asked=val_shots_of,
        ),
    ] = None
    allow_test_tuning: Annotated[
        bool,
        Option(
            type=click.BOOL,
            help="Let --tune test see the test labels.",
            group=TUNING,
            decides=True,
            asked=lambda r: True if r.tuned_on == "test" else None,
        ),
    ] = False
    order: Annotated[
        tuple[int, ...] | None,
        Option(
            type=ORDER_LIST,
            help="Seeds of the order in which streaming methods meet the test images, and of "
            "batches; 0 for the order of the split. [default: 1]",
            group=MEASURED,
            decides=True,
            suite="one",
            asked=order_of,
        ),
    ] = None
    batches: Annotated[
        tuple[str, ...] | None,
        Option(
            type=WORDS,
            help="How transductive methods get the test set: all, or SIZE:CLASSES, batches of up "
            "to SIZE images of up to CLASSES classes. [default: all]",
            group=MEASURED,
            decides=True,
            suite="one",
            asked=lambda r: r.batches or None,
        ),
    ] = None
    official: Annotated[
        bool,
        Option(
            type=click.BOOL,
            help="Reproduce the authors' code, its faults included.",
            group=MEASURED,
            decides=True,
            suite="one",
            asked=lambda r: r.official or None,
        ),
    ] = False
    devices: Devices = 1
    num_nodes: NumNodes = 1
    accelerator: Accelerator = "auto"
    batch_size: Annotated[
        int,
        Option(
            type=TRAVEL,
            help="Images that travel together. Changes no prediction.",
            group=PLACE,
        ),
    ] = 256
    workers: Workers = None
    out: Annotated[Path, Option(type=FOLDER_PATH, help="Folder of the records.", group=OUTPUT)] = (
        Path("results")
    )
    force: Annotated[
        bool,
        Option(
            type=click.BOOL,
            help="Measure again what has a record, and read all images for it.",
            group=OUTPUT,
        ),
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _reads_templates(cls, values: Any) -> Any:
        """Replace ``--templates`` by prompts, so that a record names the templates and no file."""
        if not isinstance(values, dict) or values.get("templates") is None:
            return values
        if "prompts" in values:
            raise OptionError("--templates stands in place of --prompts: give one of them.")
        path = checked("--templates", FILE_PATH, values["templates"])
        return values | {"prompts": read_templates(path)}

    @model_validator(mode="before")
    @classmethod
    def _names_all_methods(cls, values: Any) -> Any:
        """Replace ``all`` by all registered methods, the two baselines first."""
        methods = values.get("method") if isinstance(values, dict) else None
        methods = [methods] if isinstance(methods, str) else methods
        if not isinstance(methods, list | tuple):
            return values
        return values | {"method": every_method(methods)}

    @field_validator("dataset")
    @classmethod
    def _names_data_once(cls, asked: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Drop data that is named twice: ``./pets`` and ``./pets/`` are one folder."""
        by_place: dict[str, str] = {}
        for name in asked or ():
            by_place.setdefault(_place(name), name)
        return tuple(by_place.values()) or None

    @model_validator(mode="after")
    def _fits(self) -> RunOptions:
        check(self)
        return self
