"""How fast images on disk become stored features: ours, the bare model, and clip_benchmark.

    pip install clip_benchmark
    python benchmarks/speed/encode.py --dataset caltech101 --data-root DIR [--model RN50] ...

The limit is open_clip's forward pass alone, on tensors already in memory. Ours reads the files,
decodes them, encodes and writes the features to a store. clip_benchmark (LAION) does one zero-shot
evaluation on the same files, as webdataset shards, its own format. Model, batch, prompts, threads
and decoding processes are the same, all in this process, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from susx_bench.data.custom import open_dataset
from susx_bench.data.dataset import DatasetSplit
from susx_bench.data.images import Subset
from susx_bench.data.spec import Where
from susx_bench.encoders.openclip import OpenClip, OpenClipTowers
from susx_bench.features.blocks import BLOCK
from susx_bench.features.encode import fill
from susx_bench.features.launch import Launch
from susx_bench.features.rows import ImageRows
from susx_bench.features.store import FeatureStore

KINDS = 3
CELLS = 5 * KINDS
"""Five methods x three kinds of prompts on the same images: we encode the images once, and the
prompts of a kind once; clip_benchmark encodes both for each."""


def limit(bare: OpenClipTowers, data: DatasetSplit, images: int) -> float:
    """Seconds of open_clip's model alone, on tensors in memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels = torch.stack([bare.transform(data.image(s)) for s in data.samples[:images]])
    blocks = [block.to(device, bare.dtype) for block in torch.split(pixels, BLOCK)]
    model: Any = bare.model.to(device)
    with torch.inference_mode():
        model.encode_image(blocks[0])
        synchronise()
        started = time.perf_counter()
        for block in blocks:
            model.encode_image(block)
        synchronise()
    return time.perf_counter() - started


def ours(towers: OpenClipTowers, data: DatasetSplit, launch: Launch, images: int) -> float:
    """Seconds from files to a new store."""
    part = Subset(data, range(images))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        work = ImageRows(part, 1, {"encoder": "benchmark"})
        store = FeatureStore(folder)
        fill(work, store.lacks(work.recipe, work.rows), towers, store, launch, lambda rows: None)
        return time.perf_counter() - started


def texts(towers: OpenClipTowers, data: DatasetSplit) -> float:
    """Seconds of the text classifier that clip_benchmark makes, too."""
    started = time.perf_counter()
    towers.texts([[data.spec.template.format(name)] for name in data.classnames])
    return time.perf_counter() - started


def write_shards(data: DatasetSplit, folder: Path, images: int, shards: int) -> None:
    """The same files as webdataset shards, as clip_benchmark reads them: one a worker at least."""
    (folder / "test").mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / "test" / f"{shard}.tar", "w") as tar:
            for row in range(shard, images, shards):
                sample = data.samples[row]
                for suffix, content in (
                    ("jpg", data.content(sample)),
                    ("cls", str(sample.label).encode()),
                ):
                    info = tarfile.TarInfo(f"s{row:07d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (folder / "test" / "nshards.txt").write_text(str(shards))
    (folder / "classnames.txt").write_text("\n".join(data.classnames))
    template = data.spec.template.replace("{}", "{c}")
    (folder / "zeroshot_classification_templates.txt").write_text(template)


def clip_benchmark(bare: OpenClipTowers, launch: Launch, images: int, shards: Path) -> float:
    """Seconds of one zero-shot evaluation by clip_benchmark, its text classifier included."""
    from clip_benchmark.datasets.builder import build_dataset
    from clip_benchmark.metrics.zeroshot_classification import (
        run_classification,
        zero_shot_classifier,
    )

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        dataset = build_dataset(
            "wds/benchmark", root=str(shards), transform=bare.transform, split="test"
        )
        loader = DataLoader(
            dataset.batched(BLOCK), batch_size=None, shuffle=False, num_workers=launch.workers or 0
        )
        model = bare.model.to(device)
        classifier = zero_shot_classifier(
            model, bare.tokenize, dataset.classes, dataset.templates, device, amp=False
        )
        # Its `evaluate` does these two steps, and then counts in a way that numpy 2.4 refuses.
        run_classification(model, classifier, loader, device, amp=False)
        return time.perf_counter() - started


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def plain(towers: OpenClipTowers) -> OpenClipTowers:
    """The same model as open_clip makes it, in memory order as torch has it."""
    model = copy.deepcopy(towers.model).to(memory_format=torch.contiguous_format)
    return dataclasses.replace(towers, model=model)


def agreement(one: OpenClipTowers, other: OpenClipTowers, data: DatasetSplit) -> float:
    """Smallest cosine between two encoders' features of the same 64 images."""
    pixels = torch.stack([one.transform(data.image(s)) for s in data.samples[:BLOCK]])
    with torch.inference_mode():
        return float((one.images(pixels) * other.images(pixels)).sum(-1).min())


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="caltech101")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--split-file", type=Path)
    parser.add_argument("--split", default="train", choices=["train", "val", "test"])
    parser.add_argument("--model", action="append", default=[], help="as RN50 or ViT-B-32")
    parser.add_argument("--also", action="append", default=[], help="bf16, fp16")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    where = Where(arguments.data_root, split_file=arguments.split_file)
    data = open_dataset(arguments.dataset, where).split(arguments.split)
    images = min(arguments.images, len(data))
    launch = Launch(workers=arguments.workers, batch_size=BLOCK)
    where_run = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    table = Table(
        title=f"{images} images of {data.spec.title}, blocks of {BLOCK}: {where_run}, "
        f"{torch.get_num_threads()} threads, {arguments.workers} workers, torch {torch.__version__}"
    )
    table.add_column("model")
    table.add_column("what")
    for column in ("seconds", "images/s", "of limit", "15 cells, s", "cosine to fp32"):
        table.add_column(column, justify="right", no_wrap=True)

    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder)
        write_shards(data, shards, images, max(1, launch.workers or 1))
        for model in arguments.model or ["RN50", "ViT-B-32"]:
            towers = {p: OpenClip(f"{model}:random", p).towers for p in ("fp32", *arguments.also)}
            bare = plain(towers["fp32"])
            runs: dict[str, Callable[[], float]] = {
                "open_clip forward": partial(limit, bare, data, images),
                "clip_benchmark, one zero-shot": partial(
                    clip_benchmark, bare, launch, images, shards
                ),
                "ours, text": partial(texts, towers["fp32"], data),
            }
            runs |= {
                f"ours, {p}": partial(ours, t, data, launch, images) for p, t in towers.items()
            }
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(arguments.repeats):
                for name, run in runs.items():
                    seconds[name].append(run())
            median = {name: statistics.median(values) for name, values in seconds.items()}
            median["ours, one zero-shot"] = median["ours, fp32"] + median["ours, text"]
            del median["ours, text"]
            rival = median["clip_benchmark, one zero-shot"]
            text = median["ours, one zero-shot"] - median["ours, fp32"]
            cells = {
                "clip_benchmark, one zero-shot": CELLS * rival,
                "ours, one zero-shot": median["ours, fp32"] + KINDS * text,
            }
            for name, took in median.items():
                precision = name.removeprefix("ours, ")
                table.add_row(
                    model,
                    name,
                    f"{took:.1f}",
                    f"{images / took:.1f}",
                    f"{median['open_clip forward'] / took:.0%}",
                    f"{cells[name]:.0f}" if name in cells else "",
                    f"{agreement(towers['fp32'], towers[precision], data):.5f}"
                    if precision in arguments.also
                    else "",
                )
            table.add_section()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
