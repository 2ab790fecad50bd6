"""Data from a stranger that names files and addresses: nothing outside its folder is opened."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from susx_bench.data.custom import open_dataset
from susx_bench.errors import BenchError, DatasetError
from susx_bench.support.pool import open_pool
from tests.conftest import Command
from tests.data.made import parquet, plain, write

NAMES = ("ant", "bee")


class Spy:
    """What Python opened or asked the network for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.on = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event in ("open", "socket.connect", "socket.getaddrinfo"):
            self.seen.append(f"{event} {args}")


SPY = Spy()
sys.addaudithook(SPY)  # there is no way to take one away


@pytest.fixture
def spy() -> Iterator[Spy]:
    SPY.seen.clear()
    SPY.on = True
    yield SPY
    SPY.on = False


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A table that nobody who reads the folder beside it should see."""
    return write(tmp_path / "secret/test.parquet", parquet([plain(7), plain(8)], [0, 1], NAMES))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a good table."""
    write(tmp_path / "mine/data/test.parquet", parquet([plain(1), plain(2)], [0, 1], NAMES))
    return tmp_path / "mine"


def card(folder: Path, files: str) -> None:
    write(folder / "README.md", f"---\nconfigs:\n- config_name: default\n{files}\n---\n# Mine\n")


OUTSIDE = [
    "http://127.0.0.1:9/test.parquet",
    "https://example.org/test.parquet",
    "hf://datasets/org/name/test.parquet",
    "s3://bucket/test.parquet",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "memory://test.parquet",
    "zip://test.parquet::http://127.0.0.1:9/a.zip",
    "test.parquet::simplecache",
    "../secret/test.parquet",
    "data/../../secret/test.parquet",
    "..",
    "/etc/passwd",
    "//server/share/test.parquet",
    "~/test.parquet",
    "..\\\\secret\\\\test.parquet",
    "C:/test.parquet",
    "{secret}",
]
FORMS = [
    '  data_files: "{}"',
    '  data_files: ["data/test.parquet", "{}"]',
    '  data_files: [{{split: test, path: "{}"}}]',
    '  data_files: [{{split: test, path: ["data/test.parquet", "{}"]}}]',
    '  data_files: {{test: "{}"}}',
    '  data_dir: "{}"',
]


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_a_card_names_no_file_outside_its_folder(
    mine: Path, secret: Path, spy: Spy, pattern: str
) -> None:
    place = pattern.replace("{secret}", str(secret))
    for form in FORMS:
        card(mine, form.format(place))

        with pytest.raises(DatasetError, match=r"names .*, which is outside the folder") as caught:
            open_dataset(str(mine))
        assert "README.md of " in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not any("secret" in seen or "socket" in seen for seen in spy.seen)


def test_a_card_that_names_its_own_files_is_read(mine: Path) -> None:
    write(mine / "data/other.parquet", parquet([plain(3)], [0], NAMES))
    for form in FORMS[:1] + FORMS[2:3] + FORMS[4:5]:
        card(mine, form.format("data/tes*"))
        data = open_dataset(str(mine)).split("test")
        assert [data.content(sample) for sample in data.samples] == [plain(1), plain(2)]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("a: !!python/object/apply:os.system ['touch hacked']", "could not determine"),
        ("a: [" * 100_000, "nest"),
        ("a: *b", "undefined alias"),
        ("configs: [{config_name: x, data_files: [[1]]}]", "which is no file"),
        ("configs: [{config_name: x, data_files: {test: {a: b}}}]", "which is no file"),
        ("configs: [{config_name: x, data_files: 'none/*'}]", "names no file that is there"),
        ("configs: [{config_name: x, data_files: '**x'}]", "README.md of "),
    ],
)
def test_a_card_that_is_none_is_one_line(
    mine: Path, tmp_path: Path, head: str, reason: str
) -> None:
    write(mine / "README.md", f"---\n{head}\n---\n")

    with pytest.raises(DatasetError) as caught:
        open_dataset(str(mine))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, secret: Path, kind: str) -> None:
    other = secret.with_suffix(f".{kind}")
    secret.rename(other)
    (tmp_path / "linked").mkdir()
    (tmp_path / f"linked/test.{kind}").symlink_to(other)

    for read in (lambda: open_dataset("./linked"), lambda: open_pool("linked")):
        with pytest.raises(BenchError, match=r"is a link to .*, outside the folder"):
            read()


