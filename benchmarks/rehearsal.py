"""Run the suites of images from an empty folder to their tables, with the commands of the docs.

    python -m benchmarks.rehearsal                              # small models, every suite
    python -m benchmarks.rehearsal --suites few-shot            # one
    python -m benchmarks.rehearsal --classes 3 --generated 16 --datasets imagenet cifar10 dtd
    python -m benchmarks.rehearsal --full --suites encoders --datasets dtd --encoders RN50:openai

The data sets lie in their published layouts, with few classes and few images. Encoders and the
diffusion pipeline have random weights, in the files and at the commits of their repositories, and
come from a hub on loopback. With `--full` they have their real sizes, and the pipeline draws in
half precision, fp16 on a GPU and bf16 on a CPU; otherwise they are small. It takes one step in
place of 85, the demo's own pipeline two in place of 20. A suite that asks for more generated images
per class than `--generated`, or draws more labelled ones than `--shots`, gets as many as that, and
one that has none of `--datasets` keeps its first. Nothing else is changed: each suite is what
`susx-bench run --suite NAME` runs.

For each suite: the dry run, the run, the run again (which must find nothing to do), the table.
`--write FILE` puts the figures into a page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from susx_bench.data.spec import Split

SUITES = (
    *("few-shot", "few-shot-coop", "test-time", "name-only", "name-only-published", "ablations"),
    *("encoders", "support-prompts", "support-size", "support-source", "demo-support"),
)
OPENAI = ("RN50", "RN101", "ViT-B-32", "ViT-B-16", "ViT-L-14")
LAION = (("ViT-B-32", "laion2b_s34b_b79k"), ("ViT-B-16", "laion2b_s34b_b88k"))
GENERATED = 100  # images per class, as the published recipe has
SHOTS = 16  # the most that a suite draws
STAGES = ("dry run", "run", "again", "table")


@dataclass(frozen=True)
class Cut:
    """What is left of data and models.

    Attributes:
        full: Whether models have their real sizes.
        classes: Per data set.
        images: Of each split, per class.
        generated: Per class.
        shots: The most per class in a draw of labelled images.
        pool: Images to retrieve from.
        datasets: Those that suites keep; all where it is empty.
        encoders: Likewise.
    """

    full: bool
    classes: int
    images: dict[Split, int]
    generated: int
    shots: int
    pool: int
    datasets: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()


# Models with random weights, in the files of their repositories.


def small_models() -> None:
    """Make the architectures in open_clip's table small; vocabulary and context stay."""
    from open_clip import factory

    for name in (*(f"{model}-quickgelu" for model in OPENAI), *(model for model, _ in LAION)):
        config = factory._MODEL_CONFIGS[name]
        resnet = isinstance(config["vision_cfg"]["layers"], list)
        vision: dict[str, Any] = {"image_size": 32, "width": 32, "head_width": 16}
        vision |= {"layers": [1, 1, 1, 1], "width": 8} if resnet else {"layers": 2, "patch_size": 8}
        text = config["text_cfg"] | {"width": 32, "heads": 2, "layers": 1}
        factory._MODEL_CONFIGS[name] = config | {
            "embed_dim": 32,
            "vision_cfg": vision,
            "text_cfg": text,
        }


