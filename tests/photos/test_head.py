"""A head in a file, used with open_clip alone."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import susx_bench
from susx_bench import Classifier, Context
from susx_bench.encoders.elsewhere import open_clip_words, preprocessing
from susx_bench.encoders.named import open_encoder
from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import BenchError, EncoderError, OptionError, PackageMissingError
from susx_bench.testing.task import make_context
from tests.conftest import Bundle, Command
from tests.encoders.conftest import RESNET, VIT, Folder, folder

__all__ = ["folder"]  # a fixture

PAGE = Path(susx_bench.__file__).parent.parent / "docs/use-it-elsewhere.md"
NAMES = ("red", "green", "blue")


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 52, 3), np.uint8)
    return Image.fromarray(pixels)


def test_the_lines_on_the_page_classify_as_the_classifier_does(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"local-dir:{folder()}"
    encoder = open_encoder(name)
    towers = encoder.towers
    images = [picture(seed) for seed in range(20)]
    with torch.no_grad():
        features = towers.images(torch.stack([towers.transform(image) for image in images]))
    support, labels = features[:12], torch.arange(12) % 3
    text = torch.nn.functional.normalize(
        torch.stack([support[labels == k].mean(0) for k in range(3)])
    )
    context = Context(text, support, labels, encoder.logit_scale)
    classifier = Classifier.fit(NAMES, "gda", context, name, weights_sha256=encoder.sha256)
    susx_bench.export(classifier, "head.safetensors")
    (code,) = re.findall(
        r"```python\n(.*?)```", PAGE.read_text().partition("## ONNX")[0], re.DOTALL
    )

    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    said = []
    for image in images:
        image.save("photo.png")
        exec(code.replace("photo.jpg", "photo.png"), {})
        said.append(capsys.readouterr().out.strip())
    answers = classifier.predict(features).label.tolist()

    assert said == [NAMES[label] for label in answers]
    assert len(set(said)) > 1


def test_a_classifiers_file_is_exported_and_says_what_it_is(tmp_path: Path) -> None:
    context = make_context()
    classifier = Classifier.fit(list("abcde"), "ss-text", context, "RN50:openai")
    classifier.save(tmp_path / "kept.safetensors")

    susx_bench.export(tmp_path / "kept.safetensors", tmp_path / "head.safetensors")

    with safe_open(tmp_path / "head.safetensors", "pt") as file:
        (key,) = file.metadata()
        head = json.loads(file.metadata()[key])
        assert tuple(file.get_tensor("weights").shape) == context.text.shape
        assert file.get_tensor("bias").shape == (5,)
    assert key == "head"
    assert head["classnames"] == list("abcde")
    assert head["open_clip"] == {"model_name": "RN50-quickgelu", "pretrained": "openai"}
    assert head["preprocess"]["size"] == [224, 224]
    assert head["preprocess"]["interpolation"] == "bicubic"
    assert (head["method"], head["precision"]) == ("ss-text", "fp32")


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("tip-adapter", "its cache has exponentials of the affinities"),
        ("transclip", "transclip is transductive: its answer for an image depends on other images"),
    ],
)
def test_what_weights_cannot_say_is_one_line(method: str, why: str, tmp_path: Path) -> None:
    classifier = Classifier.fit(list("abcde"), method, make_context(), "RN50:openai")

    with pytest.raises(OptionError, match=why) as caught:
        susx_bench.export(classifier, tmp_path / "head.safetensors")

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "head.safetensors").exists()


def test_preprocessing_is_told_without_the_weights(folder: Folder) -> None:
    """As open_clip itself has it once the model is loaded."""
    own = {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear", "resize_mode": "squash"}
    for name in (f"local-dir:{folder(preprocess=own)}", "demo", "ViT-B-32:random"):
        encoder = OpenClip(name)
        told = preprocessing(encoder)
        assert told is not None
        loaded = encoder.towers.preprocess_cfg
        for key, value in told.items():
            wanted = loaded[key]
            assert value == (list(wanted) if isinstance(wanted, tuple) else wanted), key
    assert open_clip_words(OpenClip("ViT-B-32:random")) is None
    assert open_clip_words(OpenClip("demo")) is None


RUN = ("run", "--setting", "few-shot", "--json")


def test_a_record_is_exported_from_its_inputs(bundle: Bundle, command: Command) -> None:
    path = bundle()
    run = (*RUN, "--method", "zero-shot,gda,ss-text", "--features", path)
    records = command(*run).records

    for record in records:
        head = f"{record['method']}.safetensors"
        done = command("export", record["record"], "--features", path, "--to", head)

        assert done.code == 0
        assert done.out == (
            f"wrote {head}: {record['method']}, 5 classes, width 16, the record's answer on 70 of "
            "70 test images\n"
        )
        assert "open_clip cannot load the encoder 'made:up'" in " ".join(done.err.split())
        with safe_open(head, "pt") as file:
            says = json.loads(file.metadata()["head"])
            rows = load_file(path)["test"]
            answers = (rows @ file.get_tensor("weights").T + file.get_tensor("bias")).argmax(-1)
        assert says["record"] == record["input_sha256"]
        assert says["hparams"] == record["hparams"]
        kept = load_file(Path(record["record"]).with_suffix(".safetensors"))
        assert torch.equal(answers, kept["top1"].long())
    refused = command("export", records[0]["record"], "--to", "x.safetensors")
    assert (refused.code, "--features" in refused.err) == (2, True)


def test_a_record_that_weights_cannot_say_is_one_line(bundle: Bundle, command: Command) -> None:
    path = bundle()
    records = command(*RUN, "--method", "tip-adapter,transclip-fs", "--features", path).records

    for record, why in zip(records, ("exponentials", "transductive"), strict=True):
        done = command("export", record["record"], "--features", path, "--to", "x.safetensors")
        assert (done.code, why in done.err) == (2, True)
        assert not Path("x.safetensors").exists()


def test_another_file_is_told_from_a_record(command: Command, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")

    said = command("export", tmp_path / "photo.png", "--to", "x.safetensors")

    assert said.code == 2
    assert "photo.png is neither a record" in said.err


def test_the_demo_is_exported_with_its_preprocessing(command: Command) -> None:
    (record,) = command(*RUN, "--method", "zero-shot", "--dataset", "digits").records

    assert command("export", record["record"], "--to", "head.safetensors").code == 0
    with safe_open("head.safetensors", "pt") as file:
        says = json.loads(file.metadata()["head"])
    assert says["preprocess"]["size"] == [16, 16]
    assert len(says["encoder_sha256"]) == 64


SLOW = {"lp++", "linear-probe"}
"""Trained methods, which take minutes on a thousand classes."""
TIES: dict[tuple[str, str], int] = {}
"""Test images on which a head has another class than its record, where two tie but for rounding."""


@pytest.mark.real
@pytest.mark.parametrize("method", ["zero-shot", "gda", "timo", "ss-text", "ss-text-plus", "lp++"])
def test_heads_have_the_records_classes_on_real_features(
    method: str, real: Path, command: Command
) -> None:
    for path in sorted((real / "features").glob("*.safetensors")):
        if method in SLOW and path.stem.startswith(("imagenet", "stanfordcars")):
            continue
        run = (*RUN, "--method", method, "--tune", "fixed", "--features", path)
        records = command(*run).records
        if not records:  # of one image per class there is no covariance
            continue
        (record,) = records
        done = command("export", record["record"], "--features", path, "--to", "h.safetensors")
        total = record["n_test"]
        same = total - TIES.get((method, path.stem), 0)

        assert done.code == 0, done.err
        assert f"the record's answer on {same:,} of {total:,} test images" in done.out
        done = command("export", record["record"], "--features", path, "--to", "h.onnx")
        assert done.code == 0, done.err
        check_onnx(Path("h.onnx"), Path("h.safetensors"), load_file(path)["test"].float())


def check_onnx(model: Path, head: Path, features: torch.Tensor) -> None:
    """The model's classes are the head's, but where two are as good but for rounding."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="'.[test]' has it")
    tensors, session = load_file(head), onnxruntime.InferenceSession(str(model))
    rows = torch.nn.functional.normalize(features, dim=-1)
    wanted = rows @ tensors["weights"].T + tensors["bias"]

    logits = torch.from_numpy(session.run(None, {"features": features.numpy()})[0])

    near = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(logits, wanted, atol=near, rtol=0)
    margin = wanted.topk(2).values.diff().abs().flatten()
    same = logits.argmax(-1) == wanted.argmax(-1)
    assert bool((same | (margin < 2 * near)).all()), model


