"""BibTeX entries for everything that a table depends on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from susx_bench.data.custom import open_dataset
from susx_bench.errors import BenchError
from susx_bench.records.record import Record
from susx_bench.registry import DATASETS, METHODS
from susx_bench.runner.suite import Suite

ENCODERS = {
    "openai": ("radford2021clip", "ilharco2021openclip"),
    "laion": ("cherti2023reproducible", "schuhmann2022laion", "ilharco2021openclip"),
    "datacomp": ("gadre2023datacomp", "ilharco2021openclip"),
    "dfn": ("fang2024data", "ilharco2021openclip"),
}
"""Keys for an encoder, by the beginning of the tag after its model."""

SUPPORTS = {
    "sus-sd": ("udandarao2023susx", "rombach2022high"),
    "sus-lc": ("udandarao2023susx",),
}
"""Keys for a support set, by the beginning of its name."""

PROMPTS = {
    "cupl": "pratt2023platypus",
    "combined": "pratt2023platypus",
    "visdesc": "menon2023visual",
    "waffle": "roth2023waffling",
}


@cache
def references() -> dict[str, str]:
    """The entries of the package's ``references.bib`` by key, in its order."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^(@\w+\{([^,]+),\n.*?^\})$", text, re.DOTALL | re.MULTILINE)
    return {key: entry for entry, key in entries}


def cite(suite: Suite, records: Sequence[Record], demo: str) -> str:
    """BibTeX for every method, dataset, encoder, support set and kind of prompts of a table.

    Args:
        suite: The suite.
        records: Its records, which may be none; only they name the dataset of a bundle.
        demo: Dataset if the suite names none.

    Returns:
        Entries, each once: methods, datasets, encoders, support sets and prompts. A comment lists
        the names without an entry.
    """
    runs = suite.run
    free = [run for run in runs if not run.features]
    methods = _once([name for run in runs for name in run.method] + [r.method for r in records])
    datasets = _once(
        [name for run in free for name in run.dataset or (demo,)]
        + [r.dataset_given or r.dataset for r in records]
    )
    encoders = _once(
        [name for run in free for name in run.encoder or ("demo",)] + [r.encoder for r in records]
    )
    supports = _once(
        [name for run in runs for name in run.support or ()] + [r.support for r in records]
    )
    prompts = _once(
        [name for run in free for name in run.prompts or ("single",)] + [r.prompts for r in records]
    )
    entries: dict[str, str] = {}
    missing: list[str] = []
    for name in methods:
        _add(entries, missing, f"method {name}", _method_keys(name))
    for name in datasets:
        key, entry = _dataset_entry(name)
        if entry:
            entries.setdefault(key, entry)
        else:
            missing.append(f"dataset {name}" + (f" ({key})" if key else ""))
    for name in encoders:
        tag = name.rpartition(":")[2]
        keys = next((keys for start, keys in ENCODERS.items() if tag.startswith(start)), ())
        _add(entries, missing, f"encoder {name}", keys)
    for name in supports:
        for start, keys in SUPPORTS.items():
            if name.startswith(start):
                _add(entries, missing, f"support {name}", keys)
    for kind in prompts:
        if kind in PROMPTS:
            _add(entries, missing, f"prompts {kind}", (PROMPTS[kind],))
    notes = [f"% no entry for {what}" for what in missing]
    return "\n\n".join([*entries.values(), *(["\n".join(notes)] if notes else [])]) + "\n"


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _add(entries: dict[str, str], missing: list[str], what: str, keys: Sequence[str]) -> None:
    available = [key for key in keys if key in references()]
    for key in available:
        entries.setdefault(key, references()[key])
    if not available:
        missing.append(what + (f" ({', '.join(keys)})" if keys else ""))


def _method_keys(name: str) -> tuple[str, ...]:
    """The keys of a registered method's reference; none for a method in a file, or if unknown."""
    if name not in METHODS.names():
        return ()
    try:
        reference = METHODS.stated(name, "reference")
    except BenchError:
        return ()
    return (reference,) if reference else ()


def _dataset_entry(name: str) -> tuple[str, str]:
    """The BibTeX key and entry of a dataset; empty if it has none."""
    if name not in DATASETS.names():
        return "", ""
    try:
        spec = open_dataset(name).spec
    except BenchError:
        return "", ""
    return spec.bibtex_key, spec.citation
