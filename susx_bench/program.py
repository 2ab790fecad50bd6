"""Hash the program text behind a class: its file or notebook cell, and the user's code it uses.

A record names the text that gave its numbers: the text that Python has in memory. A file may have
changed since, because a module stays as it was imported until it is imported again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import inspect
import json
import linecache
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from susx_bench.reads import file_sha256, named_files, opened_by
from susx_bench.reads import watch as watch_file
from susx_bench.records.paths import read_bytes

_IMPORTED: dict[int, tuple[object, bytes]] = {}
"""Texts of imported modules, by the identity of their spec, which a reload replaces."""
_DATA: dict[str, dict[str, str]] = {}
"""Hashes of the data files that modules of `run_file` name, from when they ran."""


def sha256_of(loaded: type | ModuleType) -> str:
    """Hash the text that a class or a module was made from; empty if it has no text.

    For a class in a file it is the file's sha256. If the file imports other files of the same
    package or outside installed packages, it is a hash over all of them. For a class that was typed
    it is the hash of its notebook cell, or of its compiled code if the text was not kept, with
    everything that its functions use from other cells and files. Data files that any of these texts
    names are added, see `susx_bench.reads.named_files`.
    """
    pieces = _pieces(loaded)
    if set(pieces) == {""}:
        return pieces[""]
    return _sha256(json.dumps(sorted(pieces.items())).encode())


def watch(loaded: type | ModuleType) -> None:
    """Record the data files that a class's functions open, for `unnamed`."""
    for place in _places(loaded):
        watch_file(place)


def unnamed(loaded: type | ModuleType) -> list[Path]:
    """Data files that a class has opened but no text names, so that no hash covers them."""
    known = {path.resolve() for path in _pieces(loaded).files}
    opened = {path.resolve() for path in opened_by(_places(loaded))}
    system = tuple(map(Path, ("/proc", "/sys", "/dev", "/etc")))
    return sorted(
        path
        for path in opened - known
        if path.is_file() and not _is_installed(path) and not any(map(path.is_relative_to, system))
    )


def _places(loaded: type | ModuleType) -> set[str]:
    """The file names in the code of a class or a module."""
    module = _file_module(loaded)
    own = [] if isinstance(loaded, ModuleType) else _functions(loaded)
    return {*([str(_path(module))] if module else []), *(f.__code__.co_filename for f in own)}


def used(loaded: type | ModuleType) -> list[ModuleType]:
    """The imported modules whose text `sha256_of` reads."""
    module = _file_module(loaded)
    others = [sys.modules[name] for name in _pieces(loaded) if name in sys.modules]
    return [module, *others] if module else others


def edited(loaded: type | ModuleType) -> list[Path]:
    """Files behind a class or a module that have changed since they were imported."""
    return [
        path
        for module in used(loaded)
        if (path := _path(module))
        and not (_as_imported(module) and (module.__name__ != _home(loaded) or _is_of(loaded)))
    ]


