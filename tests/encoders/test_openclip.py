"""Encoders by name: what is found, hashed, read and loaded, and what is refused."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from susx_bench.encoders import layout
from susx_bench.encoders.base import PRECISIONS
from susx_bench.encoders.layout import EMBEDDED
from susx_bench.encoders.openai import OPENAI
from susx_bench.encoders.openclip import OpenClip, OpenClipTowers
from susx_bench.errors import BenchError, EncoderError, UnknownNameError
from tests.encoders.conftest import LOGIT_SCALE, RESNET, VIT, Folder

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
TINY = {
    "embed_dim": 16,
    "vision_cfg": VIT["vision_cfg"],
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
"""As open_clip's own models: with its own tokenizer."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small model in open_clip's table, with one tag in the table of weights."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", copy.deepcopy(TINY))
    known = open_clip.pretrained._pcfg(hf_hub="org/tiny/", mean=(0.1, 0.2, 0.3))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"here": known})
    return "Tiny"


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def pixels(towers: OpenClipTowers, count: int = 3) -> Tensor:
    height, width = towers.preprocess_cfg["size"]
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def message(error: pytest.ExceptionInfo[BenchError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# Names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("RN5:openai", "RN50:openai"),
        ("ViT-B-16:laion2b_s34b_b8k", "ViT-B-16:laion2b_s34b_b88k"),
        ("ViT-B-31:random", "ViT-B-32:random"),
        ("RN50:randomly", "RN50:random"),
        ("RN50", "RN50:openai"),
        ("hf-hub:no-organisation", "hf-hub:ORG/NAME"),
        ("", "demo"),
    ],
)
def test_a_name_that_nothing_has(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        OpenClip(name)

    assert f"'{name}'" in message(error)
    assert near in message(error)


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (("RN50", "rn50", "CLIP-RN50", "resnet50", "ResNet-50", "RN50-openai"), "RN50:openai"),
        (("RN50:OpenAI", "RN50:imagenet", "RN50:", "openai/RN50"), "RN50:openai"),
        (("RN50x4", "RN50x4:openai2", "rn50X4"), "RN50x4-quickgelu:openai"),
        (("ViT-B/16", "vit_b_16", "ViTB16", "vit-base-patch16-224"), "ViT-B-16:openai"),
        (("openai/clip-vit-base-patch16", "clip-vit-base-patch16"), "ViT-B-16:openai"),
        (("ViT-B/32", "CLIP ViT-B/32", "ViT-B-32", "ViT-B/32:openai"), "ViT-B-32:openai"),
        (("vit_base_patch32_clip_224.openai", "ViT-B-32::openai"), "ViT-B-32:openai"),
        (("ViT-L/14@336px", "clip-vit-large-patch14-336"), "ViT-L-14-336-quickgelu:openai"),
        (("ViT-L/14", "vit-large-patch14"), "ViT-L-14:openai"),
        (("laion/CLIP-ViT-B-32-laion2B-s34B-b79K",), "ViT-B-32:laion2b_s34b_b79k"),
        (("ViT-B-16:laion2b", "vit_b_16.laion2b_s34b"), "ViT-B-16:laion2b_s34b_b88k"),
        (("ViT-H/14", "vit-huge-patch14"), "ViT-H-14:laion2b_s32b_b79k"),
    ],
)
def test_a_name_as_others_spell_it(names: tuple[str, ...], meant: str) -> None:
    for name in names:
        with pytest.raises(UnknownNameError) as error:
            OpenClip(name)
        assert f"no encoder called '{name}'. Did you mean {meant}" in message(error)
    assert OpenClip(meant).name == meant


def test_what_is_on_the_hub_or_here_is_offered_as_such(folder: Folder) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean hf-hub:org/my-model\?"):
        OpenClip("org/my-model")
    path = folder()
    with pytest.raises(UnknownNameError, match=f"Did you mean local-dir:{path}[? ]"):
        OpenClip(str(path))


def test_a_precision_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="fp32"):
        OpenClip("demo", precision="fp31")


