from __future__ import annotations

import hashlib
import io
import itertools
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from susx_bench.errors import SuiteError
from susx_bench.leaderboard.board import Board
from susx_bench.leaderboard.figures import pictures
from susx_bench.leaderboard.figures.drawing import DPI
from susx_bench.leaderboard.figures.panels import CLASSES
from susx_bench.leaderboard.figures.picture import Picture, drawn_from
from susx_bench.leaderboard.figures.ranks import _cliques
from susx_bench.leaderboard.figures.rows import SERIES, look_of
from susx_bench.leaderboard.figures.time import NAMED
from susx_bench.leaderboard.files import make_board
from susx_bench.leaderboard.make import make
from susx_bench.records.record import Record
from susx_bench.runner.suite import Suite
from tests.leaderboard.synthetic import METHODS, synthetic

FEW = ("zero-shot", "tip-adapter", "tipx")
MANY = ("zero-shot", *(f"method-{n:02d}" for n in range(16)))
FIVE = ("dtd", "eurosat", "cub", "ucf101", "food101")
ROOT = Path(__file__).parents[2]


def board(records: Mapping[str, Record]) -> Board:
    return make("many", "Many", "", METHODS, (), records)


def by_kind(records: Mapping[str, Record]) -> dict[str, Picture]:
    return {picture.name.split("-")[1]: picture for picture in pictures(board(records), records)}


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return synthetic(methods=FEW, datasets=FIVE, shots=(1, 4, 16))


@pytest.fixture(scope="module")
def drawn(records: dict[str, Record]) -> dict[str, dict[str, bytes]]:
    return {kind: picture.files() for kind, picture in by_kind(records).items()}


def accuracy(records: Mapping[str, Record], **wanted: Any) -> float:
    values = [
        r.accuracy
        for r in records.values()
        if all(getattr(r, name) == value for name, value in wanted.items())
    ]
    return sum(values) / len(values)


def test_every_kind_is_drawn_as_svg_and_png(drawn: dict[str, dict[str, bytes]]) -> None:
    assert set(drawn) == {"shots", "gain", "ranks", "time", "classes", "confusions"}
    for files in drawn.values():
        assert [name.rsplit(".")[-1] for name in files] == ["svg", "png"]


def test_files_are_whole_and_name_what_they_were_drawn_from(
    records: dict[str, Record], drawn: dict[str, dict[str, bytes]]
) -> None:
    for kind, picture in by_kind(records).items():
        svg, png = drawn[kind].values()
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(picture.width * 72)
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert image.width == pytest.approx(picture.width * DPI, abs=1)
            assert image.height == pytest.approx(picture.height * DPI, abs=1)
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 10
        assert drawn_from(svg) == drawn_from(png) == picture.digest


def test_no_svg_names_a_date_or_asks_for_anything(drawn: dict[str, dict[str, bytes]]) -> None:
    for files in drawn.values():
        for element in ElementTree.fromstring(next(iter(files.values()))).iter():
            assert "date" not in element.tag
            links = [value for name, value in element.attrib.items() if name.endswith("href")]
            assert all(link.startswith("#") for link in links)


def test_the_same_records_give_the_same_bytes_in_another_process_and_under_other_settings(
    records: dict[str, Record], drawn: dict[str, dict[str, bytes]]
) -> None:
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "none", "axes.grid": False}):
        again = by_kind(records)["ranks"].files()
    code = (
        "import hashlib, sys\n"
        "from tests.leaderboard.test_figures import FEW, FIVE, by_kind, synthetic\n"
        "records = synthetic(methods=FEW, datasets=FIVE, shots=(1, 4, 16))\n"
        "for name, data in by_kind(dict(reversed(records.items())))['ranks'].files().items():\n"
        "    print(name, hashlib.sha256(data).hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "PATH": "", "HOME": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )

    ours = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in drawn["ranks"].items()]
    assert again == drawn["ranks"]
    assert done.stdout.splitlines() == ours


def test_another_number_is_another_digest(records: dict[str, Record]) -> None:
    path, record = next((p, r) for p, r in records.items() if r.method == "tipx" and r.shots == 16)
    changed = {**records, path: record.model_copy(update={"accuracy": record.accuracy + 0.1})}
    before, after = by_kind(records), by_kind(changed)

    assert before["gain"].digest != after["gain"].digest
    assert before["shots"].digest != after["shots"].digest
    assert before["confusions"].digest == after["confusions"].digest