def onnx_answers(capsys: pytest.CaptureFixture[str], features: torch.Tensor) -> list[str]:
    """Classes of features by the lines on the page."""
    part = PAGE.read_text().partition("## ONNX")[2]
    code = re.findall(r"```python\n(.*?)```", part, re.DOTALL)[0]
    capsys.readouterr()
    exec(code, {"features": features.numpy()})
    found: list[str] = json.loads(capsys.readouterr().out.replace("'", '"'))
    return found


@pytest.mark.parametrize("method", ["zero-shot", "gda", "ss-text"])
def test_an_onnx_head_answers_as_the_other(
    method: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: '.[test]' has it")
    context = make_context()
    classifier = Classifier.fit(list("abcde"), method, context, "RN50:openai")
    susx_bench.export(classifier, tmp_path / "head.onnx")
    first = (tmp_path / "head.onnx").read_bytes()
    head = susx_bench.export(classifier, tmp_path / "head.onnx")
    rows = torch.nn.functional.normalize(torch.randn(200, 16, generator=torch.manual_seed(0)))

    wanted = ["abcde"[label] for label in head.linear.logits(rows).argmax(-1)]

    assert (tmp_path / "head.onnx").read_bytes() == first
    assert onnx_answers(capsys, rows) == onnx_answers(capsys, 7 * rows) == wanted
    assert len(set(wanted)) > 1


def lines_with_the_tower() -> str:
    """The lines on the page that classify an image with the whole model."""
    part = PAGE.read_text().partition("### With the image tower")[2]
    return str(re.findall(r"```python\n(.*?)```", part, re.DOTALL)[0])


SQUARE = VIT | {"vision_cfg": VIT["vision_cfg"] | {"image_size": 16}}


@pytest.mark.parametrize("model", [SQUARE, RESNET])
def test_an_onnx_model_with_the_tower_answers_as_the_classifier(
    model: dict[str, Any], folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attention and ResNet; in batches of any size, and on images by the lines on the page."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="'.[test]' has it")
    name = f"local-dir:{folder(model)}"
    encoder = open_encoder(name)
    towers = encoder.towers
    images = [picture(seed) for seed in range(12)]
    with torch.no_grad():
        features = towers.images(torch.stack([towers.transform(image) for image in images]))
    text = torch.nn.functional.normalize(features.view(3, 4, -1).mean(1))
    context = Context(text, features, torch.arange(12) // 4, encoder.logit_scale)
    classifier = Classifier.fit(NAMES, "gda", context, name, weights_sha256=encoder.sha256)
    fast = torch.backends.mha.get_fastpath_enabled()

    head = susx_bench.export(classifier, "whole.onnx", tower=True)

    assert torch.backends.mha.get_fastpath_enabled() == fast
    session = onnxruntime.InferenceSession("whole.onnx")
    says = json.loads(session.get_modelmeta().custom_metadata_map["head"])
    assert says["preprocess"] == head.preprocess
    for count in (1, 2, 12):
        pixels = torch.stack([towers.transform(image) for image in images[:count]])
        logits, rows = session.run(None, {"pixels": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(rows), features[:count], atol=1e-5, rtol=0)
        wanted = head.linear.logits(features[:count])
        torch.testing.assert_close(torch.from_numpy(logits), wanted, atol=1e-2, rtol=1e-4)
    said = []
    capsys.readouterr()
    for image in images:
        image.save("photo.png")
        exec(lines_with_the_tower().replace("photo.jpg", "photo.png"), {})
        said.append(capsys.readouterr().out.strip())
    assert said == [NAMES[label] for label in classifier.predict(features).label.tolist()]
    assert len(set(said)) > 1


def test_a_tower_that_cannot_be_exported_is_one_line(folder: Folder, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="'.[test]' has it")
    name = f"local-dir:{folder()}"
    context = make_context()
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({}, "head.safetensors", "--tower goes into a file that ends in .onnx"),
        ({"precision": "bf16"}, "head.onnx", "the features are of bf16"),
        ({"weights_sha256": "0" * 64}, "head.onnx", "has other weights here"),
    ]
    for changes, to, why in cases:
        classifier = Classifier.fit(list("abcde"), "gda", context, name, **changes)
        with pytest.raises(BenchError, match=why):
            susx_bench.export(classifier, tmp_path / to, tower=True)
        assert not (tmp_path / to).exists()


def test_a_tower_whose_model_differs_is_not_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="'.[test]' has it")
    monkeypatch.setattr("susx_bench.photos.onnx._TOLERANCE", -1.0)
    context = make_context()
    classifier = Classifier.fit(list("abcde"), "gda", context, f"local-dir:{folder()}")

    with pytest.raises(EncoderError, match="other features than the encoder"):
        susx_bench.export(classifier, "head.onnx", tower=True)
    assert not Path("head.onnx").exists()


def test_without_onnx_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    classifier = Classifier.fit(list("abcde"), "gda", make_context(), "RN50:openai")

    with pytest.raises(PackageMissingError, match=r"an \.onnx file needs onnx"):
        susx_bench.export(classifier, tmp_path / "head.onnx")
