"""Train the demo encoder from nothing: `python -m susx_bench.demo.train_encoder --out FOLDER`.

A small CLIP (an open_clip custom model) learns from drawings of `render.py` and captions of them.
The number of steps is fixed, the weights are an average over the last half of them, and no
handwritten digit is read: nothing here is chosen by the accuracy of the demo.
"""

from __future__ import annotations

import argparse
import json
import string
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from susx_bench.demo.render import CLASSNAMES, Sketch, draw

STEPS = 2000
BATCH = 256
DRAWINGS = 40_000
SEED = 7

IMAGE_SIZE = 16
MEAN_STD = 0.5

MODEL_CFG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": IMAGE_SIZE,
        "layers": 3,
        "width": 64,
        "head_width": 16,
        "patch_size": 4,
    },
    "text_cfg": {
        "context_length": 48,
        "vocab_size": 48,
        "hf_tokenizer_name": "demo",  # any name: with local-dir: the folder's own files are read
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
PREPROCESS_CFG: dict[str, Any] = {
    "mean": [MEAN_STD] * 3,
    "std": [MEAN_STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}

TEMPLATES = (
    "{}",
    "a {}",
    "the digit {}",
    "the number {}",
    "a photo of a {}.",
    "a photo of the number {}.",
    "a drawing of the digit {}.",
    "a handwritten {}.",
    "a sketch of the number {}.",
)


def caption(sketch: Sketch, rng: np.random.Generator) -> str:
    """Describe a drawing in one sentence, with a describing word half of the time."""
    words = [CLASSNAMES[sketch.label]]
    if rng.random() < 0.5:
        words = [word for word in (sketch.stroke, sketch.slant) if word] + words
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(" ".join(words))


def write_tokenizer(folder: Path) -> None:
    """Write a character tokenizer in the files `transformers.AutoTokenizer` reads."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    characters = [*string.ascii_lowercase, *string.digits, *" .,'-"]
    start, end = len(characters) + 2, len(characters) + 3
    # open_clip reads the text feature at the highest token id, so the end token comes last.
    tokens = ["<pad>", "<unk>", *characters, "<start>", "<end>"]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", start), ("<end>", end)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
                "bos_token": "<start>",
                "eos_token": "<end>",
                "model_max_length": MODEL_CFG["text_cfg"]["context_length"],
            },
            indent=2,
        )
        + "\n"
    )


def to_pixels(images: Tensor) -> Tensor:
    """Ink ``(B, 8, 8)`` uint8 to pixels ``(B, 3, 16, 16)``, as the encoder's transform does."""
    pixels = images[:, None].float() / 255
    pixels = F.interpolate(
        pixels, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)
    return ((pixels - MEAN_STD) / MEAN_STD).expand(-1, 3, -1, -1)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric contrastive loss where equal captions are positives (UniCL, Yang et al., 2022).

    Args:
        images: Unit image features ``(B, D)``.
        texts: Unit text features ``(B, D)``.
        scale: Logit scale, a scalar > 0.
        same: ``(B, B)`` bool, whether two captions are the same sentence.
    """
    logits = scale * images @ texts.T
    target = same.float() / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train(out: Path, steps: int = STEPS, drawings: int = DRAWINGS) -> None:
    """Train the encoder and write it as a folder that open_clip's ``local-dir:`` loads.

    Args:
        out: Folder to write; made when missing.
        steps: Gradient steps of `BATCH` drawings each.
        drawings: How many different drawings are made.
    """
    import open_clip
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_tokenizer(out)

    rng = np.random.default_rng(SEED)
    sketches = [draw(i % 10, rng) for i in track(range(drawings), description="drawing")]
    pixels = to_pixels(torch.from_numpy(np.stack([s.image for s in sketches])))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # open_clip initialises its weights from the global generator
        model: Any = open_clip.create_model(f"local-dir:{out}", load_weights=False)
    tokenize = open_clip.get_tokenizer(f"local-dir:{out}")
    average = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.1
    )
    model.train()
    for step in track(range(steps), description="training"):
        picked = rng.integers(drawings, size=BATCH)
        captions = [caption(sketches[i], rng) for i in picked]
        distinct, inverse = np.unique(captions, return_inverse=True)
        images, _, scale = model(pixels[picked], None)
        texts = F.normalize(model.encode_text(tokenize(list(distinct))), dim=-1)[inverse]
        group = torch.from_numpy(inverse)
        loss = contrastive_loss(images, texts, scale, group[:, None] == group[None])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
        if step >= steps // 2:
            average.update_parameters(model)

    state = {name: value.contiguous() for name, value in average.module.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--drawings", type=int, default=DRAWINGS)
    arguments = parser.parse_args()
    started = time.perf_counter()
    train(arguments.out, arguments.steps, arguments.drawings)
    print(f"wrote {arguments.out} in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
