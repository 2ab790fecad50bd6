"""``susx-bench features``: import features of other programs, and export ours for them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import is_given, said
from susx_bench.console import counted, stderr, stdout
from susx_bench.errors import OptionError
from susx_bench.options import ANY_PATH, FILE_PATH, IMAGES, NAME, SCALE, TEXT
from susx_bench.options.commands import Group
from susx_bench.options.run import OWN_DATA, RunOptions

if TYPE_CHECKING:
    from susx_bench.features.convert.give import Content

_PARTS = {
    "text": "Features of the class names, in the order of the labels.",
    "support": "Features of the labelled images that methods may look at.",
    "support-labels": "Their labels: whole numbers, one-hot, or names.",
    "val": "Features of the images that hyper-parameters may be tuned on.",
    "val-labels": "Their labels.",
    "test": "Features of the test images.",
    "test-labels": "Their labels; may be missing.",
}


@click.group(cls=Group)
def features() -> None:
    """Bring features that you have, or take ours elsewhere."""


def _parts(command: Any) -> Any:
    for name, text in reversed(_PARTS.items()):
        command = click.option(
            f"--{name}", type=NAME, metavar="FILE[:NAME]", help=text, default=None
        )(command)
    return command


@features.command(
    "import",
    epilog="""\b
Try:
  susx-bench features import caches/dtd --text text_weights.pt --out dtd.safetensors
  susx-bench features import --text text.npy --test test.npy --test-labels y.npy --out x.safetensors
  susx-bench run --method tipx --setting few-shot --features dtd.safetensors""",
)
@click.argument("source", type=ANY_PATH, required=False)
@click.option("--out", type=FILE_PATH, required=True, help="The feature bundle, FILE.safetensors.")
@_parts
@click.option(
    "--layout",
    type=NAME,
    multiple=True,
    metavar="PART=rows|columns",
    help="Whether a part has a row or a column for each image or class, where it does not say so "
    "itself; repeatable.",
)
@click.option("--shots", type=IMAGES, help="Which support set of several, by its images per class.")
@click.option(
    "--classnames", type=FILE_PATH, help="Names of the classes in their order, one per line."
)
@click.option("--dataset", type=NAME, help="Name of the dataset. [default: the folder's]")
@click.option("--encoder", type=NAME, help="Name of the encoder, as in RN50:openai.")
@click.option("--logit-scale", type=SCALE, help="The encoder's factor on cosines. [default: 100]")
@click.option(
    "--no-text",
    is_flag=True,
    help="The encoder reads no text: the bundle has none, for methods that need none.",
)
@click.option(
    "--support-from",
    type=TEXT,
    help="What the support images are: few-shot for labelled ones, or what made them from names, "
    "as in sus-sd-photo. [default: what the file's name says]",
)
@click.option("--force", is_flag=True, help="Replace FILE if it holds something else.")
def import_features(
    source: Path | None, out: Path, layout: tuple[str, ...], force: bool, **options: Any
) -> None:
    """Make a feature bundle from SOURCE: a folder or a file of features.

    Read are the cache folders of Tip-Adapter, APE, CaFo and SuS-X, the features of clip-retrieval
    and clip_benchmark, and arrays of torch, numpy, safetensors and Parquet. What lies transposed,
    in half precision, one-hot or not normalised is recognised, mended and told. Nothing in a file
    is run.
    """
    if out.suffix != ".safetensors":
        raise OptionError(f"--out {out}: a feature bundle ends in .safetensors.")
    with stderr().status("loading"):
        from susx_bench.features.convert.bring import read, write
        from susx_bench.features.convert.collect import Request
    part_values = {name.replace("-", "_"): options.pop(name.replace("-", "_")) for name in _PARTS}
    request = Request(
        source=source,
        parts={name: spec for name, spec in part_values.items() if spec is not None},
        layout=_layouts(layout),
        **options,
    )
    if source is None and not request.parts:
        raise OptionError("nothing to import: give SOURCE, or --text FILE --test FILE and others.")
    imported = read(request)
    notes = stderr()
    for line in (*imported.lines, *imported.doubts):
        notes.print(line)
    written = write(imported, out, force=force)
    sizes = {name: len(tensor) for name, tensor in imported.tensors.items()}
    width = imported.tensors["test"].shape[1]
    images = ", ".join(
        f"{sizes[name]:,} {name}" for name in ("support", "val", "test") if name in sizes
    )
    verb = "wrote" if written else "nothing to do, its content is there already:"
    text = counted(sizes["text"], "class") if "text" in sizes else "no text"
    stdout().print(f"{verb} {out}: {text}, width {width}, {images}", soft_wrap=True)


def _layouts(given: tuple[str, ...]) -> dict[str, Any]:
    layouts = {}
    for entry in given:
        part, _, place = entry.partition("=")
        if part not in _PARTS or place not in ("rows", "columns"):
            raise OptionError(
                f"--layout {entry}: give PART=rows or PART=columns, PART one of "
                f"{', '.join(_PARTS)}."
            )
        layouts[part.replace("-", "_")] = place
    return layouts


_EXPORTED = (
    *("setting", "dataset", "data_root", "source", "split_file", *OWN_DATA, "on_bad_image"),
    *("encoder", "precision", "prompts", "prompts_dir", "support", "shots", "seed", "views"),
    *("accelerator", "batch_size", "workers"),
)
"""Options of `run` that select the features of a dataset."""


@features.command(
    "export",
    epilog="""\b
Try:
  susx-bench features export dtd.safetensors --to caches/dtd
  susx-bench features export dtd.safetensors --to dtd.npz
  susx-bench features export --dataset dtd --encoder RN50:openai --to dtd.safetensors""",
)
@click.argument("bundle", type=FILE_PATH, required=False)
@click.option(
    "--to",
    type=ANY_PATH,
    required=True,
    help="A folder for Tip-Adapter's cache files, FILE.npz, or FILE.safetensors.",
)
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
@RunOptions.click_options(*_EXPORTED, group="")
def export_features(bundle: Path | None, to: Path, force: bool, **_: Any) -> None:
    """Write the features of BUNDLE, or of a dataset, as other programs read them.

    A dataset's are encoded where they are not yet. Its support is the whole train split, --shots
    images per class of it, or the support set that --support names.
    """
    options = said(RunOptions)
    with stderr().status("loading"):
        from susx_bench.features.convert.give import format_of, read_bundle, write
    format_of(to)  # before anything is encoded
    if bundle is not None:
        if unfit := sorted(name for name in _EXPORTED if is_given(name)):
            raise OptionError(
                f"{RunOptions.declared()[unfit[0]].spelling(unfit[0])} does not go with a bundle: "
                "it is for a dataset."
            )
        content = read_bundle(bundle)
    elif "dataset" in options:
        content = _of_dataset(options)
    else:
        raise OptionError("nothing to export: give a BUNDLE, or --dataset NAME --encoder ENCODER.")
    for path in write(content, to, force=force):
        stdout().print(f"wrote {path}", soft_wrap=True)


def _of_dataset(options: dict[str, Any]) -> Content:
    """The features of a dataset; a support set must be one made from class names."""
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.progress import Reporter
        from susx_bench.runner.given import features_of
        from susx_bench.runner.request import Request

    setting = "name-only" if "support" in options else "few-shot"
    with redirect_stdout(sys.stderr):
        return features_of(
            Request(method=("zero-shot",), **{"setting": setting} | options), Reporter(notes)
        )
