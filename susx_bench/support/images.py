"""The images of a finished support set, as the samples of a task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.decode import BadImageError, decode
from susx_bench.data.images import Images
from susx_bench.data.sources.base import Sample
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import SupportError
from susx_bench.features.contents import Contents
from susx_bench.records.files import sha256_json
from susx_bench.support.folder import RECIPE, SupportFolder
from susx_bench.support.manifest import KEPT, some, without_images


def unusable(folder: Path, empty: Sequence[str], classes: int) -> str:
    """The reason why a set with empty classes cannot be used.

    Args:
        folder: The set's folder.
        empty: Names of the classes without an image, at least one.
        classes: Number of its classes.
    """
    return (
        f"{folder} cannot be used: it has no image of {len(empty)} of {classes} classes: "
        f"{some(empty)}. `susx-bench support show {folder}` tells what was tried; build it again "
        "with --force from another source."
    )


class BuiltSupport(Images):
    """The images of a finished support set, for a dataset with the same classes.

    Args:
        folder: The support set's folder.
        spec: The dataset's facts.

    Attributes:
        features: Features instead of images, ``(M, D)`` in the order of the samples, or None.
        encoder: The encoder of such features.
        recipe: The recipe of the set.

    Raises:
        SupportError: If it is not finished, its classes are not the dataset's, or a class has no
            image.
    """

    def __init__(self, folder: Path, spec: DatasetSpec) -> None:
        self._folder = SupportFolder(folder)
        recipe = self._folder.recipe
        if set(recipe.classnames) != set(spec.classnames):
            missing = sorted(set(spec.classnames) - set(recipe.classnames))
            other = sorted(set(recipe.classnames) - set(spec.classnames))
            first = f"it has no '{missing[0]}'" if missing else f"it has '{other[0]}' besides"
            raise SupportError(
                f"{folder} was built for {recipe.dataset} with {len(recipe.classnames)} classes, "
                f"{spec.name} has {len(spec.classnames)}: {first}."
            )
        if not self._folder.finished:
            raise SupportError(
                f"{folder} is not finished. `susx-bench support build --recipe "
                f"{folder / RECIPE}` completes it."
            )
        self.recipe = recipe
        self.name = f"support/{recipe.kind}"
        self.classnames = spec.classnames
        rows = [row for row in self._folder.rows() if row.fate == KEPT]
        label = {name: i for i, name in enumerate(spec.classnames)}
        self.features = self._folder.features
        self.encoder = recipe.retrieval.encoder if recipe.retrieval else ""
        keys = [row.file or row.source for row in rows]
        self._rows = dict(zip(keys, rows, strict=True))
        self._samples = [
            Sample(key, label[recipe.classnames[row.class_id]])
            for key, row in zip(keys, rows, strict=True)
        ]
        if empty := without_images(recipe, rows):
            raise SupportError(unusable(folder, empty, len(recipe.classnames)))

    @property
    def samples(self) -> Sequence[Sample]:
        return self._samples

    def image(self, sample: Sample) -> Image.Image:
        row = self._rows[sample.key]
        try:
            return decode(self._folder.read(row))
        except BadImageError as error:
            raise SupportError(
                f"{self._folder.path / row.file} cannot be read: {error}."
            ) from error

    def check_copies(self, test: DatasetSplit, contents: Contents) -> str:
        """Check that no image is one of the test images, pixel for pixel.

        A build leaves out copies of the test images that it knows. These may be the test images of
        another dataset with the same class names, or of a folder that has changed since.

        Returns:
            A warning if the set has copies and was built without a check; else empty.

        Raises:
            SupportError: If the set has copies although its build checked for them.
        """
        retrieval = self.recipe.retrieval
        if retrieval is None or self.features is not None:
            return ""  # drawn by a model, or no images to compare
        if test.dataset.is_published and retrieval.test_sha256 == test.sha256:
            return ""  # the build has checked these
        test_pixels = set(contents.pixels(test)) - {""}
        mine = contents.pixels(self)
        same = [
            s.key for s, digest in zip(self._samples, mine, strict=True) if digest in test_pixels
        ]
        if not same:
            return ""
        line = (
            f"{self._folder.path} holds {len(same)} of the {len(test)} test images of "
            f"{test.spec.name}, pixel for pixel: {some(same)}. Accuracies "
        )
        if not retrieval.test_sha256:
            return f"{line}are too high. It was built with --no-test-check."
        raise SupportError(
            f"{line}would be too high. Build it for this dataset: `susx-bench support build` "
            "leaves out copies of its test images."
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of the images' content and labels, independent of the place of the folder."""
        return sha256_json(
            [self.name, [[self._rows[key].sha256, label] for key, label in self._samples]]
        )

    @property
    def pinned(self) -> bool:
        return True

    def state(self, samples: Sequence[Sample]) -> Any:
        return [self._rows[sample.key].sha256 for sample in samples]
