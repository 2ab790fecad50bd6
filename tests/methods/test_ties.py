"""Of classes that tie the first is the answer: in tuning, in prediction, in every method."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.calip import CALIP
from susx_bench.methods.ties import first_alike, first_same, leaders, top1
from susx_bench.methods.tip_adapter import TipAdapter
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.records.store import read_predictions
from susx_bench.testing.task import clustered, make_context, unit, with_patches
from susx_bench.tuning.choose import choose
from tests.conftest import Command

INF, NAN = torch.inf, torch.nan


@pytest.mark.parametrize(
    ("logits", "winner"),
    [
        ([1.0, 3.0, 3.0, 2.0], 1),
        ([3.0, 1.0, 2.0, 3.0], 0),
        ([25.0, 25.000002, 24.0], 0),  # a rounding of 25 is 2e-6
        ([25.0, 25.001, 24.0], 1),
        ([-1e-9, 0.0, -25.0], 0),  # what the largest number of the row was rounded by
        ([-INF, -INF, -3.0], 2),
        ([-INF, -3.0, -3.0], 1),
        ([-INF, -INF, -INF], 0),
        ([0.0, 0.0, 0.0], 0),
    ],
)
def test_the_first_of_the_highest_wins(logits: list[float], winner: int) -> None:
    for dtype in (torch.float32, torch.float64):
        if dtype == torch.float32 or winner != 0 or len(set(logits)) < 3:
            assert top1(torch.tensor([logits], dtype=dtype)).item() == winner
    assert bool(leaders(torch.tensor([logits]))[0, winner])


def test_a_row_of_nan_has_an_answer_in_range() -> None:
    assert top1(torch.full((2, 3), NAN)).tolist() == [0, 0]


def test_rows_are_the_same_to_rounding() -> None:
    rows = unit(6, 512, seed=1)
    rows[3] = rows[1] * 7
    rows[4] = F.normalize(rows[1] + 1e-9 * rows[0], dim=-1)
    rows[5] = F.normalize(rows[1] + 1e-4 * rows[0], dim=-1)

    assert first_same(rows).tolist() == [0, 1, 2, 1, 1, 5]


def test_classes_are_alike_that_nothing_tells_apart() -> None:
    c = make_context(classes=7, shots=1)
    assert c.text_prompts is not None
    text, prompts = c.text.clone(), list(c.text_prompts)
    for twin in (4, 5, 6):
        text[twin], prompts[twin] = text[1], prompts[1]
    c = dataclasses.replace(c, text=text, text_prompts=prompts)
    all_prompts = dataclasses.replace(c, text_prompts=[*prompts[:6], unit(3, 16, seed=9)])

    bare = c.part(torch.tensor([0, 1, 2, 3]))
    assert first_alike(c, frozenset()).tolist() == list(range(7)), "support tells them apart"
    assert first_alike(bare, frozenset()).tolist() == [0, 1, 2, 3, 4, 4, 4]
    assert first_alike(bare, frozenset({"val"})).tolist() == list(range(7))
    none = c.part(torch.arange(0))
    assert first_alike(none, frozenset()).tolist() == [0, 1, 2, 3, 1, 1, 1]
    none = all_prompts.part(torch.arange(0))
    assert first_alike(none, frozenset()).tolist() == [0, 1, 2, 3, 1, 1, 6]


@pytest.mark.parametrize("classes", [2, 3, 5, 7, 13, 19])
@pytest.mark.parametrize("width", [16, 512])
def test_equal_texts_tie_wherever_they_stand(classes: int, width: int) -> None:
    """A product rounds a column by its place, so that their logits differ in the last bits."""
    text = unit(classes, width, seed=classes)
    text[-1] = text[0]
    labels = torch.zeros(200, dtype=torch.int64)
    images = clustered(labels, text, seed=3, noise=0.1)
    method = ZeroShot()
    method.fit(Context(text, text[:0], labels[:0]))
    for rows in (1, 7, 64, 200):
        logits = torch.cat([method.logits(part) for part in torch.split(images, rows)])
        won = top1(logits)

        assert (won == 0).sum() > 100
        assert not (won == classes - 1).any()


@pytest.fixture
def val_may_be_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle whose val is its test set is refused: here it shows that both are scored alike."""
    monkeypatch.setattr("susx_bench.features.leaks.MOST", 100.0)


