"""``susx-bench classify``: photographs and class names in, a table of answers out."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import (
    ACCELERATOR,
    DEVICES,
    NUM_NODES,
    PRECISION,
    PROMPTS_DIR,
    WORKERS,
    is_given,
    quiet_option,
)
from susx_bench.console import counted, print_whole, stderr, stdout
from susx_bench.errors import OptionError
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, NAME, TRAVEL, Number, Text

if TYPE_CHECKING:
    from rich.table import Table

    from susx_bench.photos.classified import Classified
    from susx_bench.photos.output import Copied


@click.command(
    epilog="""\b
Try:
  susx-bench classify PHOTOS --classes cat,dog,horse --encoder ViT-B-32:openai --out answers
  susx-bench classify PHOTOS --classes names.txt --encoder ViT-B-32:openai --page --out answers
  susx-bench classify PHOTOS --classes names.txt --encoder ViT-B-32:openai --labelled labels.csv \\
             --page --out answers"""
)
@click.argument("photos", type=NAME, nargs=-1)
@click.option(
    "--classes",
    type=Text(1_000_000),
    help="Names of the classes, a,b,c, or a file with one per line. [default: the folders of "
    "--labelled]",
)
@click.option(
    "--labelled",
    type=ANY_PATH,
    multiple=True,
    help="Labelled images: a folder with a folder per class, or a CSV file with the columns file "
    "and class, as the page saves it; repeatable.",
)
@click.option(
    "--support",
    type=NAME,
    help="A support set made from the names: NAME or ./FOLDER, see support build.",
)
@click.option("--encoder", type=NAME, help="Encoder, such as ViT-B-32:openai.")
@PRECISION
@click.option(
    "--method",
    type=NAME,
    help="An inductive or transductive method. [default: tag with labelled images, or tag-u where "
    "they are few; tag-u-sus with a support set; by names tag-u; for few photographs tipx and "
    "zero-shot]",
)
@click.option(
    "--tune",
    type=click.Choice(["fixed", "support"]),
    help="What chooses hyper-parameters. [default: support with labelled images, else fixed]",
)
@click.option(
    "--prompts",
    type=NAME,
    default="single",
    show_default=True,
    help='A kind of prompts, or a template: "a sketch of a {}."',
)
@PROMPTS_DIR
@click.option(
    "--features",
    type=FILE_PATH,
    help="A feature bundle in the place of photographs: its test images are classified, its "
    "support is labelled.",
)
@click.option(
    "--reject",
    type=Number(0, 1),
    default=0.0,
    help="Probability below which a photograph is called unsure. [default: 0]",
)
@click.option(
    "--copy-to",
    type=FOLDER_PATH,
    help="Copy the photographs into a folder per class, and into unsure. Nothing is moved or "
    "overwritten.",
)
@click.option("--link", is_flag=True, help="Make symbolic links for --copy-to, not copies.")
@click.option(
    "--page",
    is_flag=True,
    help="Write OUT/index.html, to look at the answers in a browser and to correct them.",
)
@quiet_option()
@DEVICES
@NUM_NODES
@ACCELERATOR
@click.option(
    "--batch-size",
    type=TRAVEL,
    default=256,
    show_default=True,
    help="Images that travel together. Changes no answer.",
)
@WORKERS
@click.option("--out", type=FOLDER_PATH, required=True, help="Folder of the answers.")
def classify(**options: Any) -> None:
    """Classify photographs by the names of their classes.

    PHOTOS are folders, files, patterns, Parquet files or webdataset shards, or hf:ORG/NAME. The
    table lies in OUT/predictions.csv and .parquet; what could not be read in OUT/skipped.csv.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.events import Job
        from susx_bench.features.launch import Launch
        from susx_bench.photos.classify import classify as classify_photos
        from susx_bench.photos.output import begin, check, copy_to, write, write_gallery
        from susx_bench.progress import Reporter

    names = ("devices", "num_nodes", "accelerator", "batch_size", "workers")
    launch = Launch(**{name: options.pop(name) for name in names})
    out, copies, link = options.pop("out"), options.pop("copy_to"), options.pop("link")
    page = options.pop("page")
    if link and copies is None:
        raise OptionError("--link goes with --copy-to.")
    if options["features"]:
        for name in ("encoder", "prompts", "precision"):
            if is_given(name):
                raise OptionError(f"--{name} does not go with --features.")
        for name, value in (("--copy-to", copies), ("--page", page)):
            if value:
                raise OptionError(f"{name} needs photographs, and a bundle has only features.")
    check(out)
    listen = Reporter(notes)
    with redirect_stdout(sys.stderr):  # stdout is for results
        classified = classify_photos(
            **options,
            leave_out=[path for path in (out, copies) if path is not None],
            launch=launch,
            listen=listen,
        )
        if not launch.is_main:
            return
        begin(out)
        write(classified, out, options["reject"])
        if page:
            with Job(listen, "thumbnails", "photographs", len(classified.files)) as job:
                write_gallery(classified, out, _again(), options["reject"], job.advance)
    copied = copy_to(classified, copies, link=link) if copies else None
    if classified.classifier.encoder == "demo" and classified.photos is not None:
        stderr(warnings=True).print(
            "encoder demo knows only drawn digits: these answers say nothing of CLIP",
            style="bold yellow",
        )
    _print(classified, out, copies, copied)
    if page:
        stdout().print(f"look at {out / 'index.html'} in a browser", soft_wrap=True)


