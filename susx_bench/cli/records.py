"""``susx-bench records``: verify, show, merge, export, publish and prune records."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import named_inputs, names_inputs, quiet_option
from susx_bench.console import counted, stderr, stdout
from susx_bench.errors import BenchError, CheckError, RecordError
from susx_bench.options import ANY_PATH, FILE_PATH, FOLDER_PATH, NAME
from susx_bench.options.commands import Group

if TYPE_CHECKING:
    from susx_bench.records.exchange import Pushed
    from susx_bench.records.merge import Merged


@click.group(cls=Group)
def records() -> None:
    """Doubt records, and join those of several machines."""


@records.command(
    epilog="""\b
Try:
  susx-bench records verify results/digits/demo
  susx-bench records verify RECORD.json --features FILE.safetensors"""
)
@click.argument("record", type=ANY_PATH, nargs=-1, required=True)
@names_inputs
@quiet_option()
def verify(record: tuple[Path, ...], **inputs: Any) -> None:
    """Measure RECORDs, files or folders, again and compare every prediction.

    A record is data: the files, folders and repositories that it names are read if you name them
    too. Nothing is written. Of several records those that can be are measured, and what the
    others need is listed. Exit 3 where an image has another answer now, 2 where the inputs of a
    record cannot be found again.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.progress import Reporter
        from susx_bench.runner.tasks import Opened
        from susx_bench.runner.verify import fault_of, records_in, unmeasured_of
        from susx_bench.runner.verify import verify as measure_again

    named = named_inputs(inputs)
    opened, verdicts = Opened(), []
    errors: list[BenchError] = []
    paths = records_in(record)
    for path in paths:
        try:
            with redirect_stdout(sys.stderr), notes.status(f"measuring {path.name}"):
                verdict = measure_again(path, named, Reporter(notes), opened)
        except BenchError as error:
            if len(paths) == 1:
                raise
            errors.append(error)
            stdout().print(f"{error}", soft_wrap=True)
            continue
        verdicts.append(verdict)
        differ, images = verdict.differ, verdict.images
        outcome = f"{differ} of {images} images differ" if differ else "same"
        stdout().print(f"{path}: {outcome}", soft_wrap=True)
    unmeasured = unmeasured_of(errors, len(paths))
    if fault := fault_of(verdicts):
        raise CheckError(f"{fault} {unmeasured}".strip())
    if unmeasured:
        raise RecordError(unmeasured)


@records.command(
    "show",
    epilog="""\b
Try:
  susx-bench records show results/digits/demo/RECORD.json --out mistakes""",
)
@click.argument("record", type=ANY_PATH)
@click.option("--out", type=FOLDER_PATH, required=True, help="Folder of the page.")
@names_inputs
def show_record(record: Path, out: Path, **given: Any) -> None:
    """Make a page of a RECORD's test images: the surest mistakes first, or by pair of classes.

    The method is fitted again, and every answer compared with the record's.
    """
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.photos.output import check
        from susx_bench.photos.recorded import show

    check(out)
    with redirect_stdout(sys.stderr), notes.status(f"measuring {record.name}"):
        page = show(record, named_inputs(given), out)
    stdout().print(f"look at {page} in a browser", soft_wrap=True)


@records.command(
    "merge",
    epilog="""\b
Try:
  susx-bench records merge machine-1 machine-2 --into leaderboards/records/few-shot""",
)
@click.argument("folder", type=FOLDER_PATH, nargs=-1, required=True)
@click.option(
    "--into",
    type=FOLDER_PATH,
    required=True,
    help="Where they go; what is there already stays.",
)
def merge_records(folder: tuple[Path, ...], into: Path) -> None:
    """Join the records in FOLDERs; none is copied where one is damaged or two contradict."""
    from susx_bench.records.merge import merge

    merged = merge(folder, into)
    folders = counted(len(folder), "folder")
    stdout().print(f"merged {folders} into {into}: {_news(merged)}", soft_wrap=True)


