from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import OptionError, OutputError, PromptsError
from susx_bench.prompts import endpoint as module
from susx_bench.prompts.build import Built, build
from susx_bench.prompts.endpoint import Endpoint
from susx_bench.prompts.kinds import class_prompts
from susx_bench.prompts.request import INSTRUCTION, QUESTIONS, Request, filled_in
from susx_bench.records.files import sha256_file, write_atomic
from tests.conftest import Command

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "sk-very-secret-0123456789"
TOY = {
    "name": "toy",
    "title": "Toy",
    "classnames": ("zebra", "big_cat", "ant"),
    "sizes": {},
    "template": "a photo of a {}.",
    "licence": "none",
    "protocol": "susx",
    "bibtex_key": "",
}
SPEC = DatasetSpec(**cast(Any, TOY))
SMALL = Request(model="parrot", questions=("What is a(n) {}?", "Draw {}"), answers=3)

Asked = dict[str, Any]
Answer = tuple[int, Any, dict[str, str]]
SOON = {"retry-after-ms": "1"}  # for how long the client waits before it asks again


def completion(texts: list[str | None], usage: bool = True) -> Answer:
    """A chat completion; 7 tokens read, 5 written an answer."""
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
    body: dict[str, Any] = {"object": "chat.completion", "model": "parrot-2", "choices": choices}
    if usage:
        body["usage"] = {"prompt_tokens": 7, "completion_tokens": 5 * len(texts)}
    return 200, body, {}


def refusal(status: int, message: str) -> Answer:
    return status, {"error": {"message": message}}, SOON


