"""Messages of errors."""

from __future__ import annotations

import pytest

from susx_bench.errors import BenchError, PackageMissingError, SuiteError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("mine.toml: it is empty..", "mine.toml: it is empty."),
        (
            "x cannot be read: no such file.. Run again.",
            "x cannot be read: no such file. Run again.",
        ),
        ("the list goes on ...", "the list goes on ..."),
        ("and so on...", "and so on..."),
        ("../a.png and .. are outside of ./b/..", "../a.png and .. are outside of ./b/.."),
        ("a..b is a name.", "a..b is a name."),
    ],
)
def test_a_sentence_ends_once(said: str, shown: str) -> None:
    assert str(BenchError(said)) == shown
    assert str(SuiteError(said)) == shown


def test_an_error_of_several_kinds_has_its_message() -> None:
    assert "needs torch. Run" in str(PackageMissingError("it", "torch"))
