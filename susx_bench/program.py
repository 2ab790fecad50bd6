"""The program text behind a class: its file or notebook cell, and all of the user's that it uses.

A record says which text its numbers come from. That is what Python has in memory, which is not
always what a file holds by now: a module stays as it was imported until it is imported again.
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
"""What modules were imported from, by the identity of their spec; a reload makes another."""
_DATA: dict[str, dict[str, str]] = {}
"""Hashes of the data files that modules of `run_file` name, from when they ran."""


def sha256_of(loaded: type | ModuleType) -> str:
    """sha256 of the text that a class or a module was made from; empty where there is none.

    For a class of a file it is the file's hash. Where the file imports other files that are not
    installed packages, or are of the same package, it is a hash over all of them. For a class that
    was typed it is that of its cell, or of its compiled code where nobody kept the text; what its
    functions name from other cells and files is added. So are the data files that any of these
    texts names, see `susx_bench.reads.named_files`.
    """
    pieces = _pieces(loaded)
    if set(pieces) == {""}:
        return pieces[""]
    return _sha256(json.dumps(sorted(pieces.items())).encode())


def watch(loaded: type | ModuleType) -> None:
    """Take note of the data files that a class's functions open, for `unnamed`."""
    for place in _places(loaded):
        watch_file(place)


def unnamed(loaded: type | ModuleType) -> list[Path]:
    """Data files that a class has opened and no text names, so that no hash follows them."""
    known = {path.resolve() for path in _pieces(loaded).files}
    opened = {path.resolve() for path in opened_by(_places(loaded))}
    system = tuple(map(Path, ("/proc", "/sys", "/dev", "/etc")))
    return sorted(
        path
        for path in opened - known
        if path.is_file() and not _is_installed(path) and not any(map(path.is_relative_to, system))
    )


def _places(loaded: type | ModuleType) -> set[str]:
    """What the code of a class or a module calls its files."""
    module = _file_module(loaded)
    own = [] if isinstance(loaded, ModuleType) else _functions(loaded)
    return {*([str(_path(module))] if module else []), *(f.__code__.co_filename for f in own)}


def used(loaded: type | ModuleType) -> list[ModuleType]:
    """The imported modules whose text `sha256_of` reads."""
    own = _file_module(loaded)
    others = [sys.modules[name] for name in _pieces(loaded) if name in sys.modules]
    return [own, *others] if own else others


def edited(loaded: type | ModuleType) -> list[Path]:
    """Files behind a class or a module that are not what runs any more."""
    return [
        path
        for module in used(loaded)
        if (path := _path(module))
        and not (_as_imported(module) and (module.__name__ != _home(loaded) or _is_of(loaded)))
    ]


def run_file(name: str, file: Path, content: bytes) -> ModuleType:
    """Make a module of a file's content, under a name in `sys.modules`.

    Raises:
        Exception: Whatever the file raises; no module is left then.
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
    """Whether a data file that a module of `run_file` names is another than when it ran."""
    return _DATA.get(module.__name__) != _data(module)


def _data(module: ModuleType) -> dict[str, str]:
    """Hashes of the data files that a module and those that it uses name."""
    return {name: digest for name, digest in _pieces(module).items() if name.startswith("file ")}


class _Pieces(dict[str, str]):
    """Hashes of texts, by the name of the module or of what was typed; its own has none.

    Attributes:
        files: The data files among them, which go by their path.
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
    """The module that a class, a function or a module is of, where that has a file."""
    if isinstance(loaded, ModuleType):
        return loaded if _path(loaded) else None
    module = sys.modules.get(getattr(loaded, "__module__", None) or "")
    if module is None or not _path(module):
        return None
    places = [Path(each.__code__.co_filename) for each in _functions(loaded)]
    return module if not places or any(place.is_file() for place in places) else None


def _is_of(loaded: type | ModuleType) -> bool:
    """Whether a class has the functions of its module's text: not if that was imported again."""
    module = _file_module(loaded)
    if isinstance(loaded, ModuleType) or module is None:
        return True
    mine = {_text(each.__code__) for each in _functions(loaded) if _is_in(each, module)}
    return vars(module).get(loaded.__name__) is loaded or mine <= _texts(_imported(module))


