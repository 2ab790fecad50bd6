"""Values of other kinds in every argument of every public call: one line, before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import susx_bench as sb
from susx_bench.errors import BenchError, OptionError
from susx_bench.events import Event, Started
from susx_bench.runner.request import Request
from susx_bench.testing.task import make_context, unit
from tests.conftest import Bundle


class Odd:
    """Fails whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("array")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


@dataclass
class Endless(sb.Method):
    """Has a hyper-parameter that no record can hold."""

    name: ClassVar[str] = "endless"
    needs: ClassVar[frozenset[Any]] = frozenset({"text"})
    alpha: float = float("inf")

    def fit(self, context: sb.Context) -> None: ...

    def logits(self, images: Tensor) -> Tensor:
        return images


class Wordy(Endless):
    version: ClassVar[str] = "1" * 5000


class Named(Endless):
    name: ClassVar[str] = "x" * 5000


def nested() -> Tensor:
    return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)


WRONG: dict[str, Callable[[], Any]] = {
    "true": lambda: True,
    "three": lambda: 3,
    "fraction": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: -float("inf"),
    "many": lambda: 10**400,
    "complex": lambda: 1j,
    "empty": lambda: "",
    "blank": lambda: " ",
    "control": lambda: "a\x1b[2J\n",
    "surrogate": lambda: "\udcff",
    "long": lambda: "x" * 5000,
    "words": lambda: "no such thing",
    "nobody": lambda: "~nosuchuser/x",
    "bytes": lambda: b"tag",
    "none in a list": lambda: [None],
    "nothing": lambda: [],
    "list": lambda: ["", 3],
    "deep": lambda: [[["a"]]],
    "dict": lambda: {"a": 1},
    "set": lambda: {"a"},
    "object": object,
    "odd": Odd,
    "odd ones": lambda: [Odd()],
    "class": lambda: int,
    "function": lambda: len,
    "method": lambda: Endless,
    "wordy": lambda: Wordy,
    "named": lambda: Named,
    "made": Endless,
    "scalar": lambda: np.float32(1.5),
    "no dimension": lambda: np.array(3),
    "strings": lambda: np.array(["a"]),
    "objects": lambda: np.array([object()]),
    "dates": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "masked": lambda: np.ma.masked_array(np.eye(5, 16), mask=np.eye(5, 16) > 0),
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "rows of nan": lambda: torch.full((5, 16), torch.nan),
    "half": lambda: torch.eye(5, 16).half(),
    "whole": lambda: torch.eye(5, 16).long(),
    "yes and no": lambda: torch.eye(5, 16) > 0,
    "complex rows": lambda: torch.eye(5, 16).to(torch.complex64),
    "sparse": lambda: torch.eye(5, 16).to_sparse(),
    "meta": lambda: torch.eye(5, 16, device="meta"),
    "nested": nested,
    "one row": lambda: torch.eye(16)[0],
    "three axes": lambda: torch.eye(16)[None],
    "no row": lambda: torch.zeros(0, 16),
    "no column": lambda: torch.zeros(5, 0),
    "tensor": lambda: torch.tensor(1),
    "gradient": lambda: torch.eye(5, 16, requires_grad=True),
    "path": lambda: Path("gone") / "x",
}
ONE_OF = st.sampled_from(sorted(WRONG))
NUMBERS = {"three", "no dimension", "tensor"}
"""Values that are numbers somewhere."""


def rows(count: int, seed: int) -> Tensor:
    return unit(count, 16, seed=seed)


def features() -> dict[str, Any]:
    return {
        "text": rows(5, 1),
        "test": rows(12, 2),
        "test_labels": torch.arange(12) % 5,
        "support": rows(10, 3),
        "support_labels": torch.arange(10) % 5,
        "val": rows(10, 4),
        "val_labels": torch.arange(10) % 5,
    }


def call(function: Callable[..., Any], **arguments: Any) -> str:
    """What is said of a mistake; empty where there is none."""
    try:
        function(**arguments)
    except BenchError as error:
        line = str(error)
        assert line
        assert "\n" not in line
        assert len(line) < 2000
        return line
    return ""


