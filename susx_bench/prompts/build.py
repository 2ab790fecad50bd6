"""Sentences about each class from a language model (CuPL: Pratt et al., ICCV 2023).

The model is asked behind any OpenAI-compatible endpoint, and what it answers becomes the file that
`read_cupl` reads. Beside ``CuPL_prompts_DATASET.json`` lie

- ``CuPL_prompts_DATASET.part.jsonl``, while the set is unfinished: the request, then every reply as
  it came, one JSON value a line. A killed build goes on from there.
- ``CuPL_prompts_DATASET.recipe.json``: the request, who answered it, what it cost, when.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, HttpUrl, TypeAdapter, ValidationError

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import OptionError, PromptsError
from susx_bench.prompts.answers import clean, rejected
from susx_bench.prompts.kinds import read_cupl
from susx_bench.prompts.secrets import Secrets
from susx_bench.records.files import (
    append_lines,
    canonical_json,
    make_folder,
    sha256_bytes,
    whole_lines,
    write_atomic,
)
from susx_bench.records.paths import read_bytes

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

# What CuPL asked GPT-3 about ImageNet's classes, with its settings in `Request`.
QUESTIONS = (
    "Describe what a(n) {} looks like",
    "How can you identify a(n) {}?",
    "What does a(n) {} look like?",
    "Describe an image from the internet of a(n) {}",
    "A caption of an image of a(n) {}:",
)
# CuPL stopped GPT-3 at the first full stop; a chat model has to be told. It stands in the user's
# message because some models refuse any other.
INSTRUCTION = "Answer in one plain sentence."

TRIES = 6  # of one request: the client waits 0.5, 1, 2, 4 and 8 s, or as long as the server says
TIMEOUT_S = 120.0  # ten answers from a model on a processor take a while


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of the model.

    Attributes:
        model: The model, as the endpoint calls it.
        questions: What is asked about each class: ``{}`` is its name, ``a(n)`` its article.
        answers: Answers to each question.
        temperature: Sampling temperature.
        max_tokens: Longest answer, in tokens.
        instruction: What is said before each question.

    Raises:
        OptionError: If a question does not name the class, or the temperature is no number.
    """

    model: str
    questions: tuple[str, ...] = QUESTIONS
    answers: int = 10
    temperature: float = 0.99
    max_tokens: int = 50
    instruction: str = INSTRUCTION

    def __post_init__(self) -> None:
        for question in self.questions:
            if "{}" not in question:
                raise OptionError(f"--question '{question}' has no {{}} for the class name.")
        if not math.isfinite(self.temperature):
            raise OptionError(f"--temperature {self.temperature} is no number.")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the model is, and what opens it. Neither is ever written or shown."""

    base_url: str
    key: str

    @classmethod
    def from_environment(cls) -> Endpoint:
        """Read ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``.

        Raises:
            PromptsError: If one is not set, or cannot be what it is said to be.
        """
        base_url, key = (
            os.environ.get(name, "").strip() for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")
        )
        if not base_url:
            raise PromptsError(
                "OPENAI_BASE_URL is not set: set it to the endpoint of your language model, as "
                "http://localhost:11434/v1. No company's server is asked unless you name it."
            )
        try:
            TypeAdapter(HttpUrl).validate_python(base_url)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise PromptsError(
                f"OPENAI_BASE_URL is not the URL of an endpoint: {reason}."
            ) from None
        if not key:
            raise PromptsError(
                "OPENAI_API_KEY is not set: set it to your key, or to any word where the endpoint "
                "wants none."
            )
        if not re.fullmatch(r"[!-~]+", key):
            raise PromptsError("OPENAI_API_KEY is no key: it has a space or a letter beyond ASCII.")
        return cls(base_url=base_url, key=key)


class Reply(BaseModel):
    """One reply of the model, as a line of the part file.

    Attributes:
        classname: The class it is about.
        question: The question, with ``{}`` in it.
        texts: Its answers, as they came.
        cut: Whether each was stopped at the longest length that was asked for.
        model: The model, as the server names it.
        prompt_tokens: Tokens read, None where the server does not say.
        completion_tokens: Tokens written, None where the server does not say.
    """

    classname: str
    question: str
    texts: list[str]
    cut: list[bool]
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None

    def answers(self) -> Iterator[tuple[str, str]]:
        """Each answer as it came, and why it is rejected, empty where it is not."""
        for text, cut in zip(self.texts, self.cut, strict=True):
            yield text, rejected(text, cut=cut)


@dataclass(frozen=True, kw_only=True)
class Built:
    """A prompt file that is there.

    Attributes:
        path: The file.
        sentences: Sentences of all classes.
        replies: Replies it was made from, over all runs; none where it was there already.
    """

    path: Path
    sentences: int
    replies: tuple[Reply, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Tokens the model read, where the server counted them."""
        return sum(reply.prompt_tokens or 0 for reply in self.replies)

    @property
    def completion_tokens(self) -> int:
        """Tokens the model wrote, where the server counted them."""
        return sum(reply.completion_tokens or 0 for reply in self.replies)

    @property
    def uncounted(self) -> int:
        """Replies whose tokens the server did not count."""
        return sum(reply.prompt_tokens is None for reply in self.replies)

    @property
    def answers(self) -> int:
        """Answers of all replies."""
        return sum(len(reply.texts) for reply in self.replies)

    @property
    def rejected(self) -> dict[str, int]:
        """How many answers gave no prompt, by reason."""
        return _reasons(self.replies)