class Parrot:
    """A language model on loopback that repeats the question and counts.

    Attributes:
        asked: Every request, in order of arrival.
        answered: Of these the ones that were answered with status 200.
        answer: What answers a request, given its number; None closes the connection instead.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answered: list[Asked] = []
        self.keys: set[str | None] = set()
        self.answer: Callable[[Asked, int], Answer | None] = lambda asked, number: say(asked)
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        cast(Any, self.server).parrot = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def questions(self) -> list[str]:
        """What was asked, without the instruction."""
        return [question(asked) for asked in self.asked]


def question(asked: Asked) -> str:
    instruction, text = asked["messages"][0]["content"].split("\n")
    assert instruction == INSTRUCTION
    return cast(str, text)


def say(asked: Asked, texts: list[str | None] | None = None) -> Answer:
    return completion(texts or [f"{question(asked)} No {i}." for i in range(asked.get("n", 1))])


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has gone may
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        parrot = cast(Parrot, cast(Any, self.server).parrot)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with parrot.lock:
            number = len(parrot.asked)
            parrot.asked.append(asked)
            parrot.keys.add(self.headers["Authorization"])
        endless = refusal(401, "asks without an end")
        answer = parrot.answer(asked, number) if number < 100 else endless
        if answer is None or self.path != "/v1/chat/completions":
            self.close_connection = True
            return
        status, body, headers = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status == 200:
            with parrot.lock:
                parrot.answered.append(asked)
        self.send_response(status)
        kind = "text/html" if isinstance(body, bytes) else "application/json"
        for name, value in ({"Content-Type": kind} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parrot]:
    made = Parrot()
    monkeypatch.setenv("OPENAI_BASE_URL", made.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.stop()


def run(out: Path, request: Request = SMALL, spec: DatasetSpec = SPEC, **how: Any) -> Built:
    return build(spec, request, out, lambda total, done: None, lambda: None, **how)


def files(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


FILE = "CuPL_prompts_toy.json"
PART = "CuPL_prompts_toy.part.jsonl"
RECIPE = "CuPL_prompts_toy.recipe.json"
EXPECTED = [
    [f"{asked} No {i}." for asked in pair for i in range(3)]
    for pair in (
        ("What is a zebra?", "Draw zebra"),
        ("What is a big cat?", "Draw big cat"),
        ("What is an ant?", "Draw ant"),
    )
]


def test_what_is_answered_is_what_cupl_reads(parrot: Parrot, tmp_path: Path) -> None:
    steps: list[Any] = []
    built = build(
        SPEC, SMALL, tmp_path, lambda *told: steps.append(told), lambda: steps.append("step")
    )

    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert list(json.loads((tmp_path / FILE).read_text())) == ["zebra", "big_cat", "ant"]
    assert files(tmp_path) == [FILE, RECIPE]
    assert steps == [(6, 0), *["step"] * 6]
    assert built.sentences == 18
    assert {asked["model"] for asked in parrot.asked} == {"parrot"}
    assert {(a["n"], a["temperature"], a["max_tokens"]) for a in parrot.asked} == {(3, 0.99, 50)}
    assert parrot.keys == {f"Bearer {KEY}"}


def test_the_recipe_says_where_the_prompts_come_from(parrot: Parrot, tmp_path: Path) -> None:
    run(tmp_path)
    recipe = json.loads((tmp_path / RECIPE).read_text())

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]{8}\+00:00", recipe.pop("date"))
    assert recipe == {
        "dataset": "toy",
        "request": {
            "model": "parrot",
            "questions": ["What is a(n) {}?", "Draw {}"],
            "answers": 3,
            "temperature": 0.99,
            "max_tokens": 50,
            "instruction": INSTRUCTION,
        },
        "answered_by": ["parrot-2"],
        "replies": 6,
        "replies_uncounted": 0,
        "prompt_tokens": 6 * 7,
        "completion_tokens": 18 * 5,
        "answers": 18,
        "answers_rejected": {},
        "classes": 3,
        "sentences": 18,
        "sha256": sha256_file(tmp_path / FILE),
    }
    for path in tmp_path.iterdir():
        assert KEY not in path.read_text()
        assert "127.0.0.1" not in path.read_text()


def test_as_many_questions_at_a_time_as_asked_for(parrot: Parrot, tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def answer(asked: Asked, number: int) -> Answer:
        together.wait(timeout=10)  # breaks unless three are here at once
        return say(asked)

    parrot.answer = answer
    run(tmp_path, concurrency=3)
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED


def test_a_server_that_gives_one_answer_at_a_time_is_asked_again(
    parrot: Parrot, tmp_path: Path
) -> None:
    parrot.answer = lambda asked, number: say(asked, [f"{question(asked)} {number}"])
    built = run(tmp_path, concurrency=1)

    assert [asked.get("n") for asked in parrot.asked] == [3, 2, None] * 6
    assert [len(texts) for texts in class_prompts("cupl", SPEC, tmp_path)] == [6, 6, 6]
    assert (built.prompt_tokens, built.completion_tokens) == (18 * 7, 18 * 5)


def test_a_server_that_refuses_several_answers_is_asked_for_one(
    parrot: Parrot, tmp_path: Path
) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        return refusal(400, "n must be 1") if "n" in asked else say(asked, [f"No {number}"])

    parrot.answer = answer
    run(tmp_path, concurrency=1)

    assert ["n" in asked for asked in parrot.asked] == [True] + [False] * 18
    assert [len(texts) for texts in class_prompts("cupl", SPEC, tmp_path)] == [6, 6, 6]


@pytest.mark.parametrize("concurrency", [1, 6])
def test_a_model_with_another_word_for_its_limit(
    parrot: Parrot, tmp_path: Path, concurrency: int
) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        if "max_tokens" in asked:
            return refusal(400, "Unsupported 'max_tokens', use 'max_completion_tokens' instead.")
        return say(asked)

    parrot.answer = answer
    run(tmp_path, concurrency=concurrency)

    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert [asked["max_completion_tokens"] for asked in parrot.answered] == [50] * 6
    assert {asked["n"] for asked in parrot.answered} == {3}


@pytest.mark.parametrize(
    "stumble",
    [
        refusal(429, "slow down"),
        refusal(500, "oh no"),
        (503, b"<html>upstream</html>", SOON),
        None,
    ],
    ids=["429", "500", "503", "dropped"],
)
def test_a_server_that_stumbles_is_asked_again(
    parrot: Parrot, tmp_path: Path, stumble: Answer | None
) -> None:
    parrot.answer = lambda asked, number: stumble if number in (2, 4) else say(asked)
    run(tmp_path, concurrency=1)

    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert len(parrot.asked) == 8
    assert len(parrot.answered) == 6


def test_an_answer_that_does_not_come_is_asked_for_again(
    parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    def answer(asked: Asked, number: int) -> Answer | None:
        if number == 0:
            return None if given_up.wait(timeout=10) else refusal(401, "waits too long")
        given_up.set()
        return say(asked)

    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    parrot.answer = answer
    run(tmp_path, concurrency=1)

    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert len(parrot.asked) == 7


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (refusal(401, f"Incorrect API key provided: {KEY}."), "does not take the key .* \\(401\\)"),
        (refusal(403, "no"), "does not take the key .* \\(403\\)"),
        (refusal(404, "gone"), "has no model 'parrot'.*/v1 \\(404: gone\\)"),
        (refusal(400, f"no {KEY} \n please"), "refuses: 400, no … please. What was answered is"),
        (refusal(429, "quota spent"), "refuses: 429, quota spent"),
        ((500, b"<html>down</html>", SOON), "refuses: 500\\. What"),
        ((302, b"", {"Location": "http://127.0.0.1:9/v1"}), "refuses: 302\\. What"),
        ((200, b"<html>Welcome</html>", {}), "something else than chat completions"),
        ((200, {"error": "no such route"}, {}), "something else than chat completions"),
        ((200, {"choices": []}, {}), "something else than chat completions"),
        (None, "cannot be reached: .*without sending"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_failure_is_one_line_and_loses_nothing(
    parrot: Parrot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Answer | None,
    message: str,
) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    parrot.answer = lambda asked, number: say(asked) if number < 2 else broken
    with pytest.raises(PromptsError, match=message) as caught:
        run(tmp_path, concurrency=1)

    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert files(tmp_path) == [PART]
    assert KEY not in (tmp_path / PART).read_text()

    before = len(parrot.asked)
    parrot.answer = lambda asked, number: say(asked)
    built = run(tmp_path, concurrency=1)
    assert len(parrot.asked) - before == 4
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert built.prompt_tokens == 6 * 7  # of both runs


def test_an_endpoint_that_is_not_there(
    parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 1)
    parrot.stop()
    with pytest.raises(PromptsError, match=r"cannot be reached: .*connect"):
        run(tmp_path)


@pytest.mark.parametrize("nothing", [None, "", ' \n"" ', "1.", "<think>Let me see, the user"])
def test_a_class_nothing_is_said_about_stops_the_run(
    parrot: Parrot, tmp_path: Path, nothing: str | None
) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        return say(asked, [nothing] * 3) if "cat" in question(asked) else say(asked)

    parrot.answer = answer
    with pytest.raises(PromptsError, match=r"about 'big_cat': .* 'Draw \{\}' and 1 more question"):
        run(tmp_path, concurrency=1)
    assert len(parrot.asked) == 4
    assert files(tmp_path) == [PART]

    parrot.answer = lambda asked, number: say(asked)
    run(tmp_path, concurrency=1)
    assert Counter(parrot.questions) == Counter(
        {
            **dict.fromkeys(("What is a zebra?", "Draw zebra"), 1),
            **dict.fromkeys(("What is a big cat?", "Draw big cat"), 2),
            **dict.fromkeys(("What is an ant?", "Draw ant"), 1),
        }
    )
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED


def test_one_question_without_an_answer_is_no_harm(parrot: Parrot, tmp_path: Path) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        return say(asked, ["", None, " "]) if question(asked) == "Draw ant" else say(asked)

    parrot.answer = answer
    run(tmp_path)
    assert class_prompts("cupl", SPEC, tmp_path) == [*EXPECTED[:2], EXPECTED[2][:3]]


def test_answers_are_cleaned_and_each_stands_once(parrot: Parrot, tmp_path: Path) -> None:
    parrot.answer = lambda asked, number: say(asked, ['1. "Big\n ears."', "Big ears.", "Tail."])
    assert run(tmp_path).sentences == 6
    assert class_prompts("cupl", SPEC, tmp_path) == [["Big ears.", "Tail."]] * 3


def stopped(texts: list[str | None], why: str) -> Answer:
    """A completion that the server stopped for a reason."""
    status, body, headers = completion(texts)
    for choice in body["choices"]:
        choice["finish_reason"] = why
    return status, body, headers


def test_thoughts_are_no_prompts_and_are_counted(
    parrot: Parrot, toy: Path, tmp_path: Path, command: Command
) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        if number == 0:
            return stopped(["Okay, the user asks", "<think>Okay"], "length")
        return say(
            asked, ["Okay, the user asks. </think>It has four legs.", "[THINK]Okay", "Ears."]
        )

    parrot.answer = answer
    out = tmp_path / "out"
    done = command(
        *("prompts", "build", "--dataset", toy, "--model", "parrot", "--out", out),
        *("--answers", 3, "--question", "What is a(n) {}?", "--concurrency", 1),
    )

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(
        "written, 4 of 9 answers rejected (1 cut off at --max-tokens, 3 with thoughts that do not "
        "end)\n"
    )
    recipe = json.loads((out / RECIPE).read_text())
    assert recipe["answers"] == 9
    assert recipe["answers_rejected"] == {
        "cut off at --max-tokens": 1,
        "with thoughts that do not end": 3,
    }
    ant, *others = json.loads((out / FILE).read_text()).values()
    assert ant == ["It has four legs."]
    assert others == [["It has four legs.", "Ears."]] * 2


def test_a_field_for_thoughts_is_never_read(parrot: Parrot, tmp_path: Path) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        status, body, headers = say(asked, ["It has four legs.", None, ""])
        for choice in body["choices"]:
            for field in ("reasoning_content", "reasoning", "thinking"):
                choice["message"][field] = "Okay, the user asks."
        return status, body, headers

    parrot.answer = answer
    run(tmp_path)
    assert class_prompts("cupl", SPEC, tmp_path) == [["It has four legs."]] * 3


def test_of_an_answer_in_parts_the_text_is_read(parrot: Parrot, tmp_path: Path) -> None:
    parts: list[Any] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Okay."}]},
        {"type": "reasoning", "text": "Okay."},
        {"type": "text", "text": "It has four legs."},
    ]
    parrot.answer = lambda asked, number: completion([cast(Any, parts)] * 3)
    run(tmp_path)
    assert class_prompts("cupl", SPEC, tmp_path) == [["It has four legs."]] * 3


def test_a_model_that_only_thinks_is_stopped_at_the_first_class(
    parrot: Parrot, tmp_path: Path
) -> None:
    parrot.answer = lambda asked, number: stopped(["Okay, the user asks"] * 3, "length")
    with pytest.raises(PromptsError, match=r"'zebra'.*\(6 cut off at --max-tokens\).* than 50;"):
        run(tmp_path, concurrency=1)
    assert len(parrot.asked) == 2


def test_rejected_answers_are_asked_for_again_by_the_next_run(
    parrot: Parrot, tmp_path: Path
) -> None:
    def answer(asked: Asked, number: int) -> Answer:
        if number == 0:
            return stopped(["It has", "It has", "Fine."], "length")
        return refusal(401, "") if number == 3 else say(asked)

    parrot.answer = answer
    with pytest.raises(PromptsError):
        run(tmp_path, concurrency=1)
    parrot.answer = lambda asked, number: say(asked)
    run(tmp_path, concurrency=1)
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED


def test_a_question_takes_name_and_article() -> None:
    assert filled_in(QUESTIONS[0], "Apple_pie") == "Describe what an Apple pie looks like"
    assert filled_in(QUESTIONS[4], "dog") == "A caption of an image of a dog:"
    assert filled_in("{} {a} {}", "dog") == "dog {a} dog"


def test_what_is_there_is_left_alone_without_a_connection(
    parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    parrot.asked.clear()
    written = (tmp_path / FILE).read_bytes()
    monkeypatch.delenv("OPENAI_API_KEY")

    again = run(tmp_path)
    assert (again.sentences, again.replies) == (18, ())
    assert not parrot.asked
    assert (tmp_path / FILE).read_bytes() == written

    (tmp_path / RECIPE).unlink()  # as a published file lies there
    assert run(tmp_path).sentences == 18


def test_force_asks_everything_again_and_replaces_the_file_at_the_end(
    parrot: Parrot, tmp_path: Path
) -> None:
    run(tmp_path)
    written = (tmp_path / FILE).read_bytes()
    parrot.answer = lambda asked, number: refusal(400, "no") if number == 8 else say(asked, ["x"])
    with pytest.raises(PromptsError):
        run(tmp_path, force=True, concurrency=1)
    assert (tmp_path / FILE).read_bytes() == written

    run(tmp_path)  # goes on with what was forced
    assert class_prompts("cupl", SPEC, tmp_path) == [["x"]] * 3
    assert files(tmp_path) == [FILE, RECIPE]


@pytest.mark.parametrize("finished", [False, True])
def test_another_request_does_not_mix(parrot: Parrot, tmp_path: Path, finished: bool) -> None:
    if not finished:
        parrot.answer = lambda asked, number: refusal(401, "") if number else say(asked)
        with pytest.raises(PromptsError):
            run(tmp_path, concurrency=1)
        parrot.answer = lambda asked, number: say(asked)
    else:
        run(tmp_path)
    asked = len(parrot.asked)
    other = Request(model="crow", questions=("What is a(n) {}?", "Draw {}"), answers=2)

    with pytest.raises(PromptsError, match=r"\(answers 3, here 2; model 'parrot', here 'crow'\)"):
        run(tmp_path, other)
    assert len(parrot.asked) == asked

    run(tmp_path, other, force=True)
    assert [len(texts) for texts in class_prompts("cupl", SPEC, tmp_path)] == [4, 4, 4]
    assert json.loads((tmp_path / RECIPE).read_text())["request"]["model"] == "crow"


KILLED = f"""
from pathlib import Path
from susx_bench.data.spec import DatasetSpec
from susx_bench.prompts.build import build
from susx_bench.prompts.request import Request
spec = DatasetSpec(**{TOY!r})
request = Request(model="parrot", questions={SMALL.questions!r}, answers=3)
build(spec, request, Path("."), lambda total, done: None, lambda: None, concurrency=2)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_is_completed_by_the_next(
    parrot: Parrot, tmp_path: Path, how: signal.Signals
) -> None:
    killed, waiting = threading.Event(), threading.Semaphore(0)

    def answer(asked: Asked, number: int) -> Answer | None:
        if number < 3:
            return say(asked)
        waiting.release()
        killed.wait(timeout=60)
        return None

    parrot.answer = answer
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever starts the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Two at a time: when two hang, the three before them are in the file.
    for _ in range(2):
        assert waiting.acquire(timeout=60)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    killed.set()
    assert process.returncode == -how
    assert "Task exception was never retrieved" not in said
    assert files(tmp_path) == [PART]
    kept = (tmp_path / PART).read_bytes()
    assert kept.count(b"\n") == 4

    # As a kill in the middle of a line would leave it.
    (tmp_path / PART).write_bytes(kept + kept.splitlines()[-1][:40])
    finished = {question(asked) for asked in parrot.answered}
    parrot.asked.clear()
    parrot.answer = lambda asked, number: say(asked)
    built = run(tmp_path)

    assert len(parrot.asked) == 3
    assert not finished & set(parrot.questions)
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert files(tmp_path) == [FILE, RECIPE]
    assert (built.prompt_tokens, built.completion_tokens) == (6 * 7, 18 * 5)


