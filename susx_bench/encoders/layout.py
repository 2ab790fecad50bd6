"""Find the parts of an open_clip encoder in a folder, a repository or open_clip's tables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from susx_bench.encoders.download import CONFIG, TOKENIZER, download
from susx_bench.encoders.openai import OPENAI
from susx_bench.encoders.places import REPOSITORY
from susx_bench.encoders.spelling import nearest
from susx_bench.errors import EncoderError, UnknownNameError
from susx_bench.records.text import read_json
from susx_bench.registry import ENCODERS

EMBEDDED = {"demo": Path(__file__).parents[1] / "demo" / "encoder"}
"""Encoders whose weights are in the package."""

_HINT = (
    "Or local-dir:FOLDER, hf-hub:ORG/NAME[@REVISION], transformers:ORG/NAME[@REVISION], "
    "timm:NAME (images alone), "
    "MODEL:TAG from open_clip.list_pretrained(), "
    "MODEL:random from open_clip.list_models(), or what an installed package registers as "
    f"{ENCODERS.group}."
)
_MOST_LAYERS = 1_000  # of a configuration; the deepest tower of open_clip's table has 56
_MOST = 10_000_000  # any other number of a configuration
_GELU = {True: "QuickGELU", False: "GELU"}
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
WEIGHTS = (  # in the order open_clip looks for them
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_TOKENIZER_OPTIONS = {
    "clean", "strip_sep_token", "language", "reduction_mask", "additional_special_tokens",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of an encoder, all of them on this machine.

    Attributes:
        architecture: The model that open_clip builds: a model of its own, or ``local-dir:FOLDER``.
        config: ``model_cfg``, and ``preprocess_cfg`` if it is not open_clip's default.
        weights: File of the weights; None for random ones.
        tokenizer: Folder of a tokenizer for `transformers`, None for open_clip's own.
        files: All files on which a feature depends.
        facts: Everything else on which a feature depends, as JSON values.
        preprocess: Options of open_clip's image transform.
        seed: Seed of random weights.
        revision: Commit on the Hub.
    """

    architecture: str
    config: dict[str, Any]
    weights: Path | None
    tokenizer: Path | None
    files: Sequence[Path]
    facts: Sequence[Any] = ()
    preprocess: dict[str, Any] | None = None
    seed: int = 0
    revision: str | None = None


def finder(name: str) -> Callable[[], Parts]:
    """Check a name without a connection, and return a function that gets its parts.

    Raises:
        UnknownNameError: If no encoder has this name.
        EncoderError: If the encoder is not complete, or its parts do not fit together.
    """
    match name.partition(":"):
        case ("local-dir", ":", folder):
            return _local(name, Path(folder).expanduser())
        case ("hf-hub", ":", place) if parts := re.fullmatch(REPOSITORY, place):
            return _hub(name, parts[1], parts[2])
        case (model, ":", tag) if drawn := re.fullmatch(r"random(?:-(\d+))?", tag):
            return _random(name, model, int(drawn[1] or 0))
        case (model, ":", tag):
            return _tagged(name, OPENAI.get(name, model), tag)
        case _ if name in EMBEDDED:
            return _local(name, EMBEDDED[name])
    raise _unknown(name)


def _local(name: str, folder: Path) -> Callable[[], Parts]:
    """A folder in open_clip's layout."""
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderError(
            f"--encoder {name}: {folder} does not exist or has no weights: none of "
            f"{', '.join(WEIGHTS)}."
        )
    parts = _layout(name, weights)
    _stay_off_the_hub(name, parts.config["model_cfg"], "hf_model_name")
    return lambda: parts


def _hub(name: str, repository: str, revision: str | None) -> Callable[[], Parts]:
    """A repository in open_clip's layout."""

    def find() -> Parts:
        weights = download(name, repository, revision, WEIGHTS)
        return _layout(name, weights, revision=weights.parent.name)

    return find


