"""The page as files, and in a real browser: ``SUSX_BENCH_BROWSER`` names a Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from importlib.resources import files as build_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from susx_bench.leaderboard.answers import Answer, answers
from susx_bench.leaderboard.board import MARKS, UNRANKED, Board
from susx_bench.leaderboard.figures.picture import Picture
from susx_bench.leaderboard.formats.sheet import arrow, number
from susx_bench.leaderboard.make import by_metric, make
from susx_bench.leaderboard.metrics import METRICS
from susx_bench.leaderboard.page import build
from susx_bench.leaderboard.page.build import INDEX, Shown, differences, files
from susx_bench.leaderboard.robustness import drops
from susx_bench.options.asked import BUNDLE
from susx_bench.records.command import command as command_of
from susx_bench.records.record import UNSAID, Record
from tests.conftest import Bundle, Command
from tests.leaderboard.synthetic import METHODS, synthetic

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

EVIL = "<img src=x onerror=alert(1)>"
WORSE = "</script><script>alert(2)</script>"
FEW = ("zero-shot", "tip-adapter", "tipx", "zlap")


def main_records() -> dict[str, Record]:
    """Two datasets and three shots, one cell missing, one row tuned on the test set."""
    records = synthetic("main", FEW, ("dtd", "eurosat"), (1, 4, 16), (1, 2))
    gone = [
        path for path, r in records.items() if (r.method, r.dataset, r.shots) == ("zlap", "dtd", 16)
    ]
    for path in gone:
        del records[path]
    for path, r in list(records.items()):
        if r.method == "tipx":
            records[f"{path[:-5]}-test.json"] = r.model_copy(
                update={"tuned_on": "test", "input_sha256": f"test{r.input_sha256[4:]}"}
            )
    return records


def evil_records() -> dict[str, Record]:
    records = synthetic("evil", ("zero-shot", "tipx"), ("dtd", WORSE), (4,), (1,))
    found = {}
    for path, r in records.items():
        names = {"zero-shot": "zero-shot", "tipx": EVIL}
        changes = {"method": names[r.method], "encoder": f"{EVIL}:{WORSE}"}
        found[path.replace(WORSE, "worse")] = r.model_copy(update=changes)
    return found


def show(name: str, records: dict[str, Record], text: str = "") -> Shown:
    return Shown.of(make(name, f"The {name} table", text, METHODS, (), records), records)


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    text = f"First `code` and {EVIL}.\n\nSecond {WORSE}."
    return [show("main", main_records(), text), show("evil", evil_records(), text)]


@pytest.fixture(scope="module")
def folder(shown: list[Shown], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The leaderboards' folder as it lies on disk."""
    root = tmp_path_factory.mktemp("leaderboards")
    for name, content in files(shown).items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    return root


# ---- as files


