"""All methods at once, and several tunings."""

from __future__ import annotations

import json
from pathlib import Path

from susx_bench.registry import METHODS
from tests.conftest import Bundle, Command


def test_all_methods_are_measured_or_say_what_is_missing(bundle: Bundle, command: Command) -> None:
    done = command(
        *("run", "--method", "all", "--setting", "few-shot", "--tune", "fixed"),
        *("--features", bundle()),
    )

    assert done.code == 0
    records = [json.loads(path.read_text()) for path in Path("results").rglob("*.json")]
    measured = {record["method"] for record in records}
    for name in METHODS.names():
        assert name in measured or f"left blank: {name}" in done.out, name
    assert len(measured) > 20


def test_several_tunings_are_a_row_each(bundle: Bundle, command: Command) -> None:
    run = ("run", "--method", "zero-shot,tipx", "--setting", "few-shot", "--features", bundle())
    records = command(*run, "--tune", "fixed,support,val", "--json").records

    assert [(r["method"], r["tuned_on"]) for r in records] == [
        ("zero-shot", "fixed"),
        ("tipx", "fixed"),
        ("tipx", "support"),
        ("tipx", "val"),
    ]
    for record in records:
        (alone,) = command(
            *("run", "--method", record["method"], *run[3:], "--tune", record["tuned_on"]),
            *("--json", "--out", "alone"),
        ).records
        assert alone["input_sha256"] == record["input_sha256"]
        assert command("records", "verify", record["record"], "--features", run[6]).code == 0
    refused = command(*run, "--tune", "fixed,test")
    assert (refused.code, "--allow-test-tuning" in refused.err) == (2, True)
    refused = command(*run, "--tune", "fixed,vale")
    assert (refused.code, "Did you mean val" in refused.err) == (2, True)