@pytest.mark.parametrize("writes", [0, 1])
def test_a_kill_while_the_end_is_written(
    parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    written = iter(range(2))

    def die(path: Path, content: bytes) -> None:
        if next(written) == writes:
            raise KeyboardInterrupt
        write_atomic(path, content)

    monkeypatch.setattr("susx_bench.prompts.build.write_atomic", die)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr("susx_bench.prompts.build.write_atomic", write_atomic)
    parrot.asked.clear()

    run(tmp_path)
    assert not parrot.asked
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED
    assert files(tmp_path) == [FILE, RECIPE]


@pytest.mark.parametrize("damage", [b"{}\n", b"[]\n", b"nonsense\n", b"\xff\n"])
def test_a_damaged_part_is_said(parrot: Parrot, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / PART).write_bytes(damage)
    with pytest.raises(PromptsError, match=r"part\.jsonl cannot be continued: .*--force"):
        run(tmp_path)
    run(tmp_path, force=True)
    assert class_prompts("cupl", SPEC, tmp_path) == EXPECTED


def test_a_recipe_that_says_nothing_is_said(parrot: Parrot, tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / RECIPE).write_text("[]")
    with pytest.raises(PromptsError, match=r"recipe\.json does not say what was asked"):
        run(tmp_path)


def test_a_folder_that_cannot_be_written_costs_nothing(parrot: Parrot, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path / "file" / "folder")
    assert not parrot.asked


def test_tokens_nobody_counted_are_told(parrot: Parrot, tmp_path: Path) -> None:
    parrot.answer = lambda asked, number: completion(["x"] * 3, usage=number > 1)
    built = run(tmp_path, concurrency=1)
    assert (built.uncounted, built.prompt_tokens, built.completion_tokens) == (2, 4 * 7, 4 * 15)


@pytest.mark.parametrize(
    ("base_url", "key", "message"),
    [
        (None, KEY, "OPENAI_BASE_URL is not set"),
        (" ", KEY, "OPENAI_BASE_URL is not set"),
        ("localhost:11434/v1", KEY, "URL scheme should be 'http' or 'https'"),
        ("http://127.0.0.1:99999/v1", KEY, "invalid port"),
        ("http://127.0.0.1:9/v1", None, "OPENAI_API_KEY is not set"),
        ("http://127.0.0.1:9/v1", f"{KEY}\n{KEY}", "OPENAI_API_KEY is no key"),
        ("http://127.0.0.1:9/v1", f"{KEY}é", "OPENAI_API_KEY is no key"),
    ],
)
def test_the_environment_must_say_where_and_who(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None, key: str | None, message: str
) -> None:
    for name, value in (("OPENAI_BASE_URL", base_url), ("OPENAI_API_KEY", key)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(PromptsError, match=message) as caught:
        Endpoint.from_environment()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"questions": ("What?",)}, {"temperature": float("nan")}])
