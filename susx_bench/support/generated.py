"""The kind ``sus-sd``: images that a text-to-image pipeline draws."""

from __future__ import annotations

import math
from functools import partial

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import UnknownNameError
from susx_bench.events import Listener, ignore
from susx_bench.features.launch import warn_of_slow_half
from susx_bench.support.build import Built, begun, progress, recipe_of, refuse, valid, warn
from susx_bench.support.pipelines import DEMO, PRESETS, Pipeline, Preset
from susx_bench.support.places import BLOCK, finish, missing_blocks, wanted
from susx_bench.support.recipe import Generation, Recipe
from susx_bench.support.request import Request


def preset_of(request: Request, spec: DatasetSpec) -> Preset:
    """The preset of a request, for options that it leaves open.

    Raises:
        UnknownNameError: If there is no such preset.
    """
    preset = request.preset or (DEMO if spec.support else "published")
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    return PRESETS[preset]


def _model(request: Request, spec: DatasetSpec) -> str:
    return request.model or preset_of(request, spec).model


def _generation(request: Request, spec: DatasetSpec, listen: Listener) -> tuple[Pipeline, Recipe]:
    """The pipeline, and its part of the recipe."""
    refuse(request, ("pool", "backend", "index", "from_folder", "encoder"), "sus-lc")
    how = preset_of(request, spec)
    pipeline = Pipeline(_model(request, spec), request.precision)
    generation = valid(
        Generation,
        model=pipeline.repository,
        revision=pipeline.revision,
        pipeline=pipeline.kind,
        steps=how.steps if request.steps is None else request.steps,
        guidance=how.guidance if request.guidance is None else request.guidance,
        precision=request.precision,
        block=BLOCK,
        safety_checker=pipeline.safety_checker,
    )
    return pipeline, recipe_of(request, spec, how.per_class, listen, generation=generation)


def foretold(request: Request, spec: DatasetSpec) -> Recipe | None:
    """The recipe of a planned set; None for a model on the hub, which is not contacted."""
    return None if Pipeline.on_hub(_model(request, spec)) else _generation(request, spec, ignore)[1]


def generated(request: Request, listen: Listener) -> Built:
    """Build a set of kind ``sus-sd``, or complete it; raises as `build` does."""
    dataset = request.opened
    spec = dataset.spec
    pipeline, recipe = _generation(request, spec, listen)
    steps = recipe.generation.steps if recipe.generation else 0
    total = wanted(recipe)
    ready = partial(pipeline.check_steps, steps)
    with begun(request, dataset, recipe, listen, ready) as (folder, anew):
        every = list(range(math.ceil(total / BLOCK)))
        # Another rank may not have cleared the old content yet.
        blocks = every if anew else missing_blocks(folder, recipe)
        if blocks:
            from susx_bench.support.generate import (
                generate,
            )  # imports Lightning, which nothing else needs

            texts = {text for of_class in recipe.texts for text in of_class[: recipe.per_class]}
            if cut := pipeline.cut(texts):
                warn(
                    listen,
                    f"{cut} of {len(texts)} prompts are longer than {pipeline.name} reads; it "
                    "draws what stands before",
                )
            warn_of_slow_half(request.precision, request.launch, listen)
            missing = min(total, len(blocks) * BLOCK)
            title = f"generating {spec.name}"
            with progress(listen, title, total, done=total - missing) as advance:
                share = missing / (len(blocks) * BLOCK)  # the last block may not be full
                generate(
                    *(folder, recipe, blocks, pipeline, request.launch),
                    lambda count: advance(count * share),
                )
        elif not folder.finished:
            finish(folder, recipe)
        return Built(folder.path, recipe, folder.rows(), bool(blocks), request.whose)
