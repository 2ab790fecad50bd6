"""What transductive and streaming methods are shown: batches, orders, and never a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from susx_bench.errors import OptionError
from susx_bench.options.batches import Batches
from susx_bench.records.store import read_predictions
from susx_bench.runner.suite import Suite
from susx_bench.runner.together import compose
from susx_bench.testing.task import clustered
from tests.conftest import Bundle, Command

FEW = ("run", "--setting", "few-shot", "--json")

WATCHER = """
import json
from susx_bench import Method

class {name}(Method):
    name = "{name}"
    needs = frozenset({{"text"}})
    regime = "{regime}"

    def fit(self, context):
        self.text = context.text
        assert context.val is None and not len(context.support)

    def logits(self, images):
        with open("{log}", "a") as file:
            print(json.dumps(images[:, 0].tolist()), file=file)
        return images @ self.text.T
"""


def watched(tmp_path: Path, regime: str) -> tuple[str, Path]:
    """A method that writes down which images it is shown together, and where."""
    file, log = tmp_path / "watcher.py", tmp_path / "log.jsonl"
    file.write_text(WATCHER.format(name="Watcher", regime=regime, log=log))
    return f"{file}:Watcher", log


def shown(log: Path, tensors: dict[str, Tensor]) -> list[list[int]]:
    """The positions a watcher was shown, call by call."""
    place = {float(row[0]): i for i, row in enumerate(tensors["test"])}
    return [[place[first] for first in json.loads(line)] for line in log.read_text().splitlines()]


def records(command: Command, *words: object) -> list[dict[str, Any]]:
    done = command(*FEW, *words)
    assert done.code == 0, done.err
    return done.records


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("batches", [Batches(64, 4), Batches(10, 1), Batches(7, 50), Batches(1, 1)])
def test_batches_hold_every_image_once_and_few_classes(batches: Batches, seed: int) -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 12, (331,), generator=generator)
    labels[labels == 5] = 6  # a class without images
    found = compose(labels, batches, seed)

    assert sorted(torch.cat(found).tolist()) == list(range(331))
    sizes = [len(batch) for batch in found]
    classes = [len(set(labels[batch].tolist())) for batch in found]
    assert max(sizes) == batches.size
    assert max(classes) == min(batches.classes, batches.size, 11) or batches.classes > 11
    assert max(classes) <= batches.classes


def test_the_number_of_classes_is_drawn_and_so_are_the_images() -> None:
    labels = torch.arange(4000) % 50
    found = compose(labels, Batches(64, 4), 1)
    early = found[:12]

    assert {len(set(labels[batch].tolist())) for batch in early} == {1, 2, 3, 4}
    assert all(batch.tolist() != sorted(batch.tolist()) for batch in early)
    assert len(early[0]) == 64


def test_the_cut_is_that_of_its_seed() -> None:
    labels = torch.arange(300) % 7
    one, again, two = (compose(labels, Batches(16, 3), seed) for seed in (1, 1, 2))

    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in again]
    assert [batch.tolist() for batch in one] != [batch.tolist() for batch in two]


@pytest.mark.parametrize("text", ["64", "64:", "0:4", "64:0", "-1:4", "64:4:2", "a:b", "6.5:4", ""])
def test_what_is_no_batches_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="SIZE:CLASSES"):
        Batches.read(text)


def test_a_transductive_method_sees_batch_by_batch(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """Each image in one batch, and no padding; the answers stand in their places."""
    method, log = watched(tmp_path, "transductive")
    (record,) = records(
        command, "--method", method, "--features", bundle(), "--batches", "16:2", "--order", 5
    )
    calls = shown(log, tensors)

    assert sorted(i for call in calls for i in call) == list(range(70))
    assert calls == [b.tolist() for b in compose(tensors["test_labels"], Batches(16, 2), 5)]
    assert len({len(call) for call in calls}) > 1
    assert (record["batches"], record["order"]) == ("16:2", 5)
    top1 = read_predictions(Path(record["record"])).top1
    assert top1.tolist() == (tensors["test"] @ tensors["text"].T).argmax(-1).tolist()


def test_a_transductive_method_sees_the_whole_by_default(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    method, log = watched(tmp_path, "transductive")
    (record,) = records(command, "--method", method, "--features", bundle())

    assert shown(log, tensors) == [list(range(70))]
    assert (record["batches"], record["order"]) == ("", 0)


@pytest.mark.parametrize("order", [None, 0, 1, 7])
def test_a_streaming_method_meets_the_images_in_a_seeded_order(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tmp_path: Path, order: int | None
) -> None:
    method, log = watched(tmp_path, "streaming")
    words = [] if order is None else ["--order", order]
    (record,) = records(
        command, "--method", method, "--features", bundle(), "--batches", "16:2", *words
    )
    (call,) = shown(log, tensors)
    seed = 1 if order is None else order
    expected = torch.randperm(70, generator=torch.Generator().manual_seed(seed)).tolist()

    assert call == (expected if seed else list(range(70)))
    assert (record["batches"], record["order"]) == ("", seed)
    top1 = read_predictions(Path(record["record"])).top1
    assert top1.tolist() == (tensors["test"] @ tensors["text"].T).argmax(-1).tolist()


def test_scrambled_labels_change_no_answer_to_a_stream_or_a_whole_test_set(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    methods = "transclip,zlap,stata,ecalp,tda,dota,dmn"
    scrambled = tensors["test_labels"].roll(1)
    one, two = (
        records(command, "--method", methods, "--features", path)
        for path in (bundle(), bundle("scrambled.safetensors", test_labels=scrambled))
    )

    assert [r["predictions_sha256"] for r in one] == [r["predictions_sha256"] for r in two]


DOUBTFUL = ("--logit-scale", "5")  # CLIP leaves something to the other images


def hard(tensors: dict[str, Tensor]) -> Tensor:
    """Test images that are not all classified alike whatever is done."""
    return clustered(tensors["test_labels"], tensors["text"], seed=5, noise=0.9)


def test_batches_and_orders_change_what_they_should_and_nothing_else(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    path = bundle(test=hard(tensors))
    found = records(
        command, "--method", "zero-shot,tip-adapter,transclip,tda", "--features", path,
        "--batches", "all,16:2", "--order", "1,2", *DOUBTFUL,
    )  # fmt: skip
    by_method: dict[str, dict[tuple[str, int], str]] = {}
    for r in found:
        by_method.setdefault(r["method"], {})[r["batches"], r["order"]] = r["predictions_sha256"]

    assert set(by_method["zero-shot"]) == set(by_method["tip-adapter"]) == {("", 0)}
    assert set(by_method["transclip"]) == {("", 0), ("16:2", 1), ("16:2", 2)}
    assert set(by_method["tda"]) == {("", 1), ("", 2)}
    assert len(set(by_method["transclip"].values())) == 3
    assert len(set(by_method["tda"].values())) == 2
    assert len({r["record"] for r in found}) == len(found)


def test_the_table_names_batches_and_marks_regimes(bundle: Bundle, command: Command) -> None:
    done = command(
        "run", "--setting", "few-shot", "--method", "transclip,tda", "--features", bundle(),
        "--batches", "all,16:2",
    )  # fmt: skip
    lines = [line.strip().split("  ")[0] for line in done.out.splitlines()]

    assert {
        "zero-shot",
        "tip-adapter",
        "transclip, sees all test images ᵗ",
        "transclip, sees 16 test images of 2 classes ᵗ",
        "tda, sees the test images before it ˢ",
    } <= set(lines)
    assert "ᵗ transductive: an answer depends on other test images" in done.out
    assert "ˢ streaming: an answer depends on the test images before it" in done.out


def test_a_suite_says_orders_and_batches(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    lines = ["name='x'", "title='x'", "[[run]]", "method=['transclip']"]
    path.write_text("\n".join([*lines, "order=[0, 2]", "batches=['all', '64:4']"]))
    (options,) = Suite.read(path).options(None)

    assert options["order"] == (0, 2)
    assert options["batches"] == ("all", "64:4")
    path.write_text("\n".join([*lines, "batches=['64x4']"]))
    with pytest.raises(Exception, match=r"run.0.batches: batches '64x4': not SIZE:CLASSES"):
        Suite.read(path)


@pytest.mark.real
def test_class_poor_batches_break_transclip(command: Command, real: Path) -> None:
    """As StatA's authors found: from 70.3 to 38.9 over 11 datasets, ViT-B/16."""
    path = real / "features" / "ucf101_vit-b-16.safetensors"
    found = records(
        command, "--method", "transclip,stata,zero-shot", "--features", path,
        "--batches", "all,64:4",
    )  # fmt: skip
    accuracy = {(r["method"], r["batches"]): r["accuracy"] for r in found}
    zero_shot = accuracy["zero-shot", ""]

    assert min(accuracy["transclip", ""], accuracy["stata", ""]) > zero_shot + 2
    assert accuracy["transclip", "64:4"] < zero_shot - 20
    assert accuracy["stata", "64:4"] > accuracy["transclip", "64:4"] + 20
