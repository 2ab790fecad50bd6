"""The shipped pipeline, and in a short form the script that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from susx_bench.demo import train_pipeline
from susx_bench.demo.render import CLASSNAMES
from susx_bench.demo.train_pipeline import make_tokenizer, train
from susx_bench.encoders.openclip import OpenClip

SHIPPED = Path(train_pipeline.__file__).parent / "pipeline"


def load(folder: Path) -> Any:
    kind: Any = DiffusionPipeline  # it has no types
    pipeline = kind.from_pretrained(folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load(SHIPPED)


def generate(pipeline: Any, prompts: list[str], seeds: list[int]) -> list[Image.Image]:
    images: list[Image.Image] = pipeline(
        prompt=prompts,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        num_inference_steps=10,
        guidance_scale=3.0,
        output_type="pil",
    ).images
    return images


def names_in(folder: Path) -> set[Path]:
    return {file.relative_to(folder) for file in folder.rglob("*")}


def recognised(images: list[Image.Image], labels: list[int]) -> float:
    towers = OpenClip("demo").towers
    text = towers.texts([[f"a photo of the number {name}."] for name in CLASSNAMES])
    with torch.no_grad():
        features = towers.images(torch.stack([towers.transform(image) for image in images]))
    top1 = (features @ text.T).argmax(-1)
    return float((top1 == torch.tensor(labels)).float().mean())


def test_shipped_files_are_small_and_nothing_is_pickled() -> None:
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]

    assert sum(file.stat().st_size for file in files) <= 8 * 2**20
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    assert sorted(file.parent.name for file in files if file.suffix == ".safetensors") == [
        "text_encoder",
        "unet",
        "vae",
    ]


def test_shipped_pipeline_is_the_class_that_everyone_calls(pipeline: Any) -> None:
    assert type(pipeline).__name__ == "StableDiffusionPipeline"
    assert pipeline.safety_checker is None
    modules = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert {p.dtype for module in modules for p in module.parameters()} == {torch.float32}


def test_shipped_pipeline_draws_what_it_is_asked_for(pipeline: Any) -> None:
    """Where guidance leads away from an empty caption, which names no digit."""
    labels = [*range(10)] * 4
    prompts = [f"a photo of the number {CLASSNAMES[label]}." for label in labels]

    images = generate(pipeline, prompts, list(range(40)))
    without_words = generate(pipeline, [""] * 40, list(range(40)))

    assert {(image.size, image.mode) for image in images} == {((16, 16), "RGB")}
    assert recognised(images, labels) >= 0.9  # chance is 0.1
    assert recognised(without_words, labels) < 0.4
    assert len({image.tobytes() for image in images}) == 40


def test_an_image_depends_on_its_generator_and_prompt_alone(pipeline: Any) -> None:
    prompts = ["a photo of the number three.", "a photo of the number seven."]

    first, other = generate(pipeline, prompts, [5, 6])
    again = generate(pipeline, prompts, [5, 6])[0]
    among = generate(pipeline, [prompts[1], prompts[0]], [9, 5])[1]
    reseeded = generate(pipeline, prompts, [7, 6])[0]

    assert first.tobytes() == again.tobytes()
    assert np.abs(np.asarray(first, int) - np.asarray(among, int)).max() <= 1
    assert first.tobytes() not in (other.tobytes(), reseeded.tobytes())


def test_words_of_the_captions_are_single_tokens() -> None:
    tokenizer = make_tokenizer()

    words = "a handwritten bold slanted seven."

    assert [token.removesuffix("</w>") for token in tokenizer.tokenize(words)] == [
        "a",
        "handwritten",
        "bold",
        "slanted",
        "seven",
        ".",
    ]


def test_training_starts_from_nothing_and_writes_a_pipeline(tmp_path: Path) -> None:
    state = torch.get_rng_state()

    train(tmp_path / "pipeline", steps=6, autoencoder_steps=4, drawings=200)

    assert torch.equal(torch.get_rng_state(), state)
    made = load(tmp_path / "pipeline")
    assert type(made).__name__ == "StableDiffusionPipeline"
    image = generate(made, ["a photo of the number one."], [1])[0]
    assert (image.size, image.mode) == ((16, 16), "RGB")
    assert names_in(tmp_path / "pipeline") == names_in(SHIPPED)