def test_a_request_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"question|temperature"):
        Request(model="parrot", **wrong)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name in ("zebra", "big_cat", "ant"):
        (tmp_path / "toy" / name).mkdir(parents=True)
        (tmp_path / "toy" / name / "1.png").touch()
    return tmp_path / "toy"


def test_the_command(parrot: Parrot, toy: Path, tmp_path: Path, command: Command) -> None:
    words = (
        *("prompts", "build", "--dataset", toy, "--model", "parrot", "--out", tmp_path / "out"),
        *("--answers", 2, "--question", "What is a(n) {}?", "--temperature", 0.5),
        *("--price-in", 100, "--price-out", 1000),
    )
    done = command(*words)

    assert (done.code, done.err) == (0, "")
    # 3 questions: 21 tokens read, 30 written.
    assert done.out == (
        f"wrote {tmp_path}/out/{FILE}: 6 sentences from 3 replies, 21 tokens read and 30 written, "
        "0.0321 USD\n"
    )
    assert {(asked["n"], asked["temperature"]) for asked in parrot.asked} == {(2, 0.5)}

    again = command(*words)
    assert (again.code, again.err) == (0, "")
    assert "with 6 sentences; nothing to do (--force to ask again)" in again.out
    assert len(parrot.asked) == 3

    parrot.answer = lambda asked, number: completion(["x", "y"], usage=False)
    forced = command(*words[:-4], "--force")
    assert forced.out.endswith(
        "0 tokens read and 0 written (without 3 replies that the server did not count)\n"
    )