def test_gains_are_differences_of_means(records: dict[str, Record]) -> None:
    data = by_kind(records)["gain"].data

    assert len(data["entries"]) == 5
    best = [max(gains.values()) for _, _, gains in data["entries"]]
    assert best == sorted(best)  # drawn from below
    for dataset, start, gains in data["entries"]:
        zero = accuracy(records, dataset=dataset, method="zero-shot")
        assert start == pytest.approx(zero)
        for method in FEW[1:]:
            there = accuracy(records, dataset=dataset, method=method, shots=16)
            assert gains[method] == pytest.approx(there - zero)


def test_lines_over_shots_are_means_and_their_mean_over_datasets(
    records: dict[str, Record],
) -> None:
    panels = dict(by_kind(records)["shots"].data["panels"])

    assert list(panels) == ["mean of 5 datasets", *sorted(FIVE)]
    for shots, mean, low, high in panels["cub"]["tipx"]:
        assert mean == pytest.approx(accuracy(records, dataset="cub", method="tipx", shots=shots))
        assert low < mean < high
    for shots, mean, _, _ in panels["mean of 5 datasets"]["tipx"]:
        every = [accuracy(records, dataset=d, method="tipx", shots=shots) for d in FIVE]
        assert mean == pytest.approx(np.mean(every))


def test_the_front_is_what_nothing_is_both_faster_and_better_than() -> None:
    records = synthetic(methods=METHODS[:8], datasets=("dtd", "cub"), shots=(16,), seeds=(1,))
    for place, (path, r) in enumerate(records.items()):  # slow ones that are no better
        seconds = r.seconds.model_copy(update={"search": float(place * 7919 % 13) / 3})
        records[path] = r.model_copy(update={"seconds": seconds})
    data = by_kind(records)["time"].data

    took: dict[str, float] = {}
    for method in METHODS[:8]:
        runs = [r.seconds for r in records.values() if r.method == method]
        took[method] = sum(s.search + s.predict for s in runs) / len(runs)
    means = {method: accuracy(records, method=method) for method in took}
    front = {a for a in took if not any(took[b] <= took[a] and means[b] > means[a] for b in took)}
    marked = {name.split()[0] for name in data["front"]}
    assert 1 < len(front) < 8
    assert marked == front


def test_of_many_points_those_on_the_front_and_zero_shot_are_named() -> None:
    records = synthetic(methods=MANY, datasets=("dtd", "cub"), shots=(16,), seeds=(1,))
    for place, (path, r) in enumerate(records.items()):
        seconds = r.seconds.model_copy(update={"search": float(place * 7919 % 13) / 3})
        records[path] = r.model_copy(update={"seconds": seconds})
    picture = by_kind(records)["time"]

    assert len(MANY) > NAMED
    shown = {point[0]: point[2] for point in picture.data["points"]}
    best = max(shown, key=shown.__getitem__)
    assert set(picture.data["named"]) == {*picture.data["front"], best, "zero-shot"} & set(shown)
    for name in {*MANY} - {*shown}:
        assert name in picture.text.partition("Below the picture: ")[2]
    assert len(picture.files()) == 2


def test_seconds_of_two_machines_are_not_compared(records: dict[str, Record]) -> None:
    path, record = next((p, r) for p, r in records.items() if r.method == "tipx")
    mixed = {**records, path: record.model_copy(update={"device": "cuda"})}

    assert "time" not in by_kind(mixed)


def test_changes_of_classes_are_counted_over_all_runs(records: dict[str, Record]) -> None:
    for title, who, said, moved in by_kind(records)["classes"].data["panels"]:
        dataset = title.split(",")[0]
        change = {}
        for name in [f"class {k}" for k in range(20)]:
            share = {}
            for method in (who.split()[0], "zero-shot"):
                right = images = 0
                for r in records.values():
                    if (r.dataset, r.method) == (dataset, method) and r.shots in (0, 16):
                        _, good, n = next(c for c in r.classes if c[0] == name)
                        right, images = right + good, images + n
                share[method] = right / images
            change[name] = 100 * (share[who.split()[0]] - share["zero-shot"])
        assert dict(moved) == pytest.approx({name: change[name] for name, _ in moved})
        lost = sorted(v for v in change.values() if v < -1e-9)
        won = sorted(v for v in change.values() if v > 1e-9)
        assert [v for _, v in moved] == pytest.approx(lost[:CLASSES] + won[-CLASSES:])
        assert all(v for _, v in moved)
        gain, lose = (sum(s * v > 0 for v in change.values()) for s in (1, -1))
        assert said == f"{gain} classes gain, {lose} lose, {20 - gain - lose} stay"


