"""Random input in the place of every file that a user gives: a right result, or one line.

The short tests try little of each kind, always the same; those marked `slow` try much more.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image
from safetensors.torch import save, save_file
from torch import Tensor

from susx_bench.data.decode import FORMATS, BadImageError, decode
from susx_bench.errors import BenchError, BundleError, DriftError
from susx_bench.features.bundle import BundleTask
from susx_bench.prompts.kinds import class_prompts
from susx_bench.records.files import sha256_bytes, sha256_json
from susx_bench.records.record import Record
from susx_bench.records.store import Predictions, write
from susx_bench.support.folder import SupportFolder
from susx_bench.support.images import BuiltSupport
from susx_bench.support.manifest import KEPT, Row
from susx_bench.support.recipe import Recipe
from susx_bench.support.request import Request
from tests.conftest import META, Bundle, Command, Finished
from tests.data.made import encoded, photo
from tests.prompts.test_build import SPEC
from tests.records.example import make_record
from tests.support.test_folder import NAMES, folder, recipe, spec

__all__ = ["folder"]  # a fixture

TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "\ud800",
        "a\udfff",
        "\0",
        "\x1b[2J",
        "=cmd",
        "[red]",
        "a\nb",
        "\x85",
        "🐈",
        "\u202eb",
        "",
        " ",
    ]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30, 1e308, -0.0, 0.5])
)
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES: SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
DEEP = st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])


def budget(count: int) -> pytest.MarkDecorator:
    """A test that tries `count` inputs, and 20 times as many where it is asked for slow ones."""

    def many(number: int) -> ParameterSet:
        return pytest.param(number, id=f"slow-{number}", marks=pytest.mark.slow)

    return pytest.mark.parametrize("tries", [count, many(20 * count)])


def attack(tries: int, inputs: SearchStrategy[Any], check: Callable[[Any], object]) -> None:
    """Give random inputs to `check`, which raises nothing but a `BenchError` of one line.

    Where it runs a command it returns the exit code.
    """
    tried: dict[str, int] = {"refused": 0, "taken": 0}

    @settings(max_examples=tries, deadline=None, derandomize=True, database=None)
    @given(inputs)
    def one(value: Any) -> None:
        try:
            tried["refused" if check(value) else "taken"] += 1
        except (BenchError, BadImageError):
            tried["refused"] += 1

    one()
    print(tried)  # noqa: T201 - with -s, or where the test fails


def fits(done: Finished) -> int:
    """A command ended as the contract of exit codes has it."""
    assert done.code in (0, 2, 3), done
    assert "Traceback" not in done.err
    if done.code == 2:
        assert done.err.count("susx-bench: ") == 1, done.err
    return done.code


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some changed, cut out, cut off, doubled or put in between."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(made)))
        size = draw(st.sampled_from([1, 1, 2, 4, 8, 100]))
        match draw(st.sampled_from(["change", "cut", "end", "double", "put"])):
            case "change":
                made[at : at + size] = draw(st.binary(min_size=size, max_size=size))
            case "cut":
                del made[at : at + size]
            case "end":
                del made[at:]
            case "double":
                made[at:at] = made[at : at + size]
            case _:
                made[at:at] = draw(st.binary(max_size=size))
    return bytes(made)


def alike(value: Any) -> SearchStrategy[Any]:
    """Values of the type of another, as a stranger would write them."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers() | st.sampled_from([0, 1, 2, 3, 5, -1, 2**31, 2**63, 10**12, 10**30])
    if isinstance(value, float):
        return st.floats() | st.sampled_from([0.0, 100.0, 1e308, 5e-324, -0.0])
    if isinstance(value, list | tuple):
        each = st.one_of([alike(item) for item in value] or [PLAIN])
        return st.lists(each, max_size=6) | st.tuples(*map(alike, value)).map(list)
    if isinstance(value, dict):
        return replaced(value, st.sampled_from([*value, "else"]))
    if isinstance(value, str):
        return TEXTS | st.just(value + "x") | st.just("x" * 1000)
    return PLAIN


@st.composite
def replaced(draw: st.DrawFn, values: Mapping[str, Any], names: SearchStrategy[str]) -> Any:
    """A tree like `values` in which a field or two hold something else, are gone or are unknown."""
    tree = dict(values)
    for name in draw(st.lists(names, min_size=1, max_size=2)):
        match draw(st.integers(0, 9)):
            case 0:
                tree.pop(name, None)
            case 1 | 2:
                tree[name] = draw(VALUES)
            case _:
                tree[name] = draw(alike(tree.get(name)))
    return tree


