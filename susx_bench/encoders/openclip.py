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

Only ``hf-hub:`` and ``MODEL:TAG`` use the Hub, and only when the first of their parts is needed.
``HF_HUB_OFFLINE``, ``HF_ENDPOINT`` and ``HF_TOKEN`` apply.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from susx_bench.encoders.base import PRECISIONS, Encoder, Towers
from susx_bench.encoders.download import reason
from susx_bench.encoders.layout import Parts, finder
from susx_bench.encoders.trust import OWN_CODE, is_own_code, own_code_refused
from susx_bench.errors import EncoderError
from susx_bench.records.files import sha256_file, sha256_json

if TYPE_CHECKING:
    from PIL.Image import Image


def _resnet_patches(visual: Any, pixels: Tensor) -> Tensor:
    """Apply the value and output projections of the attention pooling to each place alone.

    The positional embedding, which the pooling adds first, is left out.
    """
    last = visual.forward_intermediates(pixels, indices=1, intermediates_only=True)
    tokens = last["image_intermediates"][-1].flatten(2).transpose(1, 2)
    projected: Tensor = visual.attnpool.c_proj(visual.attnpool.v_proj(tokens))
    return projected


def _vit_patches(visual: Any, pixels: Tensor) -> Tensor:
    """The patch tokens, normalised and projected like the class token."""
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
        dtype: Input type of the image tower.
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
        if hasattr(tokenize, "encode"):  # open_clip's own tokenizer adds a token at either end
            lengths = [len(tokenize.encode(text)) + 2 for text in texts]
        else:
            lengths = [  # not verbose: it would warn of errors that truncation prevents
                len(tokenize.tokenizer(tokenize.clean_fn(text), verbose=False).input_ids)
                for text in texts
            ]
        return [max(length - most, 0) for length in lengths]

    def spatial(self, pixels: Tensor) -> Tensor:
        """Encode ``(B, 3, H, W)`` into a feature for each of its P patches.

        Returns:
            ``(B, P, D)``, fp32, row by row from the top left, in the space of `images` and `texts`
            but of any length: they are not L2-normalised.

        Raises:
            EncoderError: If the tower does not end in CLIP's attention pooling or class token:
                then it has no patch features in that space.

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
        EncoderError: If a folder is not complete, or weights and model have different GELUs.
    """

    packages: ClassVar[tuple[str, ...]] = ("open_clip_torch", *Encoder.packages)

    def __init__(self, name: str, precision: str = "fp32") -> None:
        super().__init__(precision)
        self.name = name
        self._find = finder(name)

    @cached_property
    def _parts(self) -> Parts:
        return self._find()

    @property
    def config(self) -> dict[str, Any]:
        """``model_cfg``, and ``preprocess_cfg`` if it is not open_clip's default.

        Raises:
            EncoderError: If a part is not available from the Hub.
        """
        return self._parts.config

    @property
    def revision(self) -> str | None:
        """Commit on the Hub that the weights are from, None for weights from elsewhere.

        Raises:
            EncoderError: If a part is not available from the Hub.
        """
        return self._parts.revision

    @cached_property
    def sha256(self) -> str:
        """Hash of everything on which a feature depends: weights, configuration, tokenizer.

        It covers neither the place of the files nor the precision.

        Raises:
            EncoderError: If a part is not available from the Hub.
        """
        return sha256_json([*map(sha256_file, self._parts.files), *self._parts.facts])

    @cached_property
    def logit_scale(self) -> float:
        """The factor the model was trained to put on cosines, read without building the model.

        Raises:
            EncoderError: If the weights cannot be read, or a part is not available from the Hub.
        """
        path = self._parts.weights
        if path is None:
            start = self.config["model_cfg"].get("init_logit_scale", math.log(1 / 0.07))
            return float(torch.tensor(start).exp())
        try:
            return float(_read_logit_scale(path).float().exp())
        except Exception as error:  # of any kind
            raise EncoderError(f"{path} cannot be read: {reason(error)}") from error

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
                is not available from the Hub.
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
                load_weights=False,  # the file loaded below is the one that is hashed
                pretrained_text=False,
                precision=self.precision,
                force_preprocess_cfg=parts.preprocess,
            )
            if parts.weights:
                # Strict; no code in a file is run.
                open_clip.load_checkpoint(model, str(parts.weights))
            tokenize = _tokenizer(parts)
        model = model.eval().requires_grad_(False)
        # On a CPU a ResNet encodes a third more images per second so, and a ViT the same number.
        model.visual.to(memory_format=torch.channels_last)
        transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        return OpenClipTowers(model, transform, tokenize, PRECISIONS[self.precision])


class Demo(OpenClip):
    """The small encoder in the package, trained only on drawings of digits."""

    name = "demo"

    def __init__(self, precision: str = "fp32") -> None:
        super().__init__("demo", precision)


def _tokenizer(parts: Parts) -> Callable[[list[str]], Tensor]:
    """Make the tokenizer of `open_clip.get_tokenizer`, from the hashed files only."""
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
    """The logarithm of the factor on cosines: a single number, of any shape and precision."""
    if path.suffix == ".safetensors":  # only this tensor is read
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            name = next(name for name in names if name.removeprefix("module.") == "logit_scale")
            alone: Tensor = file.get_tensor(name)
            return alone
    from open_clip.factory import load_state_dict

    among_all: Tensor = load_state_dict(str(path))["logit_scale"]
    return among_all


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Silence open_clip, and turn its errors into one line.

    Raises:
        EncoderError: Instead of any other error.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # open_clip reports each step on the root logger
    try:
        with own_code_refused():
            yield
    except Exception as error:  # of any kind
        why = OWN_CODE if is_own_code(error) else reason(error)
        raise EncoderError(f"--encoder {name}: cannot be loaded: {why}") from error
    finally:
        root.setLevel(level)