class Parts(HTMLParser):
    """Scripts, styles, policy and addresses of a page, as a browser's parser parts them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self.policy = ""
        self.addresses: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] or "" for name in ("src", "href", "action") if name in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self._inside = (given.get("id") or tag) if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


@pytest.fixture(scope="module")
def parts(folder: Path) -> Parts:
    return Parts((folder / INDEX).read_text())


def test_the_page_holds_every_record_as_it_is(shown: list[Shown], parts: Parts) -> None:
    for board, records, _ in shown:
        held = json.loads(parts.texts[f"records-{board.name}"])
        found = [dict(zip(held["fields"], values, strict=True)) for values in held["records"]]
        assert sorted(record["path"] for record in found) == sorted(records)
        for record in found:
            r = records[record["path"]]
            for name in ("seed", "hparams", "n_test", "correct", "device", "checksum", "git"):
                assert record[name] == getattr(r, name)
            for what in ("input", "split", "support", "prompts", "weights", "predictions"):
                assert record[f"{what}_sha256"] == getattr(r, f"{what}_sha256")
            assert record["accuracy"] == pytest.approx(r.accuracy, abs=1e-4)
            assert record["low"] < r.accuracy < record["high"]
            assert record["search"] == pytest.approx(r.seconds.search, abs=1e-4)
            assert held["versions"][record["versions"]] == r.versions


def test_no_name_ends_a_script(parts: Parts) -> None:
    ours = ["script"] * 6  # two boards, their records, a list of them, and the page's own
    assert [tag for tag in parts.tags if tag == "script"] == ours
    assert "img" not in parts.tags
    assert json.loads(parts.texts["board-evil"])["rows"][1]["label"] == EVIL
    assert WORSE in {c["dataset"] for c in json.loads(parts.texts["board-evil"])["columns"]}


def test_the_policy_allows_the_one_script_and_the_one_style_and_no_address(parts: Parts) -> None:
    policy = dict(part.strip().split(" ", 1) for part in parts.policy.split(";"))
    for name, kind in (("script", "script-src"), ("style", "style-src")):
        digest = hashlib.sha256(parts.texts[name].encode()).digest()
        assert policy[kind] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert policy["default-src"] == "'none'"
    assert "http" not in parts.policy
    assert set(parts.addresses) <= {"#table"}
    code = parts.texts["script"] + parts.texts["style"]
    assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacent|document\.write|eval", code)


def test_the_same_records_give_the_same_page(shown: list[Shown], folder: Path) -> None:
    def there(path: str) -> bytes | None:
        return (folder / path).read_bytes() if (folder / path).is_file() else None

    again = [
        show(board.name, dict(list(records.items())[::-1]), board.text)
        for board, records, _ in shown
    ]
    assert files(again, there)[INDEX] == there(INDEX)


def test_each_leaderboard_is_built_and_checked_alone(shown: list[Shown], folder: Path) -> None:
    page = (folder / INDEX).read_bytes()
    there: dict[str, bytes | None] = dict.fromkeys(shown[0].records, b"{}")
    there |= dict.fromkeys(shown[1].records, b"{}")

    alone = files([shown[1]], there.get)
    assert b"The main table" not in alone[INDEX]
    both = files([shown[0]], (there | alone).get)
    assert both[INDEX] == page
    assert differences([shown[0]], (there | alone | both).get) == []
    assert differences([shown[1]], (there | alone | both).get) == []

    records_gone = dict.fromkeys(shown[0].records, b"{}") | both
    assert b"The evil table" not in files([shown[0]], records_gone.get)[INDEX]


def test_a_check_draws_nothing_and_names_what_is_not_as_it_would_be_written(
    shown: list[Shown], folder: Path
) -> None:
    content: dict[str, bytes | None] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert differences(shown, content.get) == []

    def with_list(name: str, data: bytes) -> dict[str, bytes | None]:
        """As another machine would have drawn it, and listed it."""
        board = name.partition("-")[0]
        entries = json.loads(content[f"{board}.pictures.json"] or b"")
        entries[f"pictures/{name}"]["sha256"] = hashlib.sha256(data).hexdigest()
        text = json.dumps(entries, indent=2, sort_keys=True) + "\n"
        return {f"pictures/{name}": data, f"{board}.pictures.json": text.encode()}

    other = (content["pictures/main-gain.svg"] or b"") + b"<!-- -->"
    assert differences(shown, (content | with_list("main-gain.svg", other)).get) == []

    swapped = content | {
        "pictures/main-gain.png": content["pictures/evil-gain.png"],
        "pictures/main-shots.svg": None,
        INDEX: (content[INDEX] or b"").replace(b"best first", b"worst first"),
    }
    assert differences(shown, swapped.get) == [
        "index.html is not what the records give",
        "pictures/main-shots.svg is missing",
        "pictures/main-gain.png was changed after it was drawn",
    ]


@pytest.fixture
def there(folder: Path) -> dict[str, bytes]:
    """All files of the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "half", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-1] + b"x"]
)
def test_half_a_picture_is_named_and_drawn_again(
    half: Callable[[bytes], bytes], shown: list[Shown], there: dict[str, bytes]
) -> None:
    """The first half of an SVG names what it was drawn from, as the whole does."""
    for ending in ("svg", "png"):
        path = f"pictures/main-gain.{ending}"
        broken = there | {path: half(there[path])}

        assert differences(shown, broken.get) == [f"{path} was changed after it was drawn"]
        assert files(shown, broken.get) == there


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "is missing"),
        (b"", "is not as it was written"),
        (b"[1]", "is not as it was written"),
        (b'{"pictures/main-gain.svg": {"sha256": 3}}', "is not as it was written"),
        (b"\xff", "is not as it was written"),
    ],
)
def test_a_list_that_is_none_is_named_and_written_again(
    text: bytes | None, told: str, shown: list[Shown], there: dict[str, bytes]
) -> None:
    broken: dict[str, bytes | None] = {**there, "main.pictures.json": text}

    assert differences(shown, broken.get) == [f"main.pictures.json {told}"]
    assert files(shown, broken.get) == there


def test_a_picture_of_the_same_data_is_kept(
    shown: list[Shown], there: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picture, "files", lambda picture: pytest.fail("drawn"))

    assert files(shown, there.get) == there