# Bundles

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32)
DTYPES += (torch.uint8, torch.bool, torch.complex64)  # type: ignore[assignment]


@st.composite
def other_tensors(draw: st.DrawFn, good: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a bundle, of which a few have another shape, type or content."""
    tensors = dict(good)
    more = ["support_views", "text_prompts", "spatial", "test_norms", "text_norms", "val_spatial"]
    for name in draw(st.lists(st.sampled_from([*tensors, *more]), min_size=1, max_size=2)):
        match draw(st.sampled_from(["gone", "made", "type", "value", "scaled"])):
            case "gone":
                tensors.pop(name, None)
            case "made":
                shape = draw(st.lists(st.sampled_from([0, 1, 2, 5, 16, 20, 70]), max_size=4))
                tensors[name] = torch.zeros(shape).to(draw(st.sampled_from(DTYPES)))
            case "type" if name in tensors and not tensors[name].is_complex():
                tensors[name] = tensors[name].to(draw(st.sampled_from(DTYPES)))
            case "value" if name in tensors and tensors[name].numel():
                tensors[name] = tensors[name].clone()
                values = [float("nan"), float("inf"), -1.0, 1e30, 0.0]
                if not tensors[name].is_floating_point():
                    values = [-1, 5, 10**6]
                with torch.no_grad():
                    place = draw(st.integers(0, tensors[name].numel() - 1))
                    try:
                        tensors[name].view(-1)[place] = draw(st.sampled_from(values))
                    except RuntimeError:  # a type that cannot hold it
                        continue
            case _ if name in tensors and tensors[name].is_floating_point():
                tensors[name] = tensors[name] * draw(st.sampled_from([0.0, 0.999, 1.01, -1, 7]))
    return tensors


def opened(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    task = BundleTask(path)
    assert task.test_size > 0
    assert len(task.classnames) >= 2
    for text in (task.dataset, task.encoder, *task.classnames):
        text.encode()


@budget(150)
def test_bundles_of_other_bytes(tries: int, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    content = save(tensors, metadata={"bundle": json.dumps(META)})
    length = int.from_bytes(content[:8], "little")
    head = mutated(content[: 8 + length]).map(lambda start: start + content[8 + length :])
    attack(tries, head | mutated(content), lambda new: opened(new, tmp_path / "b.safetensors"))


@budget(100)
def test_bundles_that_say_other_things(
    tries: int, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    fields = st.sampled_from(["dataset", "encoder", "logit_scale", "classnames", "else"])
    names = st.fixed_dictionaries({"classnames": st.lists(PLAIN, min_size=5, max_size=5)})
    meta = (replaced(META, fields) | names | VALUES).map(json.dumps) | DEEP | TEXTS

    def check(said: str) -> None:
        said = said.encode(errors="replace").decode()
        opened(save(tensors, metadata={"bundle": said}), tmp_path / "b.safetensors")

    attack(tries, meta, check)


@budget(100)
def test_bundles_of_other_tensors(tries: int, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    def check(changed: dict[str, Tensor]) -> None:
        kept = {name: value.contiguous() for name, value in changed.items()}
        opened(save(kept, metadata={"bundle": json.dumps(META)}), tmp_path / "b.safetensors")

    attack(tries, other_tensors(tensors), check)


# Suites

GOOD = {"name": "small", "title": "Small"}
RUN = {
    "method": ["zero-shot"],
    "features": ["toy.safetensors"],
    "shots": [1],
    "seed": [1],
    "order": [1],
    "tune": ["fixed"],
}
RUN_KEYS = st.sampled_from(
    [
        *("method", "setting", "dataset", "features", "encoder", "precision", "views", "draw"),
        *("prompts", "support", "shots", "seed", "tune", "official", "order", "batches"),
        *("image_column", "label_column", "classnames", "else"),
    ]
)
SUPPORT = {"kind": "sus-sd", "dataset": ["digits"], "steps": 1, "per_class": 1, "name": "../x"}


def toml(value: Any) -> str:
    """A value in TOML, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, int):
        return str(value)
    said = str(value).encode(errors="replace").decode()
    return '"' + "".join(f"\\U{ord(c):08x}" for c in said) + '"'


