"""Methods that look at more than a unit row, and those that bring their own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.calip import CALIP
from susx_bench.methods.clip_dn import ClipDN, ClipDNVal
from susx_bench.records.store import read_predictions
from susx_bench.testing.task import unit
from susx_bench.tuning.choose import choose
from tests.conftest import Bundle, Command

FEW = ("run", "--setting", "few-shot", "--out", "out")


def top1(record: dict[str, Any]) -> Tensor:
    return torch.from_numpy(read_predictions(Path(record["record"])).top1)


def patches(rows: Tensor, seed: int) -> Tensor:
    noise = unit(6 * len(rows), rows.shape[1], seed).view(len(rows), 6, -1)
    return torch.nn.functional.normalize(rows[:, None] + noise, dim=-1).half()


def context_of(tensors: dict[str, Tensor]) -> Context:
    return Context(tensors["text"], tensors["support"], tensors["support_labels"], logit_scale=50.0)


@pytest.mark.parametrize("tune", ["fixed", "val", "few-val"])
def test_calip_sees_the_patches_of_a_bundle(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor], tune: str
) -> None:
    test, val = patches(tensors["test"], 1), patches(tensors["val"], 2)
    path = bundle(spatial=test, val_spatial=val)
    words = (*FEW, "--method", "calip", "--tune", tune, "--features", path, "--json")
    done, again = command(*words), command(*words, "--batch-size", "7", "--force")

    assert done.code == 0, done.err
    (record,) = done.records
    method = CALIP()
    method.fit(context_of(tensors))
    rows = torch.cat([tensors["val"][:, None], val.float()], dim=1)
    if tune == "val":
        chosen = choose(method, context_of(tensors), "val", Labelled(rows, tensors["val_labels"]))
        assert record["hparams"] == chosen.hparams
        assert record["search"]["settings"] == 40_000
    method.set(record["hparams"])
    whole = torch.cat([tensors["test"][:, None], test.float()], dim=1)
    assert torch.equal(top1(record), method.logits(whole).argmax(-1))
    assert record["tuned_on"] == tune
    assert record["support"] == "none"
    assert again.records[0]["predictions_sha256"] == record["predictions_sha256"]


@pytest.mark.parametrize("kind", [ClipDN, ClipDNVal])
def test_clip_dn_sees_the_lengths_of_a_bundle(
    kind: type[ClipDN], bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    norms = {
        f"{name}_norms": 5 + 10 * torch.rand(len(tensors[name]), generator=generator(name))
        for name in ("text", "support", "val", "test")
    }
    full = {name: tensors[name] * norms[f"{name}_norms"][:, None] for name in norms_of(norms)}
    path = bundle(**norms)
    done = command(*FEW, "--method", kind.name, "--tune", "val", "--features", path, "--json")

    assert done.code == 0, done.err
    (record,) = done.records
    method = kind()
    val = Labelled(full["val"], tensors["val_labels"])
    labels = tensors["support_labels"]
    method.fit(Context(full["text"], full["support"], labels, 50.0, val=val, in_full=True))
    assert torch.equal(top1(record), method.logits(full["test"]).argmax(-1))
    assert record["tuned_on"] == ("val" if kind is ClipDNVal else "fixed")


def generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(len(name))


def norms_of(norms: dict[str, Tensor]) -> list[str]:
    return [name.removesuffix("_norms") for name in norms]


def test_what_a_bundle_lacks_leaves_a_blank_with_its_reason(
    bundle: Bundle, command: Command, tensors: dict[str, Tensor]
) -> None:
    methods = "calip,clip-dn,clip-dn-val,cupl,cupl-e,visdesc,waffle"
    done = command(*FEW, "--method", methods, "--tune", "fixed", "--features", bundle())

    assert done.code == 0, done.err
    assert "wrote 2 records" in done.out
    assert "left blank: calip needs spatial, which toy lacks" in done.out
    assert "left blank: clip-dn needs norms, which toy lacks" in done.out
    for name in ("cupl", "cupl-e", "visdesc", "waffle"):
        assert f"left blank: {name}: it brings prompts of its own, and " in done.out

    half = bundle("half.safetensors", spatial=patches(tensors["test"], 1))
    for tune, blank in (("fixed", False), ("val", True)):
        done = command(*FEW, "--method", "calip", "--tune", tune, "--features", half)
        assert ("calip looks at the patches of val, which toy lacks" in done.out) == blank


def test_methods_that_bring_their_words_stand_beside_the_others(
    command: Command, tmp_path: Path
) -> None:
    table = {name: ["round lines", "a stroke"] for name in DIGITS}
    (tmp_path / "descriptors_digits.json").write_text(json.dumps(table))
    words = (
        *(*FEW, "--dataset", "digits", "--shots", "1", "--seed", "1", "--tune", "fixed"),
        *("--method", "visdesc,waffle,cupl,calip,clip-dn,clip-dn-val"),
    )
    first = command(*words, "--prompts-dir", tmp_path)

    assert first.code == 0, first.err
    assert first.out.count("digits · demo · few-shot") == 1, "one table"
    assert "prompts of their own: visdesc, waffle" in first.out.replace("\n", " ")
    assert "left blank: cupl: digits: " in first.out
    assert "CuPL_prompts_digits.json cannot be read" in first.out
    assert "left blank: clip-dn-val looks at val, which --tune fixed does not" in first.out
    assert "wrote 6 records" in first.out

    again = command(*words, "--prompts-dir", tmp_path, "--json")
    assert [r["method"] for r in again.records] == ["visdesc", "waffle", "calip", "clip-dn"]
    prompts = {r["method"]: r["prompts"] for r in again.records}
    assert prompts == {
        "visdesc": "visdesc", "waffle": "waffle", "calip": "single", "clip-dn": "single",
    }  # fmt: skip
    assert all(r["n_test"] == 769 for r in again.records)
    nothing = command(*words, "--prompts-dir", tmp_path)
    assert "all 6 records exist with the same inputs; nothing to do" in nothing.out


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
