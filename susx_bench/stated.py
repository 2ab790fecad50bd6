"""Read attributes of a class from its file, without importing it.

Names, citations and regimes are plain values in the body of a class. A table of them needs no
import of the libraries that the class computes with.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_SETS = ("frozenset", "set")


def stated(module: str, name: str, attribute: str) -> Any:
    """The value that a class or one of its parents assigns to an attribute.

    Args:
        module: The class's module. Neither it nor a package around it is imported.
        name: The class.
        attribute: The attribute: assigned in the body of the class, or a property that chooses one
            of two plain values by a flag; then the value is that of a new instance. ``__doc__`` is
            the docstring of the class itself.

    Raises:
        LookupError: If no Python file assigns it a plain value.
    """
    for statement in _file(module).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            if attribute == "__doc__":
                return ast.get_docstring(statement, clean=False)
            for line in statement.body:
                if (value := _assigned(line, attribute)) is not None:
                    return _plain(value)
                if isinstance(line, ast.FunctionDef) and line.name == attribute:
                    flag, if_set, if_not = _choice(line)
                    return _plain(if_set if stated(module, name, flag) else if_not)
            for base in statement.bases:
                if isinstance(base, ast.Name) and base.id != "ABC":
                    return stated(module, base.id, attribute)
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    return stated(statement.module, alias.name, attribute)
    raise LookupError(f"{module}:{name} does not say its {attribute}")


def _assigned(line: ast.stmt, attribute: str) -> ast.expr | None:
    """The value that a statement assigns to an attribute; None if it assigns none."""
    if isinstance(line, ast.AnnAssign):
        targets: list[ast.expr] = [line.target]
    elif isinstance(line, ast.Assign):
        targets = line.targets
    else:
        return None
    named = any(isinstance(target, ast.Name) and target.id == attribute for target in targets)
    return line.value if named else None


def _choice(function: ast.FunctionDef) -> tuple[str, ast.expr, ast.expr]:
    """The flag of a property ``return A if self.flag else B``, A and B.

    Raises:
        LookupError: If the function is something else.
    """
    docstring = ast.get_docstring(function) is not None
    match function.decorator_list, function.body[docstring:]:
        case (
            [ast.Name(id="property")],
            [ast.Return(ast.IfExp(ast.Attribute(ast.Name(id="self"), flag), if_set, if_not))],
        ):
            return flag, if_set, if_not
    raise LookupError(f"{function.name} is computed")


def _plain(value: ast.expr) -> Any:
    """The value of a literal, or of a set of literals."""
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in _SETS:
        return frozenset(_plain(value.args[0])) if value.args else frozenset()
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise LookupError(f"{ast.unparse(value)} is no plain value") from error


@cache
def _file(module: str) -> ast.Module:
    """The parsed text of a module, which is located as an import locates it."""
    first, *others = module.split(".")
    spec = find_spec(first)
    for depth in range(len(others)):
        if spec is None:
            break
        place = spec.submodule_search_locations
        spec = PathFinder.find_spec(".".join([first, *others[: depth + 1]]), place)
    if spec is None or not spec.has_location or not str(spec.origin).endswith(".py"):
        raise LookupError(f"{module} has no file of Python text")
    try:
        return ast.parse(Path(str(spec.origin)).read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise LookupError(f"{module} cannot be read: {error}") from error