@pytest.mark.parametrize(
    "options",
    [
        ("--tune", "test", "--allow-test-tuning"),
        ("--official",),
        ("--shots", "2", "--seed", "2", "--tune", "support"),
    ],
    ids=" ".join,
)
def test_the_command_gives_the_record_of_a_bundle(
    command: Command, bundle: Bundle, options: tuple[str, ...]
) -> None:
    path = bundle()
    words = ["--method", "tipx", "--setting", "few-shot", "--features", path, *options]
    first = command("run", *words, "--json").records[0]
    measured = Record.model_validate_json(
        json.dumps({key: value for key, value in first.items() if key != "record"})
    )
    asked = shlex.split(command_of(measured).replace(BUNDLE, shlex.quote(str(path))))

    again = command(*asked[1:], "--json", "--out", "again")

    assert again.code == 0, again.err
    assert again.records[0]["input_sha256"] == measured.input_sha256


# ---- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium without a window; it is spoken to over pipes."""
    name = os.environ.get("SUSX_BENCH_BROWSER")
    if not name:
        pytest.skip("SUSX_BENCH_BROWSER is not set: no browser here")
    executable = shutil.which(name)
    assert executable, f"SUSX_BENCH_BROWSER names {name}, which cannot be run"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for the superuser of a container.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"] if root else []
        )
        yield browser
        browser.close()


