"""Sentences about each class from a language model (CuPL: Pratt et al., ICCV 2023).

The model is asked through any OpenAI-compatible endpoint. Its answers become the file that
`read_cupl` reads. Beside ``CuPL_prompts_DATASET.json`` lie

- ``CuPL_prompts_DATASET.part.jsonl``, while the set is unfinished: the request, then every reply,
  unchanged, one JSON value per line. A killed build continues from it.
- ``CuPL_prompts_DATASET.recipe.json``: the request, the model, its tokens, and the date.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from susx_bench.data.spec import DatasetSpec
from susx_bench.errors import PromptsError
from susx_bench.prompts.answers import clean
from susx_bench.prompts.endpoint import Asker, Endpoint
from susx_bench.prompts.kinds import read_cupl
from susx_bench.prompts.request import Reply, Request
from susx_bench.records.files import (
    append_lines,
    canonical_json,
    make_folder,
    sha256_bytes,
    whole_lines,
    write_atomic,
)
from susx_bench.records.paths import read_bytes


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished prompt file.

    Attributes:
        path: The file.
        sentences: Sentences of all classes.
        replies: Replies it was made from, over all runs; none if it existed already.
    """

    path: Path
    sentences: int
    replies: tuple[Reply, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Tokens the model read, as far as the server counted them."""
        return sum(reply.prompt_tokens or 0 for reply in self.replies)

    @property
    def completion_tokens(self) -> int:
        """Tokens the model wrote, as far as the server counted them."""
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
        """Number of answers that gave no prompt, by reason."""
        return _reasons(self.replies)


def _reasons(replies: Iterable[Reply]) -> dict[str, int]:
    counts = Counter(why for reply in replies for _, why in reply.answers() if why)
    return dict(sorted(counts.items()))


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
    """Ask about every class and write ``CuPL_prompts_DATASET.json``, unless it exists.

    Args:
        spec: The dataset's facts.
        request: The questions.
        out: Folder of the file.
        start: Called with the number of questions over all classes, and of those answered before.
        step: Called after each answered question.
        concurrency: Questions asked at the same time.
        force: Ask every question again, and replace the file at the end.

    Returns:
        The file, with the replies it was made from.

    Raises:
        PromptsError: If the endpoint cannot be reached, answers in an unknown form or says nothing
            about a class, or if the folder holds replies to another request.
        DatasetError: If the existing file does not have this dataset's classes.
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


class _Part:
    """The replies so far, in memory and in a file that only grows, whole line by whole line.

    Rejected answers of earlier runs do not count, so that their questions are asked again.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.path = path
        self.request = request
        self.replies: list[Reply] = []
        self._asked: Counter[tuple[str, str]] = Counter()
        self._sentences: dict[tuple[str, str], list[str]] = defaultdict(list)
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
        """Keep the sentences of a reply, and return their number."""
        sentences = [clean(text) for text, why in reply.answers() if not why]
        self._sentences[reply.classname, reply.question] += sentences
        return len(sentences)

    def missing(self, classname: str, question: str) -> int:
        """Number of answers that are still missing."""
        return max(self.request.answers - self._asked[classname, question], 0)

    def sentences(self, classname: str) -> list[str]:
        """Distinct sentences about a class, in the order of the questions."""
        return list(
            dict.fromkeys(t for q in self.request.questions for t in self._sentences[classname, q])
        )

    def rejected(self, classname: str) -> dict[str, int]:
        """Number of answers about a class that gave no prompt, by reason."""
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

    async with endpoint.client() as client:
        asker = Asker(client, request, endpoint)
        # The first error ends the run; `asyncio.run` then cancels the other workers.
        await asyncio.gather(*(work() for _ in range(min(concurrency, len(todo)))))


def _refuse_silence(
    spec: DatasetSpec, request: Request, part: _Part, name: str, question: str
) -> None:
    """Stop at the first class without an answer, before paying for all of them."""
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
