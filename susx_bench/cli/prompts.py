"""``susx-bench prompts``: make what the text encoder reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from susx_bench.cli.shared import own_data
from susx_bench.console import counted, stderr, stdout
from susx_bench.errors import OptionError
from susx_bench.options import FOLDER_PATH, NAME, NAMES, PRICE, Count, Number, Text
from susx_bench.options.commands import Group
from susx_bench.options.run import OWN_DATA

if TYPE_CHECKING:
    from susx_bench.data.spec import DatasetSpec
    from susx_bench.prompts.build import Built
    from susx_bench.prompts.request import Request


@click.group(cls=Group)
def prompts() -> None:
    """Make what the text encoder reads."""


@prompts.command(
    "build",
    epilog="""\b
Try:
  export OPENAI_BASE_URL=http://localhost:11434/v1 OPENAI_API_KEY=none
  susx-bench prompts build --dataset dtd --model llama3.2 --out prompts
  susx-bench run --prompts cupl --prompts-dir prompts --dataset dtd ...""",
)
@click.option(
    "--dataset",
    type=NAMES,
    multiple=True,
    callback=NAMES.join,
    required=True,
    help="Datasets, ./FOLDER or hf:ORG/NAME[:CONFIG][@COMMIT]; repeatable.",
)
@click.option(
    "--model", type=NAME, required=True, help="The language model, as its endpoint calls it."
)
@click.option(
    "--out",
    type=FOLDER_PATH,
    required=True,
    help="Folder for CuPL_prompts_DATASET.json, the --prompts-dir of a run.",
)
@click.option(
    "--answers",
    type=Count(1, 1000),
    default=10,
    show_default=True,
    help="Answers to each question about each class.",
)
@click.option(
    "--question",
    "questions",
    type=Text(10_000, lines=True),
    multiple=True,
    help="A question, {} the class name and a(n) its article; repeatable. [default: CuPL's five]",
)
@click.option("--temperature", type=Number(0, 2), default=0.99, show_default=True)
@click.option(
    "--max-tokens",
    type=Count(1, 1_000_000),
    default=50,
    show_default=True,
    help="Longest answer; more for a model that thinks before it answers.",
)
@click.option(
    "--concurrency",
    type=Count(1, 256),
    default=8,
    show_default=True,
    help="Questions asked at the same time.",
)
@click.option("--price-in", type=PRICE, help="USD per million tokens read.")
@click.option("--price-out", type=PRICE, help="USD per million tokens written.")
@click.option("--force", is_flag=True, help="Ask again what was answered.")
@own_data
def build_prompts(
    dataset: tuple[str, ...],
    out: Path,
    concurrency: int,
    price_in: float | None,
    price_out: float | None,
    force: bool,
    **options: Any,
) -> None:
    """Ask a language model for sentences about each class, as CuPL does.

    The model is behind OPENAI_BASE_URL, any endpoint that speaks OpenAI's chat completions, and
    OPENAI_API_KEY opens it. A stopped build goes on from where it was.
    """
    from susx_bench.prompts.request import QUESTIONS, Request

    data_options = {name: options.pop(name) for name in OWN_DATA}
    options["questions"] = tuple(dict.fromkeys(options["questions"])) or QUESTIONS
    request = Request(**options)
    if (price_in is None) != (price_out is None):
        raise OptionError("--price-in and --price-out go together.")
    with stderr().status("loading"):
        from susx_bench.data.custom import open_dataset
        from susx_bench.data.spec import Where

        specs = [open_dataset(name, Where(**data_options)).spec for name in dataset]
    for spec in specs:
        built = _ask(spec, request, out, concurrency=concurrency, force=force)
        stdout().print(_built(built, price_in, price_out))


def _ask(spec: DatasetSpec, request: Request, out: Path, **how: Any) -> Built:
    from susx_bench.events import Job
    from susx_bench.progress import Reporter
    from susx_bench.prompts.build import build

    with Job(Reporter(stderr()), f"asking about {spec.name}", "questions") as job:
        return build(spec, request, out, job.begin, job.advance, **how)


def _built(built: Built, price_in: float | None, price_out: float | None) -> str:
    if not built.replies:
        return (
            f"{built.path} is there, with {counted(built.sentences, 'sentence')}; nothing to do "
            "(--force to ask again)"
        )
    tokens_in, tokens_out = built.prompt_tokens, built.completion_tokens
    line = (
        f"wrote {built.path}: {counted(built.sentences, 'sentence')} from "
        f"{counted(len(built.replies), 'reply')}, "
        f"{tokens_in} tokens read and {tokens_out} written"
    )
    if built.uncounted:
        line += f" (without {counted(built.uncounted, 'reply')} that the server did not count)"
    if built.rejected:
        why = ", ".join(f"{count} {reason}" for reason, count in built.rejected.items())
        line += f", {sum(built.rejected.values())} of {built.answers} answers rejected ({why})"
    if price_in is not None and price_out is not None:
        line += f", {(tokens_in * price_in + tokens_out * price_out) / 1e6:.4f} USD"
    return line