class Visit:
    """Opens the page, and keeps all that it says, asks for and pops up."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self._browser = browser
        self._folder = folder
        self._pages: list[Page] = []

    def __call__(self, place: str = "#main", width: int = 1280, scheme: Any = "light") -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))
        page.on("request", lambda request: self.asked.append(request.url))

        def popped(dialog: Any) -> None:
            self.said.append(f"popped up: {dialog.message}")
            dialog.dismiss()

        page.on("dialog", popped)
        page.goto(f"{(self._folder / INDEX).as_uri()}{place}")
        self._pages.append(page)
        return page

    def close(self) -> None:
        for page in self._pages:
            page.context.close()
        home = self._folder.as_uri() + "/"
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(home)] == []
        assert self.asked


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Visit]:
    visit = Visit(browser, folder)
    yield visit
    visit.close()


ROW = "#table tbody tr:not(.section)"


def names(page: Page) -> list[str]:
    """Method and tuning of the rows, from above."""
    lines = page.locator(ROW).all()
    return [" ".join(line.locator("th, td.tuning").all_inner_texts()).strip() for line in lines]


def head(page: Page, text: str) -> Locator:
    return page.locator("th.sortable").filter(has_text=text)


def row_of(board: Board, label: str) -> int:
    return next(
        i
        for i, row in enumerate(board.rows)
        if label
        == f"{row.label} {row.tuning}" + "".join(f" {m}" for m in row.marks if m in UNRANKED)
        or label == f"{row.label} {row.marks} {row.tuning}"
    )


def test_every_number_of_the_board_stands_on_the_page(shown: list[Shown], visit: Visit) -> None:
    board = shown[0].board
    page = visit()

    assert page.title() == "The main table · susx-bench"
    assert page.locator(ROW).count() == len(board.rows) == 5
    heads = page.locator("tr.section").all_inner_texts()
    assert [text.strip() for text in heads] == [part.label for part in board.sections]
    for i, line in enumerate(page.locator(ROW).all()):
        texts = line.locator("td").all_inner_texts()
        expected = [board.rows[i].tuning + (" †" if "†" in board.rows[i].marks else "")]
        rank = board.rows[i].rank
        expected.append("" if rank is None else f"{rank:.2f}")
        for group, average in zip(board.groups, board.rows[i].averages, strict=True):
            expected.append("" if average is None else f"{average:.1f}")
            cells = [board.rows[i].cells[c] for c in group.columns]
            expected += [
                "" if cell is None else "".join([*number(cell), arrow(cell)]) for cell in cells
            ]
        assert [text.replace(" ▲", "▲").replace(" ▼", "▼") for text in texts] == expected
    assert page.locator("#lede code, #text code").text_content() == "code"
    assert page.locator("#lede p, #text p").count() == 2


def test_a_click_sorts_best_first_then_worst_first_then_as_it_was(
    shown: list[Shown], visit: Visit
) -> None:
    board = shown[0].board
    page = visit()
    as_it_was = names(page)
    place = next(
        i for i, c in enumerate(board.columns) if (c.task.dataset, c.task.shots) == ("dtd", 16)
    )
    means = {
        name: cell.mean if (cell := board.rows[row_of(board, name)].cells[place]) else None
        for name in as_it_was
    }
    parts = [[as_it_was[i] for i in part.rows] for part in board.sections]

    def ordered(way: int) -> list[str]:
        """Each section for itself; ties stay as they were, and a blank stands last."""
        keys = {name: math.inf if mean is None else way * mean for name, mean in means.items()}
        return [name for part in parts for name in sorted(part, key=keys.__getitem__)]

    column = head(page, "dtd").nth(2)

    assert None in means.values()
    assert len(parts) == 3
    column.click()
    assert names(page) == ordered(-1)
    assert column.get_attribute("aria-sort") == "descending"
    column.click()
    assert names(page) == ordered(1) != ordered(-1)
    assert column.get_attribute("aria-sort") == "ascending"
    column.click()
    assert names(page) == as_it_was
    assert page.locator("[aria-sort]:not([aria-sort=none])").count() == 0


def test_names_sort_by_the_alphabet_and_ranks_from_one(shown: list[Shown], visit: Visit) -> None:
    page = visit()

    head(page, "method").click()
    by_name = names(page)
    head(page, "average rank").click()
    ranks = [
        text for text in page.locator("#table tbody td:nth-child(3)").all_inner_texts() if text
    ]

    first = len(shown[0].board.sections[0].rows)
    assert by_name[:first] == ["tip-adapter val", "tipx val", "zero-shot –"]
    assert ranks == ["1.50", "1.50", "3.00"]


def test_filters_leave_what_fits(visit: Visit) -> None:
    page = visit()
    status = page.locator("#status")
    form = page.locator("#controls")

    page.select_option("[name=shots]", "4")
    assert status.inner_text().startswith("5 of 5 rows, 2 of 6 columns")
    page.select_option("[name=section]", "transductive (all test images); tuned on the val labels")
    assert names(page) == ["zlap, sees all test images ᵗ val"]
    page.get_by_role("button", name="Reset").click()
    # A form tells of its reset before it is done, so the page follows a moment later.
    page.locator("#status", has_text="5 of 5").wait_for()
    assert status.inner_text().startswith("5 of 5 rows, 6 of 6 columns")
    page.select_option("[name=tuning]", "test")
    assert names(page) == ["zero-shot –", "tipx test †"]
    page.select_option("[name=tuning]", "")
    page.fill("[name=words]", "TIPX eurosat")
    assert status.inner_text().startswith("2 of 5 rows, 3 of 6 columns")
    page.fill("[name=words]", "nobody")
    assert page.locator("#table").inner_text() == "Nothing fits these filters."
    assert form.is_visible()


def answer_of(board: Board, records: Mapping[str, Record], shots: int) -> Answer:
    """The answer of the first section at a number of shots."""
    return next(a for a in answers(board, records) if (a.section, a.level.shots) == (0, shots))


def test_the_page_answers_before_it_shows_a_table(shown: list[Shown], visit: Visit) -> None:
    """Which method is best, by how much and how surely: as the board's answers say."""
    board, records, _ = shown[0]
    page = visit("#main?labels=4")
    answer = answer_of(board, records, 4)
    best, second = answer.rows[:2]
    row = board.rows[best.row]
    assert best.over_zero_shot
    assert second.behind

    assert page.locator("[name=labels]").input_value() == "4"
    summary = page.locator("#answers .summary").inner_text()
    assert "The best with 4 labelled images per class" in summary
    assert row.method in summary
    assert f"{best.accuracy.mean:.1f}\xa0%" in summary
    assert f"{best.over_zero_shot.mean:.1f} points above zero-shot" in summary
    lines = page.locator(".ranking tbody tr").all_inner_texts()
    assert [line.split()[0] for line in lines] == [board.rows[s.row].method for s in answer.rows]
    told = lines[1].replace("−", "-")
    for number_ in second.behind:
        assert f"{number_:+.1f}" in told
    assert ("≈" in told) == (second.behind.high >= 0)
    assert "all 2 columns: dtd; eurosat" in page.locator("#answers article").inner_text()
    page.get_by_text("How do I run this on my data?").click()
    assert f"susx-bench run --method {row.method}" in page.locator("#commands").inner_text()


def test_the_picture_follows_the_chooser(shown: list[Shown], visit: Visit) -> None:
    board, records, _ = shown[0]
    page = visit("#main")
    for shots in (1, 16):
        page.select_option("[name=labels]", str(shots))
        answer = answer_of(board, records, shots)
        texts = page.locator(".chart title").all_text_contents()
        assert len(texts) == len(answer.rows) == 3
        assert f": {answer.rows[0].accuracy.mean:.1f} % in " in "".join(texts)
        front = page.locator(".chart circle.on").count()
        assert 1 <= front <= 3
    page.select_option("[name=regime]", "transductive (all test images)")
    assert page.locator(".ranking tbody th").all_inner_texts() == ["zlap val", "zero-shot"]
    page.get_by_role("button", name="inductive").click()
    assert page.locator("[name=regime]").input_value() == "inductive"