def run_file(name: str, file: Path, content: bytes) -> ModuleType:
    """Run a file's content as a module, and register it under a name in `sys.modules`.

    Raises:
        Exception: Any exception of the file; no module is registered then.
    """
    spec = importlib.machinery.ModuleSpec(name, None, origin=str(file))
    module = ModuleType(name)
    module.__file__, module.__spec__, module.__package__ = str(file), spec, ""
    sys.modules[name] = module
    _IMPORTED[id(spec)] = (spec, content)
    watch_file(str(file))
    try:
        exec(compile(content, str(file), "exec"), module.__dict__)  # as an import does
        _DATA[name] = _data(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def data_changed(module: ModuleType) -> bool:
    """Whether a data file that a module of `run_file` names has changed since the module ran."""
    return _DATA.get(module.__name__) != _data(module)


def _data(module: ModuleType) -> dict[str, str]:
    """Hashes of the data files that a module and those that it uses name."""
    return {name: digest for name, digest in _pieces(module).items() if name.startswith("file ")}


class _Pieces(dict[str, str]):
    """Hashes of texts, by the name of the module or typed object; the own text has no name.

    Attributes:
        files: The data files among them, by path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: set[Path] = set()

    def add_named(self, texts: Iterable[str], program: Path) -> None:
        """Add the data files that texts of a program name."""
        for name, path in named_files(texts, program).items():
            self[f"file {name}"] = file_sha256(path)
            self.files.add(path)


def _pieces(loaded: type | ModuleType) -> _Pieces:
    pieces = _Pieces()
    module = _file_module(loaded)
    if module is None:
        _add_typed(pieces, loaded, "")
        return pieces
    _add_module(pieces, module, _home(loaded).partition(".")[0], "")
    if not _is_of(loaded):
        pieces[""] = _sha256(repr(_compiled_parts(loaded, _functions(loaded))).encode())
    return pieces


def _home(loaded: type | ModuleType) -> str:
    return loaded.__name__ if isinstance(loaded, ModuleType) else loaded.__module__


def _file_module(loaded: object) -> ModuleType | None:
    """The module of a class, a function or a module; None if it has no file."""
    if isinstance(loaded, ModuleType):
        return loaded if _path(loaded) else None
    module = sys.modules.get(getattr(loaded, "__module__", None) or "")
    if module is None or not _path(module):
        return None
    places = [Path(function.__code__.co_filename) for function in _functions(loaded)]
    return module if not places or any(place.is_file() for place in places) else None


def _is_of(loaded: type | ModuleType) -> bool:
    """Whether a class has the functions of its module's text; False after a reload."""
    module = _file_module(loaded)
    if isinstance(loaded, ModuleType) or module is None:
        return True
    inside = [function for function in _functions(loaded) if _is_in(function, module)]
    texts = {_text(function.__code__) for function in inside}
    return vars(module).get(loaded.__name__) is loaded or texts <= _texts(_imported(module))


def _add_module(pieces: _Pieces, module: ModuleType, top: str, called: str) -> None:
    """Add the text of a module and of the modules that it imports."""
    if called in pieces:
        return
    content = _imported(module)
    pieces[called] = _sha256(content)
    pieces.add_named(_strings(content), Path(str(_path(module))))
    _add_imports(pieces, content, module.__package__ or "", top)


def _add_imports(pieces: _Pieces, content: bytes, package: str, top: str) -> None:
    for name in _imports(content, package):
        module = sys.modules.get(name)
        if module is not None:
            if _is_users(module, top):
                _add_module(pieces, module, top, name)
        elif name not in pieces and (path := _found(name, top)):
            # Not imported yet: a function imports it when it runs.
            later = read_bytes(path)
            pieces[name] = _sha256(later)
            pieces.add_named(_strings(later), path)
            inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
            _add_imports(pieces, later, inside, top)


def _strings(content: bytes) -> set[str]:
    """The texts in a program."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def _imports(content: bytes, package: str) -> Iterator[str]:
    """Names in the import statements of a text that may be modules."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            base = parts[: len(parts) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
        for name in names:
            steps = name.split(".")
            yield from (".".join(steps[: i + 1]) for i in range(len(steps)) if all(steps[: i + 1]))


def _add_typed(pieces: _Pieces, value: Any, name: str) -> None:
    """Add the text of a typed class or function, and everything that it uses from elsewhere."""
    if name in pieces:
        return
    functions = _functions(value)
    pieces[name] = _typed_sha256(value, functions)
    globals_used = {
        word: function.__globals__[word]
        for function in functions
        for word in sorted(_words(function.__code__))
        if word in function.__globals__
    }
    for parent in value.__mro__[1:] if isinstance(value, type) else ():
        globals_used.setdefault(parent.__qualname__, parent)
    texts = {text for function in functions for text in _texts_of(function.__code__)}
    texts |= {held_value for held_value in globals_used.values() if isinstance(held_value, str)}
    pieces.add_named(texts, Path.cwd() / "typed.py")
    for word, held_value in globals_used.items():
        if isinstance(held_value, ModuleType | type | FunctionType):
            module = _file_module(held_value)
            if module is not None:
                if _is_users(module, ""):
                    _add_module(pieces, module, "", module.__name__)
            elif getattr(held_value, "__module__", None) == value.__module__:
                _add_typed(pieces, held_value, f"typed {word}")
        elif isinstance(held_value, str | int | float | tuple | frozenset | list | dict | set):
            pieces[f"typed {word}"] = _sha256(repr(_constant(held_value)).encode())
        elif hasattr(held_value, "__array__"):
            array = held_value.detach().cpu() if hasattr(held_value, "detach") else held_value
            pieces[f"typed {word}"] = _sha256(array.__array__().tobytes())


def _typed_sha256(value: Any, functions: list[FunctionType]) -> str:
    place = functions[0].__code__.co_filename if functions else ""
    if lines := linecache.getlines(place):
        return _sha256("".join(lines).encode())
    return _sha256(repr(_compiled_parts(value, functions)).encode())


def _compiled_parts(value: Any, functions: list[FunctionType]) -> list[object]:
    values = {
        name: _constant(attribute)
        for name, attribute in vars(value).items()
        if isinstance(attribute, str | int | float | tuple | frozenset) and name != "__module__"
    }
    return [sorted(values.items()), [_compiled(function.__code__) for function in functions]]


def _functions(value: Any) -> list[FunctionType]:
    """The functions of a class, or the function itself, without decorators."""
    attributes = vars(value).values() if isinstance(value, type) else [value]
    bare = (getattr(each, "__func__", getattr(each, "fget", each)) for each in attributes)
    unwrapped = (inspect.unwrap(each) for each in bare if callable(each))
    return [each for each in unwrapped if isinstance(each, FunctionType)]


def _words(code: CodeType) -> set[str]:
    """Names that a function and those inside it look up."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names}.union(*map(_words, inner))


def _texts_of(code: CodeType) -> set[str]:
    """Texts in a function and in those inside it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    texts = {constant for constant in code.co_consts if isinstance(constant, str)}
    return texts.union(*map(_texts_of, inner))


def _imported(module: ModuleType) -> bytes:
    """The text that a module in memory was made from.

    It is cached on the first call. If the file has changed by then, the compiled code stands for
    the text.
    """
    key = module.__spec__ or module
    if id(key) not in _IMPORTED:
        content = read_bytes(Path(str(_path(module))))
        if not _agrees(module, content):
            content = repr(_in_memory(module)).encode()
        _IMPORTED[id(key)] = (key, content)
    return _IMPORTED[id(key)][1]


def _as_imported(module: ModuleType) -> bool:
    """Whether a module's file still has the text that the module was made from."""
    try:
        return read_bytes(Path(str(_path(module)))) == _imported(module)
    except OSError:
        return False


def _agrees(module: ModuleType, content: bytes) -> bool:
    """Whether a module has the functions and the plain values of a text."""
    functions = [function for value in _own(module) for function in _functions(value)]
    inside = {_text(function.__code__) for function in functions if _is_in(function, module)}
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return False
    return inside <= _texts(content) and _same_values(tree, module, _changing(tree))


def _changing(tree: ast.Module) -> set[str]:
    """Global names that the program reassigns while it runs."""
    names = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    return names | {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }


def _same_values(
    body: ast.Module | ast.ClassDef, owner: ModuleType | type, changing: set[str]
) -> bool:
    """Whether names have in memory the plain values that a text gives them."""
    last: dict[str, ast.expr] = {}
    for node in body.body:
        if isinstance(node, ast.ClassDef):
            inner = vars(owner).get(node.name)
            if isinstance(inner, type) and not _same_values(node, inner, changing):
                return False
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            last |= dict.fromkeys(names, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            last[node.target.id] = node.value
    for name in last.keys() - changing:
        try:
            written = ast.literal_eval(last[name])
        except (ValueError, TypeError, SyntaxError):
            continue
        in_memory = vars(owner).get(name)
        if type(in_memory) is type(written) and repr(in_memory) != repr(written):
            return False
    return True


def _in_memory(module: ModuleType) -> list[object]:
    values = sorted(
        (name, _constant(value))
        for name, value in vars(module).items()
        if isinstance(value, str | int | float | tuple | frozenset) and not name.startswith("__")
    )
    return [values, [_compiled_parts(value, _functions(value)) for value in _own(module)]]


def _own(module: ModuleType) -> list[Any]:
    """The classes and functions that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type | FunctionType) and value.__module__ == module.__name__
    ]


def _is_in(function: FunctionType, module: ModuleType) -> bool:
    return function.__code__.co_filename == module.__file__


def _texts(content: bytes) -> set[str]:
    """Each function of a text, compiled."""
    try:
        return {_text(code) for code in _nested(compile(content, "", "exec"))}
    except (SyntaxError, ValueError):
        return set()


def _text(code: CodeType) -> str:
    return repr(_compiled(code))


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _compiled(code: CodeType) -> list[object]:
    """The behaviour of a function: its instructions, names, constants and inner functions."""
    constants = [_constant(value) for value in code.co_consts]
    return [code.co_name, code.co_code.hex(), list(code.co_names), constants]


def _constant(value: object) -> object:
    """A constant in a form that prints alike in every process: a set is sorted."""
    if isinstance(value, CodeType):
        return _compiled(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset | set) else repr(value)


def _path(module: ModuleType) -> Path | None:
    """The Python file of a module; None if it has none."""
    file = getattr(module, "__file__", None)
    return Path(file) if file and file.endswith(".py") and Path(file).is_file() else None


def _is_users(module: ModuleType, top: str) -> bool:
    path = _path(module)
    return path is not None and _may_be_edited(module.__name__, path, top)


def _may_be_edited(name: str, path: Path, top: str) -> bool:
    """Whether a file is of the package `top`, or neither installed nor of Python or of ours."""
    first = name.partition(".")[0]
    if first == top:
        return True
    if first == "susx_bench" or first in sys.stdlib_module_names:
        return False
    return not _is_installed(path)


def _is_installed(path: Path) -> bool:
    """Whether a file is of an installed package or of Python."""
    installed = {"site-packages", "dist-packages"} & {*path.parts}
    return bool(installed) or path.is_relative_to(sysconfig.get_path("stdlib"))


def _found(name: str, top: str) -> Path | None:
    """The file of a module that is not imported."""
    parent = name.rpartition(".")[0]
    places = getattr(sys.modules.get(parent), "__path__", []) if parent else None
    try:
        spec = importlib.machinery.PathFinder.find_spec(name, places)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    return path if _may_be_edited(name, path, top) else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
