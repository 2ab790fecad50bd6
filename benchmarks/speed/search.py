"""How long choosing TIP-X's hyper-parameters takes: the published loops against the exact search.

    python benchmarks/speed/search.py [--bundle FILE.safetensors] [--size small|k1000|v50000] ...

The loops are those of SuS-X's public code: for each alpha and beta the cosines, the cache, CLIP's
logits and the KL term are computed again, for each gamma the logits are added and the top 5 taken.
They run on a sample of (alpha, beta) pairs, spread evenly, with all 50 gammas each, and the total
is extrapolated from it: 4000 pairs. Ours runs whole, fit and KL included, and both run in this
process, on this machine, with the same threads, in turns.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from susx_bench.methods.base import Context, Labelled
from susx_bench.methods.tipx import TipX, kl_divergence, log_signatures
from susx_bench.tuning.exact import exact_search

PAIRS = 20 * 200


def bundle_task(path: Path, device: torch.device) -> tuple[str, Context]:
    """A real task from a feature bundle."""
    t = {name: value.to(device) for name, value in load_file(path).items()}
    context = Context(
        t["text"], t["support"], t["support_labels"], 100.0, Labelled(t["val"], t["val_labels"])
    )
    return path.stem, context


def synthetic_task(
    classes: int, val: int, support: int, width: int, noise: float, device: torch.device
) -> tuple[str, Context]:
    """Unit rows around class centres; `noise` is the length of what an image adds to its class."""
    generator = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(classes, width, generator=generator), dim=-1)
    common = F.normalize(torch.randn(width, generator=generator), dim=-1)

    def near(labels: Tensor, noise: float, shared: float) -> Tensor:
        jitter = F.normalize(torch.randn(len(labels), width, generator=generator), dim=-1)
        mixed = centres[labels] + noise * jitter + shared * common
        return F.normalize(mixed, dim=-1).to(device)

    support_labels, val_labels = torch.arange(support) % classes, torch.arange(val) % classes
    context = Context(
        text=near(torch.arange(classes), 3.0, 3.0),
        support=near(support_labels, noise, 2.5),
        support_labels=support_labels.to(device),
        val=Labelled(near(val_labels, noise, 2.5), val_labels.to(device)),
    )
    return f"synthetic K={classes}", context


def ours(context: Context) -> tuple[float, float]:
    """Seconds from features in memory to the chosen setting, and its accuracy."""
    assert context.val is not None
    started = time.perf_counter()
    method = TipX()
    method.fit(context)
    found = exact_search(method, context.val, method.space(context))
    return time.perf_counter() - started, 100 * found.correct / len(context.val.labels)


def published_loops(context: Context, pairs: int) -> float:
    """Seconds all 200,000 settings would take, from `pairs` of the 4000 (alpha, beta)."""
    assert context.val is not None
    images, labels = context.val.features, context.val.labels
    axes = {axis.name: axis.values for axis in TipX().space(context).axes}
    all_pairs = [(a, b) for a in axes["alpha"] for b in axes["beta"]]
    targets = F.one_hot(context.support_labels, context.num_classes).float()
    keys, weights = context.support.T, context.text.T
    divergence = kl_divergence(
        log_signatures(images, context.text), log_signatures(context.support, context.text)
    )
    sample = all_pairs[:: len(all_pairs) // pairs][:pairs]
    synchronise(images.device)
    started = time.perf_counter()
    best = 0.0
    for alpha, beta in sample:
        cosines = images @ keys
        cache = (-(beta - beta * cosines)).exp() @ targets
        clip = 100.0 * images @ weights
        scaled = (divergence - divergence.min()) / (divergence.max() - divergence.min())
        scaled = scaled * (cosines.max() - cosines.min()) + cosines.min()
        kl_term = -scaled @ targets
        for gamma in axes["gamma"]:
            logits = clip + kl_term * gamma + cache * alpha
            top = logits.topk(5, dim=-1).indices
            best = max(best, float((top[:, 0] == labels).float().sum()))
    synchronise(images.device)
    return (time.perf_counter() - started) * PAIRS / len(sample)


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gib(device: torch.device) -> float:
    """Peak memory: of the device, or of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, action="append", default=[])
    parser.add_argument("--size", choices=["small", "k1000", "v50000"], action="append", default=[])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=8, help="(alpha, beta) pairs the loops run")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)

    sizes: dict[str, Callable[[], tuple[str, Context]]] = {
        "small": lambda: synthetic_task(101, 1898, 1616, 512, 3.5, device),
        "k1000": lambda: synthetic_task(1000, 2000, 2000, 1024, 3.0, device),
        "v50000": lambda: synthetic_task(1000, 50_000, 16_000, 1024, 5.0, device),
    }
    tasks: list[Callable[[], tuple[str, Context]]] = [
        partial(bundle_task, path, device) for path in arguments.bundle
    ]
    tasks += [sizes[name] for name in arguments.size or ([] if arguments.bundle else ["small"])]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    table = Table(title=f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for column in ("task", "V", "M", "K", "loops s", "ours s", "ratio", "val %", "peak GiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for make in tasks:
        title, context = make()
        assert context.val is not None
        large = len(context.val.labels) * len(context.support) > 10**8
        loops, runs = [], []
        accuracy = 0.0
        for _ in range(1 if large else arguments.repeats):
            if not large:  # the loops would hold V x M cosines several times over
                loops.append(published_loops(context, arguments.pairs))
            seconds, accuracy = ours(context)
            runs.append(seconds)
        mine = statistics.median(runs)
        slow = f"{statistics.median(loops):,.0f} (extrapolated)" if loops else "not run"
        ratio = f"{statistics.median(loops) / mine:,.0f}" if loops else ""
        table.add_row(
            title,
            str(len(context.val.labels)),
            str(len(context.support)),
            str(context.num_classes),
            slow,
            f"{mine:.2f}",
            ratio,
            f"{accuracy:.2f}",
            f"{peak_gib(device):.1f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
