"""What a language model is asked about each class, and a reply of its."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from susx_bench.errors import OptionError
from susx_bench.prompts.answers import rejected

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


def filled_in(question: str, classname: str) -> str:
    """A question about a class, its ``a(n)`` resolved."""
    name = classname.replace("_", " ")
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return question.replace("a(n)", article).replace("{}", name)
