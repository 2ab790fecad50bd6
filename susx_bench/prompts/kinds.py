"""The kinds of prompts: texts for the text encoder, written for each class."""

from __future__ import annotations

import gzip
import importlib.util
import math
import string
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from susx_bench.data.classes import quoted, serve
from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import PluginError, PromptsError
from susx_bench.options.templates import templates_in
from susx_bench.prompts.base import PromptKind, Say
from susx_bench.records.text import read_json
from susx_bench.registry import PROMPTS

# The seven ImageNet templates that CLIP's authors found best, which SuS-X uses for every dataset.
ENSEMBLE = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

WAFFLES = 15
"""Pairs of a random word and random characters, the same for every class."""

WAFFLE_SEED = 1


def _silent(line: str) -> None:
    """Say nothing."""


def class_prompts(
    kind: str, spec: DatasetSpec, folder: Path | None = None, say: Say = _silent
) -> list[list[str]]:
    """Write the prompts of every class.

    Args:
        kind: One of `KINDS` or of a plugin, or templates, see `templates_in`.
        spec: The dataset's facts: class names, whose underscores become spaces, and templates
            with one ``{}``.
        folder: Folder of prompt files, see `read_table`.
        say: Called with differences between a file and the dataset.

    Returns:
        The prompts of each class.

    Raises:
        UnknownNameError: If there is no such kind.
        OptionError: If a template does not have exactly one ``{}``.
        PromptsError: If the kind's file is missing or does not fit the dataset.
        PluginError: If a plugin's kind cannot be loaded, or leaves a class without prompts.
    """
    if templates := templates_in(kind):
        return [[template.replace("{}", name) for template in templates] for name in _names(spec)]
    prompt_kind = PROMPTS.get(kind)
    written = prompt_kind.write(spec, folder, say)
    fits = len(written) == len(spec.classnames) and all(
        len(texts) and all(isinstance(text, str) and text.strip() for text in texts)
        for texts in written
    )
    if not fits:
        raise PluginError(
            f"prompt kind '{kind}' of {PROMPTS.origins(kind)[0]} wrote prompts for {len(written)} "
            f"classes of {spec.name}, which has {len(spec.classnames)}, or none for one of them."
        )
    return [list(texts) for texts in written]


def _names(spec: DatasetSpec) -> list[str]:
    return [name.replace("_", " ") for name in spec.classnames]


