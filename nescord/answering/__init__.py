"""Answers from what is stored: passages as they are, or a text that a model wrote from them and that was checked.

Every citation names the note, its heading and the characters it was taken from, so it cannot point at something else.
What a model wrote leaves this room only sentence by sentence, after `citations` has looked at each: a note may have
told the model what to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Mode = Literal["extractive", "generated", "not_found"]

# What stands behind a sentence that no given passage supports.
UNSUPPORTED = "[?]"


@dataclass(frozen=True, slots=True)
class Citation:
    """`[number]` in an answer: characters `start:end` of the body of a note, which are `text`; `marks` lie in it."""

    number: int
    note_id: str
    path: str
    title: str
    heading: str
    link: str
    start: int
    end: int
    text: str
    marks: tuple[tuple[int, int], ...]
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about a question.

    `mode` is `extractive` (the best passages, word for word), `generated` (written by `model` from the passages it
    cites; `tokens` is what that took) or `not_found` (the model found no answer in them: the nearest passages).
    `missing` says in words what could not be done and why; `weak`, that nothing stored seems to answer the question.
    """

    text: str
    citations: tuple[Citation, ...]
    mode: Mode = "extractive"
    model: str = ""
    tokens: int = 0
    missing: tuple[str, ...] = ()
    weak: bool = False


class Turn(NamedTuple):
    """A question that was asked before, and the text of its answer."""

    question: str
    answer: str
