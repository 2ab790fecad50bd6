"""An inductive method whose answers depend on other rows is refused; rounding is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from tests.conftest import Bundle, Command

RUN = ("run", "--setting", "few-shot", "--tune", "fixed", "--features")

SOURCE = """
import torch
from susx_bench import Method

class Mine(Method):
    name = "mine"
    needs = {{"text"}}
    {regime}

    def fit(self, context):
        self.text, self.calls, self.seen = context.text, 0, []

    def logits(self, images):
        logits = 20 * images @ self.text.T
        {body}
        return logits
"""


def method(folder: Path, body: str, regime: str = "") -> str:
    (folder / "mine.py").write_text(SOURCE.format(body=body, regime=regime))
    return f"{folder}/mine.py:Mine"


@pytest.mark.parametrize(
    "body",
    [
        "logits = logits - logits.mean(0)",
        "logits = logits / logits.std(0)",
        "logits = logits.cumsum(0)",
        "logits = logits + 0.1 * (images @ images.T).topk(2).values[:, 1:] * self.text.sum(1)",
        "logits = logits * torch.linspace(1, 2, len(images))[:, None]",
        "self.calls += 1; logits = logits * self.calls",
        "self.seen.append(images); logits = logits + torch.cat(self.seen).mean(0) @ self.text.T",
        "logits[1:] = logits[:1]",
        "logits[0] = -torch.inf",
        # What it keeps of the first block it has asked for, or changes with each.
        "self.mean = getattr(self, 'mean', images.mean(0)); logits = logits * self.mean[0]",
        "self.low = getattr(self, 'low', logits.mean()); logits = (logits - self.low).square()",
        "self.calls += 1; logits = logits + (self.calls > 1) * logits.flip(1)",
        "logits = logits + 0.1 * torch.randn(5)",
        "self.text = self.text + 1e-3 * images[0]",
    ],
)
@pytest.mark.parametrize("rows", [70, 1])
def test_a_method_that_looks_at_other_rows_is_refused(
    command: Command,
    bundle: Bundle,
    tensors: dict[str, Tensor],
    tmp_path: Path,
    body: str,
    rows: int,
) -> None:
    path = bundle(test=tensors["test"][:rows], test_labels=tensors["test_labels"][:rows])
    done = command(*RUN, path, "--method", method(tmp_path, body), "--json")

    assert done.code == 2, done.out
    undefined = rows == 1 and "std" in body  # of copies of one image
    assert ("are NaN" if undefined else "says that it is inductive, but") in done.err
    assert "Traceback" not in done.err
    assert not list(Path("results").rglob("mine*"))


def test_what_says_that_it_looks_at_other_rows_may(
    command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    for regime in ("transductive", "streaming"):
        mine = method(tmp_path, "logits = logits - logits.mean(0)", f"regime = '{regime}'")
        done = command(*RUN, bundle(), "--method", mine, "--json")

        assert done.code == 0, done.err


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "logits = logits + 1e-6 * logits.mean(0)",  # no more than rounding may do
        "logits = logits.masked_fill(logits < 0, -torch.inf)",
        "logits = 1e6 + 1e4 * logits",
        "logits = logits * 0",
        "logits = (logits.double().exp() / logits.double().exp().sum(1, keepdim=True)).float()",
        "logits = logits.half().float()",
        "self.kept = getattr(self, 'kept', self.text * 2); logits = images @ self.kept.T",
        "self.kept = (x for x in ())",  # cannot be copied
    ],
)
@pytest.mark.parametrize("rows", [70, 1])
def test_a_method_that_does_not_is_not(
    command: Command,
    bundle: Bundle,
    tensors: dict[str, Tensor],
    tmp_path: Path,
    body: str,
    rows: int,
) -> None:
    path = bundle(test=tensors["test"][:rows], test_labels=tensors["test_labels"][:rows])
    done = command(*RUN, path, "--method", method(tmp_path, body), "--json")

    assert done.code == 0, done.err


@pytest.mark.parametrize("tune", ["fixed", "val"])
@pytest.mark.parametrize("regime", ["", 'regime = "transductive"'])
def test_a_method_that_writes_into_its_images_is_refused_in_one_line(
    command: Command, bundle: Bundle, tmp_path: Path, regime: str, tune: str
) -> None:
    """Also where it is the search that gives it the images first."""
    mine = method(tmp_path, "images *= 2", regime)
    space = """
    strength: float = 1.0

    def space(self, context):
        return SearchSpace((Axis("strength", (1.0, 2.0)),), "mine")
"""
    file = tmp_path / "mine.py"
    text = file.read_text().replace("import Method", "import Axis, Method, SearchSpace")
    file.write_text(text + space)

    done = command(
        "run", "--setting", "few-shot", "--tune", tune, "--features", bundle(), "--method", mine
    )

    assert done.code == 2, done.err
    assert "method 'mine' writes into the images" in done.err
    assert "Traceback" not in done.err
