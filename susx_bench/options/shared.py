"""Options of several commands, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import click

from susx_bench.options import FILE_PATH, FOLDER_PATH, NAME, Count
from susx_bench.options.declare import Option
from susx_bench.options.recorded import Precision

if TYPE_CHECKING:
    from susx_bench.records.record import Record

OWN = (".", "/", "~", "hf:")
"""Prefixes of a folder or a repository in place of a dataset's name."""

MEASURED, DATA, ENCODER, SUPPORT, TUNING, PLACE, OUTPUT = (
    "What to measure",
    "Data",
    "Encoder",
    "Support",
    "Tuning",
    "Where it runs",
    "Output",
)


SPLIT = "SPLIT.json"
"""Placeholder in a printed command for a split file that a record does not name."""


def is_bundle(record: Record) -> bool:
    """Whether a record's features came from a bundle."""
    return record.protocol == "bundle"


def _split_file(record: Record) -> str | None:
    if name := record.given.get("split_file"):
        return name
    # The user's own data has its own split, unless a file is given.
    is_own = (record.dataset_given or record.dataset).startswith(OWN)
    return SPLIT if record.protocol == "custom" and not is_own else None


DataRoot = Annotated[
    Path | None,
    Option(
        type=FOLDER_PATH,
        help="Folder of local data, DIR/DATASET each, and of a suite's bundles.",
        group=DATA,
        variable="SUSX_BENCH_DATA",
    ),
]
SourceName = Annotated[
    str,
    Option(
        type=NAME,
        help="Where images come from: folder, hub, hf:ORG/NAME[:CONFIG][@COMMIT]; auto: the "
        "folder, else the hub.",
        group=DATA,
        decides=True,
        data=True,
        given=True,
    ),
]
SplitFile = Annotated[
    Path | None,
    Option(
        type=FILE_PATH,
        help="A split file in place of the published one; joined with a hub copy by file name.",
        group=DATA,
        decides=True,
        data=True,
        given=True,
        file=True,
        asked=_split_file,
    ),
]
ImageColumn = Annotated[
    str | None,
    Option(
        type=NAME,
        help="Column of a table's images, or their ending in webdataset shards. [default: image, "
        "img, jpg, ...]",
        group=DATA,
        decides=True,
        data=True,
        suite="one",
        given=True,
    ),
]
LabelColumn = Annotated[
    str | None,
    Option(
        type=NAME,
        help="Column of its labels, likewise. [default: label, labels, cls, fine_label, class]",
        group=DATA,
        decides=True,
        data=True,
        suite="one",
        given=True,
    ),
]
Classnames = Annotated[
    Path | None,
    Option(
        type=FILE_PATH,
        help="Names of the classes in their order, one per line, of a bundle or of data of yours.",
        group=DATA,
        decides=True,
        data=True,
        suite="one",
        below=True,
        given=True,
        file=True,
    ),
]
PromptsDir = Annotated[
    Path | None,
    Option(
        type=FOLDER_PATH,
        help="Folder of prompt files: CuPL_prompts_DATASET.json for cupl and combined, "
        "descriptors_DATASET.json for visdesc.",
        group=ENCODER,
        variable="SUSX_BENCH_PROMPTS",
        data=True,
    ),
]
Devices = Annotated[int, Option(type=Count(1, 1024), help="Devices per node.", group=PLACE)]
NumNodes = Annotated[int, Option(type=Count(1, 10_000), help="Nodes.", group=PLACE)]
Accelerator = Annotated[str, Option(type=NAME, help="cpu, gpu, ...", group=PLACE)]
Workers = Annotated[
    int | None,
    Option(
        type=Count(0, 256),
        help="Processes that read images. [default: as many as cores]",
        group=PLACE,
    ),
]
PrecisionName = Annotated[
    Precision,
    Option(
        type=click.Choice(get_args(Precision)),
        help="What models compute in.",
        group=ENCODER,
        decides=True,
        data=True,
        suite="one",
        asked=lambda r: None if is_bundle(r) or r.precision == "fp32" else r.precision,
    ),
]
