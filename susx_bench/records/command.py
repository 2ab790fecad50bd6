"""The command that measures a cell again, from its record alone."""

from __future__ import annotations

import shlex
from typing import Any

from susx_bench.records.record import Record

BUNDLE, METHOD, SPLIT, SHOTS = "FILE.safetensors", "./FILE.py:CLASS", "SPLIT.json", "SHOTS.json"
"""What stands for a file that a record does not name."""

OWN = (".", "/", "~", "hf:")
"""What the name of a folder or a repository starts with, instead of a dataset's."""

FEW_VAL = 4
"""Most images a class that ``few-val`` looks at unless told otherwise, as in CoOp."""

PACKAGES = ("susx-bench", "torch", "lightning", "open_clip_torch", "safetensors")
"""What the numbers depend on, whatever the method."""


def options(record: Record) -> dict[str, Any]:
    """The options of ``susx-bench run`` that ask for a record's cell, by their Python names.

    A record does not say where files lie: a feature bundle, a method's file, a split file or a
    list of shots are the placeholders above.
    """
    bundle = record.protocol == "bundle"
    # A plugin's method is found by its name; its package is then among the versions.
    from_file = record.method_source and set(record.versions) <= {*PACKAGES, "python"}
    asked: dict[str, Any] = {
        "method": METHOD if from_file else record.method,
        "setting": record.setting,
    }
    if bundle:
        asked["features"] = BUNDLE
    asked |= {"dataset": record.dataset_given or record.dataset, "encoder": record.encoder}
    if bundle:
        asked["logit_scale"] = record.logit_scale
    else:
        asked["prompts"] = record.prompts
        if record.precision != "fp32":
            asked["precision"] = record.precision
        if record.protocol == "custom" and not asked["dataset"].startswith(OWN):
            asked["split_file"] = SPLIT  # other data has its own split, if none is given
        if record.skipped:
            asked["on_bad_image"] = "skip"
        if record.setting == "few-shot" and record.views:
            asked["views"] = record.views
        if record.setting == "name-only" and record.support != "none":
            asked["support"] = record.support
    if record.draw == "file":
        asked["shots_file"] = SHOTS
    elif record.draw:
        asked |= {"shots": record.shots, "seed": record.seed}
        if record.draw != "balanced":
            asked["draw"] = record.draw
    asked["tune"] = record.tuned_on
    if record.tuned_on == "few-val":
        each, rest = divmod(record.search.images, record.num_classes)
        if not rest and each != min(record.shots or FEW_VAL, FEW_VAL):
            asked["val_shots"] = each
    if record.tuned_on == "test":
        asked["allow_test_tuning"] = True
    if record.regime == "streaming" or record.batches:
        asked["order"] = record.order
    if record.batches:
        asked["batches"] = record.batches
    if record.official:
        asked["official"] = True
    return asked


def command(record: Record) -> str:
    """The command line that measures a record's cell again."""
    return command_line(options(record))


def command_line(asked: dict[str, Any]) -> str:
    """``susx-bench run`` with these options, quoted for a shell."""
    words = ["susx-bench", "run"]
    for name, value in asked.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return shlex.join(words)
