"""Measure TAG on tasks made from bundles of real features, and write docs/tag-tasks.md.

    SUSX_BENCH_REAL=FOLDER python -m benchmarks.tasks --out RESULTS

A task is a bundle, or a part of one by a rule that knows nothing of any method: fewer images per
class, every fourth class, or texts with noise. TAG, which looks at no label beyond the support, is
compared with the best of six other methods, which choose hyper-parameters on the whole val split.
Records in RESULTS are not measured again, so a command that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import susx_bench as sb
from susx_bench.features.bundle_file import read_bundle
from susx_bench.records.files import write_atomic

PAGE: Final = Path(__file__).parents[1] / "docs" / "tag-tasks.md"
RIVALS: Final = ("tip-adapter", "tipx", "ape", "gda", "timo-s", "proker")
SHOTS: Final = (1, 2, 4, 8)
FEWEST: Final = 40  # classes of a task of which a quarter is still a task
NOISE: Final = 0.6  # length of the noise, where a text has length 1
LEAST_NOISY: Final = 4  # images per class of a task with noisy texts
HEAD: Final = """\
# TAG on tasks made from real features

`python -m benchmarks.tasks` wrote this page. A task is a bundle of real features, or a part of one
by a rule: 1, 2, 4 or 8 of its images per class (the first of a draw of seed 1), every fourth class
where there are 40 or more, or class texts with random noise of 0.6 times their length where there
are 4 images per class or more. "Best rival" is the best by test accuracy of {count} methods, each
tuned on the whole val split ({rivals}):
the largest of {count} numbers, which favours it most where test sets are small. The bundles are
those that TAG's constants were chosen on ([TAG](tag.md)), so this is no evidence on other tasks.
"""


class Row(NamedTuple):
    """What a task gave: test accuracies in percent."""

    task: str
    shots: float  # labelled images per class, on average
    images: int  # of the test set
    zero_shot: float
    rival: str  # the best of RIVALS
    best: float
    fixed: float  # TAG, nothing tuned
    support: float  # TAG, tuned on the support

    @property
    def gain(self) -> float:
        """Points of TAG `fixed` over the best rival."""
        return self.fixed - self.best


def read(path: Path) -> sb.Features:
    """A bundle's features."""
    tensors, said, _ = read_bundle(path)
    arrays: dict[str, Any] = dict(tensors)
    return sb.Features(
        **arrays, dataset=path.stem, encoder=said["encoder"], logit_scale=said["logit_scale"]
    )


def fewer_shots(features: sb.Features, shots: int) -> sb.Features:
    """The first images of each class in an order drawn once."""
    labels = features.support_labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    kept = torch.cat([order[labels[order] == k][:shots] for k in range(len(features.text))])
    return dataclasses.replace(
        features,
        support=features.support[kept],
        support_labels=labels[kept],
        dataset=f"{features.dataset}, {shots} per class",
    )


def every_fourth_class(features: sb.Features) -> sb.Features:
    """A task of a quarter of the classes."""

    def part(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        ours = labels % 4 == 0
        return rows[ours], labels[ours] // 4

    f = features
    support, support_labels = part(f.support, f.support_labels)
    val, val_labels = part(f.val, f.val_labels)
    test, test_labels = part(f.test, f.test_labels)
    return sb.Features(
        text=f.text[::4],
        support=support,
        support_labels=support_labels,
        val=val,
        val_labels=val_labels,
        test=test,
        test_labels=test_labels,
        dataset=f"{f.dataset}, every 4th class",
        encoder=f.encoder,
        logit_scale=f.logit_scale,
    )


def noisy_texts(features: sb.Features) -> sb.Features:
    """Class texts that say less of the images."""
    text = features.text
    drawn = torch.randn(text.shape, generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(
        features,
        text=F.normalize(text + NOISE * F.normalize(drawn, dim=-1), dim=-1),
        dataset=f"{features.dataset}, noisy texts",
    )


def tasks(folder: Path) -> Iterator[sb.Features]:
    """The tasks of a folder of bundles.

    Raises:
        FileNotFoundError: If there is no bundle.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no bundle (*.safetensors).")
    for path in paths:
        features = read(path)
        shots = len(features.support) // len(features.text)
        yield features
        for fewer in (s for s in SHOTS if s < shots):
            yield fewer_shots(features, fewer)
        if len(features.text) >= FEWEST and shots > 1:
            yield every_fourth_class(features)
        if shots >= LEAST_NOISY:
            yield noisy_texts(features)


def measure(features: sb.Features, out: Path) -> Row:
    """Accuracies on a task."""

    def measured(methods: Sequence[str], tune: str) -> dict[str, float]:
        records = sb.evaluate(list(methods), features=features, tune=tune, out=out)
        return {record.method: record.accuracy for record in records}

    rivals = measured(("zero-shot", *RIVALS), "val")
    zero_shot = rivals.pop("zero-shot")
    best = max(rivals, key=lambda name: rivals[name])
    return Row(
        features.dataset,
        len(features.support) / len(features.text),
        len(features.test),
        zero_shot,
        best,
        rivals[best],
        measured(["tag"], "fixed")["tag"],
        measured(["tag"], "support")["tag"],
    )


def page(rows: Sequence[Row]) -> str:
    """The page, as Markdown."""
    parts = [
        ("8 images per class or more", [row for row in rows if row.shots >= 8]),
        ("3 to 7", [row for row in rows if 3 <= row.shots < 8]),
        ("2", [row for row in rows if 2 <= row.shots < 3]),
        ("1", [row for row in rows if row.shots < 2]),
        ("all", list(rows)),
    ]
    lines = [
        HEAD.format(rivals=", ".join(RIVALS), count=len(RIVALS)),
        "| | tasks | mean gain, `fixed` | mean gain, `support` | `fixed` at or above | worst |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in parts:
        gains = [row.gain for row in part]
        support = mean(row.support - row.best for row in part)
        level = sum(gain > -1e-9 for gain in gains)
        figures = f"{mean(gains):+.2f} | {support:+.2f} | {level} | {min(gains):+.2f}"
        lines.append(f"| {name} | {len(part)} | {figures} |")
    lines += [
        "",
        "| task | images | zero-shot | best rival | | TAG, `fixed` | `support` | gain of `fixed` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.task} | {row.images} | {row.zero_shot:.2f} | {row.rival} | {row.best:.2f} "
        f"| {row.fixed:.2f} | {row.support:.2f} | {row.gain:+.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all tasks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    out = parser.parse_args().out
    rows = []
    for task in tasks(Path(os.environ["SUSX_BENCH_REAL"]) / "features"):
        rows.append(measure(task, out))
        print(rows[-1], flush=True)
    write_atomic(PAGE, page(rows).encode())


if __name__ == "__main__":
    main()
