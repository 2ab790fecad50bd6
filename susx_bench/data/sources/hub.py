"""Copies on the Hugging Face hub: a pinned commit becomes a local folder, and only when asked."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from susx_bench.data.spec import Hub
from susx_bench.errors import DatasetError


def snapshot(hub: Hub, dataset: str, fetch: str) -> Path:
    """Download a copy at its commit, or find it in the hub's cache.

    Args:
        hub: The copy.
        dataset: Name of the dataset, for messages.
        fetch: How to get it by hand, for messages.

    Raises:
        DatasetError: If the repository, the commit or the licence's consent is missing, or it
            is neither cached nor to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{hub.repo}@{hub.revision[:12]}"
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every retry
    try:
        folder = snapshot_download(
            hub.repo, repo_type="dataset", revision=hub.revision, allow_patterns=list(hub.files)
        )
    except GatedRepoError as error:
        raise DatasetError(
            f"{dataset}: {hub.repo} asks for consent. Accept its terms on the hub and set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise DatasetError(f"{dataset}: {hub.repo} has no commit {hub.revision}.") from error
    except RepositoryNotFoundError as error:
        raise DatasetError(
            f"{dataset}: the hub has no dataset {hub.repo}, or it is private: set HF_TOKEN. {fetch}"
        ) from error
    except LocalEntryNotFoundError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        raise DatasetError(
            f"{dataset}: {what} is not in the hub's cache, and {why}. Run once with a "
            f"connection, or lay the data into --data-root. {fetch}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatasetError(
            f"{dataset}: downloading {what} failed: {reason} What was downloaded is kept; run "
            "again to go on."
        ) from error
    return Path(folder)


def pinned(repo: str, revision: str | None, dataset: str) -> str:
    """The full commit that a branch, a tag or nothing stands for now.

    Raises:
        DatasetError: If the hub cannot say.
    """
    if revision and len(revision) == 40 and all(c in "0123456789abcdef" for c in revision):
        return revision
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        if constants.HF_HUB_OFFLINE:  # the commit it stood for when it was last asked for
            folder = snapshot_download(
                repo, repo_type="dataset", revision=revision, local_files_only=True
            )
            return Path(folder).name
        commit = HfApi().dataset_info(repo, revision=revision).sha
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatasetError(
            f"{dataset}: which commit {repo}@{revision or 'main'} is cannot be found out: {reason} "
            f"Give it in full, as in hf:{repo}@COMMIT."
        ) from error
    assert commit is not None
    return commit


def is_cached(hub: Hub) -> bool:
    """Whether a copy was downloaded whole at its commit; no connection is opened."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub.repo, repo_type="dataset", revision=hub.revision, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return False
    return any(Path(folder).rglob("*.parquet")) or any(Path(folder).rglob("*.tar"))