def draw_weights(model: Any) -> None:
    """Draw the weights of a small model so that images and texts get features far apart.

    Those that a new model has are so small that nearly all that it says is its biases, and all
    methods give one answer.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        if not value.ndim:
            continue  # the logit scale
        noise = 0.2 * torch.randn(value.shape, generator=generator)
        value.data = noise + (value.ndim == 1 and name.endswith("weight"))


def encoder_files(model: str, full: bool) -> dict[str, bytes]:
    """The repository of an encoder of open_clip's table."""
    import open_clip
    import torch
    from safetensors.torch import save

    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # that there are no pretrained weights
    built: Any = open_clip.create_model(model, pretrained=None)
    if not full:
        draw_weights(built)
    weights = {name: value.contiguous() for name, value in built.state_dict().items()}
    config = {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": {}}
    return {
        "open_clip_config.json": json.dumps(config).encode(),
        "open_clip_model.safetensors": save(weights),
        "README.md": b"---\nlibrary_name: open_clip\n---\n",
    }


def clip_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer as Stable Diffusion's repositories have it, from open_clip's merges."""
    import gzip

    from open_clip.tokenizer import bytes_to_unicode, default_bpe

    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["".join(merge.split()) for merge in merges]
    ends = ["<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate([*tokens, *ends])}
    special = {
        "bos_token": ends[0],
        "eos_token": ends[1],
        "unk_token": ends[1],
        "pad_token": ends[1],
    }
    config = special | {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "name_or_path": "openai/clip-vit-large-patch14",
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
    }
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def pipeline_files(folder: Path, full: bool) -> dict[str, bytes]:
    """The repository of Stable Diffusion v1-4, with parts of their real sizes or small ones."""
    import diffusers
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16 if full else torch.float32)
    width = 768 if full else 32
    deep = (320, 640, 1280, 1280) if full else (32, 64)
    cross = len(deep) - 1
    models: Any = diffusers
    unet = models.UNet2DConditionModel(
        sample_size=64 if full else 16,
        block_out_channels=deep,
        down_block_types=("CrossAttnDownBlock2D",) * cross + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * cross,
        layers_per_block=2 if full else 1,
        norm_num_groups=32 if full else 8,
        cross_attention_dim=width,
        attention_head_dim=8 if full else 4,
    )
    blocks = (128, 256, 512, 512) if full else (16, 32)
    vae = models.AutoencoderKL(
        sample_size=512 if full else 32,
        block_out_channels=blocks,
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        layers_per_block=2 if full else 1,
        norm_num_groups=32 if full else 8,
    )
    layers, heads = (12, 12) if full else (1, 2)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=1,
        )
    )
    vision: dict[str, Any] = {"image_size": 224, "patch_size": 14 if full else 112}
    vision |= {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
    vision |= {"num_attention_heads": 16}
    if not full:
        vision |= {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        vision |= {"num_attention_heads": 2}
    wide = 768 if full else 16
    build: Any = StableDiffusionSafetyChecker
    checker = build(
        CLIPConfig(vision_config=vision | {"projection_dim": wide}, projection_dim=wide)
    )
    checker.concept_embeds_weights.data.fill_(2.0)  # no cosine is larger: nothing is blanked
    checker.special_care_embeds_weights.data.fill_(2.0)
    models.PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    for name, part in (
        ("unet", unet), ("vae", vae), ("text_encoder", text), ("safety_checker", checker),
    ):  # fmt: skip
        part.save_pretrained(folder / name)
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    clip_tokenizer(folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.2.2",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def serve(cut: Cut) -> None:
    """Serve the repositories until the standard input ends; print the address."""
    from open_clip.pretrained import get_pretrained_cfg

    from susx_bench.support.pipelines import PRESETS
    from tests.hub import Hub

    if not cut.full:
        small_models()
    hub = Hub()
    pairs = [(f"{model}:openai", f"{model}-quickgelu", "openai") for model in OPENAI]
    pairs += [(f"{model}:{tag}", model, tag) for model, tag in LAION]
    for name, model, tag in pairs:
        if not cut.encoders or name in (*cut.encoders, "ViT-L-14:openai"):
            repository = get_pretrained_cfg(model, tag)["hf_hub"].rstrip("/")
            hub.add("model", repository, encoder_files(model, cut.full))
    repository, _, commit = PRESETS["published"].model.partition("@")
    with tempfile.TemporaryDirectory() as folder:
        hub.add("model", repository, pipeline_files(Path(folder), cut.full), commit=commit)
    with hub:
        sys.stdout.write(f"{hub.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


# Data in its published layouts.


def facts(cut: Cut) -> Iterator[Any]:
    """The data sets, made small."""
    before = dict(os.environ)
    from tests.data import copies

    os.environ.update(before)  # tests keep their caches elsewhere

    def small(name: str, lends: Collection[str] = ()) -> Any:
        return copies.cut(name, cut.classes, cut.classes, cut.images, lends)

    # CLEAN lie in ImageNet's folder, which is cut to its own classes.
    names = set(copies.NAMES) - {"imagenet", *copies.CLEAN}
    others = [small(name) for name in sorted(names)]
    yield small("imagenet", copies.codes(others, "imagenet"))
    yield from others


def lay_out(root: Path, prompts: Path, cut: Cut) -> None:
    """Write data sets, prompt files, and images to retrieve from."""
    import numpy as np
    from PIL import Image

    from tests.data import copies
    from tests.data.made import encoded, write

    numbers, size = itertools.count(), (500, 375) if cut.full else (48, 36)

    def photo(label: int, split: str, kind: str = "jpeg") -> bytes:
        """A picture of its own, with something of its class in it."""
        random = np.random.default_rng(next(numbers))
        coarse = random.integers(0, 200, (6, 8, 3), np.uint8)
        coarse[label % 6, :] += 55
        made = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        return encoded(made, "jpeg" if kind == "jpg" else kind)

    for spec in facts(cut):
        copies.lay_out(spec, root / copies.OTHERWISE.get(spec.name, spec.name), photo, cut.images)
        said = {
            name: [f"A {name} seen from {place}." for place in "abc"] for name in spec.classnames
        }
        write(prompts / f"CuPL_prompts_{spec.name}.json", json.dumps(said))
        write(prompts / f"descriptors_{spec.name}.json", json.dumps(said))
    for number in range(cut.pool):
        write(root / "pool" / f"{number:06d}.jpg", photo(number, "pool"))


# Commands, in processes of their own.


def as_command(cut: Cut, words: list[str]) -> None:
    """Be `susx-bench`, with small data sets and one step of the pipeline."""
    from susx_bench.cli import main
    from susx_bench.runner.suite import Suite
    from susx_bench.support.pipelines import PRESETS

    for spec in facts(cut):
        from tests.data.copies import facts_of

        module, _, name = facts_of(spec.name).rpartition(".")
        __import__(module)
        setattr(sys.modules[module], name, spec)
    if not cut.full:
        small_models()
    published, demo = PRESETS["published"], PRESETS["demo"]
    PRESETS["published"] = replace(published, steps=1, per_class=cut.generated)
    PRESETS["demo"] = replace(demo, steps=2, per_class=min(demo.per_class, cut.generated))
    read: Any = Suite.read.__func__  # type: ignore[attr-defined]

    def kept(said: tuple[str, ...] | None, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
        found = said and tuple(name for name in said if not wanted or name in wanted)
        return found or (said and said[:1])

    def fewer(said: tuple[int, ...] | None, most: int) -> tuple[int, ...] | None:
        return said and tuple(dict.fromkeys(min(shots, most) for shots in said))

    def cut_suite(kind: type[Suite], path: Path) -> Suite:
        """The suite with some of its data sets and encoders."""
        suite = read(kind, path)
        # A CPU takes a hundred times as long for a convolution in fp16 as for one in bf16.
        half = "fp16" if Path("/dev/nvidia0").exists() else "bf16"
        precision = {"precision": half} if cut.full else {}
        parts = {
            "support": [
                each.model_copy(
                    update={
                        "dataset": kept(each.dataset, cut.datasets),
                        "per_class": each.per_class and min(each.per_class, cut.generated),
                    }
                    | precision
                )
                for each in suite.support
            ],
            "run": [
                each.model_copy(
                    update={
                        "dataset": kept(each.dataset, cut.datasets),
                        "encoder": kept(each.encoder, cut.encoders),
                        "shots": fewer(
                            each.shots, cut.generated if each.setting == "name-only" else cut.shots
                        ),
                    }
                )
                for each in suite.run
            ],
        }
        cut_to = {name: tuple(some) for name, some in parts.items()}
        return cast(Suite, suite.model_copy(update=cut_to))

    if cut.full or cut.datasets or cut.encoders or cut.generated < GENERATED or cut.shots < SHOTS:
        Suite.read = classmethod(cut_suite)  # type: ignore[method-assign, assignment]
    sys.argv = ["susx-bench", *words]
    main()


class Took(NamedTuple):
    """What a command took."""

    seconds: float
    cpu: float
    peak: float  # GiB
    code: int
    out: str
    err: str


def run(words: list[str], home: Path, environment: dict[str, str], cut: Cut) -> Took:
    """Run `susx-bench` in the folder."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.rehearsal",
        "--as-command",
        json.dumps(asdict(cut)),
    ]
    out, err = home / "stdout", home / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        clock = time.perf_counter()
        child = subprocess.Popen(
            [*command, *words], cwd=home, env=environment, stdout=stdout, stderr=stderr
        )
        _, status, used = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    told = out.read_text(errors="replace"), err.read_text(errors="replace")
    seconds = time.perf_counter() - clock
    return Took(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, code, *told)


