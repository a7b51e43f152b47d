"""Hits → the passages that a model is given: the best chunks within a number of tokens, none of them twice.

A hit is a note with its best chunk. Further chunks of the first notes come before the first chunks of the last ones;
a chunk that cuts a paragraph is widened to its ends, and chunks that meet become one passage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

import apsw

from nescord.catalog import context as context_sql
from nescord.catalog.context import NoteChunk
from nescord.notes import Scope, SearchHit
from nescord.query import Query, by_parts, telling
from nescord.search import marker_of
from nescord.snippets import Marker
from nescord.tokens import estimate

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog

# Notes to ask the search for: what is packed are a few of their chunks.
NOTES = 24
# Of notes that hardly answer, only those among the first so many are given: every token of a context costs. Measured on
# the golden queries: of all that have an answer 98 % are given it, in 3,200 tokens instead of 5,900 (docs/answers.md).
_WEAK_AMONG = 10
# The second chunk of the first note competes with the first chunk of the fourth, and so on.
_STEP = 3
_MOST_OF_A_NOTE = 4
# A further chunk must be this near to the question, compared with the best of its note.
_SHARE = 0.3
# A passage grows to the ends of the paragraphs it cuts, but not beyond so many characters.
_LONGEST = 3_000
_OF_A_WORD = "".join(map(chr, range(ord("!"), ord("~") + 1)))
# With less room than this left, no further passage is begun.
_SMALLEST = 60


@dataclass(frozen=True, slots=True)
class Passage:
    """`[number]` in a prompt: characters `start:end` of the body of a note, which are `text`."""

    number: int
    note_id: str
    path: str
    title: str
    heading: str
    link: str
    start: int
    end: int
    text: str
    written: str
    score: float

    @property
    def heads(self) -> str:
        """Title, path of headings and day, on one line."""
        heading = "" if self.heading == self.title else self.heading.removeprefix(f"{self.title} > ")
        return " › ".join(filter(None, (" ".join(self.title.split()), heading))) + f" ({self.written})"

    @property
    def whole(self) -> str:
        """All that is said of it and in it."""
        return f"{self.heads}\n{self.text}"


@dataclass(frozen=True, slots=True)
class Context:
    """What a model is given, the best first; `tokens` is an estimate."""

    passages: tuple[Passage, ...] = ()
    tokens: int = 0


Nearness = Callable[[Sequence[int]], Mapping[int, float]]


def pack(
    catalog: Catalog,
    hits: Sequence[SearchHit],
    query: Query,
    scope: Scope,
    nearness: Nearness,
    *,
    limit: int,
    zone: tzinfo,
) -> Context:
    """The best passages of `hits` (best first) within `limit` tokens; `nearness` gives chunks their cosines, and days
    are those of `zone`."""
    hits = [hit for place, hit in enumerate(hits) if place < _WEAK_AMONG or not hit.weak]
    with catalog.read() as connection:
        chunks = context_sql.chunks_around(connection, [hit.chunk_id for hit in hits], scope)
    of_note: dict[str, list[NoteChunk]] = {}
    for chunk in chunks:
        of_note.setdefault(chunk.note_id, []).append(chunk)
    several = [chunk.id for one in of_note.values() if len(one) > 1 for chunk in one]
    near = nearness(several) if several else {}
    with catalog.read() as connection:
        scores = _scores(connection, query, several, near)
        bodies = context_sql.bodies(connection, list(of_note))
    packing = _Packing(bodies, limit, zone, marker_of(query))
    for hit, chunk in _in_turn(hits, of_note, scores):
        packing.add(hit, chunk)
    return Context(tuple(packing.passages()), packing.tokens)


def _scores(
    connection: apsw.Connection, query: Query, chunks: Sequence[int], near: Mapping[int, float]
) -> dict[int, float]:
    """Words and meaning together, for chunks to be compared within their note."""
    wanted = telling(query.terms)
    words = context_sql.word_scores(connection, by_parts(wanted), chunks) if chunks and wanted else {}
    most = max(words.values(), default=0.0) or 1.0
    return {chunk: near.get(chunk, 0.0) + words.get(chunk, 0.0) / most for chunk in chunks}


def _in_turn(
    hits: Sequence[SearchHit], of_note: Mapping[str, Sequence[NoteChunk]], scores: Mapping[int, float]
) -> list[tuple[SearchHit, NoteChunk]]:
    turns: list[tuple[int, int, SearchHit, NoteChunk]] = []
    for place, hit in enumerate(hits):
        chunks = of_note.get(hit.note_id, ())
        least = _SHARE * max((scores.get(one.id, 0.0) for one in chunks), default=0.0)
        worth = [one for one in chunks if one.id == hit.chunk_id or scores.get(one.id, 0.0) > least]
        ordered = sorted(worth, key=lambda one: (one.id != hit.chunk_id, -scores.get(one.id, 0.0), one.start))
        turns += [(place + _STEP * turn, turn, hit, one) for turn, one in enumerate(ordered[:_MOST_OF_A_NOTE])]
    return [(hit, chunk) for _, _, hit, chunk in sorted(turns, key=lambda turn: turn[:2])]


class _Packing:
    """Passages in the order of their first chunks, and the tokens they take."""

    def __init__(self, bodies: Mapping[str, str], limit: int, zone: tzinfo, marker: Marker) -> None:
        self.tokens = 0
        self._bodies = bodies
        self._limit = limit
        self._zone = zone
        self._marker = marker
        self._packed: list[Passage] = []
        self._seen: set[bytes] = set()

    def passages(self) -> list[Passage]:
        return [replace(passage, number=number) for number, passage in enumerate(self._packed, 1)]

    def add(self, hit: SearchHit, chunk: NoteChunk) -> None:
        body = self._bodies.get(chunk.note_id, "")
        if body[chunk.start : chunk.end] != chunk.text or chunk.text_hash in self._seen:
            return
        start, end = paragraphs(body, chunk.start, chunk.end, _LONGEST)
        for extent in ((start, end), (chunk.start, chunk.end)):
            if self._place(hit, chunk, body, *extent):
                self._seen.add(chunk.text_hash)
                return
        room = self._limit - self.tokens
        if room >= _SMALLEST and not self._packed:
            # Not even the best fits: the part of it where the question's words are does.
            width = max(1, len(chunk.text) * (room - _SMALLEST // 2) // (estimate(chunk.text) + 1))
            first, last = self._marker.densest(chunk.text, width)
            self._place(hit, chunk, body, chunk.start + first, chunk.start + last)

    def _place(self, hit: SearchHit, chunk: NoteChunk, body: str, start: int, end: int) -> bool:
        """Whether there was room for it; what is already there of it takes none."""
        met = [one for one in self._packed if one.note_id == hit.note_id and _meet(body, one, start, end)]
        start, end = min([start, *(one.start for one in met)]), max([end, *(one.end for one in met)])
        start, end = stripped(body, start, end)
        first = min(met, key=lambda one: one.start, default=None)
        # The heading that holds is that of the first characters.
        heading = first.heading if first is not None and first.start <= chunk.start else chunk.headings
        passage = Passage(
            0, hit.note_id, hit.path, hit.title, heading, hit.link, start, end, body[start:end],
            _day(chunk.created_at, self._zone), hit.score,
        )  # fmt: skip
        tokens = self.tokens + cost(passage) - sum(map(cost, met))
        if tokens > self._limit:
            return False
        self.tokens = tokens
        place = self._packed.index(met[0]) if met else len(self._packed)
        self._packed = [one for one in self._packed if one not in met]
        self._packed.insert(place, passage)
        return True


def cost(passage: Passage) -> int:
    """The tokens that a passage takes in a prompt."""
    return estimate(f"[00]\n{quoted(passage.whole)}\n\n")


def quoted(text: str) -> str:
    """Every line of `text` marked as a quotation, so that no line of it can pass for one of ours."""
    return "\n".join(f"> {line}" for line in text.splitlines())


def cut(text: str, most: int) -> str:
    """The first `most` characters, without half a word at their end: nobody sees of half a key that it is one."""
    if len(text) <= most:
        return text
    begun = text[:most].rstrip(_OF_A_WORD)
    return text[:most] if text[most] not in _OF_A_WORD else begun


def _day(moment: str, zone: tzinfo) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone(zone).date().isoformat()
    except OverflowError:  # the first day of year 1 has none before it
        return moment[:10]


def _meet(body: str, passage: Passage, start: int, end: int) -> bool:
    """Whether they overlap, or nothing but white space is between them."""
    return not body[min(end, passage.end) : max(start, passage.start)].strip()


def paragraphs(body: str, start: int, end: int, most: int) -> tuple[int, int]:
    """`start:end` widened to whole paragraphs where a border of it cuts one, on each side as far as that is within
    `most` characters."""
    begin = body.rfind("\n\n", 0, start) + 2 if body.rfind("\n\n", 0, start) >= 0 else 0
    stop = body.find("\n\n", end)
    stop = len(body) if stop < 0 else stop
    if body[begin:start].strip() and end - begin <= most:
        start = begin
    if body[end:stop].strip() and stop - start <= most:
        end = stop
    return stripped(body, start, end)


def stripped(body: str, start: int, end: int) -> tuple[int, int]:
    """`start:end` without the white space at its ends."""
    text = body[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
