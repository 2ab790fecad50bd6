"""Text files that people write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from susx_bench.records.text import read_json, read_lines, read_names, read_text
from tests.conftest import Bundle, Command
from tests.data.made import parquet, plain, write

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "content",
    [
        b"cat\nnight owl\nd\xc3\xb6g",
        b"cat\nnight owl\nd\xc3\xb6g\n",
        MARK + b"cat\r\nnight owl\r\nd\xc3\xb6g\r\n",
        b"cat\rnight owl\rd\xc3\xb6g\r",
        b"  cat\t\nnight owl \nd\xc3\xb6g\n\n \n",
        b"cat\n" + MARK + b"night owl\nd\xc3\xb6g",  # two files, joined
        "\u200bcat\nnight owl\u200e\nd\u00f6g\u00a0".encode(),
    ],
)
def test_names_are_the_lines(tmp_path: Path, content: bytes) -> None:
    assert read_names(write(tmp_path / "names.txt", content)) == ["cat", "night owl", "dög"]


def test_a_line_ends_where_editors_end_it(tmp_path: Path) -> None:
    """Python's ``splitlines`` also ends one at form feeds and other rare characters."""
    path = write(tmp_path / "names.txt", "a\x0bb\u2028c\x85d\ne")

    assert read_lines(path) == ["a\x0bb\u2028c\x85d", "e"]


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        (read_names, b"cat\n\ndog\n", "line 2 of 3 is empty"),
        (read_names, b"\ncat\ndog\n", "line 1 of 3 is empty"),
        (read_names, b"cat\n \t\r\ndog\n", "line 2 of 3 is empty"),
        (read_names, MARK + b"\ncat", "line 1 of 2 is empty"),
        (read_names, "cat\n\u200b\ndog".encode(), "line 2 of 3 is empty"),
        (read_names, "cat\n\u00ad\u2060\ndog".encode(), "line 2 of 3 is empty"),
        (read_names, b"", "it has no line"),
        (read_names, b"\n\n", "it has no line"),
        (read_names, MARK, "it has no line"),
        (read_text, "cat\ndog".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (read_text, "cat\ndog".encode("utf-32"), "it is UTF-32; save it as UTF-8"),
        (read_text, "cat".encode("utf-16-le"), "it has NUL characters"),
        (read_text, "cat\ndög".encode("latin-1"), "byte 0xf6 in line 2 is not UTF-8"),
        (read_json, b"[" * 100_000, "it is nested too deep"),
        (read_json, b"{'a': 1}", "Expecting property name"),
    ],
)
def test_what_is_not_such_a_file_is_refused(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, reason: str
) -> None:
    path = write(tmp_path / "file.txt", content)

    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_json_may_begin_with_a_mark(tmp_path: Path) -> None:
    assert read_json(write(tmp_path / "a.json", MARK + b'{"a": [1]}')) == {"a": [1]}


def test_an_empty_line_never_moves_a_class(
    tmp_path: Path, command: Command, bundle: Bundle
) -> None:
    """Five rows of text, and a file in which the third name is missing: never class 3 as 2."""
    names = write(tmp_path / "names.txt", "a\nb\n\nd\ne\nf\n")
    run = ("run", "--method", "zero-shot", "--setting", "few-shot", "--json", "--features")
    done = command(*run, bundle(), "--classnames", names)

    assert done.code == 2
    assert f"--classnames {names}: line 3 of 6 is empty." in " ".join(done.err.split())

    write(tmp_path / "mine/test.parquet", parquet([plain(1), plain(2)], [0, 1]))
    write(tmp_path / "mine/classnames.txt", "cat\n\ndog\n")
    done = command("data", "check", tmp_path / "mine")

    assert done.code == 2
    assert "mine/classnames.txt cannot be read: line 2 of 3 is empty." in " ".join(done.err.split())


def test_files_with_a_mark_are_read(tmp_path: Path, command: Command, bundle: Bundle) -> None:
    suite = (
        'name = "s"\ntitle = "S"\n[[run]]\nmethod = ["zero-shot"]\nfeatures = ["toy.safetensors"]\n'
    )
    path = write(tmp_path / "s.toml", MARK + suite.replace("\n", "\r\n").encode())
    bundle()
    shots = write(tmp_path / "shots.json", MARK + b"[0, 1, 2, 3, 4]")

    done = command("run", "--suite", path, "--data-root", tmp_path, "--json")
    assert (done.code, len(done.records)) == (0, 1)
    run = ("run", "--method", "tip-adapter", "--setting", "few-shot", "--json")
    done = command(*run, "--features", tmp_path / "toy.safetensors", "--shots-file", shots)
    assert (done.code, done.records[0]["draw"]) == (0, "file")


def test_a_name_twice_in_an_object_is_refused(tmp_path: Path) -> None:
    """A parser would keep the last: of two lists of sentences for one class, one."""
    path = write(tmp_path / "a.json", '{"x": {"cat": [1], "dog": [2], "cat": [3]}}')

    with pytest.raises(ValueError, match="'cat' more than once"):
        read_json(path)


@pytest.mark.parametrize("content", ["0 cat\n1 dog", "1: cat\n2: dog", "0,cat\n1,dog\n2,owl"])
def test_numbers_before_names_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="every line begins with its number"):
        read_names(write(tmp_path / "names.txt", content))


@pytest.mark.parametrize("content", ["1 euro\n10 euro", "001.cat\n002.dog", "0\n1\n2", "1 cent"])
def test_names_with_numbers_are_names(tmp_path: Path, content: str) -> None:
    assert read_names(write(tmp_path / "names.txt", content)) == content.split("\n")


def test_what_is_missing_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        read_text(tmp_path / "nothing.txt")

    assert str(error.value) == "No such file or directory"
