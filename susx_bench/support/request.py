"""The options of a support set to build, and what follows from them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import Dataset
from susx_bench.data.named import names_alone, read_classes
from susx_bench.features.placed import Placed
from susx_bench.options.support import SupportOptions
from susx_bench.registry import DATASETS
from susx_bench.support.pipelines import DEMO
from susx_bench.support.recipe import Recipe

SHARED = ("dataset", "kind", "prompts", "per_class", "seed")


class Request(Placed, SupportOptions):
    """The options of ``support build``, with the launch and the places of images that follow.

    Attributes:
        expected: Recipe that the set must have; None for any.
    """

    expected: Recipe | None = None

    @property
    def opened(self) -> Dataset:
        """The dataset of the set's classes; without images if only names were given.

        Raises:
            BenchError: If there is no such dataset, or the names are not valid.
        """
        if self.dataset is None:
            names = self.expected.classnames if self.expected else read_classes(self.classes or "")
            return names_alone(names)
        return open_dataset(self.dataset, self.where)

    @property
    def whose(self) -> str:
        """The option that gives the set's classes, as on the command line."""
        if self.dataset is None:
            return f"--classes {shlex.quote(self.classes or '')}"
        return f"--dataset {shlex.quote(self.dataset)}"

    @property
    def looks_for_copies(self) -> bool:
        """Whether copies of test images are left out; class names alone have no test images."""
        return self.test_check and self.dataset is not None

    @staticmethod
    def is_own(recipe: Recipe) -> bool:
        """Whether a recipe is for the user's own data: it has their name but not their place."""
        names_only = recipe.dataset == names_alone(recipe.classnames).spec.name
        return not names_only and recipe.dataset not in DATASETS.names()

    @classmethod
    def of(cls, recipe: Recipe, **changes: Any) -> Request:
        """The request that builds a recipe again."""
        how, where = recipe.generation, recipe.retrieval
        fields: dict[str, Any] = {}
        if how:
            hub = not how.model.startswith((".", "/", "~")) and how.model != DEMO
            fields |= {
                "model": f"{how.model}@{how.revision}" if hub else how.model,
                "steps": how.steps,
                "guidance": how.guidance,
                "precision": how.precision,
            }
        if where:
            option = where.source if where.source in ("pool", "backend") else "from_folder"
            fields |= {
                option: Path(where.place) if option == "from_folder" else where.place,
                "index": where.search if where.source == "backend" else None,
                "encoder": where.encoder or None,
                "precision": where.precision or "fp32",
                "search": where.search if where.source == "pool" else "exact",
                "test_check": bool(where.test_sha256),
            }
        shared = {name: getattr(recipe, name) for name in SHARED}
        if recipe.dataset == names_alone(recipe.classnames).spec.name:
            shared = shared | {"dataset": None, "classes": ",".join(recipe.classnames)}
        return cls(**(shared | fields | {"expected": recipe} | changes))
