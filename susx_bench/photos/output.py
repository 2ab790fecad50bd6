"""Write the results of a classification: tables, the classifier, and copies by class."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from susx_bench.data.sources.base import Sample
from susx_bench.errors import OptionError
from susx_bench.photos.classified import COLUMNS, GIVEN, UNSURE, Classified
from susx_bench.photos.page.build import Gallery, Item, write_page
from susx_bench.photos.photographs import Photo, Photos
from susx_bench.photos.tables import as_csv, as_parquet, unescaped
from susx_bench.records.files import make_folder, unwritable, write_atomic
from susx_bench.records.paths import read_bytes
from susx_bench.records.store import folder_name
from susx_bench.records.text import read_json, read_text

MARK = "classify.json"
CSV, PARQUET, SKIPPED = "predictions.csv", "predictions.parquet", "skipped.csv"
CLASSIFIER = "classifier.safetensors"
COPIES = "copies.csv"
_KIND = "susx-bench classify"


def begin(folder: Path) -> None:
    """Make the folder of a classification, or reuse that of an earlier one.

    Raises:
        OptionError: If it holds something else.
        OutputError: If it cannot be written.
    """
    check(folder)
    make_folder(folder)
    if not (folder / MARK).exists():
        _write_mark(folder, {"finished": False})


def check(folder: Path) -> None:
    """Check that a folder is empty, or holds an earlier classification.

    Raises:
        OptionError: If it holds something else.
    """
    if not folder.exists():
        return
    try:
        existing = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise OptionError(f"--out {folder}: {error.strerror}.") from error
    if not existing:
        return
    try:
        mark = read_json(folder / MARK)
    except (OSError, ValueError):
        mark = None
    if not isinstance(mark, dict) or mark.get("made_by") != _KIND:
        raise OptionError(
            f"--out {folder} holds something else ({', '.join(existing[:3])}"
            f"{', ...' if len(existing) > 3 else ''}), and no earlier result of classify. Give an "
            "empty folder or a new one."
        )


def write(answers: Classified, folder: Path, reject: float = 0.0) -> None:
    """Write the tables and the classifier; replace those of an earlier classification.

    Raises:
        OptionError: If the folder holds something else.
        OutputError: If it cannot be written.
    """
    begin(folder)
    write_atomic(folder / CSV, as_csv(COLUMNS, answers.rows()))
    write_atomic(folder / PARQUET, as_parquet(answers.table))
    write_atomic(folder / SKIPPED, as_csv(("file", "reason"), answers.skipped))
    answers.classifier.save(folder / CLASSIFIER)
    classifier = answers.classifier
    _write_mark(
        folder,
        {
            "finished": True,
            "photographs": len(answers.files),
            "skipped": len(answers.skipped),
            "statuses": dict(Counter(answers.statuses)),
            "method": classifier.asked,
            "why": answers.why,
            "tuned_on": classifier.tuned_on,
            "hparams": dict(classifier.hparams),
            "encoder": classifier.encoder,
            "prompts": classifier.prompts,
            "classes": list(classifier.classnames),
            "temperature": classifier.temperature,
            "calibration": asdict(classifier.calibration) if classifier.calibration else None,
            "reject": reject,
        },
    )


def write_gallery(
    answers: Classified,
    folder: Path,
    again: str,
    reject: float = 0.0,
    advance: Callable[[int], object] = lambda _: None,
) -> Path:
    """Write a page on which a person looks at the answers and corrects them.

    Args:
        answers: The answers.
        folder: The folder of the tables.
        again: The command that classifies again with the labels that the page saves.
        reject: Probability below which a photograph is unsure.
        advance: Called with the number of photographs just done.

    Returns:
        The page.

    Raises:
        OptionError: If there are only features and no photographs.
        OutputError: If the folder cannot be written.
    """
    if answers.photos is None:
        raise OptionError("--page needs photographs, and a bundle has only features.")
    begin(folder)
    items = _items(answers, answers.photos)
    classifier = answers.classifier
    why = f" ({answers.why})" if answers.why else ""
    gallery = Gallery(
        title=f"{len(items):,} photographs of {len(classifier.classnames)} classes",
        facts=(
            f"{classifier.asked}{why} · {classifier.encoder} · prompts {classifier.prompts}",
            answers.calibration,
            *(
                [f"{len(answers.skipped):,} could not be read, see {SKIPPED}"]
                * bool(answers.skipped)
            ),
        ),
        classnames=classifier.classnames,
        items=items,
        reject=reject,
        again=again,
    )
    samples = [Sample(item.name, 0) for item in items]
    return write_page(gallery, answers.photos, samples, folder, advance)


def _items(answers: Classified, photos: Photos) -> list[Item]:
    """The answers as items of a page, in their order."""
    items = []
    for file, label, second, (p, q, _), status in zip(
        answers.files,
        answers.labels.tolist(),
        answers.seconds.tolist(),
        answers.probabilities.tolist(),
        answers.statuses,
        strict=True,
    ):
        photo = photos.photo(file)
        is_predicted = status != GIVEN
        items.append(
            Item(
                name=file,
                label=label,
                probability=p if is_predicted else None,
                second=second,
                second_probability=q if is_predicted else None,
                status=status,
                path=photo.path if photo else None,
            )
        )
    return items


def _write_mark(folder: Path, says: dict[str, Any]) -> None:
    whole = {"made_by": _KIND, "version": version("susx-bench")} | says
    write_atomic(folder / MARK, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())


@dataclass(frozen=True)
class Copied:
    """Result of sorting photographs into folders.

    Attributes:
        made: Number of new copies or links.
        kept: Number of copies that existed already.
        renamed: Number of copies with another name, because their own was taken.
        left: Copies of an earlier run whose photograph has another class now.
    """

    made: int
    kept: int
    renamed: int
    left: tuple[str, ...]


def copy_to(answers: Classified, folder: Path, *, link: bool = False) -> Copied:
    """Copy every photograph into a folder of its class, or into ``unsure``.

    Nothing is moved, overwritten or removed: if another file has the name, a number is added.
    ``copies.csv`` in the folder lists the copies, so that a second run adds only new ones.

    Args:
        answers: The answers; their photographs are files or in tables.
        folder: The folder of the class folders.
        link: Whether to make symbolic links instead of copies, for photographs that are files.

    Raises:
        OptionError: If there are only features.
        OutputError: If the folder cannot be written.
    """
    if answers.photos is None:
        raise OptionError("--copy-to needs photographs, and a bundle has only features.")
    make_folder(folder)
    names = _folder_names(answers.classifier.classnames)
    before = _noted(folder)
    noted: dict[str, str] = {}
    used: set[str] = set()
    copied = kept = renamed = 0
    for file, label, status in zip(
        answers.files, answers.labels.tolist(), answers.statuses, strict=True
    ):
        photo = answers.photos.photo(file)
        assert photo is not None
        place = folder / ("unsure" if status == UNSURE else names[label])
        wanted = _file_name(photo)
        for name in _numbered(wanted):
            if f"{place.name}/{name}".casefold() in used:
                continue
            exists = os.path.lexists(place / name)
            if not exists or _is(photo, place / name):
                break
        used.add(f"{place.name}/{name}".casefold())
        noted[file] = f"{place.name}/{name}"
        if exists:
            kept += 1
            continue
        _copy(photo, place / name, link=link)
        copied += 1
        renamed += name != wanted
    lines = sorted({**before, **noted}.items())
    write_atomic(folder / COPIES, as_csv(("file", "copy"), lines))
    left = tuple(
        copy
        for file, copy in before.items()
        if file in noted and noted[file] != copy and (folder / copy).exists()
    )
    return Copied(copied, kept, renamed, left)


def _noted(folder: Path) -> dict[str, str]:
    """Earlier copies in a folder: the photograph's name, and the copy's."""
    try:
        rows = list(csv.reader(read_text(folder / COPIES).splitlines()))
    except (OSError, ValueError, csv.Error):
        return {}
    return {unescaped(row[0]): unescaped(row[1]) for row in rows[1:] if len(row) == 2}


def _folder_names(classnames: Sequence[str]) -> list[str]:
    """A folder name per class: distinct on any file system, and none ``unsure``."""
    taken, names = {"unsure", COPIES}, []
    for name in classnames:
        names.append(next(n for n in _numbered(_readable(name)) if n.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _readable(name: str) -> str:
    """A class name as a folder name: characters that file systems refuse become dashes."""
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "-" for c in name)
    plain = plain.strip(" .")[:80]
    return plain or folder_name(name)


def _file_name(photo: Photo) -> str:
    if photo.path is not None:
        return photo.path.name
    content = photo.read() or b""
    ending = next((e for start, e in _STARTS if content.startswith(start)), ".img")
    return f"{folder_name(photo.name)}{'' if photo.name.lower().endswith(ending) else ending}"


_STARTS = (
    *((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"RIFF", ".webp")),
    *((b"BM", ".bmp"), (b"II*\0", ".tif"), (b"MM\0*", ".tif")),
)


def _numbered(wanted: str) -> Iterator[str]:
    """A name, then numbered variants: ``cat.jpg``, ``cat-2.jpg``, ``cat-3.jpg``, ..."""
    stem, ending = os.path.splitext(wanted)  # noqa: PTH122 - of a name, not of a path
    yield wanted
    for number in itertools.count(2):
        yield f"{stem}-{number}{ending}"


def _is(photo: Photo, path: Path) -> bool:
    """Whether a file or link is a copy of a photograph: the same bytes."""
    try:
        if path.is_symlink():
            return photo.path is not None and path.resolve() == photo.path.resolve()
        if photo.path is not None and photo.path.stat().st_size != path.stat().st_size:
            return False
        return read_bytes(path) == photo.read()
    except OSError:
        return False


def _copy(photo: Photo, target: Path, *, link: bool) -> None:
    make_folder(target.parent)
    temporary = target.with_name(f".{uuid.uuid4().hex}.unfinished")
    try:
        if photo.path is None:
            write_atomic(target, photo.read() or b"")
        elif link:
            target.symlink_to(photo.path.resolve())
        else:
            shutil.copy2(photo.path, temporary)
            temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(target, error) from error
