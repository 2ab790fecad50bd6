"""How a program without susx-bench loads an encoder: the arguments for open_clip."""

from __future__ import annotations

from typing import Any

from susx_bench.encoders.base import Encoder
from susx_bench.encoders.openai import OPENAI
from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import EncoderError

_KEYS = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")


def open_clip_words(encoder: Encoder) -> dict[str, Any] | None:
    """The arguments of ``open_clip.create_model`` that load an encoder.

    Returns:
        ``model_name`` and, for weights from open_clip's tables, ``pretrained``; None for an
        encoder of another kind, and for random weights.
    """
    if not isinstance(encoder, OpenClip):
        return None
    name = encoder.name
    if name.startswith(("local-dir:", "hf-hub:")):
        return {"model_name": name.partition("@")[0]}
    model, _, tag = name.partition(":")
    if not tag or tag.startswith("random"):
        return None
    return {"model_name": OPENAI.get(name, model), "pretrained": tag}


def preprocessing(encoder: Encoder) -> dict[str, Any] | None:
    """How an encoder's images are prepared, without loading its weights.

    Returns:
        ``size`` (H, W) in pixels, ``mean`` and ``std`` of the channels, ``interpolation``,
        ``resize_mode`` and ``fill_color``, as `open_clip.transform.PreprocessCfg` calls them; None
        for an encoder of another kind, or with no part on this machine.
    """
    if not isinstance(encoder, OpenClip):
        return None
    from open_clip.transform import PreprocessCfg

    try:
        config = encoder.config if encoder.name.startswith(("local-dir:", "hf-hub:")) else None
        config = config or _tabled(encoder)
    except EncoderError:
        return None
    size = config["model_cfg"]["vision_cfg"].get("image_size", 224)
    configured = {k: v for k, v in (config.get("preprocess_cfg") or {}).items() if k in _KEYS}
    cfg = PreprocessCfg(**({"size": size} | configured))
    side = cfg.size
    prepared: dict[str, Any] = {name: getattr(cfg, name) for name in _KEYS}
    prepared["size"] = [side, side] if isinstance(side, int) else list(side)
    return prepared | {"mean": list(cfg.mean), "std": list(cfg.std)}


def _tabled(encoder: OpenClip) -> dict[str, Any]:
    """The configuration of a model in open_clip's tables, or of an embedded one."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    model, _, tag = encoder.name.partition(":")
    model = OPENAI.get(encoder.name, model)
    if not tag or tag.startswith("random"):
        return encoder.config
    return {
        "model_cfg": open_clip.get_model_config(model),
        "preprocess_cfg": get_pretrained_cfg(model, tag),
    }