SHAPED = (
    st.lists(st.sampled_from(["zero-shot", "tipx", "digits", "demo", "single", "val", "sus-sd"]))
    | st.sampled_from(["few-shot", "name-only", "all", "64:4", "test", "../x", "a\0b", "x" * 300])
    | st.lists(st.sampled_from([0, 1, 2, -1, 2**31, 2**63, 10**30]), max_size=2)
    | st.lists(st.sampled_from(["1:1", "0:1", "9" * 50 + ":2", "toy.safetensors", "", "\0"]))
)


@budget(60)
def test_suites(tries: int, tensors: dict[str, Tensor], tmp_path: Path, command: Command) -> None:
    save_file(tensors, tmp_path / "toy.safetensors", metadata={"bundle": json.dumps(META)})
    changes = st.dictionaries(RUN_KEYS, SHAPED, min_size=1, max_size=2)
    run = changes.map(lambda new: RUN | new) | replaced(RUN, RUN_KEYS)
    runs = run.map(lambda new: GOOD | {"run": [new]})
    support = replaced(SUPPORT, st.sampled_from([*SUPPORT, "prompts", "seed", "guidance"]))
    supports = support.map(lambda new: GOOD | {"run": [RUN], "support": [new]})
    tops = replaced(GOOD | {"run": [RUN]}, st.sampled_from(["name", "title", "run", "support"]))
    lines = (runs | tops | supports).map(
        lambda tree: "\n".join(f"{key} = {toml(value)}" for key, value in tree.items())
    )
    whole = "\n".join(f"{key} = {toml(value)}" for key, value in {**GOOD, "run": [RUN]}.items())
    deep = DEEP.map(lambda brackets: f"run = {brackets}")
    texts = (lines | deep).map(str.encode) | mutated(whole.encode())

    def check(content: bytes) -> int:
        Path("s.toml").write_bytes(content)
        fits(command("leaderboard", "check", "./s.toml"))
        return fits(command("run", "--suite", "./s.toml"))

    attack(tries, texts, check)


# Lists that people write

ENTRY = st.tuples(
    st.sampled_from(["cat/0.png", "dog/1.png", "../x.png", "/etc/passwd", "cat/0.png\0"]) | PLAIN,
    st.sampled_from([0, 1, "1", 1.5, True]) | PLAIN,
    st.sampled_from(["cat", "dog", "owl"]) | PLAIN,
)
SPLIT_NAMES = st.sampled_from(["train", "val", "test", "validation"]) | TEXTS


