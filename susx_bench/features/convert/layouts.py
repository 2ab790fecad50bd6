"""Recognise the parts of a task by the file and array names that other programs use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from susx_bench.errors import BundleError
from susx_bench.features.convert.read import SUFFIXES

FEATURES = ("text", "support", "val", "test")
"""Parts that hold features."""
LABELS = {"support": "support_labels", "val": "val_labels", "test": "test_labels"}
PARTS = (*FEATURES, *LABELS.values())
EXTRAS = (
    *("text_prompts", "support_views", "spatial", "val_spatial"),
    *("text_norms", "support_norms", "val_norms", "test_norms"),
)
"""Other tensors that a bundle may hold; they are copied unchanged."""

BACKBONES = {
    "RN50": "RN50:openai",
    "RN101": "RN101:openai",
    "ViT-B16": "ViT-B-16:openai",
    "ViT-B32": "ViT-B-32:openai",
    "ViT-L14": "ViT-L-14:openai",
}
"""SuS-X's names of encoders in file names, and ours."""


@dataclass(frozen=True)
class Role:
    """The part of a task that a file or an array holds, read off its name.

    Attributes:
        part: One of `PARTS`.
        kind: Distinguishes several of the same part, such as ``clip_dalle``.
        dataset: The dataset in the name; empty if it has none.
        encoder: The encoder, likewise.
        shots: Images per class, likewise; 0 if the name has none.
        convention: The program that names files so, such as ``SuS-X``.
    """

    part: str
    kind: str = ""
    dataset: str = ""
    encoder: str = ""
    shots: int = 0
    convention: str = ""


_TIP = "Tip-Adapter"
_DALLE = "clip_dalle"
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    # part or "*" for support/val/test by the group `split`; pattern of the whole name; program
    ("support", r"keys_(?P<shots>\d+)shots?", _TIP),
    ("support_labels", r"values_(?P<shots>\d+)shots?", _TIP),
    ("*", r"(?P<split>val|test)_f", _TIP),
    ("*_labels", r"(?P<split>val|test)_l", _TIP),
    ("text", r"text_weights(?P<kind>.*)", _TIP),
    ("text", r"clip_weights(?P<kind>.*)", _TIP),
    ("support", r"clip_keys_(?P<shots>\d+)shots?", "CaFo"),
    ("support_labels", r"clip_values_(?P<shots>\d+)shots?", "CaFo"),
    ("support", r"(?P<kind>clip_dalle)_keys_(?P<shots>\d+)shots?", "CaFo"),
    ("support_labels", r"(?P<kind>clip_dalle)_values_(?P<shots>\d+)shots?", "CaFo"),
    ("*", r"(?P<split>val|test)_clip_f", "CaFo"),
    ("*_labels", r"(?P<split>val|test)_clip_l", "CaFo"),
    ("*", r"(?P<dataset>.+)_f_(?P<split>val|test)_m(?P<encoder>.+)", "SuS-X"),
    ("*_labels", r"(?P<dataset>.+)_t_(?P<split>val|test)_m(?P<encoder>.+)", "SuS-X"),
    ("support", r"(?P<dataset>.+)_f_train_m(?P<encoder>.+)_k(?P<shots>\d+)", "SuS-X"),
    ("support_labels", r"(?P<dataset>.+)_t_train_m(?P<encoder>.+)_k(?P<shots>\d+)", "SuS-X"),
    (
        "support",
        r"(?P<kind>sus_(?:sd|lc)_(?:photo|cupl))_(?P<dataset>.+)_f_m(?P<encoder>.+)",
        "SuS-X",
    ),
    (
        "support_labels",
        r"(?P<kind>sus_(?:sd|lc)_(?:photo|cupl))_(?P<dataset>.+)_t_m(?P<encoder>.+)",
        "SuS-X",
    ),
    (
        "text",
        r"(?P<dataset>.+)_zeroshot_text_weights_m(?P<encoder>.+)_pt(?P<kind>.+)",
        "SuS-X",
    ),
    ("support", r"features_train|train_features", "clip_benchmark"),
    ("support_labels", r"targets_train|train_(targets|labels)", "clip_benchmark"),
    ("*", r"features_(?P<split>val|test)", "clip_benchmark"),
    ("*_labels", r"targets_(?P<split>val|test)", "clip_benchmark"),
    ("text", r"text|text_features|classifier|zeroshot_weights|text_emb(eddings)?", ""),
    ("support", r"support|support_features|train|cache_keys", ""),
    ("support_labels", r"support_(labels|targets)|cache_values", ""),
    ("*", r"(?P<split>val|test)(_features)?", ""),
    ("*_labels", r"(?P<split>val|test)_(labels|targets)", ""),
    ("test", r"(image_)?(features|emb(eddings)?|vectors?)|img_emb", ""),
    ("test_labels", r"labels?|targets?|class", ""),
)
_COMPILED = [(part, re.compile(pattern), convention) for part, pattern, convention in _PATTERNS]


def role_of(name: str) -> Role | None:
    """The role of a file (named without its ending) or of an array; None for an unknown name."""
    for part, pattern, convention in _COMPILED:
        if match := pattern.fullmatch(name):
            fields = {key: value or "" for key, value in match.groupdict().items()}
            return Role(
                part=part.replace("*", fields.get("split", "")),
                kind=fields.get("kind", "").strip("_"),
                dataset=fields.get("dataset", ""),
                encoder=fields.get("encoder", ""),
                shots=int(fields.get("shots") or 0),
                convention=convention,
            )
    return None


def made_of(name: str) -> str:
    """The recipe of a support set by its name, such as ``sus-sd-photo``; empty if unknown."""
    match = role_of(_stem(Path(name).name))
    is_made = match is not None and (match.kind.startswith("sus") or match.kind == _DALLE)
    return match.kind.replace("_", "-") if match and is_made else ""


