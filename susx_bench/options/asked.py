"""The options that request a record's cell, where these are no fields of the record.

Each function takes a record and returns the option's value, or None if the option is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from susx_bench.options.shared import is_bundle

if TYPE_CHECKING:
    from susx_bench.records.record import Record

FEW_VAL = 4
"""Default for the most images per class that ``few-val`` looks at, as in CoOp."""

BUNDLE, METHOD, LIST = "FILE.safetensors", "./FILE.py:CLASS", "SHOTS.json"
"""Placeholders in a printed command for files that a record does not name."""

PACKAGES = ("susx-bench", "torch", "lightning", "open_clip_torch", "safetensors")
"""Packages on which the numbers of every method depend."""


def method_of(record: Record) -> str:
    """The method's name, or `METHOD` for one that was read from a file."""
    # A plugin's method is found by its name; its package is then among the versions.
    from_file = record.method_source and set(record.versions) <= {*PACKAGES, "python"}
    return METHOD if from_file else record.method


def support_of(record: Record) -> str | None:
    """The support set in the name-only setting."""
    named = record.setting == "name-only" and not is_bundle(record) and record.support != "none"
    return record.support if named else None


def views_of(record: Record) -> int | None:
    """Views per support image, of a dataset in the few-shot setting."""
    few = record.setting == "few-shot" and not is_bundle(record)
    return record.views if few and record.views else None


def is_drawn(record: Record) -> bool:
    """Whether shots and a seed say which labelled images are the support."""
    return record.draw not in ("", "file")


def val_shots_of(record: Record) -> int | None:
    """Val images per class of ``few-val``, if they are not the default number."""
    if record.tuned_on != "few-val":
        return None
    per_class, remainder = divmod(record.search.images, record.num_classes)
    default = min(record.shots or FEW_VAL, FEW_VAL) if record.setting == "few-shot" else None
    return None if remainder or per_class == default else per_class


def order_of(record: Record) -> int | None:
    """Seed of the order of the test images, if the method depends on it."""
    return record.order if record.regime == "streaming" or record.batches else None
