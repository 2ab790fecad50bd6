from __future__ import annotations

import re

from susx_bench.leaderboard.board import STRENGTH
from susx_bench.leaderboard.published import read
from susx_bench.prompts.kinds import KINDS
from susx_bench.registry import DATASETS


def test_a_few_figures_are_those_of_the_papers() -> None:
    """Typed from Tip-Adapter's exp.log, GDA's logs, TIMO's outputs and IOTA's table 1."""
    found = {
        (f.method, f.dataset, f.encoder, f.shots, f.tuned_on): f.accuracy
        for f in reversed(read())  # primary sources last, so that they stay
    }

    assert found["tip-adapter", "dtd", "RN50:openai", 16, "val"] == 60.93
    assert found["tip-adapter", "imagenet", "RN50:openai", 1, "test"] == 60.70
    assert found["zero-shot", "oxfordpets", "RN50:openai", None, "fixed"] == 85.83
    assert found["tipx", "caltech101", "RN50:openai", 4, "val"] == 89.29
    assert found["tipx", "eurosat", "RN50:openai", None, "val"] == 45.57
    assert found["gda", "ucf101", "ViT-B-16:openai", 16, "val"] == 84.09
    assert found["timo-s", "sun397", "RN50:openai", 16, "val"] == 71.68
    assert found["tda", "eurosat", "ViT-B-16:openai", None, "published"] == 58.00
    assert found["ecalp-fs", "dtd", "RN50:openai", 16, "fixed"] == 65.37


def test_every_figure_has_a_source_and_names_of_ours() -> None:
    figures = read()
    datasets = set(DATASETS.names())

    assert len(figures) > 900
    for f in figures:
        assert f.source
        assert f.dataset in datasets
        assert f.tuned_on in STRENGTH
        assert f.prompts is None or f.prompts in KINDS
        assert re.fullmatch(r"(RN50|RN101|ViT-[BL]-\d+):openai", f.encoder)
        assert 10 < f.accuracy < 100


def test_no_figure_stands_there_twice() -> None:
    keys = [f.model_dump(exclude={"accuracy", "note", "primary"}).items() for f in read()]

    assert len({tuple(key) for key in keys}) == len(keys)


def test_primary_sources_come_first() -> None:
    primary = [f.primary for f in read()]

    assert primary == sorted(primary, reverse=True)
    assert False in primary