def test_confused_pairs_are_those_of_one_run(records: dict[str, Record]) -> None:
    title, who, pairs = by_kind(records)["confusions"].data["panels"][0]
    method = who.split(",")[0]
    dataset = title.split(",")[0]
    runs = {r.method: r for r in records.values() if r.dataset == dataset and r.shots == 0}
    run = next(
        r
        for r in records.values()
        if (r.dataset, r.method, r.shots, r.seed) == (dataset, method, 16, 1)
    )

    assert len(pairs) == min(CLASSES, len(run.confusions)) > 2
    for (text, count, before, n), (true, answer, times) in zip(pairs, run.confusions, strict=False):
        assert text == f"{true} → {answer}"
        assert (count, n) == (times, dict((c[0], c[2]) for c in run.classes)[true])
        known = [c for t, a, c in runs["zero-shot"].confusions if (t, a) == (true, answer)]
        assert before == (known[0] if known else None)


def test_bars_join_all_that_cannot_be_told_apart_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        ranks = sorted(generator.uniform(1, 9, size=generator.integers(2, 10)).tolist())
        difference = float(generator.uniform(0.2, 5))
        joined = {
            pair
            for first, last in _cliques(ranks, difference)
            for pair in itertools.combinations(range(first, last + 1), 2)
        }
        close = {
            (i, j)
            for i, j in itertools.combinations(range(len(ranks)), 2)
            if ranks[j] - ranks[i] <= difference
        }
        assert joined == close
        bars = _cliques(ranks, difference)
        assert not any(
            a != b and a[0] >= b[0] and a[1] <= b[1] for a in bars for b in bars
        )  # no bar lies within another


def test_a_picture_that_the_records_do_not_allow_is_not_there() -> None:
    one = by_kind(synthetic(methods=FEW, datasets=("dtd",), shots=(4,), seeds=(1,)))
    blind = by_kind(synthetic(methods=FEW[1:], datasets=("dtd", "cub"), shots=(1, 4)))

    assert set(one) == {"gain", "time", "classes", "confusions"}
    assert set(blind) == {"shots"}


def test_a_panel_in_which_no_row_has_a_point_is_left_out() -> None:
    each = [("tip-adapter", "dtd"), ("tipx", "cub")]  # no row has both datasets
    records: dict[str, Record] = {}
    for method, dataset in each:
        records |= synthetic(methods=(method,), datasets=(dataset,), shots=(1, 4), seeds=(1,))
    picture = by_kind(records)["shots"]

    assert [title for title, _ in picture.data["panels"]] == ["cub", "dtd"]
    assert len(picture.files()) == 2


def test_long_names_keep_their_pictures_and_their_lines_apart() -> None:
    encoder = "hf-hub:laion/CLIP-ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k@" + "0" * 39
    tail = "-that-is-longer-than-a-legend-has-room-for"
    methods = ("zero-shot", *(f"a-name{number}{tail}" for number in (1, 2)), f"other{tail}")
    records: dict[str, Record] = {}
    for digit in "12":
        records |= synthetic(
            methods=methods, datasets=("dtd",), shots=(1, 4), seeds=(1,), encoder=encoder + digit
        )
    found = pictures(board(records), records)
    shots = [picture for picture in found if picture.name.startswith("many-shots")]

    assert len({picture.name for picture in found}) == len(found)
    assert len(shots) == 2
    assert all(len(picture.data["panels"][0][1]) == len(methods) for picture in shots)
    assert len({picture.data["heading"] for picture in shots}) == 2


def test_names_that_look_alike_when_cut_are_numbered() -> None:
    inner = "-and-then-much-that-is-not-the-same-in-the-middle-of-it-"
    methods = [f"a-name-with-a-long-beginning{n}{inner}long-end" for n in (1, 2, 3)]
    records = synthetic(methods=methods, datasets=("dtd",), shots=(1, 4), seeds=(1,))
    lines = by_kind(records)["shots"].data["panels"][0][1]

    assert len(lines) == 3
    assert [name[-3:] for name in lines][1:] == [" #2", " #3"]


def test_too_many_lines_are_the_best_ones_and_zero_shot() -> None:
    records = synthetic(datasets=("dtd", "cub"), shots=(1, 16), seeds=(1,), images=2000)
    data = by_kind(records)["shots"].data

    assert len(data["looks"]) == SERIES
    assert "zero-shot" in data["looks"]
    assert "tip-adapter" not in data["looks"]
    assert "proker" in data["looks"]


