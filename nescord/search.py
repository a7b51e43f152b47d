"""Keyword search: a query becomes FTS5 expressions, chunks are ranked by bm25, each note shows its best chunk.

Chunks that hold every term come first. Below them come those that hold some, when there are several terms; a Japanese
sentence that is nowhere as it stands is found by its bigrams. A single word, or up to three CJK characters, are found
exactly or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

import apsw

from nescord.catalog import search as search_sql
from nescord.catalog.search import Filter, FoundChunk, ShownChunk
from nescord.notes import Scope, SearchHit
from nescord.query import Filters, Query, by_parts, loosely, telling
from nescord.snippets import Marker

if TYPE_CHECKING:
    from nescord.hybrid import Candidate


def keyword_search(connection: apsw.Connection, query: Query, scope: Scope, limit: int) -> list[SearchHit]:
    """The best `limit` notes for `query` within `scope`, best first; ties are stable."""
    found: list[FoundChunk]
    if query.terms:
        found = _matching(connection, query, scope, limit)
    elif query.filters == Filters() and not query.excluded:
        found = []
    else:
        found = search_sql.listed(connection, Filter(query, scope), limit)
    shown = search_sql.shown(connection, [chunk.id for chunk in found])
    marker = marker_of(query)
    return [hit_of(chunk.id, shown[chunk.id], marker, chunk.score) for chunk in found if chunk.id in shown]


def marker_of(query: Query) -> Marker:
    """What marks the words of a query."""
    return Marker(mark for term in query.terms for mark in term.marks)


def _matching(connection: apsw.Connection, query: Query, scope: Scope, limit: int) -> list[FoundChunk]:
    wanted = telling(query.terms)
    everything = " AND ".join(term.match for term in wanted)
    checks = [term.recheck for term in wanted if term.recheck]
    best = search_sql.best_chunks(connection, everything, Filter(query, scope, checks=checks), limit)
    notes = {chunk.note for chunk in best}
    phrases = [term for term in wanted if term.is_required]
    # A single term that was found is not watered down with notes that hold only a part of it.
    looser = [loosely] if len(wanted) > 1 else []
    if any(term.parts for term in wanted):
        looser.append(by_parts)
    for expression in looser:
        if len(best) >= limit or (best and expression is by_parts):
            break
        some = search_sql.best_chunks(connection, expression(wanted), Filter(query, scope, required=phrases), limit)
        best += [chunk for chunk in some if chunk.note not in notes]
    return best[:limit]


def hit_of(
    chunk: int,
    shown: ShownChunk,
    marker: Marker,
    score: float,
    *,
    keyword_score: float = 0.0,
    vector_score: float = 0.0,
    weak: bool = False,
) -> SearchHit:
    """What a person is shown of a chunk."""
    text, marks = marker.snippet(shown.text)
    return SearchHit(
        note_id=shown.note_id,
        chunk_id=chunk,
        source=shown.source,
        path=shown.path,
        title=shown.title,
        heading=shown.headings,
        snippet=text,
        marks=marks,
        score=round(score, 6),
        link=note_link(shown.source_kind, shown.root, shown.path, shown.origin),
        lang=shown.lang,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
        keyword_score=round(keyword_score, 6),
        vector_score=round(vector_score, 6),
        weak=weak,
    )


def shown_candidates(connection: apsw.Connection, candidates: Sequence[Candidate], marker: Marker) -> list[SearchHit]:
    """The hits of candidates that were found by meaning."""
    shown = search_sql.shown(connection, [candidate.chunk for candidate in candidates])
    return [
        hit_of(
            candidate.chunk,
            shown[candidate.chunk],
            marker,
            candidate.score,
            keyword_score=candidate.keyword,
            vector_score=candidate.cosine,
            weak=candidate.weak,
        )
        for candidate in candidates
        if candidate.chunk in shown
    ]


def note_link(kind: str, root: str, path: str, origin: str) -> str:
    """What opens a note: where it was said (a Discord jump URL), Obsidian, or the file itself; "": nothing does."""
    if kind == "capture" or origin or not root.startswith("/"):
        return origin
    return f"{_link_to(kind, root)}{quote(path, safe='' if kind == 'obsidian' else '/')}"


@lru_cache(maxsize=64)
def _link_to(kind: str, root: str) -> str:
    """The begin of every link into the folder `root`."""
    return f"obsidian://open?path={quote(root + '/', safe='')}" if kind == "obsidian" else f"file://{quote(root)}/"
