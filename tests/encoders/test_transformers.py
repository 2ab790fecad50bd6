"""Models of transformers: the same weights as open_clip's and timm's give the same features."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from susx_bench.encoders.named import open_encoder
from susx_bench.encoders.openclip import OpenClip
from susx_bench.encoders.transformers import TransformersEncoder
from susx_bench.errors import EncoderError
from tests.data.made import photo
from tests.hub import Hub

TEXTS = ["a photo of a cat.", "Two Dogs, and -- a HORSE!", "x"]
SIDE, PATCH, WIDTH, LAYERS, HEADS = 32, 8, 24, 2, 2


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights in transformers' layout, with CLIP's own tokens."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    vision: dict[str, Any] = {"image_size": SIDE, "patch_size": PATCH, "hidden_size": WIDTH}
    text: dict[str, Any] = {"vocab_size": 49408, "hidden_size": 16, "max_position_embeddings": 77}
    text |= {"bos_token_id": 49406, "eos_token_id": 49407}
    same = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config = CLIPConfig(
        vision_config=vision | same | {"intermediate_size": 4 * WIDTH},
        text_config=text | same | {"intermediate_size": 64},
        projection_dim=12,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPModel(config)
        for weight in model.parameters():  # far from zero, so that nothing vanishes in rounding
            weight.data.normal_(std=0.3)
        model.logit_scale.data.fill_(2.0)
        model.save_pretrained(folder)
    processor: Any = CLIPImageProcessor
    size = {"height": SIDE, "width": SIDE}
    processor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)
    own = SimpleTokenizer()
    ends = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {ends.get(token, token): number for token, number in own.encoder.items()}
    merges = [pair for pair, _ in sorted(own.bpe_ranks.items(), key=lambda item: item[1])]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.model_max_length = 77
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SigLIP with random weights, and a SentencePiece tokenizer trained on four lines."""
    import sentencepiece
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer

    folder = tmp_path_factory.mktemp("siglip")
    (folder / "lines").write_text(
        "a photo of a cat\ntwo dogs and a horse\nthe quick brown fox\nx y z and w\n" * 20
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines"), model_prefix=str(folder / "spiece"),
        vocab_size=60, hard_vocab_limit=False,
        bos_id=-1, pad_id=-1, unk_id=2, eos_id=1, control_symbols=["<pad>"], minloglevel=2,
    )  # fmt: skip
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=24)
    for name in ("lines", "spiece.vocab"):
        (folder / name).unlink()
    tokenizer.save_pretrained(folder)
    same = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH}
    same |= {"intermediate_size": 4 * WIDTH}
    text = {"vocab_size": 80, "max_position_embeddings": 24, "projection_size": WIDTH}
    config = SiglipConfig(
        vision_config=same | {"image_size": SIDE, "patch_size": PATCH}, text_config=same | text
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SiglipModel(config)
        for weight in model.parameters():
            weight.data.normal_(std=0.3)
        model.logit_scale.data.fill_(3.0)
        model.save_pretrained(folder)
    processor: Any = SiglipImageProcessor
    processor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def opened(folder: Path, precision: str = "fp32") -> TransformersEncoder:
    encoder = open_encoder(f"transformers:{folder}", precision)
    assert isinstance(encoder, TransformersEncoder)
    return encoder


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def pixels() -> Tensor:
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def as_open_clip(theirs: dict[str, Tensor], tower: str, ours: str) -> dict[str, Tensor]:
    """The blocks of a tower of transformers by the names that open_clip's transformer has."""
    found = {}
    for number in range(LAYERS):
        old, new = f"{tower}.encoder.layers.{number}", f"{ours}.resblocks.{number}"
        for kind in ("weight", "bias"):
            parts = [theirs[f"{old}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
            found[f"{new}.attn.in_proj_{kind}"] = torch.cat(parts)
            for mine, name in {
                "attn.out_proj": "self_attn.out_proj",
                "ln_1": "layer_norm1",
                "ln_2": "layer_norm2",
                "mlp.c_fc": "mlp.fc1",
                "mlp.c_proj": "mlp.fc2",
            }.items():
                found[f"{new}.{mine}.{kind}"] = theirs[f"{old}.{name}.{kind}"]
    return found


def test_the_weights_of_a_clip_give_the_features_of_open_clip(clip: Path, tmp_path: Path) -> None:
    theirs = load_file(clip / "model.safetensors")
    text, vision = "text_model", "vision_model"
    weights = {
        "logit_scale": theirs["logit_scale"],
        "positional_embedding": theirs[f"{text}.embeddings.position_embedding.weight"],
        "token_embedding.weight": theirs[f"{text}.embeddings.token_embedding.weight"],
        "text_projection": theirs["text_projection.weight"].T.contiguous(),
        "visual.class_embedding": theirs[f"{vision}.embeddings.class_embedding"],
        "visual.positional_embedding": theirs[f"{vision}.embeddings.position_embedding.weight"],
        "visual.conv1.weight": theirs[f"{vision}.embeddings.patch_embedding.weight"],
        "visual.proj": theirs["visual_projection.weight"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        weights[f"ln_final.{kind}"] = theirs[f"{text}.final_layer_norm.{kind}"]
        weights[f"visual.ln_pre.{kind}"] = theirs[f"{vision}.pre_layrnorm.{kind}"]
        weights[f"visual.ln_post.{kind}"] = theirs[f"{vision}.post_layernorm.{kind}"]
    weights |= as_open_clip(theirs, text, "transformer")
    weights |= as_open_clip(theirs, vision, "visual.transformer")
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    tower = {"image_size": SIDE, "patch_size": PATCH, "layers": LAYERS, "width": WIDTH}
    words = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": HEADS}
    model_cfg = {
        "embed_dim": 12,
        "quick_gelu": True,
        "vision_cfg": tower | {"head_width": WIDTH // HEADS},
        "text_cfg": words | {"layers": LAYERS},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))

    ours, oracle = opened(clip), OpenClip(f"local-dir:{tmp_path}")

    assert ours.logit_scale == pytest.approx(oracle.logit_scale)
    assert (ours.width, ours.has_patches) == (12, True)
    torch.testing.assert_close(ours.towers.images(pixels()), oracle.towers.images(pixels()))
    torch.testing.assert_close(ours.towers.spatial(pixels()), oracle.towers.spatial(pixels()))
    torch.testing.assert_close(ours.towers.texts([TEXTS]), oracle.towers.texts([TEXTS]))
    cut = [*TEXTS, "cat " * 100]
    assert ours.towers.excess(cut) == oracle.towers.excess(cut) == [0, 0, 0, 25]
    torch.testing.assert_close(ours.towers.single_texts(cut), oracle.towers.single_texts(cut))
    image = photo(3)
    torch.testing.assert_close(ours.towers.transform(image), oracle.towers.transform(image))
    assert ours.towers.preprocess_cfg["size"] == oracle.towers.preprocess_cfg["size"]
    for name in ("mean", "std", "interpolation"):
        assert ours.towers.preprocess_cfg[name] == oracle.towers.preprocess_cfg[name]


def test_the_weights_of_a_siglip_give_the_features_of_open_clip(siglip: Path) -> None:
    from open_clip.transformer import TextTransformer
    from timm.models.vision_transformer import VisionTransformer

    theirs = load_file(siglip / "model.safetensors")
    name = "text_model"
    text: Any = TextTransformer(
        context_length=24, vocab_size=80, width=WIDTH, heads=HEADS, layers=LAYERS, mlp_ratio=4,
        output_dim=WIDTH, no_causal_mask=True, proj_bias=True, pool_type="last",
        act_layer=lambda: nn.GELU(approximate="tanh"),
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
    )  # fmt: skip
    weights = {
        "token_embedding.weight": theirs[f"{name}.embeddings.token_embedding.weight"],
        "positional_embedding": theirs[f"{name}.embeddings.position_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        weights[f"ln_final.{kind}"] = theirs[f"{name}.final_layer_norm.{kind}"]
        weights[f"text_projection.{kind}"] = theirs[f"{name}.head.{kind}"]
    text.load_state_dict(weights | as_open_clip(theirs, name, "transformer"), strict=False)
    vision: Any = VisionTransformer(
        img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS,
        class_token=False, global_pool="map", num_classes=0, norm_layer=cast(
            Any, lambda width, **_: nn.LayerNorm(width, eps=1e-6)
        ), act_layer=cast(Any, lambda: nn.GELU(approximate="tanh")),
    )  # fmt: skip
    vision.load_state_dict(as_timm(theirs), strict=True)

    ours = opened(siglip)

    # What open_clip's SigLIP reads: lower case, no punctuation, an end, and padding on the right.
    canonical = ["a photo of a cat", "two dogs and a horse", "x"]
    tokenizer = ours.towers.tokenizer.sp_model
    ids = torch.ones(3, 24, dtype=torch.int64)
    for row, line in zip(ids, canonical, strict=True):
        encoded = tokenizer.encode(line)
        row[: len(encoded)] = torch.tensor(encoded)
    assert torch.equal(ours.towers.tokens(TEXTS)["input_ids"], ids)
    with torch.no_grad():
        torch.testing.assert_close(ours.towers.single_texts(TEXTS), text.eval()(ids))
        expected = F.normalize(vision.eval()(pixels()), dim=-1)
    torch.testing.assert_close(ours.towers.images(pixels()), expected)
    assert ours.logit_scale == pytest.approx(2.718281828**3)
    assert (ours.width, ours.has_patches) == (WIDTH, False)
    with pytest.raises(EncoderError, match="no patch features"):
        ours.towers.spatial(pixels())


def as_timm(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """SigLIP's image tower by the names that timm's vision transformer has."""
    name, head = "vision_model", "vision_model.head"
    found = {
        "pos_embed": theirs[f"{name}.embeddings.position_embedding.weight"][None],
        "attn_pool.latent": theirs[f"{head}.probe"],
    }
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = theirs[f"{name}.embeddings.patch_embedding.{kind}"]
        found[f"norm.{kind}"] = theirs[f"{name}.post_layernorm.{kind}"]
        query, *rest = theirs[f"{head}.attention.in_proj_{kind}"].chunk(3)
        found[f"attn_pool.q.{kind}"], found[f"attn_pool.kv.{kind}"] = query, torch.cat(rest)
        found[f"attn_pool.proj.{kind}"] = theirs[f"{head}.attention.out_proj.{kind}"]
        found[f"attn_pool.norm.{kind}"] = theirs[f"{head}.layernorm.{kind}"]
        for layer in ("fc1", "fc2"):
            found[f"attn_pool.mlp.{layer}.{kind}"] = theirs[f"{head}.mlp.{layer}.{kind}"]
        for number in range(LAYERS):
            old, new = f"{name}.encoder.layers.{number}", f"blocks.{number}"
            parts = [theirs[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{new}.attn.qkv.{kind}"] = torch.cat(parts)
            found[f"{new}.attn.proj.{kind}"] = theirs[f"{old}.self_attn.out_proj.{kind}"]
            for place in ("1", "2"):
                found[f"{new}.norm{place}.{kind}"] = theirs[f"{old}.layer_norm{place}.{kind}"]
                found[f"{new}.mlp.fc{place}.{kind}"] = theirs[f"{old}.mlp.fc{place}.{kind}"]
    return found


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_no_text_depends_on_those_beside_it(kind: str, request: pytest.FixtureRequest) -> None:
    towers = opened(request.getfixturevalue(kind)).towers

    together = towers.single_texts([*TEXTS, "a much longer line of text"])

    alone = torch.cat([towers.single_texts([text]) for text in TEXTS])
    assert torch.equal(together[:3], alone)


def test_a_run_measures_with_one(clip: Path, command: Any, tmp_path: Path) -> None:
    words = ("--encoder", f"transformers:{clip}", "--method", "zero-shot", "--setting", "few-shot")

    done = command("run", *words, "--shots", "1", "--out", str(tmp_path / "results"))

    assert done.code == 0, done.err
    (record, *_) = (tmp_path / "results").rglob("*.json")
    assert json.loads(record.read_text())["encoder"] == f"transformers:{clip}"


def test_shards_are_the_same_encoder(clip: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    folder = copy(clip, tmp_path / "shards")
    (folder / "model.safetensors").unlink()
    CLIPModel.from_pretrained(clip).save_pretrained(folder, max_shard_size="1MB")
    assert len(list(folder.glob("*.safetensors"))) > 1

    whole, split = opened(clip), opened(folder)

    before = split.sha256
    assert split.logit_scale == whole.logit_scale
    assert torch.equal(split.towers.images(pixels()), whole.towers.images(pixels()))
    with next(iter(sorted(folder.glob("*.safetensors")))).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert opened(folder).sha256 != before


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions_are_close(clip: Path, precision: str) -> None:
    images = opened(clip, precision).towers.images(pixels())

    assert images.dtype == torch.float32
    assert float((images * opened(clip).towers.images(pixels())).sum(-1).min()) > 0.98


def _without(file: str) -> Any:
    return lambda folder: (folder / file).unlink()


def _config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _dropped(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _pickled(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def _climbing(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"logit_scale": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _uncropped(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_center_crop": False}))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_without("config.json"), "config.json does not exist"),
        (_without("preprocessor_config.json"), "no preprocessor_config.json"),
        (_without("model.safetensors"), "neither model.safetensors nor"),
        (_pickled, "only safetensors are read"),
        (_climbing, "names no safetensors files beside it"),
        (_dropped, "lack 1 tensors of the model, such as visual_projection.weight"),
        (_config(model_type="bert"), "cannot be loaded|lack|not both"),
        (_config(model_type=None), "has no model_type"),
        (_config(vision_config={"num_hidden_layers": 10**6}), "num_hidden_layers is 1000000"),
        (
            _config(
                model_type="mine", auto_map={"AutoConfig": "code.Mine", "AutoModel": "code.Model"}
            ),
            "code of its own",
        ),
        (_uncropped, "one size \\(3, H, W\\) is needed"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line(
    harm: Any, told: str, clip: Path, tmp_path: Path
) -> None:
    folder = copy(clip, tmp_path / "harmed")
    harm(folder)

    with pytest.raises(EncoderError, match=told) as refused:
        _ = opened(folder).towers
    assert "\n" not in str(refused.value)


def test_a_place_is_a_repository_or_a_folder() -> None:
    for place in ("clip", "a/b/c", "a b/c", ""):
        with pytest.raises(EncoderError, match="neither ORG/NAME"):
            open_encoder(f"transformers:{place}")


def test_a_model_whose_weights_changed_has_another_hash(clip: Path, tmp_path: Path) -> None:
    folder = copy(clip, tmp_path / "copy")
    assert opened(folder).sha256 == opened(clip).sha256
    Image.new("RGB", (2, 2)).save(folder / "picture.png")
    assert opened(folder).sha256 == opened(clip).sha256
    _config(torch_dtype="float32")(folder)
    assert opened(folder).sha256 != opened(clip).sha256


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub
    assert hub.unknown == []


CLIENT = """
import json
from susx_bench.encoders.named import open_encoder
from susx_bench.errors import EncoderError
told = {}
for name in NAMES:
    try:
        encoder = open_encoder(name)
        told[name] = [encoder.sha256, encoder.revision, encoder.towers.length]
    except EncoderError as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_repository_is_the_folder_it_was_made_of(hub: Hub, clip: Path, tmp_path: Path) -> None:
    files = {file.name: file.read_bytes() for file in clip.iterdir()}
    commit = hub.add("model", "org/clip", files | {"pytorch_model.bin": b"bomb", "code.py": b""})
    bare = hub.add("model", "org/bare", {k: v for k, v in files.items() if "safetensors" not in k})
    names = [f"transformers:org/clip@{commit}", "transformers:org/clip", "transformers:org/bare"]
    client = CLIENT.replace("NAMES", repr(names))

    pinned, newest, nothing = hub.run(client, tmp_path).values()

    assert pinned == newest == [opened(clip).sha256, commit, 77]
    assert "it has none of model.safetensors, model.safetensors.index.json" in nothing
    assert bare
    fetched = {path.rpartition("/")[2] for method, path in hub.requests if method == "GET"}
    assert not fetched & {"pytorch_model.bin", "code.py"}
    assert hub.run(client, tmp_path, HF_HUB_OFFLINE="1")[names[0]] == pinned
