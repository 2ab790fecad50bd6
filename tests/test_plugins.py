"""What other people's packages register: found, named, measured, and gone when they are gone."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from susx_bench.registry import REGISTRIES
from tests.conftest import Command

DEMO = ("--setting", "few-shot", "--shots", "1", "--seed", "1")
GOOD = """
    from susx_bench import Method

    class Guest(Method):
        name = "guest"

        def fit(self, context):
            self.context = context

        def logits(self, images):
            return images @ self.context.text.T
"""
Plugin = Callable[..., None]


def look_again() -> None:
    """Forget what was registered, as a new process would."""
    importlib.invalidate_caches()
    for registry in REGISTRIES:
        registry.__dict__.pop("_entries", None)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("guest", "host", "my_")):
            del sys.modules[name]
    look_again()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """Install a package of one module: what pip leaves behind, written by hand."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(package: str, module: str, text: str | None = GOOD, **entries: str) -> None:
        info = site / f"{package.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = "".join(f"[susx_bench.{group}]\n{names}\n" for group, names in entries.items())
        (info / "entry_points.txt").write_text(lines)
        if text is not None:
            (site / f"{module}.py").write_text(textwrap.dedent(text))
        look_again()

    return install


def test_a_package_installed_with_pip_comes_and_goes(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("new", "method", "guest-one").code == 0
    venv.create(tmp_path / "venv", with_pip=False)
    site = next((tmp_path / "venv").glob("lib/*/site-packages"))
    for path in sys.path:  # setuptools, which builds the package
        if path.endswith("site-packages"):
            (site / "outer.pth").write_text(path)

    def pip(*words: str) -> None:
        python = str(tmp_path / "venv" / "bin" / "python")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, *words],
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    before = command("run", "--method", "guest-one", *DEMO)
    pip("install", "--no-index", "--no-build-isolation", "--no-deps", "./guest-one")
    monkeypatch.syspath_prepend(str(site))
    look_again()
    listed = command("list", "methods").out
    ran = command("run", "--method", "guest-one", *DEMO)
    record = command("run", "--method", "guest-one", *DEMO, "--json").records[0]
    pip("uninstall", "--yes", "guest-one")
    look_again()
    after = command("list", "methods").out

    assert "The folder guest-one is not installed" in before.err
    (row,) = (line for line in listed.splitlines() if line.startswith(" guest-one"))
    assert row.rstrip().endswith("guest-one 0.1.0")
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("guest-one  ")]
    assert record["versions"]["guest-one"] == "0.1.0"
    assert record["method_source"]
    assert "guest" not in after


def test_another_version_is_another_cell(command: Command, plugin: Plugin, tmp_path: Path) -> None:
    plugin("guests", "guest", methods="guest = guest:Guest")
    words = ("run", "--method", "guest", *DEMO, "--json")
    first, again = command(*words).records[0], command(*words).records[0]
    info = tmp_path / "site" / "guests-1.5.dist-info"
    info.rename(info.with_name("guests-1.6.dist-info"))
    metadata = info.with_name("guests-1.6.dist-info") / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.5", "1.6"))
    look_again()
    second = command(*words).records[0]

    assert first == again
    assert (first["versions"]["guests"], second["versions"]["guests"]) == ("1.5", "1.6")
    assert first["input_sha256"] != second["input_sha256"]


def test_two_plugins_with_one_name_are_both_named(command: Command, plugin: Plugin) -> None:
    plugin("guests", "guest", methods="guest = guest:Guest")
    plugin("others", "host", methods="guest = host:Guest")

    listed, ran = command("list", "methods"), command("run", "--method", "guest", *DEMO)

    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    for told in (ran.err, listed.out):
        assert "guests 1.5 (guest:Guest)" in told
        assert "others 1.5 (host:Guest)" in told
    assert listed.code == 0
    assert "tipx" in listed.out


def test_two_packages_with_one_module_are_both_named(command: Command, plugin: Plugin) -> None:
    plugin("guests", "guest", methods="guest = guest:Guest")
    plugin("forks", "guest", methods="guest = guest:Guest")

    done = command("run", "--method", "guest", *DEMO)

    assert "guests 1.5" in done.err
    assert "forks 1.5" in done.err


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        (None, "guest = guest:Guest", "No module named 'guest'"),
        (GOOD, "guest = guest:Gest", "has no attribute 'Gest'"),
        ("1 / 0", "guest = guest:Guest", "ZeroDivisionError"),
        ("raise SystemExit(3)", "guest = guest:Guest", "SystemExit(3)"),
        ("class Guest: pass", "guest = guest:Guest", "not a subclass of susx_bench.methods.base"),
        (GOOD, "gast = guest:Guest", "says that its name is 'guest'"),
        (GOOD.replace('name = "guest"', ""), "guest = guest:Guest", "its name is None"),
        (
            GOOD.replace("def logits", "def logit"),
            "guest = guest:Guest",
            "Can't instantiate abstract class Guest",
        ),
        (
            GOOD.replace('name = "guest"', 'name = "guest"; needs = {"txt"}'),
            "guest = guest:Guest",
            "its needs are {'txt'}",
        ),
        (
            GOOD.replace('name = "guest"', 'name = "guest"; regime = "loose"'),
            "guest = guest:Guest",
            "its regime is 'loose'",
        ),
    ],
)
def test_a_broken_plugin_is_named_and_breaks_no_list(
    command: Command, plugin: Plugin, text: str | None, entry: str, message: str
) -> None:
    plugin("guests", "guest", text, methods=entry)

    listed = command("list", "methods")
    ran = command("run", "--method", entry.split()[0], *DEMO)

    assert listed.code == 0
    assert "tipx" in listed.out
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    for told in (" ".join(listed.out.split()), ran.err):
        assert message in told
        assert "guest" in told
    assert "guests 1.5" in listed.out