def test_rows_of_one_picture_look_different() -> None:
    records = synthetic(methods=METHODS[:6], datasets=("dtd",), shots=(1, 4), seeds=(1,))
    more = {
        f"{path}.{tune}": r.model_copy(
            update={"tuned_on": tune, "input_sha256": f"{r.input_sha256[:50]}{tune}"}
        )
        for path, r in records.items()
        for tune in ("support", "few-val", "test")
        if r.hparams
    }
    made = board(records | more)
    looks = [look_of(made, row) for row in made.rows]

    assert len(set(looks)) == len(looks) == 1 + 5 * 4
    for row, look in zip(made.rows, looks, strict=True):
        assert look.hollow == (row.tuned_on == "test")


def test_names_are_drawn_as_they_are() -> None:
    """A dollar starts no formula, a letter no font has is no warning, an escape breaks no file."""
    strange = "$a_b$ 猫 \x07 <b>&-->"
    records = synthetic(methods=FEW, datasets=("dtd", strange), shots=(1, 4), seeds=(1,))
    records = {
        path: r.model_copy(
            update={
                "method": "$x$" if r.method == "tipx" else r.method,
                "classes": [(strange + name, *rest) for name, *rest in r.classes],
                "confusions": [(strange + a, b, n) for a, b, n in r.confusions],
            }
        )
        for path, r in records.items()
    }
    for picture in by_kind(records).values():
        for name, data in picture.files().items():
            if name.endswith("svg"):
                ElementTree.fromstring(data)


def test_a_picture_is_of_one_section_and_says_which() -> None:
    records = synthetic(methods=(*FEW, "zlap"), datasets=FIVE, shots=(1, 16), seeds=(1,))
    found = by_kind(records)
    label = "inductive; tuned on the val labels"

    assert "zlap" in {r.method for r in records.values()}
    for kind in ("shots", "gain", "time", "classes", "confusions"):
        assert found[kind].data["heading"].endswith(label), kind
        assert f"Rows: {label}." in found[kind].text
        assert "zlap" not in str(found[kind].data)
    assert len(found["shots"].files()) == 2


def test_no_picture_of_ranks_where_they_mean_nothing() -> None:
    four = synthetic(methods=FEW, datasets=FIVE[:4], shots=(16,), seeds=(1,))
    ties = {
        path: r.model_copy(update={"accuracy": 50.0})
        for path, r in synthetic(methods=FEW, datasets=FIVE, shots=(16,), seeds=(1,)).items()
    }

    assert "ranks" not in by_kind(four)
    assert "ranks" not in by_kind(ties)


def test_a_class_that_stays_has_no_bar() -> None:
    records = synthetic(methods=FEW, datasets=("dtd",), shots=(16,), seeds=(1,))
    zero = next(r for r in records.values() if r.method == "zero-shot")
    same = {path: r.model_copy(update={"classes": zero.classes}) for path, r in records.items()}

    assert "classes" not in by_kind(same)
    assert "confusions" in by_kind(same)


def test_classes_of_a_bundle_have_the_names_that_the_suite_knows(
    records: dict[str, Record],
) -> None:
    """Bundles without names say "class 3"; names of data of one's own stay."""
    bundles = {}
    for path, r in records.items():
        place = {name: f"class {label}" for label, (name, *_) in enumerate(r.classes)}
        bundles[path] = r.model_copy(
            update={
                "protocol": "bundle",
                "classes": [(place[name], *rest) for name, *rest in r.classes],
                "confusions": [(place[a], place[b], n) for a, b, n in r.confusions],
            }
        )
    known = [f"name {letter}" for letter in "abcdefghijklmnopqrst"]
    plain = board(bundles)
    named = replace(plain, classnames=dict.fromkeys(FIVE, known))

    def texts(board: Board, records: Mapping[str, Record]) -> list[str]:
        drawn = {p.name.split("-")[1]: p.data for p in pictures(board, records)}
        shown = {kind: drawn[kind]["panels"] for kind in ("classes", "confusions")}
        moved = [name for *_, lines in shown["classes"] for name, _ in lines]
        return moved + [pair for *_, pairs in shown["confusions"] for pair, *_ in pairs]

    before, after = texts(plain, bundles), texts(named, bundles)
    for old, new in zip(before, after, strict=True):
        expected = " → ".join(known[int(part.split()[1])] for part in old.split(" → "))
        assert new == expected
    own = replace(board(records), classnames=dict.fromkeys(FIVE, known))
    assert texts(own, records) == texts(board(records), records)


def test_names_of_another_number_of_classes_are_refused(records: dict[str, Record]) -> None:
    run = {"method": ["tipx"], "features": ["x.safetensors"]}
    suite = Suite.model_validate(
        {"name": "many", "title": "Many", "run": [run], "classnames": {"dtd": "ucf101"}}
    )
    with pytest.raises(SuiteError, match=r"classnames.dtd: ucf101 has 101 classes, its records"):
        make_board(suite, dict(records))