def held(folder: Path) -> int:
    """Bytes in a folder, links not followed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def rows(cache: Path) -> int:
    """Images, views and prompts in a feature store."""
    from safetensors import safe_open

    found = 0
    for path in cache.rglob("features/*/*.safetensors"):
        with safe_open(str(path), "pt") as file:
            found += int(file.get_slice("features").get_shape()[0])
    return found


FOLDERS = {"hub": "hub", "features": "cache", "support": "support", "records": "leaderboards"}


class Figures(NamedTuple):
    """What one suite took."""

    suite: str
    stage: str
    took: Took
    grown: dict[str, int]
    encoded: int
    records: int


def rehearse(suite: str, home: Path, environment: dict[str, str], cut: Cut) -> Iterator[Figures]:
    """Run a suite from its dry run to its table."""
    command = ["run", "--suite", suite, "--data-root", "DATA", "--prompts-dir", "PROMPTS"]
    command += ["--out", f"leaderboards/records/{suite}"]
    stages = (
        [*command, "--dry-run"],
        command,
        command,
        ["leaderboard", "build", suite],
    )
    for stage, words in zip(STAGES, stages, strict=True):
        before = {name: held(home / place) for name, place in FOLDERS.items()}
        encoded = rows(home / "cache")
        took = run(words, home, environment, cut)
        kept = home / "logs" / f"{suite}-{stage.replace(' ', '-')}.txt"
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(f"$ susx-bench {' '.join(words)}\n{took.out}\n{took.err}\n{took.code}\n")
        grown = {name: held(home / FOLDERS[name]) - size for name, size in before.items()}
        records = len([*(home / "leaderboards" / "records" / suite).rglob("*.json")])
        yield Figures(suite, stage, took, grown, rows(home / "cache") - encoded, records)
        if took.code:
            break


def size(count: float) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:,.1f}"


HEAD = (
    *("suite", "stage", "wall s", "CPU s", "peak GiB", "rows encoded", "s per 1,000 rows"),
    *("hub MB", "features MB", "support MB", "records MB", "records", "said before"),
)


def line(each: Figures, said: str) -> tuple[str, ...]:
    """A row of the table."""
    took = each.took
    per = f"{1000 * took.seconds / each.encoded:.1f}" if each.encoded else ""
    return (
        each.suite,
        each.stage + ("" if took.code == 0 else f", exit {took.code}"),
        f"{took.seconds:.0f}",
        f"{took.cpu:.0f}",
        f"{took.peak:.2f}",
        f"{each.encoded:,}" if each.encoded else "",
        per,
        *(size(each.grown[name]) if each.grown[name] else "" for name in FOLDERS),
        f"{each.records:,}" if each.stage == "run" else "",
        said if each.stage == "run" else "",
    )


def told(dry: str) -> str:
    """What a dry run says that a run will do."""
    text = " ".join(dry.split())
    cells = re.search(r"would measure ([\d,]+) of [\d,]+ cells?( and those known)?", text)
    built = [int(n.replace(",", "")) for n in re.findall(r"would build \S+: ([\d,]+) image", text)]
    size = re.search(r"about ([\d.]+ \w+)", text)
    parts = [f"{cells[1]} cells" + (" and more" if cells[2] else "")] if cells else []
    parts += [f"{sum(built):,} images"] if built else []
    return ", ".join([*parts, *([size[1]] if size else [])])


def write(page: Path, mark: str, lines: list[tuple[str, ...]], words: str) -> None:
    """Put the figures between the two comments of a page that bear the mark."""
    shown = [words, "", f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    shown += [f"| {' | '.join(each)} |" for each in lines]
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    text = page.read_text()
    before, after = text.partition(start)[0], text.partition(end)[2]
    page.write_text(before + start + "\n".join(shown) + "\n" + end + after)


def machine() -> str:
    """The machine, in words."""
    model = next(
        (
            row.partition(":")[2].strip()
            for row in Path("/proc/cpuinfo").read_text().splitlines()
            if row.startswith("model name")
        ),
        platform.machine(),
    )
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{model}, threads: {threads}, Python {platform.python_version()}"


def arguments() -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", nargs="*", default=SUITES, choices=SUITES)
    parser.add_argument("--full", action="store_true", help="models of their real sizes")
    parser.add_argument("--datasets", nargs="*", default=(), help="of the suites; all")
    parser.add_argument("--encoders", nargs="*", default=(), help="of the suites; all")
    parser.add_argument("--classes", type=int, default=4, help="per data set")
    parser.add_argument("--generated", type=int, help="per class; 100, or 2 with --full")
    parser.add_argument("--shots", type=int, default=SHOTS, help="the most per class in a draw")
    parser.add_argument("--folder", type=Path, help="empty folder to work in; it is kept")
    parser.add_argument("--write", type=Path, help="page that takes the figures")
    return parser.parse_args()


def main() -> None:
    """Rehearse, and print the figures."""
    match sys.argv[1:]:  # in processes of its own
        case ["--as-command", cut_to, *words]:
            return as_command(Cut(**json.loads(cut_to)), words)
        case ["--serve", cut_to]:
            return serve(Cut(**json.loads(cut_to)))
        case ["--lay-out", cut_to]:
            return lay_out(Path("DATA"), Path("PROMPTS"), Cut(**json.loads(cut_to)))
    args = arguments()
    images: dict[Split, int] = {"train": args.shots, "val": 4, "test": 4}
    generated = args.generated or (2 if args.full else GENERATED)
    pool = 64 if args.full else 64 * args.classes
    cut = Cut(
        full=args.full,
        classes=args.classes,
        images=images,
        generated=generated,
        shots=args.shots,
        pool=pool,
        datasets=tuple(args.datasets),
        encoders=tuple(args.encoders),
    )
    home = (args.folder or Path(tempfile.mkdtemp(prefix="rehearsal-"))).absolute()
    home.mkdir(exist_ok=True, parents=True)
    # In processes of their own: the peak of a child starts at that of its parent.
    asked = json.dumps(asdict(cut))
    here = [sys.executable, "-m", "benchmarks.rehearsal"]
    root = str(Path(__file__).parents[1])
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "SUSX_BENCH_"))
    }
    environment |= {"PYTHONPATH": root, "HF_HOME": str(home / "hub"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"SUSX_BENCH_CACHE": str(home / "cache")}
    environment |= {"SUSX_BENCH_SUPPORT": str(home / "support")}
    subprocess.run([*here, "--lay-out", asked], cwd=home, env=environment, check=True)
    hub = subprocess.Popen(
        [*here, "--serve", asked],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert hub.stdout
    assert hub.stdin
    environment["HF_ENDPOINT"] = hub.stdout.readline().strip()
    lines, failed = [], False
    table = Table(*HEAD)
    notes = Console(stderr=True, width=200)
    try:
        for suite in args.suites:
            said = ""
            for each in rehearse(suite, home, environment, cut):
                said = told(each.took.out) if each.stage == "dry run" else said
                lines.append(line(each, said))
                table.add_row(*lines[-1])
                notes.print(" ".join(filter(None, lines[-1])), highlight=False)
                if each.took.code:
                    failed = True
                    notes.print(each.took.err[-2000:], highlight=False, markup=False)
    finally:
        hub.stdin.close()
        hub.wait()
        if not args.folder:
            shutil.rmtree(home)
    Console(width=200).print(table)
    if args.write:
        mark = "full size" if args.full else "small models"
        said = shlex.join(["python", "-m", "benchmarks.rehearsal", *sys.argv[1:]])
        write(args.write, mark, lines, f"{machine()}: `{said}`")
    sys.exit(3 if failed else 0)


if __name__ == "__main__":
    main()