def twins(folder: Path) -> tuple[Path, Tensor]:
    """A bundle of 13 classes, of which the last two have the text of the first and the fourth.

    None of the four has support.

    The test images are the val images.
    """
    c = make_context(classes=11, shots=4, width=32)
    c = c.part(((c.support_labels != 0) & (c.support_labels != 3)).nonzero().flatten())
    assert c.text_prompts is not None
    assert c.support_views is not None
    of = torch.tensor([*range(11), 0, 3])
    labels = torch.arange(130) % 13
    images = clustered(labels, c.text[of], seed=5, noise=0.2)
    tensors = {
        "text": c.text[of],
        "text_prompts": torch.stack(list(c.text_prompts))[of],
        "support": c.support,
        "support_labels": c.support_labels,
        "support_views": c.support_views,
    }
    for split in ("val", "test"):
        tensors |= {split: images.clone(), f"{split}_labels": labels.clone()}
        own = {"val": "val_spatial", "test": "spatial"}[split]
        tensors[own] = with_patches(images)[:, 1:].contiguous()
    for name in ("text", "support", "val", "test"):
        tensors[f"{name}_norms"] = torch.full((len(tensors[name]),), 10.0)
    path = folder / "twins.safetensors"
    meta = {"dataset": "twins", "encoder": "made", "logit_scale": 50.0}
    save_file(tensors, path, metadata={"bundle": json.dumps(meta)})
    return path, labels


@pytest.mark.usefixtures("val_may_be_test")
def test_no_method_answers_with_the_later_of_two_that_are_alike(
    command: Command, tmp_path: Path
) -> None:
    path, labels = twins(tmp_path)
    methods = (
        "zero-shot,calip,clip-dn,tip-adapter,tipx,ape,transclip,transclip-fs,zlap,stata,ecalp,"
        "ecalp-fs,tda,dota,dmn,dmn-fs"
    )
    words = ("--setting", "few-shot", "--features", path, "--tune", "val")
    done = command("run", "--method", methods, *words, "--json")

    assert done.code == 0, done.err
    assert [record["method"] for record in done.records] == methods.split(",")
    said = " ".join(done.err.split())
    assert "twins: 2 pairs of classes have one text: 0 ('class 0') and 11" in said
    for record in done.records:
        answers = torch.from_numpy(read_predictions(Path(record["record"])).top1)
        late = int((answers >= 11).sum())
        assert late == 0, f"{record['method']}: {late} answers are of a class that is never one"
        assert (answers[labels == 11] == 0).sum() > 5
        if record["search"]["score"] is not None:  # val is the test set here
            assert record["search"]["score"] == record["accuracy"], record["method"]


def test_a_search_leaves_out_the_classes_that_are_never_the_answer() -> None:
    """Else their images are near a tie at every setting, and every setting is counted again."""
    text = unit(9, 32, seed=1)
    text[7:] = text[:2]
    labels = torch.arange(90) % 9
    images = with_patches(clustered(labels, text, seed=2, noise=0.3))
    context = Context(text, text[:0], labels[:0], 50.0, Labelled(images, labels))
    method = CALIP()
    method.fit(context)
    choice = choose(method, context, "val", context.val)

    first = first_alike(context, frozenset())
    method.set(choice.hparams)
    right = (top1(method.logits(images), first) == labels).double().mean()
    assert choice.score == pytest.approx(100 * float(right))
    assert choice.accuracies is not None
    assert float(choice.accuracies.max()) <= 100 * 7 / 9 + 1e-6


def test_tuning_counts_what_prediction_answers_where_text_alone_decides() -> None:
    """With a weight of 0 the support says nothing, and equal texts tie."""
    text = unit(7, 512, seed=4)
    text[6] = text[2]
    labels = torch.arange(70) % 7
    support_labels = torch.arange(28) % 7
    val = Labelled(clustered(labels, text, seed=5, noise=0.02), labels)
    support = clustered(support_labels, text, seed=6, noise=0.02)
    method = TipAdapter(alpha=0.0)
    method.fit(Context(text, support, support_labels, 100.0, val))
    won = top1(method.logits(val.features))

    assert not (won == 6).any()
    assert ((won == 2) == ((labels == 2) | (labels == 6))).all()


@pytest.mark.usefixtures("val_may_be_test")
@pytest.mark.real
def test_on_imagenet_tuning_and_prediction_take_the_same_class(
    command: Command, real: Path, tmp_path: Path
) -> None:
    """Three pairs of its classes have one text; val is given as the test set, too."""
    tensors = load_file(real / "features" / "imagenet_vit-b-32_2shot.safetensors")
    tensors |= {"test": tensors["val"].clone(), "test_labels": tensors["val_labels"].clone()}
    path = tmp_path / "imagenet.safetensors"
    meta = {"dataset": "imagenet", "encoder": "ViT-B-32:openai", "logit_scale": 100.0}
    save_file(tensors, path, metadata={"bundle": json.dumps(meta)})
    words = ("--setting", "few-shot", "--features", path, "--json")
    done = command("run", "--method", "zero-shot,tip-adapter,gda", *words, "--tune", "val")

    assert done.code == 0, done.err
    assert "imagenet: 3 pairs of classes have one text: 264 ('class 264') and 474" in done.err
    by_name = {record["method"]: record for record in done.records}
    for name in ("tip-adapter", "gda"):
        assert by_name[name]["search"]["score"] == by_name[name]["accuracy"]
    answers = read_predictions(Path(by_name["zero-shot"]["record"])).top1
    assert not set(answers.tolist()) & {517, 474, 639}
    assert set(answers.tolist()) >= {134, 638}