@budget(100)
def test_split_files(tries: int, pets: Path, command: Command) -> None:
    good = {
        "train": [["cat/0.png", 0, "cat"], ["dog/1.png", 1, "dog"]],
        "test": [["dog/4.png", 1, "dog"], ["cat/3.png", 0, "cat"]],
    }
    tables = st.dictionaries(SPLIT_NAMES, st.lists(ENTRY | VALUES, max_size=4), max_size=3)
    trees = (
        tables
        | tables.map(lambda table: good | table)
        | st.lists(ENTRY, max_size=3).map(lambda more: good | {"train": more})
        | replaced(good, st.sampled_from(["train", "val", "test"]))
        | VALUES
    )
    texts = trees.map(json.dumps) | DEEP

    def check(text: str | bytes) -> int:
        Path("s.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return fits(command("data", "check", pets, "--split-file", "s.json"))

    attack(tries, texts | mutated(json.dumps(good).encode()), check)


@budget(150)
def test_prompt_files(tries: int, tmp_path: Path) -> None:
    good = {"zebra": ["a zebra"], "big cat": ["a cat"], "ant": ["an ant"]}
    names = st.sampled_from(["zebra", "big_cat", "big cat", "Ant"]) | TEXTS
    tables = st.dictionaries(names, st.lists(TEXTS, max_size=3) | VALUES, max_size=5)
    trees = tables | tables.map(lambda table: good | table) | VALUES

    def check(text: str | bytes) -> None:
        path = tmp_path / "CuPL_prompts_toy.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        read = class_prompts("cupl", SPEC, tmp_path)
        assert [len(texts) > 0 for texts in read] == [True] * 3
        "".join(text for texts in read for text in texts).encode()

    attack(tries, trees.map(json.dumps) | DEEP | mutated(json.dumps(good).encode()), check)


@budget(60)
def test_class_name_files(tries: int, pets: Path, command: Command) -> None:
    line = TEXTS | st.sampled_from(["cat", "dog", "owl", "", "\ufeff", "\x85", "\u2028", "x" * 999])
    texts = st.lists(line, max_size=5).map(lambda all_: "\n".join(all_).encode(errors="replace"))

    def check(content: bytes) -> int:
        Path("names.txt").write_bytes(content)
        return fits(command("data", "check", pets, "--classnames", "names.txt"))

    attack(tries, texts | mutated(b"cat\ndog\nowl\n"), check)


# Support sets

ROW = {
    "class_id": st.integers(-2, 4),
    "place": st.integers(-2, 3),
    "prompt": st.text(max_size=5),
    "source": st.sampled_from(["0/0", "", "x"]),
    "fate": st.sampled_from([KEPT, "", "timed out"]),
    "of": st.text(max_size=5),
    "file": st.sampled_from(
        ["", "images/00000/0000.png", "images/00001/0000.png", "images/9/9.png", "../x", "/x"]
    ),
    "sha256": st.sampled_from(["", "0" * 64, "x"]),
    "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
    "redrawn": st.integers(-1, 5),
    "score": st.none() | st.floats(),
}


@budget(30)
def test_manifests_under_their_right_hash(tries: int, folder: SupportFolder) -> None:
    good = [row.model_dump() for row in folder.rows()]

    def check(changes: list[tuple[int, dict[str, Any]]]) -> None:
        rows = [dict(row) for row in good]
        for place, new in changes:
            rows[place % len(rows)] |= new
        pictures = {path: path.read_bytes() for path in folder.path.glob("images/*/*")}
        folder.finish([Row.model_construct(**row) for row in rows])
        for path, content in pictures.items():
            path.write_bytes(content)
        support = BuiltSupport(folder.path, spec(*NAMES))
        assert set(support.labels.tolist()) == {0, 1, 2}
        for sample in support.samples:
            assert support.image(sample).mode == "RGB"

    change = st.tuples(st.integers(0, 9), st.fixed_dictionaries({}, optional=ROW))
    attack(tries, st.lists(change, min_size=1, max_size=3), check)


@budget(150)
def test_recipes(tries: int, folder: SupportFolder) -> None:
    path, sums = folder.path / "recipe.json", folder.path / "SHA256SUMS"
    before, good = sums.read_text(), json.loads(path.read_text())
    old = sha256_bytes(path.read_bytes())
    trees = replaced(good, st.sampled_from([*good, "else"])) | VALUES

    def check(text: str | bytes) -> None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        sums.write_text(before.replace(old, sha256_bytes(path.read_bytes())))
        Request.of(Recipe.read(path))
        BuiltSupport(folder.path, spec(*NAMES))

    attack(tries, trees.map(json.dumps) | DEEP | mutated(path.read_bytes()), check)


def test_a_recipe_as_it_was_written_is_taken(folder: SupportFolder) -> None:
    assert Request.of(Recipe.read(folder.path / "recipe.json")).kind == recipe().kind


# Records


@budget(150)
def test_records_under_their_right_checksum(tries: int, tmp_path: Path, command: Command) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text('name = "small"\ntitle = "Small"\n[[run]]\nmethod = ["tipx"]\n')
    good = json.loads(make_record().sealed().to_json())
    del good["checksum"]
    path = tmp_path / "leaderboards/records/small/toy/tipx-1.json"
    predictions = Predictions(np.array([0, 0, 1]), np.zeros(3, dtype=np.float32))
    boards = tries // 8

    def check(tree: Any) -> None:
        nonlocal boards
        write(path, make_record(), predictions)
        if isinstance(tree, dict):
            try:
                tree = {**tree, "checksum": sha256_json(tree)}
            except ValueError:  # NaN
                tree = {**tree, "checksum": "0" * 64}
        path.write_text(json.dumps(tree))
        Record.read(path).to_json().encode()
        fits(command("records", "merge", path.parent, "--into", tmp_path / "all"))
        shutil.rmtree(tmp_path / "all", ignore_errors=True)
        boards -= 1
        if boards > 0:
            fits(command("leaderboard", "build", suite))
            fits(command("leaderboard", "cite", suite))

    attack(tries, replaced(good, st.sampled_from([*good, "else"])) | VALUES, check)


def test_a_record_with_infinity_and_another_fault_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tipx-1.json"
    content = json.loads(make_record().sealed().to_json())
    path.write_text(json.dumps(content | {"accuracy": float("inf"), "batches": "x"}))

    with pytest.raises(DriftError, match="batches: String should match pattern"):
        Record.read(path)


# Images


@budget(60)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")  # of Pillow's, about what it reads
def test_images(kind: str, tries: int) -> None:
    content = encoded(photo(3).resize((12, 9)), kind)

    def check(changed: bytes) -> None:
        image = decode(changed)
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"

    head = mutated(content[:64]).map(lambda start: start + content[64:])
    attack(tries, mutated(content) | head, check)


# Folders


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for i in range(12):
        place = tmp_path / "pets" / ("cat", "dog", "owl")[i % 3] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(photo(i).resize((12, 12))))
    return tmp_path / "pets"


