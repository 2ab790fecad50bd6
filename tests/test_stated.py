"""What a class says in its file is what it says once it is imported, and nothing is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from susx_bench.registry import METHODS
from susx_bench.stated import stated

FACTS = ("name", "version", "settings", "needs", "trained", "regime", "reference")

PLUGIN = """
from abc import ABC
from somewhere import heavy

KIND = "computed"

class Base(ABC):
    "Of all guests."
    reference: str = "base"
    exact = True
    regime = "streaming"

class Mine(Base):
    name = "mine"
    kind = KIND
    @property
    def regime(self): return heavy
    @property
    def order(self):
        "One of two."
        return "any" if self.exact else "given"
    @property
    def both(self): return heavy if self.exact else "given"
    @property
    def either(self): return "a" if self.heavy else "b"
    def called(self): return "a" if self.exact else "b"
    needs = frozenset()
"""


@pytest.mark.parametrize("name", METHODS.names())
def test_facts_of_methods_are_those_of_their_classes(name: str) -> None:
    method = METHODS.get(name)()

    for fact in FACTS:
        assert METHODS.stated(name, fact) == getattr(method, fact)


def test_our_methods_are_not_imported_for_it() -> None:
    code = (
        "import sys; from susx_bench.registry import METHODS;"
        f"[METHODS.stated(name, fact) for name in METHODS.names() for fact in {FACTS}];"
        "print('torch' in sys.modules, 'susx_bench.methods.tipx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "stated_guests" / "deep"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit(3)")
    (folder / "__init__.py").write_text("raise SystemExit(3)")
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "theirs.py").write_text(
        "from stated_guests.deep.mine import Mine as Parent\nclass Theirs(Parent): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "stated_guests.deep"


def test_a_class_is_read_with_what_it_extends(package: str) -> None:
    assert stated(f"{package}.mine", "Mine", "name") == "mine"
    assert stated(f"{package}.mine", "Mine", "reference") == "base"
    assert stated(f"{package}.mine", "Mine", "needs") == frozenset()
    assert stated(f"{package}.mine", "Mine", "order") == "any"
    assert stated(f"{package}.theirs", "Theirs", "reference") == "base"


def test_a_docstring_is_that_of_the_class_itself(package: str) -> None:
    assert stated(f"{package}.mine", "Base", "__doc__") == "Of all guests."
    assert stated(f"{package}.mine", "Mine", "__doc__") is None


@pytest.mark.parametrize(
    ("module", "name", "attribute"),
    [
        ("mine", "Mine", "kind"),  # a name of something else
        ("mine", "Mine", "regime"),  # computed, and not the parent's
        ("mine", "Mine", "both"),  # a choice of something else
        ("mine", "Mine", "either"),  # by a flag that nothing states
        ("mine", "Mine", "called"),  # a method
        ("mine", "Mine", "version"),  # nowhere
        ("mine", "Yours", "name"),
        ("absent", "Mine", "name"),
    ],
)
def test_what_a_file_does_not_say_is_not_guessed(
    package: str, module: str, name: str, attribute: str
) -> None:
    with pytest.raises(LookupError):
        stated(f"{package}.{module}", name, attribute)


def test_what_is_computed_is_asked_of_the_class() -> None:
    assert METHODS.stated("tipx", "tunable") is METHODS.get("tipx").tunable