def _layout(name: str, weights: Path, revision: str | None = None) -> Parts:
    """The parts beside the weights in open_clip's layout.

    Raises:
        EncoderError: If the configuration is missing or invalid.
    """
    folder = weights.parent
    path = folder / CONFIG
    try:
        config = read_json(path)
        text_cfg = config["model_cfg"]["text_cfg"]
        options = set(text_cfg.get("tokenizer_kwargs", {}))
        timm = config["model_cfg"]["vision_cfg"].get("timm_model_name") or ""
    except FileNotFoundError as error:
        raise EncoderError(f"--encoder {name}: {path} does not exist.") from error
    except OSError as error:
        raise EncoderError(f"--encoder {name}: {path} cannot be read: {error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"{path} is not an open_clip configuration: {error!r}.") from error
    refuse_sizes(path, config["model_cfg"])
    # They are passed to transformers, which has options that run code from the Hub.
    if refused := options - _TOKENIZER_OPTIONS:
        raise EncoderError(
            f"{path}: tokenizer_kwargs has {', '.join(sorted(refused))}. Only "
            f"{', '.join(sorted(_TOKENIZER_OPTIONS))} are passed on."
        )
    if ":" in timm:  # from another repository, which the hash would not cover
        raise EncoderError(f"{path}: timm_model_name '{timm}' is no name of timm's own.")
    tokenizer = folder if text_cfg.get("hf_tokenizer_name") else None
    beside = sorted([path, *tokenizer_files(tokenizer)], key=lambda file: file.name)
    return Parts(
        architecture=f"local-dir:{folder}",
        config=config,
        weights=weights,
        tokenizer=tokenizer,
        files=[weights, *beside],
        revision=revision,
    )


def refuse_sizes(path: Path, value: Any, name: str = "model_cfg") -> None:
    """Check the numbers of a configuration before a model is built from them.

    Raises:
        EncoderError: If one is larger than in any model.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            refuse_sizes(path, item, str(key))
    elif isinstance(value, list):
        for item in value:
            refuse_sizes(path, item, name)
    elif isinstance(value, int | float):
        most = _MOST_LAYERS if "layers" in name or "depth" in name else _MOST
        if not abs(value) <= most:
            shown = str(value) if len(str(value)) < 20 else f"of {len(str(value))} digits"
            raise EncoderError(f"{path}: {name} is {shown}, the most that is built is {most:,}.")


def _tagged(name: str, model: str, tag: str) -> Callable[[], Parts]:
    """A model and weights from open_clip's tables; all these weights are on the Hub."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    model_cfg = _built_in(name, model)
    if tag not in list_pretrained_tags_by_model(model):  # open_clip accepts other spellings, too
        raise _unknown(name)
    pretrained = get_pretrained_cfg(model, tag)
    repository, file = os.path.split(pretrained["hf_hub"])
    if use := _other_gelu(
        name
    ):  # open_clip only warns, and computes with a GELU that was not trained
        has = _is_quick(model_cfg)
        raise EncoderError(
            f"--encoder {name}: these weights were trained with {_GELU[not has]}, {model} has "
            f"{_GELU[has]}. Use {use}."
        )
    preprocess = {key: pretrained[key] for key in _PREPROCESS}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}

    def find() -> Parts:
        safe = file.removesuffix(".bin") + ".safetensors"
        weights = download(name, repository, None, (safe, file) if file else WEIGHTS)
        tokenizer = model_cfg["text_cfg"].get("hf_tokenizer_name")
        folder = download(name, tokenizer, None) if tokenizer else None
        return Parts(
            architecture=model,
            config=config,
            weights=weights,
            tokenizer=folder,
            files=[weights, *tokenizer_files(folder)],
            facts=[config],
            preprocess=preprocess,
            revision=weights.parent.name,
        )

    return find


def _random(name: str, model: str, seed: int) -> Callable[[], Parts]:
    """A model from open_clip's table before any training."""
    import open_clip

    model_cfg = _built_in(name, model)
    _stay_off_the_hub(name, model_cfg, "hf_model_name", "hf_tokenizer_name")
    drawn_by = {"seed": seed, "torch": str(torch.__version__), "open_clip": open_clip.__version__}
    parts = Parts(
        architecture=model,
        config={"model_cfg": model_cfg},
        weights=None,
        tokenizer=None,
        files=tokenizer_files(None),
        facts=[drawn_by, model_cfg],
        seed=seed,
    )
    return lambda: parts


def _built_in(name: str, model: str) -> dict[str, Any]:
    """Configuration of a model in open_clip's table.

    Raises:
        UnknownNameError: If the table does not have it.
    """
    import open_clip

    model_cfg: dict[str, Any] | None = open_clip.get_model_config(model)
    if model_cfg is None:
        raise _unknown(name)
    return model_cfg


def _unknown(name: str) -> UnknownNameError:
    """The error for a name that no encoder has, with the nearest known names."""
    near = [_other_gelu(other) or other for other in nearest(name)]
    return UnknownNameError("encoder", name, {*ENCODERS.names(), *OPENAI}, _HINT, near)


def _other_gelu(name: str) -> str | None:
    """The name to use for ``MODEL:TAG`` if its weights were trained with another GELU."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, is_pretrained_cfg

    model, _, tag = name.partition(":")
    model = OPENAI.get(name, model)
    pretrained, model_cfg = get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
    quick = (pretrained or {}).get("quick_gelu", False)
    if not pretrained or model_cfg is None or quick == _is_quick(model_cfg):
        return None
    right = f"{model}-quickgelu"
    repository = os.path.split(pretrained["hf_hub"])[0]
    return f"{right}:{tag}" if is_pretrained_cfg(right, tag) else f"hf-hub:{repository}"


def _is_quick(model_cfg: dict[str, Any]) -> bool:
    return bool(model_cfg.get("quick_gelu"))


def _stay_off_the_hub(name: str, model_cfg: dict[str, Any], *keys: str) -> None:
    """Refuse a configuration that would load from the Hub although its name does not say so.

    Raises:
        EncoderError: If one of these keys of ``text_cfg`` names a repository.
    """
    for key in keys:
        repository = model_cfg["text_cfg"].get(key)
        if repository and not Path(repository).is_dir():
            raise EncoderError(
                f"--encoder {name}: its {key} is '{repository}' on the Hub, which this kind of "
                "name does not ask. Use hf-hub:ORG/NAME or MODEL:TAG."
            )


def tokenizer_files(folder: Path | None) -> list[Path]:
    """The files on which tokenization depends."""
    if folder is None:
        from open_clip.tokenizer import default_bpe

        return [Path(default_bpe())]
    files = {path for pattern in TOKENIZER for path in folder.glob(pattern)}
    return sorted(path for path in files if path.is_file())
