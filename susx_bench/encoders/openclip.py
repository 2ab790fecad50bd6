"""CLIP encoders by name, loaded by open_clip and only when something must be encoded.

========================  ==================================================================
name                      weights
========================  ==================================================================
``demo``                  in the package
``local-dir:FOLDER``      a folder in open_clip's layout
``hf-hub:ORG/NAME``       a repository in that layout; ``@REVISION`` pins branch, tag or commit
``MODEL:TAG``             open_clip's table, such as ``ViT-B-16:laion2b_s34b_b88k``
``MODEL:random``          none: initialised from seed 0, or from 7 for ``MODEL:random-7``
========================  ==================================================================

Only ``hf-hub:`` and ``MODEL:TAG`` ask the Hub for anything, when the first of their parts is needed
and not when the encoder is named. ``HF_HUB_OFFLINE``, ``HF_ENDPOINT`` and ``HF_TOKEN`` hold.
"""

from __future__ import annotations

import logging
import math
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from susx_bench.encoders.base import PRECISIONS, Encoder, Towers
from susx_bench.encoders.spelling import nearest
from susx_bench.encoders.trust import OWN_CODE, is_own_code, own_code_refused
from susx_bench.errors import EncoderError, UnknownNameError
from susx_bench.hub import unwritable_cache, why_offline
from susx_bench.records.files import sha256_file, sha256_json
from susx_bench.records.text import read_json
from susx_bench.registry import ENCODERS

if TYPE_CHECKING:
    from PIL.Image import Image

EMBEDDED = {"demo": Path(__file__).parents[1] / "demo" / "encoder"}
"""Encoders whose weights are in the package."""

OPENAI = {
    f"{model}:openai": f"{model}-quickgelu"
    for model in ("RN50", "RN101", "ViT-B-32", "ViT-B-16", "ViT-L-14")
}
"""The encoders of the papers, and the models OpenAI trained them as: all with QuickGELU."""

