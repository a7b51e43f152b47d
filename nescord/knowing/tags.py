"""Tags that a note might have: those of the notes nearest to it, those that its text names, and words of its own.

Tags that are in use come first: a tag of one note alone finds nothing. Nothing is written.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Literal

import apsw

from nescord.catalog import knowing as sql
from nescord.catalog import search as search_sql
from nescord.catalog.search import Filter
from nescord.frontmatter import fold_tag
from nescord.knowing import near_enough
from nescord.knowing.terms import plain, surfaces, terms
from nescord.notes import Note, Scope, SearchHits
from nescord.query import Filters, Query, parse_query
from nescord.words import normalise, pieces, stem

if TYPE_CHECKING:
    from nescord.opened import OpenBase

# What a tag counts that stands in the text, beside the share of the neighbours that have one (0..1).
_NAMED = 0.6
# A tag of fewer of the neighbours is theirs alone.
_LEAST_SHARE = 0.2
# What one counts that a model proposes: less than one that is named.
_PROPOSED = 0.5
# New tags come after those in use: the best word counts as much.
_NEW = 0.3
# How many words are looked up, and how many of them are suggested.
_CANDIDATES, _NEW_TAGS = 12, 3
_IN_TITLE = 2
# A word of more than this share of the notes says nothing about one of them.
_COMMON = 0.2

Reason = Literal["neighbours", "named", "words", "model"]


@dataclass(frozen=True, slots=True)
class TagSuggestion:
    """A tag and why: notes nearby have it, the text names it, it is a telling word of the text (`is_new`: no note has
    it yet), or a model proposed it. `used_by` counts the notes that have it."""

    tag: str
    score: float
    reason: Reason
    used_by: int

    @property
    def is_new(self) -> bool:
        return not self.used_by


class TagSuggestions(list[TagSuggestion]):
    """Suggestions, best first; `model` has taken part ("": none), `degraded` says what could not be asked and why."""

    def __init__(self, found: Iterable[TagSuggestion] = (), degraded: Sequence[str] = (), model: str = "") -> None:
        super().__init__(found)
        self.degraded = tuple(degraded)
        self.model = model


def suggest(connection: apsw.Connection, scope: Scope, note: Note, near: SearchHits, limit: int) -> TagSuggestions:
    """The best `limit`; `near` are the notes nearest in meaning."""
    used = sql.tag_counts(connection, scope)
    found: dict[str, TagSuggestion] = {}
    for tag, score in _of_neighbours(connection, scope, near):
        found[tag] = TagSuggestion(tag, score, "neighbours", used.get(tag, 1))
    for tag in _named(note, used):
        score = _NAMED + (found[tag].score if tag in found else 0.0)
        found[tag] = TagSuggestion(tag, score, "named", used[tag])
    for word, score in _telling(connection, scope, note):
        tag = fold_tag(word)
        if tag and tag not in found:
            found[tag] = TagSuggestion(tag, score, "words", used.get(tag, 0))
    for tag in note.tags:
        found.pop(tag, None)
    best = sorted(found.values(), key=lambda one: (-one.score, -one.used_by, one.tag))[:limit]
    return TagSuggestions((replace(one, score=round(one.score, 4)) for one in best), near.degraded)


def with_model(base: OpenBase, scope: Scope, note: Note, found: TagSuggestions, limit: int) -> TagSuggestions:
    """The suggestions with those of a model among them; without, and why, where there is none or it fails."""
    from nescord.knowing import writing

    with base.verb() as catalog, catalog.read() as connection:
        used = sql.tag_counts(connection, scope)
    by_use = sorted(used, key=lambda tag: (-used[tag], tag))
    try:
        writer = writing.writer_of(base, scope)
        proposed = writing.tags(writer, note, by_use, base.settings.context_tokens)
    except writing.FAILURES as error:
        return TagSuggestions(found, (*found.degraded, f"tags: {error}"))
    known = {one.tag for one in found} | set(note.tags)
    new = [TagSuggestion(tag, _PROPOSED, "model", used.get(tag, 0)) for tag in proposed if tag not in known]
    best = sorted([*found, *new], key=lambda one: -one.score)[:limit]
    return TagSuggestions(best, found.degraded, writer.model)


def _of_neighbours(connection: apsw.Connection, scope: Scope, near: SearchHits) -> list[tuple[str, float]]:
    """Each tag of the neighbours -> which share of them has it, nearer ones counting more."""
    nearness = {hit.note_id: hit.score for hit in near_enough(near)}
    total = sum(nearness.values())
    scores: dict[str, float] = {}
    for note_id, tag in sql.tags_of(connection, scope, list(nearness)):
        scores[tag] = scores.get(tag, 0.0) + nearness[note_id]
    return [(tag, score / total) for tag, score in scores.items() if score >= _LEAST_SHARE * total]


def _named(note: Note, used: Iterable[str]) -> list[str]:
    """The tags in use whose last part stands in title or text: a word of its own, where it is of an alphabet."""
    text = normalise(f"{note.title}\n{note.body}")
    words = {stem(piece) for is_cjk, piece in pieces(text) if not is_cjk}
    named = []
    for tag in used:
        parts = list(pieces(normalise(posixpath.basename(tag))))
        if parts and all(
            len(piece) > 1 and (piece in text if is_cjk else stem(piece) in words) for is_cjk, piece in parts
        ):
            named.append(tag)
    return named


def _telling(connection: apsw.Connection, scope: Scope, note: Note) -> list[tuple[str, float]]:
    """The words of the note that are often in it and seldom in others, with scores up to _NEW."""
    body = plain(note.body)
    counts = terms(body)
    for word in terms(note.title):
        counts[word] += _IN_TITLE
    written = surfaces(f"{note.title} {body}")
    notes = sql.count(connection, scope)
    scores: dict[str, float] = {}
    for term, count in counts.most_common(_CANDIDATES):
        if count < 2 or any(map(str.isdigit, term)):
            continue
        share = _share(connection, scope, written[term], notes)
        if share <= max(_COMMON, 1 / max(1, notes)):
            scores[written[term]] = count * math.log(1 / max(share, 1 / max(1, notes)) + 1)
    best = sorted(scores.items(), key=lambda one: -one[1])[:_NEW_TAGS]
    return [(word, _NEW * score / best[0][1]) for word, score in best]


def _share(connection: apsw.Connection, scope: Scope, word: str, notes: int) -> float:
    """Which share of the notes holds the word."""
    query = parse_query(f'"{word}"', UTC)
    most = int(_COMMON * notes) + 1
    allowed = Filter(Query((), (), Filters()), scope)
    holding = search_sql.notes_holding(connection, query.terms[0].match, allowed, most)
    return 1.0 if holding is None else len(holding) / max(1, notes)