def test_a_link_within_the_folder_is_followed(mine: Path) -> None:
    (mine / "data/test.parquet").rename(mine / "blob")
    (mine / "data/test.parquet").symlink_to("../blob")

    assert len(open_dataset(str(mine)).split("test").samples) == 2


def test_a_row_that_names_a_file_or_an_address_holds_no_image(
    tmp_path: Path, secret: Path, spy: Spy
) -> None:
    photo = write(tmp_path / "secret/photo.png", plain(9))
    paths = [str(photo), "../secret/photo.png", "http://127.0.0.1:9/a.png", "hf://datasets/a/b.png"]
    cells: list[dict[str, Any]] = [{"bytes": None, "path": path} for path in paths]
    table = pa.table({"image": cells, "label": ["ant", "bee", "ant", "bee"]})
    (tmp_path / "mine").mkdir()
    pq.write_table(table, tmp_path / "mine/test.parquet")
    spy.seen.clear()
    data = open_dataset(str(tmp_path / "mine")).split("test")

    for sample in data.samples:
        with pytest.raises(OSError, match="its row holds no image"):
            data.content(sample)
    pool = open_pool(str(tmp_path / "mine"))
    for sample in pool.samples:
        with pytest.raises(DatasetError, match="its row holds no image"):
            pool.image(sample)
    assert not any("photo" in seen or "socket" in seen for seen in spy.seen)


def test_a_column_of_addresses_is_refused(tmp_path: Path, spy: Spy) -> None:
    table = pa.table({"image": ["http://127.0.0.1:9/a.png", "/etc/passwd"], "label": ["a", "b"]})
    (tmp_path / "mine").mkdir()
    pq.write_table(table, tmp_path / "mine/test.parquet")

    data = open_dataset(str(tmp_path / "mine")).split("test")
    with pytest.raises(DatasetError, match="holds names or addresses of images, and only images"):
        len(data.samples)
    with pytest.raises(BenchError, match=r"it has no image.*1 \.parquet"):
        open_pool(str(tmp_path / "mine"))
    assert not any("passwd" in seen or "socket" in seen for seen in spy.seen)


def test_links_and_paths_in_a_tar_lead_nowhere(tmp_path: Path, spy: Spy) -> None:
    photo = write(tmp_path / "secret/photo.png", plain(9))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, str(photo)
            tar.addfile(link)
        for name in ("../c.png", "/d.png"):
            member = tarfile.TarInfo(name)
            member.size = len(plain(1))
            tar.addfile(member, io.BytesIO(plain(1)))
    write(tmp_path / "mine/0.tar", file.getvalue())
    spy.seen.clear()

    pool = open_pool(str(tmp_path / "mine"))
    assert {sample.key for sample in pool.samples} <= {"0.tar/../c.png", "0.tar//d.png"}
    assert all(pool.read(sample.key) == plain(1) for sample in pool.samples)
    assert not any("secret" in seen for seen in spy.seen)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("name", ["../../secret/test.arrow", "/etc/passwd", "..", "", None, 3])
def test_what_save_to_disk_wrote_names_its_own_files(
    tmp_path: Path, secret: Path, name: Any
) -> None:
    write(tmp_path / "mine/dataset_dict.json", '{"splits": ["test"]}')
    state = {"_data_files": [{"filename": name}]}
    write(tmp_path / "mine/test/state.json", json.dumps(state))
    secret.rename(secret.with_suffix(".arrow"))

    with pytest.raises(DatasetError, match="is no name of a file in it"):
        open_dataset("./mine")
    write(tmp_path / "mine/dataset_dict.json", json.dumps({"splits": ["../secret"]}))
    with pytest.raises(DatasetError, match="is no name of a file in it"):
        open_dataset("./mine")


def test_the_command_line_says_so_in_a_line(mine: Path, command: Command) -> None:
    card(mine, '  data_files: "https://example.org/test.parquet"')

    for words in (("data", "check", mine), ("run", "--method", "zero-shot", "--dataset", mine)):
        more = ("--setting", "name-only", "--encoder", "demo") if words[0] == "run" else ()
        done = command(*words, *more)
        assert done.code == 2
        assert "https://example.org/test.parquet', which is outside" in " ".join(done.err.split())
