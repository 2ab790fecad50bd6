"""What to run next: the last line below the table of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from susx_bench.leaderboard.results import boards
from susx_bench.options.run import DEMO, METHOD, SHOTS
from susx_bench.records.command import command_line, options
from susx_bench.records.record import Record

_KEPT = ("method", "setting", "features", "dataset", "encoder", "prompts", "support")
"""Options that the next command takes over."""

_ENCODERS = ("RN50:openai", "ViT-B-32:openai", "ViT-B-16:openai", "ViT-L-14:openai")
"""OpenAI's encoders from small to large."""


def next_step(
    records: Sequence[Record],
    features: Path | None = None,
    own: Sequence[str] = (),
    out: Path | None = None,
) -> str:
    """One line: what is worth knowing next, and the command that measures it.

    The demo leads to photographs of one's own, and its encoder to a real one, one number of shots
    to several, a small encoder to the next larger one, and features to a tuning that needs no val
    labels.

    Args:
        records: The records of a run, at least one.
        features: The feature bundle they are of, where they are of one.
        own: Methods of the user's own as they were asked for, ``./FILE.py:CLASS``: they stay.
        out: The folder of the records, where it was named.
    """
    board = boards(records)[0]
    largest = max(board.sections, key=lambda section: len(section.rows))
    rows = [board.rows[i] for i in largest.rows]
    row = next((row for row in rows if row.method != "zero-shot"), None)
    best = next((r for r in records if row and r.method == row.method), records[0])
    asked = {name: value for name, value in options(best).items() if name in _KEPT}
    if own:
        beside = [asked["method"]] if asked["method"] != METHOD else []
        asked["method"] = ",".join([*own, *beside])
    if best.protocol == "bundle":  # the bundle says what its features are of
        asked = {name: asked[name] for name in ("method", "setting", "features")}
        asked |= {"features": features} if features else {}
    folder: dict[str, object] = {"out": out} if out else {}
    shots = {r.shots for r in records if r.support_images}
    if best.encoder == "demo":
        del asked["prompts"]
        asked |= {"encoder": "ViT-B-32:openai"}
        if asked["dataset"] != DEMO:
            return _line("the same with CLIP itself", asked | folder)
        asked |= {"dataset": "./PHOTOS"}
        return _line("your own photographs, a folder per class", asked | folder)
    fewer = [s for s in SHOTS if best.protocol != "bundle" or s <= max(shots, default=0)]
    if best.setting == "few-shot" and len(shots) == 1 and len(fewer) > 1:
        asked |= {"shots": ",".join(map(str, fewer)), "seed": "1,2,3"}
        if best.tuned_on in ("fixed", "support"):
            asked["tune"] = best.tuned_on
        return _line("how much labels help", asked | folder)
    larger = _ENCODERS[_ENCODERS.index(best.encoder) + 1 :] if best.encoder in _ENCODERS else ()
    if best.protocol != "bundle" and larger:
        return _line("a larger encoder", asked | {"encoder": larger[0]} | folder)
    if best.tuned_on in ("val", "few-val"):
        drawn = [r for r in records if r.draw]
        if drawn:
            asked |= {
                name: ",".join(map(str, sorted({getattr(r, name) for r in drawn})))
                for name in ("shots", "seed")
            }
        return _line("the same without val labels", asked | {"tune": "support"} | folder)
    return _line("what else there is", None)


def _line(why: str, asked: dict[str, object] | None) -> str:
    return f"next, {why}: {command_line(asked) if asked else 'susx-bench list methods'}"
