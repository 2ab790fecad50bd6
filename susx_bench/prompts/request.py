"""The questions to a language model about each class, and its reply."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from susx_bench.errors import OptionError
from susx_bench.prompts.answers import rejected

# CuPL's questions to GPT-3 about ImageNet's classes; its settings are in `Request`.
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """The questions and settings for the model.

    Attributes:
        model: The model, as the endpoint calls it.
        questions: Questions about each class: ``{}`` is its name, ``a(n)`` its article.
        answers: Number of answers per question.
        temperature: Sampling temperature.
        max_tokens: Longest answer, in tokens.
        instruction: Text before each question.

    Raises:
        OptionError: If a question does not name the class, or the temperature is not a number.
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


class Reply(BaseModel):
    """One reply of the model, as a line of the part file.

    Attributes:
        classname: The class it is about.
        question: The question, with ``{}`` in it.
        texts: Its answers, unchanged.
        cut: Whether the server stopped each at the requested length.
        model: The model, as the server names it.
        prompt_tokens: Tokens read; None if the server does not count them.
        completion_tokens: Tokens written; None if the server does not count them.
    """

    classname: str
    question: str
    texts: list[str]
    cut: list[bool]
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None

    def answers(self) -> Iterator[tuple[str, str]]:
        """Each answer, unchanged, with the reason for its rejection; empty if it is accepted."""
        for text, cut in zip(self.texts, self.cut, strict=True):
            yield text, rejected(text, cut=cut)


def filled_in(question: str, classname: str) -> str:
    """A question about a class, its ``a(n)`` resolved."""
    name = classname.replace("_", " ")
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return question.replace("a(n)", article).replace("{}", name)
