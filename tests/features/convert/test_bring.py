"""Features as others keep them become the bundle that they were written from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from susx_bench.errors import BundleError
from susx_bench.features.bundle import BundleTask
from susx_bench.features.convert.bring import Imported, read, write
from susx_bench.features.convert.collect import Request
from susx_bench.testing.task import unit
from tests.conftest import META, Bundle, Command
from tests.features.convert.layouts import (
    LAYOUTS,
    ape,
    clip_benchmark,
    clip_retrieval,
    susx,
    tip_adapter,
)


def brought(source: Path | None, **asked: Any) -> Imported:
    return read(Request(source=source, **asked))


def same(imported: Imported, tensors: dict[str, Tensor], *but: str) -> bool:
    wanted = {name: tensor for name, tensor in tensors.items() if name not in but}
    return imported.tensors.keys() == wanted.keys() and all(
        torch.equal(imported.tensors[name], tensor) for name, tensor in wanted.items()
    )


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("named", [False, True])
def test_an_encoder_that_reads_no_text_has_a_bundle_without(
    base: int, named: bool, command: Command, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    """Tip-Adapter's files are whole then: they hold no text."""
    numbered = tensors | {name: tensors[name] + base for name in tensors if "labels" in name}
    del numbered["text"]
    save_file(numbered, tmp_path / "given.safetensors")
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    words = ["features", "import", "given.safetensors", "--out", "dino.safetensors"]
    words += ["--classnames", str(names)] if named else []

    refused = command(*words)
    done = command(*words, "--no-text")

    assert refused.code == 2
    assert "--no-text for an encoder that reads none" in refused.err
    assert done.code == 0, done.err
    assert done.out == "wrote dino.safetensors: no text, width 16, 20 support, 30 val, 70 test\n"
    assert load_file(tmp_path / "dino.safetensors").keys() == tensors.keys() - {"text"}
    measured = command(
        *("run", "--setting", "few-shot", "--features", "dino.safetensors"),
        *("--method", "ncm", "--json"),
    )
    assert measured.records[0]["num_classes"] == 5


