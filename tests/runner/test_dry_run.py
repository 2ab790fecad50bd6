"""A dry run ends like the run: the same refusals, the same exit code, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from susx_bench.errors import DatasetError, EncoderError
from susx_bench.runner.plan import Part, lost_lines
from tests.conftest import Bundle, Command

TOY = ("--setting", "few-shot", "--features", "toy.safetensors")
REFUSED: dict[str, tuple[str, ...]] = {
    "more shots than there are": ("--method", "tipx", *TOY, "--shots", "2,8"),
    "only more shots": ("--method", "tipx", *TOY, "--shots", "8"),
    "a part that is another": ("--method", "tipx", *TOY[:3], "leaks.safetensors"),
    "no such file": ("--method", "tipx", *TOY[:3], "gone.safetensors"),
    "no val": ("--method", "tipx", *TOY[:3], "no-val.safetensors", "--tune", "val"),
    "val shots": ("--method", "tipx", *TOY, "--tune", "few-val", "--val-shots", "7"),
    "test labels": (
        "--method",
        "transclip",
        *TOY[:3],
        "unlabelled.safetensors",
        "--batches",
        "8:2",
    ),
    "limit": ("--method", "tipx", *TOY[:3], "unlabelled.safetensors", "--limit", "2"),
    "classnames": ("--method", "tipx", *TOY, "--classnames", "names.txt"),
    "shots file": ("--method", "tipx", *TOY, "--shots-file", "far.json"),
    "no such device": ("--method", "tipx", *TOY, "--accelerator", "tpu"),
    "a file as a folder": ("--method", "tipx", *TOY, "--out", "toy.safetensors/out"),
    "an unknown method": ("--method", "tipxx", *TOY),
    "two of one name": ("--method", "tipx,./same.py:Same", *TOY),
    "data": ("--method", "tipx", "--setting", "few-shot", "--dataset", "digits,./gone"),
    "an encoder": ("--method", "tipx", "--setting", "few-shot", "--dataset", "./gone"),
    "support": ("--method", "tipx", "--setting", "name-only", "--support", "sus-xx"),
    "a cache": ("--method", "tag", "--setting", "few-shot", "--dataset", "digits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(
    kind: str,
    command: Command,
    bundle: Bundle,
    tensors: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle()
    bundle("leaks.safetensors", val=tensors["test"].clone(), val_labels=tensors["test_labels"] * 1)
    bundle("no-val.safetensors", val=None, val_labels=None)
    bundle("unlabelled.safetensors", test_labels=None)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "far.json").write_text("[0, 99]")
    (tmp_path / "same.py").write_text(
        "import susx_bench as sb\nclass Same(sb.Method):\n    name = 'tipx'\n"
        "    def fit(self, context): pass\n    def logits(self, images): return images\n"
    )
    if kind == "a cache":
        monkeypatch.setenv("SUSX_BENCH_CACHE", str(tmp_path / "toy.safetensors" / "cache"))
    before = sorted(tmp_path.rglob("*"))

    dry = command("run", *REFUSED[kind], "--dry-run")
    assert sorted(tmp_path.rglob("*")) == before
    ran = command("run", *REFUSED[kind])

    assert dry.code == ran.code == 2
    assert dry.out == ran.out == ""
    if kind not in (
        "a file as a folder",
        "a cache",
    ):  # the run tries, and says what the system said
        assert dry.err == ran.err


def test_a_suite_goes_on_and_ends_alike(command: Command, bundle: Bundle, tmp_path: Path) -> None:
    bundle()
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\n[[run]]\nmethod = ["tip-adapter"]\nsetting = "few-shot"\n'
        'features = ["toy.safetensors", "gone.safetensors"]\nshots = [2, 8]\nseed = [1]\n'
    )

    dry = command("run", "--suite", "mine.toml", "--dry-run")
    ran = command("run", "--suite", "mine.toml")

    assert dry.code == ran.code == 3
    assert "would measure 1 of 1 cell" in dry.out
    told = "the cells of 2 datasets could not be listed: toy bundle S = 8, gone bundle"
    assert told in dry.err
    assert told in ran.err
    assert "cannot be listed: gone bundle: --features gone.safetensors: no such file" in ran.err


def test_what_several_data_lack_is_said_once() -> None:
    lacking = [EncoderError("no weights of RN50 here."), DatasetError("cub: no such folder.")]
    parts = [
        Part("dtd", "RN50", "a", error=lacking[0]),
        Part("dtd", "RN50", "b", error=lacking[0]),
        Part("eurosat", "RN50", "c", error=EncoderError(str(lacking[0]))),
        Part("ucf101", "RN50", "d"),
        Part("cub", "RN50", "e", error=lacking[1]),
    ]

    assert lost_lines(parts) == [
        "dtd RN50, eurosat RN50: no weights of RN50 here.",
        "cub RN50: cub: no such folder.",
    ]


def test_what_a_run_would_download_is_named_and_no_refusal(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an empty machine nobody knows the hash of the weights, and so no cell."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ("--method", "tipx", "--setting", "few-shot", "--dataset", "digits")

    done = command("run", *words, "--encoder", "RN50:openai", "--dry-run")

    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "cannot be listed: digits" in told
    assert "timm/resnet50_clip.openai: not in" in told
    assert "planning downloads nothing, the run does" in told
    assert "would measure 0 of 0 cells and those known after downloading" in told