def _reasons(replies: Iterable[Reply]) -> dict[str, int]:
    found = Counter(why for reply in replies for _, why in reply.answers() if why)
    return dict(sorted(found.items()))


def build(
    spec: DatasetSpec,
    request: Request,
    out: Path,
    start: Callable[[int, int], None],
    step: Callable[[], None],
    *,
    concurrency: int = 8,
    force: bool = False,
) -> Built:
    """Ask about every class and write ``CuPL_prompts_DATASET.json``, unless it is there.

    Args:
        spec: The dataset's facts.
        request: What to ask.
        out: Folder of the file.
        start: Told the questions, of every class, that there are and that were answered before.
        step: Called at each question answered.
        concurrency: Questions asked at the same time.
        force: Ask again what was answered, and replace the file at the end.

    Returns:
        The file, and what it was made from.

    Raises:
        PromptsError: If the endpoint is not to be had, does not answer as it should or says nothing
            about a class, or if what lies in the folder was begun with another request.
        DatasetError: If the file there is not of this dataset's classes.
        OutputError: If the folder cannot be written.
    """
    path = out / f"CuPL_prompts_{spec.name}.json"
    part_path = path.with_suffix(".part.jsonl")
    recipe_path = path.with_suffix(".recipe.json")
    if path.exists() and not part_path.exists() and not force:
        if recipe_path.exists():
            _same_request(_recipe_request(recipe_path), request, path)
        return Built(path=path, sentences=sum(map(len, read_cupl(spec, out))))
    endpoint = Endpoint.from_environment()
    make_folder(out)
    if force:
        part_path.unlink(missing_ok=True)
    part = _Part(part_path, request)
    asyncio.run(_ask_all(spec, request, part, endpoint, start, step, concurrency))
    table = {name: part.sentences(name) for name in spec.classnames}
    content = json.dumps(table, indent=1, ensure_ascii=False).encode()
    built = Built(path=path, sentences=sum(map(len, table.values())), replies=tuple(part.replies))
    write_atomic(path, content)
    write_atomic(recipe_path, _recipe(spec, request, built, content))
    part_path.unlink()
    return built


def worded(question: str, classname: str) -> str:
    """A question about a class, its ``a(n)`` resolved."""
    name = classname.replace("_", " ")
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return question.replace("a(n)", article).replace("{}", name)


