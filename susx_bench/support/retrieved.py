"""The kind ``sus-lc``: existing images, or existing features."""

from __future__ import annotations

import os
from functools import partial

import torch

from susx_bench.data.dataset import Dataset
from susx_bench.data.spec import DatasetSpec
from susx_bench.encoders.named import encoder_name, open_encoder
from susx_bench.errors import OptionError
from susx_bench.events import Listener
from susx_bench.features.launch import warn_of_slow_half
from susx_bench.records.files import sha256_arrays
from susx_bench.support.build import (
    Built,
    begun,
    built_elsewhere,
    progress,
    recipe_of,
    refuse,
    warn,
)
from susx_bench.support.copies import looked_at, test_split
from susx_bench.support.manifest import KEPT, Row, feature_sha256
from susx_bench.support.origins import BackendOrigin, FolderOrigin, PoolOrigin
from susx_bench.support.places import wanted
from susx_bench.support.published import read_published
from susx_bench.support.recipe import Retrieval
from susx_bench.support.request import Request
from susx_bench.support.retrieve import UNREADABLE, Origin, settle

RETRIEVED = 16
"""Default number of images per class to retrieve."""


def retrieved(request: Request, listen: Listener) -> Built:
    """Build a set of kind ``sus-lc``, or complete it; raises as `build` does."""
    refuse(request, ("preset", "model", "steps", "guidance"), "sus-sd")
    given = [n for n in ("pool", "backend", "from_folder") if getattr(request, n) is not None]
    if len(given) != 1:
        raise OptionError(
            "--kind sus-lc retrieves from one place: --pool FOLDER or hf:ORG/NAME, --backend URL "
            f"with --index NAME, or --import FOLDER; {len(given)} were given."
        )
    dataset, parent = request.opened, os.getppid()
    if request.from_folder and request.from_folder.suffix == ".pt":
        return _imported(request, dataset, listen)
    if request.encoder == "demo" and dataset.spec.encoder != "demo":
        warn(listen, "encoder demo knows only drawn digits: what it finds says nothing of CLIP")
    origin = _origin(request, dataset.spec)
    if origin.remark:
        warn(listen, origin.remark)
    test = test_split(dataset) if request.looks_for_copies else None
    facts = Retrieval(**origin.facts, test_sha256=test.sha256 if test else "")
    recipe = recipe_of(request, dataset.spec, RETRIEVED, listen, retrieval=facts)
    with begun(request, dataset, recipe, listen, origin.check) as (folder, anew):
        # All ranks encode a pool; other origins need rank 0 only.
        if request.pool is None and not request.launch.is_main:
            return built_elsewhere(request, folder, recipe, parent)
        # Another rank may not have cleared the old content yet.
        if not anew and folder.finished:
            return Built(folder.path, recipe, folder.rows(), False, request.whose)
        if request.pool is not None:
            warn_of_slow_half(request.precision, request.launch, listen)
        candidates = origin.candidates(recipe, folder, partial(progress, listen))
        if not request.launch.is_main:
            return built_elsewhere(request, folder, recipe, parent)
        seen = looked_at(test, listen)
        with progress(listen, "collecting images", wanted(recipe)) as advance:
            rows = settle(folder, recipe, candidates, origin.read, seen, advance)
        rows += [
            Row(class_id=-1, place=-1, prompt="", source=key, fate=UNREADABLE)
            for key in origin.unreadable
        ]
        folder.finish(rows)
        return Built(folder.path, recipe, folder.rows(), True, request.whose)


def _origin(request: Request, spec: DatasetSpec) -> Origin:
    if request.pool is not None:
        name = encoder_name(request.encoder, spec.encoder, request.whose)
        encoder = open_encoder(name, request.precision)
        if not encoder.has_text:
            raise OptionError(
                f"--encoder {name} reads no text, so it finds no image for a class name. Give one "
                "with both towers, such as ViT-B-32:openai."
            )
        return PoolOrigin(request.pool, encoder, request.search, request.launch)
    if request.backend is not None:
        if request.index is None:
            raise OptionError("--backend needs --index, the name of one of its indices.")
        return BackendOrigin(request.backend, request.index)
    assert request.from_folder is not None
    return FolderOrigin(request.from_folder, spec)


def _imported(request: Request, dataset: Dataset, listen: Listener) -> Built:
    """Build a set from features that were published without images."""
    path, spec = request.from_folder, dataset.spec
    assert path is not None
    if request.encoder is None:
        raise OptionError(f"--import {path}: give --encoder, the one the features are from.")
    features, labels = read_published(path, spec)
    content = sha256_arrays({"features": features.numpy(), "labels": labels.numpy()})
    facts = Retrieval(
        source="features", place=str(path), content_sha256=content, encoder=request.encoder
    )
    most = int(torch.bincount(labels).max())
    recipe = recipe_of(request, spec, most, listen, retrieval=facts)
    with begun(request, dataset, recipe, listen, lambda: None) as (folder, _):
        if not request.launch.is_main:
            return built_elsewhere(request, folder, recipe, os.getppid())
        if folder.finished:
            assert folder.features is not None
            return Built(folder.path, recipe, folder.rows(), False, request.whose)
        order = [
            (label, place, i)
            for label in range(len(spec.classnames))
            for place, i in enumerate((labels == label).nonzero().flatten().tolist())
            if place < recipe.per_class
        ]
        rows = [
            Row(
                class_id=label,
                place=place,
                prompt="",
                source=f"column {i}",
                fate=KEPT,
                sha256=feature_sha256(features[i]),
                model=request.encoder,
            )
            for label, place, i in order
        ]
        folder.put_features(features[[i for _, _, i in order]])
        folder.finish(rows)
        return Built(folder.path, recipe, folder.rows(), True, request.whose)