def test_without_text_something_says_how_many_classes_there_are(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    only = {name: tensors[name] for name in ("test", "test_labels")}
    save_file(only, tmp_path / "test.safetensors")

    with pytest.raises(BundleError, match=r"Give --classnames FILE .* or --support-labels FILE"):
        brought(tmp_path / "test.safetensors", no_text=True)


def test_text_where_there_is_to_be_none(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / "all.safetensors")

    with pytest.raises(BundleError, match=r"--no-text: .* holds features of the class names"):
        brought(tmp_path / "all.safetensors", no_text=True)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_authors_folders_are_the_bundle(
    name: str, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    LAYOUTS[name](tmp_path / "cache", tensors)
    asked = {"dataset": "toy", "encoder": "ViT-B-16:openai"}

    imported = brought(tmp_path / "cache", **asked)

    assert same(imported, tensors)
    origin = {"support_from": "sus-sd-photo"} if name == "susx" else {}
    assert imported.meta == asked | {"logit_scale": 100.0} | origin
    assert sum("transposed" in line for line in imported.lines) == 2  # text and support
    assert sum("one-hot" in line for line in imported.lines) == 1


def test_a_cache_folder_gives_the_record_of_the_bundle(
    tmp_path: Path, tensors: dict[str, Tensor], bundle: Bundle, command: Command
) -> None:
    ape(tmp_path / "caches/toy", tensors)
    told = command(
        *("features", "import", "caches/toy", "--out", "mine.safetensors"),
        *("--encoder", META["encoder"], "--logit-scale", META["logit_scale"]),
    )
    assert told.code == 0
    assert told.out == (
        "wrote mine.safetensors: 5 classes, width 16, 20 support, 30 val, 70 test\n"
    )
    run = ("run", "--setting", "few-shot", "--method", "tipx,tag,tip-adapter", "--json")
    ours = command(*run, "--features", bundle(), "--out", "ours").records
    theirs = command(*run, "--features", "mine.safetensors", "--out", "theirs").records

    assert len(ours) == 3
    for mine, other in zip(ours, theirs, strict=True):
        for key in ("input_sha256", "predictions_sha256", "accuracy", "hparams", "dataset"):
            assert mine[key] == other[key]


def test_half_precision_and_lengths_are_mended(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    long = tensors | {"test": tensors["test"] * torch.linspace(3, 9, 70)[:, None]}
    tip_adapter(tmp_path / "cache", long, dtype=torch.float16)
    torch.save(tensors["text"].double(), tmp_path / "text.pt")

    imported = brought(tmp_path / "cache", parts={"text": str(tmp_path / "text.pt")})

    for name in ("text", "support", "val", "test"):
        assert imported.tensors[name].dtype == torch.float32
        torch.testing.assert_close(imported.tensors[name], tensors[name], atol=1e-3, rtol=0)
    # What is unit but for rounding stays as it is stored.
    assert torch.equal(imported.tensors["val"], tensors["val"].half().float())
    lines = "\n".join(imported.lines)
    assert re.search(r"rows (3|2\.99\d) to (9|[89]\.[09]\d+) long: divided by their length", lines)
    assert "float16: cast to float32" in lines
    assert "float64: cast to float32" in lines


def test_clip_benchmarks_val_is_what_it_tests_on(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    clip_benchmark(tmp_path / "cache", tensors)

    assert same(brought(tmp_path / "cache"), tensors, "val", "val_labels")


@pytest.mark.parametrize("said", ["label", "names", "folders"])
def test_clip_retrievals_images_are_a_split(
    said: str, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    names = ["tabby cat", "dog", "cow", "hen", "sheep"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    labels = tensors["test_labels"].tolist()
    columns: dict[str, Any] = {"image_path": [f"photos/{i}.jpg" for i in range(70)]}
    if said == "label":
        columns["label"] = labels
    elif said == "names":
        columns["label"] = [names[label] for label in labels]
    else:
        columns["image_path"] = [f"photos/{names[c].replace(' ', '_')}/{c}.jpg" for c in labels]
    clip_retrieval(tmp_path / "out", tensors["test"], columns)
    np.save(tmp_path / "text.npy", tensors["text"].numpy())

    imported = brought(
        tmp_path / "out",
        parts={"text": str(tmp_path / "text.npy")},
        classnames=tmp_path / "names.txt",
    )

    assert torch.equal(imported.tensors["test"], tensors["test"].half().float())
    assert torch.equal(imported.tensors["test_labels"], tensors["test_labels"])
    assert imported.meta["classnames"] == names


def test_a_table_is_parted_by_its_splits(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    splits = {"train": "support", "val": "val", "test": "test"}
    rows = torch.cat([tensors[part] for part in splits.values()])
    labels = torch.cat([tensors[f"{part}_labels"] for part in splits.values()])
    names = [name for name, part in splits.items() for _ in tensors[part]]
    table = pa.table({"embedding": rows.tolist(), "label": labels.tolist(), "split": names})
    pq.write_table(table, tmp_path / "all.parquet")
    torch.save(tensors["text"].T, tmp_path / "text.pt")

    imported = brought(tmp_path / "all.parquet", parts={"text": f"{tmp_path / 'text.pt'}"})

    for name, tensor in tensors.items():
        torch.testing.assert_close(imported.tensors[name], tensor)


def test_arrays_by_name_are_taken(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save(dict(tensors), tmp_path / "all.pt")
    np.savez(tmp_path / "all.npz", **{n: t.numpy() for n, t in tensors.items()})  # type: ignore[arg-type]  # of its other options
    save_file(tensors, tmp_path / "all.safetensors")
    for suffix in ("pt", "npz", "safetensors"):
        assert same(brought(tmp_path / f"all.{suffix}"), tensors)

    by_hand = {n: f"{tmp_path / 'all.npz'}:{n}" for n in tensors}
    assert same(brought(None, parts=by_hand), tensors)


def test_labels_from_one_are_moved(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    ape(tmp_path / "cache", tensors)
    torch.save(tensors["support_labels"] + 1, tmp_path / "cache/values_4shots.pt")
    for split in ("val", "test"):
        torch.save((tensors[f"{split}_labels"] + 1).float(), tmp_path / f"cache/{split}_l.pt")

    imported = brought(tmp_path / "cache")

    assert same(imported, tensors)
    assert sum("numbered from 1 to 5: moved to 0 to 4" in line for line in imported.lines) == 3


def square(tmp_path: Path, tensors: dict[str, Tensor], text: Tensor) -> dict[str, str]:
    """Parts by hand: as many support images, classes and columns."""
    places = {}
    for name, tensor in (tensors | {"text": text}).items():
        torch.save(tensor, tmp_path / f"{name}.pt")
        places[name] = str(tmp_path / f"{name}.pt")
    return places


def test_a_square_array_is_turned_by_the_length_of_its_rows(tmp_path: Path) -> None:
    tensors = {"support": unit(16, 16, seed=1), "support_labels": torch.arange(16)}
    tensors |= {"text": unit(16, 16, seed=2), "test": unit(40, 16, seed=3)}
    parts = square(tmp_path, tensors, tensors["text"].T)

    assert same(brought(None, parts=parts), tensors)

    torch.save(tensors["support"].T * 3, tmp_path / "support.pt")
    with pytest.raises(BundleError, match=r"--layout support=rows .* or --layout support=columns"):
        brought(None, parts=parts)
    imported = brought(None, parts=parts, layout={"support": "columns"})
    torch.testing.assert_close(imported.tensors["support"], tensors["support"])


def test_one_hot_by_rows_and_columns_is_asked_about(tmp_path: Path) -> None:
    order = torch.tensor([2, 0, 1, 3])
    tensors = {"support": unit(4, 16, seed=1), "text": unit(4, 16, seed=2)}
    tensors |= {"test": unit(9, 16, seed=3), "support_labels": F.one_hot(order)}
    parts = square(tmp_path, tensors, tensors["text"])

    with pytest.raises(BundleError, match="--layout support_labels=rows"):
        brought(None, parts=parts)
    for layout, labels in (("rows", order), ("columns", order.argsort())):
        imported = brought(None, parts=parts, layout={"support_labels": layout})
        assert torch.equal(imported.tensors["support_labels"], labels)


def fraction(t: dict[str, Tensor]) -> dict[str, Tensor]:
    return t | {"test_labels": t["test_labels"] + 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"test": t["test"][:, :9]}, "no width fits all features: .* 70 labels"),
        (lambda t: t | {"test": t["test"][:60]}, "with 70 labels"),
        (fraction, "holds fractions or NaN"),
        (lambda t: t | {"test_labels": t["test_labels"] + 3}, "label 5 in row 2, .* are 5 classes"),
        (lambda t: t | {"test": t["test"] * torch.nan}, "70 of 70 rows hold NaN"),
        (lambda t: t | {"test": t["test"].long()}, r"is int64 \(70, 16\), features are floats"),
        (lambda t: t | {"val_labels": torch.rand(30, 5)}, "is not one-hot"),
        (lambda t: {n: x for n, x in t.items() if n != "text"}, "no features of the class names"),
        (
            lambda t: {n: x for n, x in t.items() if n != "test"},
            "no features of test images|are no",
        ),
        (lambda t: {n: x for n, x in t.items() if n != "val"}, "there are no features for them"),
        (lambda t: {n: x for n, x in t.items() if n != "val_labels"}, "there are no labels"),
    ],
)
def test_what_cannot_be_mended_is_one_line(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
    tmp_path: Path,
    tensors: dict[str, Tensor],
) -> None:
    changed = {name: tensor.contiguous() for name, tensor in change(tensors).items()}
    save_file(changed, tmp_path / "all.safetensors")

    with pytest.raises(BundleError, match=message) as caught:
        brought(tmp_path / "all.safetensors")

    assert "\n" not in str(caught.value)


def test_several_that_fit_are_asked_about(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    susx(tmp_path / "features", tensors)
    with pytest.raises(BundleError, match=r"of 2 datasets: other, toy\. Say which with --dataset"):
        brought(tmp_path / "features")

    ape(tmp_path / "cache", tensors)
    torch.save(tensors["support"].T, tmp_path / "cache/keys_1shots.pt")
    torch.save(tensors["support_labels"], tmp_path / "cache/values_1shots.pt")
    with pytest.raises(BundleError, match=r"has 2 support sets: .* --shots N, or --support"):
        brought(tmp_path / "cache")
    assert same(brought(tmp_path / "cache", shots=4), tensors)
    with pytest.raises(BundleError, match=r"no support set of 8 images per class. It has 1, 4"):
        brought(tmp_path / "cache", shots=8)

    torch.save(tensors["text"].T, tmp_path / "cache/text_weights.pt")
    with pytest.raises(BundleError, match=r"has 2 that may be 'text': .* --text "):
        brought(tmp_path / "cache", shots=4)


def test_labels_and_text_in_other_orders_are_doubted(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    ape(tmp_path / "cache", tensors)
    (doubt,) = brought(tmp_path / "cache").doubts
    assert "% of the support images are nearest to the text of their class" in doubt
    assert "order" not in doubt

    torch.save(tensors["text"].roll(1, 0).T, tmp_path / "cache/text_weights_cupl_t.pt")
    (doubt,) = brought(tmp_path / "cache").doubts
    assert "are text and labels in one order of classes" in doubt


def test_nothing_that_is_there_is_replaced(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    ape(tmp_path / "cache", tensors)
    imported, out = brought(tmp_path / "cache"), tmp_path / "mine.safetensors"

    assert write(imported, out)
    assert not write(imported, out)
    out.write_bytes(b"something else")
    with pytest.raises(BundleError, match="is there with other content"):
        write(imported, out)
    assert out.read_bytes() == b"something else"
    assert write(imported, out, force=True)
    assert load_file(out).keys() == tensors.keys()


def test_no_bundle_is_written_that_would_be_refused(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    (tmp_path / "cache").mkdir()
    ape(tmp_path / "cache", tensors)
    (tmp_path / "cache/bundle.json").write_text(json.dumps({"dataset": ["no", "text"]}))
    out = tmp_path / "mine.safetensors"

    with pytest.raises(BundleError, match=f"{out}: metadata 'dataset' is"):
        write(brought(tmp_path / "cache"), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_a_file_given_as_a_bundle_is_told_how_to_become_one(
    tmp_path: Path, tensors: dict[str, Tensor], command: Command
) -> None:
    torch.save(dict(tensors), tmp_path / "mine.pt")
    refused = command("run", "--method", "tipx", "--setting", "few-shot", "--features", "mine.pt")
    assert refused.code == 2
    told = refused.err.strip().partition("Make a bundle of it: susx-bench ")[2].split()

    assert command(*told).code == 0
    assert BundleTask(tmp_path / "mine.safetensors").test_size == 70
