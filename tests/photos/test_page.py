"""The page of photographs as files, and in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from susx_bench.data.decode import decode
from susx_bench.photos.labels import read_labels
from susx_bench.photos.page.build import INDEX, SIDE, Gallery, Item, write_page
from susx_bench.photos.photographs import Photos, open_photos
from susx_bench.records.store import read_predictions
from tests.conftest import Bundle, Command
from tests.data.made import encoded, photo
from tests.leaderboard.test_page import Visit, browser  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "</script><script>alert(2)</script>"
CLASSES = ("cat", "dog", f"owl {EVIL}")
FILES = ("=1+1.png", "a b.png", "c,d.png", 'e"f.png', "g.png", "h#i?.png", "z/j.png")
ANSWERS = ((0, 0.9), (0, 0.4), (1, 0.8), (2, 0.6), (2, 0.99), (1, 0.3), (0, 0.7))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = tmp_path_factory.mktemp("pictures")
    for place, name in enumerate(FILES):
        (folder / name).parent.mkdir(exist_ok=True)
        content = photo(place).resize((600, 300)) if place else photo(0)
        (folder / name).write_bytes(encoded(content))
    return open_photos([str(folder)])


def gallery(photos: Photos, *, truth: bool = False) -> Gallery:
    items = [
        Item(
            sample.key,
            label,
            p,
            second=(label + 1) % 3,
            second_probability=(1 - p) / 2,
            status="given" if place == 4 and not truth else "predicted",
            truth=place % 3 if truth else -1,
            path=photos.photos[place].path,
        )
        for place, (sample, (label, p)) in enumerate(zip(photos.samples, ANSWERS, strict=True))
    ]
    return Gallery(
        "7 photographs",
        ["made up", f"by {EVIL}"],
        CLASSES,
        items,
        reject=0.5,
        again="" if truth else "susx-bench classify . --labelled labels.csv",
    )


@pytest.fixture(scope="module")
def folder(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("answers")
    write_page(gallery(photos), photos, photos.samples, root)
    return root


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Visit]:  # noqa: F811
    visit = Visit(browser, folder)
    yield visit
    visit.close()


@pytest.fixture
def judged(
    browser: Browser,  # noqa: F811
    photos: Photos,
    tmp_path: Path,
) -> Iterator[Callable[[Gallery], Page]]:
    """Opens the page of a record's gallery."""
    visits: list[Visit] = []

    def opened(record: Gallery) -> Page:
        write_page(record, photos, photos.samples, tmp_path / "record")
        visits.append(Visit(browser, tmp_path / "record"))
        return visits[-1]("")

    yield opened
    for each in visits:
        each.close()


def content(folder: Path) -> Any:
    """What the page in a folder shows."""
    return json.loads(re.findall(r'id="data">([^<]*)<', (folder / INDEX).read_text())[0])


def cards(page: Page, section: str = "") -> list[str]:
    where = page.locator("section", has=page.locator("h2", has_text=section)) if section else page
    # Not the inner text: a card that the browser has not drawn yet has none.
    return where.locator(".card .file").all_text_contents()


# ---- as files


