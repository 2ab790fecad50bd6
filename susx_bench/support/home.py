"""Find the support sets of a dataset, and the one that ``--support`` means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from susx_bench.data.dataset import Dataset
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError
from susx_bench.features.contents import Contents
from susx_bench.features.store import FeatureStore
from susx_bench.records.files import sha256_json
from susx_bench.records.kept import cache_url
from susx_bench.support.folder import RECIPE, SupportFolder

_DIGITS = 10  # characters of a hash in a folder's name


def home(dataset: Dataset) -> str:
    """Name of the folder that holds all support sets of a dataset.

    It is the dataset's name. For the user's own data, other data may have the same name, so a hash
    follows: of the class names, and of the repository or the test images.
    """
    spec = dataset.spec
    if not dataset.own:
        return spec.name
    data = spec.title.partition("@")[0] if spec.title.startswith("hf:") else _test(dataset)
    return f"{spec.name}-{sha256_json([list(spec.classnames), data])[:_DIGITS]}"


def _test(dataset: Dataset) -> str:
    """Hash of all test images, including those that this run leaves out."""
    if "test" not in dataset.splits:
        return ""
    where = replace(dataset.where, limit=None, skip_bad=False)
    whole = Dataset(dataset.spec, where, lambda: dataset.source)
    return Contents(FeatureStore(cache_url())).sha256(whole.split("test"))


def place(name: str, dataset: Dataset, root: Path, *, force: bool = False) -> Path:
    """The folder of the set of this name, which may not exist yet.

    Args:
        name: Name of the set.
        dataset: The dataset of its classes.
        root: Folder of all sets.
        force: Whether the set is built anew. A set of an earlier version is never replaced: it may
            belong to other data.
    """
    folder = root / home(dataset) / name
    before = {path.name: path for path in _of_the_name(dataset, root)}
    if force or SupportFolder(folder).exists or name not in before:
        return folder
    return before[name]


def find(name: str, dataset: Dataset, root: Path, option: str) -> Path:
    """The folder that ``--support NAME|PATH`` means.

    Args:
        name: A path (with a slash), the name of a set built for the dataset, or a kind of which
            the dataset has one set.
        dataset: The dataset of its classes.
        root: Folder of all sets.
        option: The option that gives the set's classes, for the message.

    Raises:
        SupportError: If no set matches, or several do.
    """
    if "/" in name or name.startswith((".", "~")):
        return Path(name).expanduser()
    called, own_folder = dataset.spec.name, root / home(dataset)
    if (own_folder / name).is_dir():
        return own_folder / name
    sets = {path.name: path for path in (*_of_the_name(dataset, root), *_sets(own_folder))}
    if name in sets:
        return sets[name]
    alike = [candidate for candidate in sorted(sets) if candidate.startswith(f"{name}-")]
    if len(alike) == 1:
        return sets[alike[0]]
    if alike:
        raise SupportError(
            f"--support {name}: {called} has {len(alike)} such sets: {', '.join(alike)}. Name one."
        )
    hint = f"It has {', '.join(sorted(sets))}. " if sets else ""
    if dataset.own and (other := _of_other_data(name, dataset, root)):
        hint += f"{other} is of other data called {called}; given as a path it is used as it is. "
    kind = "sus-lc --pool FOLDER" if f"{name}-".startswith("sus-lc-") else "sus-sd"
    raise SupportError(
        f"--support {name}: there is no such support set of {called} in {root}. {hint}"
        f"`susx-bench support build {option} --kind {kind}` builds one; a path to one "
        "has a slash."
    )


def _sets(folder: Path) -> list[Path]:
    """The sets in a folder, by name."""
    return sorted(path for path in folder.glob("*") if (path / RECIPE).is_file())


def _of_the_name(dataset: Dataset, root: Path) -> list[Path]:
    """Sets with the dataset's classes that an earlier version filed under its plain name."""
    spec = dataset.spec
    return [path for path in _sets(root / spec.name) if dataset.own and _fits(path, spec)]


def _of_other_data(name: str, dataset: Dataset, root: Path) -> Path | None:
    """A set of this name or kind that belongs to other data with the same name and classes."""
    spec = dataset.spec

    def others() -> Iterator[Path]:
        for folder in sorted(root.glob("*")):
            if folder.name.startswith(f"{spec.name}-"):
                yield from _sets(folder)

    matches = (path for path in others() if path.name == name or path.name.startswith(f"{name}-"))
    return next((path for path in matches if _fits(path, spec)), None)


def _fits(path: Path, spec: DatasetSpec) -> bool:
    """Whether a set can be read, and has the name and the classes of a dataset."""
    try:
        recipe = SupportFolder(path).recipe
    except SupportError:
        return False
    return (recipe.dataset, recipe.classnames) == (spec.name, spec.classnames)