@pytest.mark.parametrize("name", OPENAI)
def test_the_short_names_are_what_openai_trained(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(name: str, repository: str, *_: object) -> Path:
        asked.append(repository)
        return written / WEIGHTS

    written = folder()
    monkeypatch.setattr(layout, "download", download)

    config = OpenClip(name).config

    model = name.removesuffix(":openai")
    assert asked == [open_clip.pretrained.get_pretrained_cfg(model, "openai")["hf_hub"].strip("/")]
    assert config["model_cfg"]["quick_gelu"] is True
    plain = open_clip.get_model_config(model)
    assert {**plain, "quick_gelu": True} == config["model_cfg"]


@pytest.mark.parametrize("name", open_clip.list_pretrained(as_str=True))
def test_no_weights_meet_another_gelu(name: str) -> None:
    """Also: none of open_clip's names connects before something is needed."""
    model, tag = name.split(":")
    wants = open_clip.pretrained.get_pretrained_cfg(model, tag).get("quick_gelu", False)
    has = open_clip.get_model_config(OPENAI.get(name, model)).get("quick_gelu", False)
    if wants == has:
        assert OpenClip(name).name == name
        return

    with pytest.raises(EncoderError) as error:
        OpenClip(name)

    right = message(error).split("Use ")[1].rstrip(".")
    assert name in message(error)
    assert right.startswith(("hf-hub:", f"{model}-quickgelu:"))
    assert OpenClip(right).name == right


def test_the_gelu_of_a_known_pair() -> None:
    with pytest.raises(EncoderError, match=r"QuickGELU, RN50 has GELU\. Use RN50-quickgelu:cc12m"):
        OpenClip("RN50:cc12m")


# Random models


def test_random_models_follow_the_seed(tiny: str) -> None:
    zero, again, one = (OpenClip(f"{tiny}:random{seed}") for seed in ("", "-0", "-1"))

    states = [encoder.towers.model.state_dict() for encoder in (zero, again, one)]

    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["visual.proj"], states[2]["visual.proj"])
    assert zero.sha256 == again.sha256
    assert zero.sha256 != one.sha256
    assert zero.revision is None