def _add_module(pieces: _Pieces, module: ModuleType, top: str, called: str) -> None:
    """Add the text of a module and of those that it imports."""
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
            # Imported when a function runs, and not yet.
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
    """Names that may be modules, of all import statements of a text."""
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
    """Add what was typed: the text of a class or a function, and what it names from elsewhere."""
    if name in pieces:
        return
    functions = _functions(value)
    pieces[name] = _typed_sha256(value, functions)
    named = {
        word: function.__globals__[word]
        for function in functions
        for word in sorted(_words(function.__code__))
        if word in function.__globals__
    }
    for parent in value.__mro__[1:] if isinstance(value, type) else ():
        named.setdefault(parent.__qualname__, parent)
    texts = {text for function in functions for text in _texts_of(function.__code__)}
    texts |= {other for other in named.values() if isinstance(other, str)}
    pieces.add_named(texts, Path.cwd() / "typed.py")
    for word, other in named.items():
        if isinstance(other, ModuleType | type | FunctionType):
            module = _file_module(other)
            if module is not None:
                if _is_users(module, ""):
                    _add_module(pieces, module, "", module.__name__)
            elif getattr(other, "__module__", None) == value.__module__:
                _add_typed(pieces, other, f"typed {word}")
        elif isinstance(other, str | int | float | tuple | frozenset | list | dict | set):
            pieces[f"typed {word}"] = _sha256(repr(_constant(other)).encode())
        elif hasattr(other, "__array__"):
            held = other.detach().cpu() if hasattr(other, "detach") else other
            pieces[f"typed {word}"] = _sha256(held.__array__().tobytes())


def _typed_sha256(value: Any, functions: list[FunctionType]) -> str:
    place = functions[0].__code__.co_filename if functions else ""
    if lines := linecache.getlines(place):
        return _sha256("".join(lines).encode())
    return _sha256(repr(_compiled_parts(value, functions)).encode())


def _compiled_parts(value: Any, functions: list[FunctionType]) -> list[object]:
    values = {
        name: _constant(each)
        for name, each in vars(value).items()
        if isinstance(each, str | int | float | tuple | frozenset) and name != "__module__"
    }
    return [sorted(values.items()), [_compiled(function.__code__) for function in functions]]


def _functions(value: Any) -> list[FunctionType]:
    """The functions of a class, or the function itself, without what decorates them."""
    some = vars(value).values() if isinstance(value, type) else [value]
    bare = (getattr(each, "__func__", getattr(each, "fget", each)) for each in some)
    found = (inspect.unwrap(each) for each in bare if callable(each))
    return [each for each in found if isinstance(each, FunctionType)]


def _words(code: CodeType) -> set[str]:
    """Names that a function and those inside it look up."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names}.union(*map(_words, inner))


def _texts_of(code: CodeType) -> set[str]:
    """Texts in a function and in those inside it."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    own = {each for each in code.co_consts if isinstance(each, str)}
    return own.union(*map(_texts_of, inner))


def _imported(module: ModuleType) -> bytes:
    """The text that a module in memory was made from.

    Kept from the first time that somebody asks. If the file is not what is in memory by then, what
    Python compiled stands for it.
    """
    key = module.__spec__ or module
    if id(key) not in _IMPORTED:
        content = read_bytes(Path(str(_path(module))))
        if not _agrees(module, content):
            content = repr(_in_memory(module)).encode()
        _IMPORTED[id(key)] = (key, content)
    return _IMPORTED[id(key)][1]


def _as_imported(module: ModuleType) -> bool:
    """Whether a module's file is what the module was made from."""
    try:
        return read_bytes(Path(str(_path(module)))) == _imported(module)
    except OSError:
        return False


def _agrees(module: ModuleType, content: bytes) -> bool:
    """Whether the functions and the plain values of a module are those of a text."""
    functions = [each for value in _own(module) for each in _functions(value)]
    inside = {_text(each.__code__) for each in functions if _is_in(each, module)}
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return False
    return inside <= _texts(content) and _same_values(tree, module, _changing(tree))


def _changing(tree: ast.Module) -> set[str]:
    """Names that the program itself sets anew."""
    found = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    return found | {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }


def _same_values(
    body: ast.Module | ast.ClassDef, owner: ModuleType | type, changing: set[str]
) -> bool:
    """Whether names that a text sets to plain values have them in memory."""
    last: dict[str, ast.expr] = {}
    for node in body.body:
        if isinstance(node, ast.ClassDef):
            inner = vars(owner).get(node.name)
            if isinstance(inner, type) and not _same_values(node, inner, changing):
                return False
        elif isinstance(node, ast.Assign):
            last |= {each.id: node.value for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            last[node.target.id] = node.value
    for name in last.keys() - changing:
        try:
            said = ast.literal_eval(last[name])
        except (ValueError, TypeError, SyntaxError):
            continue
        held = vars(owner).get(name)
        if type(held) is type(said) and repr(held) != repr(said):
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
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _nested(each)


def _compiled(code: CodeType) -> list[object]:
    """What decides what a function does: instructions, names and constants, also of inner ones."""
    constants = [_constant(value) for value in code.co_consts]
    return [code.co_name, code.co_code.hex(), list(code.co_names), constants]


def _constant(value: object) -> object:
    """A constant as text that is the same in every process: a set has no order of its own."""
    if isinstance(value, CodeType):
        return _compiled(value)
    return sorted(map(repr, value)) if isinstance(value, frozenset | set) else repr(value)


def _path(module: ModuleType) -> Path | None:
    """The Python file of a module, where it has one."""
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