def test_names_are_not_markup(command: Command, plugin: Plugin) -> None:
    plugin("guest-markup", "guest_markup", methods="[bold]guest[/x] = guest_markup:Guest")
    listed = command("list", "methods")

    assert listed.code == 0
    assert "[bold]guest[/x]" in listed.out
    assert "tipx" in listed.out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "guests",
            "The package guests 1.5 is installed but declares nothing under",
        ),
        ("digits", "'digits' is registered as dataset, in susx_bench.datasets"),
        ("guest", "is its package installed in this environment"),
    ],
)
def test_a_failed_look_up_says_which_step_is_missing(
    command: Command, plugin: Plugin, name: str, message: str
) -> None:
    plugin("guests", "guest", others="guest = guest:Guest")

    done = command("run", "--method", name, *DEMO)

    assert done.code == 2
    assert message in done.err


def test_a_class_that_a_file_has_not_got(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(textwrap.dedent(GOOD))

    done = command("run", "--method", "./mine.py:Mine", *DEMO)

    assert "has no class 'Mine'. Classes there: Guest." in done.err


DATASET_AND_ENCODER = """
    import hashlib
    from dataclasses import replace
    from functools import cached_property

    import torch
    from susx_bench.data.facts.digits import SPEC
    from susx_bench.encoders.base import Encoder, Towers
    from torchvision.transforms.functional import pil_to_tensor

    GUESTS = replace(SPEC, name="guests")

    class TinyTowers(Towers):
        preprocess_cfg = {"size": (8, 8), "mean": (0, 0, 0), "std": (1, 1, 1)}

        def __init__(self):
            generator = torch.Generator().manual_seed(0)
            self.model = torch.nn.Linear(3 * 8 * 8, 16, bias=False).requires_grad_(False)
            self.model.weight.copy_(torch.randn(16, 192, generator=generator))

        def transform(self, image):
            return pil_to_tensor(image.resize((8, 8))).float() / 255

        def image_features(self, pixels):
            return self.model(pixels.flatten(1))

        def text_features(self, texts):
            digests = [hashlib.sha256(text.encode()).digest() for text in texts]
            return torch.tensor([list(digest[:16]) for digest in digests]).float() - 128

    class Tiny(Encoder):
        '''A random projection.'''

        name = "tiny"
        sha256 = "tiny weights"
        logit_scale = 10.0

        @cached_property
        def towers(self):
            return TinyTowers()
"""


def test_a_dataset_and_an_encoder_of_a_plugin(command: Command, plugin: Plugin) -> None:
    plugin("guest-data", "guest", DATASET_AND_ENCODER, datasets="guests = guest:GUESTS")
    plugin("guest-eyes", "guest", None, encoders="tiny = guest:Tiny")

    words = ("--dataset", "guests", "--encoder", "tiny", "--method", "zero-shot", "--json")
    done = command("run", *DEMO, *words)
    listed = {what: command("list", what).out for what in ("datasets", "encoders")}

    assert done.code == 0, done.err
    (record,) = done.records
    assert (record["dataset"], record["encoder"]) == ("guests", "tiny")
    assert record["weights_sha256"] == "tiny weights"
    assert record["logit_scale"] == 10
    assert record["versions"]["guest-data"] == "1.5"
    assert record["versions"]["guest-eyes"] == "1.5"
    assert "guest-data 1.5" in listed["datasets"]
    assert "guest-eyes 1.5" in listed["encoders"]
    assert "A random projection." in listed["encoders"]


def test_two_encoders_with_one_name(command: Command, plugin: Plugin) -> None:
    plugin("guest-data", "guest", DATASET_AND_ENCODER, encoders="demo = guest:Tiny")

    done = command("run", *DEMO, "--method", "zero-shot", "--encoder", "demo")

    assert done.code == 2
    assert "guest-data 1.5 (guest:Tiny)" in done.err
    assert "susx-bench" in done.err


def test_what_is_registered_here_can_be_used() -> None:
    for registry in REGISTRIES:
        for name in registry.names():
            assert registry.get(name)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--dataset", "control"), "a folder of that name: write ./control for it."),
        (("--dataset", "pets/images"), "a folder of that name: write ./pets/images for it."),
        (("--dataset", "org/pets@main"), "on the hub is hf:org/pets@main"),
        (("--method", "mine"), "a file of that name: write --method ./mine.py:CLASS."),
    ],
)
def test_a_path_written_as_a_name_is_told(
    words: tuple[str, ...], hint: str, command: Command, tmp_path: Path
) -> None:
    for folder in ("control", "pets/images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mine.py").write_text("")
    rest = () if "--method" in words else ("--method", "zero-shot")

    done = command("run", "--setting", "name-only", "--encoder", "demo", *rest, *words)

    assert done.code == 2
    assert hint in done.err
    assert len(done.err.strip().splitlines()) == 1