def tries(examples: int) -> settings:
    """A fixed number of examples, in one folder."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


def names(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [n for n, p in inspect.signature(function).parameters.items() if p.kind not in kinds]


PROCESSES = {"devices", "num_nodes"}
ASKED = sorted({*names(sb.evaluate), *Request.declared()})


@tries(250)
@given(st.dictionaries(st.sampled_from(ASKED), ONE_OF, min_size=1, max_size=2))
def test_no_argument_of_evaluate_gives_a_traceback(asked: dict[str, str]) -> None:
    heard: list[Event] = []
    given: dict[str, Any] = {"method": "zero-shot", "features": sb.Features(**features())}
    given |= {"listen": heard.append, "progress": False}
    for name, kind in asked.items():
        if name in PROCESSES and kind in NUMBERS:
            continue  # would start that many
        if name == "listen" and callable(WRONG[kind]()):
            continue  # a listener's own mistakes are not ours
        given[name] = WRONG[kind]()

    line = call(sb.evaluate, **given)

    late = {"wordy", "made", "method", "named"} & set(asked.values())
    if line and not late:
        assert not [event for event in heard if isinstance(event, Started)], line


@tries(150)
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in fields(sb.Features)]),
        ONE_OF,
        min_size=1,
        max_size=2,
    )
)
def test_no_features_give_a_traceback(asked: dict[str, str]) -> None:
    given = features() | {name: WRONG[kind]() for name, kind in asked.items()}

    def used() -> None:
        made = sb.Features(**given)
        assert repr(made)
        sb.evaluate(["zero-shot", "tip-adapter"], features=made, tune="fixed")
        made.save("made.safetensors")

    call(used)


CLASSIFY = [name for name in names(sb.classify)]


@pytest.mark.parametrize("by", ["features", "photos"])
def test_no_argument_of_classify_gives_a_traceback(by: str, bundle: Bundle) -> None:
    path = bundle()
    Path("pictures").mkdir()
    (Path("pictures") / "x.png").write_bytes(b"no image")
    starts: dict[str, dict[str, Any]] = {
        "features": {"features": path},
        "photos": {"photos": "pictures", "classes": "cat,dog", "encoder": "demo"},
    }
    usual = starts[by]

    @tries(80)
    @given(st.dictionaries(st.sampled_from(CLASSIFY), ONE_OF, min_size=1, max_size=2))
    def each(asked: dict[str, str]) -> None:
        call(sb.classify, **{**usual, **{name: WRONG[kind]() for name, kind in asked.items()}})

    each()


def test_no_classifier_gives_a_traceback() -> None:
    made = sb.Classifier.fit(list("abcde"), "zero-shot", make_context(), "made:up")
    usual = {
        "classnames": list("abcde"),
        "method": "zero-shot",
        "context": make_context(),
        "encoder": "made:up",
    }

    @tries(100)
    @given(
        st.sampled_from(["export", "load", "save", "predict", "logits", "fit", "results"]),
        st.sampled_from(["classnames", "method", "context", "encoder", "tune", "texts", "other"]),
        ONE_OF,
        ONE_OF,
    )
    def each(what: str, name: str, first: str, second: str) -> None:
        one, other = WRONG[first](), WRONG[second]()
        match what:
            case "export":
                call(sb.export, classifier=one, to=other)
                call(sb.export, classifier=made, to=other)
            case "load":
                call(sb.Classifier.load, path=one)
            case "save":
                call(made.save, path=one)
            case "fit":
                call(sb.Classifier.fit, **usual | {name: one})
            case "results":
                call(lambda: repr(sb.Results(one)))
            case _:
                call(getattr(made, what), images=one)

    each()


@tries(100)
@given(st.sampled_from([field.name for field in fields(sb.Context)]), ONE_OF)
def test_a_context_says_what_is_wrong(name: str, kind: str) -> None:
    """`methods` has torch and nothing else of ours: its errors are Python's own."""
    context = make_context()
    given = {field.name: getattr(context, field.name) for field in fields(context)}
    with suppress(TypeError, ValueError):
        sb.Context(**given | {name: WRONG[kind]()})


@pytest.mark.parametrize("shots", [1.5, True, [1, True], np.float32(1.5), np.bool_(True), "1.5"])
def test_shots_are_whole_numbers(shots: Any) -> None:
    with pytest.raises(OptionError, match=r"--shots: .* is not a valid integer"):
        sb.evaluate("zero-shot", features=sb.Features(**features()), shots=shots)


@pytest.mark.parametrize("shots", [2, 2.0, np.int64(2), torch.tensor(2), [2], np.array([2]), "2"])
def test_whole_numbers_are_taken_as_they_come(shots: Any) -> None:
    results = sb.evaluate("gda", features=sb.Features(**features()), shots=shots, seed=1)

    assert [record.shots for record in results] == [2]


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (None, "method: None is neither a name nor a class"),
        (3, "method: 3 is neither"),
        ([object()], "method: a value of type object is neither"),
        (Endless, "method 'endless'|alpha"),
        (Wordy, "version"),
        (Named, "name"),
    ],
)
def test_methods_are_names_and_classes(method: Any, line: str) -> None:
    with pytest.raises(BenchError, match=line):
        sb.evaluate(method, features=sb.Features(**features()))


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(OptionError, match="shot"):
        sb.evaluate("tag", shot=1)
    with pytest.raises(TypeError, match="shot"):
        sb.classify("pictures", shot=1)  # type: ignore[call-arg]
