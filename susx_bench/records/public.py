"""Make records fit for publication: without the paths of the person who measured them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from susx_bench.errors import RecordError
from susx_bench.records.record import Record

_PATH = re.compile(r"(?P<kind>[a-z][a-z-]*:)?(?:~|\.{0,2}[\\/]|[A-Za-z]:[\\/])")
"""Start of a path, also after a prefix for its kind, as in ``local-dir:FOLDER``."""
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY")


def public_form(record: Record, source: Path) -> Record:
    """Shorten the paths of files and folders in a record to their last parts.

    A record names no host and no user. It holds a path only if the user gave data, an encoder or
    a support set by one; no number depends on it.

    Args:
        record: A record.
        source: Its file, for messages.

    Returns:
        The same record if it names no path, else a changed one with its own checksum.

    Raises:
        RecordError: If another field holds the user's home folder or a token.
    """
    changes = {
        "dataset_given": _last(record.dataset_given),
        "given": {name: _last(value, name) for name, value in record.given.items()},
        "encoder": _last(record.encoder),
        "support": _last(record.support),
        "skipped": [_without_folders(key) for key in record.skipped],
    }
    changed = {name: value for name, value in changes.items() if value != getattr(record, name)}
    public = record.model_copy(update=changed).sealed() if changed else record
    text = public.to_json()
    home = os.path.expanduser("~")  # noqa: PTH111 - a user may have none
    secrets = {"the path of your home folder": home if len(Path(home).parts) > 1 else ""}
    secrets |= {f"the value of {name}": os.environ.get(name, "") for name in _TOKENS}
    for what, secret in secrets.items():
        if secret and re.search(re.escape(secret) + r"(?![\w.-])", text):
            raise RecordError(
                f"{source} holds {what}, which is not for everybody. Measure it again under names "
                "without it, or move it away."
            )
    return public


def _last(name: str, option: str = "") -> str:
    """Shorten a path to its last part: ``./pets`` for ``/home/me/pets``. A name stays."""
    match = _PATH.match(name)
    if name.startswith("hf:") or (match is None and option not in ("split_file", "classnames")):
        return name
    kind = (match and match["kind"]) or ""
    last = re.split(r"[\\/]", name.removeprefix(kind).rstrip("\\/"))[-1]
    return f"{kind}./{last}"


def _without_folders(key: str) -> str:
    """Shorten the key in the ``split/key`` of an image to its last part if it is a whole path."""
    split, _, path = key.partition("/")
    return f"{split}/{_last(path)}" if _PATH.match(path) else key
