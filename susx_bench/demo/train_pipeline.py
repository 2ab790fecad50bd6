"""Train the demo's text-to-image pipeline: `python -m susx_bench.demo.train_pipeline --out FOLDER`.

A small latent diffusion model (Rombach et al., 2022) learns from drawings of `render.py` and
captions of them, and is written as an ordinary `diffusers.StableDiffusionPipeline`: an autoencoder
between 16 x 16 pixels and 8 x 8 latents, a text encoder with a byte-pair tokenizer, and a U-Net
that predicts v (Salimans & Ho, 2022) and also learned the empty caption, for classifier-free
guidance. The number of steps is fixed, the weights of the text encoder and the U-Net are an average
over the last quarter of them, and no handwritten digit is read: nothing here is chosen by the
accuracy of the demo.

One thread of a busy machine with two cores made the shipped folder, 5.2 MB, in 691 s. Its tokens
have other numbers than `make_tokenizer` gives them now: `tokenizers` then dealt them out at random.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from susx_bench.demo.render import CLASSNAMES, Sketch, draw
from susx_bench.demo.train_encoder import IMAGE_SIZE, TEMPLATES, caption, to_pixels

models: Any = diffusers  # it has no types

STEPS = 1500
BATCH = 128
AUTOENCODER_STEPS = 300
DRAWINGS = 20_000
SEED = 7

EMPTY_CAPTIONS = 0.1  # share of drawings shown without words
KL_WEIGHT = 1e-3
CONTEXT = 16  # tokens; the longest caption has 11

# Half a side of the image: the 8 x 8 counts of ink it was made of, so one channel holds it all.
LATENT_SIZE = IMAGE_SIZE // 2
TEXT_WIDTH = 64


def make_tokenizer() -> Any:
    """A `CLIPTokenizer` whose merges come from the captions: a word of theirs is one token.

    The merges are found here because the trainer of `tokenizers` breaks ties, and numbers the
    letters, in the order of a hash map with a random seed.
    """
    words = itertools.product(("thin", "bold"), ("slanted", "leaning"), CLASSNAMES)
    texts = [template.format(" ".join(three)) for three in words for template in TEMPLATES]
    counts = Counter(itertools.chain(*(re.findall(r"[a-z]+|\.", text.lower()) for text in texts)))
    parts = {word: (*word[:-1], f"{word[-1]}</w>") for word in counts}
    letters = sorted({letters[-1] for letters in parts.values()})
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in counts.items():
            for pair in itertools.pairwise(parts[word]):
                pairs[pair] += count
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        parts = {word: _merged(tokens, merges[-1]) for word, tokens in parts.items()}
    ends = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*ends, *sorted(ByteLevel.alphabet()), *letters, *map("".join, merges)]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    untyped: Any = CLIPTokenizer  # its annotations know of files alone
    tokenizer = untyped(vocab=numbers, merges=merges)
    tokenizer.model_max_length = CONTEXT
    return tokenizer


def _merged(tokens: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Tokens of a word with every occurrence of a pair made one, from the left."""
    found: list[str] = []
    for token in tokens:
        if found and (found[-1], token) == pair:
            found[-1] += token
        else:
            found.append(token)
    return tuple(found)


def make_text_encoder(tokenizer: Any) -> Any:
    """A `CLIPTextModel` with new weights for the tokens of `tokenizer`."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_unet() -> Any:
    """A `UNet2DConditionModel` with new weights that attends to words at 4 x 4."""
    return models.UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def make_autoencoder() -> Any:
    """An `AutoencoderKL` with new weights, 16 x 16 RGB to one channel of 8 x 8."""
    return models.AutoencoderKL(
        sample_size=IMAGE_SIZE,
        latent_channels=1,
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def make_scheduler() -> Any:
    """The noise of training and the sampler, which draws nothing once it has the first latents."""
    return models.DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def optimise(model: Any, steps: int, peak: float) -> tuple[Any, Any]:
    """AdamW and its one-cycle schedule over `steps`, with the learning rate `peak`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=0.1
    )


