"""Download the files of an encoder from the Hugging Face hub, and explain failures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path

from susx_bench.errors import EncoderError
from susx_bench.hub import unwritable_cache, why_offline

CONFIG = "open_clip_config.json"
TOKENIZER = (  # config.json: transformers reads the kind from it if no other file has it
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "*.spm",
)


def download(
    name: str,
    repository: str,
    revision: str | None,
    weights: Sequence[str] = (),
    beside: Sequence[str] = (CONFIG,),
) -> Path:
    """Get configuration, tokenizer and weights from the Hub, or from its cache on this machine.

    Args:
        name: Name of the encoder, for messages.
        repository: ``ORG/NAME``.
        revision: Branch, tag or commit; None for the main branch.
        weights: Files that may hold the weights. The first one that exists is taken.
        beside: Patterns of further files to take, besides the tokenizer.

    Returns:
        The file of the weights, or its folder if `weights` is empty. The last part of the folder's
        name is the commit.

    Raises:
        EncoderError: If the download fails.
    """
    from huggingface_hub import (
        _CACHED_NO_EXIST,
        hf_hub_download,
        snapshot_download,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils.tqdm import tqdm

    class NoBar(tqdm):
        """Shows no bar for the small files, which every run checks; the weights have one."""

        __init__ = partialmethod(tqdm.__init__, disable=True)

    try:
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[*beside, *TOKENIZER],
                tqdm_class=NoBar,
            )
        )
        commit = folder.name
        if not weights:
            return folder
        missing = EntryNotFoundError()
        for file in weights:
            # Do not ask again for a file that this commit is known to lack.
            if try_to_load_from_cache(repository, file, revision=commit) is _CACHED_NO_EXIST:
                continue
            try:
                return Path(hf_hub_download(repository, file, revision=commit))
            except EntryNotFoundError as error:
                missing = error
        raise missing
    except Exception as error:  # including errors of the network libraries below
        place = f"{repository}@{revision}" if revision else repository
        advice = hub_advice(repository, weights, error)
        raise EncoderError(f"--encoder {name}: {place}: {advice}") from error


def hub_advice(repository: str, weights: Sequence[str], error: Exception) -> str:
    """Explain why a download from the Hub failed, and what to do about it."""
    from huggingface_hub import constants, errors

    if full := unwritable_cache(error):
        return full
    absent, endpoint = f"not in {constants.HF_HUB_CACHE}", constants.ENDPOINT
    advice: dict[
        type[Exception], str
    ] = {  # the first match counts; some are subclasses of later ones
        errors.GatedRepoError: f"access must be granted at {endpoint}/{repository}. Ask for it "
        "there, and set HF_TOKEN to a token that has it.",
        errors.RepositoryNotFoundError: f"{endpoint} has no such repository, or it is private. "
        "Check the name, or set HF_TOKEN.",
        errors.RevisionNotFoundError: f"no such branch, tag or commit. {endpoint}/{repository} "
        "lists them.",
        errors.LocalEntryNotFoundError: f"{absent}, and {why_offline()}. To have it before: "
        f"`hf download {repository}` where there is a connection."
        if why_offline()
        else f"{absent}, and {endpoint} does not answer. Check the connection, and HF_ENDPOINT "
        "where you set it.",
        errors.EntryNotFoundError: f"it has none of {', '.join(weights)}.",
        Exception: f"{reason(error)} If HF_TOKEN or HF_ENDPOINT is set, check it.",
    }
    return next(line for kind, line in advice.items() if isinstance(error, kind))


def reason(error: BaseException) -> str:
    """An error of a library in one short line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
