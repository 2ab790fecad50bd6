"""Push records to a dataset repository of the Hugging Face hub, and pull them from it.

The repository holds the records as ``records/DATASET/ENCODER/METHOD-<input hash>.json`` with their
predictions beside them, all of them as one table in ``records.parquet``, and a data card. A push
makes one commit for every `BATCH` records. A push that is killed leaves the commits that it made,
and the next push adds the missing ones.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from susx_bench.console import counted
from susx_bench.errors import RecordError
from susx_bench.events import Job, Listener, ignore
from susx_bench.hub import why_offline
from susx_bench.records.frame import table_of
from susx_bench.records.merge import Found, Merged, gather, merge, place_in
from susx_bench.records.paths import read_bytes
from susx_bench.records.public import public_form
from susx_bench.records.record import Record
from susx_bench.records.repository import (
    commit_of,
    errors_in_one_line,
    make_repository,
    parsed_name,
    silence_client,
)
from susx_bench.records.store import predictions_path

BATCH: Final = 1000
"""Records of one commit at most."""
CARD: Final = "README.md"
PARQUET: Final = "records.parquet"
FOLDER: Final = "records"
_TEXT: Final = "json"  # the column of that table with each record's file
START, END = "<!-- susx-bench: records -->", "<!-- susx-bench: end of records -->"
"""Marks around the part of a card that every push rewrites."""

_PLACE = re.compile(rf"{FOLDER}/(?:[A-Za-z0-9_][A-Za-z0-9._-]*/){{2}}[A-Za-z0-9_][A-Za-z0-9._-]*")
_MOST: Final = {".json": 16 << 20, ".safetensors": 256 << 20}
"""Bytes of a file at most, by its kind: a record of 100,000 classes, predictions of 30 million
images."""
_LARGEST: Final = 64 << 30  # bytes of all of them together
_TRIES: Final = 5  # when others commit at the same time

Cards = Callable[[Mapping[str, Record]], tuple[str, str]]
"""Makes a card of records by their places: its head, and the part between the marks."""


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Attributes:
        records: Number of cells in the folder.
        written: Records that were new to the repository.
        completed: Records of the repository that lacked their predictions and have them now.
        commit: The repository's newest commit.
        created: Whether the repository is new.
    """

    records: int
    written: int
    completed: int
    commit: str
    created: bool


def push(
    name: str, folder: Path, card: Cards, *, public: bool = False, listen: Listener = ignore
) -> Pushed:
    """Add the records of a folder, and their predictions, to a repository.

    Before anything is sent, all records are checked against each other and against the
    repository's, by the rule of `susx_bench.records.merge`. Paths in them are shortened, see
    `susx_bench.records.public`.

    Args:
        name: ``ORG/NAME``; created if it does not exist.
        folder: Where to look for records, at any depth.
        card: Makes the data card.
        public: Whether a repository that is created is public.
        listen: Told how many records were sent.

    Raises:
        RecordError: If the name is invalid, a record cannot be believed, two records contradict, a
            record holds something private, or the hub refuses.
    """
    repo, revision = parsed_name(name)
    if revision:
        raise RecordError(f"{name}: a push adds to the main branch; name {repo} alone.")
    if why := why_offline():
        raise RecordError(f"{repo}: a push needs the hub, and {why}.")
    silence_client()
    for _ in range(_TRIES):
        with errors_in_one_line(repo):
            commit = commit_of(repo)
        done = _push_onto(repo, commit, folder, card, public, listen)
        if done is not None:
            return done
    raise RecordError(f"{repo}: others commit to it all the time. Give the same command later.")


def pull(name: str, into: Path) -> tuple[Merged, str]:
    """Merge the records of a repository, and their predictions, into a folder.

    Args:
        name: ``ORG/NAME``, or ``ORG/NAME@REVISION``.
        into: Where they go; may hold records already.

    Returns:
        The result of `susx_bench.records.merge.merge`, and the commit.

    Raises:
        RecordError: If the repository has no records, one cannot be believed, or two contradict.
            Nothing is written then.
        OutputError: If `into` cannot be written.
    """
    repo, revision = parsed_name(name)
    revision = revision or "main"
    silence_client()
    with errors_in_one_line(repo):
        commit = None if why_offline() else commit_of(repo, revision)
        if commit and not _has_records(_files_of(repo, commit)):
            raise RecordError(f"{repo}@{commit} holds no records: no folder {FOLDER}.")
        # By the name that was given, under which the client finds it again without a connection.
        copy = _copy(repo, revision, [f"{FOLDER}/*{kind}" for kind in _MOST]) / FOLDER
    if commit not in (None, copy.parent.name):
        raise RecordError(f"{repo} was changed while it was read. Give the same command again.")
    if not copy.is_dir():
        raise RecordError(f"{repo}@{copy.parent.name} holds no records: no folder {FOLDER}.")
    for path in copy.rglob("*"):
        # Checks also the files that lie in the cache and were not listed.
        if path.is_file() and path.stat().st_size > _MOST.get(path.suffix, 0):
            raise RecordError(f"{path} is too large for a record or its predictions.")
    return merge([copy], into), copy.parent.name


