"""The files of an encoder from the Hugging Face hub, and why they could not be had."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path

from susx_bench.errors import EncoderError
from susx_bench.hub import unwritable_cache, why_offline

CONFIG = "open_clip_config.json"
TOKENIZER = (  # config.json: transformers takes the kind from it where no other file names one
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
        weights: Files that weights can be in. The first that is there is taken.
        beside: Patterns of what is taken besides, with the tokenizer.

    Returns:
        The file of the weights, or the folder it would be in where none were asked for. The last
        part of the folder's name is the commit.

    Raises:
        EncoderError: If they cannot be had.
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
        """For the small files, which are looked at in every run; the weights have a bar."""

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
            # What the Hub once said it has not got in this commit is not asked for again.
            if try_to_load_from_cache(repository, file, revision=commit) is _CACHED_NO_EXIST:
                continue
            try:
                return Path(hf_hub_download(repository, file, revision=commit))
            except EntryNotFoundError as error:
                missing = error
        raise missing
    except Exception as error:  # also of the network libraries below
        place = f"{repository}@{revision}" if revision else repository
        told = hub_advice(repository, weights, error)
        raise EncoderError(f"--encoder {name}: {place}: {told}") from error


def hub_advice(repository: str, weights: Sequence[str], error: Exception) -> str:
    """Why the Hub did not give a file, and what to do about it."""
    from huggingface_hub import constants, errors

    if full := unwritable_cache(error):
        return full
    here, there = f"not in {constants.HF_HUB_CACHE}", constants.ENDPOINT
    advice: dict[type[Exception], str] = {  # the first that fits; some are kinds of later ones
        errors.GatedRepoError: f"access must be granted at {there}/{repository}. Ask for it there, "
        "and set HF_TOKEN to a token that has it.",
        errors.RepositoryNotFoundError: f"{there} has no such repository, or it is private. Check "
        "the name, or set HF_TOKEN.",
        errors.RevisionNotFoundError: f"no such branch, tag or commit. {there}/{repository} lists "
        "them.",
        errors.LocalEntryNotFoundError: f"{here}, and {why_offline()}. To have it before: "
        f"`hf download {repository}` where there is a connection."
        if why_offline()
        else f"{here}, and {there} does not answer. Check the connection, and HF_ENDPOINT where "
        "you set it.",
        errors.EntryNotFoundError: f"it has none of {', '.join(weights)}.",
        Exception: f"{reason(error)} If HF_TOKEN or HF_ENDPOINT is set, check it.",
    }
    return next(told for kind, told in advice.items() if isinstance(error, kind))


def reason(error: BaseException) -> str:
    """An error of a library in one short line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