def in_doubt_records() -> dict[str, Record]:
    """Name-only numbers: one ranked, one of a support nobody knows, one of seen constants."""
    records = synthetic("doubt", ("zero-shot", "tip-adapter", "tipx", "ape"), ("dtd", "cub"), (4,))
    support = {"zero-shot": "none", "tip-adapter": "sus-sd-photo", "tipx": UNSAID}
    return {
        path: r.model_copy(
            update={
                "setting": "name-only",
                "tuned_on": "fixed",
                "support": support.get(r.method, "sus-sd-photo"),
                "chosen_here": r.method == "ape",
            }
        )
        for path, r in records.items()
    }


def test_the_page_says_of_each_mark_what_it_means(tmp_path: Path, browser: Browser) -> None:
    """Not that every number without a rank has constants chosen with an eye on the data."""
    shown = [show("doubt", in_doubt_records())]
    board = shown[0].board
    assert {row.method: row.marks for row in board.rows if row.marks} == {"tipx": "‖", "ape": "¶"}
    for name, content in files(shown).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    visit = Visit(browser, tmp_path)
    page = visit("#doubt")

    tuning = {line.split()[0].strip(","): line for line in page.locator(ROW).all_inner_texts()}
    assert {name for name, line in tuning.items() if "fixed ‖" in line} == {"tipx"}
    assert {name for name, line in tuning.items() if "fixed ¶" in line} == {"ape"}
    named = page.locator("#notes").text_content() or ""
    for mark in "‖¶":
        assert f"{mark} {MARKS[mark]}" in named
    titles = page.locator(".chart title").all_text_contents()
    assert {title.split(":")[0].split()[-1] for title in titles} >= {"‖", "¶"}
    told = page.locator(".chart + figcaption, figcaption").first.inner_text()
    assert f"‖ {MARKS['‖']}. ¶ {MARKS['¶']}" in told or f"¶ {MARKS['¶']}. ‖ {MARKS['‖']}" in told
    answer = page.locator("#answers article").inner_text()
    better = max((r for r in board.rows if r.marks), key=lambda row: row.averages[0] or 0)
    assert f"{better.method}" in answer
    assert f"{better.marks} {MARKS[better.marks]}" in answer
    visit.close()


def test_the_page_knows_the_marks_of_the_tables() -> None:
    script = build_files("susx_bench.leaderboard.page").joinpath("page.js").read_text()

    assert f'const UNRANKED = "{UNRANKED}";' in script
    assert set(UNRANKED) <= set(MARKS)


def test_what_was_not_measured_is_answered_by_its_neighbours(
    shown: list[Shown], visit: Visit
) -> None:
    board, records, _ = shown[0]
    page = visit("#main?labels=8")
    summary = page.locator("#answers .summary").inner_text()

    assert "Nothing was measured with 8 per class. The nearest, 4 and 16, are shown" in summary
    for shots in (4, 16):
        best = answer_of(board, records, shots).rows[0]
        assert f"{best.accuracy.mean:.1f}\xa0% at {shots}" in summary
    assert page.locator("#answers article h4").all_inner_texts() == [
        "4 labelled images per class",
        "16 labelled images per class",
    ]
    assert "On dtd, measured at both: zero-shot" in summary


def test_a_view_has_an_address(visit: Visit) -> None:
    page = visit()
    page.select_option("[name=labels]", "2")
    assert "Nothing was measured with 2" in page.locator("#answers").inner_text()
    page.locator("#controls input[type=search]").fill("tipx")
    place = page.evaluate("location.hash")
    status = page.locator("#status").inner_text()

    again = visit(place)
    assert again.locator("[name=labels]").input_value() == "2"
    assert again.locator("#status").inner_text() == status


