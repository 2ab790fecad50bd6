"""What is written for other programs comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from susx_bench.features.bundle import BundleTask
from susx_bench.features.convert.bring import read
from susx_bench.features.convert.collect import Request
from susx_bench.features.convert.give import read_bundle, write
from susx_bench.testing.task import unit
from tests.conftest import Bundle, Command

NAMES = ["tabby cat", "dog", "cow", "hen", "sheep"]
META = {"dataset": "toy", "encoder": "made:up", "logit_scale": 50.0, "classnames": NAMES}
TARGETS = ("cache", "mine.npz", "mine.safetensors")


@pytest.mark.parametrize("to", TARGETS)
def test_there_and_back_is_the_same_bundle(
    to: str, tmp_path: Path, bundle: Bundle, command: Command
) -> None:
    views = unit(20 * 3, 16, seed=4).view(20, 3, 16)
    patches = unit(70 * 2, 16, seed=5).view(70, 2, 16).half()
    path = bundle(meta={"bundle": json.dumps(META)}, support_views=views, spatial=patches)

    assert command("features", "export", path, "--to", to).code == 0
    assert command("features", "import", to, "--out", "back.safetensors").code == 0

    before, after = load_file(path), load_file("back.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype
        assert torch.equal(tensor, after[name])
    assert read_bundle(tmp_path / "back.safetensors").meta == META
    assert BundleTask(path).hashes == BundleTask(tmp_path / "back.safetensors").hashes
    again = command("features", "import", to, "--out", "back.safetensors")
    assert again.out.startswith("nothing to do")


def test_tip_adapters_products_can_be_taken(
    tmp_path: Path, bundle: Bundle, tensors: dict[str, Tensor]
) -> None:
    """The authors' formula on the files, as their code loads them."""
    write(read_bundle(bundle()), tmp_path / "cache")
    keys, values, features, labels, weights = (
        torch.load(tmp_path / "cache" / f"{name}.pt", weights_only=True)
        for name in ("keys_4shots", "values_4shots", "test_f", "test_l", "text_weights")
    )
    logits = 100.0 * features @ weights + ((-1) * (5.5 - 5.5 * features @ keys)).exp() @ values

    assert (keys.shape, values.shape, weights.shape) == ((16, 20), (20, 5), (16, 5))
    assert torch.equal(values.argmax(1), tensors["support_labels"])
    assert torch.equal(labels, tensors["test_labels"])
    assert float((logits.argmax(1) == labels).double().mean()) > 0.5


def test_numpy_reads_the_arrays(tmp_path: Path, bundle: Bundle, tensors: dict[str, Tensor]) -> None:
    write(read_bundle(bundle(meta={"bundle": json.dumps(META)})), tmp_path / "mine.npz")
    with np.load(tmp_path / "mine.npz") as arrays:
        assert arrays["classnames"].tolist() == NAMES
        assert float(arrays["logit_scale"]) == 50
        for name, tensor in tensors.items():
            assert np.array_equal(arrays[name], tensor.numpy())


def test_what_is_there_is_kept(tmp_path: Path, bundle: Bundle, command: Command) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/val_l.pt").write_text("of somebody else")
    refused = command("features", "export", bundle(), "--to", "cache")

    assert refused.code == 2
    assert "val_l.pt is there with other content. Give another --to, or --force" in refused.err
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["val_l.pt"]
    assert command("features", "export", bundle(), "--to", "mine.txt").code == 2


@pytest.mark.real
@pytest.mark.parametrize("to", TARGETS)
def test_real_features_come_back(to: str, tmp_path: Path, real: Path) -> None:
    for path in sorted((real / "features").glob("*.safetensors")):
        place = tmp_path / path.stem / to
        place.parent.mkdir()
        content = read_bundle(path)
        write(content, place)

        imported = read(Request(source=place))

        assert imported.meta == content.meta
        assert imported.tensors.keys() == content.tensors.keys()
        assert all(torch.equal(imported.tensors[n], t) for n, t in content.tensors.items())


RUN = ("run", "--setting", "few-shot", "--json")


@pytest.mark.parametrize("draw", [("--shots", 2, "--seed", 3), ()])
def test_a_datasets_features_answer_as_the_dataset_does(
    draw: tuple[object, ...], command: Command
) -> None:
    """The support of a draw is a run's; without one it is the whole train split."""
    exported = ("features", "export", "--dataset", "digits", "--encoder", "demo", *draw)
    done = command(*exported, "--prompts", "ensemble", "--to", "d.safetensors")
    assert (done.code, done.out) == (0, "wrote d.safetensors\n"), done.err
    tensors, meta = load_file("d.safetensors"), read_bundle(Path("d.safetensors")).meta
    shots = 2 if draw else 1
    words = ("--method", "tipx,tip-adapter,clip-dn", "--shots", shots, "--seed", 3)

    of_data = command(*RUN, *words, "--dataset", "digits", "--prompts", "ensemble").records
    of_bundle = command(*RUN, *words, "--features", "d.safetensors").records

    assert [r["method"] for r in of_data] == [r["method"] for r in of_bundle]
    if draw:  # from a bundle of other images of each class the draw is another one
        for mine, other in zip(of_data, of_bundle, strict=True):
            assert mine["predictions_sha256"] == other["predictions_sha256"], mine["method"]
            assert mine["hparams"] == other["hparams"]
        assert len(tensors["support"]) == 20
    else:
        assert len(tensors["support"]) > 100
    assert (meta["dataset"], meta["encoder"]) == ("digits", "demo")
    assert (meta["support_from"], len(meta["classnames"])) == ("few-shot", 10)
    assert tensors["text_prompts"].shape == (10, 7, tensors["text"].shape[1])
    again = command(*exported, "--prompts", "ensemble", "--to", "d.safetensors")
    assert again.code == 0


def test_a_datasets_features_become_tip_adapters_files(command: Command) -> None:
    words = ("features", "export", "--dataset", "digits", "--encoder", "demo", "--to", "cache")
    assert command(*words, "--shots", 4).code == 0

    keys = torch.load("cache/keys_4shots.pt", weights_only=True)
    assert keys.shape[1] == 40
    assert torch.load("cache/test_l.pt", weights_only=True).shape == (769,)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "nothing to export: give a BUNDLE, or --dataset NAME --encoder ENCODER."),
        (("b.safetensors", "--shots", 2), "--shots does not go with a bundle"),
        (("--dataset", "digits,dtd"), "--dataset digits, dtd: one export holds one of them."),
        (("--dataset", "digits", "--shots", "1,2"), "--shots 1, 2: one export holds one of them"),
        (("--dataset", "digits", "--seed", 1), "--seed draws images of each class"),
        (("--dataset", "digits", "--shots", 9999), "9999"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    words: tuple[object, ...], why: str, command: Command
) -> None:
    done = command("features", "export", *words, "--to", "x.npz")

    assert (done.code, why in " ".join(done.err.split())) == (2, True), done.err
    assert not Path("x.npz").exists()
