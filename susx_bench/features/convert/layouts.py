"""Names under which others keep features: which file of a folder, or which array, is which part."""

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
"""What else a bundle may hold; it is taken as it is."""

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
    """Which part of a task a file or an array is, by its name.

    Attributes:
        part: One of `PARTS`.
        kind: What tells it from others of the same part, such as ``clip_dalle``.
        dataset: The dataset that the name says; empty where it says none.
        encoder: The encoder, likewise.
        shots: Images per class, likewise; 0 where it says none.
        whose: Whose layout it is.
    """

    part: str
    kind: str = ""
    dataset: str = ""
    encoder: str = ""
    shots: int = 0
    whose: str = ""


_TIP = "Tip-Adapter"
_DALLE = "clip_dalle"
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    # part or "*" for support/val/test by the group `split`, pattern of the whole name, whose
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
_COMPILED = [(part, re.compile(pattern), whose) for part, pattern, whose in _PATTERNS]


def role(name: str) -> Role | None:
    """What a file (its name without the ending) or an array is; None for a name nobody uses."""
    for part, pattern, whose in _COMPILED:
        if match := pattern.fullmatch(name):
            said = {key: value or "" for key, value in match.groupdict().items()}
            return Role(
                part=part.replace("*", said.get("split", "")),
                kind=said.get("kind", "").strip("_"),
                dataset=said.get("dataset", ""),
                encoder=said.get("encoder", ""),
                shots=int(said.get("shots") or 0),
                whose=whose,
            )
    return None


def made_of(name: str) -> str:
    """What made the images of a support set, by its name: ``sus-sd-photo``; empty if unsaid."""
    found = role(_stem(Path(name).name))
    made = found is not None and (found.kind.startswith("sus") or found.kind == _DALLE)
    return found.kind.replace("_", "-") if found and made else ""


@dataclass(frozen=True)
class Chosen:
    """Which file of a folder, or which array of a file, is which part.

    Attributes:
        places: By part.
        dataset: The dataset that the names say; empty where they say none.
        encoder: The encoder, likewise.
        whose: Whose layout it is; empty where the names are nobody's.
        unread: Names that are left alone.
    """

    places: dict[str, str] = field(default_factory=dict)
    dataset: str = ""
    encoder: str = ""
    whose: str = ""
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
        given: Parts that are given by hand, and not looked for.
        dataset: Which dataset, where the names say several.
        encoder: Which encoder, likewise.
        shots: Which support set, by its images per class.

    Raises:
        BundleError: If two names stand for one part and no option says which.
    """
    names = list(names)
    roles = {name: found for name in names if (found := role(_stem(name)))}
    unread = tuple(name for name in names if name not in roles and _stem(name) not in EXTRAS)
    roles = _narrow(roles, where, dataset, encoder)
    if "features_test" not in map(_stem, roles):
        roles = {name: _as_test(found) for name, found in roles.items()}
    chosen = {_stem(name): name for name in names if _stem(name) in EXTRAS}
    support = _supports(roles, given, where, shots)
    for part in PARTS:
        if part in given or part.partition("_")[0] in given:
            continue
        if part in ("support", "support_labels"):
            if part in support:
                chosen[part] = support[part]
            continue
        matches = [name for name, found in roles.items() if found.part == part]
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
        dataset=next((each.dataset for each in used if each.dataset), ""),
        encoder=next((each.encoder for each in used if each.encoder), ""),
        whose=next((each.whose for each in used if each.whose), ""),
        unread=unread + left,
    )


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _shown(where: Path, name: str) -> str:
    return f"{where / name}" if where.is_dir() else f"{where}:{name}"


def _as_test(found: Role) -> Role:
    """clip_benchmark calls what it tests on ``val`` where it has no split to tune on."""
    if found.whose == "clip_benchmark" and found.part.startswith("val"):
        return Role(found.part.replace("val", "test"), whose=found.whose)
    return found


def _narrow(roles: dict[str, Role], where: Path, dataset: str, encoder: str) -> dict[str, Role]:
    """Leave out the names of other datasets and encoders than the ones asked for."""
    for what, wanted in (("dataset", dataset), ("encoder", encoder)):
        said = {getattr(found, what) for found in roles.values()} - {""}
        if len(said) < 2:
            continue
        spelt = _letters(BACKBONES_BACK.get(wanted, wanted.partition(":")[0]))
        kept = {each for each in said if wanted and _letters(each) == spelt}
        if not kept:
            raise BundleError(
                f"{where} holds features of {len(said)} {what}s: {_some(sorted(said))}. Say which "
                f"with --{what} NAME."
            )
        roles = {
            name: found
            for name, found in roles.items()
            if not getattr(found, what) or getattr(found, what) in kept
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
    for name, found in roles.items():
        if found.part in ("support", "support_labels"):
            parts = sets.setdefault((found.kind, found.shots), {})
            if found.part in parts:
                raise BundleError(
                    f"{where} has 2 that may be '{found.part}': {parts[found.part]}, {name}. Say "
                    f"which: --{found.part.replace('_', '-')} {_shown(where, name)}."
                )
            parts[found.part] = name
    whole = {key: parts for key, parts in sets.items() if "support" in parts}
    if any(kind != _DALLE for kind, _ in whole):  # images that CaFo adds, and no draw of its own
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