def test_large_data_lie_beside_the_page(
    shown: list[Shown],
    browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "BESIDE", 1000)
    content = files(shown)
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    beside = {name for name in content if name.startswith("data/")}
    assert beside == {
        f"data/{what}-{name}.js" for what in ("board", "records") for name in ("main", "evil")
    }
    assert b"input_sha256" not in content[INDEX]

    there: dict[str, bytes | None] = {**dict.fromkeys(shown[0].records, b"{}"), **content}
    assert files([shown[1]], there.get)[INDEX] == content[INDEX]
    assert differences([shown[1]], there.get, [*beside, "data/old.js"]) == [
        "data/old.js is read no more"
    ]
    wrong = there | {"data/records-evil.js": b"hold(", "data/board-evil.js": None}
    assert differences([shown[1]], wrong.get) == [
        "data/board-evil.js is missing",
        "data/records-evil.js is not what the records give",
    ]

    visit = Visit(browser, tmp_path)
    page = visit("#main")
    page.locator(ROW).nth(1).locator("td.cell").first.click()
    details_of(page, shown[0])
    page.keyboard.press("Escape")
    page.get_by_role("link", name="evil", exact=True).click()
    page.locator("#table tbody tr").nth(1).locator("td.cell").last.click()
    assert EVIL in page.get_by_role("dialog").inner_text()
    loaded = [url.rpartition("/")[2] for url in visit.asked if "/data/" in url]
    assert loaded == ["board-main.js", "records-main.js", "board-evil.js", "records-evil.js"]
    visit.close()

    (tmp_path / "data/records-main.js").unlink()
    page = browser.new_page()
    page.goto(f"{(tmp_path / INDEX).as_uri()}#main")
    page.locator(ROW).nth(1).locator("td.cell").first.click()
    told = page.get_by_role("dialog").inner_text()
    assert "data/records-main.js does not lie beside this page" in told
    page.close()


def test_what_is_shown_is_saved_as_csv(visit: Visit) -> None:
    page = visit()
    page.locator("#controls input[type=search]").fill("tipx")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV of what is shown").click()
    lines = saved.value.path().read_text().splitlines()

    assert lines[0].startswith("method,tuned on,section,column,accuracy")
    assert len(lines) > 1
    assert all(line.startswith("tipx") for line in lines[1:])


def test_differences_from_a_baseline(shown: list[Shown], visit: Visit) -> None:
    board = shown[0].board
    page = visit()
    base = row_of(board, "tip-adapter val")

    page.select_option("[name=baseline]", str(base))

    for i, line in enumerate(page.locator(ROW).all()):
        texts = iter(line.locator("td.cell, td.blank").all_inner_texts())
        for group in board.groups:
            for c in group.columns:
                cell, other = board.rows[i].cells[c], board.rows[base].cells[c]
                shown_text = next(texts)
                if cell is None or other is None:
                    assert shown_text == ""
                    continue
                difference = float(shown_text.replace("−", "-"))
                assert difference == pytest.approx(cell.mean - other.mean, abs=0.0501)
                assert (shown_text[0] == "+") == (difference > 0)
    assert "points more than tip-adapter" in page.locator("#status").inner_text()
    assert page.locator("tr.base").count() == 1


def details_of(page: Page, shown: Shown) -> None:
    """Check the dialog of the first row with labelled images, first column."""
    board, records, _ = shown
    row = 1
    column = board.groups[0].columns[0]
    cell = board.rows[row].cells[column]
    assert cell is not None
    dialog = page.get_by_role("dialog")
    text = dialog.inner_text()
    assert f"{cell.mean:.2f} %" in text
    assert f"{cell.low:.2f} to {cell.high:.2f}" in text
    for summary in dialog.locator("summary").all():
        summary.click()
    text = dialog.inner_text()
    assert len(cell.records) == 2
    for path in cell.records:
        r = records[path]
        made = f"galleries/{Path(path).stem}"
        gallery = f"susx-bench records show {path} --out {made}"
        for part in (
            r.input_sha256,
            r.predictions_sha256,
            r.checksum,
            r.device,
            command_of(r),
            gallery,
        ):
            assert part in text
        assert f"search {round(r.seconds.search, 4)}" in text
        assert "alpha 2, beta 5.5" in text
        assert "torch 2.6.0" in text
        assert dialog.locator(f"a[href='{path}']").count() == 1
        assert dialog.locator(f"a[href='{made}/index.html']").count() == 1


def test_a_click_on_a_number_shows_its_records(shown: list[Shown], visit: Visit) -> None:
    page = visit()

    page.locator(ROW).nth(1).locator("td.cell").first.click()
    details_of(page, shown[0])
    page.get_by_role("button", name="Close").click()

    assert not page.get_by_role("dialog").is_visible()


def test_all_of_it_works_by_keyboard(shown: list[Shown], visit: Visit) -> None:
    page = visit()
    as_it_was = names(page)

    def focused() -> str:
        return str(page.evaluate("document.activeElement.textContent"))

    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#table th')"):
            break
    assert focused() == "method"
    page.keyboard.press("Enter")
    assert names(page)[:3] == sorted(as_it_was[:3]) != as_it_was[:3]
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert names(page) == as_it_was
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    number = focused()
    page.keyboard.press("Enter")
    details_of(page, shown[0])
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert focused() == number  # back where it was
    page.keyboard.press("Control+Home")
    assert focused() == "method"
    assert page.locator("#table [tabindex='0']").count() == 1


