"""Extract the sentence from a chat model's answer: without thoughts, list marks and quotes.

A server that does not know a model's form of thinking leaves the thoughts in the answer. Every
model has its own marks around them. They are recognised by their form: a bracket with a word for
thinking in it.
"""

from __future__ import annotations

import html
import re

UNFINISHED = "with thoughts that do not end"
BARE = "with thoughts that no mark ends"
MARKED = "with marks of an unknown kind"
CUT_OFF = "cut off at --max-tokens"
EMPTY = "empty"

# <think>, [/THINK], <|begin_of_thought|>, <|END_THINKING|>, </seed:think>, ◁/think▷, &lt;think&gt;
_BRACKET = r"[<\[＜◁][\s|｜]*{}[^<>\[\]＜＞◁▷]*[>\]＞▷]+"
_CLOSES = r"(?:[/\\]|(?:end|stop|close)(?=[\s_▁]))\s*"
_THOUGHT = (
    r"[\w:▁-]*?(?:think|thought|reason|reflect|analys|rationale|scratch|monologue|\bcot\b|"
    r"\bdetails\b)"
)
_ANSWER = r"[\w:▁-]*?(?:answer|response|output|solution|conclusion|\bfinal\b|\bresult\b)"
# In words, at the start of a line: "Here is my thought process:", "**Answer:**", "# Final answer".
_WORDS = (
    r"(?:^|(?<=[>\]▷]))[\W_]*(?:here(?:['’]s| is| are) (?:my|the) )?(?:{})(?: process)?"
    r"[*_ \t]*(?::[*_]*|$)"
)

_BEGIN = r"\A\W*(?:(?:okay|ok|alright|hmm+|wait|well|so|first|now)[,. ]+)*{}\b"


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), flags=re.IGNORECASE | re.MULTILINE)


_SPEAKS = _any_of(
    _BRACKET.format(_CLOSES + _THOUGHT),
    rf"<\s*{_THOUGHT}[^<>]*/\s*>",  # <think/>
    _BRACKET.format(f"(?!{_CLOSES}){_ANSWER}"),
    r"<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",  # gpt-oss
    r"(?-i:assistantfinal)",  # gpt-oss, if the server drops the marks but keeps their names
    r"<channel\|>|<\|(?:inner_suffix|content)\|>",  # Gemma, Apertus, Solar
    r"^\s*(?:\.\.\.|…)\s*done thinking\.?",  # as Ollama prints them
    _WORDS.format("(?:final )?(?:answer|response)"),
)
"""Marks before an answer."""

_THINKS = _any_of(
    _BRACKET.format(_THOUGHT),
    r"<\|channel\|?>|<\|inner_prefix\|>|(?-i:\A\s*analysis(?=[A-Z]))",
    _WORDS.format("thoughts?|thinking|reasoning|chain of thought"),
    r"\A\s*thinking(?:\.\.\.|…)\s*$",  # Ollama
)
"""Marks before thoughts."""

_BARE = _any_of(
    _BEGIN.format(r"let(?: me|['’]s) (?:think|see|start|recall|consider|break|figure)"),
    _BEGIN.format(r"(?:the|this) (?:user|question) (?:asks?|asked|is|has|wants?|needs?|said|gave)"),
    _BEGIN.format(
        r"(?:i|we) (?:(?:need|want|have) to|should|must|(?:was|were|am|are) (?:asked|given))"
    ),
    _BEGIN.format(r"(?:i['’]m|i['’]ve|we['’]re) (?:trying|asked|supposed|been|given)"),
)
"""The beginning of thoughts without marks: "Okay, the user asks ..."."""

_ENDS = _any_of(
    _BRACKET.format(_CLOSES + _ANSWER),
    r"<[|｜][^<>]{1,40}[|｜]>|</?s>|<(?:eos|end_of_turn)>",  # a token that ends a turn
)
"""Marks after an answer."""

_MARK = re.compile(
    r"<[/|｜]?[^\W\d][^<>]*>|[(\[{][/\\][^\W\d][\w ]*[)\]}]|\A(?:\{.*\}|\[.*\])\Z", re.DOTALL
)
"""Any mark, such as </plan> or {/think}: the text between two of them is unknown. Also JSON."""


def clean(text: str) -> str:
    """The sentence in an answer; empty if it has none.

    Everything before the last mark that ends thoughts is left out. An answer with thoughts that do
    not end has no sentence.
    """
    text = _spoken(text) or ""
    text = " ".join(text.split())
    text = re.sub(r"^(?:[-*•–]|\(?\d{1,3}[.)])(?:\s+|$)", "", text)
    bare = text.strip('"“” ')
    if not re.search('["“”]', bare):  # otherwise the quotes enclose words within
        text = bare
    return re.sub(r"^['‘](.*)['’]$", r"\1", text).strip()


def rejected(text: str, *, cut: bool) -> str:
    """The reason why an answer gives no prompt; empty if it gives one.

    Args:
        text: The answer as it came.
        cut: Whether the server stopped it at the requested length. Then it is half a sentence, or
            the thoughts of a model whose template hides their first mark.
    """
    if _spoken(text) is None:
        return UNFINISHED
    if cut:
        return CUT_OFF
    if _BARE.search(clean(text)):
        return BARE
    if _MARK.search(clean(text)):
        return MARKED
    return "" if clean(text) else EMPTY


def _spoken(text: str) -> str | None:
    """An answer without thoughts; None if they do not end."""
    text = html.unescape(text)
    *_, start = [0, *(mark.end() for mark in _SPEAKS.finditer(text))]
    text = text[start:]
    if _THINKS.search(text):
        return None
    return next((part for part in _ENDS.split(text) if part.strip()), "")