def test_the_command_asks_cupls_questions(
    parrot: Parrot, toy: Path, tmp_path: Path, command: Command
) -> None:
    done = command(
        "prompts", "build", "--dataset", toy, "--model", "parrot", "--out", tmp_path / "out"
    )

    assert done.code == 0
    assert sorted(parrot.questions) == sorted(
        filled_in(asked, name) for asked in QUESTIONS for name in ("zebra", "big cat", "ant")
    )
    assert {asked["n"] for asked in parrot.asked} == {10}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "does not take the key in OPENAI_API_KEY (401)"),
        (("--question", "What?"), "--question 'What?' has no {} for the class name"),
        (("--price-in", "1"), "--price-in and --price-out go together"),
        (("--dataset", "tyo"), "no dataset called 'tyo'"),
        (("--temperature", "nan"), "nan is not in the range 0<=x<=2"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_2(
    parrot: Parrot,
    toy: Path,
    tmp_path: Path,
    command: Command,
    words: tuple[str, ...],
    message: str,
) -> None:
    parrot.answer = lambda asked, number: refusal(401, f"bad key {KEY}")
    dataset = () if "--dataset" in words else ("--dataset", toy)
    done = command(
        *("prompts", "build", *dataset, "--model", "parrot", "--out", tmp_path / "out"), *words
    )

    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert message in done.err
    assert KEY not in done.err
