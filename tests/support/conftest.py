"""A text-to-image pipeline that was never trained: it draws noise, and draws it quickly."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize as unit

from susx_bench.demo import train_pipeline as made


def untrained(folder: Path, checker: Any = None, extractor: Any = None) -> Path:
    """Write a pipeline of the demo's form with random weights."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging as diffusers_log
    from transformers.utils import logging as transformers_log

    for log in (diffusers_log, transformers_log):
        log.set_verbosity_error()
        log.disable_progress_bar()
    kind: Any = StableDiffusionPipeline
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        tokenizer = made.make_tokenizer()
        kind(
            vae=made.make_autoencoder(),
            text_encoder=made.make_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=made.make_unet(),
            scheduler=made.make_scheduler(),
            safety_checker=checker,
            feature_extractor=extractor,
            requires_safety_checker=checker is not None,
        ).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline without a safety checker."""
    return untrained(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="session")
def prudish(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline whose safety checker takes some noise for something else."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    config = CLIPConfig(
        vision_config={
            "image_size": 16,
            "patch_size": 8,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "projection_dim": 8,
        },
        projection_dim=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        build: Any = StableDiffusionSafetyChecker
        checker = build(config)
        checker.concept_embeds.data = torch.randn(17, 8)
        checker.special_care_embeds.data = torch.randn(3, 8)
        checker.special_care_embeds_weights.data.fill_(1.0)
    extractor = CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    # Random weights differ between versions of the libraries, so the checker's threshold is
    # measured: it objects to about half of what the pipeline draws.
    kind: Any = StableDiffusionPipeline
    draw = kind.from_pretrained(str(pipeline), safety_checker=None)
    draw.set_progress_bar_config(disable=True)
    drawn = draw(
        ["a photo"] * 16, num_inference_steps=2, generator=torch.Generator().manual_seed(0)
    ).images
    with torch.no_grad():
        pixels = extractor(drawn, return_tensors="pt").pixel_values
        seen = checker.visual_projection(checker.vision_model(pixels)[1])
        scores = (unit(seen) @ unit(checker.concept_embeds).T).amax(dim=1)
    checker.concept_embeds_weights.data.fill_(scores.median().item())
    return untrained(tmp_path_factory.mktemp("prudish"), checker, extractor)