def test_names_are_shown_and_not_run(visit: Visit) -> None:
    page = visit("#evil")

    assert page.locator("#table tbody tr").nth(1).locator("th").inner_text() == EVIL
    assert WORSE in page.locator("#table thead").inner_text()
    assert page.locator("#table img, #text img, #text script").count() == 0
    page.locator("#table tbody tr").nth(1).locator("td.cell").last.click()
    assert EVIL in page.get_by_role("dialog").inner_text()
    assert page.get_by_role("dialog").locator("img").count() == 0
    page.keyboard.press("Escape")
    page.get_by_role("link", name="main", exact=True).click()
    assert page.locator("#title").inner_text() == "The main table"
    assert page.locator("#suites [aria-current]").inner_text() == "main"


def test_pictures_are_there_with_a_text_for_each(shown: list[Shown], visit: Visit) -> None:
    page = visit()
    images = page.locator("figure img")

    assert images.count() == 5
    for image in images.all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")  # which waits until it is there
        assert image.evaluate("image => image.naturalWidth") > 100
        assert len(image.get_attribute("alt") or "") > 40


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 has it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_a_phone_and_can_be_read_in_the_dark(visit: Visit, scheme: str, width: int) -> None:
    page = visit("#main", width, scheme)
    page.select_option("[name=baseline]", "1")

    def fits(selector: str) -> bool:
        return bool(
            page.eval_on_selector(selector, "node => node.scrollWidth <= node.clientWidth + 1")
        )

    assert fits("html")
    page.locator("#table tbody tr").nth(1).locator("td.cell").first.click()
    page.get_by_role("dialog").locator("summary").first.click()
    assert fits("dialog")
    for selector in ("#title", "#facts", ".scroll td.cell", "small, .quiet", "dialog dt", "a"):
        colour, ground = page.eval_on_selector(
            selector,
            """node => {
                let under = node;
                const of = (n) => getComputedStyle(n).backgroundColor;
                while (under && /, 0\\)$/.test(of(under))) under = under.parentElement;
                return [getComputedStyle(node).color, under ? of(under) : "rgb(255, 255, 255)"];
            }""",
        )
        light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, colour, ground)
    body = page.eval_on_selector("body", "node => getComputedStyle(node).backgroundColor")
    assert (luminance(body) > 0.5) == (scheme == "light")


def test_the_browser_itself_lets_nothing_out(browser: Browser, folder: Path) -> None:
    """Not even code that somehow got into the page."""
    page = browser.new_page()
    page.goto((folder / INDEX).as_uri())

    refused = page.evaluate(
        """async () => {
            const refused = [];
            addEventListener("securitypolicyviolation", (e) => refused.push(e.effectiveDirective));
            await fetch("http://127.0.0.1:9/").catch(() => null);
            const image = new Image();
            image.src = "http://127.0.0.1:9/x.png";
            const script = document.createElement("script");
            script.textContent = "document.title = 'run'";
            document.body.append(script);
            await new Promise((done) => setTimeout(done, 200));
            return refused.sort();
        }"""
    )

    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.title() != "run"
    page.close()