_HINT = (
    "Or local-dir:FOLDER, hf-hub:ORG/NAME[@REVISION], MODEL:TAG from open_clip.list_pretrained(), "
    "MODEL:random from open_clip.list_models(), or what an installed package registers as "
    f"{ENCODERS.group}."
)
_MOST_LAYERS = 1_000  # of a configuration; the deepest tower of open_clip's table has 56
_MOST = 10_000_000  # any other number of it
_REPOSITORY = r"([\w.-]+/[\w.-]+)(?:@(.+))?"
_GELU = {True: "QuickGELU", False: "GELU"}
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
_CONFIG = "open_clip_config.json"
_WEIGHTS = (  # in the order open_clip looks for them
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_TOKENIZER = (  # config.json: transformers takes the kind from it where no other file names one
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "*.spm",
)
_TOKENIZER_OPTIONS = {
    "clean", "strip_sep_token", "language", "reduction_mask", "additional_special_tokens",
}  # fmt: skip


def _resnet_patches(visual: Any, pixels: Tensor) -> Tensor:
    """What the attention pooling makes of a place it looks at alone.

    The positional embedding, which the pooling adds first, is left out.
    """
    last = visual.forward_intermediates(pixels, indices=1, intermediates_only=True)
    tokens = last["image_intermediates"][-1].flatten(2).transpose(1, 2)
    projected: Tensor = visual.attnpool.c_proj(visual.attnpool.v_proj(tokens))
    return projected


def _vit_patches(visual: Any, pixels: Tensor) -> Tensor:
    """The patch tokens, treated as the class token is."""
    last = visual.forward_intermediates(
        pixels,
        indices=1,
        intermediates_only=True,
        normalize_intermediates=True,  # ln_post
        output_fmt="NLC",
    )
    projected: Tensor = last["image_intermediates"][-1] @ visual.proj
    return projected


_PATCHES = {"ModifiedResNet": _resnet_patches, "VisionTransformer": _vit_patches}


@dataclass(frozen=True)
class OpenClipTowers(Towers):
    """A loaded open_clip model.

    Attributes:
        model: The model, in eval mode, without gradient. All norms keep their weights in fp32, as
            in OpenAI's own code.
        transform: RGB image to ``(3, H, W)``; open_clip's own for validation.
        tokenize: Texts to token ids ``(T, L)``.
        dtype: What the image tower reads.
    """

    model: nn.Module
    transform: Callable[[Image], Tensor]
    tokenize: Callable[[list[str]], Tensor]
    dtype: torch.dtype = torch.float32

    @property
    def preprocess_cfg(self) -> dict[str, Any]:
        """As in the base, and ``resize_mode``, ``fill_color`` and ``mode``."""
        visual: Any = self.model.visual
        cfg: dict[str, Any] = dict(visual.preprocess_cfg)
        size = cfg["size"]
        return cfg | {"size": (size, size) if isinstance(size, int) else tuple(size)}

    def image_features(self, pixels: Tensor) -> Tensor:
        encode: Any = self.model.encode_image
        features: Tensor = encode(pixels.to(self.dtype))
        return features

    def text_features(self, texts: Sequence[str]) -> Tensor:
        encode: Any = self.model.encode_text
        tokens = self.tokenize(list(texts))
        features: Tensor = encode(tokens.to(next(self.model.parameters()).device))
        return features

    def excess(self, texts: Sequence[str]) -> list[int]:
        tokenize: Any = self.tokenize
        most: int = tokenize.context_length
        if hasattr(tokenize, "encode"):  # open_clip's own, which adds a token at either end
            lengths = [len(tokenize.encode(text)) + 2 for text in texts]
        else:
            lengths = [len(tokenize.tokenizer(tokenize.clean_fn(text)).input_ids) for text in texts]
        return [max(length - most, 0) for length in lengths]

    def spatial(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` into a feature for each of its P patches.

        Returns:
            ``(B, P, D)``, fp32, row by row from the top left, in the space of `images` and `texts`
            but of any length: they are not L2-normalised.

        Raises:
            EncoderError: If the tower ends in something other than CLIP's attention pooling or
                class token, so that a patch alone has no place in that space.

        Source:
            ResNets as in Zhou et al., *Extract Free Dense Labels from CLIP*, ECCV 2022,
            arXiv:2112.01071, and Guo et al., *CALIP*, AAAI 2023, arXiv:2209.14169.
        """
        visual: Any = self.model.visual
        kind = type(visual).__name__
        if kind not in _PATCHES or getattr(visual, "attn_pool", None) is not None:
            raise EncoderError(
                f"the image tower of this encoder, a {kind}, has no patch features in CLIP's "
                "space. Use one of OpenAI's kind, such as RN50:openai or ViT-B-16:openai."
            )
        return _PATCHES[kind](visual, pixels.to(self.dtype)).float()


class OpenClip(Encoder):
    """An encoder that open_clip loads.

    Args:
        name: One of the names above.
        precision: One of `PRECISIONS`; features are fp32 in any case.

    Raises:
        UnknownNameError: If there is no such name or precision.
        EncoderError: If a folder is not complete, or weights and model differ in their GELU.
    """

    def __init__(self, name: str, precision: str = "fp32") -> None:
        super().__init__(precision)
        self.name = name
        self._find = _finder(name)

    @cached_property
    def _parts(self) -> _Parts:
        return self._find()

    @property
    def config(self) -> dict[str, Any]:
        """``model_cfg``, and ``preprocess_cfg`` where it is not open_clip's default.

        Raises:
            EncoderError: If a part cannot be had from the Hub.
        """
        return self._parts.config

    @property
    def revision(self) -> str | None:
        """Commit on the Hub that the weights are from, None where they are from elsewhere.

        Raises:
            EncoderError: If a part cannot be had from the Hub.
        """
        return self._parts.revision

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a feature: weights, configuration, tokenizer.

        Neither where the files are nor the precision is a part of it.

        Raises:
            EncoderError: If a part cannot be had from the Hub.
        """
        return sha256_json([*map(sha256_file, self._parts.files), *self._parts.facts])

    @cached_property
    def logit_scale(self) -> float:
        """The factor the model was trained to put on cosines, read without building the model.

        Raises:
            EncoderError: If the weights cannot be read, or a part cannot be had from the Hub.
        """
        path = self._parts.weights
        if path is None:
            start = self.config["model_cfg"].get("init_logit_scale", math.log(1 / 0.07))
            return float(torch.tensor(start).exp())
        try:
            return float(_read_logit_scale(path).float().exp())
        except Exception as error:  # of whatever kind the bytes lead a library to
            raise EncoderError(f"{path} cannot be read: {_reason(error)}") from error

    @property
    def width(self) -> int | None:
        width = self.config["model_cfg"].get("embed_dim")
        return width if isinstance(width, int) else None

    @property
    def has_patches(self) -> bool:
        vision = self.config["model_cfg"]["vision_cfg"]
        return not (vision.get("timm_model_name") or vision.get("attentional_pool"))

    @cached_property
    def towers(self) -> OpenClipTowers:
        """The loaded model, on the CPU. The random state of the caller stays as it is.

        Raises:
            EncoderError: If open_clip cannot build the model, the weights do not fit it, or a part
                cannot be had from the Hub.
        """
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        parts = self._parts
        with _loading(self.name), torch.random.fork_rng(devices=[]):
            # open_clip draws from the CPU's generator. torch.manual_seed would also seed those of
            # the GPUs, which are not forked.
            torch.default_generator.manual_seed(parts.seed)
            model: Any = open_clip.create_model(
                parts.architecture,
                load_weights=False,  # what is loaded below is the very file that is hashed
                pretrained_text=False,
                precision=self.precision,
                force_preprocess_cfg=parts.preprocess,
            )
            if parts.weights:
                # Strict, and nothing that a file brings along is run.
                open_clip.load_checkpoint(model, str(parts.weights))
            tokenize = _tokenizer(parts)
        model = model.eval().requires_grad_(False)
        # On a CPU a ResNet encodes a third more images a second so, and a ViT the same number.
        model.visual.to(memory_format=torch.channels_last)
        transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        return OpenClipTowers(model, transform, tokenize, PRECISIONS[self.precision])


class Demo(OpenClip):
    """In the package: small, and trained on nothing but drawings of digits."""

    name = "demo"

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__("demo", precision)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What an encoder is made of, all of it on this machine.

    Attributes:
        architecture: What open_clip builds: a model of its own, or ``local-dir:FOLDER``.
        config: ``model_cfg``, and ``preprocess_cfg`` where it is not open_clip's default.
        weights: Their file, None where they are drawn.
        tokenizer: Folder of a tokenizer for `transformers`, None for open_clip's own.
        files: All that decides a feature and is a file.
        facts: All that decides a feature and is not, as JSON values.
        preprocess: What open_clip must be told about the image transform.
        seed: Of what is drawn.
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


def _finder(name: str) -> Callable[[], _Parts]:
    """Check a name without a connection, and tell how to come by its parts.

    Raises:
        UnknownNameError: If nothing has this name.
        EncoderError: If what has it is not complete, or does not fit together.
    """
    match name.partition(":"):
        case ("local-dir", ":", folder):
            return _local(name, Path(folder).expanduser())
        case ("hf-hub", ":", place) if parts := re.fullmatch(_REPOSITORY, place):
            return _hub(name, parts[1], parts[2])
        case (model, ":", tag) if drawn := re.fullmatch(r"random(?:-(\d+))?", tag):
            return _random(name, model, int(drawn[1] or 0))
        case (model, ":", tag):
            return _tagged(name, OPENAI.get(name, model), tag)
        case _ if name in EMBEDDED:
            return _local(name, EMBEDDED[name])
    raise _unknown(name)


def _local(name: str, folder: Path) -> Callable[[], _Parts]:
    """A folder in open_clip's layout."""
    weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise EncoderError(
            f"--encoder {name}: {folder} does not exist or has no weights: none of "
            f"{', '.join(_WEIGHTS)}."
        )
    parts = _layout(name, weights)
    _stay_off_the_hub(name, parts.config["model_cfg"], "hf_model_name")
    return lambda: parts


def _hub(name: str, repository: str, revision: str | None) -> Callable[[], _Parts]:
    """A repository in open_clip's layout."""

    def find() -> _Parts:
        weights = _download(name, repository, revision, _WEIGHTS)
        return _layout(name, weights, revision=weights.parent.name)

    return find


def _layout(name: str, weights: Path, revision: str | None = None) -> _Parts:
    """The parts that are beside the weights in open_clip's layout.

    Raises:
        EncoderError: If the configuration is missing, or is none.
    """
    folder = weights.parent
    path = folder / _CONFIG
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
    _refuse_sizes(path, config["model_cfg"])
    # They reach transformers, which has options that run code from the Hub.
    if refused := options - _TOKENIZER_OPTIONS:
        raise EncoderError(
            f"{path}: tokenizer_kwargs has {', '.join(sorted(refused))}. Only "
            f"{', '.join(sorted(_TOKENIZER_OPTIONS))} are passed on."
        )
    if ":" in timm:  # another repository, of which nothing would be hashed
        raise EncoderError(f"{path}: timm_model_name '{timm}' is no name of timm's own.")
    tokenizer = folder if text_cfg.get("hf_tokenizer_name") else None
    beside = sorted([path, *_tokenizer_files(tokenizer)], key=lambda file: file.name)
    return _Parts(
        architecture=f"local-dir:{folder}",
        config=config,
        weights=weights,
        tokenizer=tokenizer,
        files=[weights, *beside],
        revision=revision,
    )


def _refuse_sizes(path: Path, value: Any, name: str = "model_cfg") -> None:
    """Check the numbers of a configuration before a model is built of them.

    Raises:
        EncoderError: If one is larger than in any model.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            _refuse_sizes(path, each, str(key))
    elif isinstance(value, list):
        for each in value:
            _refuse_sizes(path, each, name)
    elif isinstance(value, int | float):
        most = _MOST_LAYERS if "layers" in name or "depth" in name else _MOST
        if not abs(value) <= most:
            said = str(value) if len(str(value)) < 20 else f"of {len(str(value))} digits"
            raise EncoderError(f"{path}: {name} is {said}, the most that is built is {most:,}.")


def _tagged(name: str, model: str, tag: str) -> Callable[[], _Parts]:
    """A model and weights from open_clip's tables; all these weights are on the Hub."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    model_cfg = _built_in(name, model)
    if tag not in list_pretrained_tags_by_model(model):  # open_clip knows other spellings, too
        raise _unknown(name)
    known = get_pretrained_cfg(model, tag)
    repository, file = os.path.split(known["hf_hub"])
    if use := _other_gelu(name):  # open_clip only warns, and computes what nobody trained
        has = _is_quick(model_cfg)
        raise EncoderError(
            f"--encoder {name}: these weights were trained with {_GELU[not has]}, {model} has "
            f"{_GELU[has]}. Use {use}."
        )
    preprocess = {key: known[key] for key in _PREPROCESS}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}

    def find() -> _Parts:
        safe = file.removesuffix(".bin") + ".safetensors"
        weights = _download(name, repository, None, (safe, file) if file else _WEIGHTS)
        tokenizer = model_cfg["text_cfg"].get("hf_tokenizer_name")
        folder = _download(name, tokenizer, None) if tokenizer else None
        return _Parts(
            architecture=model,
            config=config,
            weights=weights,
            tokenizer=folder,
            files=[weights, *_tokenizer_files(folder)],
            facts=[config],
            preprocess=preprocess,
            revision=weights.parent.name,
        )

    return find


def _random(name: str, model: str, seed: int) -> Callable[[], _Parts]:
    """A model from open_clip's table before any training."""
    import open_clip

    model_cfg = _built_in(name, model)
    _stay_off_the_hub(name, model_cfg, "hf_model_name", "hf_tokenizer_name")
    drawn_by = {"seed": seed, "torch": str(torch.__version__), "open_clip": open_clip.__version__}
    parts = _Parts(
        architecture=model,
        config={"model_cfg": model_cfg},
        weights=None,
        tokenizer=None,
        files=_tokenizer_files(None),
        facts=[drawn_by, model_cfg],
        seed=seed,
    )
    return lambda: parts


def _built_in(name: str, model: str) -> dict[str, Any]:
    """Configuration of a model in open_clip's table.

    Raises:
        UnknownNameError: If it is not there.
    """
    import open_clip

    model_cfg: dict[str, Any] | None = open_clip.get_model_config(model)
    if model_cfg is None:
        raise _unknown(name)
    return model_cfg


def _unknown(name: str) -> UnknownNameError:
    """The error for a name that nothing has, with the nearest that something has."""
    near = [_other_gelu(other) or other for other in nearest(name)]
    return UnknownNameError("encoder", name, {*ENCODERS.names(), *OPENAI}, _HINT, near)


def _other_gelu(name: str) -> str | None:
    """What to use for ``MODEL:TAG`` if the weights were trained with another GELU than it has."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, is_pretrained_cfg

    model, _, tag = name.partition(":")
    model = OPENAI.get(name, model)
    known, model_cfg = get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
    if not known or model_cfg is None or known.get("quick_gelu", False) == _is_quick(model_cfg):
        return None
    right = f"{model}-quickgelu"
    repository = os.path.split(known["hf_hub"])[0]
    return f"{right}:{tag}" if is_pretrained_cfg(right, tag) else f"hf-hub:{repository}"


def _is_quick(model_cfg: dict[str, Any]) -> bool:
    return bool(model_cfg.get("quick_gelu"))


def _stay_off_the_hub(name: str, model_cfg: dict[str, Any], *keys: str) -> None:
    """Refuse what would ask the Hub although its name does not say so.

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


def _tokenizer_files(folder: Path | None) -> list[Path]:
    """What decides how a text becomes tokens."""
    if folder is None:
        from open_clip.tokenizer import default_bpe

        return [Path(default_bpe())]
    files = {path for pattern in _TOKENIZER for path in folder.glob(pattern)}
    return sorted(path for path in files if path.is_file())


def _tokenizer(parts: _Parts) -> Callable[[list[str]], Tensor]:
    """What `open_clip.get_tokenizer` makes, from the files that are hashed and from no others."""
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    text_cfg = parts.config["model_cfg"]["text_cfg"]
    options = {
        "context_length": text_cfg.get("context_length", DEFAULT_CONTEXT_LENGTH),
        **text_cfg.get("tokenizer_kwargs", {}),
    }
    tokenize: Callable[[list[str]], Tensor]
    if parts.tokenizer is None:
        tokenize = SimpleTokenizer(**options)
    else:
        mode = text_cfg.get("tokenizer_mode")
        tokenize = HFTokenizer(
            str(parts.tokenizer), tokenizer_mode=mode, trust_remote_code=False, **options
        )
    return tokenize


def _read_logit_scale(path: Path) -> Tensor:
    """The logarithm of the factor on cosines, a single number in whatever shape and precision."""
    if path.suffix == ".safetensors":  # read alone
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            name = next(name for name in names if name.removeprefix("module.") == "logit_scale")
            alone: Tensor = file.get_tensor(name)
            return alone
    from open_clip.factory import load_state_dict

    among_all: Tensor = load_state_dict(str(path))["logit_scale"]
    return among_all


def _reason(error: BaseException) -> str:
    """An error of a library in one short line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Silence open_clip, and make one line of whatever it stumbles over.

    Raises:
        EncoderError: Instead of any other error.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # open_clip reports each step on the root logger
    try:
        with own_code_refused():
            yield
    except Exception as error:  # of whatever kind the configuration leads it to
        why = OWN_CODE if is_own_code(error) else _reason(error)
        raise EncoderError(f"--encoder {name}: cannot be loaded: {why}") from error
    finally:
        root.setLevel(level)


def _download(
    name: str, repository: str, revision: str | None, weights: Sequence[str] = ()
) -> Path:
    """Get configuration, tokenizer and weights from the Hub, or from its cache on this machine.

    Args:
        name: Name of the encoder, for messages.
        repository: ``ORG/NAME``.
        revision: Branch, tag or commit; None for the main branch.
        weights: Files that weights can be in. The first that is there is taken.

    Returns:
        The file of the weights, or the folder it would be in where none were asked for. The last
        part of the folder's name is the commit.

    Raises:
        EncoderError: If they cannot be had.
    """
    from huggingface_hub import (
        _CACHED_NO_EXIST,
        hf_hub_download,
        snapshot_download,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils.tqdm import tqdm

    class NoBar(tqdm):
        """For the small files, which are looked at in every run; the weights have a bar."""

        __init__ = partialmethod(tqdm.__init__, disable=True)

    try:
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=[_CONFIG, *_TOKENIZER],
                tqdm_class=NoBar,
            )
        )
        commit = folder.name
        if not weights:
            return folder
        missing = EntryNotFoundError()
        for file in weights:
            # What the Hub once said it has not got in this commit is not asked for again.
            if try_to_load_from_cache(repository, file, revision=commit) is _CACHED_NO_EXIST:
                continue
            try:
                return Path(hf_hub_download(repository, file, revision=commit))
            except EntryNotFoundError as error:
                missing = error
        raise missing
    except Exception as error:  # also of the network libraries below
        place = f"{repository}@{revision}" if revision else repository
        told = hub_advice(repository, weights, error)
        raise EncoderError(f"--encoder {name}: {place}: {told}") from error


def hub_advice(repository: str, weights: Sequence[str], error: Exception) -> str:
    """Why the Hub did not give a file, and what to do about it."""
    from huggingface_hub import constants, errors

    if full := unwritable_cache(error):
        return full
    here, there = f"not in {constants.HF_HUB_CACHE}", constants.ENDPOINT
    advice: dict[type[Exception], str] = {  # the first that fits; some are kinds of later ones
        errors.GatedRepoError: f"access must be granted at {there}/{repository}. Ask for it there, "
        "and set HF_TOKEN to a token that has it.",
        errors.RepositoryNotFoundError: f"{there} has no such repository, or it is private. Check "
        "the name, or set HF_TOKEN.",
        errors.RevisionNotFoundError: f"no such branch, tag or commit. {there}/{repository} lists "
        "them.",
        errors.LocalEntryNotFoundError: f"{here}, and {why_offline()}. Allow it, or run "
        f"`hf download {repository}` where there is a connection."
        if why_offline()
        else f"{here}, and {there} does not answer. Check the connection, and HF_ENDPOINT where "
        "you set it.",
        errors.EntryNotFoundError: f"no model in open_clip's layout: none of {', '.join(weights)}.",
        Exception: f"{_reason(error)} If HF_TOKEN or HF_ENDPOINT is set, check it.",
    }
    return next(told for kind, told in advice.items() if isinstance(error, kind))