BYTES = st.binary(min_size=1, max_size=8)
ODD = BYTES | st.sampled_from(
    [
        *(
            b"\xff",
            b"a\nb",
            b"\x1b[2J",
            b"=cmd",
            b"x" * 255,
            b" ",
            b"-",
            b"--help",
            b".png",
            b"...",
        ),
        *("🐈".encode(), "ש\u202eלום".encode(), b"a.png", b"%", b"\xed\xa0\x80", b"CON", b"[red]"),
        *("ﬀ".encode(), "é".encode(), "e\u0301".encode(), b"train", b"test", b"0", b"1", b"[/]"),
    ]
)
NAME = ODD.map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_")).filter(
    lambda name: name not in (b".", b"..")
)


@budget(40)
def test_folders_of_odd_names(tries: int, tmp_path: Path, command: Command) -> None:
    pictures = [encoded(photo(i).resize((12, 12))) for i in range(12)]
    root = os.fsencode(tmp_path / "odd")
    few = ("--method", "zero-shot", "--setting", "few-shot", "--shots", 1, "--seed", 1)
    how = ("--encoder", "demo", "--views", 1, "--accelerator", "cpu", "--json")

    def check(names: tuple[bytes, list[bytes], bytes]) -> int:
        top, classes, file = names
        shutil.rmtree(root, ignore_errors=True)
        for number, name in enumerate(classes):
            place = os.path.join(root, top, name)  # noqa: PTH118 - paths that are no text
            os.makedirs(place, exist_ok=True)  # noqa: PTH103
            for i in range(4):
                own = b"%d" % i + file[:240] + b".png"
                with open(os.path.join(place, own), "wb") as made:  # noqa: PTH118, PTH123
                    made.write(pictures[4 * number + i])
        inner = os.path.join(root, top)  # noqa: PTH118
        codes = [fits(command("data", "check", os.fsdecode(inner)))]
        if len(classes) == 2:
            done = command("run", *few, *how, "--dataset", os.fsdecode(inner))
            codes.append(fits(done))
            for record in done.records:
                assert [name for name, *_ in Record.read(Path(record["record"])).classes]
        return max(codes)

    classes = st.lists(NAME, min_size=2, max_size=3, unique=True)
    attack(tries, st.tuples(NAME | st.just(b"pets"), classes, NAME), check)


@pytest.mark.parametrize("name", [b"\xff", b"cat/\xff.png"])
def test_a_name_that_is_no_text_is_told(name: bytes, pets: Path, command: Command) -> None:
    """Augmented views are seeded by names, and records hold them."""
    old = b"cat" if name == b"\xff" else b"cat/0.png"
    os.rename(os.fsencode(pets / os.fsdecode(old)), os.fsencode(pets) + b"/" + name)  # noqa: PTH104

    for words in (("data", "check"), ("run", "--method", "zero-shot", "--dataset")):
        few = ("--setting", "few-shot", "--encoder", "demo") if words[0] == "run" else ()
        done = command(*words, pets, *few)
        assert done.code == 2
        assert r"\udcff" in done.err
        assert "is not UTF-8. Rename it." in done.err


@pytest.mark.parametrize(
    ("table", "count"), [('{"test": []}', 0), (r'{"test": [["a", 0, "c"]]}', 1)]
)
def test_a_split_file_of_fewer_than_two_classes(
    table: str, count: int, pets: Path, command: Command
) -> None:
    Path("s.json").write_text(table)

    done = command("data", "check", pets, "--split-file", "s.json")

    assert done.code == 2
    assert f"s.json has {count} class" in done.err
    assert "at least 2 are needed" in done.err


def test_a_class_name_that_is_half_a_character(bundle: Bundle) -> None:
    """Its record could be written, and not read again."""
    meta = {"bundle": json.dumps(META | {"classnames": [*"abcd", "\ud800"]})}

    with pytest.raises(BundleError, match=r"it has \\ud800, which is half a character"):
        BundleTask(bundle(meta=meta))
