"""Write a small package with a new method, to start from."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from susx_bench.errors import OptionError, OutputError
from susx_bench.registry import METHODS

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=64"]  # the first that installs editable from this file alone
build-backend = "setuptools.build_meta"

[project]
name = "prototypes"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["susx-bench"]

[project.entry-points."susx_bench.methods"]
prototypes = "MODULE:Prototypes"

[tool.setuptools]
py-modules = ["MODULE"]

[tool.pytest.ini_options]
testpaths = ["test_MODULE.py"]
"""

_METHOD = '''\
"""Prototypes: class texts and the mean support image of each class."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from susx_bench import Axis, Context, LinearMethod, SearchSpace, Terms
from torch import Tensor


@dataclass
class Prototypes(LinearMethod):
    r"""CLIP's logits, and the cosines with the mean support images :math:`M` of the classes.

    .. math:: s f W^\\top + \\alpha s f M^\\top

    Attributes:
        alpha: Weight of the mean images, >= 0; 0 is zero-shot.

    Source:
        Snell et al., *Prototypical Networks*, NeurIPS 2017, arXiv:1703.05175, equation 1.
    """

    name: ClassVar[str] = "prototypes"
    reference: ClassVar[str] = "snell2017prototypical"

    alpha: float = 1.0

    def fit(self, context: Context) -> None:
        self._context = context
        members = F.one_hot(context.support_labels, context.num_classes).to(context.text.dtype)
        self._means = F.normalize(members.T @ context.support, dim=-1)

    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        images = self._context.logit_scale * prepared[0]
        return Terms(images @ self._context.text.T, {"alpha": images @ self._means.T})

    def space(self, context: Context) -> SearchSpace:
        return SearchSpace((Axis.even("alpha", 0.1, 10.1, 100, weight=True),), source="mine")
'''

_TEST = '''\
"""The contract that every method passes, and what is known about this one."""

import torch
from MODULE import Prototypes
from susx_bench.testing import MethodContract
from susx_bench.testing.task import make_context, unit


class TestPrototypes(MethodContract):
    method = Prototypes


def test_without_weight_it_is_zero_shot() -> None:
    context, images = make_context(), unit(7, 16, seed=1)
    method = Prototypes(alpha=0.0)
    method.fit(context)

    torch.testing.assert_close(method.logits(images), 20 * images @ context.text.T)
'''


class Written(NamedTuple):
    """A package that was written.

    Attributes:
        folder: Its folder.
        method: The file of its method and the class in it, as ``--method`` takes them.
        test: The file of its tests.
    """

    folder: Path
    method: str
    test: Path


def new_method(name: str, parent: Path) -> Written:
    """Write a package with a method, a test and an entry point.

    Args:
        name: Name of the method, of the package and of its folder.
        parent: Folder in which to make it.

    Raises:
        OptionError: If the name cannot be used, or is taken.
        OutputError: If the folder exists already, or cannot be written.
    """
    module = name.replace("-", "_")
    _check(name, module)
    class_name = "".join(part.capitalize() for part in name.split("-"))
    folder = parent / name
    files = {
        "pyproject.toml": _PYPROJECT,
        f"{module}.py": _METHOD,
        f"test_{module}.py": _TEST,
    }
    try:
        folder.mkdir()
        for file, text in files.items():
            renamed = text.replace("MODULE", module).replace("Prototypes", class_name)
            (folder / file).write_text(re.sub(r"\bprototypes\b", name, renamed), encoding="utf-8")
    except FileExistsError as error:
        raise OutputError(
            f"{folder} is there already; nothing was written. Choose another name, or remove it."
        ) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
    return Written(folder, f"./{name}/{module}.py:{class_name}", folder / f"test_{module}.py")


def _check(name: str, module: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise OptionError(
            f"'{name}' cannot be the name of a method: use lower-case letters and digits, from a "
            "letter on, with single hyphens between them, such as my-method."
        )
    if name in METHODS.names():
        taken = " and ".join(map(str, METHODS.origins(name)))
        raise OptionError(f"method '{name}' is there already: {taken}. Choose another name.")
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise OptionError(f"'{name}' is a word of Python's own. Choose another name.")
    try:
        package = distribution(name).name
    except PackageNotFoundError:
        package = ""
    if package or module in sys.stdlib_module_names or importlib.util.find_spec(module):
        raise OptionError(
            f"a package or module called '{package or module}' is installed already. Choose "
            "another name."
        )
