"""Small encoders in open_clip's layout, with weights that are all at work."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from susx_bench.encoders.layout import EMBEDDED

TEXT_CFG: dict[str, Any] = {
    "context_length": 16,
    "vocab_size": 48,
    "hf_tokenizer_name": "demo",
    "width": 32,
    "heads": 2,
    "layers": 1,
}
VIT: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": [16, 24],
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": TEXT_CFG,
}
RESNET: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
    "text_cfg": TEXT_CFG,
}
LOGIT_SCALE = 20.0

Folder = Callable[..., Path]


def draw_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Weights of which none is zero, as some are in a new model, so that every path counts."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        norm = value.ndim == 1 and name.endswith("weight")
        value.data = 1 + 0.2 * noise if norm else 0.2 * noise
    weights = dict(model.state_dict())
    weights["logit_scale"] = torch.tensor(LOGIT_SCALE).log()
    return weights


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write an encoder; what is in `weights` replaces drawn weights."""

    def write(
        model_cfg: dict[str, Any] = VIT,
        name: str = "encoder",
        preprocess: dict[str, Any] | None = None,
        **weights: Tensor,
    ) -> Path:
        path = tmp_path / name
        path.mkdir()
        for file in EMBEDDED["demo"].glob("tokenizer*"):
            (path / file.name).write_bytes(file.read_bytes())
        config = {"model_cfg": copy.deepcopy(model_cfg), "preprocess_cfg": preprocess or {}}
        (path / "open_clip_config.json").write_text(json.dumps(config))
        model: Any = open_clip.create_model(f"local-dir:{path}", load_weights=False)
        content = draw_weights(model) | weights
        save_file(
            {key: value.contiguous() for key, value in content.items()},
            path / "open_clip_model.safetensors",
        )
        return path

    return write
