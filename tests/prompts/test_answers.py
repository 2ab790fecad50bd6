"""Answers of chat models: what is a sentence about the class, and what is thought or decoration."""

from __future__ import annotations

import pytest

from susx_bench.prompts.answers import BARE, CUT_OFF, EMPTY, MARKED, UNFINISHED, clean, rejected

LEGS = "It has four legs."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("  A dog\n\n has\tfour legs. ", "A dog has four legs."),
        ("1. A dog.", "A dog."),
        ("(12) A dog.", "A dog."),
        ("- A dog.", "A dog."),
        ('2) "A dog."', "A dog."),
        ("“A dog’s tail.”", "A dog’s tail."),
        ("'A dog's tail.'", "A dog's tail."),
        ('"A dog that', "A dog that"),
        ('"Sit" and "stay" are said to it.', '"Sit" and "stay" are said to it.'),
        ("1957 was its year.", "1957 was its year."),
        ("3.5 metres long.", "3.5 metres long."),
        ("<think>Hm,\n a dog.</think>\nA dog.", "A dog."),
        ("-", ""),
    ],
)
def test_clean(text: str, sentence: str) -> None:
    assert clean(text) == sentence


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>Okay, the user asks.</think>{LEGS}",
        f"Okay, the user asks. </think> {LEGS}",  # R1, QwQ: the template has the first mark
        f"<THINK>\nHm.\n</THINK>\n\n{LEGS}",
        f"< think > Hm. < / think > {LEGS}",
        f"<think></think>{LEGS}",
        f"<think/>{LEGS}",
        f"<think>Cats?</think>No. <think>Dogs!</think>{LEGS}",
        f"<think>Tags like <think> are old.</think></think>{LEGS}",
        f"&lt;think&gt;Hm.&lt;/think&gt;{LEGS}",
        f"<thinking>Hm.</thinking>{LEGS}",
        f"<thought>Hm.</thought>{LEGS}",
        f"<Thought>\nHm.\n</Thought>\n<Output>\n{LEGS}\n</Output>",
        f"<thought_process>Hm.</thought_process>{LEGS}",
        f"<reasoning effort='low'>Hm.</reasoning>{LEGS}",
        f"<reflection>Hm.</reflection>{LEGS}",
        f"<analysis>Hm.</analysis>{LEGS}",
        f"<scratchpad>Hm.</scratchpad>{LEGS}",
        f"<seed:think>Hm.</seed:think>{LEGS}",
        f"[THINK]Hm.[/THINK]{LEGS}",
        f"◁think▷Hm.◁/think▷{LEGS}",
        f"<|think|>Hm.<|end|><|begin|>assistant<|content|>{LEGS}<|end|>",
        f"<|inner_prefix|>Hm.<|inner_suffix|>{LEGS}",
        f"<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>{LEGS}<|END_RESPONSE|>",
        "<|begin_of_thought|>Hm.<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{LEGS}\n\n<|end_of_solution|>",
        f"<｜begin▁of▁thinking｜>Hm.<｜end▁of▁thinking｜>{LEGS}<｜end▁of▁sentence｜>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"
        f"{LEGS}<|return|>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>"
        f"So.<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{LEGS}",
        f"analysisThe user asks. Hm.assistantfinal{LEGS}",
        f"<|channel>thought\nHm.\n<channel|>{LEGS}",
        f"<think>Hm.</think>\n<answer>\n{LEGS}\n</answer>",
        f"<think>Hm.</think><response>{LEGS}</response>",
        f"<thinking>Hm.</thinking><final>{LEGS}</final>",
        f"<thinking>Hm.</thinking><result>{LEGS}</result>",
        f"<think>Hm.</think>**Answer:** {LEGS}",
        f"Here is my thought process: hm.\nMore.\nHere is my response: {LEGS}",
        f"**Thinking:** hm.\n\n**Answer:** {LEGS}",
        f"# Reasoning\nHm.\n\n# Final answer\n{LEGS}",
        f'<details type="reasoning" done="true"><summary>Thought</summary>Hm.</details>{LEGS}',
        f"Thinking...\nThe user asks.\n...done thinking.\n\n{LEGS}",  # Ollama
        f"[[thinking]]Hm.[[/thinking]]{LEGS}",
        f"{LEGS}<|im_end|>",
        f"{LEGS}</s>",
    ],
)
def test_what_follows_the_last_mark_of_thoughts_is_the_answer(answer: str) -> None:
    assert clean(answer) == LEGS
    assert rejected(answer, cut=False) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "<think>Okay, the user asks",
        "Okay.</think>It has. <think>Wait",
        f"{LEGS} <thinking>Or does it?",
        "[THINK]Hm.",
        "◁think▷Hm.",
        "<|begin_of_thought|>Hm.",
        "<|channel|>analysis<|message|>The user asks",
        "<|channel>thought\nHm.",
        "analysisThe user asks",
        "Here's my thought process: the user asks",
        "**Reasoning**\nHm.",
        "Thinking...\nThe user asks.",
    ],
)
def test_thoughts_without_an_end_are_no_answer(answer: str) -> None:
    assert clean(answer) == ""
    assert rejected(answer, cut=False) == rejected(answer, cut=True) == UNFINISHED


@pytest.mark.parametrize(
    "answer",
    [
        "Okay, the user asks what a cat looks like. It has four legs.",
        "Alright, so I need to describe a cat.",
        "Let me think step by step. A cat has four legs.",
        "We are asked to describe a cat.",
        "Hmm, I've been given a class name.",
    ],
)
def test_thoughts_whose_marks_a_server_dropped_are_no_answer(answer: str) -> None:
    assert rejected(answer, cut=False) == BARE


@pytest.mark.parametrize(
    "sentence",
    [
        "A dog thinks about food.",
        "The user interface of a web site is flat.",
        "The question mark is a bent line.",
        "So it has four legs.",
        "Analysis shows a dog.",
        "Rodin's The Thinker [1] is of bronze.",
        "A thinker: a man who sits.",
        "A photo of a reflection: a lake below a mountain.",
        "It sits (and/or lies) on a mat [sic].",
        "It is <3 cm long and > 1 cm wide, and thought to be rare.",
    ],
)
def test_words_about_thinking_are_no_marks(sentence: str) -> None:
    assert clean(sentence) == sentence
    assert rejected(sentence, cut=False) == ""


@pytest.mark.parametrize(
    "answer",
    [
        f"<plan>Hm.</plan>{LEGS}",
        f"<思考>Hm.</思考>{LEGS}",
        f"{{think}}Hm.{{/think}}{LEGS}",
        f"(thinking) Hm. (/thinking) {LEGS}",
        f"<tool_call>dog</tool_call>{LEGS}",
        f'{{"thinking": "Hm.", "answer": "{LEGS}"}}',
    ],
)
def test_an_answer_with_marks_that_nobody_knows_is_rejected(answer: str) -> None:
    assert rejected(answer, cut=False) == MARKED


def test_half_an_answer_and_nothing_are_rejected() -> None:
    assert rejected("It has four", cut=True) == CUT_OFF
    assert rejected("Okay, the user asks about a dog. Dogs", cut=True) == CUT_OFF
    assert [rejected(text, cut=False) for text in ("", "  ", "-", "<think>a</think>\n")] == [
        EMPTY
    ] * 4
