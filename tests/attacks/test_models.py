"""Encoders and pipelines that bring code of their own: it is never run, and nobody is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from susx_bench.encoders.openclip import OpenClip
from susx_bench.errors import EncoderError, SupportError
from susx_bench.support.pipelines import Pipeline
from tests.encoders.conftest import VIT, Folder, folder
from tests.support.conftest import untrained

__all__ = ["folder"]  # a fixture

EVIL = """
from pathlib import Path
Path({ran!r}).touch()
class Evil:
    model_type = "evil"
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        return cls()
    register_for_auto_class = from_config = __call__ = from_pretrained
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that evil code leaves behind; whoever is asked says yes."""
    asked: list[str] = []

    def agree(question: str = "") -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", agree)
    path = tmp_path / "ran"
    yield path
    assert not asked
    assert not path.exists()


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return untrained(tmp_path / "pipeline")


def plant(folder: Path, ran: Path, name: str = "evil") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(EVIL.format(ran=str(ran)))


def change(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def test_a_tokenizer_with_code_of_its_own(folder: Folder, ran: Path) -> None:
    path = folder()
    plant(path, ran)
    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    change(path / "tokenizer_config.json", tokenizer_class="Evil", auto_map=auto_map)

    with pytest.raises(EncoderError, match="code of its own, which is never run") as error:
        assert OpenClip(f"local-dir:{path}").towers
    assert str(error.value).startswith(f"--encoder local-dir:{path}: cannot be loaded: ")
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_does_without_its_own_code(folder: Folder, ran: Path) -> None:
    path = folder()
    plant(path, ran)
    change(path / "config.json", auto_map={"AutoConfig": "evil.Evil"}, model_type="clip")

    assert OpenClip(f"local-dir:{path}").towers.tokenize(["seven"]).shape == (1, 16)


def test_a_text_tower_with_code_of_its_own(folder: Folder, ran: Path, tmp_path: Path) -> None:
    path, tower = folder(), tmp_path / "tower"
    plant(tower, ran)
    auto_map = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    change(tower / "config.json", auto_map=auto_map, model_type="evil")
    text_cfg = VIT["text_cfg"] | {"hf_model_name": str(tower)}
    change(path / "open_clip_config.json", model_cfg=VIT | {"text_cfg": text_cfg})

    with pytest.raises(EncoderError, match="code of its own, which is never run"):
        assert OpenClip(f"local-dir:{path}").towers


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("unet", ["evil", "Evil"]),
        ("tokenizer", ["evil_module", "Evil"]),
        ("scheduler", ["os", "system"]),
        ("../unet", ["diffusers", "UNet2DConditionModel"]),
        ("unet", [["diffusers"], "UNet2DConditionModel"]),
        ("unet", []),
    ],
)
def test_a_part_of_a_pipeline_of_other_classes(
    pipeline: Path,
    ran: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    value: object,
) -> None:
    plant(pipeline / "unet", ran)
    plant(tmp_path / "path", ran, "evil_module")
    monkeypatch.syspath_prepend(tmp_path / "path")
    change(pipeline / "model_index.json", **{part: value})

    with pytest.raises(SupportError, match=f"its part '{part}' is a class of .* never run"):
        assert Pipeline(str(pipeline)).loaded


@pytest.mark.parametrize("kind", ["Evil", "pipelines", "UNet2DModel", "evil.Evil"])
def test_a_pipeline_of_another_class(pipeline: Path, ran: Path, kind: str) -> None:
    plant(pipeline, ran)
    plant(pipeline, ran, "pipeline")
    change(pipeline / "model_index.json", _class_name=kind)

    with pytest.raises(SupportError, match=f"'{kind}' is no pipeline of diffusers .* never run"):
        assert Pipeline(str(pipeline)).loaded


def test_an_auto_tokenizer_of_a_pipeline_with_code_of_its_own(pipeline: Path, ran: Path) -> None:
    plant(pipeline / "tokenizer", ran)
    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    change(pipeline / "tokenizer/tokenizer_config.json", auto_map=auto_map, tokenizer_class="Evil")
    change(pipeline / "model_index.json", tokenizer=["transformers", "AutoTokenizer"])

    with pytest.raises(SupportError, match="cannot be loaded: "):
        assert Pipeline(str(pipeline)).loaded


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"_class_name": 1}', "[" * 100_000])
def test_an_index_that_says_nothing(pipeline: Path, content: str) -> None:
    (pipeline / "model_index.json").write_text(content)

    with pytest.raises(SupportError) as error:
        assert Pipeline(str(pipeline)).kind
    assert "model_index.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tower", "key", "value", "said"),
    [
        ("vision_cfg", "layers", 1_000_000, "layers is 1000000, the most that is built is 1,000"),
        ("vision_cfg", "layers", [1, 10**6, 1, 1], "layers is 1000000, the most"),
        ("text_cfg", "layers", 10**400, "layers is of 401 digits, the most"),
        (
            "text_cfg",
            "vocab_size",
            10**9,
            "vocab_size is 1000000000, the most that is built is 10,000,000",
        ),
        ("vision_cfg", "image_size", float("inf"), "image_size is inf, the most"),
        ("text_cfg", "width", float("nan"), "width is nan, the most"),
    ],
)
def test_an_encoder_of_a_size_that_no_model_has(
    folder: Folder, tower: str, key: str, value: object, said: str
) -> None:
    path = folder()
    change(path / "open_clip_config.json", model_cfg=VIT | {tower: VIT[tower] | {key: value}})

    with pytest.raises(EncoderError, match=said) as error:
        OpenClip(f"local-dir:{path}")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_encoder_whose_configuration_is_nested_too_deep(folder: Folder) -> None:
    path = folder()
    (path / "open_clip_config.json").write_text("[" * 100_000)

    with pytest.raises(EncoderError, match=r"is not an open_clip configuration: .*too deep"):
        OpenClip(f"local-dir:{path}")
