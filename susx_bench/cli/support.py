"""``susx-bench support``: build support sets, and look at them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from susx_bench.cli.shared import own_data, quiet_option, said
from susx_bench.console import own_rank, print_whole, stderr, stdout
from susx_bench.errors import CheckError, OptionError
from susx_bench.options import FILE_PATH, NAME
from susx_bench.options.commands import Group, Grouped
from susx_bench.options.run import DEMO
from susx_bench.options.support import BUILT, SupportOptions


@click.group(cls=Group)
def support() -> None:
    """Build support sets from class names alone, and look at them."""


@support.command(
    "build",
    epilog="""\b
Try:
  susx-bench support build --dataset digits --kind sus-sd --per-class 16
  susx-bench support build --dataset cub --kind sus-sd --prompts photo --preset fast
  susx-bench support build --classes cat,dog,horse --kind sus-sd --preset fast
  susx-bench support build --dataset cifar10 --kind sus-lc --pool PHOTOS --encoder RN50:openai""",
)
@SupportOptions.click_options()
@click.option(
    "--recipe",
    cls=Grouped,
    group=BUILT,
    type=FILE_PATH,
    help="Build again what a recipe.json says, in place of the options that decide the images.",
)
@quiet_option(cls=Grouped)
def build_support(recipe: Path | None, **_: Any) -> None:
    """Build a support set, or complete it; a second build of the same does nothing."""
    notes = stderr()
    with notes.status("loading"):
        from susx_bench.progress import Reporter
        from susx_bench.support.build import build
        from susx_bench.support.images import unusable
        from susx_bench.support.manifest import without_images
        from susx_bench.support.recipe import Recipe
        from susx_bench.support.report import summary
        from susx_bench.support.request import Request

    options, declared = said(SupportOptions), SupportOptions.declared()
    if recipe is None:
        for name, option in declared.items():
            if option.required and name not in options:
                raise OptionError(f"Missing option '--{name}'.")
        request = Request(**options)
    else:
        read = Recipe.read(recipe)
        is_own = Request.is_own(read)
        for name in SupportOptions.of_the_recipe():
            if name in options and not (is_own and name == "dataset"):
                flag = declared[name].spelling(name)
                raise OptionError(f"{flag} does not go with --recipe: the recipe says it.")
        if is_own and "dataset" not in options:
            raise OptionError(
                f"--recipe {recipe}: it is of data of yours called {read.dataset}, and does not "
                "say where that lies. Add --dataset ./PATH or hf:ORG/NAME."
            )
        request = Request.of(read, **options)
    with redirect_stdout(sys.stderr):
        built = build(request, Reporter(notes))
    if own_rank() == 0:
        stdout().print(summary(built))
        if empty := without_images(built.recipe, built.rows):
            raise CheckError(unusable(built.folder, empty, len(built.recipe.classnames)))


@support.command("show")
@click.argument("name", type=NAME)
@click.option("--dataset", type=NAME, help=f"Whose set a NAME is. [default: {DEMO}]")
@SupportOptions.click_options("classes", group="", help="Or the class names that a NAME is of.")
@SupportOptions.click_options("root", group="")
@click.option(
    "--sheet",
    type=FILE_PATH,
    help="Where the contact sheet goes. [default: contact-sheet.png in the set's folder]",
)
@own_data
def show_support(
    name: str,
    dataset: str | None,
    classes: str | None,
    root: Path | None,
    sheet: Path | None,
    **own: Any,
) -> None:
    """Show a support set, NAME or PATH: counts, provenance, and a sheet of its images."""
    from susx_bench.support.folder import SupportFolder, default_root
    from susx_bench.support.home import find
    from susx_bench.support.report import draw_sheet, render
    from susx_bench.support.request import Request

    classes_of = {"classes": classes} if classes else {"dataset": dataset or DEMO}
    given = {name: value for name, value in own.items() if value is not None}
    request = Request(kind="sus-sd", **classes_of, **given)
    folder = SupportFolder(find(name, request.opened, root or default_root(), request.whose))
    picture = draw_sheet(folder, sheet or folder.path / "contact-sheet.png")
    print_whole(stdout(), render(folder))
    location = picture or "none, the set holds features and no images"
    stdout().print(f"contact sheet: {location}")
