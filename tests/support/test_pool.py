"""What a pool takes for images: whatever holds some, in whichever form a crawler left it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from susx_bench.errors import BenchError
from susx_bench.support.pool import Pool, open_pool
from tests.conftest import Command
from tests.data.made import parquet, plain, shade, write


def shades(pool: Pool) -> dict[str, int]:
    return {sample.key: shade(pool.image(sample)) for sample in pool.samples}


def tar(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file.getvalue()


def about(keys: list[str], **more: pa.Array) -> bytes:
    """The table that img2dataset writes beside every shard."""
    sink = pa.BufferOutputStream()
    table = {"key": keys, "url": [f"http://x/{k}.jpg" for k in keys], "status": ["success"] * 2}
    pq.write_table(pa.table({**table, "caption": ["a", None], **more}), sink)
    return bytes(sink.getvalue())


STATS = json.dumps({"count": 2, "successes": 2})
KEYS = ["000000000", "000000001"]


def test_img2dataset_webdataset(tmp_path: Path) -> None:
    """Shards beside tables of addresses; the images differ in their endings, some have no text."""
    for number in range(2):
        files = {
            "000000000.jpg": plain(10 * number + 1),
            "000000000.txt": b"a photo",
            "000000000.json": b'{"exif": null}',
            "000000001.png": plain(10 * number + 2),
            "000000001.json": b'{"exif": "{}", "width": 8}',
        }
        write(tmp_path / f"pool/0000{number}.tar", tar(files))
        write(tmp_path / f"pool/0000{number}.parquet", about(KEYS))
        write(tmp_path / f"pool/0000{number}_stats.json", STATS)
    pool = open_pool(str(tmp_path / "pool"))

    assert shades(pool) == {
        "00000.tar/000000000.jpg": 1,
        "00000.tar/000000001.png": 2,
        "00001.tar/000000000.jpg": 11,
        "00001.tar/000000001.png": 12,
    }
    assert pool.remark.endswith("not used, without an image: 2 .parquet, 2 .json")
    assert pool.fingerprint == [
        [f"0000{n}.tar", (tmp_path / f"pool/0000{n}.tar").stat().st_size] for n in range(2)
    ]


def test_img2dataset_files(tmp_path: Path) -> None:
    for number, key in enumerate(KEYS):
        write(tmp_path / f"pool/00000/{key}.jpg", plain(number, "jpeg", quality=100))
        write(tmp_path / f"pool/00000/{key}.json", b"{}")
        write(tmp_path / f"pool/00000/{key}.txt", b"a photo")
    write(tmp_path / "pool/00000.parquet", about(KEYS))
    write(tmp_path / "pool/00000_stats.json", STATS)
    pool = open_pool(str(tmp_path / "pool"))

    assert list(shades(pool)) == [f"00000/{key}.jpg" for key in KEYS]
    assert pool.remark.endswith("without an image: 3 .json, 2 .txt, 1 .parquet")


@pytest.mark.parametrize("column", ["jpg", "image", "png", "webp"])
def test_img2dataset_parquet(tmp_path: Path, column: str) -> None:
    images = pa.array([plain(1), plain(2)], pa.binary())
    write(tmp_path / "pool/00000.parquet", about(KEYS, **{column: images}))
    write(tmp_path / "pool/00001.parquet", about(KEYS, other=pa.array([1, 2])))
    write(tmp_path / "pool/00000_stats.json", STATS)
    pool = open_pool(str(tmp_path / "pool"))

    assert shades(pool) == {"00000.parquet/0": 1, "00000.parquet/1": 2}
    assert pool.remark.endswith("without an image: 1 .json, 1 .parquet")


def test_a_tar_among_photographs_takes_nothing_away(tmp_path: Path) -> None:
    write(tmp_path / "pool/a.png", plain(1))
    write(tmp_path / "pool/b/c.PNG", plain(2))
    write(tmp_path / "pool/old.tar", tar({"trip/d.png": plain(3), "trip/notes.txt": b"sunny"}))
    write(tmp_path / "pool/code.tar", tar({"main.c": b"int main;"}))
    write(tmp_path / "pool/table.parquet", parquet([plain(4), plain(5)], [0, 1], image="photo"))
    write(tmp_path / "pool/films.zip", b"PK")
    pool = open_pool(str(tmp_path / "pool"))

    assert shades(pool) == {
        "a.png": 1,
        "b/c.PNG": 2,
        "old.tar/trip/d.png": 3,
        "table.parquet/0": 4,
        "table.parquet/1": 5,
    }
    assert pool.remark.endswith("without an image: 1 .tar, 1 .zip")


def test_the_state_changes_with_the_files_that_are_used(tmp_path: Path) -> None:
    write(tmp_path / "pool/a.tar", tar({"a.png": plain(1)}))
    write(tmp_path / "pool/b.png", plain(1))
    states = []
    for name, content in (
        ("none.txt", b""),
        ("note.txt", b"a note"),
        ("b.png", plain(1, "bmp")),
        ("a.tar", tar({"a.png": plain(1), "c.png": plain(2)})),
    ):
        write(tmp_path / "pool" / name, content)
        states.append(open_pool(str(tmp_path / "pool")).state(()))

    assert [state == states[0] for state in states] == [True, True, False, False]
    assert states[2] != states[3]


@pytest.mark.parametrize("ending", ["parquet", "tar"])
def test_a_broken_file_is_named(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"pool/0.{ending}", b"broken" * 200)
    write(tmp_path / "pool/b.png", plain(1))

    with pytest.raises(BenchError, match=f"{path} is no whole") as caught:
        open_pool(str(tmp_path / "pool"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [512 + 100, 3 * 512, 5 * 512])
def test_a_tar_that_is_cut_off_is_never_a_smaller_one(tmp_path: Path, cut: int) -> None:
    whole = tar({f"{n}.png": plain(n) for n in range(4)})
    path = write(tmp_path / "pool/0.tar", whole[:cut])

    with pytest.raises(BenchError, match=f"{path} is no whole tar file"):
        open_pool(str(tmp_path / "pool"))


def test_two_tars_joined_are_not_read_as_the_first(tmp_path: Path) -> None:
    one, two = tar({"a.png": plain(1)}), tar({"b.png": plain(2)})
    write(tmp_path / "pool/0.tar", one + two)

    with pytest.raises(BenchError, match="it is cut off, or joined"):
        open_pool(str(tmp_path / "pool"))


def test_a_folder_without_an_image_says_what_it_has(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "pool/00000.parquet", about(KEYS))
    write(tmp_path / "pool/00000_stats.json", STATS)
    words = ("support", "build", "--kind", "sus-lc", "--dataset", "digits", "--pool", "pool")
    done = command(*words, "--no-test-check")

    assert done.code == 2
    assert "it has 1 .parquet, 1 .json." in " ".join(done.err.split())


def test_a_build_says_what_of_a_pool_it_leaves_out(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "pool/a.png", plain(1))
    write(tmp_path / "pool/a.json", b"{}")
    words = ("support", "build", "--kind", "sus-lc", "--dataset", "digits", "--pool", "pool")
    done = command(*words, "--no-test-check", "--per-class", 1)

    assert "--pool pool: not used, without an image: 1 .json" in " ".join(done.err.split())
