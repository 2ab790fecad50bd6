"""Where a model runs, and what is told of a precision that the device is slow in."""

from __future__ import annotations

import pytest
import torch

from susx_bench.events import Event, Note
from susx_bench.features.launch import Launch, warn_of_slow_half
from tests.conftest import Command

FEW = ("run", "--method", "zero-shot", "--dataset", "digits", "--setting", "name-only")


@pytest.mark.parametrize(
    ("accelerator", "gpu", "is_cpu"),
    [("cpu", True, True), ("auto", False, True), ("auto", True, False), ("gpu", False, False)],
)
def test_the_device_is_a_cpu_where_it_is_asked_for_or_alone(
    accelerator: str, gpu: bool, is_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    told: list[Event] = []

    warn_of_slow_half("fp16", Launch(accelerator=accelerator), told.append)

    assert bool(told) is is_cpu
    assert all(isinstance(each, Note) and each.level == "warning" for each in told)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_are_not_told_of(precision: str) -> None:
    told: list[Event] = []

    warn_of_slow_half(precision, Launch(accelerator="cpu"), told.append)

    assert not told


def test_a_run_that_encodes_says_that_a_cpu_is_slow_in_fp16(command: Command) -> None:
    words = (*FEW, "--limit", "2", "--precision", "fp16", "--accelerator", "cpu")

    encodes, again = command(*words), command(*words)

    assert (encodes.code, again.code) == (0, 0)
    assert "--precision bf16" in " ".join(encodes.err.split())
    assert "--precision bf16" not in again.err  # nothing is encoded
