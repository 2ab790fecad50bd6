"""The contract is worth something: for each of its tests a method that fails it, and it alone."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch import Tensor

from susx_bench import Axis, Context, LinearMethod, Method, SearchSpace, Terms
from susx_bench.features.task import Task
from susx_bench.methods.base import Need, Regime
from susx_bench.testing import MethodContract
from susx_bench.testing.probes import TASKS


class Good(Method):
    """Zero-shot and the mean support image of each class, to change for the worse."""

    name: ClassVar[str] = "good"

    def fit(self, context: Context) -> None:
        self._context = context
        labels = F.one_hot(context.support_labels, context.num_classes).float()
        self._means: Tensor = labels.T @ context.support

    def logits(self, images: Tensor) -> Tensor:
        logits: Tensor = images @ (self._context.text + self._means).T
        return logits


class Nameless(Good):
    name = ""


class NotANumber(Good):
    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        return logits / (logits - logits.mean(dim=0)).square().sum(dim=0).sqrt()


class Double(Good):
    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images).double()


class Fickle(Good):
    def fit(self, context: Context) -> None:
        super().fit(context)
        self._asked = 0

    def logits(self, images: Tensor) -> Tensor:
        self._asked += 1
        return self._asked * super().logits(images)


class Hoarder(Good):
    def __init__(self) -> None:
        self._fits = 0

    def fit(self, context: Context) -> None:
        super().fit(context)
        self._fits += 1

    def logits(self, images: Tensor) -> Tensor:
        return self._fits * super().logits(images)


class Gambler(Good):
    def fit(self, context: Context) -> None:
        super().fit(context)
        torch.manual_seed(0)
        self._noise = torch.randn(context.num_classes)

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images) + 0 * self._noise


class Vandal(Good):
    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        images.mul_(2)
        return logits


class ContextVandal(Good):
    def fit(self, context: Context) -> None:
        super().fit(context)
        context.support.mul_(2)


class Neighbourly(Good):
    """Subtracts the mean of whatever images it gets together."""

    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        return logits - logits.mean(dim=0)


class Dropper(Good):
    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        whole = len(logits) // 64 * 64
        return torch.cat([logits[:whole], logits[whole:] * 0])


class Clairvoyant(Neighbourly):
    regime: Regime = "streaming"


class FirstComeFirstServed(Good):
    regime: Regime = "transductive"

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images).cumsum(dim=0)


class Loner(Good):
    regime: Regime = "transductive"


class Counter(Good):
    """Prefers classes with a high number."""

    def logits(self, images: Tensor) -> Tensor:
        numbers = torch.arange(self._context.num_classes, device=images.device)
        return super().logits(images) + numbers


class LastImage(Good):
    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images) + (images @ self._context.support[-1])[:, None]


class Undeclared(Good):
    needs: ClassVar[frozenset[Need]] = frozenset({"text"})


class Blind(Good):
    def logits(self, images: Tensor) -> Tensor:
        return images @ self._context.text.T


class Wordless(Good):
    def logits(self, images: Tensor) -> Tensor:
        return images @ self._means.T


def claims(need: Need) -> type[Method]:
    """A method that declares what it does not use."""

    class Boaster(Good):
        needs: ClassVar[frozenset[Need]] = Good.needs | {need}

        def fit(self, context: Context) -> None:
            super().fit(context)
            self._text = F.normalize(context.text + self._means, dim=-1)

        def logits(self, images: Tensor) -> Tensor:
            own = images[:, 0] if need == "spatial" else images
            return F.normalize(own, dim=-1) @ self._text.T

    if need == "norms":  # of the support it must not know more than the direction

        class Normalised(Boaster):
            def fit(self, context: Context) -> None:
                self._context = context
                labels = F.one_hot(context.support_labels, context.num_classes).float()
                means = labels.T @ F.normalize(context.support, dim=-1)
                self._text = F.normalize(context.text, dim=-1) + means

        return Normalised
    return Boaster


class Peeker(Good):
    def fit(self, context: Context) -> None:
        super().fit(context)
        if context.val is not None:
            self._spread = context.val.features.std()


@dataclass
class Weighted(Good):
    alpha: float = 1.0

    def space(self, context: Context) -> SearchSpace:
        return SearchSpace((Axis.even("alpha", 0.5, 2.0, 3),), source="made up")

    def logits(self, images: Tensor) -> Tensor:
        return images @ (self._context.text + self.alpha * self._means).T


@dataclass
class TooEarly(Weighted):
    def fit(self, context: Context) -> None:
        super().fit(context)
        self._means = self.alpha * self._means


@dataclass
class Lost(Weighted):
    def fixed(self, context: Context) -> dict[str, float]:
        nearest = context.support[context.support_labels == 1].sum(-1).argmin()
        return {"alpha": 1.0 + float(nearest) / 10}


@dataclass
class Elsewhere(Weighted):
    def fixed(self, context: Context) -> dict[str, float]:
        return {"alpha": self.alpha / context.shots}


@dataclass
class Idle(Weighted):
    def logits(self, images: Tensor) -> Tensor:
        return images @ (self._context.text + self._means).T


@dataclass
class Sweeper(LinearMethod):
    name: ClassVar[str] = "sweeper"

    alpha: float = 1.0
    beta: float = 2.0

    def fit(self, context: Context) -> None:
        self._context = context
        labels = F.one_hot(context.support_labels, context.num_classes).float()
        self._means = labels.T @ context.support

    def space(self, context: Context) -> SearchSpace:
        alpha, beta = Axis.even("alpha", 0.5, 2.0, 3, weight=True), Axis.even("beta", 1.0, 4.0, 3)
        return SearchSpace((beta, alpha), source="made up")

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        (images,) = prepared
        return Terms(
            images @ self._context.text.T, {"alpha": (self.beta * images @ self._means.T).exp()}
        )


@dataclass
class Wrong(Sweeper):
    """Its sweep stays at the first setting."""

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        self.set(settings[0])
        for _ in settings:
            yield self.terms(prepared)


@dataclass
class Falling(Sweeper):
    """Says that a term falls which rises."""

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        for terms in super().sweep(prepared, settings):
            yield Terms(terms.base, terms.weighted, falling=frozenset({"alpha"}))


@dataclass
class Rising(Sweeper):
    """Says that a term rises which falls."""

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        (images,) = prepared
        return Terms(
            images @ self._context.text.T,
            {"alpha": (-self.beta * images.abs() @ self._means.abs().T).exp()},
        )

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        for terms in super().sweep(prepared, settings):
            yield Terms(terms.base, terms.weighted, rising=frozenset({"alpha"}))


class Cheat(Good):
    """Finds the test labels in this process."""

    def logits(self, images: Tensor) -> Tensor:
        logits = super().logits(images)
        for thing in gc.get_objects():
            # One that failed to open has none.
            if issubclass(type(thing), Task) and hasattr(thing, "test_labels"):
                logits[:, int(thing.test_labels[0])] += 100
        return logits


class Homebound(Good):
    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images) + torch.zeros(self._context.num_classes)


class Reader(Good):
    """Reads the text, and does not say that it needs it."""

    needs: ClassVar[frozenset[Need]] = frozenset({"support"})


ROOT = Path(__file__).parents[2]
contract = MethodContract()
BAD: list[tuple[Callable[..., None], type[Method], str]] = [
    (contract.test_can_be_made, Nameless, "it has no name"),
    (contract.test_scores_every_class, NotANumber, "one"),
    (contract.test_scores_every_class, Double, "float64"),
    (contract.test_answers_the_same_twice, Fickle, "asked again"),
    (contract.test_answers_the_same_twice, Hoarder, "keeps something"),
    (contract.test_leaves_the_global_generators_alone, Gambler, "not its own"),
    (contract.test_changes_nothing_it_is_given, Vandal, "writes into the images"),
    (contract.test_changes_nothing_it_is_given, ContextVandal, "writes into its context"),
    (contract.test_an_answer_depends_on_what_its_regime_allows, Neighbourly, "its batch of 1"),
    (contract.test_an_answer_depends_on_what_its_regime_allows, Dropper, "matters|its batch"),
    (contract.test_an_answer_depends_on_what_its_regime_allows, Clairvoyant, "sees a later one"),
    (contract.test_an_answer_depends_on_what_its_regime_allows, FirstComeFirstServed, "the order"),
    (contract.test_an_answer_depends_on_what_its_regime_says, Loner, "no image sees another"),
    (contract.test_renumbering_the_classes_renumbers_the_answer, Counter, "numbers of the classes"),
    (contract.test_the_order_of_the_support_does_not_matter, LastImage, "order of the support"),
    (contract.test_uses_what_it_declares, Undeclared, "another 'support' gives other"),
    (contract.test_uses_what_it_declares, Blind, "another 'support' gives the same"),
    (contract.test_uses_what_it_declares, Wordless, "another 'text' gives the same"),
    *(
        (contract.test_uses_what_it_declares, claims(need), f"another '{need}' gives the same")
        for need in ("val", "support-views", "text-prompts", "spatial", "norms")
    ),
    (contract.test_runs_without_text_unless_it_needs_it, Reader, 'add "text" to its `needs`'),
    (contract.test_reads_val_only_if_it_declares_it, Peeker, "context.val.features"),
    (contract.test_hyper_parameters_count_from_when_they_are_set, TooEarly, "`fit` reads"),
    (contract.test_every_tuning_chooses, Lost, "on 'none to 20 shots': IndexError"),
    (contract.test_its_defaults_are_its_fixed_setting, Elsewhere, "Follows"),
    (contract.test_every_searched_hyper_parameter_matters, Idle, "'alpha' changes nothing"),
    (contract.test_a_sweep_gives_the_terms_of_each_setting, Wrong, "'alpha' at"),
    (contract.test_a_sweep_gives_the_terms_of_each_setting, Falling, "'alpha' rises"),
    (contract.test_a_sweep_gives_the_terms_of_each_setting, Rising, "'alpha' falls"),
    (contract.test_a_run_looks_at_no_test_label, Cheat, "predictions_sha256"),
    (contract.test_says_on_which_device, Homebound, "without `device=`"),
]  # fmt: skip
TESTS = {name for name in dir(MethodContract) if name.startswith("test_")}


def put(test: Callable[..., None], method: type[Method], folder: Path) -> None:
    """Put one test of the contract to a method, with each of its parameters."""
    arguments = set(inspect.signature(test).parameters) - {"candidate"}
    if "task" in arguments:
        for task in TASKS:
            test(method, task)
    elif "need" in arguments:
        for mark in test.pytestmark:  # type: ignore[attr-defined]
            for need in mark.args[1]:
                test(method, need)
    elif "tmp_path" in arguments:
        test(method, folder)
    else:
        test(method)


@pytest.mark.parametrize(
    ("test", "method", "message"), BAD, ids=[f"{t.__name__}-{m.__name__}" for t, m, _ in BAD]
)
def test_catches(
    test: Callable[..., None], method: type[Method], message: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        put(test, method, tmp_path)


def test_every_test_catches_something() -> None:
    assert {test.__name__ for test, _, _ in BAD} == TESTS - {"test_runs_on_cuda"}


@pytest.mark.parametrize("method", [Good, Weighted, Sweeper])
def test_lets_a_good_method_pass(method: type[Method], tmp_path: Path) -> None:
    for name in sorted(TESTS - {"test_runs_on_cuda"}):
        put(getattr(contract, name), method, tmp_path)


def installed_by_the_first_command() -> set[str]:
    """Packages that the project's requirements, and theirs, bring with them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, todo = {"susx-bench", "pip"}, list(project["dependencies"])
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        with contextlib.suppress(PackageNotFoundError):  # for another system
            todo += requires(name) or []
    return found


