"""Models of timm: its own forward on its own transform, without text, offline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from susx_bench.encoders.named import open_encoder
from susx_bench.encoders.timm import TimmEncoder
from susx_bench.errors import EncoderError, UnknownNameError
from tests.data.made import photo
from tests.hub import Hub

SIDE = 32


def write(folder: Path, architecture: str, seed: int = 0, **options: Any) -> Path:
    """A model of timm with random weights in its own layout for the Hub."""
    import timm
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(architecture, **options)
        for weight in model.parameters():
            weight.data.normal_(std=0.2)
    save_for_hf(model, str(folder), safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision transformer with registers as DINOv2's, with a classifier of five classes."""
    return write(
        tmp_path_factory.mktemp("timm") / "vit", "vit_small_patch14_reg4_dinov2",
        img_size=28, embed_dim=24, depth=2, num_heads=2, num_classes=5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def convnext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ConvNeXt, whose head has a norm before the classifier."""
    return write(
        tmp_path_factory.mktemp("timm") / "convnext", "convnext_atto",
        depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=3,
    )  # fmt: skip


def opened(folder: Path, precision: str = "fp32") -> TimmEncoder:
    encoder = open_encoder(f"timm:{folder}", precision)
    assert isinstance(encoder, TimmEncoder)
    return encoder


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.mark.parametrize("kind", ["vit", "convnext"])
def test_features_are_those_of_timm(kind: str, request: pytest.FixtureRequest) -> None:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    folder: Path = request.getfixturevalue(kind)
    theirs: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    resolve: Any = resolve_model_data_config
    transform: Any = create_transform(**resolve(theirs), is_training=False)
    before = torch.get_rng_state()

    towers = opened(folder).towers

    assert torch.equal(torch.get_rng_state(), before)
    image = photo(3)
    assert torch.equal(towers.transform(image), transform(image))
    pixels = torch.stack([transform(photo(i)) for i in range(3)])
    with torch.no_grad():
        expected = theirs(pixels)
    assert expected.std() > 0.01
    torch.testing.assert_close(towers.image_features(pixels), expected)
    torch.testing.assert_close(towers.images(pixels), F.normalize(expected, dim=-1))
    cfg = towers.preprocess_cfg
    assert cfg["size"] == tuple(pixels.shape[2:])
    assert cfg["interpolation"] == resolve(theirs)["interpolation"]


def test_it_reads_no_text(vit: Path) -> None:
    encoder = opened(vit)

    assert (encoder.has_text, encoder.has_patches, encoder.width) == (False, False, 24)
    assert encoder.logit_scale == 100
    with pytest.raises(EncoderError, match="reads no text"):
        encoder.towers.texts([["a cat"]])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions_are_close(vit: Path, precision: str) -> None:
    pixels = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(2))

    images = opened(vit, precision).towers.images(pixels)

    assert images.dtype == torch.float32
    assert float((images * opened(vit).towers.images(pixels)).sum(-1).min()) > 0.98


def test_other_weights_are_another_encoder(vit: Path, tmp_path: Path) -> None:
    folder = copy(vit, tmp_path / "other")
    assert opened(folder).sha256 == opened(vit).sha256
    weights = load_file(folder / "model.safetensors")
    weights["norm.bias"] = weights["norm.bias"] + 1
    save_file(weights, folder / "model.safetensors")

    assert opened(folder).sha256 != opened(vit).sha256


def _config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _args(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["model_args"] |= changes
        path.write_text(json.dumps(config))

    return change


def _without(name: str) -> Any:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights[name]
        save_file(weights, folder / "model.safetensors")

    return change


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json does not exist"),
        (_pickled, "has no model.safetensors; only safetensors are read"),
        (_without("blocks.1.mlp.fc1.weight"), "cannot be loaded: .*blocks.1.mlp.fc1.weight"),
        (_without("head.weight"), "cannot be loaded: .*head.weight"),
        (_config(architecture=None), "has no architecture"),
        (_config(architecture="no_such_model"), r"cannot be loaded: .*no_such_model"),
        (_config(num_classes=7), "num_classes is"),
        (_args(checkpoint_path="/etc/passwd"), "model_args has checkpoint_path"),
        (_args(pretrained_strict=False), "model_args has pretrained_strict"),
        (_args(in_chans=1), "the model reads 1 channels, its weights 3"),
        (_args(depth=10**6), "depth is 1000000, the most that is built is 1,000"),
        (_args(embed_dim=48), "cannot be loaded"),
    ],
)
def test_what_does_not_fit_is_refused(vit: Path, tmp_path: Path, change: Any, line: str) -> None:
    folder = copy(vit, tmp_path / "broken")
    change(folder)

    with pytest.raises(EncoderError, match=line) as refused:
        _ = opened(folder).towers

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("timm:vit_small_patch14_dinov22", "vit_small_patch14_dinov2.lvd142m"),
        ("timm:vit_small_patch14_dinov2.no_such", "vit_small_patch14_dinov2.lvd142m"),
    ],
)
def test_a_name_that_timm_has_not_is_refused(name: str, line: str) -> None:
    with pytest.raises(UnknownNameError, match=line) as refused:
        open_encoder(name)

    assert len(str(refused.value)) < 600


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(EncoderError, match="neither NAME"):
        open_encoder("timm:a b")


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
        towers = encoder.towers
        told[name] = [encoder.sha256, encoder.revision, encoder.width]
    except EncoderError as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_repository_is_the_folder_it_was_made_of(hub: Hub, vit: Path, tmp_path: Path) -> None:
    files = {file.name: file.read_bytes() for file in vit.iterdir()}
    table = "timm/vit_small_patch14_reg4_dinov2.lvd142m"
    commit = hub.add("model", table, files | {"pytorch_model.bin": b"bomb", "code.py": b""})
    hub.add("model", "org/bare", {k: v for k, v in files.items() if "safetensors" not in k})
    names = [
        f"timm:vit_small_patch14_reg4_dinov2.lvd142m@{commit}",
        "timm:vit_small_patch14_reg4_dinov2",
        f"timm:{table}",
        "timm:org/bare",
    ]
    client = CLIENT.replace("NAMES", repr(names))

    *same, nothing = hub.run(client, tmp_path).values()

    assert same == [[opened(vit).sha256, commit, 24]] * 3
    assert "it has none of model.safetensors" in nothing
    fetched = {path.rpartition("/")[2] for method, path in hub.requests if method == "GET"}
    assert not fetched & {"pytorch_model.bin", "code.py"}
    assert hub.run(client, tmp_path, HF_HUB_OFFLINE="1")[names[0]] == same[0]
    elsewhere = hub.run(client, tmp_path / "other", HF_HUB_OFFLINE="1")[names[0]]
    assert "HF_HUB_OFFLINE" in elsewhere


def test_a_run_measures_what_needs_no_text(vit: Path, command: Any, tmp_path: Path) -> None:
    out, encoder = tmp_path / "results", f"timm:{vit}"
    methods = "ncm,gda,tag,tip-adapter,linear-probe,zero-shot,waffle"
    words = [*("run", "--encoder", encoder, "--method", methods, "--setting", "few-shot")]
    words += ["--shots", "2", "--seed", "1", "--out", str(out)]

    planned = command(*words, "--dry-run")
    done = command(*words)
    again = command(*words, "--prompts", "ensemble")

    assert planned.code == done.code == again.code == 0, done.err
    assert "to encode" not in planned.out or "prompts to encode" not in planned.out
    records = [json.loads(path.read_text()) for path in out.rglob("*.json")]
    assert {r["method"] for r in records} == {"ncm", "gda", "tag", "tip-adapter", "linear-probe"}
    assert {r["prompts"] for r in records} == {"none"}
    why = "needs text features, and digits has none of timm:"
    assert f"zero-shot {why}" in " ".join((done.out + done.err).split())
    assert f"waffle {why}" in " ".join((done.out + done.err).split())
    assert "--prompts has no effect" in " ".join(again.err.split())
    assert len(list(out.rglob("*.json"))) == len(records)
    path = next(iter(out.rglob("ncm-*.json")))
    assert command("records", "verify", str(path)).code == 0


def test_listed(command: Any) -> None:
    assert "timm:PLACE" in command("list", "encoders").out


def test_photographs_are_classified_by_labelled_ones(
    vit: Path, command: Any, tmp_path: Path
) -> None:
    from PIL import Image

    for name, colour in {"red": (250, 10, 10), "blue": (10, 10, 250)}.items():
        for i in range(4):
            for folder in (tmp_path / "labelled" / name, tmp_path / "photos"):
                folder.mkdir(parents=True, exist_ok=True)
                shade = tuple(min(255, c + 5 * i + (folder.name == "photos")) for c in colour)
                Image.new("RGB", (40, 30), shade).save(folder / f"{name}-{i}.png")
    words = ("classify", str(tmp_path / "photos"), "--encoder", f"timm:{vit}")
    labelled = ("--labelled", str(tmp_path / "labelled"))

    for method in ((), ("--method", "ncm"), ("--method", "gda")):
        out = tmp_path / "-".join(("answers", *method))
        done = command(*words, *labelled, *method, "--out", str(out))
        assert done.code == 0, done.err
        rows = (out / "predictions.csv").read_text().splitlines()[1:]
        assert len(rows) == 8
        assert all(row.split("-")[0] == row.split(",")[1] for row in rows)
    bare = command(*words, "--classes", "red,blue", "--out", str(tmp_path / "bare"))
    assert bare.code == 2
    assert "reads no text" in bare.err
    text = command(*words, *labelled, "--method", "tipx", "--out", str(tmp_path / "text"))
    assert text.code == 2
    assert "--method tipx needs text features" in " ".join(text.err.split())
    pool = ("support", "build", "--classes", "a,b", "--kind", "sus-lc", "--pool")
    found = command(*pool, str(tmp_path / "photos"), "--encoder", f"timm:{vit}")
    assert found.code == 2
    assert "reads no text" in " ".join(found.err.split())
