"""Write the datasets' facts as a page of the documentation."""

from __future__ import annotations

from susx_bench.data.spec import ClassFolders, DatasetSpec, ListFiles, SplitFile
from susx_bench.registry import DATASETS

_HEAD = """# The datasets

Made from the facts files by `python -m susx_bench.data.docs`; a test compares the two.

`DATA` is the folder given by `--data-root` or `SUSX_BENCH_DATA`. Sizes are those of the published
protocol (SuS-X's, which is CoOp's where CoOp has the dataset). A hub copy marked *other split* does
not hold the published split, and its numbers are not comparable with published ones; where it keeps
file names, `--split-file` brings them together. Every list of classes is matched by name.
"""


def markdown() -> str:
    """The whole page."""
    specs = [DATASETS.get(name) for name in DATASETS.names()]
    parts = [_section(spec) for spec in specs if spec.layout is not None]
    return "\n".join([_HEAD, *parts])


def _section(spec: DatasetSpec) -> str:
    sizes = ", ".join(f"{split} {n:,}" for split, n in spec.sizes.items())
    if spec.val_is_test:
        sizes += "; the published val split is the test set, so nothing is tuned on it"
    lines = [
        f"## {spec.name}: {spec.title}",
        "",
        f"- {len(spec.classnames)} classes; {sizes}. CLIP's paper reports {spec.metric}.",
        f"- Prompts: `{spec.template}` (`single`), `{spec.photo}` (`photo`).",
        f"- Licence: {spec.licence}. Citation: `{spec.bibtex_key}`.",
        f"- By hand, into `DATA/{spec.name}`{_layout(spec)}. {spec.fetch}",
    ]
    if spec.clean:
        lines.append(
            f"- A robustness set. Its clean test set, of the same classes: `{spec.clean}`."
        )
    for hub in spec.hub:
        other = "" if hub.protocol == "susx" else ", other split"
        counts = ", ".join(f"{split} {n:,}" for split, n in hub.sizes.items())
        lines.append(f"- Hub: `{hub.repo}` at `{hub.revision}` ({counts}{other}).")
    return "\n".join([*lines, ""])


def _layout(spec: DatasetSpec) -> str:
    layout = spec.layout
    also = f" (or `{'`, `'.join(spec.folders)}`)" if spec.folders else ""
    if isinstance(layout, SplitFile):
        return f"{also}: `{layout.file}` and the images below `{layout.images}`"
    if isinstance(layout, ListFiles):
        files = "`, `".join(layout.lists.values())
        return f"{also}: `{files}` and the images below `{layout.images}`"
    if isinstance(layout, ClassFolders):
        return f"{also}: a folder per class in `{'`, `'.join(layout.splits.values())}`"
    return f"{also}: Parquet files as on the hub"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201