def _files_of(repo: str, commit: str) -> dict[str, str]:
    """The files of a commit with git's hash of each, checked before any is downloaded.

    Raises:
        RecordError: If a file among the records has a name or a size that no record has.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = HfApi().list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
    files = {file.path: file for file in tree if isinstance(file, RepoFile)}
    total = 0
    for path, file in files.items():
        kind, size = Path(path).suffix, file.size
        if not path.startswith(f"{FOLDER}/") or kind not in _MOST:
            continue
        if not _PLACE.fullmatch(path):
            raise RecordError(f"{repo}@{commit}: '{path[:200]}' is no place of a record.")
        if size > _MOST[kind]:
            raise RecordError(
                f"{repo}@{commit}: {path} has {size:,} bytes, at most {_MOST[kind]:,} are taken."
            )
        total += size
    if total > _LARGEST:
        raise RecordError(
            f"{repo}@{commit} has {total:,} bytes of records, at most {_LARGEST:,} are taken."
        )
    return {path: file.blob_id for path, file in files.items()}


def _has_records(files: Iterable[str]) -> bool:
    return any(path.startswith(f"{FOLDER}/") and Path(path).suffix in _MOST for path in files)


def _copy(repo: str, commit: str, patterns: Iterable[str]) -> Path:
    """Download files of a commit into the client's cache; the client checks their hashes."""
    from huggingface_hub import snapshot_download

    downloaded = snapshot_download(
        repo, repo_type="dataset", revision=commit, allow_patterns=[*patterns, CARD]
    )
    return Path(downloaded)


def _read_into(folder: Path, repo: str, commit: str, files: Mapping[str, str]) -> str:
    """Write the records of a commit into a folder, without predictions.

    Most records are read from the repository's table. A record that the table lacks, or holds with
    other content, is downloaded as a file.

    Args:
        folder: An empty folder.
        repo: The repository.
        commit: The commit.
        files: The files of the commit, see `_files_of`.

    Returns:
        The data card; empty if the repository has none.
    """
    texts = _texts(_copy(repo, commit, [PARQUET]) / PARQUET) if PARQUET in files else {}
    places = [path for path in files if path.startswith(f"{FOLDER}/") and path.endswith(".json")]
    alone = [path for path in places if _git_name(texts.get(path, b"")) != files[path]]
    checkout = _copy(repo, commit, alone)
    texts |= {path: read_bytes(checkout / path) for path in alone}
    for path in places:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(texts[path])
    return (checkout / CARD).read_text("utf-8", "replace") if CARD in files else ""


def _texts(table: Path) -> dict[str, bytes]:
    """The record files in a table, by their paths; none if the table is not one of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(table, columns=["path", _TEXT]).to_pydict()
    except pa.ArrowException:
        return {}  # each record is then downloaded alone
    pairs = zip(columns.get("path", []), columns.get(_TEXT, []), strict=False)
    return {place: text.encode() for place, text in pairs if isinstance(text, str)}


def _git_name(content: bytes) -> str:
    """The hash by which git names a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _push_onto(
    repo: str,
    commit: str | None,
    folder: Path,
    card: Cards,
    public: bool,
    listen: Listener,
) -> Pushed | None:
    """Add records to a commit; None if somebody else has committed meanwhile.

    Args:
        repo: The repository.
        commit: Its newest commit; None if the repository does not exist yet.
        folder: See `push`.
        card: See `push`.
        public: See `push`.
        listen: See `push`.
    """
    files: Mapping[str, str] = {}
    copy, text = None, ""
    with TemporaryDirectory() as temporary:
        if commit:
            with errors_in_one_line(repo):
                files = _files_of(repo, commit)
                if CARD in files or _has_records(files):
                    text = _read_into(Path(temporary), repo, commit, files)
                    copy = Path(temporary) / FOLDER
            _check_card(repo, text)
        in_repository, wanted, count = _compare(gather([folder], copy), copy, files)
    if not count:
        raise RecordError(f"no records in {folder}.")
    created = commit is None and bool(wanted)
    written = completed = 0
    with Job(listen, f"pushing to {repo}", "records", len(wanted)) as job:
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            in_repository |= {one.place: one.record for one in batch}
            text = _with_table(text, *card(in_repository))
            with errors_in_one_line(repo):
                commit = _send(
                    repo, commit or make_repository(repo, public), batch, in_repository, text
                )
            if commit is None:
                return None
            written += sum(one.is_new for one in batch)
            completed += sum(not one.is_new for one in batch)
            job.advance(len(batch))
    return Pushed(count, written, completed, commit or "", created)


