"""Versions of packages in the keys of features, and what the images become with those known."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from susx_bench.data.decode import decode
from susx_bench.encoders import versions
from susx_bench.encoders.base import Encoder
from susx_bench.encoders.openclip import Demo
from susx_bench.encoders.versions import ALIKE, unlike
from susx_bench.features.rows import encoder_recipe, text_recipe
from susx_bench.records.files import sha256_arrays

PREPARED = {
    "JPEG": "20cdade47c2bf2466bfac7594767a8f9fc0c921dfd405a667b4ac802cff3732c",
    "PNG": "5299f7ffa6ca1dfd523f1ff0a57030b6ce69d88347a2ff57e220a9573f83531b",
    "WEBP": "678843cf2cc9acfe36fab25c5871d1dde5cf959c19e9572fa16ba80b2a1b913e",
}
"""Hash of what a file of each kind becomes before an encoder sees it, with the versions that
`ALIKE` has. A version that gives the same hashes may be added to it."""


def drawn(kind: str) -> bytes:
    """A picture with edges and gradients, as a file."""
    x, y = np.meshgrid(np.arange(331), np.arange(257))
    bands = [x % 256, (x * y // 97) % 256, 255 * ((x // 16 + y // 16) % 2)]
    file = io.BytesIO()
    Image.fromarray(np.stack(bands, -1).astype(np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.mark.skipif(bool(unlike(ALIKE)), reason="other versions than those whose hashes these are")
@pytest.mark.parametrize("kind", PREPARED)
def test_an_image_becomes_the_same_pixels_with_the_known_versions(kind: str) -> None:
    transform = image_transform_v2(PreprocessCfg(size=224), is_train=False)
    pixels = transform(decode(drawn(kind)))
    assert isinstance(pixels, torch.Tensor)
    steps = (pixels * 1024).round().to(torch.int32)  # whatever the last bits of the processor are
    assert sha256_arrays({"pixels": steps.numpy()}) == PREPARED[kind]


def test_features_of_another_version_have_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"open_clip_torch": "3.3", "pillow": "13.0", "torchvision": "0.29"}
    monkeypatch.setattr(versions, "_version", lambda name: installed.get(name, ""))
    encoder = Demo()
    known = encoder_recipe(encoder)
    assert "versions" not in known  # what is kept already keeps its key

    installed |= {"open_clip_torch": "3.4"}
    newer = encoder_recipe(encoder)
    assert newer == known | {"versions": {"open_clip_torch": "3.4"}}
    assert text_recipe(encoder, ["a"])["versions"] == {"open_clip_torch": "3.4"}

    monkeypatch.setitem(ALIKE, "open_clip_torch", frozenset({"3.3", "3.4"}))
    assert encoder_recipe(encoder) == known


def test_what_is_not_installed_changes_no_key() -> None:
    assert unlike(["no-such-package"]) == {}
    assert "open_clip_torch" not in Encoder.packages
