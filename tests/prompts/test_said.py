"""What a run says of its prompts: names left out, ends cut off."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Command
from tests.data.made import encoded, photo, write


def test_a_run_says_what_it_reads_of_a_prompt_file(tmp_path: Path, command: Command) -> None:
    names = ("cat", "dog", "night owl")
    for number, name in enumerate(names):
        for split in ("train", "test"):
            write(tmp_path / "toy" / split / name / "1.png", encoded(photo(number + len(split))))
    path = tmp_path / "p" / "CuPL_prompts_toy.json"
    table = {"cat": ["seven"], "dog": ["seven " * 40, "seven"], "night owl": ["o"], "cow": ["m"]}
    write(path, json.dumps(table))
    words = (
        *("run", "--method", "zero-shot", "--setting", "name-only", "--encoder", "demo", "--json"),
        *("--dataset", tmp_path / "toy", "--prompts-dir", tmp_path / "p", "--prompts", "cupl"),
    )

    # The demo reads 48 tokens: letters, a start and an end. The second time nothing is encoded.
    assert len("seven " * 40) - 1 + 2 - 48 == 193
    for more in ((), ("--force",)):
        done = command(*words, *more)
        said = " ".join(done.err.split())
        assert done.code == 0
        assert f"{path}: 1 of its 4 names are left out, which toy does not have: 'cow'." in said
        assert (
            "1 of 4 prompts of cupl are longer than demo reads, the longest by 193 tokens" in said
        )
