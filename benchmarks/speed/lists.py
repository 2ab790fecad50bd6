"""How long it takes to list, hash and draw from an ImageNet-sized dataset, in each layout.

    python benchmarks/speed/lists.py [--folder DIR] [--divide 100] [--layout folders ...]

A folder with the 1,281,167 + 50,000 names of ImageNet is made for each layout: images are hard
links to a few tiny ones, rows of Parquet files and members of tar files hold one tiny image. Each
measurement is a process of its own: its CPU seconds and its peak of memory, beside those of the
same process without a list, and a bare walk with `os.scandir`. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

TRAIN, TEST, CLASSES = 1_281_167, 50_000, 1000
LINKS = 60_000  # to one file; ext4 takes 65,000
ROWS = 100_000  # of a Parquet file, or of a shard
LAYOUTS = ("folders", "split-file", "parquet", "webdataset")


def codes() -> list[str]:
    """WordNet ids of the classes, sorted, as folders have them."""
    from susx_bench.data.spec import read_codes

    return sorted(code for (code,) in read_codes("imagenet").values())


def names(split: str, images: int) -> Iterator[tuple[str, str]]:
    """Class and file name of every image of a split, class by class."""
    each, more = divmod(images, CLASSES)
    number = 0
    for place, code in enumerate(codes()):
        for i in range(each + (place < more)):
            number += 1
            yield code, (f"{code}_{i}.JPEG" if split == "train" else f"{split}_{number:08d}.JPEG")


def picture(color: int) -> bytes:
    """A JPEG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (color % 256, color // 256 % 256, 0)).save(file, "JPEG")
    return file.getvalue()


def make_folders(root: Path, sizes: dict[str, int]) -> None:
    """Hard links in class folders: ``imagenet/train/CODE/NAME.JPEG``."""
    for color, (split, images) in enumerate(sizes.items()):
        folder = root / "imagenet" / ("val" if split == "test" else split)
        for code in codes():
            (folder / code).mkdir(parents=True)
        source = None
        for number, (code, name) in enumerate(names(split, images)):
            if number % LINKS == 0:
                source = root / f"{split}-{number}.jpeg"
                source.write_bytes(picture(color * 1000 + number // LINKS))
            os.link(str(source), f"{folder}/{code}/{name}")


def make_split_file(root: Path, sizes: dict[str, int]) -> None:
    """A split file beside the class folders."""
    place = {code: number for number, code in enumerate(codes())}
    rows = {
        split: [
            [f"{'val' if split == 'test' else split}/{code}/{name}", place[code], code]
            for code, name in names(split, images)
        ]
        for split, images in sizes.items()
    }
    (root / "split.json").write_text(json.dumps(rows))


def make_parquet(root: Path, sizes: dict[str, int]) -> None:
    """Parquet files as the hub has them: ``image.bytes``, ``image.path`` and a name as label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "imagenet").mkdir(parents=True)
    content = picture(0)
    for split, images in sizes.items():
        every = list(names(split, images))
        for number, start in enumerate(range(0, images, ROWS)):
            some = every[start : start + ROWS]
            rows = [{"bytes": content, "path": name} for _, name in some]
            table = pa.table({"image": rows, "label": [code for code, _ in some]})
            path = root / "imagenet" / f"{split}-{number:05d}.parquet"
            pq.write_table(table, path, row_group_size=1000)


def make_webdataset(root: Path, sizes: dict[str, int]) -> None:
    """Shards of an image and a class a row."""
    (root / "imagenet").mkdir(parents=True)
    content = picture(0)
    for split, images in sizes.items():
        every = list(names(split, images))
        for number, start in enumerate(range(0, images, ROWS)):
            path = root / "imagenet" / f"{split}-{number:05d}.tar"
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for code, name in every[start : start + ROWS]:
                    for ending, held in (("jpg", content), ("cls", code.encode())):
                        member = tarfile.TarInfo(f"{name.removesuffix('.JPEG')}.{ending}")
                        member.size = len(held)
                        tar.addfile(member, io.BytesIO(held))
                    tar.members = []  # type: ignore[attr-defined]  # they would fill the memory


def walk(root: Path, layout: str) -> None:
    """What the list costs at least: a bare walk over the folders."""
    folders = [str(root / "imagenet")]
    while folders:
        with os.scandir(folders.pop()) as entries:
            folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def lists(root: Path, layout: str, *, drawn: bool = True) -> None:
    """List, hash and draw: what planning does with a dataset."""
    from susx_bench.data.dataset import Dataset
    from susx_bench.data.spec import Where
    from susx_bench.registry import DATASETS

    where = Where(root, "folder", root / "split.json" if layout == "split-file" else None)
    dataset = Dataset(DATASETS.get("imagenet"), where)
    if not drawn:
        return
    import torch

    from susx_bench.data.images import Subset
    from susx_bench.support.fewshot import Pool, draw, draw_in_parts

    train, test = dataset.split("train"), dataset.split("test")
    pool = Pool(torch.from_numpy(train.labels), train.classnames, "train")
    for seed in (1, 2, 3):
        for shots in (1, 2, 4, 8, 16):
            positions = draw(pool, shots, seed)
            Subset(train, positions.tolist()).state(train.samples[:1])
            draw_in_parts(pool, shots, seed)
    sys.stderr.write(f"{train.sha256} {test.sha256} {len(train.samples)} {len(test.labels)}\n")


def bare(root: Path, layout: str) -> None:
    """The imports alone."""
    import torch  # noqa: F401

    import susx_bench.support.fewshot  # noqa: F401

    lists(root, layout, drawn=False)


STEPS: dict[str, Callable[[Path, str], None]] = {"nothing": bare, "walk": walk, "lists": lists}
MAKERS = {
    "folders": (make_folders,),
    "split-file": (make_folders, make_split_file),
    "parquet": (make_parquet,),
    "webdataset": (make_webdataset,),
}


def step(name: str, root: Path, layout: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MB of a step in a process of its own."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(root), "--layout", layout]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    cpu, wall, memory = map(float, done.stdout.split())
    return cpu, wall, memory


def run_step(name: str, root: Path, layout: str) -> None:
    """Run a step here and print what it took."""
    start = time.perf_counter()
    STEPS[name](root, layout)
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stdout.write(
        f"{used.ru_utime + used.ru_stime} {time.perf_counter() - start} {used.ru_maxrss / 1024}\n"
    )


def main() -> None:
    """Make the folders, measure, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to make the files")
    parser.add_argument("--layout", nargs="*", default=LAYOUTS, choices=LAYOUTS)
    parser.add_argument("--divide", type=int, default=1, help="make so many times fewer images")
    parser.add_argument("--keep", action="store_true", help="leave the files for the next time")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        run_step(args.step, args.folder, args.layout[0])
        return
    sizes = {"train": TRAIN // args.divide, "test": TEST // args.divide}
    table = Table("layout", "step", "CPU s", "wall s", "peak MB")
    base = (
        Path(tempfile.mkdtemp(dir=args.folder, prefix="lists-")) if not args.keep else args.folder
    )
    try:
        for layout in args.layout:
            root = base / layout
            if not root.exists():
                root.mkdir(parents=True)
                for make in MAKERS[layout]:
                    make(root, sizes)
            for name, title in (
                ("nothing", "imports"),
                ("walk", "bare walk"),
                ("lists", "first list"),
                ("lists", "list again"),
            ):
                cpu, wall, memory = step(name, root, layout)
                table.add_row(layout, title, f"{cpu:.2f}", f"{wall:.2f}", f"{memory:,.0f}")
            if not args.keep:
                shutil.rmtree(root)
    finally:
        if not args.keep:
            shutil.rmtree(base)
    Console().print(table)


if __name__ == "__main__":
    main()
