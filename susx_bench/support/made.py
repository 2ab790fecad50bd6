"""Build sets of images that a plugin's kind makes, class by class."""

from __future__ import annotations

import itertools
import os

from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.duplicates import Seen, look
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError
from susx_bench.events import Listener
from susx_bench.registry import SUPPORT
from susx_bench.support.build import Built, begun, built_elsewhere, progress, recipe_of, refuse
from susx_bench.support.copies import looked_at, test_split
from susx_bench.support.folder import SupportFolder
from susx_bench.support.kinds import SupportKind, Wanted
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.places import seed_from
from susx_bench.support.recipe import Recipe
from susx_bench.support.request import Request
from susx_bench.support.retrieve import COPY_OF_TEST, suffix_of


def build_images(kind: SupportKind, request: Request, listen: Listener) -> Built:
    """Build a set of the images that a plugin's kind makes.

    Raises:
        OptionError: If an option belongs to another kind.
        SupportError: If an item is no image, or the test images are missing.
    """
    refuse(request, ("preset", "model", "steps", "guidance"), "sus-sd")
    refuse(request, ("pool", "backend", "index", "from_folder", "encoder"), "sus-lc")
    dataset, parent = request.opened, os.getppid()
    test = test_split(dataset) if request.looks_for_copies else None
    recipe = recipe_of(request, dataset.spec, kind.per_class, listen)
    with begun(request, dataset, recipe, listen, lambda: None) as (folder, anew):
        if not request.launch.is_main:
            return built_elsewhere(request, folder, recipe, parent)
        if folder.finished and not anew:
            return Built(folder.path, recipe, folder.rows(), False, request.whose)
        noted: dict[int, list[Row]] = {}
        for row in folder.progress():
            noted.setdefault(row.class_id, []).append(row)
        done = {label: rows for label, rows in noted.items() if all(map(folder.intact, rows))}
        seen = looked_at(test, listen)
        classes = len(recipe.classnames)
        with progress(listen, f"building {recipe.kind}", classes, "classes") as advance:
            for label in range(classes):
                if label not in done:
                    done[label] = _rows(kind, dataset.spec, recipe, label, folder, seen)
                    folder.note(done[label])
                advance(1)
        rows = [row for of_class in done.values() for row in of_class]
        folder.finish(rows)
        return Built(folder.path, recipe, folder.rows(), True, request.whose)


def _rows(
    kind: SupportKind,
    spec: DatasetSpec,
    recipe: Recipe,
    label: int,
    folder: SupportFolder,
    test: Seen,
) -> list[Row]:
    """Write the images of a class, except copies of test images.

    Raises:
        SupportError: If an item of the kind is no image.
    """
    name, texts = recipe.classnames[label], recipe.texts[label]
    seed = seed_from([recipe.kind, recipe.dataset, name, recipe.seed])
    wanted = Wanted(spec, label, name, texts, recipe.per_class, seed)
    package, version = next(iter(SUPPORT.package(recipe.kind).items()), (recipe.kind, ""))
    rows: list[Row] = []
    for number, content in enumerate(itertools.islice(kind.images(wanted), wanted.count)):
        try:
            image = decode(content)
        except BadImageError as error:
            raise SupportError(
                f"support kind '{recipe.kind}' of {SUPPORT.origins(recipe.kind)[0]}: what it gave "
                f"for '{name}' is no image: {error}."
            ) from error
        row = Row(
            class_id=label,
            place=-1,
            prompt=texts[number % len(texts)],
            source=f"{recipe.kind} {label}/{number}",
            fate=COPY_OF_TEST,
            seed=seed,
            model=package,
            revision=version,
        )
        if of := test.copy_of(look(image)):
            rows.append(row.model_copy(update={"of": of}))
            continue
        place = sum(row.fate == KEPT for row in rows)
        file, digest = folder.put(label, place, content, suffix_of(content))
        changes = {"fate": KEPT, "place": place, "file": file, "sha256": digest}
        rows.append(row.model_copy(update=changes))
    return rows