def _single(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    return [[spec.template.format(name)] for name in _names(spec)]


def _photo(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    return [[spec.photo.format(name)] for name in _names(spec)]


def _ensemble(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    return [[template.format(name) for template in ENSEMBLE] for name in _names(spec)]


def _combined(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    read, written = read_cupl(spec, folder, say), _ensemble(spec, folder, say)
    return [cupl + ours for cupl, ours in zip(read, written, strict=True)]


def _visdesc(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    file = f"descriptors_{spec.name}.json"
    read = read_table(spec, folder, file, "descriptor", say, bare=True)
    return [
        [f"{name}, {described(text)}" for text in texts] or [name]
        for name, texts in zip(_names(spec), read, strict=True)
    ]


def _waffle(spec: DatasetSpec, folder: Path | None, say: Say) -> list[list[str]]:
    names = _names(spec)
    features = [described(text) for text in waffles(names, WAFFLES, WAFFLE_SEED)]
    return [[f"A photo of a {name}, {text}." for text in features] for name in names]


def described(feature: str) -> str:
    """Join a feature to a class name: ``which is``, ``which`` or ``which has``.

    The published rule considers only first letters: "antlers" becomes "which is antlers".

    Source:
        Menon and Vondrick, *Visual Classification via Description from Large Language Models*,
        ICLR 2023, arXiv:2210.07183, and the public ``descriptor_strings.py``.
    """
    if feature.startswith(("a", "used")):
        return f"which is {feature}"
    if feature.startswith(("has", "often", "typically", "may", "can")):
        return f"which {feature}"
    return f"which has {feature}"


def waffles(names: Sequence[str], pairs: int, seed: int) -> list[str]:
    """Make random features, a word and a string of characters by turns, for all classes alike.

    The number of words, and their largest length, are the averages over the class names. Characters
    come in as many groups as a name has words, about as long together as its longest word.

    Two sources differ from the authors', whose words come in a file that can run code and whose
    characters come from another model's answers. Here words are the whole lower-case words of at
    least three letters in CLIP's vocabulary; characters are lower-case letters and digits. The
    authors average accuracies over seven draws; this is one draw.

    Args:
        names: Class names.
        pairs: Number of words, and of strings.
        seed: Seed of the draw.

    Returns:
        ``2 * pairs`` features.

    Source:
        Roth et al., *Waffling around for Performance*, ICCV 2023, arXiv:2306.07282, section 3.2,
        and ``waffle`` in the public ``waffle_tools.py``.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def draw(choices: Sequence[str]) -> str:
        return choices[int(torch.randint(len(choices), (1,), generator=generator))]

    split = [name.split(" ") for name in names]
    words = max(round(_mean([len(name_words) for name_words in split])), 1)
    letters = round(_mean([_mean([len(word) for word in name_words]) for name_words in split]))
    groups = round(_mean([len(name_words) - 1 for name_words in split])) + 1
    longest = math.ceil(_mean([max(len(word) for word in name_words) for name_words in split]))
    group = longest // groups + 1
    vocabulary = [word[:letters] for word in clip_words()]
    characters = string.ascii_lowercase + string.digits
    features = []
    for _ in range(pairs):
        features.append(" ".join(draw(vocabulary) for _ in range(words)))
        drawn = ["".join(draw(characters) for _ in range(group)) for _ in range(groups)]
        features.append(", ".join(drawn))
    return features


def clip_words() -> list[str]:
    """Whole lower-case words of at least three letters in CLIP's vocabulary, frequent ones first.

    The vocabulary is a file of open_clip, for any encoder.
    """
    spec = importlib.util.find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    packed = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz").read_bytes()
    merges = gzip.decompress(packed).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    tokens = ["".join(merge.split()) for merge in merges]
    words = [token.removesuffix("</w>") for token in tokens if token.endswith("</w>")]
    return [word for word in words if len(word) >= 3 and word.isascii() and word.isalpha()]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def read_cupl(spec: DatasetSpec, folder: Path | None, say: Say = _silent) -> list[list[str]]:
    """Read ``CuPL_prompts_DATASET.json``, see `read_table`."""
    return read_table(spec, folder, f"CuPL_prompts_{spec.name}.json", "sentence", say)


def read_table(
    spec: DatasetSpec,
    folder: Path | None,
    file: str,
    item: str,
    say: Say = _silent,
    *,
    bare: bool = False,
) -> list[list[str]]:
    """Read a file of the form ``{class name: [text, ...]}``.

    Args:
        spec: The dataset's facts.
        folder: Its folder, such as SuS-X's ``gpt3_prompts`` with ``CuPL_prompts_DATASET.json`` or
            VisDesc's ``descriptors`` with ``descriptors_DATASET.json``.
        file: Its name.
        item: The word for one text, for messages.
        say: Called with names that belong to no class, serve two classes, or have no text.
        bare: Whether a class may have no text, as five have in VisDesc's own file for Food-101.

    Returns:
        The texts of each class, in canonical order.

    Raises:
        PromptsError: If the file is missing or of another form, or a class has no text and `bare`
            is False.
        DatasetError: If the file lacks a class, or has it under two names.
    """
    if folder is None:
        example = "SuS-X's gpt3_prompts" if item == "sentence" else "VisDesc's descriptors"
        raise PromptsError(
            f"{spec.name}: prompts from a file need --prompts-dir (or SUSX_BENCH_PROMPTS), a "
            f"folder with {file}, as in {example}."
        )
    path = folder / file
    table = _texts_by_name(path, spec.name, item)
    served, left = serve(list(table), spec, str(path))
    if left:
        say(
            f"{path}: {len(left)} of its {len(table)} names are left out, which {spec.name} does "
            f"not have: {quoted(left)}."
        )
    classes: dict[str, list[str]] = defaultdict(list)
    for name, classname in zip(served, spec.classnames, strict=True):
        classes[name].append(classname)
    for name, several in classes.items():
        if len(several) > 1:
            say(f"{path}: '{name}' serves {len(several)} classes: {quoted(several)}.")
    table_texts = [[text for text in table[name] if text.strip()] for name in served]
    empty = [
        classname
        for classname, texts in zip(spec.classnames, table_texts, strict=True)
        if not texts
    ]
    if empty and not bare:
        raise PromptsError(
            f"{spec.name}: {path} has no {item} for {len(empty)} of {len(table_texts)} classes: "
            f"{quoted(empty)}."
        )
    if empty:
        say(
            f"{path}: no {item} for {len(empty)} of {len(table_texts)} classes, of which the "
            f"prompt is the bare name: {quoted(empty)}."
        )
    return table_texts


def _texts_by_name(path: Path, dataset: str, item: str) -> dict[str, list[str]]:
    """The content of a file of the form ``{class name: [text, ...]}``.

    Raises:
        PromptsError: If it cannot be read or is of another form.
    """
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise PromptsError(f"{dataset}: {path} cannot be read: {error}.") from error
    good = isinstance(table, dict) and all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in table.values()
    )
    if not good:
        raise PromptsError(f"{dataset}: {path} is not of the form {{class name: [{item}]}}.")
    by_name: dict[str, list[str]] = table
    return by_name


KINDS: dict[str, PromptKind] = {
    kind.name: kind
    for kind in (
        PromptKind("single", "the dataset's own template (CoOp, Tip-Adapter)", _single),
        PromptKind("photo", "the dataset's photo template (SuS-X)", _photo),
        PromptKind(
            "ensemble", "seven templates, their text features averaged (CLIP, SuS-X)", _ensemble
        ),
        PromptKind(
            "cupl", "a language model's sentences about each class, from a file (CuPL)", read_cupl
        ),
        PromptKind("combined", "cupl and ensemble together (CuPL+e), what SuS-X uses", _combined),
        PromptKind(
            "visdesc", "the name with each of its descriptors, from a file (VisDesc)", _visdesc
        ),
        PromptKind("waffle", "the name with random words and characters (WaffleCLIP)", _waffle),
    )
}
"""Our own kinds, by name."""
