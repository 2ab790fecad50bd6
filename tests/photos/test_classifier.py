"""A fitted classifier: its answers against the method's own, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from susx_bench.errors import OptionError
from susx_bench.photos.calibration import Calibration
from susx_bench.photos.classifier import Classifier, answers
from tests.photos.test_calibration import D, K, task

NAMES = ("cat", "dog", "owl", "fox", "elk")


def images(count: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, D, generator=generator), dim=-1)


def test_the_two_best_classes_and_their_probabilities_are_those_of_a_sort() -> None:
    logits = 3 * torch.randn(50, K, generator=torch.Generator().manual_seed(4))

    found = answers(logits, 2.0)

    for i, row in enumerate((logits / 2).softmax(-1).tolist()):
        order = sorted(range(K), key=lambda k: -row[k])
        assert [int(found.label[i]), int(found.second[i])] == order[:2]
        assert float(found.probability[i]) == pytest.approx(row[order[0]], abs=1e-6)
        assert float(found.second_probability[i]) == pytest.approx(row[order[1]], abs=1e-6)
        high, low = sorted(logits[i].tolist())[-1], sorted(logits[i].tolist())[-2]
        assert float(found.margin[i]) == pytest.approx(high - low, abs=1e-5)


@pytest.mark.parametrize("method", ["zero-shot", "tag", "tip-adapter", "tag-u", "transclip-fs"])
def test_a_saved_classifier_answers_as_before(method: str, tmp_path: Path) -> None:
    made = Classifier.fit(
        NAMES,
        method,
        task([6, 4, 9, 1, 0]),
        "RN50:openai",
        texts=tuple((f"a photo of a {name}.",) for name in NAMES),
        prompts="single",
        temperature=1.5,
        calibration=Calibration(20, 90.0, 0.3, 2.0),
    )
    made.save(tmp_path / "classifier.safetensors")

    again = Classifier.load(tmp_path / "classifier.safetensors")

    rows = images(70)
    for name, before, after in zip(
        made.predict(rows)._fields, made.predict(rows), again.predict(rows), strict=True
    ):
        assert torch.equal(before, after), name
    for field in ("classnames", "hparams", "texts", "temperature", "calibration", "encoder"):
        assert getattr(again, field) == getattr(made, field)


def test_an_inductive_answer_does_not_depend_on_the_other_images() -> None:
    made = Classifier.fit(NAMES, "tag", task([6, 4, 9, 1, 0]), "RN50:openai")
    rows = images(130)

    assert torch.equal(made.predict(rows[:70]).label, made.predict(rows).label[:70])


def test_what_is_no_classifier_is_refused_in_one_line(tmp_path: Path) -> None:
    made = Classifier.fit(NAMES, "zero-shot", task([1] * K), "RN50:openai")
    good = tmp_path / "classifier.safetensors"
    made.save(good)
    content = good.read_bytes()
    for name, broken in {
        "cut": content[:-100],
        "text": b"hello",
        "empty": b"",
        "version": content.replace(b'version\\":\\"1', b'version\\":\\"9'),
    }.items():
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(OptionError, match=name):
            Classifier.load(tmp_path / name)
    with pytest.raises(OptionError, match="gone"):
        Classifier.load(tmp_path / "gone")
