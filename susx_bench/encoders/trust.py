"""Code that comes with a model is never run, and nobody is asked whether it may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

OWN_CODE = (
    "it comes with code of its own, which is never run: use a model whose classes open_clip, "
    "transformers or diffusers has."
)


@contextmanager
def own_code_refused() -> Iterator[None]:
    """Make transformers refuse a model's own code where it would ask on stdin.

    It asks wherever it is not told ``trust_remote_code=False``, which open_clip does not for text
    towers, nor diffusers for the parts of a pipeline.

    Raises:
        ValueError: Within, where a model's own code would be needed; see `is_own_code`.
    """
    from transformers import dynamic_module_utils as dynamic

    before = dynamic.TIME_OUT_REMOTE_CODE
    dynamic.TIME_OUT_REMOTE_CODE = 0  # seconds to wait for an answer; at 0 nothing is asked
    try:
        yield
    finally:
        dynamic.TIME_OUT_REMOTE_CODE = before


def is_own_code(error: BaseException) -> bool:
    """Whether a library stopped because it was not allowed to run a model's own code."""
    return "trust_remote_code" in str(error)
