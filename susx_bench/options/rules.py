"""Refuse options of a run that contradict each other, whatever the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from susx_bench.errors import OptionError, UnknownNameError
from susx_bench.options.batches import ALL, Batches
from susx_bench.options.recorded import Tuning

if TYPE_CHECKING:
    from susx_bench.options.run import RunOptions


def check(asked: RunOptions) -> None:
    """Refuse options that do not fit each other.

    Raises:
        OptionError: If two options contradict each other.
        UnknownNameError: If there is no such tuning.
    """
    _check_tuning(asked)
    _check_support(asked)
    if asked.features:
        _check_bundle(asked)
    elif asked.logit_scale is not None:
        raise OptionError("--logit-scale goes with --features only.")
    if asked.unknown:
        _check_unknown(asked)
    for batches in asked.batches or ():
        if batches != ALL:
            Batches.read(batches)


def _check_tuning(asked: RunOptions) -> None:
    tunes = asked.tune or ()
    for tune in tunes:
        if tune not in get_args(Tuning):
            raise UnknownNameError("tuning", tune, get_args(Tuning))
    if "test" in tunes and not asked.allow_test_tuning:
        raise OptionError(
            "--tune test chooses on the test labels, which makes its accuracy an upper bound "
            "and no result. Add --allow-test-tuning if that is what you want."
        )
    if "few-val" in tunes and asked.setting != "few-shot" and not asked.val_shots:
        raise OptionError("--tune few-val in the name-only setting needs --val-shots.")
    if asked.val_shots and "few-val" not in tunes:
        raise OptionError("--val-shots goes with --tune few-val only.")


def _check_support(asked: RunOptions) -> None:
    if asked.shots_file and (asked.shots or asked.seed or asked.draw != "balanced"):
        raise OptionError("--shots-file says which images: not with --shots, --seed or --draw.")
    if asked.shots_file and asked.setting != "few-shot":
        raise OptionError("--shots-file goes with --setting few-shot only.")
    if asked.support and asked.features:
        raise OptionError("--support does not go with --features: the bundle has its own support.")
    if asked.support and asked.setting == "few-shot":
        raise OptionError(
            "--support goes with --setting name-only; in few-shot the support is drawn from "
            "the train split."
        )


def _check_unknown(asked: RunOptions) -> None:
    if asked.support:
        raise OptionError(
            "--support does not go with --unknown: the set was built for all classes."
        )
    if "test" in (asked.tune or ()) or any(batches != ALL for batches in asked.batches or ()):
        option = "--tune test" if "test" in (asked.tune or ()) else "--batches"
        raise OptionError(
            f"{option} does not go with --unknown: it looks at test labels, which unknown "
            "images have none of."
        )


def _check_bundle(asked: RunOptions) -> None:
    if "prompts" in asked.model_fields_set:
        raise OptionError("--prompts does not go with --features: a bundle has its text.")
    for name in ("views", "split_file", "image_column", "label_column", "prompts_dir"):
        if getattr(asked, name) is not None:
            flag = asked.declared()[name].spelling(name)
            raise OptionError(f"{flag} does not go with --features.")
    if asked.dataset and len(asked.dataset) > 1:
        raise OptionError(f"--features is one dataset, --dataset names {len(asked.dataset)}.")
