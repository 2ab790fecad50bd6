"""The Hugging Face hub's client: when it may download, and why it could not, in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_withheld = ""
"""Why nothing may be downloaded; empty where it may."""


@contextmanager
def downloads(
    *, allowed: bool, why: str = "nothing is downloaded without --fetch"
) -> Iterator[None]:
    """Let the client download, or take what is in its cache and nothing else.

    Args:
        allowed: Whether it may; a caller that forbids it is not overruled.
        why: Why it may not, for messages.
    """
    global _withheld
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, _withheld
    if not allowed and not constants.HF_HUB_OFFLINE:
        _withheld = why
    constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or not allowed
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, _withheld = before


def why_offline() -> str:
    """Why nothing is downloaded; empty where the client may."""
    from huggingface_hub import constants

    if _withheld:
        return _withheld
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""


def unwritable_cache(error: BaseException) -> str:
    """What is wrong with the client's cache if that is why a download failed, else empty."""
    from huggingface_hub import constants

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL_OR_CLOSED:
            return (
                f"the cache of the Hugging Face hub, {constants.HF_HUB_CACHE}, cannot be written: "
                f"{cause.strerror}. Set HF_HOME to another folder, or make room."
            )
        cause = cause.__cause__ or cause.__context__
    return ""


_FULL_OR_CLOSED = {
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip
