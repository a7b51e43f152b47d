"""Answers made of what is stored: the best passages with citations, nothing written by a model.

Every citation names the note, its heading and the characters it was taken from; the body at that place is read and must
be the passage, so a citation cannot point at something else. Words written by a model will come behind the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from nescord.catalog import search as search_sql
from nescord.catalog.search import Passage
from nescord.notes import SearchHit
from nescord.snippets import Marker

# Passages in an answer, and about how many characters of one are shown.
PASSAGES = 4
LONGEST = 700


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
    """What is known about a question. `mode` is `extractive`; no model writes yet, so `model` is "" and `tokens` 0.

    `missing` says in words what could not be asked and why; `weak`, that nothing stored seems to answer the question.
    """

    text: str
    citations: tuple[Citation, ...]
    mode: str = "extractive"
    model: str = ""
    tokens: int = 0
    missing: tuple[str, ...] = ()
    weak: bool = False


def extract(
    connection: apsw.Connection, hits: Sequence[SearchHit], marker: Marker, *, missing: Sequence[str] = ()
) -> Answer:
    """The answer that `hits` (best first) give: the best part of each, equal texts once."""
    passages = {passage.chunk: passage for passage in search_sql.passages(connection, [hit.chunk_id for hit in hits])}
    citations: list[Citation] = []
    seen: set[bytes | str] = set()
    for hit in hits:
        passage = passages.get(hit.chunk_id)
        if passage is None or passage.text_hash in seen or len(citations) == PASSAGES:
            continue
        start, end = _best_part(passage, marker)
        text = passage.body[start:end]
        if text in seen:  # chunks that differ may widen to the same paragraphs
            continue
        seen |= {passage.text_hash, text}
        citations.append(
            Citation(
                len(citations) + 1, hit.note_id, hit.path, hit.title, hit.heading, hit.link, start, end, text,
                marker.marks(text), hit.score,
            )
        )  # fmt: skip
    return Answer(
        text="\n\n".join(f"{citation.text} [{citation.number}]" for citation in citations),
        citations=tuple(citations),
        missing=tuple(missing),
        weak=all(hit.weak for hit in hits),
    )


def _best_part(passage: Passage, marker: Marker) -> tuple[int, int]:
    """Where in the body the passage stands: the chunk, widened into its neighbours to whole paragraphs where the border
    between them cuts one, or narrowed around its matches where it is too long."""
    body, start, end = passage.body, passage.start, passage.end
    if end - start <= LONGEST:
        begin = body.rfind("\n\n", 0, start) + 2 if body.rfind("\n\n", 0, start) >= 0 else 0
        stop = body.find("\n\n", end)
        stop = len(body) if stop < 0 else stop
        if body[begin:start].strip() and end - begin <= 2 * LONGEST:
            start = begin
        if body[end:stop].strip() and stop - start <= 2 * LONGEST:
            end = stop
        return _stripped(body, start, end)
    first, last = marker.densest(body[start:end], LONGEST)
    return _stripped(body, start + first, start + last)


def _stripped(body: str, start: int, end: int) -> tuple[int, int]:
    text = body[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
