"""How long it takes to plan the suite `few-shot` over all 19 datasets at full size.

    python -m benchmarks.speed.plan [--folder DIR] [--keep]

The datasets are laid out as they are distributed, with as many files as they have: hard links to a
few tiny images, split files, and for CIFAR rows of Parquet files. The suite's methods, shots and
seeds are asked for on all of them, 3,420 cells, with the demo's encoder. Measured are whole
commands, each in its own process, with an empty cache and again. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

LINKS = 60_000  # to one file; ext4 takes 65,000


def dealt(images: int, classes: int) -> list[int]:
    """Images of each class, as many as there are."""
    return [images // classes + (place < images % classes) for place in range(classes)]


def picture(number: int) -> bytes:
    """A JPEG of two colours: a split whose images show nothing is refused."""
    image = Image.new("RGB", (8, 8), (number % 256, 100, 200))
    image.paste((250, 20, 20), (0, 0, 4, 8))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def linker(folder: Path) -> Callable[[Path], None]:
    """Make an image by a hard link to one of a few."""
    folder.mkdir(parents=True)
    made, folders = 0, set()
    source = folder

    def link(path: Path) -> None:
        nonlocal made, source
        if made % LINKS == 0:
            source = folder / f"{made}.jpg"
            source.write_bytes(picture(made // LINKS))
        made += 1
        if path.parent not in folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        os.link(source, path)

    return link


def lay_out(spec: Any, folder: Path, link: Callable[[Path], None]) -> int:
    """Write a dataset as `tests.data.copies.lay_out` does, with all of its images.

    Returns:
        How many these are.
    """
    from tests.data import copies

    name, folders = spec.name, copies.folders(spec.name)
    labels = {classname: label for label, classname in enumerate(spec.classnames)}
    classes = sorted(labels, key=folders.__getitem__)
    rows: dict[str, list[tuple[str, int, str]]] = {split: [] for split in spec.sizes}
    number = 0
    for split, images in spec.sizes.items():
        for classname, some in zip(classes, dealt(images, len(classes)), strict=True):
            for _ in range(some):
                number += 1
                file = copies.file_name(name, folders[classname], split, number)
                rows[split].append((file, labels[classname], classname))
    if name in ("cifar10", "cifar100"):
        lay_out_table(spec, folder, rows)
        return number
    for split, listed in rows.items():
        below = copies.ON_DISK[name][1] if name in copies.ON_DISK else "images"
        folders_of: dict[Any, str] = {**copies.SPLIT_FOLDERS.get(name, {})}
        place = folder / folders_of.get(split, below)
        for file, _, _ in listed:
            link(place / file)
    if name in copies.ON_DISK:
        spelled = {c: copies.in_split_file(name, c) for c in classes}
        said = {
            split: [(file, label, spelled[classname]) for file, label, classname in listed]
            for split, listed in rows.items()
        }
        (folder / copies.ON_DISK[name][2]).write_text(json.dumps(said))
    if name == "fgvcaircraft":
        for split, listed in rows.items():
            lines = [f"{Path(file).stem} {classname}\n" for file, _, classname in listed]
            (folder / f"images_variant_{split}.txt").write_text("".join(lines))
    return number


def lay_out_table(spec: Any, folder: Path, rows: dict[str, list[tuple[str, int, str]]]) -> None:
    """Write the copy of the hub."""
    from tests.data import copies
    from tests.data.made import parquet

    names = [copies.in_table(spec.hub[0], classname) for classname in spec.classnames]
    image, label = copies.COLUMNS[spec.hub[0].repo]
    (folder / "data").mkdir(parents=True)
    for split, listed in rows.items():
        if split in ("train", "test"):
            numbers = [place for _, place, _ in listed]
            random.Random(0).shuffle(numbers)
            pictures = [picture(0)] * len(numbers)
            content = parquet(pictures, numbers, names, image=image, label=label)
            (folder / "data" / f"{split}-00000-of-00001.parquet").write_bytes(content)


def facts() -> Iterator[Any]:
    """The 19 datasets."""
    from susx_bench.registry import DATASETS
    from susx_bench.runner.suite import Suite

    names = {name for run in Suite.read(Path("name-only")).run for name in run.dataset or ()}
    return map(DATASETS.get, sorted(names))


def make(root: Path) -> None:
    """Write the datasets, their prompt files and the suite."""
    before = dict(os.environ)
    from tests.data import copies

    os.environ.update(before)  # tests keep their caches elsewhere
    link = linker(root / "images")
    (root / "PROMPTS").mkdir()
    clock, total, names = time.perf_counter(), 0, []
    for spec in facts():
        folder = root / "DATA" / copies.OTHERWISE.get(spec.name, spec.name)
        total += lay_out(spec, folder, link)
        said = {name: [f"A {name}."] for name in spec.classnames}
        (root / "PROMPTS" / f"CuPL_prompts_{spec.name}.json").write_text(json.dumps(said))
        names.append(spec.name)
    suite = (Path(__file__).parents[1] / "suites" / "few-shot.toml").read_text()
    head, _, rest = suite.partition("dataset = [")
    rest = rest.partition("]")[2].replace("RN50:openai", "demo")
    (root / "suite.toml").write_text(f"{head}dataset = {json.dumps(names)}{rest}")
    took = time.perf_counter() - clock
    sys.stderr.write(f"{total:,} images of {len(names)} datasets laid out in {took:.0f} s\n")


def run(words: list[str], root: Path) -> tuple[float, float, float, str]:
    """CPU seconds, wall seconds and peak MB of a command, and its last line."""
    clock = time.perf_counter()
    environment = os.environ | {"SUSX_BENCH_CACHE": str(root / "cache")}
    command = [sys.executable, "-m", "susx_bench", *words]
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, cwd=root, env=environment, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        out.seek(0)
        lines = [line.strip() for line in out if line.strip()]
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    cpu, wall = used.ru_utime + used.ru_stime, time.perf_counter() - clock
    return cpu, wall, used.ru_maxrss / 1024, lines[-1] if lines else ""


def main() -> None:
    """Lay out the datasets, measure, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to make the files")
    parser.add_argument("--keep", action="store_true", help="leave the files for the next time")
    args = parser.parse_args()
    root = args.folder if args.keep else Path(tempfile.mkdtemp(dir=args.folder, prefix="plan-"))
    asked = ["--suite", "suite.toml", "--data-root", "DATA", "--prompts-dir", "PROMPTS"]
    dry, plan = ["run", *asked, "--dry-run"], ["plan", *asked, "--out", "PLAN"]
    table = Table("command", "CPU s", "wall s", "peak MB", "says")
    try:
        if not (root / "suite.toml").exists():
            root.mkdir(parents=True, exist_ok=True)
            made = "from benchmarks.speed.plan import make; from pathlib import Path;"
            made += f"make(Path({str(root)!r}))"  # elsewhere: it takes memory
            subprocess.run([sys.executable, "-c", made], check=True)
        shutil.rmtree(root / "cache", ignore_errors=True)
        for title, words in (
            ("run --dry-run, empty cache", dry),
            ("run --dry-run again", dry),
            ("plan --out", plan),
        ):
            shutil.rmtree(root / "PLAN", ignore_errors=True)
            cpu, wall, memory, line = run(words, root)
            table.add_row(title, f"{cpu:.1f}", f"{wall:.1f}", f"{memory:,.0f}", line)
    finally:
        if not args.keep:
            shutil.rmtree(root)
    Console().print(table)


if __name__ == "__main__":
    main()
