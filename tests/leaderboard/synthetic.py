"""Records that nobody measured: as many as a big table has, with numbers a person can follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from susx_bench.records.files import sha256_json
from susx_bench.records.record import Record, Search, Seconds, pack
from tests.records.example import make_record

METHODS = ("zero-shot", "tip-adapter", "tipx", "calip", "ape", "gda", "timo", "dmn", "tda", "dota",
           "zlap", "transclip", "stata", "ecalp", "proker")  # fmt: skip
DATASETS = ("ucf101", "cifar10", "cifar100", "caltech101", "caltech256", "imagenet", "sun397",
            "fgvcaircraft", "birdsnap", "stanfordcars", "cub", "flowers102", "food101",
            "oxfordpets", "dtd", "eurosat", "imagenet-sketch", "imagenet-r",
            "country211")  # fmt: skip
SHOTS = (1, 2, 4, 8, 16)


def synthetic(
    suite: str = "many",
    methods: Sequence[str] = METHODS,
    datasets: Sequence[str] = DATASETS,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = (1, 2, 3),
    images: int = 400,
    classes: int = 20,
    encoder: str = "RN50:openai",
    repeat_zero_shot: bool = False,
) -> dict[str, Record]:
    """Records by their paths, as ``leaderboard build`` reads them.

    Args:
        suite: Name of the suite.
        methods: Methods, each a little better than the one before it.
        datasets: Datasets, the next always a little easier.
        shots: Labelled images per class.
        seeds: Draws.
        images: Test images of each dataset.
        classes: Classes of each dataset.
        encoder: The encoder.
        repeat_zero_shot: Whether a method without support has a record for each shot and seed.
    """
    found = {}
    labels = np.arange(images) % classes
    for d, dataset in enumerate(datasets):
        difficulty = np.random.default_rng([7, d]).random(images)
        for m, method in enumerate(methods):
            bare = method == "zero-shot" and not repeat_zero_shot
            for s, shot in enumerate((0,) if bare else shots):
                for seed in (0,) if bare else seeds:
                    generator = np.random.default_rng([d, m, s, seed])
                    skill = 0.35 + 0.02 * d + (0 if bare else 0.012 * m + 0.03 * s)
                    right = difficulty + 0.1 * generator.standard_normal(images) < skill
                    counts = [
                        (f"class {k}", int(right[labels == k].sum()), int((labels == k).sum()))
                        for k in range(classes)
                    ]
                    wrong = [
                        (f"class {k}", f"class {(k + 1) % classes}", n - good)
                        for k, (_, good, n) in enumerate(counts)
                        if n > good
                    ]
                    inputs = sha256_json([suite, method, dataset, encoder, shot, seed])
                    folder = f"records/{suite}/{dataset}/{encoder.replace(':', '-')}"
                    path = f"{folder}/{method}-{inputs[:12]}.json"
                    found[path] = make_record(
                        method=method,
                        dataset=dataset,
                        encoder=encoder,
                        shots=shot,
                        seed=seed,
                        support="none" if bare else "few-shot",
                        support_images=shot * classes,
                        draw="" if bare else "balanced",
                        views=0 if bare else 10,
                        hparams={} if bare else {"alpha": 1.0 + m, "beta": 5.5},
                        tuned_on="fixed" if bare else "val",
                        search=Search() if bare else Search(settings=200, images=100, score=70.0),
                        regime="transductive" if method in ("transclip", "zlap") else "inductive",
                        accuracy=100 * float(right.mean()),
                        mean_per_class=100 * float(np.mean([good / n for _, good, n in counts])),
                        n_test=images,
                        correct=int(right.sum()),
                        num_classes=classes,
                        right=pack(right),
                        classes=counts,
                        confusions=sorted(wrong, key=lambda w: (-w[2], w[0]))[:20],
                        input_sha256=inputs,
                        split_sha256=sha256_json(dataset),
                        support_sha256=sha256_json([dataset, shot, seed]),
                        predictions_sha256=sha256_json([inputs, "predictions"]),
                        seconds=Seconds(
                            encode=0.0, fit=0.01, search=0.0 if bare else 0.05 * 1.6**m, predict=0.1
                        ),
                    ).sealed()
    return found