@dataclass(frozen=True)
class Chosen:
    """The files of a folder, or the arrays of a file, that were chosen for the parts of a task.

    Attributes:
        places: By part.
        dataset: The dataset in the names; empty if they have none.
        encoder: The encoder, likewise.
        convention: The program that names files so; empty if the names follow none.
        unread: Names of files or arrays that were not chosen.
    """

    places: dict[str, str] = field(default_factory=dict)
    dataset: str = ""
    encoder: str = ""
    convention: str = ""
    unread: tuple[str, ...] = ()


def choose(
    names: Iterable[str],
    where: Path,
    *,
    given: Sequence[str] = (),
    dataset: str = "",
    encoder: str = "",
    shots: int | None = None,
) -> Chosen:
    """Choose the names of the parts of one task.

    Args:
        names: Names of files or arrays. The ending of a file says nothing here.
        where: The folder or file, for messages.
        given: Parts that the user gives; these are not searched for.
        dataset: The dataset to choose if the names have several.
        encoder: The encoder to choose, likewise.
        shots: The support set to choose, by its images per class.

    Raises:
        BundleError: If two names stand for one part and no option says which.
    """
    names = list(names)
    roles = {name: role for name in names if (role := role_of(_stem(name)))}
    unread = tuple(name for name in names if name not in roles and _stem(name) not in EXTRAS)
    roles = _narrow(roles, where, dataset, encoder)
    if "features_test" not in map(_stem, roles):
        roles = {name: _as_test(role) for name, role in roles.items()}
    chosen = {_stem(name): name for name in names if _stem(name) in EXTRAS}
    support = _supports(roles, given, where, shots)
    for part in PARTS:
        if part in given or part.partition("_")[0] in given:
            continue
        if part in ("support", "support_labels"):
            if part in support:
                chosen[part] = support[part]
            continue
        matches = [name for name, role in roles.items() if role.part == part]
        if len(matches) > 1:
            raise BundleError(
                f"{where} has {len(matches)} that may be '{part}': {_some(matches)}. Say which: "
                f"--{part.replace('_', '-')} {_shown(where, matches[0])}."
            )
        if matches:
            chosen[part] = matches[0]
    used = [roles[name] for name in chosen.values() if name in roles]
    left = tuple(name for name in roles if name not in chosen.values())
    return Chosen(
        places=chosen,
        dataset=next((role.dataset for role in used if role.dataset), ""),
        encoder=next((role.encoder for role in used if role.encoder), ""),
        convention=next((role.convention for role in used if role.convention), ""),
        unread=unread + left,
    )


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _shown(where: Path, name: str) -> str:
    return f"{where / name}" if where.is_dir() else f"{where}:{name}"


def _as_test(role: Role) -> Role:
    """The same as a test part: clip_benchmark names its test split ``val`` if it has no other."""
    if role.convention == "clip_benchmark" and role.part.startswith("val"):
        return Role(role.part.replace("val", "test"), convention=role.convention)
    return role


def _narrow(roles: dict[str, Role], where: Path, dataset: str, encoder: str) -> dict[str, Role]:
    """Leave out the names of other datasets and encoders than the ones asked for."""
    for axis, wanted in (("dataset", dataset), ("encoder", encoder)):
        values = {getattr(role, axis) for role in roles.values()} - {""}
        if len(values) < 2:
            continue
        spelt = _letters(BACKBONES_BACK.get(wanted, wanted.partition(":")[0]))
        kept = {value for value in values if wanted and _letters(value) == spelt}
        if not kept:
            raise BundleError(
                f"{where} holds features of {len(values)} {axis}s: {_some(sorted(values))}. Say "
                f"which with --{axis} NAME."
            )
        roles = {
            name: role
            for name, role in roles.items()
            if not getattr(role, axis) or getattr(role, axis) in kept
        }
    return roles


BACKBONES_BACK = {ours: theirs for theirs, ours in BACKBONES.items()}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _supports(
    roles: dict[str, Role], given: Sequence[str], where: Path, shots: int | None
) -> dict[str, str]:
    """The names of one support set and of its labels."""
    if "support" in given:
        return {}
    sets: dict[tuple[str, int], dict[str, str]] = {}
    for name, role in roles.items():
        if role.part in ("support", "support_labels"):
            parts = sets.setdefault((role.kind, role.shots), {})
            if role.part in parts:
                raise BundleError(
                    f"{where} has 2 that may be '{role.part}': {parts[role.part]}, {name}. Say "
                    f"which: --{role.part.replace('_', '-')} {_shown(where, name)}."
                )
            parts[role.part] = name
    whole = {key: parts for key, parts in sets.items() if "support" in parts}
    if any(
        kind != _DALLE for kind, _ in whole
    ):  # CaFo adds these images to a draw; they are no draw
        whole = {key: parts for key, parts in whole.items() if key[0] != _DALLE}
    if shots is not None:
        whole = {key: parts for key, parts in whole.items() if key[1] == shots}
        if not whole:
            has = sorted({key[1] for key in sets if key[1]})
            raise BundleError(
                f"{where} has no support set of {shots} images per class. It has "
                f"{', '.join(map(str, has)) or 'none that says how many'}."
            )
    if len(whole) > 1:
        matches = [parts["support"] for parts in whole.values()]
        by_shots = len(matches) == len({key[1] for key in whole})
        raise BundleError(
            f"{where} has {len(matches)} support sets: {_some(matches)}. Say which: "
            + ("--shots N, or " if by_shots else "")
            + f"--support {_shown(where, matches[0])} --support-labels FILE."
        )
    return next(iter(whole.values()), {})


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