class _Part:
    """The replies so far, in memory and in a file that only grows, whole line by whole line.

    Rejected answers of earlier runs are not counted as answers, so that they are asked for again.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.request = request
        self.replies: list[Reply] = []
        self._asked: Counter[tuple[str, str]] = Counter()
        self._said: dict[tuple[str, str], list[str]] = defaultdict(list)
        try:
            lines = list(whole_lines(path)) if path.exists() else []
            begun = json.loads(lines[0])["request"] if lines else None
            self.replies = [Reply.model_validate_json(line) for line in lines[1:]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise PromptsError(
                f"{path} cannot be continued: remove it, or ask everything again with --force."
            ) from error
        if not lines:
            self._append({"request": asdict(request)})
            return
        _same_request(begun, request, path)
        for reply in self.replies:
            self._asked[reply.classname, reply.question] += self._keep(reply)

    def add(self, reply: Reply) -> None:
        self._append(reply.model_dump())
        self.replies.append(reply)
        self._keep(reply)
        self._asked[reply.classname, reply.question] += len(reply.texts)

    def _keep(self, reply: Reply) -> int:
        """Keep the sentences of a reply; how many there are."""
        said = [clean(text) for text, why in reply.answers() if not why]
        self._said[reply.classname, reply.question] += said
        return len(said)

    def missing(self, classname: str, question: str) -> int:
        """Answers still to be had."""
        return max(self.request.answers - self._asked[classname, question], 0)

    def sentences(self, classname: str) -> list[str]:
        """What was answered about a class, each sentence once, in the order of the questions."""
        return list(
            dict.fromkeys(t for q in self.request.questions for t in self._said[classname, q])
        )

    def rejected(self, classname: str) -> dict[str, int]:
        """How many answers about a class gave no prompt, by reason."""
        return _reasons(reply for reply in self.replies if reply.classname == classname)

    def _append(self, line: Mapping[str, Any]) -> None:
        append_lines(self.path, [canonical_json(line)])


def _same_request(theirs: Any, request: Request, path: Path) -> None:
    ours = json.loads(canonical_json(asdict(request)))
    if theirs == ours:
        return
    theirs = theirs if isinstance(theirs, Mapping) else {}
    differ = [
        f"{name} {theirs.get(name)!r}, here {ours.get(name)!r}"
        for name in sorted({*theirs, *ours})
        if theirs.get(name) != ours.get(name)
    ]
    raise PromptsError(
        f"{path} is of another request ({'; '.join(differ)}): ask the same, give another --out, "
        "or replace it with --force."
    )


def _recipe_request(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path))["request"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise PromptsError(
            f"{path} does not say what was asked: give another --out, or replace it with --force."
        ) from error


def _recipe(spec: DatasetSpec, request: Request, built: Built, content: bytes) -> bytes:
    recipe = {
        "dataset": spec.name,
        "request": asdict(request),
        "answered_by": sorted({reply.model for reply in built.replies if reply.model}),
        "replies": len(built.replies),
        "replies_uncounted": built.uncounted,
        "prompt_tokens": built.prompt_tokens,
        "completion_tokens": built.completion_tokens,
        "answers": built.answers,
        "answers_rejected": built.rejected,
        "classes": len(spec.classnames),
        "sentences": built.sentences,
        "sha256": sha256_bytes(content),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(recipe, indent=1, ensure_ascii=False).encode()


async def _ask_all(
    spec: DatasetSpec,
    request: Request,
    part: _Part,
    endpoint: Endpoint,
    start: Callable[[int, int], None],
    step: Callable[[], None],
    concurrency: int,
) -> None:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    pairs = [(name, question) for name in spec.classnames for question in request.questions]
    todo = [pair for pair in pairs if part.missing(*pair)]
    start(len(pairs), len(pairs) - len(todo))
    queue = iter(todo)

    async def work() -> None:
        for name, question in queue:  # one queue, shared by all workers
            while missing := part.missing(name, question):
                part.add(await asker.ask(name, question, missing))
            _refuse_silence(spec, request, part, name, question)
            step()

    async with AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.key,
        max_retries=TRIES - 1,
        timeout=TIMEOUT_S,
        # Elsewhere than to the endpoint nothing is sent, whatever it answers.
        http_client=DefaultAsyncHttpxClient(follow_redirects=False),
    ) as client:
        asker = _Asker(client, request, endpoint)
        # The first error ends the run; `asyncio.run` then cancels the other workers.
        await asyncio.gather(*(work() for _ in range(min(concurrency, len(todo)))))


def _refuse_silence(
    spec: DatasetSpec, request: Request, part: _Part, name: str, question: str
) -> None:
    """Stop at the first class that nothing is said about, not after paying for all of them."""
    if part.sentences(name) or any(part.missing(name, other) for other in request.questions):
        return
    others = len(request.questions) - 1
    why = ", ".join(f"{count} {reason}" for reason, count in part.rejected(name).items())
    raise PromptsError(
        f"{spec.name}: {request.model} says nothing about '{name}': no answer to "
        f"'{question}'{f' and {others} more questions' if others else ''} can be used ({why}). "
        "Give another --question, or a --max-tokens larger than "
        f"{request.max_tokens}; a model that thinks before it answers needs thousands."
    )


class _ContentPart(BaseModel):
    """A part of an answer; thoughts are parts of another type than ``text``."""

    type: str
    text: str | None = None


class _Message(BaseModel):
    """What is read of a message: fields for thoughts, such as ``reasoning_content``, are not."""

    content: str | list[_ContentPart] | None = None

    @property
    def text(self) -> str:
        """What the model says."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content if part.type == "text")
        return self.content or ""


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None

    @property
    def cut(self) -> bool:
        """Whether the server stopped at the longest length that was asked for."""
        return (self.finish_reason or "").lower() in ("length", "max_tokens", "model_length")


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    """What is read of a chat completion: servers differ in all the rest."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Asker:
    """One question at a time, in the words that this server takes."""

    def __init__(self, client: AsyncOpenAI, request: Request, endpoint: Endpoint) -> None:
        self._client = client
        self._request = request
        self._endpoint = endpoint
        self._secrets = Secrets(endpoint.base_url, endpoint.key)
        self._limit = "max_tokens"
        self._several = True

    async def ask(self, classname: str, question: str, answers: int) -> Reply:
        """Ask once for so many answers; fewer may come.

        Raises:
            PromptsError: If what comes, after all tries, is no completion.
        """
        from openai import BadRequestError, OpenAIError, UnprocessableEntityError

        text = f"{self._request.instruction}\n{worded(question, classname)}"
        while True:
            limit, several = self._limit, self._several and answers > 1
            extra = {limit: self._request.max_tokens} | ({"n": answers} if several else {})
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._request.model,
                    messages=[{"role": "user", "content": text}],
                    temperature=self._request.temperature,
                    extra_body=extra,
                )
                done = _Completion.model_validate_json(raw.content)
            except (BadRequestError, UnprocessableEntityError) as error:
                # Other workers may have learned the same meanwhile.
                if limit == "max_tokens" and "max_completion_tokens" in error.message:
                    self._limit = "max_completion_tokens"  # OpenAI's own newer models
                elif several:
                    self._several = False
                else:
                    raise self._explained(error) from None
            except OpenAIError as error:
                raise self._explained(error) from None
            except ValidationError:
                raise PromptsError(
                    "the endpoint of OPENAI_BASE_URL answers with something else than chat "
                    "completions; the address of an API mostly ends in /v1."
                ) from None
            else:
                break
        choices = done.choices[:answers]
        texts = [choice.message.text for choice in choices]
        if any(map(self._secrets.are_in, [*texts, done.model or ""])):
            raise PromptsError(
                "the endpoint of OPENAI_BASE_URL sends back the key or the address that it was "
                "asked with. Nothing of that reply is kept; ask another endpoint."
            )
        return Reply(
            classname=classname,
            question=question,
            texts=texts,
            cut=[choice.cut for choice in choices],
            model=done.model,
            prompt_tokens=done.usage and done.usage.prompt_tokens,
            completion_tokens=done.usage and done.usage.completion_tokens,
        )

    def _explained(self, error: OpenAIError) -> PromptsError:
        """One line about an error, without the key and the address."""
        from openai import APIStatusError, APITimeoutError

        where = "the endpoint of OPENAI_BASE_URL"
        kept = "What was answered is kept; the next run goes on from there."
        if isinstance(error, APITimeoutError):
            return PromptsError(f"{where} gave no answer in {TIMEOUT_S:g} s, {TRIES} times. {kept}")
        if not isinstance(error, APIStatusError):
            reason = self._quoted(str(error.__cause__ or error))
            return PromptsError(f"{where} cannot be reached: {reason or 'no reason given'}. {kept}")
        status = error.status_code
        if status in (401, 403):  # what it says may quote the key
            return PromptsError(f"{where} does not take the key in OPENAI_API_KEY ({status}).")
        said = self._quoted(_said(error.body))
        if status == 404:
            return PromptsError(
                f"{where} has no model '{self._request.model}', or the address is not its API's, "
                f"which mostly ends in /v1 (404{said and f': {said}'})."
            )
        return PromptsError(f"{where} refuses: {status}{said and f', {said}'}. {kept}")

    def _quoted(self, text: str) -> str:
        """What a server or a library says, without the key and the address in any form."""
        for secret in (self._endpoint.key, self._endpoint.base_url.rstrip("/")):
            text = text.replace(secret, "…")
        if self._secrets.are_in(text):
            return "its message is left out, as it quotes the key or the address"
        return text[:200].rstrip(".")


def _said(body: object) -> str:
    """The message in the body of an error, if it is one for people."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail")
    text = " ".join(body.split()) if isinstance(body, str) else ""
    return "" if text.startswith("<") else text
