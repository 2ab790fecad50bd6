"""Control the Hugging Face hub's client: when it may download, and why a download failed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_withheld = ""
"""The reason why nothing may be downloaded; empty if downloads are allowed."""


@contextmanager
def downloads(
    *, allowed: bool, why: str = "nothing is downloaded without --fetch"
) -> Iterator[None]:
    """Let the client download, or use only its cache.

    Args:
        allowed: Whether it may download. An outer call that forbids it is not overruled.
        why: The reason why it may not, for messages.
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
    """The reason why nothing is downloaded; empty if the client may download."""
    from huggingface_hub import constants

    if _withheld:
        return _withheld
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""


def unwritable_cache(error: BaseException) -> str:
    """The fault of the client's cache if it made a download fail, else empty."""
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