def test_the_readmes_method_runs_and_passes_with_what_its_first_command_installs(
    tmp_path: Path,
) -> None:
    """As written, with every package hidden that only the tests and linters of ours need."""
    section = (ROOT / "README.md").read_text().split("## Your own method")[1].split("\n## ")[0]
    source, run, check = re.findall(r"^```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(source)
    there = installed_by_the_first_command()
    hidden = {
        module
        for module, names in packages_distributions().items()
        if not {canonicalize_name(name) for name in names} & there
    }
    assert {"hypothesis", "pytest_socket"} <= hidden, "nothing is hidden"
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(f"""
            import sys

            class Without:
                def __init__(self, finder):
                    self.finder = finder

                def __getattr__(self, name):
                    return getattr(self.finder, name)

                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] not in {sorted(hidden)!r}:
                        return self.finder.find_spec(name, path, target)

            sys.meta_path[:] = map(Without, sys.meta_path)
        """)
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    env |= {"PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # those are hidden, too

    few = "--shots 1 --seed 1 --json"  # the whole demo takes a minute
    for line in (f"{run.strip()} {few}", check.strip()):
        program, *words = shlex.split(line)
        module = {"susx-bench": "susx_bench", "pytest": "pytest"}[program]
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert done.returncode == 0, (line, done.stdout[-3000:], done.stderr[-3000:])
        assert '"method":"mine"' in done.stdout or re.search(r"\d+ passed", done.stdout)


def test_a_file_is_put_to_the_contract_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            from susx_bench import Method

            class Mine(Method):
                name = "mine"

                def fit(self, context):
                    self.text = context.text

                def logits(self, images):
                    return images @ self.text.T
        """)
    )

    words = ["--pyargs", "susx_bench.testing", "-p", "susx_bench.testing"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words, "--method", "./mine.py:Mine"],
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert "another 'support' gives the same logits" in done.stdout
