"""Never run code that comes with a model, and never ask the user for permission."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OWN_CODE = (
    "it comes with code of its own, which is never run: use a model whose classes open_clip, "
    "transformers or diffusers has."
)


@contextmanager
def own_code_refused() -> Iterator[None]:
    """Make transformers refuse a model's own code where it would ask on stdin.

    It asks unless it gets ``trust_remote_code=False``. open_clip does not pass that for text
    towers, nor diffusers for the parts of a pipeline.

    Raises:
        ValueError: From the code within, if a model needs its own code; see `is_own_code`.
    """
    from transformers import dynamic_module_utils as dynamic

    before = dynamic.TIME_OUT_REMOTE_CODE
    dynamic.TIME_OUT_REMOTE_CODE = 0  # seconds to wait for an answer; 0 for no question
    try:
        yield
    finally:
        dynamic.TIME_OUT_REMOTE_CODE = before


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and diffusers, and run no code that comes with a model."""
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    logs: list[Any] = [diffusers_log, transformers_log]
    levels = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings(), own_code_refused():
            warnings.simplefilter("ignore")  # their own deprecations
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
            log.enable_progress_bar()


def is_own_code(error: BaseException) -> bool:
    """Whether a library stopped because it was not allowed to run a model's own code."""
    return "trust_remote_code" in str(error)
