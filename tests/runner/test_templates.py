"""Templates of the user's own: the record names them, and is verified by its own command."""

from __future__ import annotations

import shlex
from pathlib import Path

from susx_bench.records.command import command as printed
from susx_bench.records.record import Record
from tests.conftest import Command

RUN = ("run", "--method", "zero-shot", "--setting", "few-shot", "--dataset", "digits", "--json")


def test_a_record_names_its_template(command: Command) -> None:
    (single,) = command(*RUN).records
    (ours,) = command(*RUN, "--prompts", "ein Foto der Zahl {}.").records

    assert ours["prompts"] == "ein Foto der Zahl {}."
    assert ours["prompts_sha256"] != single["prompts_sha256"]
    told = printed(Record.read(Path(ours["record"])))
    assert shlex.split(told)[shlex.split(told).index("--prompts") + 1] == ours["prompts"]
    verified = command("records", "verify", ours["record"])
    assert (verified.code, verified.out.strip().endswith("same")) == (0, True)


def test_a_file_of_templates_is_what_its_lines_say(command: Command) -> None:
    Path("mine.txt").write_text("a photo of the digit {}.\na drawing of {}.\n")

    (from_file,) = command(*RUN, "--templates", "mine.txt").records
    again = command(*RUN, "--prompts", "a photo of the digit {}. | a drawing of {}.")

    assert from_file["prompts"] == "a photo of the digit {}. | a drawing of {}."
    assert again.records[0]["input_sha256"] == from_file["input_sha256"]
    refused = command(*RUN, "--templates", "mine.txt", "--prompts", "photo")
    assert (refused.code, "in place of --prompts" in refused.err) == (2, True)
    refused = command(*RUN, "--prompts", "a {} and a {}")
    assert (refused.code, "a template has one {}" in refused.err) == (2, True)