def test_thumbnails_are_small_and_kept(photos: Photos, folder: Path) -> None:
    files = sorted((folder / "thumbs").glob("*/*.jpg"))
    before = {path: path.stat().st_mtime_ns for path in files}

    write_page(gallery(photos), photos, photos.samples, folder)

    assert len(files) == len(FILES)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    sizes = {decode(path.read_bytes()).size for path in files}
    assert sizes == {(SIDE, SIDE // 2), (48, 48)}


def test_what_is_of_no_use_goes_and_an_unreadable_photograph_has_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(photo(1)))
    (tmp_path / "in" / "b.png").write_bytes(b"no")
    (tmp_path / "out" / "thumbs" / "00").mkdir(parents=True)
    (tmp_path / "out" / "thumbs" / "00" / "old.jpg").write_bytes(b"old")
    photos = open_photos([str(tmp_path / "in")])
    items = [Item("a.png", 0, 0.5), Item("b.png", 1, 0.5)]

    write_page(Gallery("x", [], CLASSES, items), photos, photos.samples, tmp_path / "out")

    assert len(list((tmp_path / "out" / "thumbs").glob("*/*.jpg"))) == 1
    assert [bool(row[1]) for row in content(tmp_path / "out")["items"]] == [True, False]


# ---- in a browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_unsure_photographs_come_first_then_classes(visit: Visit, width: int, scheme: str) -> None:
    page = visit("", width, scheme)

    heads = page.locator("main h2").all_inner_texts()
    assert [head.split("\n")[0].rsplit(" ", 2)[0] for head in heads] == ["Unsure", *CLASSES]
    assert cards(page, "Unsure") == ["h#i?.png", "a b.png"]
    assert cards(page, "dog") == ["c,d.png"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert all(shown)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")


def test_search_class_order_and_threshold(visit: Visit) -> None:
    page = visit("")

    page.fill("#search", "Z/")
    page.wait_for_timeout(300)
    assert len(cards(page)) == 1
    page.fill("#search", "")
    page.select_option("#class", "0")
    page.wait_for_timeout(300)
    assert len(cards(page)) == 3
    page.select_option("#class", "")
    page.select_option("#show", "least")
    page.wait_for_timeout(300)
    assert cards(page)[:2] == ["h#i?.png", "a b.png"]
    page.select_option("#show", "classes")
    page.fill("#below", "0.95")
    page.wait_for_timeout(300)
    assert page.locator("main h2 small").first.inner_text() == "6 photographs"


def test_labels_are_set_by_keyboard_and_pointer_and_read_back(
    visit: Visit, photos: Photos, tmp_path: Path
) -> None:
    """What the page saves is what classify reads, whatever the files are called."""
    page = visit("")
    page.locator(".card").first.focus()

    page.keyboard.press("n")  # h#i?.png: the second class, and on to a b.png
    page.keyboard.press("y")
    page.locator(".card", has_text="=1+1.png").click()
    page.fill("dialog input", "do")
    page.keyboard.press("Enter")
    page.locator(".card", has_text='e"f.png').click()
    page.locator("dialog .choices button").first.click()
    page.locator(".card", has_text="c,d.png").focus()
    page.keyboard.press("y")
    page.keyboard.press("ArrowLeft")
    page.locator(".card", has_text="c,d.png").focus()
    page.keyboard.press("u")
    with page.expect_download() as saving:
        page.keyboard.press("s")
    saving.value.save_as(tmp_path / "labels.csv")

    assert saving.value.suggested_filename == "labels.csv"
    rows = list(csv.reader(io.StringIO((tmp_path / "labels.csv").read_text())))
    assert rows[0] == ["file", "class"]
    assert rows[1][0] == "'=1+1.png"
    found = read_labels([tmp_path / "labels.csv"], CLASSES, photos)
    told = {photos.photos[place].name: label for place, label in found.given.items()}
    assert told == {"=1+1.png": 1, "a b.png": 0, 'e"f.png': 2, "g.png": 2, "h#i?.png": 2}
    status = page.locator("#status")
    assert "Saved 5 labels as labels.csv, where this browser puts downloads" in status.inner_text()
    assert "susx-bench classify . --labelled labels.csv" in status.inner_text()
    copy = status.get_by_role("button", name="Copy")
    copy.click()
    page.locator("#status .copy").filter(has_not_text=re.compile("^Copy$")).wait_for()
    selected = page.evaluate("String(getSelection())")  # nothing, where the browser let it copy
    assert selected in ("", "susx-bench classify . --labelled labels.csv")
    assert status.locator("button").inner_text() in ("Copied", "Selected: press Ctrl+C")


def test_labels_outlive_the_page(browser: Browser, folder: Path) -> None:  # noqa: F811
    context = browser.new_context()
    page = context.new_page()
    page.goto((folder / INDEX).as_uri())
    page.locator(".card").first.focus()
    page.keyboard.press("y")
    page.reload()

    assert page.locator(".card.marked").count() == 2
    assert "1 new label" in page.locator("#marked").inner_text()
    context.close()


def test_a_record_is_looked_at_and_not_labelled(
    judged: Callable[[Gallery], Page], photos: Photos
) -> None:
    page = judged(gallery(photos, truth=True))

    # The surest mistake first: 0.99 of class 2 is of class 1.
    assert cards(page)[0] == "g.png"
    assert page.locator("#save").count() == 0
    page.select_option("#show", "pairs")
    assert page.locator("main h2").first.inner_text().startswith(f"{CLASSES[2]} taken for dog")
    page.locator(".card").first.click()
    assert page.locator("dialog .choices").count() == 0
    page.locator("dialog button").click()


def test_photographs_of_unknown_classes_are_neither_right_nor_wrong(
    judged: Callable[[Gallery], Page], photos: Photos
) -> None:
    known = gallery(photos, truth=True)
    items = [replace(item, truth=-1 if item.truth == 0 else item.truth) for item in known.items]
    page = judged(replace(known, items=items))

    assert cards(page) == ["g.png", "c,d.png", "a b.png", "h#i?.png"]
    page.select_option("#show", "unknown")
    assert cards(page) == ["=1+1.png", "z/j.png", 'e"f.png']
    assert page.locator(".card .next").all_text_contents() == ["of an unknown class"] * 3
    assert page.locator(".card.wrong").count() == 0
    assert page.locator("#class option").all_inner_texts()[1:3] == ["cat (0)", "dog (2)"]
    page.locator(".card").first.click()
    assert "Of a class that the method was not told of." in page.locator("dialog").inner_text()
    page.locator("dialog button").click()
    page.select_option("#show", "right")
    assert cards(page) == []
    page.select_option("#show", "least")
    page.fill("#search", "owl")
    page.get_by_text("4 photographs of 7").wait_for()
    assert cards(page) == ["h#i?.png", 'e"f.png', "c,d.png", "g.png"]


def test_thousands_of_photographs_are_drawn_as_they_are_asked_for(
    browser: Browser,  # noqa: F811
    photos: Photos,
    tmp_path: Path,
) -> None:
    items = [Item(f"{i}.png", i % 3, (i % 100) / 100) for i in range(9000)]
    samples = [photos.samples[0]] * len(items)
    write_page(
        Gallery("9,000", [], CLASSES, items, 0.0, "again"), photos, samples, tmp_path / "many"
    )
    visit = Visit(browser, tmp_path / "many")
    page = visit("")

    first = page.locator(".card").count()
    page.locator(".more").first.click()

    assert first == 3 * 120
    page.locator(".card").nth(360).wait_for(state="attached")
    assert page.locator(".card").count() == first + 120
    visit.close()


def test_the_command_writes_the_page(command: Command, photos: Photos, tmp_path: Path) -> None:
    assert photos.photos[0].path is not None
    words = ("classify", photos.photos[0].path.parent, "--classes", "cat,dog", "--encoder", "demo")

    done = command(*words, "--page", "--out", "answers")

    assert done.code == 0, done.err
    assert "look at answers/index.html" in done.out
    data = content(tmp_path / "answers")
    assert data["again"].endswith("--labelled labels.csv")
    assert all((tmp_path / "answers" / row[1]).is_file() for row in data["items"])


def test_a_record_of_the_demo_is_shown_and_one_of_features_refused(
    command: Command, bundle: Bundle, tmp_path: Path
) -> None:
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--json")
    record = command(*words).records[0]

    done = command("records", "show", record["record"], "--out", "mistakes")

    assert done.code == 0, done.err
    data = content(Path("mistakes"))
    right = sum(row[2] == row[7] for row in data["items"])
    assert 100 * right / len(data["items"]) == pytest.approx(record["accuracy"])
    assert data["truth"]
    path = bundle()
    other = command(*words, "--features", path).records[0]
    refused = command("records", "show", other["record"], "--features", path, "--out", "none")
    assert refused.code == 2
    assert "was measured on features" in refused.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("method", "is_logits"), [("tip-adapter", True), ("tda", True), ("dmn", False)]
)
def test_percentages_are_those_of_the_record_or_there_are_none(
    method: str, is_logits: bool, command: Command
) -> None:
    """Sums of probabilities have a softmax that says nothing."""
    words = ("--setting", "few-shot", "--shots", 1, "--seed", 1, "--tune", "fixed")
    ran = command("run", "--method", method, *words, "--json")
    assert ran.code == 0, ran.err
    (path,) = (Path(r["record"]) for r in ran.records if r["method"].startswith(method))
    said = read_predictions(path)

    done = command("records", "show", path, "--out", "mistakes")

    assert done.code == 0, done.err
    data = content(Path("mistakes"))
    label, probability, margin = ([row[at] for row in data["items"]] for at in (2, 3, 9))
    assert label == said.top1.tolist()
    if is_logits:
        assert said.confidence is not None
        assert probability == pytest.approx(said.confidence.tolist(), abs=1e-3)
        assert set(margin) == {None}
        assert "Percentages are the softmax" in data["facts"][-1]
    else:
        assert set(probability) == {None}
        assert margin == pytest.approx(said.margin.tolist(), rel=1e-3)
        assert data["facts"][-1].startswith("No percentages: its scores are sums of probabilities.")


def test_a_record_with_unknown_classes_is_shown_with_all_its_numbers(
    command: Command,
) -> None:
    words = ("run", "--method", "zero-shot", "--setting", "name-only", "--unknown", "three,eight")
    ran = command(*words, "--json")
    assert ran.code == 0, ran.err
    record = ran.records[0]

    done = command("records", "show", record["record"], "--out", "mistakes")

    assert done.code == 0, done.err
    data = content(Path("mistakes"))
    assert len(data["classes"]) == 8
    truths = [row[7] for row in data["items"]]
    assert truths.count(-1) == record["n_unknown"]
    assert len(truths) == record["n_test"] + record["n_unknown"]
    assert sum(row[2] == row[7] for row in data["items"]) == record["correct"]
    facts = " ".join(data["facts"])
    assert f"{record['n_unknown']:,} of them are of classes that the method was not told" in facts
    assert "of: three,eight. " in facts
    assert f"Of the other {record['n_test']:,} {record['accuracy']:.1f} % are right." in facts
    assert f"AUROC {record['auroc']:.1f} %, FPR95 {record['fpr95']:.1f} %" in facts


def test_without_percentages_the_score_that_leads_most_is_the_surest(
    judged: Callable[[Gallery], Page], photos: Photos
) -> None:
    known = gallery(photos, truth=True)
    items = [
        replace(item, probability=None, margin=lead)
        for item, lead in zip(known.items, (5.0, 0.5, 3.0, 2.0, 0.1, 40.0, 0.2), strict=True)
    ]
    page = judged(replace(known, items=items))

    assert cards(page) == [items[place].name for place in (5, 2, 3, 1, 4)]
    assert not page.locator(".answer", has_text="%").count()


def test_a_record_of_a_folder_links_to_its_files(command: Command, tmp_path: Path) -> None:
    for place in range(20):
        path = tmp_path / "mine" / ("cat", "dog")[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(place)))
    words = ("--dataset", "./mine", "--setting", "name-only", "--encoder", "demo")
    ran = command("run", "--method", "zero-shot", *words, "--json")
    assert ran.code == 0, ran.err

    path = ran.records[0]["record"]
    done = command("records", "show", path, "--dataset", "./mine", "--out", "mistakes")

    assert done.code == 0, done.err
    data = content(Path("mistakes"))
    assert data["items"]
    for row in data["items"]:
        assert (Path("mistakes") / row[8]).resolve() == (tmp_path / "mine" / row[0]).resolve()