@dataclass(frozen=True)
class _Wanted:
    """A record to send, or only its predictions."""

    place: str
    source: Path
    record: Record
    is_new: bool


def _compare(
    cells: Mapping[str, list[Found]], copy: Path | None, files: Mapping[str, str]
) -> tuple[dict[str, Record], list[_Wanted], int]:
    """Compare the local records with those of a repository.

    Args:
        cells: All records, local and of the repository, by cell.
        copy: The folder with a copy of the repository's records; None if it has none.
        files: All files of the repository.

    Returns:
        The repository's records by path, the records or predictions it lacks, and the number of
        local cells.
    """
    in_repository: dict[str, Record] = {}
    wanted: list[_Wanted] = []
    count = 0
    for copies in cells.values():
        stored = next((f for f in copies if copy and f.path.is_relative_to(copy)), None)
        local = next((f for f in copies if f is not stored), None)
        count += local is not None
        if stored is not None and copy is not None:
            place = stored.path.relative_to(copy.parent).as_posix()
            in_repository[place] = stored.record
            lacks = predictions_path(Path(place)).as_posix() not in files
            if local and lacks and predictions_path(local.path).exists():
                wanted.append(_Wanted(place, local.path, stored.record, is_new=False))
        elif local is not None:
            shared = public_form(local.record, local.path)
            place = place_in(Path(FOLDER), shared).as_posix()
            wanted.append(_Wanted(place, local.path, shared, is_new=True))
    return in_repository, wanted, count


def _send(
    repo: str, commit: str, batch: Sequence[_Wanted], known: Mapping[str, Record], card: str
) -> str | None:
    """Make one commit on top of another; None if that is no longer the newest."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    files: dict[str, bytes] = {CARD: card.encode(), PARQUET: _parquet(known)}
    for one in batch:
        if one.is_new:
            files[one.place] = one.record.to_json().encode()
        if (predictions := predictions_path(one.source)).exists():
            files[predictions_path(Path(one.place)).as_posix()] = read_bytes(predictions)
    try:
        done = HfApi().create_commit(
            repo,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=f"Add {counted(len(batch), 'record')}",
            repo_type="dataset",
            parent_commit=commit,
        )
    except HfHubHTTPError as error:
        if error.response.status_code in (409, 412):
            return None
        raise
    return str(done.oid)


def _parquet(records: Mapping[str, Record]) -> bytes:
    """Records as the Parquet file of `susx_bench.records.frame.export`, by place, and whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = dict(sorted(records.items()))
    table = table_of(rows.values()).append_column("path", pa.array(list(rows), pa.string()))
    texts = [record.to_json() for record in rows.values()]
    table = table.append_column(_TEXT, pa.array(texts, pa.string()))
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def _check_card(repo: str, text: str) -> None:
    """Check that a card is empty or has the marks of a push; the text around them is kept.

    Raises:
        RecordError: If the card describes something else.
    """
    if text and not (0 <= text.find(START) < text.find(END)):
        raise RecordError(
            f"{repo} holds something else: its {CARD} lacks the marks between which a push writes. "
            f"Name another repository, or add the lines {START} and {END} to it."
        )


def _with_table(text: str, head: str, part: str) -> str:
    """Put a part between the marks of a card; a new card starts with the head."""
    if not text:
        return f"{head}\n{START}\n\n{part}\n\n{END}\n"
    return f"{text[: text.index(START)]}{START}\n\n{part}\n\n{text[text.index(END) :]}"