def test_a_cell_of_draws_that_are_the_same_opens(browser: Browser, tmp_path: Path) -> None:
    """A standard deviation of 0 is a value; the same images drawn thrice are one run."""
    records = synthetic("same", ("tipx",), ("dtd", "cub"), (4,), (1, 2, 3))
    first = {r.dataset: r for r in records.values() if r.seed == 1}
    for path, r in records.items():
        same = ["accuracy", "correct", "right", "classes", "predictions_sha256"]
        same += ["support_sha256"] if r.dataset == "dtd" else []
        changes = {name: getattr(first[r.dataset], name) for name in same}
        records[path] = r.model_copy(update=changes)
    made = show("same", records)
    for name, content in files([made]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    visit = Visit(browser, tmp_path)
    page = visit("#same")
    texts = {}
    for cell, dataset in zip(page.locator("td.cell").all(), ("cub", "dtd"), strict=True):
        shown = cell.inner_text()
        cell.click()
        texts[dataset] = shown, page.get_by_role("dialog").inner_text()
        page.keyboard.press("Escape")
    visit.close()

    mean, low = first["dtd"].accuracy, made.board.rows[0].cells[1]
    assert low is not None
    assert "±0.0" in texts["cub"][0]
    assert "± 0.00 over 3 runs" in texts["cub"][1]
    assert texts["dtd"][0].startswith(f"{mean:.1f} [{low.low:.1f}, ")
    assert "Seeds 1, 2 and 3 drew the same images: they are one run." in texts["dtd"][1]
    assert f"{low.low:.2f} to {low.high:.2f}, Wilson" in texts["dtd"][1]


def test_another_number_is_chosen(browser: Browser, tmp_path: Path) -> None:
    """A row's order, numbers and blanks are those of the board by that metric."""
    records = synthetic("other", FEW[:3], ("dtd", "eurosat"), (4,), (1, 2))
    for place, (path, r) in enumerate(records.items()):
        error = {"zero-shot": 20.0, "tip-adapter": 5.0, "tipx": 1.25}[r.method] + place / 100
        counted: dict[str, Any] = {"ece": error, "nll": error / 8, "top5": 95.0}
        if r.method == "tip-adapter":
            counted = {"top5": 95.0, "blank": {"ece": "its scores are sums", "nll": "so"}}
        records[path] = r.model_copy(update=counted)
    made = show("other", records)
    for name, content in files([made]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    board = by_metric(made.board, records, METRICS["nll"])
    visit = Visit(browser, tmp_path)
    page = visit("#other")
    first = [each.inner_text() for each in page.locator("td.cell").all()]
    options = page.locator("[name=metric] option").all_inner_texts()
    by_accuracy = page.locator("#answers .summary").inner_text()
    page.select_option("[name=metric]", "nll")
    summary = page.locator("#answers .summary").inner_text()
    ranking = page.locator(".ranking tbody tr").all_inner_texts()
    heads = page.locator(".ranking thead th").all_inner_texts()
    article = page.locator("#answers article").inner_text()
    dots = page.locator(".chart title").all_text_contents()
    shown, order = page.locator("td.cell").all_inner_texts(), names(page)
    status = page.locator("#status").inner_text()
    head(page, "dtd").first.click()
    sorted_up = names(page)
    again = visit(f"#{page.url.partition('#')[2]}")
    kept = again.locator("td.cell").all_inner_texts()
    page.locator("td.cell").first.click()
    dialog = page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    page.select_option("[name=metric]", "")
    back = page.locator("td.cell").all_inner_texts()
    visit.close()

    assert options == [
        *("top-1 accuracy", "mean over classes of the accuracy", "top-5 accuracy"),
        *("expected calibration error", "negative log-likelihood"),
    ]
    assert [name.split()[0] for name in order] == ["tipx", "zero-shot", "tip-adapter"]
    tipx = next(row for row in board.rows if row.method == "tipx")
    assert [text.split(" ")[0] for text in shown[:2]] == [f"{c.mean:.3f}" for c in tipx.cells if c]
    assert "its scores are sums" not in status
    assert status.endswith("because so")
    assert sorted_up[0] == order[0]
    assert kept == shown
    means = {
        row.method: sum(cell.mean for cell in row.cells if cell) / 2
        for row in board.rows
        if any(row.cells)
    }
    assert "The best with 4 labelled images per class, by top-1 accuracy\n" in by_accuracy
    assert "per class, by negative log-likelihood (lower is better)\n" in summary
    gain = means["zero-shot"] - means["tipx"]
    assert f"{means['tipx']:.3f}\xa0nats, {gain:.3f} nats below zero-shot." in summary
    assert heads[1:3] == ["negative log-likelihood, nats", "nats to the best"]
    assert [line.split()[0] for line in ranking] == ["tipx", "zero-shot"]
    assert [f"{means['zero-shot']:.3f}", f"+{gain:.3f}"] == ranking[1].split("\t")[1:3]
    assert "Intervals over test images are kept of top-1 accuracy alone." in article
    assert "No negative log-likelihood: tip-adapter." in article
    assert sorted(dot.split(": ")[1].split(" in ")[0] for dot in dots) == sorted(
        f"{means[name]:.3f} nats" for name in ("tipx", "zero-shot")
    )
    assert "negative log-likelihood" in dialog
    assert "top-5 accuracy" in dialog
    assert back == first


def test_the_drop_below_the_clean_test_set_is_a_number_to_choose(
    browser: Browser, tmp_path: Path
) -> None:
    made = show("robust", synthetic("robust", FEW[:3], ("imagenet", "imagenet-v2"), (4,), (1, 2)))
    for name, content in files([made]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    visit = Visit(browser, tmp_path)
    page = visit("#robust")
    page.select_option("[name=metric]", "drop")
    cells = page.locator("td.cell").all_inner_texts()
    page.locator("td.cell").first.click()
    dialog = page.get_by_role("dialog").inner_text()
    visit.close()

    expected = {f"{one:.1f}" for row in drops(made.board) for one in row if one is not None}
    assert {text.replace("−", "-").split(" ")[0] for text in cells if text.strip()} == expected
    assert "drop below the clean test set of the same classes" in dialog
