"""``susx-bench export``: a linear classifier as weights and a bias, for use elsewhere."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from susx_bench.cli.shared import named_inputs, names_inputs
from susx_bench.console import counted, stderr, stdout
from susx_bench.errors import OptionError
from susx_bench.options import ANY_PATH, FILE_PATH


@click.command(
    epilog="""\b
Try:
  susx-bench export results/digits/demo/gda-HASH.json --to head.safetensors
  susx-bench export RECORD.json --features FILE.safetensors --to head.safetensors
  susx-bench export answers/classifier.safetensors --to head.onnx
  susx-bench export answers/classifier.safetensors --to whole.onnx --tower"""
)
@click.argument("classifier", type=ANY_PATH, metavar="RECORD|CLASSIFIER")
@click.option("--to", type=FILE_PATH, required=True, help="FILE.safetensors or FILE.onnx.")
@click.option(
    "--tower", is_flag=True, help="Put the encoder's image tower before the head, in FILE.onnx."
)
@names_inputs
def export(classifier: Path, to: Path, tower: bool, **inputs: Any) -> None:
    """Write the weights and bias of a method: of a record, or of what classify has fitted.

    Only methods that are linear in the image's feature have them. A record's method is fitted again
    on the inputs that you name, as `records verify` does, and must answer as the record says.
    """
    if classifier.suffix not in (".json", ".safetensors"):
        raise OptionError(
            f"{classifier} is neither a record (RECORD.json) nor what classify has fitted "
            "(classifier.safetensors)."
        )
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.photos.head import export as of_classifier
        from susx_bench.photos.head import export_record
        from susx_bench.progress import Reporter

    named = named_inputs(inputs)
    if classifier.suffix == ".safetensors":
        head, agreement = of_classifier(classifier, to, tower=tower), ""
    else:
        with redirect_stdout(sys.stderr), notes.status(f"fitting {classifier.name}"):
            head, differ, images = export_record(
                classifier, to, named, Reporter(notes), tower=tower
            )
        equal = f"{images - differ:,} of {counted(images, 'test image')}"
        agreement = f", the record's answer on {equal}"
    classes, width = head.linear.weights.shape
    stdout().print(
        f"wrote {to}: {head.method}, {counted(classes, 'class')}, width {width}{agreement}",
        soft_wrap=True,
    )
    if head.open_clip is None and not tower:
        notes.print(
            f"open_clip cannot load the encoder '{head.encoder}' by its name: features of it have "
            "to come from elsewhere",
            style="yellow",
        )