def train_autoencoder(vae: Any, pixels: Tensor, steps: int, generator: torch.Generator) -> None:
    """Train an autoencoder in place and set its scaling factor.

    Args:
        vae: The `AutoencoderKL`.
        pixels: Drawings ``(N, 3, 16, 16)`` in [-1, 1].
        steps: Gradient steps of `BATCH` drawings each.
        generator: Source of the batches and of the latents' noise.
    """
    optimizer, schedule = optimise(vae, steps, peak=4e-3)
    for _ in track(range(steps), description="training the autoencoder"):
        batch = pixels[torch.randint(len(pixels), (BATCH,), generator=generator)]
        posterior = vae.encode(batch).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample
        loss = F.mse_loss(decoded, batch) + KL_WEIGHT * posterior.kl().mean() / LATENT_SIZE**2
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    spread = encode(vae, pixels[: 8 * BATCH]).std()
    vae.register_to_config(scaling_factor=float(vae.config.scaling_factor / spread))


@torch.no_grad()
def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Drawings ``(N, 3, 16, 16)`` to scaled latents ``(N, 1, 8, 8)``."""
    modes: list[Tensor] = [
        vae.encode(block).latent_dist.mode() for block in torch.split(pixels, BATCH)
    ]
    scale: float = vae.config.scaling_factor
    return torch.cat(modes) * scale


def train_denoiser(
    denoiser: torch.nn.ModuleDict,
    tokenizer: Any,
    scheduler: Any,
    sketches: list[Sketch],
    latents: Tensor,
    steps: int,
    generator: torch.Generator,
) -> Any:
    """Train the U-Net and the text encoder together.

    Args:
        denoiser: ``unet`` and ``text``.
        tokenizer: What `make_tokenizer` made.
        scheduler: What `make_scheduler` made.
        sketches: N drawings.
        latents: Their latents ``(N, 1, 8, 8)``, of about unit variance.
        steps: Gradient steps of `BATCH` drawings each.
        generator: Source of the noise and its levels.

    Returns:
        The averaged `denoiser`.
    """
    rng = np.random.default_rng(SEED)
    average = torch.optim.swa_utils.AveragedModel(denoiser)
    optimizer, schedule = optimise(denoiser, steps, peak=2e-3)
    for step in track(range(steps), description="training the denoiser"):
        picked = rng.integers(len(sketches), size=BATCH)
        captions = [
            "" if rng.random() < EMPTY_CAPTIONS else caption(sketches[i], rng) for i in picked
        ]
        distinct, inverse = np.unique(captions, return_inverse=True)
        tokens = tokenizer(list(distinct), padding="max_length", return_tensors="pt").input_ids
        words = denoiser["text"](tokens).last_hidden_state[torch.from_numpy(inverse)]

        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)
        times = torch.randint(scheduler.config.num_train_timesteps, (BATCH,), generator=generator)
        noisy = scheduler.add_noise(latents[picked], noise, times)
        predicted = denoiser["unet"](noisy, times, encoder_hidden_states=words).sample
        loss = F.mse_loss(predicted, scheduler.get_velocity(latents[picked], noise, times))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step >= steps * 3 // 4:
            average.update_parameters(denoiser)
    return average.module


def train(
    out: Path,
    steps: int = STEPS,
    autoencoder_steps: int = AUTOENCODER_STEPS,
    drawings: int = DRAWINGS,
) -> None:
    """Train the pipeline and write it as a folder that `diffusers` loads.

    Args:
        out: Folder to write; made when missing.
        steps: Gradient steps of the denoiser, `BATCH` drawings each.
        autoencoder_steps: The same of the autoencoder.
        drawings: How many different drawings are made.
    """
    rng = np.random.default_rng(SEED)
    sketches = [draw(i % 10, rng) for i in track(range(drawings), description="drawing")]
    pixels = to_pixels(torch.from_numpy(np.stack([s.image for s in sketches])))

    tokenizer, scheduler = make_tokenizer(), make_scheduler()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # the models initialise their weights from the global generator
        vae = make_autoencoder()
        denoiser = torch.nn.ModuleDict({"unet": make_unet(), "text": make_text_encoder(tokenizer)})
    generator = torch.Generator().manual_seed(SEED)
    train_autoencoder(vae, pixels, autoencoder_steps, generator)
    average = train_denoiser(
        denoiser, tokenizer, scheduler, sketches, encode(vae, pixels), steps, generator
    )
    models.StableDiffusionPipeline(
        vae=vae,
        text_encoder=average["text"],
        tokenizer=tokenizer,
        unet=average["unet"],
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--autoencoder-steps", type=int, default=AUTOENCODER_STEPS)
    parser.add_argument("--drawings", type=int, default=DRAWINGS)
    arguments = parser.parse_args()
    started = time.perf_counter()
    train(arguments.out, arguments.steps, arguments.autoencoder_steps, arguments.drawings)
    print(f"wrote {arguments.out} in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
