"""Suggest the next command: the last line below the table of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from susx_bench.leaderboard.results import boards
from susx_bench.options.asked import METHOD
from susx_bench.options.run import DEMO, SHOTS
from susx_bench.records.command import command_line, options
from susx_bench.records.record import Record

_KEPT = ("method", "setting", "features", "dataset", "encoder", "prompts", "support")
"""Options that the next command copies from a record."""

_ENCODERS = ("RN50:openai", "ViT-B-32:openai", "ViT-B-16:openai", "ViT-L-14:openai")
"""OpenAI's encoders from small to large."""


def next_step(
    records: Sequence[Record],
    features: Path | None = None,
    own: Sequence[str] = (),
    out: Path | None = None,
) -> str:
    """Suggest the next command, with its purpose, in one line.

    After the demo it suggests the user's own photographs, after its encoder a real one, after one
    number of shots several, after a small encoder the next larger one, and after tuning on val a
    tuning that needs no val labels.

    Args:
        records: The records of a run, at least one.
        features: The feature bundle of the records; None without one.
        own: The user's own methods as requested, ``./FILE.py:CLASS``. The next command keeps them.
        out: The folder of the records, if the user named it.
    """
    board = boards(records)[0]
    largest = max(board.sections, key=lambda section: len(section.rows))
    rows = [board.rows[i] for i in largest.rows]
    row = next((row for row in rows if row.method != "zero-shot"), None)
    best = next((r for r in records if row and r.method == row.method), records[0])
    request = {name: value for name, value in options(best).items() if name in _KEPT}
    if own:
        beside = [request["method"]] if request["method"] != METHOD else []
        request["method"] = ",".join([*own, *beside])
    if best.protocol == "bundle":  # the bundle names its dataset and encoder
        request = {name: request[name] for name in ("method", "setting", "features")}
        request |= {"features": features} if features else {}
    folder: dict[str, object] = {"out": out} if out else {}
    shots = {r.shots for r in records if r.support_images}
    if best.encoder == "demo":
        del request["prompts"]
        request |= {"encoder": "ViT-B-32:openai"}
        if request["dataset"] != DEMO:
            return _line("the same with CLIP itself", request | folder)
        request |= {"dataset": "./PHOTOS"}
        return _line("your own photographs, a folder per class", request | folder)
    fewer = [s for s in SHOTS if best.protocol != "bundle" or s <= max(shots, default=0)]
    if best.setting == "few-shot" and len(shots) == 1 and len(fewer) > 1:
        request |= {"shots": ",".join(map(str, fewer)), "seed": "1,2,3"}
        if best.tuned_on in ("fixed", "support"):
            request["tune"] = best.tuned_on
        return _line("how much labels help", request | folder)
    larger = _ENCODERS[_ENCODERS.index(best.encoder) + 1 :] if best.encoder in _ENCODERS else ()
    if best.protocol != "bundle" and larger:
        return _line("a larger encoder", request | {"encoder": larger[0]} | folder)
    if best.tuned_on in ("val", "few-val"):
        drawn = [r for r in records if r.draw]
        if drawn:
            request |= {
                name: ",".join(map(str, sorted({getattr(r, name) for r in drawn})))
                for name in ("shots", "seed")
            }
        return _line("the same without val labels", request | {"tune": "support"} | folder)
    return _line("what else there is", None)


def _line(why: str, asked: dict[str, object] | None) -> str:
    return f"next, {why}: {command_line(asked) if asked else 'susx-bench list methods'}"
