"""How long methods of a thousand classes take: the formula as it is written, against ours.

    python -m benchmarks.speed.methods [--bundle FILE.safetensors [--dataset imagenet]]

DMN and DOTA answer the val images as a stream, APE searches its grid on them. The formulas run on a
sample: the first images of a stream, a few (beta, alpha) pairs of the grid with all their gammas.
The total is extrapolated from it. Both run in this process, on this machine, with the same threads;
seconds are those of the processor. "apart" is how far the logits of the sample lie from ours at
most, in units of the largest.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.speed.search import bundle_task, synthetic_task
from susx_bench.methods.ape import APE
from susx_bench.methods.base import Context, Method
from susx_bench.methods.dmn import DMN
from susx_bench.methods.dota import DOTA
from susx_bench.methods.ties import top1
from susx_bench.tuning.exact import exact_search


@dataclasses.dataclass(frozen=True)
class Timed:
    """Seconds of all images or settings, and how far the sampled logits lie apart."""

    plain: float
    ours: float
    apart: float


def dmn_formula(context: Context, images: Tensor) -> Tensor:
    """DMN: every image reads every slot of every class."""
    method, text = DMN(), context.text
    memory = text.new_zeros(len(text), 1 + method.capacity, text.shape[1])
    memory[:, 0] = text
    entropies: list[list[float]] = [[] for _ in text]
    rows = []
    for image in images:
        clip = context.logit_scale * text @ image
        label = int(top1(clip[None]))
        held = entropies[label]
        entropy = float(-(clip.softmax(0) * clip.log_softmax(0)).sum())
        slot = len(held)
        if slot == method.capacity:
            slot = held.index(max(held))
        if slot == len(held) or entropy < held[slot]:
            held[slot : slot + 1] = [entropy]
            memory[label, 1 + slot] = image
        attention = torch.exp(-method.beta * (1 - memory @ image))  # an empty slot reads as 0
        read = F.normalize((attention[..., None] * memory).sum(1), dim=-1)
        rows.append(clip.softmax(0) + (context.logit_scale * read @ image).softmax(0))
    return torch.stack(rows)


def dota_formula(context: Context, images: Tensor) -> Tensor:
    """DOTA: every image changes the covariance of every class, and the mean of them is inverted."""
    method, text = DOTA(), context.text
    classes, width = text.shape
    eye = torch.eye(width)
    count, mean = torch.ones(classes), torch.full((classes, width), method.omega)
    covariance = method.sigma2 * eye.repeat(classes, 1, 1)
    rows = []
    for image in images:
        clip = context.logit_scale * text @ image
        inverse = torch.linalg.inv((1 - method.epsilon) * covariance.mean(0) + method.epsilon * eye)
        projected = mean @ inverse
        score = projected @ image - (projected * mean).sum(-1) / 2
        rows.append(clip + (method.rho * count.mean()).clamp(max=method.eta) * score)
        gain, away = clip.softmax(0), image - mean
        total = count + gain
        covariance *= (count / total)[:, None, None]
        covariance += (gain / total)[:, None, None] * away[:, :, None] * away[:, None, :]
        mean = (count[:, None] * mean + gain[:, None] * image) / total[:, None]
        count = total
    return torch.stack(rows)


def stream(
    method: Method, formula: Callable[[Context, Tensor], Tensor], sample: int
) -> Callable[[Context], Timed]:
    """Measure a streaming method on the val images."""

    def measure(context: Context) -> Timed:
        assert context.val is not None
        images = context.val.features
        started = time.process_time()
        method.fit(context)
        logits = method.logits(images)
        ours = time.process_time() - started
        started = time.process_time()
        expected = formula(context, images[:sample])
        plain = (time.process_time() - started) * len(images) / len(expected)
        return Timed(plain, ours, apart(logits[:sample], expected))

    return measure


def ape(context: Context) -> Timed:
    """Measure APE's search."""
    assert context.val is not None
    images, labels = context.val.features, context.val.labels
    method = APE()
    started = time.process_time()
    method.fit(context)
    space = method.space(context)
    exact_search(method, context.val, space)
    ours = time.process_time() - started

    method.set(APE().hparams)
    refined = method._refined()
    axes = {axis.name: axis.values for axis in space.axes}
    pairs = [(beta, alpha) for beta in axes["beta"] for alpha in axes["alpha"]]
    sample = pairs[len(pairs) // 4 :: len(pairs) // 2]
    started = time.process_time()
    targets = F.one_hot(context.support_labels, context.num_classes).float()
    own = F.normalize(images[:, refined.channels], dim=-1)
    for beta, alpha in sample:
        affinity = own @ refined.support.T
        for gamma in axes["gamma"]:
            weights = torch.exp(gamma * refined.divergence)[:, None] * targets
            cache = torch.exp(-beta * (1 - affinity)) @ weights
            logits = context.logit_scale * images @ context.text.T + alpha * cache
            (top1(logits) == labels).sum()
    plain = (time.process_time() - started) * len(pairs) / len(sample)
    method.set({"alpha": alpha, "beta": beta, "gamma": gamma})
    far = apart(method.logits(images), logits)
    return Timed(plain, ours, far)


def apart(ours: Tensor, expected: Tensor) -> float:
    """Largest distance, less what all classes share, in units of the largest logit."""
    away = (ours - expected) - (ours - expected).mean(-1, keepdim=True)
    return float(away.abs().max() / expected.abs().max())


MEASURES: dict[str, Callable[[Context], Timed]] = {
    "dmn": stream(DMN(), dmn_formula, 16),
    "dota": stream(DOTA(), dota_formula, 4),
    "ape": ape,
}


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--dataset", default="imagenet", help="whose grid APE searches")
    parser.add_argument("--method", choices=list(MEASURES), action="append", default=[])
    args = parser.parse_args()
    device = torch.device("cpu")
    if args.bundle:
        title, context = bundle_task(args.bundle, device)
    else:
        title, context = synthetic_task(1000, 2000, 2000, 512, 3.0, device)
    context = dataclasses.replace(context, dataset=args.dataset)
    table = Table(title=f"{title}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for column in ("method", "formula s (extrapolated)", "ours s", "ratio", "apart"):
        table.add_column(column, justify="right", no_wrap=True)
    for name in args.method or MEASURES:
        took = MEASURES[name](context)
        table.add_row(
            name,
            f"{took.plain:,.0f}",
            f"{took.ours:.1f}",
            f"{took.plain / took.ours:.1f}",
            f"{took.apart:.1e}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
