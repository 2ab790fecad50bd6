"""Copies on the Hugging Face hub: download a pinned commit into a local folder, on demand."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

from susx_bench.data.sources.base import reason
from susx_bench.data.sources.datafiles import has_tables
from susx_bench.data.spec import Hub
from susx_bench.errors import DatasetError
from susx_bench.hub import unwritable_cache, why_offline

_NAMED = re.compile(
    r"(?P<repo>(?:\w[\w.-]*/)?\w[\w.-]*)(?::(?P<config>[^:@/]+))?(?:@(?P<revision>[\w./-]+))?", re.A
)


def copy_named(name: str) -> Hub:
    """The copy that ``ORG/NAME[:CONFIG][@REVISION]`` names, without facts.

    Raises:
        DatasetError: If the name has another form.
    """
    named = _NAMED.fullmatch(name)
    if named is None:
        raise DatasetError(
            f"'hf:{name}' names no dataset on the hub: write hf:ORG/NAME, hf:ORG/NAME:CONFIG or "
            "hf:ORG/NAME@COMMIT, without the hub's address."
        )
    return Hub(
        repo=named["repo"],
        revision=named["revision"] or "main",
        splits={},
        sizes={},
        protocol="hub-official",
        config=named["config"],
    )


def snapshot(hub: Hub, dataset: str, fetch: str) -> Path:
    """Download a copy at its revision, or find it in the hub's cache.

    Args:
        hub: The copy. A branch is resolved to its commit; without a connection, to its last known
            commit.
        dataset: Name of the dataset, for messages.
        fetch: How to get it by hand, for messages.

    Returns:
        The folder with all the copy's files; its name is the commit.

    Raises:
        DatasetError: If the repository or the commit does not exist, the licence was not accepted,
            or the copy is not cached and cannot be downloaded.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    copy = f"{hub.repo}@{hub.revision[:12]}"
    by_hand = f", or get the data by hand: {fetch}" if fetch else "."
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every retry
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = snapshot_download(
            hub.repo, repo_type="dataset", revision=hub.revision, allow_patterns=list(hub.files)
        )
    except GatedRepoError as error:
        raise DatasetError(
            f"{dataset}: {hub.repo} asks for consent. Accept its terms on the hub and set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise DatasetError(f"{dataset}: {hub.repo} has no revision {hub.revision}.") from error
    except RepositoryNotFoundError as error:
        raise DatasetError(
            f"{dataset}: the hub has no dataset {hub.repo}, or it is private. Set HF_TOKEN{by_hand}"
        ) from error
    except LocalEntryNotFoundError as error:
        if full := unwritable_cache(error):
            raise DatasetError(f"{dataset}: {copy}: {full}") from error
        why = why_offline() or f"{constants.ENDPOINT} cannot be reached"
        raise DatasetError(
            f"{dataset}: {copy} is not in the hub's cache, or not all of it, and {why}. Run once "
            f"with a connection{by_hand}"
        ) from error
    except Exception as error:  # any error of the client and its transport
        if full := unwritable_cache(error):
            raise DatasetError(f"{dataset}: {copy}: {full}") from error
        raise DatasetError(
            f"{dataset}: downloading {copy} failed: {reason(error)} What was downloaded is kept; "
            "run again to go on."
        ) from error
    return Path(folder)


def is_cached(hub: Hub) -> bool:
    """Whether a copy was downloaded whole at its commit; no connection is opened."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub.repo,
            repo_type="dataset",
            revision=hub.revision,
            allow_patterns=list(hub.files),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return False
    return has_tables(Path(folder))