def _again() -> str:
    """The command to give again, with the labels that the page saves."""
    words = [word for word in sys.argv[1:]]
    if not any(word.startswith("--labelled") for word in words):
        words += ["--labelled", "labels.csv"]
    return shlex.join(["susx-bench", *words])


def _print(classified: Classified, out: Path, copies: Path | None, copied: Copied | None) -> None:
    console = stdout()
    classifier = classified.classifier
    print_whole(console, _summary(classified))
    why = f" ({classified.why})" if classified.why else ""
    console.print(
        f"{counted(len(classified.files), 'photograph')} · {classifier.asked}{why} · "
        f"{classifier.encoder} · prompts {classifier.prompts}",
        soft_wrap=True,
    )
    console.print(classified.calibration, soft_wrap=True)
    if classified.skipped:
        file, reason = classified.skipped[0]
        console.print(
            f"skipped {counted(len(classified.skipped), 'file')}, see {out / 'skipped.csv'}; "
            f"the first, {file}: {reason}",
            style="yellow",
            soft_wrap=True,
        )
    if copied is not None:
        words = [f"copied {copied.made:,} into {copies}"]
        words += [f"{copied.kept:,} were there"] * bool(copied.kept)
        words += [f"{copied.renamed:,} renamed, their name was taken"] * bool(copied.renamed)
        console.print("; ".join(words), soft_wrap=True)
        if copied.left:
            console.print(
                f"{counted(len(copied.left), 'copy')} of an earlier run stay, of photographs that "
                f"are of another class now: {', '.join(copied.left[:5])}"
                f"{', ...' if len(copied.left) > 5 else ''}",
                style="yellow",
                soft_wrap=True,
            )
    console.print(f"wrote {out / 'predictions.csv'} and .parquet", soft_wrap=True)


def _summary(classified: Classified) -> Table:
    """One row per class: photographs, unsure and given ones, and mean probability."""
    from rich import box
    from rich.table import Table

    from susx_bench.photos.classified import GIVEN, UNSURE

    names = classified.classifier.classnames
    labels, sure = classified.labels.tolist(), classified.probabilities[:, 0].tolist()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    shown = [status for status in (UNSURE, GIVEN) if status in classified.statuses]
    for column in ("photographs", *shown, "mean probability"):
        table.add_column(column, justify="right")
    rows: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        rows.setdefault(label, []).append(place)
    for label, places in sorted(rows.items(), key=lambda item: -len(item[1])):
        statuses = [classified.statuses[place] for place in places]
        p = [sure[place] for place in places if classified.statuses[place] != GIVEN]
        table.add_row(
            names[label],
            f"{len(places):,}",
            *(f"{statuses.count(status):,}" for status in shown),
            f"{sum(p) / len(p):.2f}" if p else "",
        )
    empty = [name for label, name in enumerate(names) if label not in rows]
    if empty:
        shown_names = ", ".join(empty[:8]) + (", ..." if len(empty) > 8 else "")
        table.caption = f"no photograph: {shown_names}"
        table.caption_justify = "left"
    return table