def test_random_models_are_hashed_with_all_that_draws_them(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [OpenClip("Tiny:random").sha256]
    monkeypatch.setattr(torch, "__version__", "9.9")
    hashes.append(OpenClip("Tiny:random").sha256)
    wider = copy.deepcopy(TINY) | {"embed_dim": 32}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", wider)
    hashes.append(OpenClip("Tiny:random").sha256)

    assert len(set(hashes)) == 3


def test_random_models_read_their_scale_where_they_get_it(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = OpenClip("Tiny:random")
    ten = copy.deepcopy(TINY) | {"init_logit_scale": float(np.log(10))}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Ten", ten)

    for encoder in (usual, OpenClip("Ten:random")):
        in_the_model: Any = encoder.towers.model.logit_scale
        assert encoder.logit_scale == float(in_the_model.exp())
    assert OpenClip("Ten:random").logit_scale == pytest.approx(10)


@pytest.mark.parametrize("name", ["demo", "Tiny:random-3"])
def test_loading_leaves_no_traces(tiny: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    torch.manual_seed(5)
    before = (torch.get_rng_state(), random.getstate(), repr(np.random.get_state()))

    assert OpenClip(name).towers

    assert torch.equal(before[0], torch.get_rng_state())
    assert (random.getstate(), repr(np.random.get_state())) == before[1:]
    assert caplog.messages == []
    assert logging.getLogger().level == logging.INFO


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP:random", "roberta-ViT-B-32:random"])
def test_random_models_with_a_part_on_the_hub(name: str) -> None:
    with pytest.raises(EncoderError, match="on the Hub"):
        OpenClip(name)


# Parts and hashes


def test_the_hash_is_of_what_decides_a_feature(folder: Folder) -> None:
    path = folder()
    start = OpenClip(f"local-dir:{path}").sha256
    path.rename(path.with_name("elsewhere"))
    path = path.with_name("elsewhere")
    (path / "README.md").write_text("nothing")
    (path / "results.json").write_text("{}")

    assert OpenClip(f"local-dir:{path}").sha256 == start
    assert OpenClip(f"local-dir:{path}", precision="bf16").sha256 == start

    seen = {start}
    for change in (
        lambda: edit_config(path, lambda config: config["preprocess_cfg"].update(mean=[0.1] * 3)),
        lambda: (path / "tokenizer_config.json").write_text("{}"),
        lambda: (path / "spiece.model").write_text("x"),
        lambda: save_file(
            load_file(path / WEIGHTS) | {"logit_scale": torch.ones([])}, path / WEIGHTS
        ),
    ):
        change()
        seen.add(OpenClip(f"local-dir:{path}").sha256)
    assert len(seen) == 5


def test_open_clips_own_tokenizer_is_hashed_too(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    path = folder(TINY)
    names = [f"local-dir:{path}", "Tiny:random"]
    before = [OpenClip(name).sha256 for name in names]
    (tmp_path / "bpe").write_text("other merges")
    monkeypatch.setattr(open_clip.tokenizer, "default_bpe", lambda: str(tmp_path / "bpe"))

    after = [OpenClip(name).sha256 for name in names]

    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("missing", range(len(layout.WEIGHTS)))
def test_of_several_weights_open_clips_choice_is_taken(missing: int, tmp_path: Path) -> None:
    for file in layout.WEIGHTS[missing:]:
        (tmp_path / file).touch()
    (tmp_path / CONFIG).write_text(json.dumps({"model_cfg": VIT}))

    taken = OpenClip(f"local-dir:{tmp_path}")._parts.weights

    assert str(taken) == open_clip.factory._find_checkpoint_in_dir(tmp_path)


@pytest.mark.parametrize("gone", [CONFIG, WEIGHTS])
def test_a_folder_without_a_part(gone: str, folder: Folder) -> None:
    path = folder()
    (path / gone).unlink()

    with pytest.raises(EncoderError) as error:
        OpenClip(f"local-dir:{path}")

    assert str(path) in message(error)
    assert gone in message(error)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"model_cfg": 1}', '{"model_cfg": {"text_cfg": 1}}']
)
def test_a_configuration_that_is_none(content: str, folder: Folder) -> None:
    path = folder()
    (path / CONFIG).write_text(content)

    with pytest.raises(EncoderError, match="is not an open_clip configuration") as error:
        OpenClip(f"local-dir:{path}")

    assert str(path / CONFIG) in message(error)


def test_no_option_of_a_tokenizer_may_run_code(folder: Folder) -> None:
    path = folder()
    edit_config(
        path,
        lambda config: config["model_cfg"]["text_cfg"].update(
            tokenizer_kwargs={"clean": "lower", "trust_remote_code": True}
        ),
    )

    with pytest.raises(EncoderError, match="tokenizer_kwargs has trust_remote_code"):
        OpenClip(f"local-dir:{path}")


def test_a_folder_that_would_ask_the_hub(folder: Folder) -> None:
    path = folder()
    edit_config(
        path, lambda config: config["model_cfg"]["text_cfg"].update(hf_model_name="org/roberta")
    )

    with pytest.raises(EncoderError, match=r"org/roberta.*on the Hub"):
        OpenClip(f"local-dir:{path}")


def test_a_tower_of_timm_from_elsewhere(folder: Folder) -> None:
    path = folder()
    edit_config(
        path,
        lambda config: config["model_cfg"].update(vision_cfg={"timm_model_name": "hf-hub:org/x"}),
    )

    with pytest.raises(EncoderError, match="hf-hub:org/x"):
        OpenClip(f"local-dir:{path}")


# The logit scale


@pytest.mark.parametrize("key", ["logit_scale", "module.logit_scale"])
@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
@pytest.mark.parametrize(
    "logarithm",
    [torch.tensor(3.0), torch.tensor([3.0]), torch.tensor(3.0, dtype=torch.float16)],
    ids=["scalar", "vector", "fp16"],
)
def test_the_logit_scale_is_read_alone(
    key: str, file: str, logarithm: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {key: logarithm, key.replace("logit_scale", "other"): torch.ones(2)}
    if file.endswith(".bin"):
        torch.save({"state_dict": state}, tmp_path / file)
    else:
        save_file(state, tmp_path / file)
    (tmp_path / CONFIG).write_text(json.dumps({"model_cfg": VIT}))
    monkeypatch.delattr(open_clip, "create_model")

    scale = OpenClip(f"local-dir:{tmp_path}").logit_scale

    assert scale == float(torch.tensor(3.0).exp())


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("what", ["logit_scale", "towers"])
def test_weights_that_hold_code(what: str, folder: Folder, tmp_path: Path) -> None:
    path = folder()
    (path / WEIGHTS).unlink()
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    (path / "open_clip_pytorch_model.bin").write_bytes(bomb)

    with pytest.raises(EncoderError) as error:
        getattr(OpenClip(f"local-dir:{path}"), what)

    assert str(path) in message(error)
    assert not (tmp_path / "mark").exists()
    pickle.loads(bomb)
    assert (tmp_path / "mark").exists()  # it would have


def test_weights_without_a_logit_scale(folder: Folder) -> None:
    path = folder()
    save_file({"other": torch.ones(1)}, path / WEIGHTS)

    with pytest.raises(EncoderError, match="cannot be read") as error:
        assert OpenClip(f"local-dir:{path}").logit_scale

    assert str(path / WEIGHTS) in message(error)


# Loading


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: save_file(load_file(path / WEIGHTS) | {"x": torch.ones(1)}, path / WEIGHTS),
        lambda path: edit_config(path, lambda config: config["model_cfg"].update(embed_dim=8)),
        lambda path: edit_config(path, lambda config: config["model_cfg"].update(colour="red")),
        lambda path: edit_config(path, lambda config: config["model_cfg"].pop("vision_cfg")),
        lambda path: (path / "tokenizer.json").write_text("{}"),
    ],
    ids=["weights", "width", "unknown", "incomplete", "tokenizer"],
)
def test_what_does_not_fit_is_one_line(
    spoil: Callable[[Path], object], folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder()
    spoil(path)
    caplog.set_level(logging.INFO)

    with pytest.raises(EncoderError) as error:
        assert OpenClip(f"local-dir:{path}").towers

    assert str(path) in message(error)
    assert logging.getLogger().level == logging.INFO


def test_a_tag_is_the_table_and_a_file(
    tiny: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights by tag and by folder are the same encoder, but for the tag's transform."""
    path = folder(TINY, name="0123abc")
    asked = []

    def download(*place: object) -> Path:
        asked.append(place)
        return path / WEIGHTS

    monkeypatch.setattr(layout, "download", download)
    tagged, local = OpenClip("Tiny:here"), OpenClip(f"local-dir:{path}")
    assert not asked

    images = pixels(local.towers)

    assert torch.equal(tagged.towers.images(images), local.towers.images(images))
    prompts = [["a dog", "the dog"], ["a cat"]]
    assert torch.equal(tagged.towers.texts(prompts), local.towers.texts(prompts))
    assert tagged.logit_scale == local.logit_scale == pytest.approx(LOGIT_SCALE)
    assert tagged.towers.preprocess_cfg["mean"] == (0.1, 0.2, 0.3)
    assert tagged.revision == "0123abc"
    assert asked == [("Tiny:here", "org/tiny", None, layout.WEIGHTS)]


def test_the_hash_of_a_tag_is_of_what_decides_a_feature(
    tiny: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(TINY)
    monkeypatch.setattr(layout, "download", lambda *_: path / WEIGHTS)
    hashes = [OpenClip("Tiny:here").sha256]
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["Tiny"]["here"], "std", (1.0, 1.0, 1.0))
    hashes.append(OpenClip("Tiny:here").sha256)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS["Tiny"], "init_logit_bias", -10)
    hashes.append(OpenClip("Tiny:here").sha256)
    save_file(load_file(path / WEIGHTS) | {"logit_scale": torch.ones([])}, path / WEIGHTS)
    hashes.append(OpenClip("Tiny:here").sha256)

    assert len(set(hashes)) == 4


def test_a_tag_with_a_tokenizer_from_the_hub(
    tiny: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(VIT)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", copy.deepcopy(VIT))
    parts = {"org/tiny": path / WEIGHTS, "demo": path}
    monkeypatch.setattr(layout, "download", lambda name, place, *_: parts[place])
    tagged, local = OpenClip("Tiny:here"), OpenClip(f"local-dir:{path}")
    before = tagged.sha256

    tokens = [encoder.towers.tokenize(["seven"]) for encoder in (tagged, local)]

    assert torch.equal(*tokens)
    (path / "tokenizer_config.json").write_text("{}")
    assert OpenClip("Tiny:here").sha256 != before


def test_the_transform_is_open_clips_own(folder: Folder) -> None:
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "interpolation": "bilinear"}
    path = folder(preprocess=cfg)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    _, _, theirs = open_clip.create_model_and_transforms(f"local-dir:{path}")

    towers = OpenClip(f"local-dir:{path}").towers

    assert torch.equal(towers.transform(image), theirs(image))
    assert towers.transform(image).shape == (3, *towers.preprocess_cfg["size"])


@pytest.mark.parametrize(("model_cfg", "size"), [(VIT, (16, 24)), (RESNET, (64, 64))])
def test_what_an_augmentation_must_know(
    model_cfg: dict[str, Any], size: tuple[int, int], folder: Folder
) -> None:
    cfg = {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear", "resize_mode": "squash"}

    known = OpenClip(f"local-dir:{folder(model_cfg, preprocess=cfg)}").towers.preprocess_cfg

    assert known["size"] == size
    assert {key: known[key] for key in cfg} == cfg
    assert known["std"] == open_clip.OPENAI_DATASET_STD


# Features


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model_cfg", [VIT, RESNET], ids=["vit", "resnet"])
def test_features_and_tokens_are_open_clips_own(
    model_cfg: dict[str, Any], precision: str, folder: Folder
) -> None:
    name = f"local-dir:{folder(model_cfg)}"
    theirs = open_clip.create_model(name, precision=precision).eval()
    prompts = ["seven", "the digit seven"]

    towers = OpenClip(name, precision).towers

    tokens = towers.tokenize(prompts)
    assert torch.equal(tokens, open_clip.get_tokenizer(name)(prompts))
    images = pixels(towers)
    with torch.no_grad():
        expected = theirs.encode_image(images.to(towers.dtype)).float()
        expected_texts = theirs.encode_text(tokens).float()
    tolerance = 1e-5 if precision == "fp32" else 0.02
    close = partial(torch.testing.assert_close, rtol=0, atol=tolerance)
    close(towers.images(images), F.normalize(expected, dim=-1))
    close(torch.cat(towers.text_prompts([prompts])), F.normalize(expected_texts, dim=-1))


@pytest.mark.parametrize("options", [{}, {"clean": "canonicalize"}])
def test_open_clips_own_tokenizer(
    options: dict[str, str], tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_cfg = open_clip.factory._MODEL_CONFIGS["Tiny"]["text_cfg"]
    text_cfg |= {"context_length": 9, "tokenizer_kwargs": options}
    texts = ["A dog, and a cat.", "word " * 20]

    tokens = OpenClip("Tiny:random").towers.tokenize(texts)

    assert tokens.shape == (2, 9)
    assert torch.equal(tokens, open_clip.get_tokenizer("Tiny")(texts))


def test_tokens_that_are_not_read_are_counted(tiny: str, folder: Folder) -> None:
    """An oracle: a tokenizer that reads 500 tokens, of which those beyond padding are counted."""
    texts = ["A dog, and a cat.", "word " * 20, "seven " * 75, "seven " * 76, "é" * 90]
    for name, most in (("Tiny:random", 77), (f"local-dir:{folder()}", 16)):
        towers = OpenClip(name).towers
        tokenize: Any = towers.tokenize
        padding = int(tokenize([""])[0, -1])
        rows = tokenize(texts, context_length=500).tolist()
        lengths = [
            len(row) - next(i for i, t in enumerate(row[::-1]) if t != padding) for row in rows
        ]

        assert towers.excess(texts) == [max(length - most, 0) for length in lengths]
        assert any(towers.excess(texts))
        assert towers.excess(["seven"]) == [0]


def test_a_long_text_is_not_warned_of_by_the_tokenizer(caplog: pytest.LogCaptureFixture) -> None:
    """Its warning says that the model will fail, which cutting off prevents."""
    towers = OpenClip("demo").towers

    assert towers.excess(["seven " * 100])[0] > 0
    assert "Token indices" not in caplog.text


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model_cfg", [VIT, RESNET], ids=["vit", "resnet"])
def test_features_are_unit_fp32_in_every_precision(
    model_cfg: dict[str, Any], precision: str, folder: Folder
) -> None:
    name = f"local-dir:{folder(model_cfg)}"
    full, towers = OpenClip(name).towers, OpenClip(name, precision).towers
    images = pixels(full)
    prompts = [["seven", "the digit seven"], ["two"]]

    for one, other in (
        (towers.images(images), full.images(images)),
        (towers.texts(prompts), full.texts(prompts)),
        (F.normalize(towers.spatial(images), dim=-1), F.normalize(full.spatial(images), dim=-1)),
    ):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.norm(dim=-1), torch.ones(one.shape[:-1]))
        assert float((one * other).sum(-1).min()) > 0.99
        assert torch.equal(one, other) == (precision == "fp32")
    visual: Any = towers.model.visual
    half = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert visual.conv1.weight.dtype == towers.dtype == half[precision]
    assert visual.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_prompts_one_by_one(folder: Folder) -> None:
    towers = OpenClip(f"local-dir:{folder()}").towers
    prompts = [["seven"], ["two", "the two", "a two"], ["one"] * 70]

    per_class = towers.text_prompts(prompts)

    assert [rows.shape for rows in per_class] == [(1, 16), (3, 16), (70, 16)]
    for texts, rows in zip(prompts, per_class, strict=True):
        for text, row in zip(texts[:3], rows, strict=False):
            encode: Any = towers.model.encode_text
            alone = F.normalize(encode(towers.tokenize([text])), dim=-1)[0]
            torch.testing.assert_close(row, alone)
    one, other, third = per_class[1]
    mean = (one + other + third) / 3
    torch.testing.assert_close(towers.texts(prompts)[1], mean / mean.norm())


def test_patches_of_a_resnet_are_what_uniform_attention_averages(folder: Folder) -> None:
    """The pool's query token is the mean of the places, so uniform attention over all is too."""
    towers = OpenClip(f"local-dir:{folder(RESNET)}").towers
    visual: Any = towers.model.visual
    visual.attnpool.positional_embedding.zero_()
    visual.attnpool.q_proj.weight.zero_()
    visual.attnpool.q_proj.bias.zero_()
    images = pixels(towers)

    patches = towers.spatial(images)

    assert patches.shape == (3, 4, 16)
    torch.testing.assert_close(patches.mean(1), visual(images), rtol=1e-4, atol=1e-4)


def test_patches_of_a_resnet_are_in_the_order_of_rows(folder: Folder) -> None:
    towers = OpenClip(f"local-dir:{folder(RESNET)}").towers
    visual: Any = towers.model.visual
    images = pixels(towers)
    places = images
    for layer in (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        places = layer(places)

    patches = towers.spatial(images)

    for row in range(2):
        for column in range(2):
            alone = visual.attnpool.c_proj(visual.attnpool.v_proj(places[:, :, row, column]))
            patch = patches[:, 2 * row + column]
            torch.testing.assert_close(patch, alone, rtol=1e-4, atol=1e-4)


def test_patches_of_a_vit_are_what_average_pooling_averages(folder: Folder) -> None:
    pooled = copy.deepcopy(VIT)
    pooled["vision_cfg"]["pool_type"] = "avg"
    towers, average = (
        OpenClip(f"local-dir:{folder(cfg, name)}").towers
        for cfg, name in ((VIT, "token"), (pooled, "average"))
    )
    images = pixels(towers)

    patches = towers.spatial(images)

    assert patches.shape == (3, 6, 16)
    torch.testing.assert_close(F.normalize(patches.mean(1), dim=-1), average.images(images))


def test_patches_of_a_vit_are_in_the_order_of_rows(folder: Folder) -> None:
    """With attention off, a patch of the image changes its own feature and no other."""
    towers = OpenClip(f"local-dir:{folder()}").towers
    visual: Any = towers.model.visual
    for block in visual.transformer.resblocks:
        block.attn.out_proj.weight.zero_()
        block.attn.out_proj.bias.zero_()
    images = pixels(towers, 1)
    changed = images.clone()
    changed[:, :, 8:16, :8] += 1  # second row of patches, first column; three columns

    difference = (towers.spatial(changed) - towers.spatial(images)).abs().amax((0, 2))

    assert difference[3] > 0.01
    assert float(difference[[0, 1, 2, 4, 5]].max()) < 1e-6


@pytest.mark.parametrize(
    "vision_cfg",
    [
        VIT["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 2},
        {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "", "image_size": 160},
    ],
    ids=["attentional pooling", "timm"],
)
def test_a_tower_without_patches(vision_cfg: dict[str, Any], folder: Folder) -> None:
    towers = OpenClip(f"local-dir:{folder(VIT | {'vision_cfg': vision_cfg})}").towers
    images = pixels(towers)
    assert towers.images(images).shape == (3, 16)

    with pytest.raises(EncoderError, match="no patch features") as error:
        towers.spatial(images)

    assert "RN50:openai" in message(error)


def test_the_demo_is_a_folder_like_any_other() -> None:
    embedded, local = OpenClip("demo"), OpenClip(f"local-dir:{EMBEDDED['demo']}")

    assert embedded.sha256 == local.sha256
    assert embedded.logit_scale == local.logit_scale
    assert embedded.revision is local.revision is None
