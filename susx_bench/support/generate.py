"""SuS-SD: a support set drawn by a text-to-image pipeline from class names alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from susx_bench.encoders.trust import quiet
from susx_bench.features.datamodules import BlockDataModule
from susx_bench.features.launch import Launch
from susx_bench.features.predict import Predictor
from susx_bench.support.folder import SupportFolder
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.pipelines import Pipeline
from susx_bench.support.places import BLOCK, Place, finish, place_at, prompt_of, seed_of, wanted
from susx_bench.support.recipe import Generation, Recipe

TRIES = 10
"""Number of attempts to draw an image before its place stays empty."""

BLANK = "blank"


class Drawn(NamedTuple):
    """The result for a place; without an image if every attempt was blank."""

    place: Place
    image: Image.Image | None
    attempt: int


class Generate(LightningModule):
    """Draws blocks of images; no gradient, nothing to train.

    Args:
        recipe: The recipe.
        pipeline: The pipeline.
        advance: Called after each step with the share of images that it completed.
    """

    def __init__(
        self, recipe: Recipe, pipeline: Pipeline, advance: Callable[[float], object]
    ) -> None:
        super().__init__()
        assert recipe.generation is not None
        self.recipe = recipe
        self._how: Generation = recipe.generation
        self._pipeline = pipeline
        self._advance = advance

    def on_predict_start(self) -> None:
        self._pipe = self._pipeline.loaded.to(self.device)

    def on_predict_end(self) -> None:
        # The Trainer and this module refer to each other, so they stay until some later collection
        # of garbage, and with them would the pipeline, which takes gigabytes.
        del self._pipe, self._pipeline

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> list[Drawn]:
        """Draw each block of places of the batch on its own."""
        drawn: list[Drawn] = []
        for rows, position in zip(*batch, strict=True):
            places = [
                place_at(int(row), self.recipe) for row in rows[(position >= 0) & (rows >= 0)]
            ]
            if places:
                drawn += self._block(places)
        return drawn

    def _block(self, places: Sequence[Place]) -> list[Drawn]:
        images = self._draw(places, [0] * len(places), self._on_step)
        attempts = [0] * len(places)
        for attempt in range(1, TRIES):
            blank = [i for i, image in enumerate(images) if image is None]
            if not blank:
                break
            # Draw the whole block again and take only those images: the shape must not change.
            for i in blank:
                attempts[i] = attempt
            again = self._draw(places, attempts, None)
            for i in blank:
                images[i] = again[i]
        return [Drawn(*fields) for fields in zip(places, images, attempts, strict=True)]

    def _on_step(
        self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._advance(BLOCK * self.trainer.world_size / self._how.steps)
        return tensors

    def _draw(
        self, places: Sequence[Place], attempts: Sequence[int], on_step: Callable[..., Any] | None
    ) -> list[Image.Image | None]:
        """Draw one image per place; None for a blank one."""
        pad = BLOCK - len(places)
        whole = [*zip(places, attempts, strict=True), *[(places[-1], attempts[-1])] * pad]
        with quiet():  # warnings about long prompts and unsafe images
            output = self._pipe(
                prompt=[prompt_of(self.recipe, place) for place, _ in whole],
                generator=[
                    torch.Generator("cpu").manual_seed(seed_of(self.recipe, place, attempt))
                    for place, attempt in whole
                ],
                num_inference_steps=self._how.steps,
                guidance_scale=self._how.guidance,
                output_type="pil",
                **({"callback_on_step_end": on_step} if on_step else {}),
            )
        unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(whole)
        return [
            None if flagged or is_blank(image) else image.convert("RGB")
            for image, flagged in zip(output.images[: len(places)], unsafe, strict=False)
        ]


def is_blank(image: Image.Image) -> bool:
    """Whether an image has a single colour, like the output of a safety checker."""
    colours = image.convert("RGB").getcolors(maxcolors=1)
    return colours is not None


class _Places(BlockDataModule):
    """Blocks of missing places; a row is a position in the list of all places, or -1."""

    block = BLOCK

    def __init__(self, blocks: Sequence[int], positions: int) -> None:
        super().__init__()
        self._blocks = blocks
        self._positions = positions

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK

    def row(self, position: int) -> Tensor:
        place = self._blocks[position // BLOCK] * BLOCK + position % BLOCK
        return torch.tensor(place if place < self._positions else -1)


class _Writer(Callback):
    """Writes each image as soon as it is drawn, and finally the manifest."""

    def __init__(self, folder: SupportFolder, recipe: Recipe) -> None:
        self._folder = folder
        self._recipe = recipe

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._folder.note([self._written(drawn) for drawn in outputs])

    def _written(self, drawn: Drawn) -> Row:
        how = self._recipe.generation
        assert how is not None
        place = drawn.place
        file, digest = "", ""
        if drawn.image is not None:
            buffer = io.BytesIO()
            drawn.image.save(buffer, "PNG")
            file, digest = self._folder.put(place.class_id, place.number, buffer.getvalue(), ".png")
        return Row(
            class_id=place.class_id,
            place=place.number,
            prompt=prompt_of(self._recipe, place),
            source="generated",
            fate=KEPT if drawn.image is not None else BLANK,
            file=file,
            sha256=digest,
            seed=seed_of(self._recipe, place, drawn.attempt),
            redrawn=drawn.attempt,
            model=how.model,
            revision=how.revision,
        )

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.barrier()  # now every rank has saved its rows
        if trainer.is_global_zero:
            finish(self._folder, self._recipe)
        trainer.strategy.barrier()  # now every rank may read the manifest


def generate(
    folder: SupportFolder,
    recipe: Recipe,
    blocks: Sequence[int],
    pipeline: Pipeline,
    launch: Launch,
    advance: Callable[[float], object],
) -> None:
    """Draw missing images, on any number of devices, and write the manifest.

    An image depends only on the recipe and its place: the batch size, the devices and an earlier
    interrupted run change no pixel.

    Args:
        folder: The folder of the set; its recipe is written.
        recipe: The recipe.
        blocks: The incomplete blocks, the same on every rank.
        pipeline: The pipeline.
        launch: Where to run; its batch size is a number of images.
        advance: Called with the approximate number of images completed, also in fractions.
    """
    module = Generate(recipe, pipeline, advance)
    Predictor(launch).run(module, _Places(blocks, wanted(recipe)), _Writer(folder, recipe))