@records.command(
    "export",
    epilog="""\b
Try:
  susx-bench records export results --parquet records.parquet""",
)
@click.argument("folder", type=FOLDER_PATH, nargs=-1, required=True)
@click.option("--parquet", type=FILE_PATH, required=True, help="The file to write.")
def export_records(folder: tuple[Path, ...], parquet: Path) -> None:
    """Write the records in FOLDERs into one Parquet file, one row per record.

    Values per image and per class are left out.
    """
    from susx_bench.records.frame import export

    count = export(folder, parquet)
    stdout().print(f"wrote {counted(count, 'record')} to {parquet}", soft_wrap=True)


@records.command(
    "push",
    epilog="""\b
Try:
  susx-bench records push ORG/NAME --from results""",
)
@click.argument("repository", type=NAME)
@click.option(
    "--from",
    "folder",
    type=FOLDER_PATH,
    default="results",
    show_default=True,
    help="Folder of the records.",
)
@click.option("--public", is_flag=True, help="Let everybody see a repository that is new.")
def push_records(repository: str, folder: Path, public: bool) -> None:
    """Add records and their predictions to a dataset REPOSITORY on the Hugging Face hub.

    Paths of yours in them are shortened to their last part. Set HF_TOKEN to a token that may write.
    A repository that is not there is made, for you alone.
    """
    notes = stderr()
    with notes.status("checking"):
        from susx_bench.leaderboard.card import card_of
        from susx_bench.progress import Reporter
        from susx_bench.records.exchange import push

    pushed = push(repository, folder, card_of, public=public, listen=Reporter(notes))
    addition = ", which is new" if pushed.created else ""
    if not pushed.written and not pushed.completed:
        line = f"{repository} has {_all(pushed.records)} of {folder}: nothing to do"
    else:
        line = f"pushed {_news(pushed)} of {folder} to {repository}{addition}"
    stdout().print(f"{line} (commit {pushed.commit})", soft_wrap=True)


@records.command(
    "pull",
    epilog="""\b
Try:
  susx-bench records pull ORG/NAME --to results
  susx-bench records pull ORG/NAME@COMMIT --to results""",
)
@click.argument("repository", type=NAME)
@click.option(
    "--to",
    type=FOLDER_PATH,
    default="results",
    show_default=True,
    help="Folder that they come into; what is there already stays.",
)
def pull_records(repository: str, to: Path) -> None:
    """Merge the records of a dataset REPOSITORY on the Hugging Face hub into a folder.

    None is copied where one is damaged or two contradict.
    """
    with stderr().status("downloading"):
        from susx_bench.records.exchange import pull

        merged, commit = pull(repository, to)
    repo = repository.partition("@")[0]
    if not merged.written and not merged.completed:
        line = f"{to} has all records of {repo}@{commit}: nothing to do"
    else:
        line = f"pulled {_news(merged)} of {repo}@{commit} into {to}"
    stdout().print(line, soft_wrap=True)


def _news(done: Merged | Pushed) -> str:
    """Count the new records, the existing ones, and those that got their predictions."""
    existing = done.records - done.written
    line = f"{counted(done.written, 'new record')}, {existing} there"
    return line + (
        f", {done.completed} of them now with their predictions" if done.completed else ""
    )


def _all(records: int) -> str:
    return "the one record" if records == 1 else f"all {records:,} records"


@records.command(
    "prune",
    epilog="""\b
Try:
  susx-bench records prune leaderboards/records/few-shot --dry-run""",
)
@click.argument("folder", type=FOLDER_PATH, nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
def prune_records(folder: tuple[Path, ...], dry_run: bool) -> None:
    """Remove the records in FOLDERs that no table shows, because newer ones replace them.

    Those of an older source or version of a method, of prompts or support sets that were made anew,
    and copies; predictions and pictures beside them go too.
    """
    from susx_bench.records.prune import prune

    replaced, left = prune(list(folder), dry_run=dry_run)
    console = stdout()
    verb = "would remove" if dry_run else "removed"
    for group in replaced:
        console.print(group.line, soft_wrap=True)
        for path in group.paths:
            console.print(f"  {verb} {path}", soft_wrap=True)
    gone = counted(sum(len(group.paths) for group in replaced), "record")
    console.print(f"{verb} {gone}, {left:,} left")
