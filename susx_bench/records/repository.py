"""A dataset repository of the Hugging Face hub: name, newest commit, and errors in one line."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from susx_bench.errors import RecordError
from susx_bench.hub import unwritable_cache, why_offline

_NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?", re.A)


def parsed_name(name: str) -> tuple[str, str | None]:
    """The repository and the revision of ``ORG/NAME[@REVISION]``.

    Raises:
        RecordError: If the name is of another form.
    """
    match = _NAME.fullmatch(name)
    if match is None or ".." in name:
        raise RecordError(
            f"'{name[:100]}' names no repository: write ORG/NAME, without the hub's address."
        )
    return match["repo"], match["revision"]


def silence_client() -> None:
    """Silence the client but for bars on a terminal: a failure becomes one error of ours."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every retry
    if not sys.stderr.isatty():
        disable_progress_bars()


def commit_of(repo: str, revision: str | None = None) -> str | None:
    """The newest commit; None if no revision was named and the repository does not exist."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = HfApi().repo_info(repo, repo_type="dataset", revision=revision or "main")
    except RepositoryNotFoundError as error:
        if revision or isinstance(error, GatedRepoError):
            raise
        return None
    return str(info.sha)


def make_repository(repo: str, public: bool) -> str:
    """Make a repository; its first commit."""
    from huggingface_hub import HfApi

    HfApi().create_repo(repo, repo_type="dataset", private=not public)
    return commit_of(repo, "main") or ""


@contextmanager
def errors_in_one_line(repo: str) -> Iterator[None]:
    """Turn the exceptions of the client and its transport into one-line errors."""
    from huggingface_hub import constants, errors

    try:
        yield
    except RecordError:
        raise
    except errors.GatedRepoError as error:
        raise RecordError(
            f"{repo} asks for consent. Accept its terms on the hub and set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise RecordError(f"{repo} has no such branch, tag or commit.") from error
    except errors.RepositoryNotFoundError as error:
        raise RecordError(
            f"the hub has no dataset {repo}, or it is private. Check the name, or set HF_TOKEN."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        why = why_offline() or f"{constants.ENDPOINT} cannot be reached"
        reason = unwritable_cache(error) or (
            f"not in the hub's cache, or not all of it, and {why}. Run once with a connection."
        )
        raise RecordError(f"{repo}: {reason}") from error
    except Exception as error:
        raise RecordError(f"{repo}: {_reason(error)}") from error


def _reason(error: Any) -> str:
    """The reason of a failed request to the hub, in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    if full := unwritable_cache(error):
        return full
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if status in (401, 403):
        return "the hub refuses. Set HF_TOKEN to a token that may write there."
    summary = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
    return f"{summary} What is done is kept; give the same command again."
